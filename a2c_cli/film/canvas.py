"""What a film is drawn with: colours, text, bars, light on the game's picture.

Sizes are given in units that grow with the picture.

Texts are set in the scalable font that Pillow brings along: no font file is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from a2c_cli.text import safe_text

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]

BACKGROUND: Colour = (15, 18, 24)
BOX: Colour = (28, 33, 42)
DIM: Colour = (140, 150, 165)
BRIGHT: Colour = (236, 240, 245)
POLICY: Colour = (64, 150, 255)  # saliency of the policy and of the value
VALUE: Colour = (255, 84, 60)
_HAZE = 0.1  # saliency below it is left out: it would veil the whole picture
_LEVELS = 12  # of light; more cannot be told apart, and would double the size of a gif
_SMALLEST = 9  # pixels; smaller letters cannot be read


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def lights(saliency: NDArray[np.float32], frame: Pixels) -> list[NDArray[np.float32]]:
    """How strong the light of each map is on each pixel of a frame, (height, width, 1).

    Args:
        saliency: (2, any height, any width) in [0, 1]: of the policy, of the value.
        frame: (height, width, 3).
    """
    size, found = (frame.shape[1], frame.shape[0]), []
    for part in saliency:
        whole = np.clip(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), 0, 1)
        strong = np.maximum(whole - _HAZE, 0) / (1 - _HAZE)
        found.append(0.75 * np.round(_LEVELS * strong)[..., None] / _LEVELS)
    return found


def tint(frame: Pixels, strengths: Sequence[NDArray[np.float32]]) -> Pixels:
    """The frame with light where the network looks: blue for the policy, red for the value.

    Args:
        frame: (height, width, 3).
        strengths: as `lights` gives them.
    """
    picture = frame.astype(np.float32)
    for strength, colour in zip(strengths, (POLICY, VALUE), strict=True):
        picture += strength * (np.array(colour, np.float32) - picture)
    return (picture + 0.5).astype(np.uint8)


def enlarge(frame: Pixels, scale: int) -> Pixels:
    """Every pixel `scale` times in both directions."""
    size = frame.shape[1] * scale, frame.shape[0] * scale
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST), np.uint8)


class Canvas:
    """Draws on a picture.

    Args:
        image: RGB; changed in place.
        unit: pixels that one unit of a size has.
    """

    def __init__(self, image: Image.Image, unit: float) -> None:
        self.image, self.unit = image, unit
        self._draw = ImageDraw.Draw(image)

    def px(self, units: float) -> int:
        """Units in whole pixels."""
        return round(units * self.unit)

    def text(
        self,
        x: int,
        y: int,
        text: str,
        size: float,
        colour: Colour,
        *,
        right: bool = False,
        room: int | None = None,
    ) -> None:
        """One line.

        Args:
            x, y: pixels; the line's upper left corner, or its upper right one if `right`.
            text: shortened to fit.
            size: of the letters, in units.
            colour: of the letters.
            right: whether the text ends at x.
            room: pixels that there are for it; None for as many as it needs.
        """
        font = _font(max(_SMALLEST, self.px(size)))
        text = safe_text(text[:100])  # measuring is slow; no panel has room for more
        if room is not None and font.getlength(text) > room:
            while text and font.getlength(text + "...") > room:
                text = text[:-1]
            text += "..."
        self._draw.text((x, y), text, colour, font, "ra" if right else "la")

    def box(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """A filled rectangle; all four sides belong to it."""
        self._draw.rectangle((left, top, right, bottom), colour)

    def bar(self, left: int, right: int, y: int, height: int, share: float, colour: Colour) -> None:
        """A box from left to right, filled up to a share of its length."""
        self.box(left, y, right, y + height - 1, BOX)
        length = round((right - left) * min(max(share, 0.0), 1.0))
        if length:
            self.box(left, y, left + length, y + height - 1, colour)
