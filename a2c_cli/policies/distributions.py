"""log π(a|s), H(π(·|s)) and KL(π‖π') of the three policies, from the actor's outputs. PURE."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from a2c_cli.envs.spec import ActionSpec


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
        z = (actions - outputs) * torch.exp(-log_std)
        log_probs = -0.5 * z.square().sum(-1) - log_std.sum() - 0.5 * count * math.log(2 * math.pi)
        entropy = log_std.sum() + 0.5 * count * (1.0 + math.log(2 * math.pi))
        return log_probs, entropy.expand_as(log_probs)
    actions = actions.reshape(len(outputs), -1)
    log_probs, entropy = torch.zeros_like(outputs[:, 0]), torch.zeros_like(outputs[:, 0])
    for i, logits in enumerate(torch.split(outputs, list(action.sizes), dim=-1)):
        log_pi = torch.log_softmax(logits, dim=-1)
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
        spread = torch.exp(2.0 * (log_std - new_log_std))
        shift = ((outputs - new_outputs) * torch.exp(-new_log_std)).square()
        return (new_log_std - log_std + 0.5 * (spread + shift - 1.0)).sum(-1)
    kl = torch.zeros_like(outputs[:, 0])
    for logits, new_logits in zip(
        torch.split(outputs, list(action.sizes), dim=-1),
        torch.split(new_outputs, list(action.sizes), dim=-1),
        strict=True,
    ):
        log_pi, new_log_pi = torch.log_softmax(logits, -1), torch.log_softmax(new_logits, -1)
        kl = kl + (log_pi.exp() * (log_pi - new_log_pi)).sum(-1)
    return kl
