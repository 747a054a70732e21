"""The trackers of one run: opened, fed, and left out when they fail.

What a tracker does can end neither the run nor its exactness: it only reads, and one that fails
is left out from then on, with a warning.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.config.settings import TrainConfig
from a2c_cli.errors import A2CError
from a2c_cli.tracking.tracker import Tracker, Value, open_tracker


class Trackers:
    """All the trackers of a run; values wait in memory until `flush`.

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
        """Take in the values of one step."""
        if self._open:
            self._waiting.append((env_steps, values))

    def flush(self) -> None:
        """Hand everything over; comes before a checkpoint, so that none is ahead of the curves."""
        for tracker in list(self._open.values()):
            self._guard(tracker, self._hand_over)
        self._waiting.clear()

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
            self._warn(f"--tracker {name} failed and is left out from here on: {_describe(error)}")
            with contextlib.suppress(Exception):
                tracker.close()

    def close(self) -> None:
        """Hand over what waits and end all sessions."""
        self.flush()
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


def check_installed(names: tuple[str, ...]) -> None:
    """Whether the packages of these trackers can be imported; none is.

    Raises:
        A2CError: one is missing; the hint is the line that installs it.
    """
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a mere directory ./wandb is no package
            raise A2CError(
                f"--tracker {name} needs the package {name}, which is not installed",
                f'pip install "a2c-cli[{name}]"',
            )


def open_trackers(
    run_path: Path, config: TrainConfig, env_steps: int, warn: Callable[[str], None]
) -> Trackers:
    """Start, or go on with, the sessions that a run's settings ask for.

    Args:
        run_path: the run directory, ours.
        config: resolved.
        env_steps: how far the run has come.
        warn: told about a tracker that fails later on.

    Raises:
        A2CError: one cannot be started.
    """
    opened: dict[str, Tracker] = {}
    for name in config.tracker:
        try:
            opened[name] = open_tracker(name, run_path, config, env_steps)
        except Exception as error:
            Trackers(opened, warn).close()
            hint = "wandb login, or WANDB_MODE=offline" if name == "wandb" else "leave it out"
            raise A2CError(f"--tracker {name} did not start: {_describe(error)}", hint) from error
    return Trackers(opened, warn)


def _describe(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
