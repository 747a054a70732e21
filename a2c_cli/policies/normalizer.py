"""The running normalisation of vector observations; plain NumPy, exact in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import EnvSpec

_CLIP = 10.0  # standard deviations; the bound that OpenAI's baselines set


class ObsNormalizer:
    """(x - mean) / σ per feature over everything seen so far, clipped to ±10.

    Mean and variance by Welford's recursion (Technometrics 1962), as streaming actor-critics
    use it (arXiv 2410.14606).

    Args:
        features: how many numbers are normalised, the last ones of an observation.
        pixels: how many values stand before them and are left as they are.
    """

    def __init__(self, features: int, pixels: int = 0) -> None:
        self.count, self._pixels = 0, pixels
        self.mean = np.zeros(features)
        self.squares = np.zeros(features)  # Σ (x - mean)²

    def update(self, obs: NDArray[np.floating[Any]]) -> None:
        """Take one observation into account."""
        self.count += 1
        obs = obs[self._pixels :]
        delta = obs - self.mean
        self.mean += delta / self.count
        self.squares += delta * (obs - self.mean)

    def apply(self, obs: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The normalised observation; as it is until two have been seen."""
        if self.count < 2:
            return obs.astype(np.float32)
        deviation = np.sqrt(self.squares / self.count) + 1e-8
        scaled = (obs[self._pixels :] - self.mean) / deviation
        numbers = np.clip(scaled, -_CLIP, _CLIP).astype(np.float32)
        if not self._pixels:
            return numbers
        return np.concatenate([obs[: self._pixels], numbers], dtype=np.float32)

    def get_state(self) -> dict[str, NDArray[np.float64]]:
        """Plain arrays for a checkpoint."""
        return {
            "obs_count": np.array([self.count], np.float64),
            "obs_mean": self.mean.copy(),
            "obs_squares": self.squares.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Restore `get_state`.

        Raises:
            ValueError: the shapes are those of another environment.
        """
        if (
            state["obs_mean"].shape != self.mean.shape
            or state["obs_squares"].shape != self.mean.shape
        ):
            raise ValueError("the observation normaliser has another shape")
        self.count = int(state["obs_count"][0])
        self.mean[...] = state["obs_mean"]
        self.squares[...] = state["obs_squares"]


def normalizer_of(spec: EnvSpec) -> ObsNormalizer:
    """One that has seen nothing yet, for an environment with numbers in its observations."""
    return ObsNormalizer(spec.features, spec.obs_shape[0] - spec.features)
