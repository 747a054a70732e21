"""The trackers of one run: opened, fed, and left out when they fail.

What a tracker does can end neither the run nor its exactness: it only reads, and one that fails
is left out from then on, with a warning.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.config.settings import Settings
from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.runs.directory import spell_trackers
from a2c_cli.text import error_text
from a2c_cli.tracking.tracker import Factory, Tracker, Value, find_tracker, lacking

_BATCH = 1000  # steps that are handed over at once where there are many


class Trackers:
    """All the trackers of a run; values wait in memory until `flush`, those of one step as one.

    So each tracker gets a step whole or not at all, and after a kill its last step says what it
    lacks: `catch_up` sends that again, out of metrics.jsonl.

    Args:
        opened: by name.
        warn: told once about each tracker that fails.
    """

    def __init__(self, opened: Mapping[str, Tracker], warn: Callable[[str], None]) -> None:
        self._open, self._warn = dict(opened), warn
        self._waiting: list[tuple[int, Mapping[str, Value]]] = []

    def __bool__(self) -> bool:
        """Whether there is any left to log to."""
        return bool(self._open)

    @property
    def places(self) -> tuple[str, ...]:
        """Where to look at each, for the user."""
        return tuple(tracker.place for tracker in self._open.values())

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        """Take in values of a step, which add to what has come of it before."""
        if not self._open:
            return
        if self._waiting and self._waiting[-1][0] == env_steps:
            values = {**self._waiting.pop()[1], **values}
        self._waiting.append((env_steps, values))

    def catch_up(self, steps: Iterable[tuple[int, Mapping[str, Value]]]) -> None:
        """Hand over what a tracker has not got of the steps before a resume, in their order."""
        for env_steps, values in steps:
            if len(self._waiting) > _BATCH and env_steps != self._waiting[-1][0]:
                self.flush()
            if any(env_steps > tracker.last_step for tracker in self._open.values()):
                self.log(env_steps, values)

    def flush(self, owed: int = -1) -> None:
        """Hand everything over; comes before a checkpoint, so that none is ahead of the curves.

        Args:
            owed: a step of which more will come, which therefore stays.
        """
        kept = [(env_steps, values) for env_steps, values in self._waiting if env_steps == owed]
        self._waiting = [entry for entry in self._waiting if entry[0] != owed]
        for tracker in list(self._open.values()):
            self._guard(tracker, self._hand_over)
        self._waiting = kept

    def _hand_over(self, tracker: Tracker) -> None:
        for env_steps, values in self._waiting:
            if env_steps > tracker.last_step:
                there = {n: v for n, v in values.items() if not isinstance(v, Path) or v.exists()}
                tracker.log(env_steps, there)
        if self._waiting:
            tracker.flush()

    def _guard(self, tracker: Tracker, action: Callable[[Tracker], None]) -> None:
        name = next(name for name, other in self._open.items() if other is tracker)
        try:
            action(tracker)
        except Exception as error:
            del self._open[name]
            self._warn(
                f"--tracker {name} failed and is left out from here on: {error_text(error)[:300]}"
            )
            with contextlib.suppress(Exception):
                tracker.close()

    def close(self, owed: int = -1) -> None:
        """Hand over what waits, but for the step that is owed, and end all sessions."""
        self.flush(owed)
        for tracker in list(self._open.values()):
            self._guard(tracker, lambda tracker: tracker.close())
        self._open.clear()


def histograms(network: Any) -> dict[str, NDArray[np.float32]]:
    """Every weight of a torch module, and its gradient of the last update if there has been one.

    The names are those of `wandb.watch`.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for name, parameter in network.named_parameters():
        found[f"parameters/{name}"] = parameter.detach().cpu().numpy()
        if parameter.grad is not None:
            found[f"gradients/{name}"] = parameter.grad.cpu().numpy()
    return found


def check_named(found: Sequence[str], named: Sequence[str] | None) -> None:
    """Whether the trackers that a checkpoint names may be opened.

    Args:
        found: the names in the checkpoint, which may come from a stranger.
        named: those that the user has given instead, None for none. A tracker that imports a
            module (`module:factory`) is only followed if it stands here.

    Raises:
        ConfigError: one would import a module unasked.
    """
    outside = [name for name in found if ":" in name]
    if outside and named is None:
        raise ConfigError(
            f"the run's tracker {outside[0]!r} would import a Python module",
            f"if you trust it, name it: {shlex.join(spell_trackers(found))} (else --tracker none)",
        )


def find_trackers(names: Sequence[str]) -> dict[str, Factory]:
    """What makes each tracker; whatever is wrong with a name is found before a run begins.

    Raises:
        A2CError: see `find_tracker`.
    """
    return {name: find_tracker(name) for name in names}


def open_trackers(
    run_path: Path, config: Settings, env_steps: int, warn: Callable[[str], None]
) -> Trackers:
    """Start, or resume, the sessions that a run's settings ask for.

    Args:
        run_path: the run directory, ours.
        config: the run's settings.
        env_steps: how far the run has come; the last step of which nothing more will come.
        warn: told about a tracker that fails later on.

    Raises:
        A2CError: one cannot be started.
    """
    opened: dict[str, Tracker] = {}
    for name, make in find_trackers(config.tracker).items():
        hint = "wandb login, or WANDB_MODE=offline" if name == "wandb" else "leave it out"
        try:
            opened[name] = make(run_path, config, env_steps)
            lacks = lacking(opened[name])
        except Exception as error:
            Trackers(opened, warn).close()
            raise A2CError(
                f"--tracker {name} did not start: {error_text(error)[:300]}", hint
            ) from error
        if lacks:
            del opened[name]
            Trackers(opened, warn).close()
            raise A2CError(
                f"--tracker {name} has made no tracker: it lacks {', '.join(lacks)}",
                "see Tracker in a2c_cli/tracking/tracker.py",
            )
    return Trackers(opened, warn)
