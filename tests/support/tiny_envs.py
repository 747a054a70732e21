"""Environments of a few lines, each there to show one thing; importing this registers `tiny/*`."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class Bandit(gymnasium.Env[Any, Any]):
    """One step an episode; arm k pays 1 with probability `odds[k]`."""

    observation_space = spaces.Box(0.0, 1.0, (1,))
    action_space = spaces.Discrete(3)
    odds = (0.2, 0.8, 0.5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> Any:
        paid = float(self.np_random.random() < self.odds[action])
        return np.ones(1, np.float32), paid, True, False, {}


class Telling(Bandit):
    """Says of about every second episode whether it succeeded."""

    def step(self, action: int) -> Any:
        obs, paid, *ends, info = super().step(action)
        info["is_success"] = paid > 0 if self.np_random.random() < 0.5 else None
        return obs, paid, *ends, info


class Chain(gymnasium.Env[Any, Any]):
    """A corridor of 6 cells: right leads to the prize at the end, left back to the start."""

    observation_space = spaces.Discrete(6)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.cell = 0
        return self.cell, {}

    def step(self, action: int) -> Any:
        self.cell = self.cell + 1 if action == 1 else 0
        there = self.cell == 5
        return self.cell, float(there), there, False, {}


class Steady(gymnasium.Env[Any, Any]):
    """Always the same observation and the reward 1; it never ends by itself."""

    observation_space = spaces.Box(0.0, 1.0, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> Any:
        return np.ones(1, np.float32), 1.0, False, False, {}


class Mortal(Steady):
    """Steady, but every twentieth step is a death."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.age = 0
        return super().reset(seed=seed)

    def step(self, action: int) -> Any:
        self.age += 1
        obs, reward, _, _, info = super().step(action)
        return obs, reward, self.age == 20, False, info


class Noise(gymnasium.Env[Any, Any]):
    """Random features; the action, whatever its space, pays its sum. 17 steps an episode.

    Args:
        actions: name of the action space.
        seeded: whether `reset(seed=...)` fixes the randomness.
        writes: whether it writes into the actions that it is given.
    """

    observation_space = spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, actions: str = "discrete", seeded: bool = True, writes: bool = False):
        self.action_space = {
            "discrete": spaces.Discrete(3, start=5),
            "multidiscrete": spaces.MultiDiscrete([2, 3], start=[0, 10]),
            "multibinary": spaces.MultiBinary(3),
            "matrix": spaces.Box(-2.0, 6.0, (2, 2)),
            "half": spaces.Box(
                np.array([0.0, -np.inf, -1.0], np.float32), np.array([np.inf, np.inf, 1.0], "f4")
            ),
            "integers": spaces.Box(0, 5, (2,), np.int64),
        }[actions]
        self.seeded, self.writes = seeded, writes

    def _draw(self) -> NDArray[np.float32]:
        source = self.np_random if self.seeded else np.random.default_rng()
        return source.random(2).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.age = 0
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        self.age += 1
        assert self.action_space.contains(action), action
        reward = float(np.sum(action))
        if self.writes:
            action += 1000
        return self._draw(), reward, self.age == 17, False, {}


class Faulty(gymnasium.Env[Any, Any]):
    """Breaks its contract at the third step, or in reset."""

    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.age = 0
        if self.fault == "raises in reset":
            raise RuntimeError("no power")
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> Any:
        self.age += 1
        obs: Any = np.zeros(2, np.float32)
        reward: Any = 0.0
        if self.age == 3:
            if self.fault == "raises in a library":
                json.loads("{")
            if self.fault == "raises in step":
                raise RuntimeError("arm fell off")
            if self.fault == "exits in step":
                raise SystemExit(0)
            reward = {"nan reward": np.nan, "inf reward": np.inf, "text reward": "a lot"}.get(
                self.fault, 0.0
            )
            obs = {
                "nan observation": np.array([0.0, np.nan], np.float32),
                "wrong shape": np.zeros(3, np.float32),
                "ragged": [[1.0], [1.0, 2.0]],
            }.get(self.fault, obs)
        return obs, reward, False, False, {}


class Picture(gymnasium.Env[Any, Any]):
    """48 x 40 pixels; channel c of the picture at step t is all 10 t + c."""

    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012

    def __init__(self, channels: int = 3, render_mode: str | None = None) -> None:
        self.channels, self.render_mode = channels, render_mode
        shape = (48, 40, channels) if channels else (48, 40)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def _picture(self) -> NDArray[np.uint8]:
        picture = np.zeros((48, 40, max(self.channels, 1)), np.uint8)
        picture[...] = 10 * self.age + np.arange(max(self.channels, 1))
        return picture.reshape(self.observation_space.shape)  # type: ignore[arg-type]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.age = 0
        return self._picture(), {}

    def step(self, action: int) -> Any:
        self.age += 1
        return self._picture(), float(action), self.age == 9, False, {}

    def render(self) -> Any:
        frame = np.zeros((48, 40, 3), np.uint8)
        frame[...] = 10 * self.age
        return frame


class Static(gymnasium.Env[Any, Any]):
    """Looks like a screen without a signal, which no encoder can make small; 20 steps long.

    Args:
        breaks_at: at this step of an episode it cannot be rendered; 0 for never.
    """

    observation_space = spaces.Box(0.0, 1.0, (1,))
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, breaks_at: int = 0) -> None:
        self.render_mode, self.breaks_at = render_mode, breaks_at

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.age = 0
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> Any:
        self.age += 1
        return np.ones(1, np.float32), 1.0, self.age == 20, False, {}

    def render(self) -> Any:
        if self.age and self.age == self.breaks_at:
            raise RuntimeError("the screen went dark")
        return np.random.default_rng(self.age).integers(0, 256, (200, 200, 3), np.uint8)


class Odd(gymnasium.Env[Any, Any]):
    """Has a space that no network here takes."""

    def __init__(self, what: str) -> None:
        fine = spaces.Box(0.0, 1.0, (2,))
        parts = spaces.Dict(a=fine, b=spaces.Sequence(fine))
        self.observation_space = parts if what == "dict" else fine
        self.action_space = spaces.Text(5) if what == "text" else spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}


class Parts(gymnasium.Env[Any, Any]):
    """Sees a Dict with a Tuple in it; can leave a part out, or give it a wrong length."""

    action_space = spaces.Discrete(2)

    def __init__(self, fault: str = "") -> None:
        rest = spaces.Tuple([spaces.Discrete(3), spaces.Box(0.0, 9.0)])
        self.observation_space = spaces.Dict(arm=spaces.Box(-1.0, 1.0, (2, 2)), rest=rest)
        self.fault = fault

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        obs = self.observation_space.sample()
        if self.fault == "missing":
            del obs["arm"]
        elif self.fault == "short":
            obs["arm"] = obs["arm"][0]
        elif self.fault == "outside":
            obs["rest"] = (3, obs["rest"][1])
        return obs, 1.0, False, False, {}


for _name, _kind, _limit in (
    ("Bandit", Bandit, None),
    ("Telling", Telling, None),
    ("Chain", Chain, 50),
    ("Steady", Steady, 20),
    ("Endless", Steady, None),
    ("Mortal", Mortal, None),
    ("Noise", Noise, None),
    ("Faulty", Faulty, None),
    ("Picture", Picture, None),
    ("Static", Static, None),
    ("Odd", Odd, None),
    ("Parts", Parts, 30),
):
    if f"tiny/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(f"tiny/{_name}-v0", entry_point=_kind, max_episode_steps=_limit)
