"""The Atari stream: the Arcade Learning Environment driven directly, frame by frame.

Gives the pixels and rewards of gymnasium's `AtariPreprocessing` (gray, max over the last two
frames, area-resized) under `FrameStackObservation`, without building the observations in between
that nobody looks at. Protocol of ALE v5 (Machado et al. 2018, arXiv 1709.06009): sticky actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from ale_py import ALEState
from numpy.typing import NDArray

from a2c_cli.envs.frames import FrameResizer
from a2c_cli.envs.spec import ActionSpec, EnvSpec, Obs
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.outside import bounded_memory
from a2c_cli.rng import pack_generator, unpack_generator

# Each would be silently overruled by the preprocessing.
_OWN_ARGS = {
    "frameskip": "use --frame-skip",
    "obs_type": "pixels are always read in gray; obs_type=ram is the only other choice",
    "render_mode": "`a2c record` makes the video",
    "sound_obs": "sound is not supported",
    "continuous": "continuous joystick actions are not supported",
}


class AtariStream:
    """One Atari game as an endless source of observations.

    Observations are (frame_stack, size, size) uint8, oldest frame first. The array is reused:
    copy what must outlive the next step.

    Args:
        env_id: a Gymnasium id registered by ale-py.
        args: further arguments of `gymnasium.make` (mode, difficulty, full_action_space,
            repeat_action_probability, max_num_frames_per_episode, max_episode_steps in agent
            steps).
        wrappers: frame_skip, frame_stack, screen_size, noop_max.
        seed: of the emulator's sticky actions and of the no-op starts.

    Raises:
        ConfigError: an argument that the preprocessing owns.
    """

    def __init__(
        self, env_id: str, args: Mapping[str, Any], wrappers: Mapping[str, Any], seed: int
    ) -> None:
        for name, why in _OWN_ARGS.items():
            if name in args:
                raise ConfigError(f"--env-arg {name} cannot be set on an Atari game", why)
        limit = args.get("max_episode_steps")
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
        ):
            raise ConfigError(f"--env-arg max_episode_steps must be a count, not {limit!r}")
        self.step_limit: int | None = (
            limit  # agent steps, which gymnasium's own wrapper would not see
        )
        env: Any = gymnasium.make(
            env_id, **args, frameskip=1, obs_type="grayscale", disable_env_checker=True
        )
        self._env = env
        self._base = env.unwrapped
        self._ale = self._base.ale
        self._env.reset(seed=seed)
        self._actions = list(self._base._action_set)
        self._skip = int(wrappers["frame_skip"])
        self._noop_max = int(wrappers["noop_max"])
        size, depth = int(wrappers["screen_size"]), int(wrappers["frame_stack"])
        self._last = np.zeros(self._ale.getScreenDims(), np.uint8)
        self._previous = np.zeros_like(self._last)
        self._resize = FrameResizer(self._last.shape, size)
        self._stack = np.zeros((depth, size, size), np.uint8)
        self._opening = b""
        self._opening_rng = pack_generator(self._base.np_random)
        self._history: list[int] = []
        self.success: bool | None = None  # no game says
        self.on_frame: Callable[[NDArray[np.uint8]], None] | None = None
        self.on_frame_error: Callable[[EnvError], None] | None = None  # of other streams' render
        self.spec = EnvSpec(
            id=env_id,
            kind="atari",
            obs_shape=self._stack.shape,
            obs_dtype="uint8",
            action=ActionSpec(
                kind="discrete",
                sizes=(len(self._actions),),
                meanings=tuple(action.name for action in self._actions),
                start=(0,),
            ),
            args=dict(args),
            wrappers=dict(wrappers),
        )

    @property
    def lives(self) -> int:
        """Lives left in this game; 0 where the game has none."""
        return int(self._ale.lives())

    @property
    def frames_per_second(self) -> float:
        """Emulator frames in a second of real time (NTSC)."""
        return 60.0

    @property
    def protocol(self) -> dict[str, Any]:
        """What a reader must know to compare a score."""
        return {
            "sticky_actions": self._ale.getFloat("repeat_action_probability"),
            "frame_skip": self._skip,
            "noop_max": self._noop_max,
            "frame_limit": self._ale.getInt("max_num_frames_per_episode"),
            "step_limit": self.step_limit,
            "fire_reset": False,
            "full_action_space": len(self._actions) == 18,
        }

    def restart(self, seed: int) -> None:
        """Go on as a stream of this seed would begin: the next `reset` is its first."""
        self._env.reset(seed=seed)

    def reset(self) -> Obs:
        """Start the next game: up to noop_max frames of doing nothing, then the first stack."""
        self._ale.reset_game()
        return self._begin()

    def _begin(self) -> Obs:
        self._opening = self._ale.cloneState(include_rng=True).__getstate__()
        self._opening_rng = pack_generator(self._base.np_random)
        self._history.clear()
        if self._noop_max:
            for _ in range(self._base.np_random.integers(1, self._noop_max + 1)):
                self._ale.act(self._actions[0])
                if self._ale.game_over():
                    self._ale.reset_game()
        self._ale.getScreenGrayscale(self._last)
        self._previous.fill(0)
        self._emit_frame()
        self._push_frame()
        self._stack[:-1] = self._stack[-1]
        return self._stack

    def step(self, action: int) -> tuple[Obs, float, bool, bool]:
        """Hold one action for frame_skip frames.

        Returns:
            obs, reward (raw game score), terminated (the game is over), truncated (a limit).
        """
        ale, joystick, skip = self._ale, self._actions[action], self._skip
        self._history.append(int(action))
        reward = 0.0
        terminated = truncated = False
        for frame in range(1, skip + 1):
            reward += ale.act(joystick)
            if self.on_frame is not None:
                self._emit_frame()
            if ale.game_over():
                truncated = ale.game_truncated()
                terminated = ale.game_over(with_truncation=False)
                break
            if frame == skip - 1:
                ale.getScreenGrayscale(self._previous)
            elif frame == skip:
                ale.getScreenGrayscale(self._last)
        if self.step_limit is not None and len(self._history) >= self.step_limit:
            truncated = not terminated
        self._stack[:-1] = self._stack[1:]
        self._push_frame()
        return self._stack, reward, terminated, truncated

    def _push_frame(self) -> None:
        if self._skip > 1:
            np.maximum(self._last, self._previous, out=self._last)
        self._stack[-1] = self._resize(self._last)

    def _emit_frame(self) -> None:
        if self.on_frame is not None:
            self.on_frame(self._ale.getScreenRGB())

    def check_renders(self) -> None:
        """Every game has a screen."""

    def render(self) -> NDArray[np.uint8]:
        """The screen now, (height, width, 3) uint8."""
        screen: NDArray[np.uint8] = self._ale.getScreenRGB()
        return screen

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything that decides how the stream goes on, as plain arrays.

        That is the emulator's state at the start of this game, sticky-action generator included,
        and the actions since. The state as it is now would not do: it lacks the joystick's last
        position, which the next sticky action may repeat; a new game starts from a centred one.
        """
        return {
            "opening": np.frombuffer(self._opening, np.uint8).copy(),
            "rng": self._opening_rng,
            "actions": np.array(self._history, np.int64),
            "obs": self._stack.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> Obs:
        """Restore a state of `get_state` by replaying the game; returns the current observation.

        Raises:
            EnvError: the state does not belong to this game or these settings.
        """
        try:
            opening, actions, obs = state["opening"], state["actions"], state["obs"]
            unpack_generator(self._base.np_random, state["rng"])
            if len(opening):
                emulator: Any = ALEState.__new__(ALEState)
                with bounded_memory():  # it reserves what lengths in the bytes say
                    emulator.__setstate__(opening.tobytes())
                    self._ale.reset_game()  # centres the joystick
                    self._ale.restoreState(emulator)
                self._begin()
                over = False
                for action in actions.tolist():
                    if over:
                        raise ValueError("the game is over before its last action")
                    _, _, terminated, truncated = self.step(action)
                    over = terminated or truncated
            if obs.size and not np.array_equal(self._stack, obs):
                raise ValueError("replaying it leads elsewhere")
        # ale-py raises a SystemError on bytes that are no state.
        except (
            KeyError, IndexError, ValueError, RuntimeError, TypeError, SystemError, MemoryError
        ) as error:  # fmt: skip
            raise EnvError(
                f"the saved emulator state does not fit {self.spec.id}: {error}"
            ) from None
        return self._stack

    def skip_episode(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up a state without its game: `reset` begins the next one.

        Raises:
            EnvError: as `set_state`.
        """
        self.set_state({**state, "actions": np.zeros(0, np.int64), "obs": np.zeros(0, np.uint8)})

    @property
    def replayable(self) -> bool:
        """A game can always be played once more."""
        return True

    def close(self) -> None:
        """Free the emulator."""
        self._env.close()
