"""Every other Gymnasium environment as a stream: vectors, one-hot states, several parts, images."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from a2c_cli.envs.spec import ActionSpec, EnvSpec, Obs
from a2c_cli.errors import EnvError, UnknownEnvError
from a2c_cli.rng import make_generator
from a2c_cli.text import error_text

_LARGEST = float(np.finfo(np.float32).max)  # of a reward
_SMALLEST_IMAGE = 36  # pixels a side; below it the Atari convolutions have nothing left to see


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether observations are pixels: uint8 (height, width) or (height, width, channels)."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    height_width = space.shape[:2]
    channels = space.shape[2] if len(space.shape) == 3 else 1
    return (
        len(space.shape) in (2, 3)
        and min(height_width) >= _SMALLEST_IMAGE
        and channels in (1, 3, 4)
    )


def is_vector(space: spaces.Space[Any]) -> bool:
    """Whether observations can be laid out as one vector of fixed length."""
    if isinstance(space, spaces.Dict):
        return all(is_vector(part) for part in space.values())
    if isinstance(space, spaces.Tuple):
        return all(is_vector(part) for part in space)
    return isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )


def action_spec(space: spaces.Space[Any], env_id: str) -> ActionSpec:
    """The action spec of a Gymnasium space.

    Raises:
        UnknownEnvError: a space no policy head exists for.
    """
    dtype = str(space.dtype)
    if isinstance(space, spaces.Discrete):
        return ActionSpec("discrete", (int(space.n),), start=(int(space.start),), dtype=dtype)
    if isinstance(space, spaces.MultiDiscrete):
        sizes = tuple(int(n) for n in space.nvec.ravel())
        start = tuple(int(n) for n in space.start.ravel())
        return ActionSpec("multidiscrete", sizes, space.shape, dtype, start=start)
    if isinstance(space, spaces.MultiBinary):
        count = int(np.prod(space.shape))
        return ActionSpec("multidiscrete", (2,) * count, space.shape, dtype, start=(0,) * count)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = (tuple(float(v) for v in b.ravel()) for b in (space.low, space.high))
        return ActionSpec("continuous", (len(low),), space.shape, dtype, low=low, high=high)
    raise UnknownEnvError(
        f"{env_id} has {type(space).__name__} actions, which are not supported",
        "wrap it to Discrete, MultiDiscrete, MultiBinary or a Box of floats",
    )


class GymStream:
    """A Gymnasium environment as an endless source of observations.

    Episode k of a stream is reset with a seed made from (seed, k), so that it can be replayed:
    where `reset(seed=...)` fixes all the environment's randomness, `get_state` is exact.

    Args:
        env: what `gymnasium.make` returned.
        env_id: the id it was asked for by.
        args: the arguments it was made with.
        wrappers: frame_stack, for images.
        seed: of the whole stream.

    Raises:
        UnknownEnvError: a space that is not supported.
    """

    def __init__(
        self, env: Any, env_id: str, args: Mapping[str, Any], wrappers: Mapping[str, Any], seed: int
    ) -> None:
        self._env, self._seed = env, seed
        space = env.observation_space
        self._space, self._shape = space, space.shape
        self._pixels = is_image(space)
        if self._pixels:
            height, width = space.shape[:2]
            self._channels = space.shape[2] if len(space.shape) == 3 else 1
            depth = int(wrappers["frame_stack"]) * self._channels
            self._stack = np.zeros((depth, height, width), np.uint8)
            shape, dtype = self._stack.shape, "uint8"
        elif is_vector(space) and spaces.flatdim(space):
            shape, dtype = (int(spaces.flatdim(space)),), "float32"
        else:
            raise UnknownEnvError(
                f"{env_id} has {type(space).__name__} observations, which are not supported",
                "wrap it to Box, Discrete, or a Dict or Tuple of them",
            )
        self.on_frame: Callable[[NDArray[np.uint8]], None] | None = None
        self.on_frame_error: Callable[[EnvError], None] | None = None  # None: it is raised
        self._episode = 0
        self._history: list[Any] = []
        self._obs: Obs = np.zeros(shape, dtype)
        self.spec = EnvSpec(
            id=env_id,
            kind="image" if self._pixels else "vector",
            obs_shape=shape,
            obs_dtype=dtype,
            action=action_spec(env.action_space, env_id),
            args=dict(args),
            wrappers=dict(wrappers) if self._pixels else {},
        )

    @property
    def lives(self) -> int:
        """0: lives are a thing of Atari games."""
        return 0

    @property
    def frames_per_second(self) -> float:
        """Steps in a second of real time, as the environment's metadata says; else 30."""
        return float(self._env.metadata.get("render_fps") or 30)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a reader must know to compare a score."""
        limit = self._env.spec.max_episode_steps
        return {"frame_skip": 1, "step_limit": limit, "sticky_actions": None, "noop_max": None,
                "frame_limit": None, "fire_reset": False}  # fmt: skip

    def reset(self) -> Obs:
        """Start the next episode from its own seed.

        Raises:
            EnvError: the environment raised.
        """
        seed = int(make_generator(self._seed, self._episode).integers(2**31))
        self._episode += 1
        self._history = []
        try:
            obs, _ = self._env.reset(seed=seed)
        except (Exception, SystemExit) as error:
            raise EnvError(f"{self.spec.id} raised in reset: {error_text(error)}") from error
        if self._pixels:
            self._stack[...] = 0
        self._obs = self._encode(obs, fill=True)
        self._emit_frame()
        return self._obs

    def step(self, action: Any) -> tuple[Obs, float, bool, bool]:
        """One action, in the environment's own form.

        Returns:
            obs, reward, terminated, truncated.

        Raises:
            EnvError: the environment raised, or gave a reward or observation that is not finite
                or of the wrong shape.
        """
        self._history.append(copy.copy(action))  # the environment may write into what it is given
        try:
            obs, reward, terminated, truncated, _ = self._env.step(action)
            reward = float(reward)
        except (Exception, SystemExit) as error:
            raise EnvError(f"{self.spec.id} raised in step: {error_text(error)}") from error
        if not abs(reward) <= _LARGEST:
            raise EnvError(f"{self.spec.id} gave the reward {reward}", "rewards must be finite")
        self._obs = self._encode(obs, fill=False)
        self._emit_frame()
        return self._obs, reward, bool(terminated), bool(truncated)

    def _encode(self, obs: Any, fill: bool) -> Obs:
        if isinstance(self._space, spaces.Box):
            try:
                array = np.asarray(obs)
                flat = array if self._pixels else array.astype(np.float32).ravel()
            except (ValueError, TypeError) as error:
                raise EnvError(
                    f"{self.spec.id} gave an observation that is no array: {error_text(error)}"
                ) from error
            if array.shape != self._shape:
                raise EnvError(
                    f"{self.spec.id} gave an observation of shape {array.shape},"
                    f" its space says {self._shape}"
                )
            if self._pixels:
                if array.dtype != np.uint8:
                    raise EnvError(
                        f"{self.spec.id} gave pixels of type {array.dtype}, its space says uint8"
                    )
                return self._push_image(array, fill)
        else:
            try:
                flat = np.asarray(spaces.flatten(self._space, obs)).astype(np.float32)
                if flat.shape != self._obs.shape:
                    raise ValueError(f"{len(flat)} numbers instead of {len(self._obs)}")
            except (IndexError, KeyError, ValueError, TypeError) as error:
                raise EnvError(
                    f"{self.spec.id} gave an observation outside its space: {error_text(error)}"
                ) from error
        if not np.isfinite(flat).all():
            raise EnvError(f"{self.spec.id} gave an observation that is not finite")
        return flat

    def _push_image(self, image: NDArray[Any], fill: bool) -> Obs:
        planes = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)
        if fill:
            self._stack.reshape(-1, *planes.shape)[:] = planes
        else:
            self._stack[: -self._channels] = self._stack[self._channels :]
            self._stack[-self._channels :] = planes
        return self._stack

    def _emit_frame(self) -> None:
        if self.on_frame is None:
            return
        try:
            frame = self.render()
        except EnvError as error:
            if self.on_frame_error is None:
                raise
            self.on_frame_error(error)
        else:
            self.on_frame(frame)

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (height, width, 3) uint8.

        Raises:
            EnvError: the environment cannot render.
        """
        try:
            frame: Any = self._env.render()
        except (Exception, SystemExit) as error:
            raise EnvError(f"{self.spec.id} cannot render: {error_text(error)}") from error
        if not isinstance(frame, np.ndarray) or frame.ndim != 3:
            raise EnvError(f"{self.spec.id} cannot render images (render_mode rgb_array)")
        pixels: NDArray[np.uint8] = frame[..., :3].astype(np.uint8)
        return pixels

    def get_state(self) -> dict[str, NDArray[Any]]:
        """The episode's number and its actions so far: enough to replay it from its seed."""
        actions = np.asarray(self._history)
        return {
            "episode": np.array([self._episode], np.int64),
            "actions": actions if len(self._history) else np.zeros((0,), np.int64),
            "obs": self._obs.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> Obs:
        """Replay the current episode up to where it stood; returns the current observation.

        Raises:
            EnvError: the replay does not lead to the saved observation, so this environment's
                randomness is not fixed by its seed.
        """
        try:
            self._episode = int(state["episode"][0])
            actions, obs = state["actions"], state["obs"]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise EnvError(f"the saved state does not fit {self.spec.id}: {error}") from None
        spec = self.spec.action
        dtype = "int64" if spec.kind == "discrete" else spec.dtype
        if len(actions) and (actions.shape[1:] != spec.shape or actions.dtype != dtype):
            raise EnvError(f"the saved actions do not fit {self.spec.id}")
        if self._episode == 0:
            return self._obs
        self._episode -= 1
        self.reset()
        over = False
        for action in actions:
            if over:
                raise EnvError(
                    f"the saved episode of {self.spec.id} is over before its last action"
                )
            *_, terminated, truncated = self.step(
                action if self.spec.action.shape else action.item()
            )
            over = terminated or truncated
        if self._obs.shape != obs.shape or not np.array_equal(self._obs, obs):
            raise EnvError(
                f"{self.spec.id} did not replay to where it was saved:"
                " its randomness is not fixed by reset(seed=...)",
                "exact resume needs a seeded environment",
            )
        return self._obs

    def close(self) -> None:
        """Free the environment; nothing depends any more on whether that works."""
        close_env(self._env)


def close_env(env: Any) -> None:
    """Free an environment of whatever kind; nothing depends any more on whether that works."""
    with contextlib.suppress(Exception, SystemExit):
        env.close()
