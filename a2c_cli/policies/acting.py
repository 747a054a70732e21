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

from a2c_cli.envs.spec import ActionSpec, Obs
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
        weights: the parameters by their torch names; float32, shared with their owner.
        rows: how many observations' activations to remember; see `memories`. The last row is the
            one that is written where nobody names one.
    """

    def __init__(self, layout: Layout, weights: Mapping[str, Floats], rows: int = 1) -> None:
        self._layout, self._weights = layout, weights
        self._activate: Activation = _relu if layout.activation == "relu" else np.tanh
        self._convs: ConvTorso | None = None
        self._hidden: _RowDense | None = None
        self._torsos: list[list[_Dense]] = []
        if layout.convs:
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
        """What the shared torso's layers gave for each remembered observation.

        (rows, height, width, channels) a convolution, (rows, units) a hidden layer, in order.
        """
        assert self._convs is not None
        return self._convs.memories + ([] if self._hidden is None else [self._hidden.memory])

    def sync(self) -> None:
        """Take over the weights after they have changed."""
        if self._convs is not None:
            names = [f"torso.conv{i + 1}" for i in range(len(self._layout.convs))]
            pairs = [(self._weights[f"{n}.weight"], self._weights[f"{n}.bias"]) for n in names]
            self._convs.sync(pairs, self._layout.scale)

    def forward(self, obs: Obs, row: int = -1) -> tuple[Floats, float]:
        """Actor outputs (outputs,) and the value; the array is reused by the next call.

        Args:
            obs: (*obs_shape), uint8 pixels or float32 features.
            row: of the memory to keep the activations in.
        """
        if self._convs is not None:
            changed = self._convs.forward(obs, row)
            hidden = self._hidden
            x = self._convs.features[row] if hidden is None else hidden.forward(row, changed)
            return self._actor.forward(x), float(self._critic.forward(x)[0])
        x = obs if self._layout.scale == 1.0 else obs.reshape(-1) * np.float32(self._layout.scale)
        features = [self._features(layers, x) for layers in self._torsos]
        # One torso serves both heads, or each has its own.
        return self._actor.forward(features[0]), float(self._critic.forward(features[-1])[0])

    def _features(self, layers: list[_Dense], x: Floats) -> Floats:
        for layer in layers:
            x = layer.forward(x)
            self._activate(x, x)
        return x


def probabilities(logits: Floats) -> list[float]:
    """softmax of one choice's logits, in double precision."""
    values = logits.tolist()
    highest = max(values)
    weights = [math.exp(v - highest) for v in values]
    total = sum(weights)
    return [w / total for w in weights]


def entropy(action: ActionSpec, outputs: Floats, log_std: Floats | None) -> float:
    """H(π(·|s)) in nats of one observation's policy; see `heads.log_prob_and_entropy`."""
    if action.kind == "continuous":
        assert log_std is not None
        return float(log_std.sum()) + 0.5 * len(outputs) * (1.0 + math.log(2 * math.pi))
    parts = np.split(outputs, np.cumsum(action.sizes)[:-1])
    return -sum(p * math.log(p) for part in parts for p in probabilities(part) if p > 0.0)


def choose(
    action: ActionSpec,
    outputs: Floats,
    log_std: Floats | None,
    rng: np.random.Generator,
    greedy: bool,
) -> Any:
    """The policy's action: sampled by inverse transform, or the most probable one.

    Returns:
        int, (choices,) int64, or (numbers,) float32 in the policy's own units.
    """
    if action.kind == "continuous":
        if greedy:
            return outputs.copy()
        assert log_std is not None
        noise = rng.standard_normal(len(outputs), dtype=np.float32)
        return outputs + np.exp(log_std) * noise
    if action.kind == "discrete":
        return _choose_one(outputs, rng, greedy)
    starts = np.cumsum(action.sizes)[:-1]
    return np.array([_choose_one(part, rng, greedy) for part in np.split(outputs, starts)])


def _choose_one(logits: Floats, rng: np.random.Generator, greedy: bool) -> int:
    if greedy:
        return int(logits.argmax())
    u = rng.random()
    pi = probabilities(logits)
    for i, p in enumerate(pi):
        u -= p
        if u < 0.0:
            return i
    # Rounding left a sliver above the last one: it belongs to the most probable action.
    return pi.index(max(pi))
