"""From an observation as the environment gives it to the one that the agent sees.

Numbers, one-hot choices and bits become one vector; a picture becomes (channels, height, width)
uint8 and is stacked; where there are both, the pictures' pixels stand before the numbers in one
vector. Plain data says how (`spec.Part`), so that an agent from a checkpoint can do the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import Obs, Part

Pixels = NDArray[np.uint8]


class OutsideSpaceError(ValueError):
    """An observation is not what its space says; the message names part and value."""


class Encoder:
    """Observations of one environment.

    Args:
        parts: what one is made of.
        wrappers: `frame_stack`, `grayscale` and `resize`, for pictures.

    Attributes:
        kind: `vector`, `image` or `mixed`.
        obs_shape, obs_dtype: of an observation as the agent sees it.
        pictures: (channels, height, width) of each picture of a mixed one.
    """

    def __init__(self, parts: Sequence[Part], wrappers: Mapping[str, Any]) -> None:
        self._parts = [part for part in parts if part.kind not in ("picture", "left out")]
        self._pictures = [_PictureStack(part, wrappers) for part in parts if part.kind == "picture"]
        shapes = tuple(picture.stack.shape for picture in self._pictures)
        width = sum(part.width for part in self._parts)
        self.kind, self.obs_dtype = "vector", "float32"
        self.obs_shape: tuple[int, ...] = (width,)
        self.pictures: tuple[tuple[int, ...], ...] = ()
        if shapes and not width and len(shapes) == 1:
            self.kind, self.obs_shape, self.obs_dtype = "image", shapes[0], "uint8"
        elif shapes:
            self.kind, self.pictures = "mixed", shapes
            self.obs_shape = (sum(map(math.prod, shapes)) + width,)
        # What float32 would round is left whole: the normaliser subtracts the mean first.
        wide = any(_is_wide(part) for part in self._parts)
        self._type: Any = np.float64 if wide else np.float32

    @property
    def only_part(self) -> Part | None:
        """What an observation is, where it is no Dict or Tuple."""
        parts = [*self._parts, *(picture.part for picture in self._pictures)]
        return parts[0] if len(parts) == 1 and not parts[0].path else None

    @property
    def repeats(self) -> bool:
        """Whether the pictures that were pushed last are those before them once more."""
        return all(picture.repeats for picture in self._pictures)

    def encode(self, obs: Any, first: bool, push: bool = True) -> Obs:
        """One observation; an image's array is reused by the next.

        Args:
            obs: as the environment gives it.
            first: whether it opens an episode: it fills the stack of its pictures.
            push: whether its pictures are new; else those that were pushed last are its own.

        Raises:
            OutsideSpaceError: it is not what its space says.
        """
        for picture in self._pictures if push else ():
            picture.push(part_of(obs, picture.part), first)
        if self.kind == "image":
            return self._pictures[0].stack
        if len(self._parts) == 1 and self.kind == "vector":
            vector = _numbers(self._parts[0], part_of(obs, self._parts[0]), self._type)
        else:
            pieces = [picture.stack.ravel() for picture in self._pictures]
            pieces += [_numbers(p, part_of(obs, p), self._type) for p in self._parts]
            vector = np.concatenate(pieces, dtype=self._type)
        with np.errstate(over="ignore"):
            if not np.isfinite(vector.astype(np.float32, copy=False)).all():
                raise OutsideSpaceError("it is not finite")
        return vector


def _is_wide(part: Part) -> bool:
    dtype = np.dtype(part.dtype)
    if part.kind != "numbers":
        return False
    return dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2)


def part_of(obs: Any, part: Part) -> Any:
    """One part of an observation.

    Raises:
        OutsideSpaceError: it is missing.
    """
    for key in part.path:
        try:
            obs = obs[key]
        except (KeyError, IndexError, TypeError) as error:
            raise OutsideSpaceError(f"part {part.name!r} is missing") from error
    return obs


def _outside(part: Part, value: Any, why: str) -> OutsideSpaceError:
    shown = " ".join(str(value).split())
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return OutsideSpaceError(f"{f'part {part.name!r}' if part.path else 'it'} is {shown}, {why}")


def _array(part: Part, value: Any) -> NDArray[Any]:
    """The value as an array of the part's shape and type."""
    try:
        if hasattr(value, "detach"):  # a tensor of torch
            value = value.detach().cpu()
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise OutsideSpaceError(f"{part.name or 'it'} is no array: {error}") from error
    if array.shape != part.shape:
        raise OutsideSpaceError(
            f"{f'part {part.name!r}' if part.path else 'it'} has shape {array.shape}, its space"
            f" says {part.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise _outside(part, value, "which is no number")
    if array.dtype != part.dtype and np.dtype(part.dtype).kind in "biu":
        with np.errstate(invalid="ignore"):
            cast = array.astype(part.dtype)
        if not np.array_equal(cast, array):
            raise _outside(part, value, f"which {part.dtype} cannot hold")
        return cast
    return array


def _numbers(part: Part, value: Any, dtype: Any) -> NDArray[Any]:
    """The numbers that a part contributes to a vector."""
    array = _array(part, value)
    if part.kind == "numbers":
        return array.astype(dtype).ravel()
    if part.kind == "bits":
        if not np.isin(array, (0, 1)).all():
            raise _outside(part, value, "its space says 0 or 1")
        return array.astype(dtype).ravel()
    flat = np.zeros(part.width, dtype)
    offset = 0
    for choice, size, start in zip(array.ravel().tolist(), part.sizes, part.start, strict=True):
        place = choice - int(start)
        if not 0 <= place < size:
            raise _outside(part, value, f"its space says {int(start)} to {int(start) + size - 1}")
        flat[offset + place] = 1
        offset += size
    return flat


class _PictureStack:
    """The last pictures of one part, (stacked channels, height, width) uint8, oldest first."""

    def __init__(self, part: Part, wrappers: Mapping[str, Any]) -> None:
        self.part = part
        shape = part.shape if part.axes != "chw" else (*part.shape[1:], part.shape[0])
        height, width = shape[:2]
        self._channels = shape[2] if len(shape) == 3 else 1
        self._gray = bool(wrappers.get("grayscale", False)) and self._channels in (3, 4)
        size = int(wrappers.get("resize", 0))
        self._size = (size, size) if size and (height, width) != (size, size) else None
        self._channels = 1 if self._gray else self._channels
        height, width = self._size or (height, width)
        depth = int(wrappers.get("frame_stack", 1)) * self._channels
        self.stack: Pixels = np.zeros((depth, height, width), np.uint8)

    @property
    def repeats(self) -> bool:
        """Whether the newest picture is the one before it; false where only one is kept."""
        pictures = self.stack.reshape(-1, self._channels, *self.stack.shape[1:])
        return len(pictures) > 1 and np.array_equal(pictures[-1], pictures[-2])

    def push(self, value: Any, first: bool) -> None:
        """Let a picture in; the first one of an episode fills the stack."""
        image = _to_bytes(self.part, _array(self.part, value))
        if self.part.axes == "chw":
            image = image.transpose(1, 2, 0)
        elif self.part.axes == "hw":
            image = image[:, :, None]
        if self._gray:
            colours = np.ascontiguousarray(image[..., :3])
            image = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
        if self._size is not None:
            image = _resized(image, *self._size)
        planes = image.transpose(2, 0, 1)
        if first:
            self.stack.reshape(-1, *planes.shape)[:] = planes
        else:
            self.stack[: -self._channels] = self.stack[self._channels :]
            self.stack[-self._channels :] = planes


def _to_bytes(part: Part, picture: NDArray[Any]) -> Pixels:
    """A picture as uint8, black 0 and white 255."""
    if part.dtype == "uint8" and picture.dtype == np.uint8:
        return picture
    black, white = part.start
    if not np.isfinite(picture).all():
        raise OutsideSpaceError(f"{part.name or 'it'} has pixels that are not finite")
    scaled = (picture.astype(np.float32) - black) * (255.0 / (white - black))
    pixels: Pixels = np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)
    return pixels


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    """(height, width, channels), by area, channel by channel: OpenCV takes four at most."""
    small = np.empty((height, width, image.shape[2]), np.uint8)
    for channel in range(image.shape[2]):
        plane = np.ascontiguousarray(image[..., channel])
        small[..., channel] = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return small
