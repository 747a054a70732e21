"""Running scales of rewards and advantages; plain NumPy, exact in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_CLIP = 10.0  # the bound on a scaled reward, as OpenAI's baselines set it


class AdvantageScale:
    """σ_A, the root mean square of the advantages over about the last hundred updates.

    σ² ← σ² + w (mean_t A_t² - σ²), w = max(1 / updates, .01). Not of one update alone: in a
    segment without rewards that would take noise for a signal.

    """

    def __init__(self) -> None:
        self._square, self._count = 0.0, 0

    def update(self, square: float) -> float:
        """Take an update's mean_t A_t² into account; returns σ."""
        self._count += 1
        weight = max(1.0 / self._count, 0.01)
        self._square += weight * (square - self._square)
        return math.sqrt(self._square)

    def get_state(self) -> NDArray[np.float64]:
        """(2,) for a checkpoint."""
        return np.array([self._square, self._count])

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Restore `get_state`."""
        square, count = state.tolist()
        self._square, self._count = float(square), int(count)


class RewardScaler:
    """r / σ(R), where R is the running discounted return: keeps value targets near unit scale.

    R_t = γ R_{t-1} + r_t, reset at the end of an episode; its standard deviation is taken over
    everything seen so far. The mean is left alone: it would change the task.

    Args:
        gamma: γ of the learner.
    """

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma
        self._return = 0.0
        self._count, self._mean, self._squares = 0.0, 0.0, 0.0

    def __call__(self, reward: float, episode_over: bool) -> float:
        """The scaled reward, clipped to ±10."""
        self._return = self._gamma * self._return + reward
        self._count += 1.0
        delta = self._return - self._mean
        self._mean += delta / self._count
        self._squares += delta * (self._return - self._mean)
        if episode_over:
            self._return = 0.0
        deviation = math.sqrt(self._squares / self._count) if self._count > 1 else 1.0
        return max(-_CLIP, min(_CLIP, reward / (deviation + 1e-8)))

    def end_episode(self) -> None:
        """The episode has ended without another reward."""
        self._return = 0.0

    def get_state(self) -> dict[str, NDArray[np.float64]]:
        """Plain arrays for a checkpoint."""
        return {"reward": np.array([self._return, self._count, self._mean, self._squares])}

    def set_state(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Restore `get_state`."""
        self._return, self._count, self._mean, self._squares = state["reward"].tolist()
