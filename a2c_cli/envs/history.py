"""What has been done in an episode, so that it can be replayed on resume."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_START = 64
LONGEST = 100_000  # steps of an episode; longer ones cannot be replayed, and fill no memory


class History:
    """Actions and rewards of the episode under way, of its first `LONGEST` steps.

    Args:
        shape, dtype: of an action as the environment takes it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self._actions = np.zeros((_START, *shape), dtype)
        self._rewards = np.zeros(_START)
        self.steps = 0

    def clear(self) -> None:
        """A new episode begins."""
        self.steps = 0

    @property
    def complete(self) -> bool:
        """Whether all of the episode is in it."""
        return self.steps <= LONGEST

    def add(self, action: Any) -> None:
        """An action is about to be taken; the environment may write into it, so it is copied."""
        if self.steps < LONGEST:
            if self.steps == len(self._rewards):
                self._actions = np.concatenate([self._actions, np.zeros_like(self._actions)])
                self._rewards = np.concatenate([self._rewards, np.zeros_like(self._rewards)])
            self._actions[self.steps] = action
        self.steps += 1

    def reward(self, reward: float) -> None:
        """What the last action has paid."""
        if self.steps <= LONGEST:
            self._rewards[self.steps - 1] = reward

    @property
    def actions(self) -> NDArray[Any]:
        """(T, *shape); nothing where it is not complete."""
        return self._actions[: self.steps if self.complete else 0].copy()

    @property
    def rewards(self) -> NDArray[np.float64]:
        """(T,); nothing where it is not complete."""
        return self._rewards[: self.steps if self.complete else 0].copy()
