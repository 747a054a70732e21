"""A segment: T transitions and T+1 observations, gathered with one set of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import EnvSpec, Obs

_GROWTH = 256


class Segment:
    """Preallocated arrays for one segment.

    A step is begun with what the policy saw and chose, and ended with what came of it.
    Terminations may stand anywhere in a segment; a truncation ends it.

    Args:
        spec: the environment.
        length: T; 0 for a segment as long as its episode (the arrays then grow).
    """

    def __init__(self, spec: EnvSpec, length: int) -> None:
        self._length = length
        self._choices = np.array([] if spec.continuous else spec.action.sizes)
        self._obs = np.zeros((0, *spec.obs_shape), spec.obs_dtype)
        width = len(spec.action.sizes) if spec.action.kind == "multidiscrete" else 0
        if spec.continuous:
            self._actions: NDArray[Any] = np.zeros((0, spec.action.outputs), np.float32)
        else:
            self._actions = np.zeros((0, width) if width else (0,), np.int64)
        self._rewards = np.zeros(0, np.float32)
        self._terminated = np.zeros(0, np.float32)
        self.steps = 0
        self._resize(length or _GROWTH)

    def _resize(self, capacity: int) -> None:
        for name, extra in (("_obs", 1), ("_actions", 0), ("_rewards", 0), ("_terminated", 0)):
            old = getattr(self, name)
            new = np.zeros((capacity + extra, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    @property
    def full(self) -> bool:
        """Whether T steps are in it."""
        return self.steps == self._length

    def begin(self, obs: Obs, action: Any) -> None:
        """What the policy saw and chose."""
        if self.steps == len(self._rewards):
            self._resize(2 * self.steps)
        self._obs[self.steps] = obs
        self._actions[self.steps] = action

    def end(self, reward: float, terminated: bool) -> None:
        """What came of it, as the learner sees it."""
        self._rewards[self.steps] = reward
        self._terminated[self.steps] = terminated
        self.steps += 1

    def close(self, obs: Obs) -> None:
        """The observation after the last step, from before any reset."""
        self._obs[self.steps] = obs

    def clear(self) -> None:
        """Empty it for the next segment."""
        self.steps = 0

    @property
    def observations(self) -> NDArray[Any]:
        """(T+1, *obs_shape); the last one is there once the segment is closed."""
        return self._obs[: self.steps + 1]

    @property
    def actions(self) -> NDArray[Any]:
        """(T,) or (T, choices) int64, (T, numbers) float32."""
        return self._actions[: self.steps]

    @property
    def rewards(self) -> NDArray[np.float32]:
        """(T,)."""
        return self._rewards[: self.steps]

    @property
    def terminated(self) -> NDArray[np.float32]:
        """(T,) 1 where the future is cut off, else 0."""
        return self._terminated[: self.steps]

    def get_state(self, *, closed: bool) -> dict[str, NDArray[Any]]:
        """Plain arrays for a checkpoint, the closing observation included (zeros if open)."""
        obs = self.observations.copy()
        if not closed:
            obs[-1] = 0
        return {
            "obs": obs,
            "actions": self.actions.copy(),
            "rewards": self.rewards.copy(),
            "terminated": self.terminated.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`.

        Raises:
            KeyError, ValueError: the state is not one of this segment's environment.
        """
        steps = len(state["rewards"])
        if self._length and steps > self._length:
            raise ValueError(f"a segment holds {steps} steps, more than {self._length}")
        if steps > len(self._rewards):
            self._resize(steps)
        self.steps = steps
        for name, view in (
            ("obs", self.observations),
            ("actions", self.actions),
            ("rewards", self.rewards),
            ("terminated", self.terminated),
        ):
            if state[name].shape != view.shape or state[name].dtype != view.dtype:
                raise ValueError(f"the segment's {name} have shape {state[name].shape}")
            view[...] = state[name]
        if len(self._choices) and not ((self.actions >= 0) & (self.actions < self._choices)).all():
            raise ValueError("the segment holds actions that there are not")
