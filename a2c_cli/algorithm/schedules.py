"""Schedules of the learning rate and the coefficients of the loss: pure, plain floats."""

from __future__ import annotations

import math
from dataclasses import dataclass

from a2c_cli.config.settings import SHAPES, Settings


@dataclass(frozen=True)
class Schedule:
    """A value that is held, then decays, over the share p ∈ [0, 1] of the budget that is spent.

    With q = clip((p - hold) / (until - hold), 0, 1):

    - constant:    v(p) = start
    - linear:      v(p) = start + q · (end - start)
    - exponential: v(p) = start · (end / start)^q          (start and end must be > 0)

    q is clipped, so no budget overrun can push the value past `end` (a learning rate that goes
    negative after its budget has ruined public runs).

    Args:
        start: value at p = 0.
        end: value from p = until on; ignored by the constant shape.
        shape: one of `SHAPES`.
        hold: share of the budget, in [0, 1), during which the value stays at `start`.
        until: share of the budget, in (hold, 1], at which it has reached `end`.

    Raises:
        ValueError: the shape is unknown, hold and until are not such shares, or an exponential
            touches zero.
    """

    start: float
    end: float
    shape: str = "linear"
    hold: float = 0.0
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"unknown schedule shape {self.shape!r}")
        if not 0.0 <= self.hold < self.until <= 1.0:
            raise ValueError(f"not 0 <= hold {self.hold} < until {self.until} <= 1")
        if self.shape == "exponential" and not (self.start > 0.0 and self.end > 0.0):
            raise ValueError("an exponential schedule needs start > 0 and end > 0")

    def __call__(self, progress: float) -> float:
        """The value when the share `progress` of the budget is spent."""
        if self.shape == "constant":
            return self.start
        q = min(max((progress - self.hold) / (self.until - self.hold), 0.0), 1.0)
        if q == 1.0:
            return self.end
        if self.shape == "linear":
            return self.start + q * (self.end - self.start)
        return self.start * math.exp(q * math.log(self.end / self.start))


def entropy_schedule(config: Settings) -> Schedule:
    """β as a function of the share of the budget that is spent."""
    return Schedule(
        config.entropy_coef, config.entropy_coef_end, config.entropy_schedule, config.entropy_hold
    )


def learning_rate_schedule(config: Settings) -> Schedule:
    """The factor on every learning rate as a function of the share of the budget."""
    return Schedule(1.0, config.learning_rate_end, config.learning_rate_schedule)


def prediction_schedule(config: Settings) -> Schedule:
    """κ as a function of the share of the budget that is spent."""
    return Schedule(config.prediction_coef, 0.0, until=config.prediction_share)
