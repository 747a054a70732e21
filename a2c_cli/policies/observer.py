"""From observations as an environment gives them to those that an agent sees, frames included.

Training, evaluation and films read streams, which do this by themselves. This is for loops over an
environment that somebody else has made.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from a2c_cli.envs.encoder import Encoder, OutsideSpaceError, part_of
from a2c_cli.envs.spec import EnvSpec, Obs, Part
from a2c_cli.errors import ObservationError

_GIVE = "give what the environment's reset and step return"


class Observer:
    """What one environment shows an agent, one observation after the other.

    Pictures are made smaller, gray and stacked as they were in training. Taken is also what has
    been prepared already: an array of `spec.obs_shape`, as the streams of `make_env` give it, or
    gymnasium's AtariPreprocessing under FrameStackObservation.

    Args:
        spec: the environment.
    """

    def __init__(self, spec: EnvSpec) -> None:
        self._spec = spec
        self._parts = spec.parts or _parts_before_there_were_any(spec)
        self._encoder: Encoder | None = None
        self._first = True

    def reset(self) -> None:
        """The next observation opens an episode."""
        self._first = True

    def see(self, obs: Any) -> Obs:
        """An observation as the agent sees it; its pictures are behind those of the next ones.

        Raises:
            ObservationError: it is none of this environment, or not finite.
        """
        if self._is_prepared(obs):
            return _finite(obs)
        seen = self._encode(self._encoder_for(obs), obs)
        self._first = False
        return seen

    def glimpse(self, obs: Any) -> Obs:
        """As `see`, but nothing is remembered. What shows the last pictures once more is the last.

        Raises:
            ObservationError: as `see`.
        """
        if self._is_prepared(obs):
            return _finite(obs)
        encoder = self._encoder_for(obs)
        trial = copy.deepcopy(encoder)
        seen = self._encode(trial, obs)
        if self._first or not trial.repeats:
            return seen
        return self._encode(encoder, obs, push=False)

    def count(self, obs: Any) -> int | None:
        """How many observations of parallel environments these are; None if it is a single one."""
        if self._is_prepared(obs):
            return None
        if isinstance(obs, np.ndarray) and obs.shape[1:] == self._spec.obs_shape:
            return len(obs)
        if not self._parts:  # an emulator's screens: (n, height, width, 3), or gray ones
            screens = isinstance(obs, np.ndarray) and (
                obs.ndim == 4 or (obs.ndim == 3 and obs.shape[-1] > 4)
            )
            return len(obs) if screens and obs.shape != self._spec.obs_shape else None
        part = next(part for part in self._parts if part.kind != "left out")
        try:
            shape = np.shape(part_of(obs, part))
        except (OutsideSpaceError, ValueError):
            return None  # it is none at all, which `see` says in words
        return shape[0] if len(shape) == len(part.shape) + 1 else None

    def _is_prepared(self, obs: Any) -> bool:
        if not isinstance(obs, np.ndarray) or obs.shape != self._spec.obs_shape:
            return False
        if obs.dtype.kind != np.dtype(self._spec.obs_dtype).kind:
            return False
        own = len(self._parts) == 1 and not self._parts[0].path
        return not (own and self._parts[0].shape == obs.shape)

    def _encoder_for(self, obs: Any) -> Encoder:
        if self._encoder is None:
            parts = self._parts or (_screen(self._spec, obs),)
            wrappers = dict(self._spec.wrappers)
            if self._spec.kind == "atari":
                wrappers |= {"grayscale": True, "resize": wrappers["screen_size"]}
            self._encoder = Encoder(parts, wrappers)
        return self._encoder

    def _encode(self, encoder: Encoder, obs: Any, push: bool = True) -> Obs:
        part = encoder.only_part
        if part is not None:
            _check_array(obs, part.shape)
        try:
            return encoder.encode(obs, self._first, push)
        except OutsideSpaceError as error:
            raise ObservationError(
                f"this is no observation of {self._spec.id}: {error}", _GIVE
            ) from None


def _check_array(obs: Any, shape: tuple[int, ...]) -> None:
    """Whether it is an array of this shape, or can be made one.

    Raises:
        ObservationError: it is not.
    """
    if isinstance(obs, int | float | list | tuple | np.generic):
        try:
            obs = np.asarray(obs)
        except ValueError:
            obs = None
    found = getattr(obs, "shape", None)
    if found is None or (isinstance(obs, np.ndarray) and obs.dtype.kind not in "biuf"):
        raise ObservationError(
            f"an observation must be an array of numbers, not {type(obs).__name__}", _GIVE
        )
    if tuple(found) != shape:
        raise ObservationError(f"expected an observation of {shape}, got {tuple(found)}", _GIVE)


def _finite(obs: Obs) -> Obs:
    if obs.dtype.kind == "f" and not np.isfinite(obs).all():
        raise ObservationError("the observation is not finite", "an agent cannot act on NaN")
    return obs


def _parts_before_there_were_any(spec: EnvSpec) -> tuple[Part, ...]:
    """What an observation is made of, where an old checkpoint does not say; () for Atari games."""
    if spec.kind == "vector":
        return (Part((), "numbers", spec.obs_shape, spec.obs_dtype),)
    if spec.kind == "image":
        shape = (*spec.obs_shape[1:], spec.channels)
        return (Part((), "picture", shape, "uint8", start=(0.0, 255.0), axes="hwc"),)
    return ()


def _screen(spec: EnvSpec, obs: Any) -> Part:
    """An emulator's screen, in colour or gray.

    Raises:
        ObservationError: it is none.
    """
    shape = np.shape(obs) if isinstance(obs, np.ndarray) else ()
    if spec.kind != "atari" or (len(shape) != 2 and (len(shape) != 3 or shape[2] not in (1, 3))):
        what = f"got {shape}" if shape else f"not {type(obs).__name__}"
        raise ObservationError(f"expected an observation of {spec.obs_shape}, {what}", _GIVE)
    axes = "hw" if len(shape) == 2 else "hwc"
    return Part((), "picture", shape, "uint8", start=(0.0, 255.0), axes=axes)
