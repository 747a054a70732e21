"""Where a network looks: how much each place of an observation moves its policy and its value.

Two measures, each a map (2, height, width): of the policy, of the value. Both are about one
decision and about this network; neither says why a place matters.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import ActionSpec, Obs
from a2c_cli.errors import ConfigError
from a2c_cli.policies.acting import ActingNetwork
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.distributions import probabilities
from a2c_cli.policies.pixel_gradient import PixelGradient

METHODS = ("gradient", "perturbation")

_PATCH = 5.0  # σ in pixels of the patch that is blurred, and the distance between two patches
_BLUR = 3.0  # σ in pixels of the blur itself
_MEMORY = 0.97  # of the scale, per decision: half is forgotten in 23 (1.5 s of an Atari game)


def gradient_maps(
    look: PixelGradient, action: ActionSpec, obs: Obs, taken: Any
) -> NDArray[np.float32]:
    """Absolute gradients with respect to the pixels, summed over the channels of each place.

        policy: Σ_c |∂ ln π(a|s) / ∂s|,   value: Σ_c |∂ V(s) / ∂s|

    of the action that was taken. A Gaussian's ln π is flat at its mean, so there the policy's map
    is Σ_c Σ_i |∂ mean_i / ∂s|. Source: Simonyan et al. 2013, arXiv 1312.6034, applied to actor
    and critic as Wang et al. 2016, arXiv 1511.06581, do.

    Args:
        look: the network.
        action: the action space.
        obs: (channels, height, width) uint8.
        taken: the action, in the policy's own form.

    Returns:
        (2, height, width), per unit of pixel value (0 to 255).
    """
    outputs, _ = look.network.forward(obs)
    policy, value = look(obs, _slopes(action, outputs, taken))
    return np.stack([np.abs(policy).sum(axis=(0, 1)), np.abs(value).sum(axis=0)])


def _slopes(action: ActionSpec, outputs: NDArray[np.float32], taken: Any) -> NDArray[np.float32]:
    """(n, outputs), what is differentiated: each mean, or ∂ ln π(a|s) / ∂ logits = 1[a] - π."""
    if action.kind == "continuous":
        return np.eye(action.outputs, dtype=np.float32)
    slopes, end = np.zeros(action.outputs, np.float32), 0
    for size, choice in zip(action.sizes, np.reshape(taken, -1), strict=True):
        start, end = end, end + size
        slopes[start:end] = -np.array(probabilities(outputs[start:end]))
        slopes[start + int(choice)] += 1.0
    return slopes[None]


def perturbation_maps(network: ActingNetwork, obs: Obs) -> NDArray[np.float32]:
    """How far policy and value move when a patch of the picture is blurred.

        policy: ½ ‖u(s) - u(s')‖²,   value: ½ (V(s) - V(s'))²,
        s' = s · (1 - M) + blur(s) · M

    u are the logits or means; M is a Gaussian (σ = 5 pixels, 1 at its centre) around one place;
    the places lie 5 pixels apart. Source: Greydanus et al. 2018, arXiv 1711.00138, equations
    1 to 3.

    Args:
        network: the forward pass of a picture of floats.
        obs: (channels, height, width) uint8.

    Returns:
        (2, height, width), interpolated between the places.
    """
    _, height, width = obs.shape
    picture = obs.astype(np.float32)
    change = np.stack([cv2.GaussianBlur(plane, (0, 0), _BLUR) - plane for plane in picture])
    ys, xs = (np.arange(_PATCH / 2, n, _PATCH, dtype=np.float32) for n in (height, width))
    rows, columns = (
        np.exp(-0.5 * ((np.arange(n) - places[:, None]) / _PATCH) ** 2).astype(np.float32)
        for n, places in ((height, ys), (width, xs))
    )
    moved = np.zeros((2, len(ys), len(xs)), np.float32)
    usual, value = network.forward(picture)
    usual = usual.copy()
    for y, row in enumerate(rows):
        across = change * row[:, None]
        for x, column in enumerate(columns):
            outputs, changed = network.forward(picture + across * column)
            moved[:, y, x] = 0.5 * np.square(outputs - usual).sum(), 0.5 * (changed - value) ** 2
    return np.stack([cv2.resize(g, (width, height), interpolation=cv2.INTER_CUBIC) for g in moved])


class Saliency:
    """The maps of one decision after the other, smooth and in [0, 1], for drawing.

    1 is the strongest place of the recent past, not of each picture: else a picture in which
    nothing matters would glow like any other, and all of it would flicker.

    Args:
        agent: whose network it is about.
        method: `gradient` or `perturbation`.

    Raises:
        ConfigError: the agent does not see pixels, or there is no such method.
    """

    def __init__(self, agent: Agent, method: str) -> None:
        if method not in METHODS:
            raise ConfigError(
                f"--saliency-method cannot be {method!r}", f"choose {' or '.join(METHODS)}"
            )
        if agent.spec.obs_dtype != "uint8":
            raise ConfigError(
                "--saliency needs an agent that sees the pixels of one picture, and"
                f" {agent.spec.id} gives it numbers",
                "leave --saliency out; --overlay works for every environment",
            )
        self._action, self._method = agent.spec.action, method
        self._look = PixelGradient(agent.layout, agent.weights)
        self._strongest = np.zeros((2, 1, 1), np.float32)

    def __call__(self, obs: Obs, action: Any) -> NDArray[np.float32]:
        """(2, height, width) in [0, 1] of the next decision: of the policy, of the value.

        Args:
            obs: as the agent saw it.
            action: what it decided, in the policy's own form.
        """
        if self._method == "gradient":
            maps = gradient_maps(self._look, self._action, obs, action)
            # A gradient is speckled; what the eye wants is the neighbourhood.
            sigma = max(maps.shape[1:]) / 42
            return self._scale(np.stack([cv2.GaussianBlur(m, (0, 0), sigma) for m in maps]))
        # The distance, not its square, which would leave one bright spot alone.
        maps = perturbation_maps(self._look.network, obs)
        return self._scale(np.sqrt(np.maximum(maps, 0.0)))

    def _scale(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        strongest = maps.max(axis=(1, 2), keepdims=True)
        self._strongest = np.maximum(strongest, _MEMORY * self._strongest)
        tiny = np.finfo(np.float32).tiny
        return (maps / np.maximum(self._strongest, tiny)).astype(np.float32)
