"""β, the weight of the entropy bonus: a schedule, and a floor under the entropy itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.algorithm.schedules import Schedule, entropy_schedule
from a2c_cli.config.settings import Settings

_RATE = 0.05  # of ln b per update and unit of relative entropy
_LOWEST, _FIRST, _HIGHEST = 1e-5, 1e-3, 0.1  # of b


class EntropyBonus:
    """Keeps the policy from becoming certain before it has learned.

        β = max(β_schedule(p), b),    ln b ← ln b + .05 (f(p) - H / ln |A|)  at every update

    where p is the share of the budget that is spent and f falls linearly from `entropy_floor` to
    `entropy_floor_end`. While the entropy H is above the share f of its maximum, b shrinks and the
    schedule rules; below, b grows until H is back. It is the adapted temperature of Haarnoja et al.
    2018 (arXiv 1812.05905, section 5), used as a floor only.

    Args:
        config: the run's settings.
        max_entropy: ln |A| in nats; None (a Gaussian policy) or 0 for no floor.
    """

    def __init__(self, config: Settings, max_entropy: float | None) -> None:
        self._schedule = entropy_schedule(config)
        self._floor = Schedule(config.entropy_floor, config.entropy_floor_end)
        self._max_entropy = max_entropy if config.entropy_floor else None
        self._log_multiplier = math.log(_FIRST)

    def update(self, entropy: float, progress: float) -> float:
        """β of this update.

        Args:
            entropy: H, mean over the update's steps, in nats.
            progress: p.
        """
        scheduled = self._schedule(progress)
        if not self._max_entropy:
            return scheduled
        missing = self._floor(progress) - entropy / self._max_entropy
        adapted = self._log_multiplier + _RATE * missing
        self._log_multiplier = min(max(adapted, math.log(_LOWEST)), math.log(_HIGHEST))
        return max(scheduled, math.exp(self._log_multiplier))

    def get_state(self) -> dict[str, NDArray[Any]]:
        """ln b for a checkpoint, where there is a floor."""
        if not self._max_entropy:
            return {}
        return {"learner.entropy_multiplier": np.array([self._log_multiplier])}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`.

        Raises:
            KeyError, ValueError: there is none, or it is no number.
        """
        if self._max_entropy:
            found = float(state["learner.entropy_multiplier"][0])
            if not math.log(_LOWEST) <= found <= math.log(_HIGHEST):
                raise ValueError(f"the entropy floor's multiplier is e^{found:g}")
            self._log_multiplier = found
