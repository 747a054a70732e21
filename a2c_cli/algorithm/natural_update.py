"""The other update rule: a natural-gradient step of the policy, then a fit of the critic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2c_cli.algorithm import losses
from a2c_cli.algorithm.entropy import EntropyBonus
from a2c_cli.algorithm.natural import (
    FisherProduct,
    Search,
    conjugate_gradients,
    flatten,
    line_search,
    move,
    scaled_to,
)
from a2c_cli.algorithm.optimizer import (
    ADAM,
    Adam,
    clip_gradients,
    load_optimizer,
    optimizer_state,
)
from a2c_cli.algorithm.schedules import learning_rate_schedule
from a2c_cli.algorithm.segment import Segment
from a2c_cli.algorithm.update import (
    Terms,
    UpdateStats,
    check_finite,
    evaluate_terms,
    observations_of,
)
from a2c_cli.config.settings import Settings
from a2c_cli.policies.distributions import divergence, log_prob_and_entropy
from a2c_cli.policies.trainable import Trainable
from a2c_cli.rng import make_generator, pack_generator, unpack_generator


class NaturalUpdate:
    """One policy step along F⁻¹ ∇ per rollout; the rollout is thrown away after it.

    Args:
        settings: the run's.
        policy: whose parameters are learned; actor and critic share no layers.
    """

    def __init__(self, settings: Settings, policy: Trainable) -> None:
        s = self._settings = settings
        self._policy = policy
        self._actor, self._critic = policy.actor_parameters, policy.critic_parameters
        groups = [{"params": self._critic, "lr": s.critic_learning_rate}]
        self.optimizer = Adam(groups, ADAM, s.optimizer_eps)
        self._rate = learning_rate_schedule(s)
        self._entropy_bonus = EntropyBonus(s, policy.agent.spec.action.max_entropy)
        self._rng = make_generator(s.seed, 4)  # of the critic's minibatches
        self.count = 0

    def __call__(self, segments: list[Segment], progress: float) -> UpdateStats:
        """One step of the policy, some epochs of the critic.

            maximise  mean_t π(a_t|s_t) / π_old(a_t|s_t) A_t + β H(π)   with  KL(π_old ‖ π) ≤ δ
            minimise  mean_t (G_t - V(s_t))²

        A_t = G_t - V(s_t), centred and divided by its deviation, with G_t of
        `returns.lambda_returns`; δ is `max_kl`. Where no step along the natural gradient is
        accepted, the policy stays as it is.

        Raises:
            DivergedError: a gradient is not finite; nothing has been changed.
        """
        s, policy = self._settings, self._policy
        obs = observations_of(segments)
        outputs, values, _ = policy.evaluate(obs)
        terms = evaluate_terms(s, policy, segments, outputs, values)
        raw = terms.returns - terms.values.detach()
        advantages = (raw - raw.mean()) / (raw.std(correction=0) + 1e-8)
        beta = self._entropy_bonus.update(float(terms.entropy.detach().mean()), progress)

        policy_loss = losses.policy_loss(terms.log_probs, advantages)
        objective = -policy_loss - losses.entropy_loss(terms.entropy, beta)
        slopes = torch.autograd.grad(objective, self._actor, retain_graph=True)
        gradient = flatten(slopes).detach()
        value_loss = losses.value_loss(terms.values.detach(), terms.returns)
        norm = float(gradient.norm())
        check_finite(float(objective.detach()) + float(value_loss), norm, self.count)

        for parameter, slope in zip(self._actor, slopes, strict=True):
            parameter.grad = slope.detach()  # for whoever looks at gradients: trackers
        dead_units = policy.dead_units()
        steps = _rows_of_steps(segments)
        search, residual = self._step(gradient, outputs[steps], terms, advantages, beta, steps)
        rate = self._rate(progress)
        self._fit_critic(torch.from_numpy(obs)[steps], terms.returns, rate)
        policy.sync()
        self.count += 1
        return UpdateStats(
            policy_loss=float(policy_loss.detach()),
            value_loss=float(value_loss),
            entropy=float(terms.entropy.detach().mean()),
            grad_norm=norm,
            explained_variance=losses.explained_variance(terms.returns, terms.values.detach()),
            learning_rate=s.critic_learning_rate * rate,
            entropy_coef=beta,
            dead_units=dead_units,
            kl=search.kl,
            cg_residual=residual,
            line_search_steps=float(search.tries),
            rejected_steps=float(search.fraction == 0.0),
        )

    def _step(
        self,
        gradient: Tensor,
        outputs: Tensor,
        terms: Terms,
        advantages: Tensor,
        beta: float,
        steps: Tensor,
    ) -> tuple[Search, float]:
        """Move the policy; returns how the line search ended and the residual of F⁻¹ g."""
        s, policy, action = self._settings, self._policy, self._policy.agent.spec.action
        old_outputs = outputs.detach()
        old_log_std = None if policy.log_std is None else policy.log_std.detach().clone()
        kl = divergence(action, old_outputs, outputs, old_log_std, policy.log_std).mean()
        fisher = FisherProduct(kl, self._actor, s.fisher_damping)
        direction, residual = conjugate_gradients(fisher, gradient, s.cg_iterations)
        step = self._above_floor(scaled_to(direction, fisher, s.max_kl))
        start = flatten([p.detach() for p in self._actor])
        log_probs, entropy = terms.log_probs.detach(), float(terms.entropy.detach().mean())

        @torch.no_grad()
        def measure(fraction: float) -> tuple[float, float]:
            move(self._actor, start, fraction * step)
            new_outputs = policy.outputs_of(steps)
            moved = divergence(action, old_outputs, new_outputs, old_log_std, policy.log_std)
            new_log_probs, new_entropy = log_prob_and_entropy(
                action, new_outputs, terms.actions, policy.log_std
            )
            ratio = (new_log_probs - log_probs).exp()
            gain = float((ratio * advantages).mean() - advantages.mean())
            return float(moved.mean()), gain + beta * (float(new_entropy.mean()) - entropy)

        search = line_search(measure, s.max_kl)
        if search.fraction == 0.0:
            move(self._actor, start, torch.zeros_like(start))
        return search, residual

    def _above_floor(self, step: Tensor) -> Tensor:
        """The step, its part of ln σ cut where σ would fall below `std_floor` times its start.

        A policy that is almost certain explores no more, and its F is so large that a step within
        δ follows the noise of the advantages.
        """
        s, log_std = self._settings, self._policy.log_std
        if log_std is None or not s.std_floor:
            return step
        lowest = s.log_std_init + math.log(s.std_floor)
        kept, noise = step[: -len(log_std)], step[-len(log_std) :]  # ln σ is the last parameter
        return torch.cat([kept, torch.maximum(noise, lowest - log_std.detach())])

    def _fit_critic(self, obs: Tensor, returns: Tensor, rate: float) -> None:
        """Some epochs of minibatches on (G_t - V(s_t))².

        Args:
            obs: (T, *obs_shape), prepared.
            returns: (T,) G_t.
            rate: factor on the step size.
        """
        s, network = self._settings, self._policy.network
        for group in self.optimizer.param_groups:
            group["lr"] = s.critic_learning_rate * rate
        obs, count = obs.to(returns.device), len(returns)
        for _ in range(s.critic_epochs):
            order = torch.from_numpy(self._rng.permutation(count))
            for rows in order.split(s.critic_minibatch):  # type: ignore[no-untyped-call]
                loss = losses.value_loss(network.values(obs[rows]), returns[rows])
                for parameter, grad in zip(
                    self._critic, torch.autograd.grad(loss, self._critic), strict=True
                ):
                    parameter.grad = grad
                clip_gradients(self._critic, s.max_grad_norm)
                self.optimizer.step()

    # --- checkpoint

    def get_state(self) -> dict[str, NDArray[Any]]:
        """What later updates depend on, the parameters apart, by checkpoint name."""
        state = optimizer_state(self.optimizer, self._policy.network)
        state |= self._entropy_bonus.get_state()
        state["rng.minibatches"] = pack_generator(self._rng)
        state["learner.updates"] = np.array([self.count], np.int64)
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`, the parameters already being what they were.

        Raises:
            KeyError, ValueError, TypeError: the state does not belong to this network.
        """
        load_optimizer(self.optimizer, self._policy.network, state)
        self._entropy_bonus.set_state(state)
        unpack_generator(self._rng, state["rng.minibatches"])
        self.count = int(state["learner.updates"][0])


def _rows_of_steps(segments: list[Segment]) -> Tensor:
    """(T,) rows of the observations that were acted on: not those that close a segment."""
    rows, place = [], 0
    for segment in segments:
        rows.append(torch.arange(place, place + segment.steps))
        place += segment.steps + 1
    return torch.cat(rows)
