"""READ SECOND: one update. Segments in, one optimizer step out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2c_cli.algorithm import losses
from a2c_cli.algorithm.entropy import EntropyBonus
from a2c_cli.algorithm.optimizer import (
    TrustRegion,
    clip_gradients,
    load_optimizer,
    make_optimizer,
    optimizer_state,
    parameter_groups,
)
from a2c_cli.algorithm.prediction import ChangePrediction
from a2c_cli.algorithm.returns import lambda_returns
from a2c_cli.algorithm.scales import AdvantageScale
from a2c_cli.algorithm.schedules import learning_rate_schedule
from a2c_cli.algorithm.segment import Segment
from a2c_cli.config.settings import Settings
from a2c_cli.errors import A2CError
from a2c_cli.policies.distributions import log_prob_and_entropy
from a2c_cli.policies.trainable import Trainable


class DivergedError(A2CError):
    """The loss or the gradient is no longer finite; the parameters are those from before."""


@dataclass(frozen=True)
class UpdateStats:
    """What one update measured; entropy in nats, losses before their weights.

    What is not measured is NaN, and not in `metrics`.
    """

    policy_loss: float
    value_loss: float
    entropy: float
    grad_norm: float
    explained_variance: float
    learning_rate: float
    entropy_coef: float
    approx_kl: float = math.nan  # nats, of the step before it is shortened; NaN if not measured
    prediction_loss: float = (
        math.nan
    )  # 1 = no better than each cell's rate; NaN if nothing is predicted
    # Share of a layer's ReLU units that were silent throughout, by layer.
    dead_units: Mapping[str, float] = field(default_factory=dict)
    # Of a natural-gradient step: KL of what was taken; ‖g - Fx‖ / ‖g‖, what conjugate gradients
    # left; steps that the line search looked at; 1 if it accepted none.
    kl: float = math.nan
    cg_residual: float = math.nan
    line_search_steps: float = math.nan
    rejected_steps: float = math.nan

    def metrics(self) -> dict[str, float]:
        """By their names in metrics.jsonl after `train/`; `dead_units` is the worst layer's."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "dead_units"}
        if self.dead_units:
            values["dead_units"] = max(self.dead_units.values())
        values |= {f"dead_units_{layer}": share for layer, share in self.dead_units.items()}
        return {name: value for name, value in values.items() if math.isfinite(value)}


class Update:
    """The update rule of one run, with what it remembers from one step to the next.

    Args:
        config: the run's settings.
        policy: whose parameters are learned.
    """

    def __init__(self, config: Settings, policy: Trainable) -> None:
        c = self._config = config
        self._policy = policy
        self.optimizer = make_optimizer(c, parameter_groups(policy.network, c))
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._region = TrustRegion(policy, c.max_kl)
        self._advantage_scale = AdvantageScale()
        self._entropy_bonus = EntropyBonus(c, policy.agent.spec.action.max_entropy)
        self._rate = learning_rate_schedule(c)
        cells = policy.network.layout.predictions
        self._prediction = ChangePrediction(c, cells) if cells else None
        self.count = 0

    def __call__(self, segments: list[Segment], progress: float) -> UpdateStats:
        """One optimizer step on the segments.

            L = mean_t [ -log π(a_t|s_t) A_t  +  c (G_t - V(s_t))²  -  β H(π(·|s_t)) ]  +  κ L_pred

        with G_t of `returns.lambda_returns`, A_t = G_t - V(s_t) without gradient, β of
        `EntropyBonus`, L_pred of `ChangePrediction` with its κ, and the mean (or sum) over all
        steps of all segments. Values, bootstrap values and log-probabilities all stem from the
        parameters that acted.

        Args:
            segments: closed, of one rollout.
            progress: share of the budget that is spent, for the schedules.

        Raises:
            DivergedError: loss or gradient is not finite; nothing has been changed.
        """
        c, policy, mean = self._config, self._policy, self._config.loss_reduction
        outputs, values, features = policy.evaluate(observations_of(segments))
        terms = evaluate_terms(c, policy, segments, outputs, values)
        _, log_probs, entropy, returns, value = terms
        advantages = self._scale_advantages(returns - value.detach())
        beta = self._entropy_bonus.update(float(entropy.detach().mean()), progress)
        kappa = 0.0 if self._prediction is None else self._prediction.weight(progress)

        policy_loss = losses.policy_loss(log_probs, advantages, mean)
        value_loss = losses.value_loss(value, returns, mean)
        loss = policy_loss + c.value_coef * value_loss + losses.entropy_loss(entropy, beta, mean)
        surprise = torch.tensor(math.nan)
        if self._prediction is not None and kappa > 0.0:
            channels = policy.agent.spec.channels
            predictor = policy.network.predictor
            surprise = self._prediction.loss(predictor, features, segments, channels)
            loss = loss + kappa * surprise

        policy.backward(loss)
        dead_units = policy.dead_units()  # before the step, of the parameters that acted
        grad_norm = clip_gradients(policy.parameters, c.max_grad_norm)
        check_finite(float(loss.detach()), grad_norm, self.count)
        kl = self._step(self._rate(progress), outputs.detach())
        return UpdateStats(
            policy_loss=float(policy_loss.detach()),
            value_loss=float(value_loss.detach()),
            entropy=float(entropy.detach().mean()),
            grad_norm=grad_norm,
            explained_variance=losses.explained_variance(returns, value.detach()),
            learning_rate=self._base_rates[0] * self._rate(progress),
            entropy_coef=beta,
            approx_kl=kl,
            prediction_loss=float(surprise.detach()),
            dead_units=dead_units,
        )

    def _scale_advantages(self, advantages: Tensor) -> Tensor:
        mode = self._config.normalize_advantages
        if mode == "none":
            return advantages
        square = advantages.square().mean()
        if mode == "update":
            return advantages / (square.sqrt() + 1e-8)
        return advantages / max(self._advantage_scale.update(float(square)), 1e-3)

    def _step(self, rate: float, outputs: Tensor) -> float:
        """θ ← θ - η g in the trust region; returns the KL divergence of the full step."""
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * rate
        kl = self._region.step(self.optimizer, outputs)
        self.count += 1
        return kl

    # --- checkpoint

    def get_state(self) -> dict[str, NDArray[Any]]:
        """What later updates depend on, the parameters apart, by checkpoint name."""
        state = optimizer_state(self.optimizer, self._policy.network)
        state |= self._entropy_bonus.get_state()
        if self._prediction is not None:
            state |= self._prediction.get_state()
        state["learner.advantages"] = self._advantage_scale.get_state()
        state["learner.updates"] = np.array([self.count], np.int64)
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`, the parameters already being what they were.

        Raises:
            KeyError, ValueError, TypeError: the state does not belong to this network.
        """
        load_optimizer(self.optimizer, self._policy.network, state)
        self._entropy_bonus.set_state(state)
        if self._prediction is not None:
            self._prediction.set_state(state)
        self._advantage_scale.set_state(state["learner.advantages"])
        self.count = int(state["learner.updates"][0])


class Terms(NamedTuple):
    """What an objective is made of, of all T steps of a rollout.

    Args:
        actions: (T,) integers, (T, choices) integers, or (T, numbers) floats.
        log_probs: (T,) log π(a_t|s_t), with gradient.
        entropy: (T,) H(π(·|s_t)) in nats, with gradient.
        returns: (T,) G_t, without gradient.
        values: (T,) V(s_t), with gradient.
    """

    actions: Tensor
    log_probs: Tensor
    entropy: Tensor
    returns: Tensor
    values: Tensor


def evaluate_terms(
    settings: Settings,
    policy: Trainable,
    segments: list[Segment],
    outputs: Tensor,
    values: Tensor,
) -> Terms:
    """The terms of segments, from what the parameters that acted say of their observations.

    Args:
        outputs, values: one row per observation, those that close a segment included.
    """
    parts = []
    row = 0
    for s in segments:
        steps, rows = slice(row, row + s.steps), slice(row, row + s.steps + 1)
        row = rows.stop
        actions = torch.from_numpy(s.actions).to(outputs.device)
        log_probs, entropy = log_prob_and_entropy(
            policy.agent.spec.action, outputs[steps], actions, policy.log_std
        )
        discounts = torch.from_numpy(settings.gamma * (1.0 - s.terminated))
        rewards = torch.from_numpy(s.rewards)
        returns = lambda_returns(rewards, discounts, values[rows], settings.gae_lambda)
        parts.append(Terms(actions, log_probs, entropy, returns, values[steps]))
    return Terms(*(torch.cat(part) for part in zip(*parts, strict=True)))


def observations_of(segments: list[Segment]) -> NDArray[Any]:
    """(N, *obs_shape): of all segments, the closing ones included."""
    if len(segments) == 1:  # no copy
        return segments[0].observations
    return np.concatenate([s.observations for s in segments])


def check_finite(loss: float, grad_norm: float, updates: int) -> None:
    """Whether an update may be made.

    Raises:
        DivergedError: it may not.
    """
    if not math.isfinite(grad_norm) or not math.isfinite(loss):
        raise DivergedError(
            f"the loss is {loss:g} and the gradient's norm {grad_norm:g} after {updates} updates",
            "try a smaller --learning-rate or a --reward-transform",
        )
