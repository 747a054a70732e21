"""The auxiliary task: where will the picture change in the next step?

Rewards are rare, the next picture comes at every step. Predicting where it will differ makes the
torso find what moves, and where to, long before that pays; actor and critic share its features and
nothing else. After Jaderberg et al. 2016 (arXiv 1611.05397), where an agent learns to *control*
pixel changes, and Shelhamer et al. 2016 (arXiv 1612.07307): self-supervision on an agent's stream.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from a2c_cli.algorithm.losses import reduce
from a2c_cli.algorithm.schedules import prediction_schedule
from a2c_cli.algorithm.segment import Segment
from a2c_cli.config.settings import Settings
from a2c_cli.policies.layout import CELL, grid

_PRIOR_RATE, _PRIOR_STEPS = 0.02, 20.0  # what is assumed of a cell before anything is seen
_HORIZON = 8000.0  # steps over which a cell's rate is forgotten
_SURE = 1e-4  # no rate is nearer to 0 or 1
_LEAST_ENTROPY = 1.0  # nats; below it there is nothing to predict


class ChangePrediction:
    """The auxiliary task of one run, with what it has seen of each cell.

        L_prediction = mean_t Σ_cells -log p(changed) / Σ_cells H(ρ),   p = σ(predictor + logit ρ)

    ρ is a cell's running rate of change and H(ρ) its entropy, so 1 is what the rates alone give in
    every game, be it 8 nats per step (Breakout) or 130 (Freeway): one weight κ suits them all.

    Args:
        config: with a `prediction_coef` above 0.
        cells: of a picture.
    """

    def __init__(self, config: Settings, cells: int) -> None:
        self.weight = prediction_schedule(config)  # κ over the share of the budget
        self._reduction = config.loss_reduction
        self._rates = np.full(cells, _PRIOR_RATE)
        self._steps = _PRIOR_STEPS

    def loss(
        self, predictor: nn.Module, features: Tensor, segments: Sequence[Segment], channels: int
    ) -> Tensor:
        """L_prediction of an update; a step that ends its episode has no next picture, counts 0.

        Args:
            predictor: from features to one logit per cell.
            features: (N, features) of all observations, those that close a segment included.
            segments: the T steps.
            channels: of one picture.
        """
        starts = itertools.accumulate((s.steps + 1 for s in segments), initial=0)
        rows = [features[row : row + s.steps] for row, s in zip(starts, segments, strict=False)]
        changed = np.concatenate([changes(s.observations, channels) for s in segments])
        followed = np.concatenate([1.0 - s.terminated for s in segments])
        rates = np.clip(self._rates, _SURE, 1.0 - _SURE)
        entropy = -float((rates * np.log(rates) + (1.0 - rates) * np.log(1.0 - rates)).sum())
        prior = torch.from_numpy(np.log(rates / (1.0 - rates)).astype(np.float32))
        logits = predictor(torch.cat(rows)) + prior.to(features.device)
        nats = surprise(
            logits,
            torch.from_numpy(changed).to(features.device),
            torch.from_numpy(followed).to(features.device),
            self._reduction,
        )
        self._count(changed[followed > 0.0])
        return nats / max(entropy, _LEAST_ENTROPY)

    def _count(self, changed: NDArray[np.float32]) -> None:
        """ρ ← ρ + w (mean of the new steps - ρ), w by how many steps ρ knows already."""
        if len(changed):
            weight = len(changed) / (self._steps + len(changed))
            self._rates += weight * (changed.mean(axis=0, dtype=np.float64) - self._rates)
            self._steps = min(self._steps + len(changed), _HORIZON)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """The rates for a checkpoint."""
        return {"learner.cell_rates": np.append(self._rates, self._steps)}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`.

        Raises:
            ValueError: it is another picture's, or another version's.
        """
        found = state.get("learner.cell_rates")
        if found is None:
            raise ValueError("a2c 0.1 wrote it, whose auxiliary task was another")
        if found.shape != (len(self._rates) + 1,) or found.dtype != np.float64:
            raise ValueError(f"the cells' rates have shape {found.shape}")
        self._rates, self._steps = found[:-1].copy(), float(found[-1])


def surprise(logits: Tensor, changed: Tensor, followed: Tensor, reduction: str = "mean") -> Tensor:
    """-mean_t Σ_cells log p(changed), in nats.

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
