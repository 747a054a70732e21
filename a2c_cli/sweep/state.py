"""How far each trial of a sweep has come: in memory, and in the sweep's directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2c_cli.config.settings import settings
from a2c_cli.config.text import to_dict
from a2c_cli.errors import CheckpointError, RunDirError
from a2c_cli.evaluation.workers import Died
from a2c_cli.outside import parse_json, read_bytes
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import LAST, RunDir
from a2c_cli.sweep.plan import Trial

SWEEP = "sweep.json"
_LARGEST = 512 * 2**20  # bytes of it; a hundred thousand trials


@dataclass(frozen=True)
class Told:
    """A trial reports how far it has come."""

    env_steps: int
    steps_per_second: float
    mean_return_100: float | None


@dataclass(frozen=True)
class Ended:
    """A trial has ended of its own accord: as `TrainResult.stopped`, or `failed`."""

    stopped: str
    message: str = ""


@dataclass(frozen=True)
class Revived:
    """A trial's process had died, and the backend itself has started another one."""

    reason: str


Event = Told | Ended | Died | Revived


@dataclass
class State:
    """How far one trial has come.

    `stage` is waiting, running, or how it ended: completed, failed, diverged, interrupted.
    """

    trial: Trial
    run_dir: Path
    stage: str = "waiting"
    env_steps: int = 0
    steps_per_second: float = 0.0
    mean_return_100: float | None = None
    success_rate: float | None = None  # where the environment tells; from the last checkpoint
    message: str = ""
    deaths: int = 0

    @property
    def total_steps(self) -> int:
        return self.trial.config.total_steps

    def read(self) -> None:
        """Update the counters from its last checkpoint, if there is one that can be read."""
        try:
            header, _ = checkpoint.read_header(self.run_dir / LAST)
            if header.env_steps >= self.total_steps:  # nobody will read it again: is it whole?
                checkpoint.read_verified_header(self.run_dir / LAST)
        except CheckpointError:
            return
        self.env_steps, self.mean_return_100 = header.env_steps, header.mean_return_100
        self.success_rate = header.success_rate
        # Stopped in the evaluation of the very last step, a run still owes that step's line.
        owes = header.progress.get("last_line", header.env_steps) != header.env_steps
        if header.env_steps >= self.total_steps and not owes:
            self.stage = "completed"


def read_states(path: Path, request: Mapping[str, Any], trials: Sequence[Trial]) -> list[State]:
    """The trials as an earlier start of the same sweep left them; writes nothing.

    Raises:
        RunDirError: the directory holds another sweep, or runs of no sweep.
    """
    states = [State(trial, path / trial.name) for trial in trials]
    found = None  # where the file is damaged or lost, the trials tell what sweep they are of
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = parse_json(read_bytes(path / SWEEP, _LARGEST, follow=False))["request"]
    if found is not None:
        if found != request:
            differing = [
                k for k in request if not isinstance(found, dict) or found.get(k) != request[k]
            ]
            what = ", ".join(k for k in differing if k != "resolved") or "defaults of this version"
            raise RunDirError(
                f"{path} holds a sweep with another request (different: {what})",
                "repeat its own command to resume it, or choose another --run-dir",
            )
    elif (path / LAST).exists() or not all(map(_is_own, states)):
        raise RunDirError(
            f"{path} already holds runs of no sweep, or of another", "choose another --run-dir"
        )
    for state in states:
        state.read()
    return states


def _is_own(state: State) -> bool:
    """Whether what lies in a trial's directory is that trial, or nothing that tells."""
    try:
        found = to_dict(checkpoint.read_header(state.run_dir / LAST)[0].config)
    except CheckpointError:
        return True
    own = to_dict(state.trial.config)
    changeable = {name for name, f in settings().items() if f.metadata["on_resume"]}
    fixed = (own.keys() | found.keys()) - changeable | {"total_steps"}
    return all(own.get(name) == found.get(name) for name in fixed)


def save(run: RunDir, request: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write sweep.json: the request, and the record of `summary.sum_up` so far."""
    document = {"request": request, **record}
    run.save((json.dumps(document, indent=1, allow_nan=False) + "\n").encode(), SWEEP)
