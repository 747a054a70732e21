"""One page about some runs that needs nothing else: curves, settings, evaluation, network, videos.

It has no script, and its content security policy lets a browser fetch nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

from a2c_cli.evaluation.statistics import human_normalized
from a2c_cli.plots.axes import RETURNS
from a2c_cli.plots.comparison import Group, Panel, summarize_group
from a2c_cli.plots.figures import describe, legend_mark, panel_svg
from a2c_cli.plots.html import definitions, interval, number, table, text
from a2c_cli.plots.sections import (
    show_evaluations,
    show_networks,
    show_runs,
    show_settings,
    show_videos,
)
from a2c_cli.runs.metrics import SERIES

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


def make_page(panels: Sequence[Panel], evaluations: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page as HTML.

    Args:
        panels: at least one.
        evaluations: what `read_evaluation` gives.
    """
    title = ", ".join(panel.env_id for panel in panels)
    style = (
        importlib.resources.files("a2c_cli.plots").joinpath("page.css").read_text(encoding="utf-8")
    )
    runs = [run for panel in panels for group in panel.groups for run in group.runs]
    alone = len(panels) == 1
    version = importlib.metadata.version("a2c-cli")
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)} – a2c</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>",
        f"<h1>{text(title)}</h1>",
        '<p class="lead">Advantage actor-critic, trained online from a single stream of'
        f" experience. {len(runs)} {'run' if len(runs) == 1 else 'runs'}.</p>",
        *(_environment(panel, alone) for panel in panels),
        show_evaluations(evaluations),
        show_videos(runs),
        *(show_networks(panel, alone) for panel in panels),
        *(show_settings(panel, alone) for panel in panels),
        show_runs(runs),
        f"<footer>Made by a2c {text(version)} with <code>a2c plot</code>.</footer>",
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _environment(panel: Panel, alone: bool) -> str:
    groups = [summarize_group(group) for group in panel.groups]
    parts = ["" if alone else f"<h2>{text(panel.env_id)}</h2>"]
    if len(groups) == 1:
        parts.append(_tiles(groups[0], panel))
    else:
        parts += [_legend(panel.groups), _group_table(groups, panel)]
    wide, narrow = panel_svg(panel, RETURNS, 900, 380), panel_svg(panel, RETURNS, 358, 300)
    parts.append(
        f'<figure role="img" aria-label="episode return over agent steps">'
        f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
        f"<figcaption>{text(describe([panel]))}</figcaption></figure>"
    )
    figures = "\n".join(
        f'<figure role="img" aria-label="{text(SERIES[name])} over agent steps">'
        f"{panel_svg(panel, name, 430, 230)}</figure>"
        for name in panel.series
    )
    parts.append(f'<div class="metrics">\n{figures}\n</div>' if figures else "")
    return "\n".join(part for part in parts if part)


def _normalized(panel: Panel, score: float) -> str | None:
    if panel.reference is None:
        return None
    return f"{100 * human_normalized(score, *panel.reference):,.0f} %"


def _tiles(group: Mapping[str, Any], panel: Panel) -> str:
    seeds = len(group["seeds"])
    over = f"return, IQM of {seeds} seeds" if seeds > 1 else "mean of the last 100 returns"
    tiles = {over: number(group["mean_return_100"])}
    if seeds > 1:
        tiles["95 % interval"] = interval(group["ci95"])
    normalized = _normalized(panel, group["mean_return_100"])
    if normalized is not None:
        tiles["of a human tester, random play at 0"] = normalized
    tiles["agent steps"] = f"{group['env_steps']:,}"
    if group["frames"] != group["env_steps"]:
        tiles["frames"] = f"{group['frames']:,}"
    episodes = sum(len(run.episode_steps) for g in panel.groups for run in g.runs)
    tiles["episodes"] = f"{episodes:,}"
    return definitions("tiles", tiles)


def _group_table(groups: Sequence[Mapping[str, Any]], panel: Panel) -> str:
    columns = [
        "runs",
        "#seeds",
        "#agent steps",
        "#frames",
        "#return",
        "#95 % interval",
    ]
    rows = []
    for group in groups:
        cells = [
            text(group["label"]),
            str(len(group["seeds"])),
            f"{group['env_steps']:,}",
            f"{group['frames']:,}",
            number(group["mean_return_100"]),
            interval(group["ci95"]),
        ]
        if panel.reference is not None:
            cells.append(_normalized(panel, group["mean_return_100"]) or "")
        rows.append(("", cells))
    if panel.reference is not None:
        columns.append("#human-normalised")
    return table(columns, rows)


def _legend(groups: Sequence[Group]) -> str:
    items = "".join(f"<li>{legend_mark(group.number)}{text(group.label)}</li>" for group in groups)
    return f'<ul class="legend">{items}</ul>'
