"""One update: segments in, one optimizer step of the network out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2c_cli.algorithm import losses
from a2c_cli.algorithm.optimizer import (
    clip_gradients,
    load_optimizer,
    make_optimizer,
    optimizer_state,
    parameter_groups,
)
from a2c_cli.algorithm.prediction import changes
from a2c_cli.algorithm.returns import lambda_returns
from a2c_cli.algorithm.scales import AdvantageScale
from a2c_cli.algorithm.schedules import Schedule
from a2c_cli.algorithm.segment import Segment
from a2c_cli.config.settings import TrainConfig
from a2c_cli.errors import A2CError
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.distributions import divergence, log_prob_and_entropy
from a2c_cli.policies.gradient import TorsoGradient
from a2c_cli.policies.network import ActorCritic

_PROBES = 8  # observations, at most, on which a step's effect on the policy is measured


class DivergedError(A2CError):
    """The loss or the gradient is no longer finite; the parameters are those from before."""


@dataclass(frozen=True)
class UpdateStats:
    """What one update measured; entropy in nats, losses before their weights."""

    policy_loss: float
    value_loss: float
    entropy: float
    grad_norm: float
    explained_variance: float
    learning_rate: float
    entropy_coef: float
    approx_kl: float  # nats, of the step before it is shortened; NaN if not measured
    prediction_loss: float  # nats a step; NaN if nothing is predicted


class Update:
    """The update rule of one run, with what it remembers from one step to the next.

    Args:
        config: resolved for this environment.
        agent: acts with the same parameters, and is told of every step.
        network: what is differentiated, on the device where that runs.
        torso_gradient: takes the gradient on from the activations that the agent remembers; None
            for a forward pass through the whole of `network`.
        precision: of the network's torso.
    """

    def __init__(
        self,
        config: TrainConfig,
        agent: Agent,
        network: ActorCritic,
        torso_gradient: TorsoGradient | None,
        precision: torch.dtype,
    ) -> None:
        c = self._config = config
        self._agent, self._network = agent, network
        self.torso_gradient, self._precision = torso_gradient, precision
        self.optimizer = make_optimizer(c, parameter_groups(network, c))
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._parameters: list[Tensor] = list(network.parameters())
        self._device = self._parameters[0].device
        self._before = [torch.empty_like(p) for p in self._parameters] if c.max_kl else []
        # Until the advantages' scale is known, β counts in full: as if they had always been 1.
        running = c.normalize_advantages == "running"
        self._advantage_scale = AdvantageScale() if running else AdvantageScale(1.0, 100)
        self._entropy_coef, self._rate = entropy_schedule(c), learning_rate_schedule(c)
        self._prediction_coef = prediction_schedule(c)
        self.count = 0

    def __call__(self, segments: list[Segment], progress: float) -> UpdateStats:
        """One optimizer step on the segments.

            L = mean_t [ -log π(a_t|s_t) A_t  +  c (G_t - V(s_t))²  -  β H(π(·|s_t))
                         +  κ Σ_cells -log p(changed) ]

        with G_t of `returns.lambda_returns`, A_t = G_t - V(s_t) without gradient, β by its schedule
        and `_stake`, and the mean (or sum) over all steps of all segments. One forward pass gives
        values, bootstrap values and log-probabilities: all stem from the parameters that acted.

        Raises:
            DivergedError: loss or gradient is not finite; nothing has been changed.
        """
        c, net, gradient = self._config, self._network, self.torso_gradient
        rate, prediction_coef = self._rate(progress), self._prediction_coef(progress)
        reduction = c.loss_reduction

        obs = segments[0].observations
        if len(segments) > 1:
            obs = np.concatenate([s.observations for s in segments])
        pixels = torch.from_numpy(obs)
        if gradient is None:
            features, value_features = net.features(pixels.to(self._device), self._precision)
        else:
            memories = [torch.from_numpy(m[: len(obs)]) for m in self._agent.network.memories]
            features = value_features = memories[-1].flatten(1).requires_grad_()
        outputs, values = net.actor(features), net.critic(value_features).squeeze(-1)

        log_prob, entropy, returns, value = self._terms(segments, outputs, values)
        advantages = self._scale_advantages(returns - value.detach())
        entropy_coef = self._entropy_coef(progress) * self._stake(advantages)
        policy_loss = losses.policy_loss(log_prob, advantages, reduction)
        value_loss = losses.value_loss(value, returns, reduction)
        loss = policy_loss + c.value_coef * value_loss
        loss = loss + losses.entropy_loss(entropy, entropy_coef, reduction)
        prediction_loss = torch.tensor(math.nan)
        if prediction_coef > 0.0:
            prediction_loss = self._prediction_loss(segments, features)
            loss = loss + prediction_coef * prediction_loss

        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if gradient is not None:
            assert features.grad is not None
            gradient.write(pixels, memories, features.grad)
        grad_norm = clip_gradients(self._parameters, c.max_grad_norm)
        loss_value = float(loss.detach())
        if not math.isfinite(grad_norm) or not math.isfinite(loss_value):
            raise DivergedError(
                f"the loss is {loss_value:g} and the gradient's norm {grad_norm:g}"
                f" after {self.count} updates",
                "try a smaller --learning-rate or a --reward-transform",
            )
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * rate
        if c.max_kl:
            kl = self._step_within(c.max_kl, pixels, outputs.detach())
        else:
            self.optimizer.step()
            self.sync()
            kl = math.nan
        self.count += 1
        return UpdateStats(
            policy_loss=float(policy_loss.detach()),
            value_loss=float(value_loss.detach()),
            entropy=float(entropy.detach().mean()),
            grad_norm=grad_norm,
            explained_variance=_explained_variance(returns, value.detach()),
            learning_rate=self._base_rates[0] * rate,
            entropy_coef=entropy_coef,
            approx_kl=kl,
            prediction_loss=float(prediction_loss.detach()),
        )

    def _terms(
        self, segments: list[Segment], outputs: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log π(a_t|s_t), H(π(·|s_t)), G_t and V(s_t) of all steps; each (T,).

        Args:
            outputs, values: a row an observation, those that close a segment included.
        """
        c, action = self._config, self._agent.spec.action
        log_std = getattr(self._network, "log_std", None)
        terms = []
        row = 0
        for s in segments:
            steps, rows = slice(row, row + s.steps), slice(row, row + s.steps + 1)
            row = rows.stop
            actions = torch.from_numpy(s.actions).to(self._device)
            log_prob, entropy = log_prob_and_entropy(action, outputs[steps], actions, log_std)
            discounts = torch.from_numpy(c.gamma * (1.0 - s.terminated))
            rewards = torch.from_numpy(s.rewards)
            returns = lambda_returns(rewards, discounts, values[rows], c.gae_lambda)
            terms.append((log_prob, entropy, returns, values[steps]))
        log_prob, entropy, returns, value = (torch.cat(part) for part in zip(*terms, strict=True))
        return log_prob, entropy, returns, value

    def _prediction_loss(self, segments: list[Segment], features: Tensor) -> Tensor:
        """Of `losses.prediction_loss` over all steps; `features` have a row an observation."""
        starts = itertools.accumulate((s.steps + 1 for s in segments), initial=0)
        rows = [features[row : row + s.steps] for row, s in zip(starts, segments, strict=False)]
        channels = self._agent.spec.channels
        changed = np.concatenate([changes(s.observations, channels) for s in segments])
        followed = np.concatenate([1.0 - s.terminated for s in segments])
        return losses.prediction_loss(
            self._network.predictor(torch.cat(rows)),
            torch.from_numpy(changed).to(self._device),
            torch.from_numpy(followed).to(self._device),
            self._config.loss_reduction,
        )

    @torch.no_grad()
    def _step_within(self, bound: float, obs: Tensor, outputs: Tensor) -> float:
        """One optimizer step in a trust region; returns its KL(before ‖ after).

        That is measured on a few of the update's observations. A step beyond the bound δ is
        shortened, θ ← θ + √(δ / KL) Δθ: the divergence is quadratic in a small step (as in
        Wu et al. 2017, arXiv 1708.05144, who predict it instead of measuring).
        """
        log_std = getattr(self._network, "log_std", None)
        old_log_std = None if log_std is None else log_std.clone()
        torch._foreach_copy_(self._before, self._parameters)
        self.optimizer.step()
        self.sync()
        rows = slice(None, None, -(-len(obs) // _PROBES))
        if self.torso_gradient is None:
            new_outputs, _ = self._network(obs[rows].to(self._device), self._precision)
        else:
            new_outputs = self._network.actor(self.torso_gradient.features(len(obs), rows))
        action = self._agent.spec.action
        moved = divergence(action, outputs[rows], new_outputs, old_log_std, log_std)
        kl = float(moved.mean())
        if math.isfinite(kl) and kl > bound:
            torch._foreach_lerp_(self._parameters, self._before, 1.0 - math.sqrt(bound / kl))
            self.sync()
        return kl

    def _scale_advantages(self, advantages: Tensor) -> Tensor:
        mode = self._config.normalize_advantages
        if mode == "none":
            return advantages
        square = advantages.square().mean()
        if mode == "update":
            return advantages / (square.sqrt() + 1e-8)
        return advantages / max(self._advantage_scale.update(float(square)), 1e-3)

    def _stake(self, advantages: Tensor) -> float:
        """The share of β that counts, min(1, σ_A / threshold).

        Without rewards the advantages are the critic's noise, and a bonus in full would be all
        that moves the policy: it would stay uniform for ever.
        """
        threshold = self._config.entropy_full_above
        if threshold == 0.0 or self._config.normalize_advantages != "none":
            return 1.0
        return min(1.0, self._advantage_scale.update(float(advantages.square().mean())) / threshold)

    def sync(self) -> None:
        """Let everything that has its own form of the parameters take them over."""
        if self._device.type != "cpu":
            for name, parameter in self._network.named_parameters():
                self._agent.weights[name][...] = parameter.detach().cpu().numpy()
        if self.torso_gradient is not None:
            self.torso_gradient.sync()
        self._agent.network.sync()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """What later updates depend on, the parameters apart, by checkpoint name."""
        state = optimizer_state(self.optimizer, self._network)
        state["learner.advantages"] = self._advantage_scale.get_state()
        state["learner.updates"] = np.array([self.count], np.int64)
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `get_state`, the parameters already being what they were.

        Raises:
            KeyError, ValueError, TypeError: the state does not belong to this network.
        """
        load_optimizer(self.optimizer, self._network, state)
        self._advantage_scale.set_state(state["learner.advantages"])
        self.count = int(state["learner.updates"][0])
        self.sync()


def _explained_variance(target: Tensor, value: Tensor) -> float:
    """1 - Var(G - V) / Var(G): 1 is a perfect critic, 0 no better than a constant."""
    variance = float(target.var(correction=0))
    return 1.0 - float((target - value).var(correction=0)) / variance if variance > 0 else math.nan


def entropy_schedule(config: TrainConfig) -> Schedule:
    """β as a function of the share of the budget that is spent (resolved config)."""
    return Schedule(
        config.entropy_coef, config.entropy_coef_end, config.entropy_schedule, config.entropy_hold
    )


def prediction_schedule(config: TrainConfig) -> Schedule:
    """κ as a function of the share of the budget that is spent (resolved config)."""
    return Schedule(config.prediction_coef or 0.0, 0.0, until=config.prediction_share or 1.0)


def learning_rate_schedule(config: TrainConfig) -> Schedule:
    """The factor on every learning rate as a function of the share of the budget (resolved)."""
    return Schedule(1.0, config.learning_rate_end, config.learning_rate_schedule)
