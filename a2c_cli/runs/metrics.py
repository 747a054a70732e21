"""A run's settings and its metrics.jsonl, read back from disk for plots."""

from __future__ import annotations

import json
import os
import shlex
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.config.text import from_toml
from a2c_cli.errors import A2CError, CheckpointError, ConfigError
from a2c_cli.outside import open_regular, read_text
from a2c_cli.runs.checkpoint import read_header
from a2c_cli.runs.directory import BEST, CHECKPOINTS, CONFIG, LAST, METRICS
from a2c_cli.runs.header import Header

FloatArray = NDArray[np.float64]
WINDOW = 100  # episodes of the running mean, as in training
# The metrics of an interval that are drawn, in the order of their charts.
SUCCESS = "rollout/success_rate"
SERIES = {
    SUCCESS: "success rate",
    "train/entropy": "policy entropy, nats",
    "train/value_loss": "value loss",
    "train/explained_variance": "explained variance",
    "train/dead_units": "dead units, share",
    "train/learning_rate": "learning rate",
    "train/entropy_coef": "entropy coefficient β",
}
EVALUATION, EVALUATED_SUCCESS = EVALUATIONS = ("eval/mean_reward", "eval/success_rate")
_RATE = "rollout/reward_rate"
_ELAPSED = "time/elapsed"
_LARGEST = 1e18  # of a number; sums of a million such are finite
_LARGEST_FILE = 4 * 2**30  # bytes of metrics.jsonl
_LARGEST_CONFIG = 2**20  # bytes
_CHUNK = 2**20  # bytes of lines that are parsed at once, and of one line at most
_TRAIN = "train one: a2c train --env ALE/Breakout-v5"


@dataclass(frozen=True)
class Run:
    """One run, as far as it has come.

    Args:
        path: its directory.
        config: the plain values of its config.toml.
        seed: of its config.
        frame_skip: frames per agent step.
        episode_steps: (E,), the agent step that ended each episode; never falls.
        episode_returns: (E,), raw game points.
        series: metric -> (steps, values), both (L,), for `SERIES` and `EVALUATIONS`.
        header: of its checkpoint; None without one that can be read.
        elapsed: (steps, seconds of training), both (L,); None where nothing was noted.
        endless: no episode has ended; in place of returns stands the mean reward of a step, of
            each interval.
    """

    path: Path
    config: Mapping[str, Any]
    seed: int
    frame_skip: float
    episode_steps: FloatArray
    episode_returns: FloatArray
    series: Mapping[str, tuple[FloatArray, FloatArray]]
    header: Header | None
    elapsed: tuple[FloatArray, FloatArray] | None = None
    endless: bool = False

    @property
    def env_id(self) -> str:
        """The Gymnasium id, with the module that it may import."""
        return str(self.config["env"])

    @property
    def env_steps(self) -> int:
        """The agent step of its last line."""
        return int(max([self.episode_steps[-1], *(s[-1] for s, _ in self.series.values())]))

    @property
    def episodes(self) -> int:
        """How many have ended."""
        return 0 if self.endless else len(self.episode_steps)

    @property
    def max_entropy(self) -> float | None:
        """Of its policy, in nats; None where its checkpoint does not tell, or there is none."""
        return None if self.header is None else self.header.spec.action.max_entropy

    def mean_returns(self, window: int = WINDOW) -> FloatArray:
        """(E,), the mean of the last `window` returns after each episode (fewer at the start)."""
        if self.endless:
            return self.episode_returns
        sums = np.concatenate([[0.0], np.cumsum(self.episode_returns)])
        ends = np.arange(1, len(sums))
        starts = np.maximum(ends - window, 0)
        return np.asarray((sums[ends] - sums[starts]) / (ends - starts), np.float64)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The run directories that are meant, each once, in the order of the paths.

    Args:
        paths: run directories, checkpoint files in them, or directories with runs at any depth
            below; empty for the newest run under ./checkpoints.

    Raises:
        CheckpointError: a path does not exist, or has no run.
    """
    if not paths:
        newest = max(
            CHECKPOINTS.glob(f"*/{METRICS}"), key=lambda p: p.stat().st_mtime, default=None
        )
        if newest is None:
            deeper = sorted(CHECKPOINTS.rglob(METRICS))
            if not deeper:
                raise CheckpointError(f"there is no run under ./{CHECKPOINTS}", _TRAIN)
            sweep = CHECKPOINTS / deeper[0].relative_to(CHECKPOINTS).parts[0]
            raise CheckpointError(
                f"{len(deeper):,} runs lie further below ./{CHECKPOINTS}, as those of a sweep do",
                f"say which to draw: a2c plot {shlex.quote(str(sweep))}",
            )
        return [newest.parent]
    runs_found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise CheckpointError(f"there is no run at {path}", _TRAIN)
        top = path if path.is_dir() else path.parent
        runs = [top] if (top / METRICS).is_file() else []
        if path.is_dir() and not runs:
            below = (Path(place) for place, _, files in os.walk(path) if METRICS in files)
            runs = sorted(run for run in below if (run / METRICS).is_file())
        if not runs:
            raise CheckpointError(
                f"there is no {METRICS} in {top}" + (" or below" if path.is_dir() else ""),
                "give the directory of a run, or one with runs in it",
            )
        for run in runs:
            runs_found.setdefault(run.resolve(), run)
    return list(runs_found.values())


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read several runs; those that cannot be drawn are left out.

    Returns:
        The runs, and a sentence for every one that was left out or read in part.

    Raises:
        A2CError: no run can be drawn.
    """
    runs, notes = [], []
    for path in paths:
        try:
            run, skipped = read_run(path)
        except A2CError as error:
            notes.append(error.message)
            continue
        runs.append(run)
        if skipped:
            notes.append(f"{path / METRICS}: {skipped:,} damaged lines were left out")
    if not runs:
        more = f" (and {len(notes) - 1:,} more)" if len(notes) > 1 else ""
        raise A2CError(f"nothing to plot: {notes[0]}{more}", "let a run play some episodes first")
    return runs, notes


def read_run(path: Path) -> tuple[Run, int]:
    """One run directory; its lines are read as a stream, about 1.5 s for every 100 MB.

    Returns:
        The run, and how many lines are not JSON objects. A last line without its end is not
        counted: a kill may have cut it, or a run is still writing it.

    Raises:
        A2CError: it cannot be read, or has neither ended an episode nor an interval yet.
    """
    config = _read_config(path / CONFIG)
    steps, returns, frames = array("d"), array("d"), array("d")
    series: dict[str, tuple[array[float], array[float]]] = {
        name: (array("d"), array("d")) for name in (*SERIES, *EVALUATIONS, _ELAPSED, _RATE)
    }
    skipped = 0
    try:
        for record in read_records(path / METRICS):
            step = _number(record.get("env_steps")) if isinstance(record, dict) else None
            if step is None or step < 0:
                skipped += 1
                continue
            value = _number(record.get("charts/episodic_return"))
            if value is not None:
                steps.append(step)
                returns.append(value)
                frames.append(_number(record.get("frames")) or step)
                continue
            for name, (at, values) in series.items():
                value = _number(record.get(name))
                if value is not None:
                    at.append(step)
                    values.append(value)
    except OSError as error:
        raise A2CError(f"cannot read {path / METRICS}: {error.strerror or error}") from None
    elapsed, rates = series.pop(_ELAPSED), series.pop(_RATE)
    endless = not steps
    if endless:
        steps, returns = rates
        frames = array("d", [config.get("frame_skip", 1) * step for step in steps])
    if not steps:
        raise A2CError(f"{path} has not finished an episode yet")
    order = np.argsort(steps, kind="stable")
    run = Run(
        path=path,
        config=config,
        seed=config["seed"],
        frame_skip=frames[-1] / max(steps[-1], 1.0),
        episode_steps=np.asarray(steps)[order],
        episode_returns=np.asarray(returns)[order],
        series={name: _sorted(*pair) for name, pair in series.items() if pair[0]},
        header=_header(path),
        elapsed=_sorted(*elapsed) if elapsed[0] else None,
        endless=endless,
    )
    return run, skipped


def _sorted(steps: array[float], values: array[float]) -> tuple[FloatArray, FloatArray]:
    order = np.argsort(steps, kind="stable")
    return np.asarray(steps)[order], np.asarray(values)[order]


def read_records(path: Path) -> Iterator[Any]:
    """Every whole line of a metrics.jsonl as its JSON value; None for a line that is not JSON.

    Raises:
        OSError: it cannot be read, or is no regular file of the run's own.
    """
    with open_regular(path, _LARGEST_FILE, follow=False) as file:
        for lines in _whole_lines(file):
            try:  # one call for thousands of lines takes half the time
                yield from json.loads(b"[" + b",".join(lines) + b"]")
            except (ValueError, RecursionError):
                for line in lines:
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError):
                        yield None


def _whole_lines(file: BufferedReader) -> Iterator[list[bytes]]:
    """All lines but a last one without its end; one that never ends is passed over as empty."""
    rest, passing = b"", False
    while data := file.read(_CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        if passing and lines:
            lines[0], passing = b"", False
        if len(rest) > _CHUNK:
            rest, passing = b"", True
        if lines:
            yield lines


def _number(value: Any) -> float | None:
    """A number that can be drawn; a file may hold anything."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)  # NaN compares as false
    return None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path, _LARGEST_CONFIG, follow=False)
    except OSError as error:
        raise A2CError(f"cannot read {path}: {error.strerror}") from None
    values = from_toml(text, str(path))
    seed = values.setdefault("seed", 0)
    if not isinstance(values.get("env"), str) or not isinstance(seed, int):
        raise ConfigError(f"{path} does not name an environment and a seed")
    return values


def _header(run: Path) -> Header | None:
    for name in (LAST, BEST):
        try:
            return read_header(run / name)[0]
        except A2CError:
            continue
    return None
