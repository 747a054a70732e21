"""What environments return from render(), as frames of a film."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_frame(drawn: Any) -> NDArray[np.uint8]:
    """A picture as (height, width, 3) uint8.

    Taken are gray and colour, channels first or last, whole numbers from 0 to 255 and floats from
    0 to 1; transparency is left out.

    Raises:
        ValueError: it is no picture.
    """
    if isinstance(drawn, list) and drawn:  # of render_mode rgb_array_list: the newest
        drawn = drawn[-1]
    if not isinstance(drawn, np.ndarray) or drawn.dtype.kind not in "biuf" or not drawn.size:
        raise ValueError(f"it gave {type(drawn).__name__}")
    frame = drawn[:, :, None] if drawn.ndim == 2 else drawn
    if frame.ndim == 3 and frame.shape[2] not in (1, 3, 4) and frame.shape[0] in (1, 3, 4):
        frame = frame.transpose(1, 2, 0)
    if frame.ndim != 3 or frame.shape[2] not in (1, 3, 4):
        raise ValueError(f"it gave an array of shape {drawn.shape}")
    frame = frame[..., :3]
    if frame.dtype.kind == "b":
        frame = frame * np.uint8(255)
    elif frame.dtype.kind == "f":
        if not np.isfinite(frame).all():
            raise ValueError("it gave pixels that are not finite")
        frame = np.rint(np.clip(frame * (255.0 if frame.max() <= 1.0 else 1.0), 0.0, 255.0))
    elif frame.dtype != np.uint8:
        frame = np.clip(frame, 0, 255)
    if frame.shape[2] == 1:
        frame = np.repeat(frame, 3, axis=2)
    return np.ascontiguousarray(frame, np.uint8)
