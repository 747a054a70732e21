"""A calibrated start: what the network needs to know of the pictures before it learns from them.

Pixels are never negative and most of them never change. Left as they are, the background decides
the sign of every unit, all weights of a unit get gradients of one sign, and whole layers of ReLUs
fall silent within a few steps, for good. So the first N steps of the stream are played by the
initial policy, nothing is learned from them, and then, from what was seen,

    μ = the mean picture, rounded: the network sees x - μ
    b = -mean(W x) layer by layer: every unit is on for about half of what it sees.

Centred inputs: LeCun et al. 1998, "Efficient BackProp", section 4.3. Biases from data: Krähenbühl
et al. 2016 (arXiv 1511.06856), without their scaling of the weights. docs/lab-notes.md has the
measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.policies.network import ActorCritic

_KEPT = 100  # observations, evenly spread over the N steps


class Calibration:
    """Gathers the observations of the first steps.

    Args:
        spec: an environment whose observations are pictures.
        steps: N; 0 for no calibration.
    """

    def __init__(self, spec: EnvSpec, steps: int) -> None:
        self._steps, self._seen = steps, 0
        self._every = max(1, -(-steps // _KEPT))
        kept = -(-steps // self._every)
        self._observations = np.zeros((kept, *spec.obs_shape), spec.obs_dtype)

    @property
    def running(self) -> bool:
        """Whether there are steps to come."""
        return self._seen < self._steps

    def add(self, obs: Obs) -> None:
        """Take in one step's observation."""
        if self._seen % self._every == 0:
            self._observations[self._seen // self._every] = obs
        self._seen += 1

    def finish(self, network: ActorCritic) -> None:
        """Calibrate a network with what was gathered, and let go of it."""
        calibrate(network, self._observations)
        self._observations = self._observations[:0]

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Plain arrays for a checkpoint; none once all is done."""
        if not self.running:
            return {}
        kept = self._observations[: -(-self._seen // self._every)]
        return {"seen": np.array([self._seen], np.int64), "observations": kept.copy()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`.

        Raises:
            KeyError, ValueError: the state is not one of this environment.
        """
        self._seen = self._steps if not state else int(state["seen"][0])
        if not state:
            self._observations = self._observations[:0]
            return
        found = state["observations"]
        kept = self._observations[: -(-self._seen // self._every)]
        if not 0 <= self._seen < self._steps or found.shape != kept.shape:
            raise ValueError("what was gathered for the calibration is damaged")
        if found.dtype != kept.dtype:
            raise ValueError(f"the calibration's observations are of type {found.dtype}")
        kept[...] = found


@torch.no_grad()
def calibrate(network: ActorCritic, observations: NDArray[np.uint8]) -> None:
    """Set a network's mean picture and the biases of its torsos from observations.

    Args:
        network: as it was initialised.
        observations: (N, channels, height, width).
    """
    mean: Tensor = network.pixel_mean
    mean.copy_(torch.from_numpy(observations.mean(axis=0, dtype=np.float64).round()))
    pixels = torch.from_numpy(observations).to(mean.device)
    for torso in (network.torso, network.critic_torso):
        if torso is None:
            continue
        x = (pixels.float() - mean) * network.layout.scale
        for layer in torso:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                z: Tensor = layer(x)
                assert layer.bias is not None
                layer.bias.sub_(z.mean(dim=[i for i in range(z.dim()) if i != 1]))
            x = layer(x)
