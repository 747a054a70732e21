"""The learner: segments of one stream in, updates of the network out."""

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

from a2c_cli import losses
from a2c_cli.agent import Agent
from a2c_cli.config import (
    TrainConfig,
    entropy_schedule,
    learning_rate_schedule,
    prediction_schedule,
)
from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.errors import A2CError
from a2c_cli.normalizers import ObsNormalizer, RewardScaler
from a2c_cli.optimizers import make_optimizer
from a2c_cli.policies.acting import choose
from a2c_cli.policies.gradient import TorsoGradient
from a2c_cli.policies.heads import divergence, log_prob_and_entropy
from a2c_cli.policies.layout import make_layout
from a2c_cli.policies.network import ActorCritic
from a2c_cli.prediction import changes
from a2c_cli.returns import lambda_returns
from a2c_cli.rng import make_generator, pack_generator, unpack_generator
from a2c_cli.rollout import Transition
from a2c_cli.segment import Segment

_MOST_ROWS = 2048  # about 40 KB each
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


class Learner:
    """Learns from one stream, one segment at a time.

    `act` and `learn` are called in turn, once a step. Every action is drawn from the parameters
    as of the last finished update, and the segment's values and its bootstrap value come from
    those very parameters.

    Args:
        config: resolved for this environment.
        spec: the environment.
        device: where the updates run.
        precision: of the network's torso in an update.
    """

    def __init__(
        self,
        config: TrainConfig,
        spec: EnvSpec,
        device: torch.device | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        c = self._config = config
        assert (c.n_steps is not None and c.log_std_init is not None) or not spec.continuous
        self._device = torch.device("cpu") if device is None else device
        self._precision = precision
        layout = make_layout(c, spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(c.seed)
            self.network = ActorCritic(layout, c.init, c.log_std_init or 0.0)
        self.network.to(self._device)
        self.optimizer = make_optimizer(c, self._parameter_groups())
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._weights = {
            name: p.detach().cpu().numpy() for name, p in self.network.named_parameters()
        }
        normalizer = ObsNormalizer(spec.obs_shape[0]) if c.normalize_obs else None
        # Rows of one update's observations, the closing one of each segment included. Where they
        # are few, acting remembers its activations for the update's gradient.
        rows = c.segments_per_update * (c.n_steps + 1)
        self._torso_gradient: TorsoGradient | None = None
        if layout.convs and c.n_steps and rows <= _MOST_ROWS and self._device.type == "cpu":
            torso = list(self.network.torso.parameters())
            self._torso_gradient = TorsoGradient(layout, torso, rows, precision)
        self._remembers = self._torso_gradient is not None
        self._rows_used = 0
        self.agent = Agent(
            spec,
            layout,
            self._weights,
            normalizer,
            make_generator(c.seed, 1),
            rows + 1 if self._remembers else 1,  # one more for `agent.act` and `agent.value`
        )
        self._scaler = RewardScaler(c.gamma) if c.reward_transform == "scale" else None
        self._parameters: list[Tensor] = list(self.network.parameters())
        self._before = [torch.empty_like(p) for p in self._parameters] if c.max_kl else []
        self._advantage_square, self._advantage_count = 0.0, 0
        self._segments = [Segment(spec, c.n_steps)]
        self._entropy_coef, self._rate = entropy_schedule(c), learning_rate_schedule(c)
        self._prediction_coef = prediction_schedule(c)
        self.updates = 0

    def _parameter_groups(self) -> list[dict[str, Any]]:
        c, net = self._config, self.network
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

    # --- acting

    def act(self, obs: Obs) -> Any:
        """Sample an action and remember what it was decided on."""
        agent = self.agent
        if agent.normalizer is not None:
            agent.normalizer.update(obs)
        prepared = agent.prepare(obs)
        outputs, _ = agent.network.forward(prepared, self._next_row())
        action = choose(agent.spec.action, outputs, agent.network.log_std, agent.rng, greedy=False)
        self._segments[-1].begin(prepared, action)
        return agent.spec.action.to_env(action)

    # --- learning

    def learn(self, step: Transition, progress: float) -> UpdateStats | None:
        """Take in what came of the last action; update when enough segments are full.

        Args:
            step: the transition.
            progress: share of the budget that is spent, for the schedules.

        Returns:
            What the update measured, or None if it was not time for one.

        Raises:
            DivergedError: loss or gradient is not finite; nothing has been changed.
        """
        segment = self._segments[-1]
        dead = step.terminated or (step.life_lost and bool(self._config.life_loss))
        segment.end(self._learner_reward(step), dead)
        whole_episodes = self._config.n_steps == 0
        if not (step.truncated or segment.full or (whole_episodes and step.terminated)):
            return None
        closing = self.agent.prepare(step.next_obs)
        segment.close(closing)
        if self._remembers:
            self.agent.network.forward(closing, self._next_row())
        if len(self._segments) < self._config.segments_per_update:
            self._segments.append(Segment(self.agent.spec, self._config.n_steps))
            return None
        stats = self.update(self._segments, progress)
        del self._segments[1:]
        self._segments[0].clear()
        self._rows_used = 0
        return stats

    def _next_row(self) -> int:
        """The row of the acting network's memory for the next observation of this update."""
        if not self._remembers:
            return 0
        self._rows_used += 1
        return self._rows_used - 1

    def _learner_reward(self, step: Transition) -> float:
        if self._config.reward_transform == "sign":
            return float(np.sign(step.reward))
        if self._scaler is not None:
            return self._scaler(step.reward, step.episode_over)
        return step.reward

    def update(self, segments: list[Segment], progress: float) -> UpdateStats:
        """One optimizer step on the segments.

            L = mean_t [ -log π(a_t|s_t) A_t  +  c (G_t - V(s_t))²  -  β H(π(·|s_t))
                         +  κ Σ_cells -log p(changed) ]

        with G_t of `returns.lambda_returns`, A_t = G_t - V(s_t) without gradient, and the mean
        (or sum) over all steps of all segments. One forward pass gives values, bootstrap values
        and log-probabilities, so all stem from the parameters that acted.

        Raises:
            DivergedError: loss or gradient is not finite; nothing has been changed.
        """
        c, net = self._config, self.network
        rate, entropy_coef = self._rate(progress), self._entropy_coef(progress)
        reduction = c.loss_reduction

        obs = segments[0].observations
        if len(segments) > 1:
            obs = np.concatenate([s.observations for s in segments])
        pixels = torch.from_numpy(obs)
        gradient = self._torso_gradient
        if gradient is None:
            features, value_features = net.features(pixels.to(self._device), self._precision)
        else:
            memories = [torch.from_numpy(m[: len(obs)]) for m in self.agent.network.memories]
            features = value_features = memories[-1].flatten(1).requires_grad_()
        outputs, values = net.actor(features), net.critic(value_features).squeeze(-1)
        log_probs, entropies, returns, predicted = [], [], [], []
        row = 0
        for s in segments:
            steps = slice(row, row + s.steps)
            rows = slice(row, row + s.steps + 1)
            row += s.steps + 1
            actions = torch.from_numpy(s.actions).to(self._device)
            log_std = getattr(net, "log_std", None)
            log_prob, entropy = log_prob_and_entropy(
                self.agent.spec.action, outputs[steps], actions, log_std
            )
            log_probs.append(log_prob)
            entropies.append(entropy)
            predicted.append(values[steps])
            discounts = torch.from_numpy(c.gamma * (1.0 - s.terminated))
            rewards = torch.from_numpy(s.rewards)
            returns.append(lambda_returns(rewards, discounts, values[rows], c.gae_lambda))
        target, value = torch.cat(returns), torch.cat(predicted)
        advantages = self._scale_advantages(target - value.detach())

        policy_loss = losses.policy_loss(torch.cat(log_probs), advantages, reduction)
        value_loss = losses.value_loss(value, target, reduction)
        entropy = torch.cat(entropies)
        loss = policy_loss + c.value_coef * value_loss
        loss = loss + losses.entropy_loss(entropy, entropy_coef, reduction)
        prediction_loss = torch.tensor(math.nan)
        prediction_coef = self._prediction_coef(progress)
        if prediction_coef > 0.0:
            prediction_loss = self._prediction_loss(segments, features)
            loss = loss + prediction_coef * prediction_loss

        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if gradient is not None:
            assert features.grad is not None
            gradient.write(pixels, memories, features.grad)
        grad_norm = _clip(self._parameters, c.max_grad_norm)
        loss_value = float(loss.detach())
        if not math.isfinite(grad_norm) or not math.isfinite(loss_value):
            raise DivergedError(
                f"the loss is {loss_value:g} and the gradient's norm {grad_norm:g}"
                f" after {self.updates} updates",
                "try a smaller --learning-rate or a --reward-transform",
            )
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * rate
        if c.max_kl:
            kl = self._step_within(c.max_kl, pixels, outputs.detach())
        else:
            self.optimizer.step()
            self._sync()
            kl = math.nan
        self.updates += 1
        return UpdateStats(
            policy_loss=float(policy_loss.detach()),
            value_loss=float(value_loss.detach()),
            entropy=float(entropy.detach().mean()),
            grad_norm=grad_norm,
            explained_variance=_explained_variance(target, value.detach()),
            learning_rate=self._base_rates[0] * rate,
            entropy_coef=entropy_coef,
            approx_kl=kl,
            prediction_loss=math.nan
            if prediction_loss is None
            else float(prediction_loss.detach()),
        )

    def _prediction_loss(self, segments: list[Segment], features: Tensor) -> Tensor:
        """Of `losses.prediction_loss` over all steps; `features` have a row an observation."""
        starts = itertools.accumulate((s.steps + 1 for s in segments), initial=0)
        rows = [features[row : row + s.steps] for row, s in zip(starts, segments, strict=False)]
        channels = self.agent.spec.channels
        changed = np.concatenate([changes(s.observations, channels) for s in segments])
        followed = np.concatenate([1.0 - s.terminated for s in segments])
        return losses.prediction_loss(
            self.network.predictor(torch.cat(rows)),
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
        log_std = getattr(self.network, "log_std", None)
        old_log_std = None if log_std is None else log_std.clone()
        torch._foreach_copy_(self._before, self._parameters)
        self.optimizer.step()
        self._sync()
        rows = slice(None, None, -(-len(obs) // _PROBES))
        if self._torso_gradient is None:
            new_outputs, _ = self.network(obs[rows].to(self._device), self._precision)
        else:
            new_outputs = self.network.actor(self._torso_gradient.features(len(obs), rows))
        action = self.agent.spec.action
        moved = divergence(action, outputs[rows], new_outputs, old_log_std, log_std)
        kl = float(moved.mean())
        if math.isfinite(kl) and kl > bound:
            torch._foreach_lerp_(self._parameters, self._before, 1.0 - math.sqrt(bound / kl))
            self._sync()
        return kl

    def _scale_advantages(self, advantages: Tensor) -> Tensor:
        mode = self._config.normalize_advantages
        if mode == "update":
            return advantages / (advantages.square().mean().sqrt() + 1e-8)
        if mode == "running":
            # A running root mean square: in a segment without rewards it does not blow noise up.
            self._advantage_count += 1
            weight = max(1.0 / self._advantage_count, 0.01)
            square = float(advantages.square().mean())
            self._advantage_square += weight * (square - self._advantage_square)
            return advantages / max(math.sqrt(self._advantage_square), 1e-3)
        return advantages

    def _sync(self) -> None:
        if self._device.type != "cpu":
            for name, parameter in self.network.named_parameters():
                self._weights[name][...] = parameter.detach().cpu().numpy()
        if self._torso_gradient is not None:
            self._torso_gradient.sync()
        self.agent.network.sync()

    # --- checkpoint

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything learned and everything on the way, as plain arrays by checkpoint name."""
        state: dict[str, NDArray[Any]] = {
            f"network.{n}": w.copy() for n, w in self._weights.items()
        }
        names: dict[Any, str] = {p: name for name, p in self.network.named_parameters()}
        for parameter, values in self.optimizer.state.items():
            for key, value in values.items():
                array = value.detach().cpu().numpy().copy()
                state[f"optimizer.{names[parameter]}.{key}"] = array
        state["rng.policy"] = pack_generator(self.agent.rng)
        for source in (self.agent.normalizer, self._scaler):
            if source is not None:
                for key, value in source.get_state().items():
                    state[f"normalizer.{key}"] = value
        state["learner.advantages"] = np.array(
            [self._advantage_square, self._advantage_count], np.float64
        )
        state["learner.updates"] = np.array([self.updates], np.int64)
        for i, segment in enumerate(self._segments):
            closed = i < len(self._segments) - 1
            for key, value in segment.get_state(closed=closed).items():
                state[f"segment.{i}.{key}"] = value
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `get_state`.

        Raises:
            KeyError, ValueError, TypeError: the state does not belong to this learner.
        """
        parameters = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(_tensor(state[f"network.{name}"], parameter.shape))
        self._load_optimizer(parameters, state)
        unpack_generator(self.agent.rng, state["rng.policy"])
        part = {k.removeprefix("normalizer."): v for k, v in state.items() if "normalizer." in k}
        if self.agent.normalizer is not None:
            self.agent.normalizer.set_state(part)
        if self._scaler is not None:
            self._scaler.set_state(part)
        square, count = state["learner.advantages"].tolist()
        self._advantage_square, self._advantage_count = float(square), int(count)
        self.updates = int(state["learner.updates"][0])
        number = len({k.split(".")[1] for k in state if k.startswith("segment.")})
        self._segments = []
        for i in range(number):
            prefix = f"segment.{i}."
            segment = Segment(self.agent.spec, self._config.n_steps)
            segment.set_state({k.removeprefix(prefix): v for k, v in state.items() if prefix in k})
            self._segments.append(segment)
        self._sync()
        self._remember_again()

    def _remember_again(self) -> None:
        """Refill the acting network's memory for what is gathered of the next update."""
        self._rows_used = 0
        if self._remembers:
            *closed, growing = self._segments
            for obs in [o for s in closed for o in s.observations] + list(growing.observations)[
                :-1
            ]:
                self.agent.network.forward(obs, self._next_row())

    def _load_optimizer(
        self, parameters: Mapping[str, Tensor], state: Mapping[str, NDArray[Any]]
    ) -> None:
        for name, parameter in parameters.items():
            prefix = f"optimizer.{name}."
            values = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            slots: dict[str, Tensor] = {}
            for key, value in values.items():
                shape = torch.Size(()) if key == "step" else parameter.shape
                tensor = _tensor(value, shape)
                slots[key] = tensor.to(self._device)
            if slots:
                self.optimizer.state[parameter] = slots


def _tensor(array: NDArray[Any], shape: torch.Size) -> Tensor:
    if tuple(array.shape) != tuple(shape) or array.dtype != np.float32:
        raise ValueError(f"a tensor has shape {array.shape}, expected {tuple(shape)}")
    return torch.from_numpy(array.copy())


@torch.no_grad()
def _clip(parameters: list[Tensor], bound: float) -> float:
    """Shorten the gradient to a norm of at most `bound` (0: never); returns its norm before.

    As torch's `clip_grad_norm_`, without its pass over a gradient that is short enough.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
    if bound and norm > bound:
        torch._foreach_mul_(gradients, bound / (norm + 1e-6))
    return norm


def _explained_variance(target: Tensor, value: Tensor) -> float:
    """1 - Var(G - V) / Var(G): 1 is a perfect critic, 0 no better than a constant."""
    variance = float(target.var(correction=0))
    return 1.0 - float((target - value).var(correction=0)) / variance if variance > 0 else math.nan
