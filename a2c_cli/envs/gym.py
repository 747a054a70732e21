"""Every Gymnasium environment but Atari games as a stream."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.encoder import Encoder, OutsideSpaceError
from a2c_cli.envs.guest import Guest, close_env, refuse
from a2c_cli.envs.history import LONGEST, History
from a2c_cli.envs.pixels import to_frame
from a2c_cli.envs.spaces import action_spec, observation_parts
from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.envs.stream import ReplayError
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.rng import make_generator, seed_globals

_LARGEST = float(np.finfo(np.float32).max)  # of a reward
_FASTEST = 1000.0  # frames per second that a film can have


class GymStream:
    """A Gymnasium environment as an endless source of observations.

    Episode k of a stream is reset with a seed made from (seed, k), which seeds the process's
    generators and those of the spaces too, so that it can be replayed: where these seeds fix all
    the environment's randomness, `get_state` is exact.

    Args:
        env: what `gymnasium.make` returned.
        env_id: the id it was asked for by.
        args: the arguments it was made with.
        wrappers: the preprocessing of pictures; unused for vectors.
        seed: of the whole stream.
        guest: what stood around its building.
        lent: whether it is the caller's own, who will close it.

    Raises:
        UnknownEnvError: a space that is not supported.
    """

    def __init__(
        self,
        env: Any,
        env_id: str,
        args: Mapping[str, Any],
        wrappers: Mapping[str, Any],
        seed: int,
        guest: Guest | None = None,
        *,
        lent: bool = False,
    ) -> None:
        self._lent = lent
        self._env, self._guest, self._seed = env, guest or Guest(), seed
        parts = observation_parts(env.observation_space, env_id)
        self._encoder, self._actions = Encoder(parts, wrappers), env.action_space
        encoder, action = self._encoder, action_spec(env.action_space, env_id)
        self._skip = 1 if encoder.kind == "vector" else int(wrappers.get("frame_skip", 1))
        self.on_frame: Callable[[NDArray[np.uint8]], None] | None = None
        self.on_frame_error: Callable[[EnvError], None] | None = None  # None: it is raised
        self.success: bool | None = None
        self._episode, self._opening, self._ends = 0, 0, (False, False)
        self._history = History(action.shape, action.dtype)
        self._obs: Obs = np.zeros(encoder.obs_shape, encoder.obs_dtype)
        self.spec = EnvSpec(
            id=env_id,
            kind=encoder.kind,
            obs_shape=encoder.obs_shape,
            obs_dtype=encoder.obs_dtype,
            action=action,
            args=dict(args),
            wrappers={} if encoder.kind == "vector" else dict(wrappers),
            parts=parts,
            pictures=encoder.pictures,
            frames_per_step=_emulator_frames(env),
        )

    @property
    def lives(self) -> int:
        """0: lives are a thing of Atari games."""
        return 0

    @property
    def replayable(self) -> bool:
        """Whether the episode under way may be played once more; a real device says no."""
        return bool(self._env.metadata.get("replayable", True))

    @property
    def step_limit(self) -> int | None:
        """Steps after which it ends an episode by itself; None where none is known."""
        spec = self._env.spec
        limit = None if spec is None else spec.max_episode_steps
        return None if limit is None else -(-int(limit) // self._skip)

    @property
    def frames_per_second(self) -> float:
        """Frames in a second of real time, as the environment's metadata says; else 30."""
        try:
            rate = float(self._env.metadata.get("render_fps") or 30)
        except (TypeError, ValueError):
            return 30.0
        return min(rate, _FASTEST) if math.isfinite(rate) and rate >= 0.01 else 30.0

    @property
    def protocol(self) -> dict[str, Any]:
        """What a reader must know to compare a score."""
        ale = getattr(self._env.unwrapped, "ale", None)
        emulator = {"sticky_actions": None, "frame_limit": None} if ale is None else {
            "sticky_actions": ale.getFloat("repeat_action_probability"),
            "frame_limit": ale.getInt("max_num_frames_per_episode"),
        }  # fmt: skip
        return {"frame_skip": self.spec.frame_skip, "step_limit": self.step_limit, **emulator,
                "noop_max": None, "fire_reset": False}  # fmt: skip

    def reset(self) -> Obs:
        """Start the next episode from its own seed.

        Raises:
            EnvError: the environment raised.
        """
        seed = int(make_generator(self._seed, self._episode).integers(2**31))
        self._episode += 1
        self._history.clear()
        self._ends, self.success = (False, False), None
        self._seed_spaces(seed)
        try:
            with self._guest.settling():
                obs, _ = self._env.reset(seed=seed)
        except (Exception, SystemExit) as error:
            raise refuse(f"{self.spec.id} raised in reset", error) from error
        self._check_actions()
        self._obs = self._encode(obs, first=True)
        self._opening = zlib.crc32(self._obs.tobytes())
        self._emit_frame()
        return self._obs

    def _check_actions(self) -> None:
        """Some environments set their spaces in reset: the network has its outputs by then.

        Raises:
            EnvError: the actions are others than when it was built.
        """
        space = self._env.action_space
        if space is self._actions:
            return
        now, built = action_spec(space, self.spec.id), self.spec.action
        if dataclasses.replace(now, low=built.low, high=built.high) != built:
            raise EnvError(
                f"{self.spec.id} has other actions after its reset: {space}, at first"
                f" {self._actions}",
                "set action_space once, in __init__",
            )
        self._actions = space

    def restart(self, seed: int) -> None:
        """Go on as a stream of this seed would begin: the next `reset` is its first."""
        self._seed, self._episode = seed, 0

    def _seed_spaces(self, seed: int) -> None:
        """Everything that an environment may draw from beside the generator that reset seeds."""
        seed_globals(seed)
        inner = self._env.unwrapped
        for env in (self._env,) if inner is self._env else (self._env, inner):
            for space in (env.action_space, env.observation_space):
                space.seed(seed)

    def step(self, action: Any) -> tuple[Obs, float, bool, bool]:
        """One action, in the environment's own form, for as many of its steps as are skipped.

        Returns:
            obs, reward, terminated, truncated.

        Raises:
            EnvError: the environment raised, or gave a reward or observation that is not finite
                or outside its space.
        """
        self._history.add(action)
        total, terminated, truncated = 0.0, False, False
        for _ in range(self._skip):
            try:
                with self._guest:
                    obs, reward, terminated, truncated, info = self._env.step(action)
                total += self._number(reward)
                terminated, truncated = bool(terminated), bool(truncated)
            except (Exception, SystemExit) as error:
                if isinstance(error, EnvError):
                    raise
                raise refuse(f"{self.spec.id} raised in step", error) from error
            if isinstance(info, dict) and info.get("is_success") is not None:
                self.success = bool(np.any(info["is_success"]))
            self._emit_frame()
            if terminated or truncated:
                break
        self._history.reward(total)
        self._ends = (terminated, truncated)
        self._obs = self._encode(obs, first=False)
        return self._obs, total, terminated, truncated

    def _number(self, reward: Any) -> float:
        """A reward as a number; some environments give an array with one."""
        value = reward if isinstance(reward, float) else np.asarray(reward, np.float64)
        if not isinstance(value, float):
            if value.size != 1:
                raise EnvError(f"{self.spec.id} gave the reward {reward}, which is not one number")
            value = float(value.item())
        if not abs(value) <= _LARGEST:
            raise EnvError(f"{self.spec.id} gave the reward {reward}", "rewards must be finite")
        return value

    def _encode(self, obs: Any, first: bool) -> Obs:
        try:
            return self._encoder.encode(obs, first)
        except OutsideSpaceError as error:
            raise EnvError(
                f"{self.spec.id} gave an observation outside its space: {error}",
                "correct its observation_space, or what reset and step return",
            ) from error

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

    def check_renders(self) -> None:
        """Whether it says that it can draw; nothing is drawn, so that nothing is changed.

        Raises:
            ConfigError: it says that it cannot.
        """
        modes = self._env.metadata.get("render_modes") or ()
        if self._env.render_mode is None or "rgb_array" not in modes:
            raise ConfigError(
                f"--video-every needs pictures, and {self.spec.id} gives none (render_mode"
                " rgb_array)",
                "leave it out (on --resume: --video-every 0)",
            )

    def render(self) -> NDArray[np.uint8]:
        """The scene now, (height, width, 3) uint8.

        Raises:
            EnvError: the environment cannot render, or what it gives is no picture.
        """
        try:
            with self._guest:
                frame: Any = self._env.render()
        except (Exception, SystemExit) as error:
            raise refuse(f"{self.spec.id} cannot render", error) from error
        try:
            return to_frame(frame)
        except ValueError as error:
            raise EnvError(
                f"{self.spec.id} cannot render images (render_mode rgb_array): {error}"
            ) from None

    def get_state(self) -> dict[str, NDArray[Any]]:
        """The episode's number, its actions and what they paid: enough to replay it."""
        return {
            "episode": np.array([self._episode], np.int64),
            "actions": self._history.actions,
            "rewards": self._history.rewards,
            "steps": np.array([self._history.steps], np.int64),
            "opening": np.array([self._opening], np.int64),
            "ends": np.array(self._ends, np.uint8),
            "obs": np.array(self._obs),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> Obs:
        """Replay the current episode up to where it stood; returns the current observation.

        Raises:
            EnvError: the state is not one of this environment.
            ReplayError: it is, but does not lead to where it was saved. After that `reset` begins
                the next episode.
        """
        actions, obs = self._take_up(state)
        if self._episode == 0:
            return self._obs
        steps = int(state["steps"][0]) if "steps" in state else len(actions)
        if not self.replayable:
            raise ReplayError(f"{self.spec.id} says that it must not be replayed")
        if steps != len(actions):
            raise ReplayError(f"its episode is {steps:,} steps long, more than the {LONGEST:,}"
                              " that are kept")  # fmt: skip
        episode = self._episode
        self._episode -= 1
        try:
            self._replay(actions, state)
        finally:
            self._episode = episode
        if self._obs.shape != obs.shape or not np.array_equal(self._obs, obs):
            raise ReplayError(self._where(len(actions), "what it shows is another"))
        return self._obs

    def skip_episode(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a state without its episode: `reset` begins the next one.

        Raises:
            EnvError: the state is not one of this environment.
        """
        self._take_up(state)

    def _take_up(self, state: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            self._episode = int(state["episode"][0])
            actions, obs = state["actions"], state["obs"]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise EnvError(f"the saved state does not fit {self.spec.id}: {error}") from None
        spec = self.spec.action
        if len(actions) and (actions.shape[1:] != spec.shape or actions.dtype != spec.dtype):
            raise EnvError(f"the saved actions do not fit {self.spec.id}")
        return actions, obs

    def _replay(self, actions: NDArray[Any], state: Mapping[str, NDArray[Any]]) -> None:
        rewards = state.get("rewards", np.zeros(0))
        self.reset()
        if "opening" in state and int(state["opening"][0]) != self._opening:
            raise ReplayError(self._where(0, "what it shows is another"))
        over = False
        for i, action in enumerate(actions):
            if over:
                raise ReplayError(self._where(i, "it is over"))
            form = action.copy() if self.spec.action.shape else np.asarray(action)[()]
            if self.spec.action.kind == "continuous" and not self.spec.action.shape:
                form = np.asarray(action)
            _, reward, terminated, truncated = self.step(form)
            over = terminated or truncated
            if i < len(rewards) and reward != rewards[i]:
                raise ReplayError(
                    self._where(i + 1, f"it pays {reward:.6g} instead of {rewards[i]:.6g}")
                )
        if "ends" in state and tuple(map(bool, state["ends"])) != self._ends:
            raise ReplayError(self._where(len(actions), "it ends there, or no longer does"))

    def _where(self, step: int, what: str) -> str:
        """Where a replay went another way, and what that says of the environment."""
        if step == 0:
            why = ("what reset gives depends on more than its seed: on the episodes before it, on"
                   " a clock, or on randomness of its own")  # fmt: skip
        else:
            why = "what step gives depends on more than the seed and the actions"
        return f"{self.spec.id} replays another way: after step {step:,} {what}; {why}"

    def close(self) -> None:
        """Free the environment; nothing depends any more on whether that works."""
        if not self._lent:
            close_env(self._env)


def _emulator_frames(env: Any) -> int:
    """Frames that the Atari emulator plays in a step, where the environment is one; else 1."""
    skip = getattr(env.unwrapped, "_frameskip", 1)
    return skip if hasattr(env.unwrapped, "ale") and isinstance(skip, int) else 1
