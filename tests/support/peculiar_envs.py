"""Environments that do something to the process, or are not fixed by their seed: `odd/*`."""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces


class Plain(gymnasium.Env[Any, Any]):
    """Ten steps, two numbers seen, two actions."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space: Any = spaces.Box(-1, 1, (2,))
    action_space: Any = spaces.Discrete(2)
    length = 10

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def obs(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reward(self, action: Any) -> Any:
        return float(np.sum(action))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.age = 0
        return self.obs(), {}

    def step(self, action: Any) -> Any:
        self.age += 1
        return self.obs(), self.reward(action), self.age >= self.length, False, {}

    def render(self) -> Any:
        return np.full((40, 60, 3), 100, np.uint8)


class Shared(Plain):
    """Draws from the generators that the whole process shares, and from its spaces'."""

    def obs(self) -> Any:
        return np.array([random.uniform(-1, 1), np.random.uniform(-1, 1)], np.float32)

    def reward(self, action: Any) -> Any:
        return float(self.action_space.sample() + self.observation_space.sample()[0]
                     + torch.rand(()).item())  # fmt: skip


class Counting(Plain):
    """Each episode depends on how many came before."""

    games = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.games += 1
        return super().reset(seed=seed)

    def obs(self) -> Any:
        return np.array([self.games / 1000, 0.0], np.float32)


class Chance(Plain):
    """Its observations are the same in every run, its rewards are not."""

    def obs(self) -> Any:
        return np.full(2, self.age / 10, np.float32)

    def reward(self, action: Any) -> Any:
        return float(np.random.default_rng().random())


class Device(Plain):
    """A real device: what has been done to it is not done once more."""

    metadata = {"replayable": False, "render_modes": []}  # noqa: RUF012
    built = 0

    def __init__(self, render_mode: str | None = None) -> None:
        type(self).built += 1
        super().__init__(render_mode)


class Once(Plain):
    """Can be built once per process."""

    built = 0

    def __init__(self, render_mode: str | None = None) -> None:
        type(self).built += 1
        if type(self).built > 1:
            raise RuntimeError("only one connection")
        super().__init__(render_mode)


class Moves(Plain):
    """Stands in a directory of its own, and needs it."""

    def __init__(self, to: str, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.to = to
        os.chdir(to)

    def step(self, action: Any) -> Any:
        assert os.getcwd() == self.to
        return super().step(action)


class Prints(Plain):
    """Talks in Python and below it."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        print("python talks in \x1b[31mred\x1b[0m\x1b]0;title\x07")
        os.write(1, b"\x1b[2J\x1bcthe system talks\0\n" + b"x" * 100_000 + b"\n")


class Crashes(Plain):
    """Ends as C code does whose assertion has failed."""

    def __init__(self, render_mode: str | None = None) -> None:
        os.write(2, b"assertion failed: world\n")
        os.abort()


class Exits(Plain):
    """Ends the process, as it thinks."""

    def __init__(self, render_mode: str | None = None) -> None:
        sys.exit(0)


class Torch(Plain):
    """Sets torch up for itself, and NumPy too."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        np.seterr(all="raise")


class Scalar(Plain):
    """Actions without a shape, rewards with one."""

    action_space = spaces.Box(-1, 1, ())

    def reward(self, action: Any) -> Any:
        return np.array([action.item()])


class Robot(Plain):
    """A camera, joints and what is asked of it; the camera and the joints tell what pays."""

    observation_space = spaces.Dict(
        camera=spaces.Box(0, 255, (40, 44, 3), np.uint8),
        joints=spaces.Box(-np.inf, np.inf, (2,), np.float64),
        task=spaces.Text(10),
    )
    action_space = spaces.MultiDiscrete([2, 2])

    def obs(self) -> Any:
        self.bright = int(self.np_random.integers(2))
        self.bent = int(self.np_random.integers(2))
        camera = np.full((40, 44, 3), 20 + 200 * self.bright, np.uint8)
        return {"camera": camera, "joints": np.array([1e8 + self.bent, 0.0]), "task": "go"}

    def step(self, action: Any) -> Any:
        paid = float(action[0] == self.bright) / 2 + float(action[1] == self.bent) / 2
        obs, _, over, cut, info = super().step(action)
        return obs, paid, over, cut, info


for _kind in (
    Plain,
    Shared,
    Counting,
    Chance,
    Device,
    Once,
    Moves,
    Prints,
    Crashes,
    Exits,
    Torch,
    Scalar,
    Robot,
):
    if f"odd/{_kind.__name__}-v0" not in gymnasium.registry:
        gymnasium.register(f"odd/{_kind.__name__}-v0", entry_point=_kind)
