"""The terms of the actor-critic loss. PURE; every mean is over the T steps of the update.

L = L_policy + c · L_value + L_entropy + κ · L_prediction
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def reduce(terms: Tensor, reduction: str) -> Tensor:
    """Mean (the default: step size independent of T) or sum (A3C's choice) over the steps."""
    return terms.mean() if reduction == "mean" else terms.sum()


def policy_loss(log_probs: Tensor, advantages: Tensor, reduction: str = "mean") -> Tensor:
    """L_policy = -mean_t log π(a_t|s_t) · A_t: the policy gradient with a baseline as a loss.

    Source: Sutton and Barto 2018, section 13.4; A3C, arXiv 1602.01783.

    Args:
        log_probs: (T,) log π(a_t|s_t), with gradient.
        advantages: (T,) A_t; detached here, so the critic never sees this term.
        reduction: `mean` or `sum` over the T steps.
    """
    return -reduce(log_probs * advantages.detach(), reduction)


def value_loss(values: Tensor, returns: Tensor, reduction: str = "mean") -> Tensor:
    """L_value = mean_t (G_t - V(s_t))², without the factor ½ that some write.

    Args:
        values: (T,) V(s_t), with gradient.
        returns: (T,) G_t; detached here (a semi-gradient).
        reduction: `mean` or `sum` over the T steps.
    """
    return reduce((returns.detach() - values).square(), reduction)


def entropy_loss(entropy: Tensor, entropy_coef: float, reduction: str = "mean") -> Tensor:
    """L_entropy = -β · mean_t H(π(·|s_t)), H in nats: rewards keeping options open.

    Source: Williams and Peng 1991; A3C, arXiv 1602.01783.
    """
    return -entropy_coef * reduce(entropy, reduction)


def prediction_loss(
    logits: Tensor, changed: Tensor, followed: Tensor, reduction: str = "mean"
) -> Tensor:
    """L_prediction = -mean_t Σ_cells log p(changed): the nats that the next change surprises by.

    Source: see prediction.py.

    Args:
        logits: (T, cells) of the probability that a cell changes, with gradient.
        changed: (T, cells) 0 or 1.
        followed: (T,) 1 where the next picture goes on from this one, 0 at an end.
        reduction: `mean` or `sum` over the T steps.
    """
    terms = binary_cross_entropy_with_logits(logits, changed, reduction="none").sum(1)
    return reduce(terms * followed, reduction)
