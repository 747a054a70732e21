"""What curves are drawn over, what is averaged, and what the runs are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from a2c_cli.errors import A2CError
from a2c_cli.runs.metrics import WINDOW, FloatArray, Run

STEPS, FRAMES, EPISODES, TIME = "steps", "frames", "episodes", "time"
AXES = (STEPS, FRAMES, EPISODES, TIME)
_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))  # of time


@dataclass(frozen=True)
class View:
    """How curves are to be drawn.

    Args:
        x: one of `AXES`: agent steps, frames, episodes, or time spent on training.
        window: episodes whose returns are averaged for one point of a curve.
        labels: names for runs, by their directory; runs of different names are compared even if
            nothing else sets them apart.
    """

    x: str = STEPS
    window: int = WINDOW
    labels: Mapping[Path, str] = field(default_factory=dict)

    def axis(self, runs: Sequence[Run]) -> Axis:
        """The axis that these runs share.

        Raises:
            A2CError: it is time, and a run has not noted any.
        """
        if self.x != TIME:
            return Axis(self.x, {STEPS: "agent steps"}.get(self.x, self.x))
        for run in runs:
            if run.elapsed is None:
                raise A2CError(f"{run.path} has no times in its metrics", "use --x steps")
        longest = max(run.elapsed[1].max() for run in runs if run.elapsed is not None)
        unit, seconds = next(u for u in _UNITS if longest >= 2 * u[1] or u[1] == 1.0)
        return Axis(self.x, f"{unit} of training", seconds)


@dataclass(frozen=True)
class Axis:
    """What curves are drawn over.

    Args:
        x: one of `AXES`.
        label: in words.
        seconds: of a unit of time.
    """

    x: str = STEPS
    label: str = "agent steps"
    seconds: float = 1.0

    def place(self, run: Run, steps: FloatArray) -> FloatArray:
        """Where agent steps of a run lie on this axis; what comes between two notes, between."""
        if self.x == FRAMES:
            return steps * run.frame_skip
        if self.x == EPISODES:
            return _between(steps, run.episode_steps, np.arange(1.0, len(run.episode_steps) + 1))
        if self.x == TIME:
            assert run.elapsed is not None
            return _between(steps, *run.elapsed) / self.seconds
        return steps


def _between(steps: FloatArray, known: FloatArray, values: FloatArray) -> FloatArray:
    """Interpolated from 0 at step 0 on; never falls."""
    rising = np.maximum.accumulate(np.concatenate([[0.0], values]))
    return np.asarray(np.interp(steps, np.concatenate([[0.0], known]), rising), np.float64)
