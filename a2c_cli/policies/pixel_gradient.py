"""How a pixel moves policy and value: back-propagation to one observation, in NumPy.

Who looks at an agent imports no torch, whose import alone costs more than the gradients of a
whole game. tests/film/test_saliency.py holds this equal to finite differences and to autograd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from a2c_cli.config.networks import Conv
from a2c_cli.envs.spec import Obs
from a2c_cli.policies.acting import ActingNetwork
from a2c_cli.policies.convolution import Floats
from a2c_cli.policies.layout import Layout


class PixelGradient:
    """The network of an agent that sees pixels, and its gradient in them.

    Args:
        layout: the network's shape.
        weights: as for `ActingNetwork`; read when they are needed, never changed.

    Attributes:
        network: the forward pass; takes pictures of whole numbers or of floats.
    """

    def __init__(self, layout: Layout, weights: Mapping[str, Floats]) -> None:
        self._layout, self._weights = layout, weights
        # A stack whose older frames are known needs whole pixels; all else is the same network.
        self.network = ActingNetwork(replace(layout, stacked=False), weights)

    def __call__(self, obs: Obs, outputs: Floats) -> tuple[Floats, Floats]:
        """The gradients at the observation that `network.forward` has seen last.

        Args:
            obs: (channels, height, width), that observation.
            outputs: (n, outputs), of n scalars in the actor's outputs.

        Returns:
            (n, channels, height, width) of these scalars, (channels, height, width) of V(s); per
            unit of pixel value (0 to 255).
        """
        actor, critic = (self._weights[f"{head}.weight"] for head in ("actor", "critic"))
        policy = outputs @ actor
        if not self._layout.shared:
            return self._back("torso", obs, policy), self._back("critic_torso", obs, critic)[0]
        both = self._back("torso", obs, np.concatenate([policy, critic]))
        return both[:-1], both[-1]

    def _back(self, torso: str, obs: Obs, delta: Floats) -> Floats:
        """(n, channels, height, width) from (n, features) of the torso's last activations."""
        layout, found = self._layout, self._activations(torso, obs)
        for i in reversed(range(len(layout.hidden))):
            delta = self._through(delta, found[len(layout.convs) + i].reshape(1, -1))
            delta = delta @ self._weights[f"{torso}.hidden{i + 1}.weight"]
        for i in reversed(range(len(layout.convs))):
            delta = self._through(delta.reshape(-1, *found[i].shape), found[i])
            weight = self._weights[f"{torso}.conv{i + 1}.weight"]
            delta = _through_conv(delta, weight, layout.convs[i], layout.conv_shapes[i])
        pixels = delta.transpose(0, 3, 1, 2) if layout.convs else delta.reshape(-1, *obs.shape)
        return pixels * np.float32(layout.scale)

    def _activations(self, torso: str, obs: Obs) -> list[Floats]:
        """Of every layer in order: (height, width, channels) or (units,)."""
        if self._layout.convs:
            return [memory[-1] for memory in self.network.memories]
        x = (obs - self._weights["pixel_mean"]).reshape(-1) * np.float32(self._layout.scale)
        found = []
        for i in range(len(self._layout.hidden)):
            weight, bias = (
                self._weights[f"{torso}.hidden{i + 1}.{kind}"] for kind in ("weight", "bias")
            )
            x = weight @ x + bias
            x = np.maximum(x, 0.0) if self._layout.activation == "relu" else np.tanh(x)
            found.append(x)
        return found

    def _through(self, delta: Floats, after: Floats) -> Floats:
        """Before an activation, from the gradient behind it and its output."""
        if self._layout.activation == "relu":
            return delta * (after > 0.0)
        return delta * (1.0 - after * after)


def _through_conv(delta: Floats, weight: Floats, conv: Conv, shape: tuple[int, int, int]) -> Floats:
    """(n, height, width, in), the gradient in a convolution's input from the one in its output.

    Args:
        delta: (n, rows, columns, out).
        weight: (out, in, kernel, kernel).
        conv: kernel and stride.
        shape: (in, height, width).
    """
    count, rows, columns, out = delta.shape
    channels, height, width = shape
    k, stride = conv.kernel, conv.stride
    by_place = weight.transpose(0, 2, 3, 1).reshape(out, -1)
    patches = (delta.reshape(-1, out) @ by_place).reshape(count, rows, columns, k, k, channels)
    image = np.zeros((count, height, width, channels), np.float32)
    for y in range(k):
        for x in range(k):
            ys, xs = slice(y, y + stride * rows, stride), slice(x, x + stride * columns, stride)
            image[:, ys, xs] += patches[:, :, :, y, x]
    return image
