"""The auxiliary task: where will the picture change in the next step?

Rewards are rare, the next picture comes at every step. Predicting where it will differ makes the
torso find what moves, and where to, long before that pays; actor and critic share its features and
nothing else. After Jaderberg et al. 2016 (arXiv 1611.05397), where an agent learns to *control*
pixel changes, and Shelhamer et al. 2016 (arXiv 1612.07307): self-supervision on an agent's stream.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from a2c_cli.algorithm.losses import reduce
from a2c_cli.algorithm.segment import Segment
from a2c_cli.policies.layout import CELL, grid


def prediction_loss(
    predictor: nn.Module,
    features: Tensor,
    segments: Sequence[Segment],
    channels: int,
    reduction: str = "mean",
) -> Tensor:
    """L_prediction = -mean_t Σ_cells log p(changed): the nats by which the next change surprises.

    A step that ends its episode has no next picture and counts as 0.

    Args:
        predictor: from features to one logit per cell of the picture.
        features: (N, features) of all observations, those that close a segment included.
        segments: the T steps.
        channels: of one picture.
        reduction: `mean` or `sum` over the T steps.
    """
    starts = itertools.accumulate((s.steps + 1 for s in segments), initial=0)
    rows = [features[row : row + s.steps] for row, s in zip(starts, segments, strict=False)]
    changed = np.concatenate([changes(s.observations, channels) for s in segments])
    followed = np.concatenate([1.0 - s.terminated for s in segments])
    return surprise(
        predictor(torch.cat(rows)),
        torch.from_numpy(changed).to(features.device),
        torch.from_numpy(followed).to(features.device),
        reduction,
    )


def surprise(logits: Tensor, changed: Tensor, followed: Tensor, reduction: str = "mean") -> Tensor:
    """-mean_t Σ_cells log p(changed).

    Args:
        logits: (T, cells) of the probability that a cell changes, with gradient.
        changed: (T, cells) 0 or 1.
        followed: (T,) 1 where the next picture follows from this one, 0 at an end.
        reduction: `mean` or `sum` over the T steps.
    """
    terms = binary_cross_entropy_with_logits(logits, changed, reduction="none").sum(1)
    return reduce(terms * followed, reduction)


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
