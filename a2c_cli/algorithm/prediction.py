"""A second task from the same stream: where will the picture change in the next step?

Rewards are rare, the next picture comes at every step. Predicting where it will differ makes the
torso find what moves, and where to, long before that pays; actor and critic share its features and
nothing else. After Jaderberg et al. 2016 (arXiv 1611.05397), where an agent learns to *control*
pixel changes, and Shelhamer et al. 2016 (arXiv 1612.07307): self-supervision on an agent's stream.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from a2c_cli.policies.layout import CELL, grid


def changes(observations: NDArray[np.uint8], channels: int) -> NDArray[np.float32]:
    """Where the newest picture of each observation differs from the one before.

    Args:
        observations: (T+1, stacked channels, height, width), newest channels last.
        channels: of one picture.

    Returns:
        (T, cells): 1 for a cell of which any pixel changes on the way to the next observation.
    """
    pictures = observations[:, -channels:]
    height, width = pictures.shape[2:]
    rows, columns = grid(height, width)
    missing = (rows * CELL - height, columns * CELL - width)
    if any(missing):
        pictures = np.pad(pictures, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
    words = np.ascontiguousarray(pictures).view(np.uint32)  # a word is the width of a cell
    differ = (words[1:] != words[:-1]).reshape(-1, channels, rows, CELL, columns)
    changed: NDArray[np.bool_] = differ.any(axis=(1, 3))
    return changed.reshape(-1, rows * columns).astype(np.float32)
