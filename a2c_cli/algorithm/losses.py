"""The terms of the actor-critic loss. PURE; every mean is over the T steps of the update.

L = L_policy + c · L_value + L_entropy; prediction.py adds its own where there is an auxiliary task.
"""

from __future__ import annotations

import math

from torch import Tensor


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


def explained_variance(returns: Tensor, values: Tensor) -> float:
    """1 - Var(G - V) / Var(G): 1 for a perfect critic, 0 for one no better than a constant.

    Args:
        returns, values: (T,) G_t and V(s_t).

    Returns:
        At most 1; NaN where the returns do not vary.
    """
    variance = float(returns.var(correction=0))
    if variance <= 0.0:
        return math.nan
    return 1.0 - float((returns - values).var(correction=0)) / variance
