"""n-step and λ-returns of one segment of experience. PURE: arrays in, arrays out."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_returns(
    rewards: Tensor, discounts: Tensor, values: Tensor, gae_lambda: float = 1.0
) -> Tensor:
    """The λ-return of every step of a segment, by backward recursion.

        G_T = V(s_T)
        G_t = r_t + d_t · ((1 - λ) · V(s_{t+1}) + λ · G_{t+1}),      d_t = γ · (1 - terminated_t)

    λ = 1 is the n-step return that reaches to the end of the segment (A3C, arXiv 1602.01783);
    λ = 0, or a segment of one step, is the one-step TD target. G_t - V(s_t) equals generalised
    advantage estimation with the same λ (GAE, arXiv 1506.02438, eq. 16).

    A truncated step must be the segment's last one: its d_t stays γ and s_T is the observation
    from before the reset. A terminated step may stand anywhere: its d_t = 0 cuts the recursion.

    Args:
        rewards: (T,) float, as the learner sees them.
        discounts: (T,) float, d_t above.
        values: (T+1,) float, V(s_0) ... V(s_T), all from one set of parameters.
        gae_lambda: λ in [0, 1].

    Returns:
        (T,) float, G_0 ... G_{T-1}; carries no gradient.
    """
    v = values.detach().tolist()
    r, d = rewards.tolist(), discounts.tolist()
    returns = [0.0] * len(r)
    following = v[-1]
    for t in range(len(r) - 1, -1, -1):
        following = r[t] + d[t] * ((1.0 - gae_lambda) * v[t + 1] + gae_lambda * following)
        returns[t] = following
    return torch.tensor(returns, dtype=values.dtype, device=values.device)
