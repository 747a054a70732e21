"""What an environment looks like to the agent: plain data, kept in every checkpoint's header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import FailFast, Field, JsonValue

if TYPE_CHECKING:  # headers are read without NumPy
    from numpy.typing import NDArray

# What is kept in files has bounds, and the first wrong item ends the reading: a header may come
# from a stranger.
_FEW = Field(max_length=10_000)
Text = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, lt=2**48)]
Shape = Annotated[tuple[Count, ...], FailFast(), _FEW]
_Names = Annotated[tuple[Text, ...], FailFast(), _FEW]
_Integers = Annotated[
    tuple[Annotated[int, Field(ge=-(2**63), lt=2**63)], ...], FailFast(), Field(max_length=2**20)
]
_Bounds = Annotated[  # infinite ones too, but not NaN
    tuple[Annotated[float, Field(ge=-math.inf)], ...], FailFast(), Field(max_length=2**20)
]
_Values = Mapping[str, bool | int | Annotated[float, Field(allow_inf_nan=False)] | str]
_Arguments = Mapping[str, JsonValue]  # see config.checks.check_env_arg


@dataclass(frozen=True)
class Part:
    """One part of an observation, as the environment gives it.

    Args:
        path: the keys of Dicts and the places in Tuples that lead to it; empty for all of it.
        kind: `numbers` (a Box), `choices` (Discrete or MultiDiscrete), `bits` (MultiBinary),
            `picture`, or `left out` (text).
        shape: of its array; () for Discrete.
        dtype: NumPy's name of its type.
        sizes: of `choices`: how many values each has.
        start: the smallest of them. Of a picture: the values that are black and white.
        axes: of a picture: `hw`, `hwc` or `chw`.
    """

    path: Annotated[tuple[Text | int, ...], FailFast(), Field(max_length=20)] = ()
    kind: Text = "numbers"
    shape: Shape = ()
    dtype: Text = "float32"
    sizes: Shape = ()
    start: _Bounds = ()
    axes: Text = ""

    @property
    def name(self) -> str:
        """For people: `arm.joints`; empty for all of an observation."""
        return ".".join(map(str, self.path))

    @property
    def width(self) -> int:
        """How many numbers of a vector it becomes."""
        if self.kind == "choices":
            return sum(self.sizes)
        return math.prod(self.shape) if self.kind in ("numbers", "bits") else 0


@dataclass(frozen=True)
class ActionSpec:
    """The action space, and the way from a policy's output to an action of the environment.

    Args:
        kind: `discrete` (one choice of `sizes[0]`), `multidiscrete` (one choice of each size) or
            `continuous` (`sizes[0]` real numbers).
        sizes: see kind.
        shape: shape of an action as the environment takes it; () for discrete.
        dtype: NumPy dtype of such an action.
        meanings: names of the actions where the environment gives them, else empty.
        start: the smallest action of each choice; empty for continuous.
        low, high: bounds of each real number, may be infinite; empty otherwise.
    """

    kind: Text
    sizes: Shape
    shape: Shape = ()
    dtype: Text = "int64"
    meanings: _Names = ()
    start: _Integers = ()
    low: _Bounds = ()
    high: _Bounds = ()

    @property
    def outputs(self) -> int:
        """Units of the actor head: a logit per choice, or a mean per real number."""
        return sum(self.sizes)

    @property
    def numbers(self) -> int:
        """How many real numbers it has; 0 where it is discrete."""
        return self.sizes[0] if self.kind == "continuous" else 0

    @property
    def max_entropy(self) -> float | None:
        """Entropy of the uniform policy in nats, Σ ln(size); None for real numbers."""
        return None if self.kind == "continuous" else sum(math.log(n) for n in self.sizes)

    def to_env(self, action: Any) -> Any:
        """The environment's action for a policy's.

        Discrete choices count from 0 in the policy and from `start` in the environment. A real
        number is in units of half its range around the middle, clipped to the bounds; where a
        bound is infinite it is taken as it is.

        Args:
            action: int, (choices,) integers, or (numbers,) floats.
        """
        import numpy as np

        if self.kind == "discrete":  # what `action_space.sample()` gives
            return np.dtype(self.dtype).type(int(action) + self.start[0])
        if self.kind == "multidiscrete":
            offset = np.asarray(self.start, dtype=np.int64)
            return (np.asarray(action) + offset).astype(self.dtype).reshape(self.shape)
        low, high = np.asarray(self.low), np.asarray(self.high)
        bounded = np.isfinite(low) & np.isfinite(high)
        middle = np.where(bounded, (np.where(bounded, low, 0) + np.where(bounded, high, 0)) / 2, 0)
        half = np.where(bounded, (np.where(bounded, high, 0) - np.where(bounded, low, 0)) / 2, 1)
        native = np.clip(middle + half * np.asarray(action, dtype=np.float64), low, high)
        return native.astype(self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class EnvSpec:
    """One environment and how its observations are made.

    Args:
        id: Gymnasium id, as `gymnasium.make` takes it.
        kind: `atari`, `image` or `vector`.
        obs_shape: shape of one observation: (channels, height, width) or (features,).
        obs_dtype: `uint8` for pixels, `float32` for vectors.
        action: the action space.
        args: keyword arguments of `gymnasium.make`.
        wrappers: the preprocessing, by name (frame_skip, frame_stack, noop_max, ...).
        parts: what an observation is made of; empty for Atari games, and in old checkpoints.
        pictures: (channels, height, width) of each picture of a `mixed` observation; they stand
            first in it, the numbers behind them.
        frames_per_step: of the environment itself, where it skips some (Atari games seen as RAM).
    """

    id: Text
    kind: Text
    obs_shape: Shape
    obs_dtype: Text
    action: ActionSpec
    args: _Arguments = field(default_factory=dict)
    wrappers: _Values = field(default_factory=dict)
    parts: Annotated[tuple[Part, ...], FailFast(), _FEW] = ()
    pictures: Annotated[tuple[Shape, ...], FailFast(), Field(max_length=100)] = ()
    frames_per_step: Count = 1

    @property
    def frame_skip(self) -> int:
        """Frames of the environment per agent step."""
        skip: Any = self.wrappers.get("frame_skip", 1)
        return int(skip) * self.frames_per_step

    @property
    def features(self) -> int:
        """How many of an observation's values are numbers, not pixels."""
        if self.obs_dtype == "uint8":
            return 0
        return self.obs_shape[0] - sum(math.prod(picture) for picture in self.pictures)

    @property
    def channels(self) -> int:
        """Of one picture; an observation stacks several."""
        stack: Any = self.wrappers.get("frame_stack", 1)
        return self.obs_shape[0] // int(stack)

    @property
    def continuous(self) -> bool:
        """Whether actions are real numbers."""
        return self.action.kind == "continuous"

    @property
    def numbers(self) -> int:
        """How many real numbers an action has; 0 where actions are discrete."""
        return self.action.numbers


Obs: TypeAlias = "NDArray[Any]"
