"""RMSProp in both conventions and Adam, each in as few passes as torch allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from a2c_cli.config import TrainConfig

_LATE = 2**23  # float32 still counts on from here, for another eight million steps


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp with ε inside the root and an average that starts at 1 instead of 0.

        v ← α v + (1 - α) g²,   θ ← θ - η g / √(v + ε)

    The variant that A3C and OpenAI's baselines used; its first steps are small where gradients
    are, torch's are of size η whatever the gradient.

    Args:
        params: parameters or groups.
        lr: η.
        alpha: α.
        eps: ε.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 7e-4, alpha: float = 0.99, eps: float = 1e-5
    ) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            alpha, eps, lr = group["alpha"], group["eps"], group["lr"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["square_avg"] = torch.ones_like(parameter)
                average: Tensor = state["square_avg"]
                average.mul_(alpha).addcmul_(parameter.grad, parameter.grad, value=1.0 - alpha)
                parameter.addcdiv_(parameter.grad, average.add(eps).sqrt_(), value=-lr)
        return loss


# What each keeps for every parameter, once it has stepped.
SLOTS = {
    "rmsprop": {"step", "exp_avg", "exp_avg_sq"},
    "rmsprop_tf": {"square_avg"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
}


def make_optimizer(config: TrainConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer of a resolved config over parameter groups that carry their own `lr`."""
    eps, alpha = config.optimizer_eps, config.rmsprop_alpha
    if config.optimizer == "rmsprop_tf":
        return RMSpropTF(groups, alpha=alpha, eps=eps)
    if config.optimizer == "rmsprop":
        return _fused_rmsprop(groups, alpha, eps)
    return torch.optim.Adam(
        groups, betas=(config.adam_beta1, config.adam_beta2), eps=eps, fused=True
    )


def _fused_rmsprop(groups: list[dict[str, Any]], alpha: float, eps: float) -> torch.optim.Adam:
    """torch.optim.RMSprop by torch's fused Adam: one pass over the parameters instead of six.

    RMSProp is Adam with β₁ = 0, β₂ = α and no bias correction; and there is none when the count
    of steps starts so high that 1 - α^step = 1.
    """
    optimizer = torch.optim.Adam(groups, betas=(0.0, alpha), eps=eps, fused=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.full((), float(_LATE), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
    return optimizer
