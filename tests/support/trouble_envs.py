"""Environments that break their contract in the middle of a run; importing registers `trouble/*`.

Each is a corridor that is over after ten steps and goes wrong at its step number `at`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

KINDS = {
    "raise": "raised in step: RuntimeError: the motor is on fire",
    "reset": "raised in reset: RuntimeError: the door is locked",
    "nan-reward": "gave the reward nan",
    "huge-reward": "gave the reward 1e+300",
    "no-reward": "gave the reward None",
    "nan-obs": "outside its space: it is not finite",
    "shape": "outside its space: it has shape (3,), its space says (2,)",
    "text": "which is no number",
    "ragged": "outside its space: it is no array",
    "short": "raised in step: ValueError",
}


class Trouble(gymnasium.Env[Any, Any]):
    """See the module."""

    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, kind: str = "none", at: int = 700, pause: float = 0.0) -> None:
        self._kind, self._at, self._pause, self._total, self._step = kind, at, pause, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._step = 0
        if self._kind == "reset" and self._total >= self._at:
            raise RuntimeError("the door is locked")
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: int) -> Any:
        self._total += 1
        self._step += 1
        time.sleep(self._pause)
        obs: Any = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        reward: Any = float(action)
        if self._total == self._at:
            match self._kind:
                case "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "dead":  # in C, for ever, with Python's lock in hand
                    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
                    library.pthread_mutex_lock(mutex)
                    os.write(2, b"dead\n")
                    library.pthread_mutex_lock(mutex)
                case "raise":
                    raise RuntimeError("the motor\nis on fire")
                case "nan-reward":
                    reward = float("nan")
                case "huge-reward":
                    reward = 1e300
                case "no-reward":
                    reward = None
                case "nan-obs":
                    obs[1] = np.nan
                case "shape":
                    obs = np.zeros(3, np.float32)
                case "text":
                    obs = np.array(["left", "right"])
                case "ragged":
                    obs = [[1.0], [1.0, 2.0]]
                case "short":
                    return obs, reward
        return obs, reward, self._step == 10, False, {}


gymnasium.register("trouble/Trouble-v0", Trouble)
