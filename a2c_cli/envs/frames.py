"""Gray emulator screens to small square frames, resizing only what has changed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BAND_IN, _BAND_OUT = 5, 2  # rows: 210 screen rows become 84
_WORTH = 18  # changed bands above which one resize of the whole screen is cheaper


class FrameResizer:
    """`cv2.resize(..., INTER_AREA)` of one screen after the other, to the same pixels.

    Area interpolation from 210 to 84 rows makes every two rows of the frame from five rows of
    the screen and from nothing else, so bands that look as they did in the last screen keep
    their pixels. Other sizes are resized whole.

    Args:
        screen: (height, width) of the emulator's screen.
        size: side of the square frame.
    """

    def __init__(self, screen: tuple[int, int], size: int) -> None:
        self._size, self._width = size, screen[1]
        self._banded = screen[0] * _BAND_OUT == size * _BAND_IN and screen[0] % _BAND_IN == 0
        self._banded = self._banded and screen[1] * _BAND_IN % 8 == 0
        self._last = np.zeros(screen, np.uint8)
        self.frame: NDArray[np.uint8] = np.zeros((size, size), np.uint8)

    def __call__(self, screen: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame of a screen; the array is reused by the next call."""
        size = (self._size, self._size)
        if not self._banded:
            cv2.resize(screen, size, dst=self.frame, interpolation=cv2.INTER_AREA)
            return self.frame
        count = self._size // _BAND_OUT
        bands, last = screen.reshape(count, -1), self._last.reshape(count, -1)
        differs = bands.view(np.uint64) != last.view(np.uint64)
        changed = differs.any(axis=1).nonzero()[0]
        if len(changed) > _WORTH:
            cv2.resize(screen, size, dst=self.frame, interpolation=cv2.INTER_AREA)
        elif len(changed):
            pile = bands[changed].reshape(-1, self._width)
            small = cv2.resize(
                pile, (self._size, _BAND_OUT * len(changed)), interpolation=cv2.INTER_AREA
            )
            self.frame.reshape(count, -1)[changed] = small.reshape(len(changed), -1)
        self._last[...] = screen
        return self.frame
