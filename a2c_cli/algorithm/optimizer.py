"""What turns a gradient into a step: RMSProp and Adam, clipping, and a trust region.

With what belongs to a step: which parameters have which size of it, and an optimizer's state as
plain arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from a2c_cli.config.settings import Settings
from a2c_cli.policies.distributions import divergence
from a2c_cli.policies.network import ActorCritic
from a2c_cli.policies.trainable import Trainable, as_tensor

ADAM = (0.9, 0.999)  # β₁, β₂
_ALPHA = 0.99  # decay of RMSProp's average
_PROBES = 8  # observations, at most, on which a step's effect on the policy is measured


# What an optimizer keeps for every parameter, once it has stepped.
SLOTS = {"step", "exp_avg", "exp_avg_sq"}


class Adam:
    """Adam with torch's fused kernel: the bits of `torch.optim.Adam(groups, fused=True)`.

    That class imports torch's compiler when it is made, two seconds of every start.

    Args:
        groups: each with `params` and `lr`, its step size.
        betas: β₁, β₂.
        eps: ε.
    """

    def __init__(
        self, groups: list[dict[str, Any]], betas: tuple[float, float], eps: float
    ) -> None:
        self.param_groups = groups
        self.state: dict[Tensor, dict[str, Tensor]] = {}  # by parameter: `SLOTS`
        self._betas, self._eps = betas, eps

    @torch.no_grad()
    def step(self) -> None:
        """θ ← θ - η m̂ / (√v̂ + ε) for every parameter that has a gradient."""
        beta1, beta2 = self._betas
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            slots = [self.state.setdefault(p, {}) or self._start(p) for p in parameters]
            adam(
                parameters,
                [p.grad for p in parameters],
                [s["exp_avg"] for s in slots],
                [s["exp_avg_sq"] for s in slots],
                [],
                [s["step"] for s in slots],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=group["lr"],
                weight_decay=0.0,
                eps=self._eps,
                maximize=False,
            )

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        self.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        return self.state[parameter]


def make_optimizer(settings: Settings, groups: list[dict[str, Any]]) -> Adam:
    """The optimizer of a run over parameter groups that carry their own `lr`.

    - adam:    Kingma and Ba 2014 (arXiv 1412.6980), β₁ = .9, β₂ = .999
    - rmsprop: v ← α v + (1 - α) g²,   θ ← θ - η g / (√(v / (1 - α^t)) + ε),   α = .99

    RMSProp is Adam with β₁ = 0 and β₂ = α: the fused kernel takes one pass over the parameters
    where torch's RMSprop takes six. And its average is counted from step 0: left as it starts, a
    first step is η / √(1 - α), ten times too long, enough to break a policy.
    """
    betas = ADAM if settings.optimizer == "adam" else (0.0, _ALPHA)
    return Adam(groups, betas, settings.optimizer_eps)


def parameter_groups(network: ActorCritic, config: Settings) -> list[dict[str, Any]]:
    """The parameters with their step sizes: of the torso, the actor and the critic."""
    c, net = config, network
    actor, critic = list(net.actor.parameters()), list(net.critic.parameters())
    if hasattr(net, "log_std"):
        actor.append(net.log_std)
    torso = list(net.torso.parameters())
    if net.critic_torso is not None:
        actor, critic, torso = actor + torso, critic + list(net.critic_torso.parameters()), []
    if net.layout.predictions:
        torso += net.predictor.parameters()
    groups: list[dict[str, Any]] = [
        {"params": torso, "lr": c.learning_rate},
        {"params": actor, "lr": c.actor_learning_rate},
        {"params": critic, "lr": c.critic_learning_rate},
    ]
    groups = [group for group in groups if group["params"]]
    if len({group["lr"] for group in groups}) == 1:  # one step of the optimizer for all
        return [{**groups[0], "params": [p for group in groups for p in group["params"]]}]
    return groups


class TrustRegion:
    """Shortens a step that moves the policy by more than KL(before ‖ after) = δ.

        θ ← θ + √(δ / KL) Δθ      if KL > δ

    for the divergence is quadratic in a small step (as in Wu et al. 2017, arXiv 1708.05144, who
    predict it instead of measuring). It is measured on a few of the update's observations.

    Args:
        policy: whose parameters the optimizer moves.
        bound: δ in nats; 0 to take every step as it is.
    """

    def __init__(self, policy: Trainable, bound: float) -> None:
        self._policy, self._bound = policy, bound
        self._before = [torch.empty_like(p) for p in policy.parameters] if bound else []

    @torch.no_grad()
    def step(self, optimizer: Adam, outputs: Tensor) -> float:
        """One step of the optimizer, shortened if need be.

        Args:
            outputs: (N, outputs) of the policy's last `evaluate`.

        Returns:
            KL(before ‖ after) of the full step in nats; NaN where it is not measured.
        """
        policy = self._policy
        if not self._bound:
            optimizer.step()
            policy.sync()
            return math.nan
        old_log_std = None if policy.log_std is None else policy.log_std.clone()
        torch._foreach_copy_(self._before, policy.parameters)
        optimizer.step()
        policy.sync()
        rows = slice(None, None, -(-len(outputs) // _PROBES))
        action, new_outputs = policy.agent.spec.action, policy.outputs_of(rows)
        moved = divergence(action, outputs[rows], new_outputs, old_log_std, policy.log_std)
        kl = float(moved.mean())
        if math.isfinite(kl) and kl > self._bound:
            back = 1.0 - math.sqrt(self._bound / kl)
            torch._foreach_lerp_(policy.parameters, self._before, back)
            policy.sync()
        return kl


@torch.no_grad()
def clip_gradients(parameters: list[Tensor], bound: float) -> float:
    """Shorten the gradient to a norm of at most `bound` (0: never); returns its norm before.

    As torch's `clip_grad_norm_`, without its pass over a gradient that is short enough.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
    if bound and norm > bound:
        torch._foreach_mul_(gradients, bound / (norm + 1e-6))
    return norm


def optimizer_state(optimizer: Adam, network: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """What an optimizer keeps, as plain arrays by checkpoint name."""
    return {
        f"optimizer.{name}.{key}": value.detach().cpu().numpy().copy()
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(
    optimizer: Adam,
    network: torch.nn.Module,
    state: Mapping[str, NDArray[Any]],
) -> None:
    """Give an optimizer what `optimizer_state` returned.

    Raises:
        ValueError: the state is that of another network.
    """
    for name, parameter in network.named_parameters():
        prefix = f"optimizer.{name}."
        values = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        slots: dict[str, Tensor] = {}
        for key, value in values.items():
            shape = torch.Size(()) if key == "step" else parameter.shape
            slots[key] = as_tensor(value, shape).to(parameter.device)
        if slots:
            optimizer.state[parameter] = slots
