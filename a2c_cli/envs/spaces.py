"""From Gymnasium's spaces to plain data: what an observation is made of, what an action is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from a2c_cli.envs.spec import ActionSpec, Part
from a2c_cli.errors import UnknownEnvError

_SMALLEST_PICTURE = 36  # pixels a side; below it the convolutions have nothing left to see
_MOST_CHANNELS = 16
_LARGE, _RESIZED = 128, 84  # pixels a side: larger pictures are made smaller unless asked
_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))  # of the values of pictures in floats


def observation_parts(space: spaces.Space[Any], env_id: str) -> tuple[Part, ...]:
    """What an observation is made of, in the order of `gymnasium.spaces.flatten`.

    Raises:
        UnknownEnvError: it has a part that no network here takes, or nothing to see at all.
    """
    parts: list[Part] = []
    for path, found in _parts(space, ()):
        if not isinstance(found, Part):
            raise _not_supported(env_id, space, path, found)
        parts.append(found)
    if not any(part.kind == "picture" or part.width for part in parts):
        raise UnknownEnvError(
            f"{env_id} shows nothing: there is no number and no picture in its observations",
            "give its observation_space a Box or a Discrete with something in it",
        )
    return tuple(parts)


def _not_supported(env_id: str, space: Any, path: tuple[Any, ...], found: Any) -> UnknownEnvError:
    name = ".".join(map(str, path))
    part = f" with a {type(found).__name__} in it ({name})" if path else ""
    return UnknownEnvError(
        f"{env_id} has {type(space).__name__} observations{part}, which are not supported",
        "wrap it to Box, Discrete, or a Dict or Tuple of them",
    )


def _parts(space: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each part and where it stands; where there is none for a space, the space."""
    if isinstance(space, spaces.Dict) and all(isinstance(k, str | int) for k in space.spaces):
        for name, inner in space.spaces.items():
            yield from _parts(inner, (*path, name))
    elif isinstance(space, spaces.Tuple):
        for place, inner in enumerate(space):
            yield from _parts(inner, (*path, place))
    elif isinstance(space, spaces.Box):
        yield path, _box(space, path)
    elif isinstance(space, spaces.Discrete):
        count, first = (int(space.n),), (int(space.start),)
        yield path, Part(path, "choices", (), str(space.dtype), count, first)
    elif isinstance(space, spaces.MultiDiscrete):
        sizes, start = (tuple(map(int, a.ravel())) for a in (space.nvec, space.start))
        yield path, Part(path, "choices", space.shape, str(space.dtype), sizes, start)
    elif isinstance(space, spaces.MultiBinary):
        yield path, Part(path, "bits", space.shape, str(space.dtype))
    elif path and _is_text(space):
        yield path, Part(path, "left out")
    else:
        yield path, space


def _is_real(space: spaces.Box) -> bool:
    return bool(np.issubdtype(space.dtype, np.floating))


def _is_text(space: spaces.Space[Any]) -> bool:
    """Whether it is of strings; some packages have spaces of their own for them (MiniGrid)."""
    return isinstance(space, spaces.Text) or getattr(space.dtype, "kind", "") == "U"


def _box(space: spaces.Box, path: tuple[Any, ...]) -> Part:
    dtype, shape = str(space.dtype), tuple(space.shape)
    axes, bounds = _axes(shape), _pixel_range(space)
    if axes and bounds:
        return Part(path, "picture", shape, dtype, start=bounds, axes=axes)
    return Part(path, "numbers", shape, dtype)


def _pixel_range(space: spaces.Box) -> tuple[float, float] | None:
    """The values that are black and white, where a space is one of pixels."""
    if space.dtype == np.uint8:
        return 0.0, 255.0
    if not np.issubdtype(space.dtype, np.floating) or not space.low.size:
        return None
    low, high = float(space.low.min()), float(space.high.max())
    same = low == float(space.low.max()) and high == float(space.high.min())
    return (low, high) if same and (low, high) in _RANGES else None


def _axes(shape: Sequence[int]) -> str:
    """`hw`, `hwc` or `chw`; empty where an array is no picture by its shape."""
    if len(shape) == 2 and min(shape) >= _SMALLEST_PICTURE:
        return "hw"
    if len(shape) == 3:
        for axes, channels, sides in (("hwc", shape[2], shape[:2]), ("chw", shape[0], shape[1:])):
            if 1 <= channels <= _MOST_CHANNELS and min(sides) >= _SMALLEST_PICTURE:
                return axes
    return ""


def picture_settings(parts: Sequence[Part]) -> dict[str, Any]:
    """What to do with the pictures of an observation where nobody has asked for anything else."""
    pictures = [part for part in parts if part.kind == "picture"]
    suggested: dict[str, Any] = {}
    if any(max(part.shape) > _LARGE for part in pictures):
        suggested["resize"] = _RESIZED
    if pictures and all(_stacked(part) for part in pictures):
        suggested["frame_stack"] = 1
    return suggested


def _stacked(part: Part) -> bool:
    """Whether the environment stacks its pictures already: more channels than colours have."""
    channels = {"hw": 1, "hwc": part.shape[-1], "chw": part.shape[0]}[part.axes]
    return channels == 2 or channels > (4 if part.axes == "hwc" else 3)


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
    if isinstance(space, spaces.Box) and space.low.size and _is_real(space):
        low, high = (tuple(float(v) for v in b.ravel()) for b in (space.low, space.high))
        return ActionSpec("continuous", (len(low),), space.shape, dtype, low=low, high=high)
    raise UnknownEnvError(
        f"{env_id} has {type(space).__name__} actions, which are not supported",
        "wrap it to Discrete, MultiDiscrete, MultiBinary or a Box of floats",
    )
