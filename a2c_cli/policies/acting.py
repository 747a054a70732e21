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
from a2c_cli.policies.convolution import ConvTorso
from a2c_cli.policies.layout import Layout

Floats = NDArray[np.float32]


class _Dense:
    """A fully connected layer on the torch parameters themselves."""

    def __init__(self, weight: Floats, bias: Floats, rows: int = 1) -> None:
        self._weight, self._bias = weight, bias
        self.memory = np.zeros((rows, len(bias)), np.float32)
        self._outputs = list(self.memory)

    def forward(self, x: Floats, row: int = 0) -> Floats:
        output = self._outputs[row]
        np.matmul(self._weight, x, out=output)
        np.add(output, self._bias, out=output)
        return output


def _relu(x: Floats) -> None:
    np.maximum(x, 0.0, out=x)


def _tanh(x: Floats) -> None:
    np.tanh(x, out=x)


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
        self._activate = _relu if layout.activation == "relu" else _tanh
        self._convs: ConvTorso | None = None
        if layout.convs:
            self._convs = ConvTorso(
                layout.convs, layout.conv_shapes, layout.stacked, rows, self._activate
            )
        torsos = ("torso",) if layout.shared else ("torso", "critic_torso")
        self._torsos = [
            [
                self._dense(f"{torso}.hidden{i + 1}", rows if layout.convs else 1)
                for i in range(len(layout.hidden))
            ]
            for torso in torsos
        ]
        self._actor, self._critic = self._dense("actor"), self._dense("critic")
        self.log_std: Floats | None = weights.get("log_std")
        self.sync()

    def _dense(self, name: str, rows: int = 1) -> _Dense:
        return _Dense(self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], rows)

    @property
    def memories(self) -> list[Floats]:
        """What the shared torso's layers gave for each remembered observation.

        (rows, height, width, channels) a convolution, (rows, units) a hidden layer, in order.
        """
        assert self._convs is not None
        return self._convs.memories + [layer.memory for layer in self._torsos[0]]

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
            x = self._convs.forward(obs, row)
        elif self._layout.scale != 1.0:
            x, row = obs.reshape(-1) * np.float32(self._layout.scale), 0
        else:
            x, row = obs, 0
        features = self._features(0, x, row)
        outputs = self._actor.forward(features)
        if not self._layout.shared:
            features = self._features(1, x, row)
        return outputs, float(self._critic.forward(features)[0])

    def _features(self, torso: int, x: Floats, row: int) -> Floats:
        for layer in self._torsos[torso]:
            x = layer.forward(x, row)
            self._activate(x)
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
