"""The parts of a page beside its curves: evaluations, videos, networks, settings, runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.plots.comparison import Panel
from a2c_cli.plots.html import definitions, heading, interval, number, table, text
from a2c_cli.runs.directory import find_checkpoint
from a2c_cli.runs.inspection import inspect
from a2c_cli.runs.metrics import Run

MOST_VIDEO = 32 * 2**20  # bytes of video in one page


def read_evaluation(path: Path) -> dict[str, Any]:
    """What `a2c evaluate --json` has printed, from a file.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    try:
        last = path.read_text(encoding="utf-8").strip().rpartition("\n")[2]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {reason}", "give a file") from None
    try:
        found = json.loads(last)
        low, high = found["ci95"]
        numbers = [low, high, *(found[k] for k in ("mean", "median", "iqm", "min", "max", "std"))]
        texts = [found[k] for k in ("env_id", "policy", "checkpoint")]
        counts = [found["episodes"], found["seed"]]
        if not (
            all(isinstance(n, int | float) and abs(n) < 1e18 for n in numbers)
            and all(isinstance(t, str) for t in texts)
            and all(isinstance(n, int) for n in counts)
            and isinstance(found["protocol"], dict)
        ):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(
            f"{path} is not an evaluation", "make one: a2c evaluate RUN --json > FILE.json"
        ) from None
    return dict(found)


def show_evaluations(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """A table of evaluations, and how each was played; "" without any."""
    if not evaluations:
        return ""
    columns = ["checkpoint", "environment", "policy", "#games", "#mean", "#95 % interval",
               "#median", "#IQM", "#std", "#range"]  # fmt: skip
    rows = []
    protocols: dict[str, None] = {}
    for e in evaluations:
        cells = [text(e["checkpoint"]), text(e["env_id"]), text(e["policy"])]
        cells += [f"{e['episodes']:,}", number(e["mean"]), interval(e["ci95"])]
        cells += [number(e["median"]), number(e["iqm"]), number(e["std"])]
        rows.append(("", [*cells, interval([e["min"], e["max"]])]))
        protocol = {"seed": e["seed"]} | e["protocol"]
        protocols[
            f"{e['env_id']}: "
            + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in protocol.items() if v is not None)
        ] = None
    notes = "".join(f'<p class="note">{text(protocol)}</p>' for protocol in protocols)
    return heading("Evaluation") + table(columns, rows) + notes


def show_videos(runs: Sequence[Run]) -> str:
    """The mp4 files of the runs' videos/, embedded up to `MOST_VIDEO`; "" without any."""
    # A name that starts with a dot is of a film that is still being written.
    by_run = [(run, sorted((run.path / "videos").glob("[!.]*.mp4"))) for run in runs]
    most = max(len(files) for _, files in by_run)
    # The first of every run before the second of any.
    films = [(run, files[i]) for i in range(most) for run, files in by_run if i < len(files)]
    if not films:
        return ""
    figures, left_out, room = [], [], MOST_VIDEO
    for run, path in films:
        data = _read_film(path, room)
        if data is None:
            left_out.append(f"{run.path.resolve().name}/{path.name}")
            continue
        room -= len(data)
        source = "data:video/mp4;base64," + base64.b64encode(data).decode()
        figures.append(
            f'<figure><video controls muted playsinline preload="auto" src="{source}"></video>'
            f"<figcaption>{text(run.path.resolve().name)}: {text(path.stem)}</figcaption></figure>"
        )
    note = f"A page holds at most {MOST_VIDEO >> 20} MiB of video."
    if left_out:
        note += f" Not in it, or not readable as mp4: {', '.join(left_out)}."
    return (
        heading("Videos")
        + f'<div class="videos">{"".join(figures)}</div><p class="note">{text(note)}</p>'
    )


def _read_film(path: Path, room: int) -> bytes | None:
    """The file, if it is a real mp4 of the run itself (a link may point to anything) and fits."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > room:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return data if data[4:8] == b"ftyp" else None


def show_networks(panel: Panel, alone: bool) -> str:
    """The layers of each different network, from the checkpoints' headers."""
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}
    problems = []
    for group in panel.groups:
        try:
            record = inspect(find_checkpoint(group.runs[0].path))
        except A2CError as error:
            problems.append(error.message)
            continue
        found.setdefault(json.dumps(record["layers"]), ([], record))[0].append(group.label)
    parts = [heading("Network", None if alone else panel.env_id)]
    for labels, record in found.values():
        if len(found) > 1:
            parts.append(f"<h3>{text('; '.join(labels))}</h3>")
        total = record["parameters"]
        rows = [
            (
                "",
                [
                    text(layer["name"]),
                    text("×".join(map(str, layer["shape"]))),
                    f"{layer['parameters']:,}",
                    f"{100 * layer['parameters'] / max(total, 1):.1f} %",
                ],
            )
            for layer in record["layers"]
        ]
        rows.append(("differs", ["total", "", f"{total:,}", ""]))
        parts.append(table(["layer", "#shape", "#parameters", "#share"], rows))
        versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        parts.append(f'<p class="note">{text(versions)}</p>')
    parts += [f'<p class="note">{text(problem)}</p>' for problem in dict.fromkeys(problems)]
    return "\n".join(parts)


def show_settings(panel: Panel, alone: bool) -> str:
    """The settings of each group, those that differ marked."""
    configs = []
    for group in panel.groups:
        seeds = ", ".join(str(run.seed) for run in group.runs)
        config = {**group.runs[0].config, "seed": seeds}
        configs.append({name: _setting(value) for name, value in config.items()})
    title = heading("Configuration", None if alone else panel.env_id)
    if len(configs) == 1:
        return title + definitions("settings", configs[0])
    names = dict.fromkeys(name for config in configs for name in config)
    rows = []
    for name in names:
        values = [config.get(name, "–") for config in configs]
        differs = len(set(values)) > 1 and name != "seed"
        rows.append(("differs" if differs else "", [text(v) for v in (name, *values)]))
    return title + table(["setting", *(f"#{group.label}" for group in panel.groups)], rows)


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"{k}={_setting(v)}" for k, v in value.items()) or "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_runs(runs: Sequence[Run]) -> str:
    """Every run on a line."""
    rows = [
        (
            "",
            [
                text(run.path.resolve().name),
                text(run.env_id),
                str(run.seed),
                f"{run.env_steps:,}",
                f"{len(run.episode_steps):,}",
                number(run.mean_returns()[-1]),
            ],
        )
        for run in runs
    ]
    columns = ["directory", "environment", "#seed", "#agent steps", "#episodes", "#last 100"]
    return heading("Runs") + table(columns, rows)
