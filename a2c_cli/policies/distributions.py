"""The three policies: sampling, log π(a|s), H(π(·|s)) and KL(π‖π'), from the actor's outputs. PURE.

- discrete:      π = softmax(logits)
- multidiscrete: independent softmaxes, one per choice
- continuous:    π = N(mean, σ²) per number, with a σ that does not depend on the state

Acting takes one observation and NumPy; learning takes a batch and torch. This module imports no
torch: who acts does not wait for it.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import ActionSpec

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

# --- acting: NumPy, one observation


def probabilities(logits: Floats) -> list[float]:
    """softmax of one choice's logits, in double precision."""
    values = logits.tolist()
    highest = max(values)
    weights = [math.exp(v - highest) for v in values]
    total = sum(weights)
    return [w / total for w in weights]


def entropy(action: ActionSpec, outputs: Floats, log_std: Floats | None) -> float:
    """H(π(·|s)) in nats of one observation's policy; see `log_prob_and_entropy`."""
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


# --- learning: torch, a batch


def log_prob_and_entropy(
    action: ActionSpec, outputs: Tensor, actions: Tensor, log_std: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Log-probability of the actions taken and entropy of the policy.

    - discrete: π = softmax(logits); H = -Σ π ln π.
    - multidiscrete: independent softmaxes; both are sums over the choices.
    - continuous: π = N(mean, σ²) per number; ln π = -½ Σ ((a - mean)/σ)² - Σ ln σ - (n/2) ln 2π,
      H = Σ ln σ + (n/2)(1 + ln 2π). `a` is the sample before it is clipped to the bounds.

    Args:
        action: the action space.
        outputs: (N, action.outputs) logits or means, with gradient.
        actions: (N,) integers, (N, choices) integers, or (N, numbers) floats.
        log_std: (numbers,) ln σ for continuous actions, else None.

    Returns:
        (N,) log-probabilities and (N,) entropies in nats (differential for continuous).
    """
    if action.kind == "continuous":
        assert log_std is not None
        count = outputs.shape[-1]
        z = (actions - outputs) * (-log_std).exp()
        log_probs = -0.5 * z.square().sum(-1) - log_std.sum() - 0.5 * count * math.log(2 * math.pi)
        entropy = log_std.sum() + 0.5 * count * (1.0 + math.log(2 * math.pi))
        return log_probs, entropy.expand_as(log_probs)
    actions = actions.reshape(len(outputs), -1)
    log_probs, entropy = outputs.new_zeros(len(outputs)), outputs.new_zeros(len(outputs))
    for i, logits in enumerate(_choices(action, outputs)):
        log_pi = logits.log_softmax(-1)
        log_probs = log_probs + log_pi.gather(-1, actions[:, i : i + 1]).squeeze(-1)
        entropy = entropy - (log_pi.exp() * log_pi).sum(-1)
    return log_probs, entropy


def divergence(
    action: ActionSpec,
    outputs: Tensor,
    new_outputs: Tensor,
    log_std: Tensor | None = None,
    new_log_std: Tensor | None = None,
) -> Tensor:
    """KL(π(·|s) ‖ π'(·|s)), how far a step has moved the policy.

    - discrete and multidiscrete: Σ π (ln π - ln π'), summed over the choices.
    - continuous: Σ [ ln σ' - ln σ + (σ² + (mean - mean')²) / (2 σ'²) - ½ ] over the numbers.

    Args:
        action: the action space.
        outputs, new_outputs: (N, action.outputs) logits or means of π and π'.
        log_std, new_log_std: (numbers,) ln σ for continuous actions, else None.

    Returns:
        (N,) nats, ≥ 0 but for rounding.
    """
    if action.kind == "continuous":
        assert log_std is not None
        assert new_log_std is not None
        spread = (2.0 * (log_std - new_log_std)).exp()
        shift = ((outputs - new_outputs) * (-new_log_std).exp()).square()
        return (new_log_std - log_std + 0.5 * (spread + shift - 1.0)).sum(-1)
    kl = outputs.new_zeros(len(outputs))
    for logits, new_logits in zip(
        _choices(action, outputs), _choices(action, new_outputs), strict=True
    ):
        log_pi, new_log_pi = logits.log_softmax(-1), new_logits.log_softmax(-1)
        kl = kl + (log_pi.exp() * (log_pi - new_log_pi)).sum(-1)
    return kl


def _choices(action: ActionSpec, outputs: Tensor) -> list[Tensor]:
    """The (N, size) logits of each choice."""
    ends = itertools.accumulate(action.sizes)
    return [outputs[:, end - size : end] for end, size in zip(ends, action.sizes, strict=True)]
