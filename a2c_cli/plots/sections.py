"""What each section of a page shows, as plain values for its template.

Names and texts may come out of a stranger's files: the template escapes them. `Markup` is only what
this package has made itself.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from a2c_cli.config.given import is_given
from a2c_cli.config.text import from_dict, to_options
from a2c_cli.errors import A2CError
from a2c_cli.evaluation.statistics import human_normalized
from a2c_cli.outside import read_bytes
from a2c_cli.plots.axes import RETURNS
from a2c_cli.plots.comparison import Comparison, summarize_group
from a2c_cli.plots.evaluation_file import Evaluation
from a2c_cli.plots.figures import caption, chart_svg, legend_mark
from a2c_cli.plots.labels import asked, by_preset
from a2c_cli.runs.directory import VIDEOS
from a2c_cli.runs.finding import find_checkpoint
from a2c_cli.runs.inspection import inspect
from a2c_cli.runs.metrics import SERIES, Run
from a2c_cli.text import plain_value

MOST_VIDEO = 32 * 2**20  # bytes of video in one page


def curves(comparison: Comparison) -> dict[str, Any]:
    """The charts of one environment, and where the curves of its groups end."""
    groups = [
        {
            **summarize_group(group),
            "mark": Markup(legend_mark(group.number)),
            "episodes": sum(run.episodes for run in group.runs),
            "normalized": _normalized(comparison, float(group.final.center[-1])),
        }
        for group in comparison.groups
    ]
    return {
        "env_id": comparison.env_id,
        "groups": groups,
        "endless": comparison.endless,
        "axis": comparison.axis.label,
        "wide": Markup(chart_svg(comparison, RETURNS, 900, 380)),
        "narrow": Markup(chart_svg(comparison, RETURNS, 358, 300)),
        "caption": caption([comparison]),
        "metrics": {
            SERIES[name]: Markup(chart_svg(comparison, name, 430, 230))
            for name in comparison.series
        },
    }


def _normalized(comparison: Comparison, score: float) -> str | None:
    """A score where random play is 0 % and a human tester 100 %; None without such references."""
    if comparison.reference is None:
        return None
    return f"{100 * human_normalized(score, *comparison.reference):,.0f} %"


def protocols(evaluations: Sequence[Evaluation]) -> list[str]:
    """How each evaluation was played, in words; equal ones once."""
    found: dict[str, None] = {}
    for e in evaluations:
        told = {"seed": e.seed, **e.protocol}
        words = (
            f"{k.replace('_', ' ')} {plain_value(v)}" for k, v in told.items() if v is not None
        )
        found[f"{e.env_id}: {', '.join(words)}"] = None
    return list(found)


def videos(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The mp4 files of the runs' videos/, embedded up to `MOST_VIDEO`; None without any."""
    # A name that starts with a dot is of a film that is still being written.
    by_run = [(run, sorted(_films_of(run.path / VIDEOS))) for run in runs]
    most = max(len(files) for _, files in by_run)
    # The first of every run before the second of any.
    paths = [(run, files[i]) for i in range(most) for run, files in by_run if i < len(files)]
    if not paths:
        return None
    films, left_out, room = [], [], MOST_VIDEO
    for run, path in paths:
        name = run.path.resolve().name
        data = _read_film(path, room)
        if data is None:
            left_out.append(f"{name}/{path.name}")
            continue
        room -= len(data)
        encoded = Markup(base64.b64encode(data).decode())
        films.append({"data": encoded, "caption": f"{name}: {path.stem}"})
    note = f"A page holds at most {MOST_VIDEO >> 20} MiB of video."
    if left_out:
        note += f" Not in it, or not readable as mp4: {', '.join(left_out)}."
    return {"films": films, "note": note}


def _films_of(place: Path) -> Iterator[Path]:
    return iter(()) if place.is_symlink() else place.glob("[!.]*.mp4")


def _read_film(path: Path, room: int) -> bytes | None:
    """The file, if it is a real mp4 of the run itself (a link may point to anything) and fits."""
    try:
        data = read_bytes(path, room, follow=False)
    except OSError:
        return None
    return data if data[4:8] == b"ftyp" else None


def networks(comparison: Comparison) -> dict[str, Any]:
    """The layers of each different network, from the checkpoints' headers."""
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}
    problems = []
    for group in comparison.groups:
        try:
            record = inspect(find_checkpoint(group.runs[0].path))
        except A2CError as error:
            problems.append(error.message)
            continue
        found.setdefault(json.dumps(record["network"]), ([], record))[0].append(group.label)
    return {
        "env_id": comparison.env_id,
        "networks": [_network(labels, record) for labels, record in found.values()],
        "problems": list(dict.fromkeys(problems)),
    }


def _network(labels: Sequence[str], record: Mapping[str, Any]) -> dict[str, Any]:
    layers = [
        {
            "name": layer["name"],
            "shape": "×".join(map(str, layer["shape"])),
            "parameters": layer["parameters"],
            "share": f"{100 * layer['share']:.1f} %",
        }
        for layer in record["network"]
    ]
    return {
        "labels": "; ".join(labels),
        "layers": layers,
        "parameters": record["parameters"],
        "versions": ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
    }


def settings(comparison: Comparison) -> dict[str, Any]:
    """The settings of each group, and the command that makes the same run again.

    Those that differ are marked: between groups, or from the defaults if there is one group only.
    """
    causes = [asked(group.runs[0]) for group in comparison.groups]
    configs = []
    for group in comparison.groups:
        seeds = ", ".join(str(run.seed) for run in group.runs)
        config = {**group.runs[0].config, "seed": seeds}
        configs.append({name: plain_value(value) for name, value in config.items()})
    rows = []
    for name in dict.fromkeys(name for config in configs for name in config):
        values = [config.get(name, "–") for config in configs]
        differs = len(set(values)) > 1 if len(values) > 1 else name in (causes[0] or ())
        differs = differs and name not in ("env", "seed")
        rows.append({"name": name, "of_groups": values, "differs": differs})
    labels = [group.label for group in comparison.groups]
    commands = [
        {"label": label, "command": _command(group.runs[0], values),
         "seeds": ", ".join(str(run.seed) for run in group.runs[1:])}
        for label, group, values in zip(labels, comparison.groups, causes, strict=True)
        if values is not None and not is_given(values["env"])
    ]  # fmt: skip
    return {"env_id": comparison.env_id, "labels": labels, "rows": rows, "commands": commands}


def _command(run: Run, values: Mapping[str, Any]) -> str:
    preset, others = by_preset(run.config, values)
    named = [] if preset is None else ["--preset", preset]
    return shlex.join(["a2c", "train", *named, *to_options(from_dict(others))])
