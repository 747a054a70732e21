"""The same network for one observation at a time, in NumPy: a fast path that shares the weights.

A batch of one is all overhead in eager torch, and acting needs no gradient. The layers here read
the very memory of the torch parameters, rearranged where they are small, once after every update
(`sync`); tests/test_acting.py holds them equal to the torch module. It is also all that evaluate
and record need, so they never import torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import Obs
from a2c_cli.policies.convolution import Activation, ConvTorso, Floats, runs
from a2c_cli.policies.layout import Layout


class _Dense:
    """A fully connected layer on the torch parameters themselves."""

    def __init__(self, weight: Floats, bias: Floats) -> None:
        self._weight, self._bias = weight, bias
        self._output = np.empty(len(bias), np.float32)

    def forward(self, x: Floats) -> Floats:
        output = self._output
        np.matmul(self._weight, x, out=output)
        np.add(output, self._bias, out=output)
        return output


class _RowDense:
    """The fully connected layer behind the convolutions: one partial product for each image row.

    Args:
        weight: (units, height * width * channels), shared with its owner.
        bias: (units,).
        source: (rows of memory, height, width, channels), what it reads.
        activate: the activation, from one array to another.
    """

    def __init__(
        self, weight: Floats, bias: Floats, source: NDArray[Any], activate: Activation
    ) -> None:
        units, height = len(bias), source.shape[1]
        self._bias, self._activate = bias, activate
        self.memory = np.zeros((len(source), units), np.float32)
        self._outputs = list(self.memory)
        self._sources = list(source.reshape(len(source), height, -1, 1))
        self._weight = weight.reshape(units, height, -1).transpose(1, 0, 2)
        self._products = np.zeros((height, units, 1), np.float32)

    def forward(self, row: int, changed: int) -> Floats:
        """Fill a row of the memory and return it; takes the rows that differ from the last call."""
        source, output = self._sources[row], self._outputs[row]
        for rows in runs(changed):
            np.matmul(self._weight[rows], source[rows], out=self._products[rows])
        np.add.reduce(self._products[:, :, 0], axis=0, out=output)
        np.add(output, self._bias, out=output)
        self._activate(output, output)
        return output


def _relu(x: Floats, out: Floats) -> None:
    np.maximum(x, 0.0, out=out)


class ActingNetwork:
    """π(·|s) and V(s) of one observation.

    Args:
        layout: the network's shape.
        weights: parameters and buffers by their torch names; float32, shared with their owner.
        remembered: how many observations' activations can be remembered; see `memories`.
    """

    def __init__(self, layout: Layout, weights: Mapping[str, Floats], remembered: int = 0) -> None:
        self._layout, self._weights = layout, weights
        self._remembered, self._next = remembered, 0
        rows = remembered + 1  # the last is for what need not be remembered
        self._activate: Activation = _relu if layout.activation == "relu" else np.tanh
        self._convs: ConvTorso | None = None
        self._hidden: _RowDense | None = None
        self._torsos: list[list[_Dense]] = []
        self._pictures: list[ConvTorso] = []
        self._gain = np.float32(layout.gain)
        for part in layout.of_pictures:
            torso = ConvTorso(part.convs, part.conv_shapes, False, 1, self._activate)
            self._pictures.append(torso)
        if layout.conv_shapes:
            self._convs = ConvTorso(
                layout.convs, layout.conv_shapes, layout.stacked, rows, self._activate
            )
            if layout.hidden:
                weight, bias = (weights[f"torso.hidden1.{kind}"] for kind in ("weight", "bias"))
                features = self._convs.memories[-1]
                self._hidden = _RowDense(weight, bias, features, self._activate)
        else:
            names = ("torso",) if layout.shared else ("torso", "critic_torso")
            hidden = [f"hidden{i + 1}" for i in range(len(layout.hidden))]
            self._torsos = [[self._dense(f"{name}.{layer}") for layer in hidden] for name in names]
        self._actor, self._critic = self._dense("actor"), self._dense("critic")
        self.log_std: Floats | None = weights.get("log_std")
        self.sync()

    def _dense(self, name: str) -> _Dense:
        return _Dense(self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    @property
    def memories(self) -> list[Floats]:
        """What the shared torso's layers gave for each remembered observation, in order.

        (rows, height, width, channels) per convolution, (rows, units) per hidden layer. The last
        row is that of an observation which was not to be remembered.
        """
        assert self._convs is not None
        return self._convs.memories + ([] if self._hidden is None else [self._hidden.memory])

    def sync(self) -> None:
        """Take over the weights after they have changed."""
        if self._convs is not None:
            names = [f"torso.conv{i + 1}" for i in range(len(self._layout.convs))]
            pairs = [(self._weights[f"{n}.weight"], self._weights[f"{n}.bias"]) for n in names]
            self._convs.sync(pairs, self._layout.scale, self._weights["pixel_mean"])
        for i, (torso, part) in enumerate(
            zip(self._pictures, self._layout.of_pictures, strict=True)
        ):
            names = [f"torso.picture{i + 1}.conv{j + 1}" for j in range(len(part.convs))]
            pairs = [(self._weights[f"{n}.weight"], self._weights[f"{n}.bias"]) for n in names]
            torso.sync(pairs, part.scale, np.full(part.obs_shape, 127.5, np.float32))

    def forget(self) -> None:
        """Start remembering from the first row again."""
        self._next = 0

    def forward(self, obs: Obs, remember: bool = False) -> tuple[Floats, float]:
        """Actor outputs (outputs,) and the value; the array is reused by the next call.

        Args:
            obs: (*obs_shape), uint8 pixels or float32 features.
            remember: keep the activations until `forget`, where there is room for them.
        """
        row = -1
        if remember and self._remembered:
            row = self._next
            self._next += 1
        if self._convs is not None:
            changed = self._convs.forward(obs, row)
            hidden = self._hidden
            x = self._convs.features[row] if hidden is None else hidden.forward(row, changed)
            return self._actor.forward(x), float(self._critic.forward(x)[0])
        x = obs
        if self._layout.scale != 1.0:
            x = (obs - self._weights["pixel_mean"]).reshape(-1) * np.float32(self._layout.scale)
        if self._pictures:
            x = self._joined(obs)
        features = [self._features(layers, x) for layers in self._torsos]
        # One torso serves both heads, or each has its own.
        return self._actor.forward(features[0]), float(self._critic.forward(features[-1])[0])

    def _joined(self, obs: Obs) -> Floats:
        """What the convolutions of each picture give, and the numbers behind them."""
        found, offset = [], 0
        for torso, shape in zip(self._pictures, self._layout.pictures, strict=True):
            size = math.prod(shape)
            torso.forward(obs[offset : offset + size].reshape(shape), -1)
            found.append(torso.features[-1])
            offset += size
        return np.concatenate([*found, self._gain * obs[offset:]])

    def _features(self, layers: list[_Dense], x: Floats) -> Floats:
        for layer in layers:
            x = layer.forward(x)
            self._activate(x, x)
        return x
