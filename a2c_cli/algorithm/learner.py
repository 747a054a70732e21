"""The learner: segments of one stream in, updates of the network out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from a2c_cli.algorithm.optimizer import as_tensor
from a2c_cli.algorithm.scales import RewardScaler
from a2c_cli.algorithm.segment import Segment
from a2c_cli.algorithm.update import Update, UpdateStats
from a2c_cli.config.settings import TrainConfig
from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.envs.stream import Transition
from a2c_cli.policies.acting import choose
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.gradient import TorsoGradient
from a2c_cli.policies.layout import make_layout
from a2c_cli.policies.network import ActorCritic
from a2c_cli.policies.normalizer import ObsNormalizer
from a2c_cli.rng import make_generator, pack_generator, unpack_generator

_MOST_ROWS = 2048  # about 40 KB each


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
        device = torch.device("cpu") if device is None else device
        layout = make_layout(c, spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(c.seed)
            self.network = ActorCritic(layout, c.init, c.log_std_init or 0.0)
        self.network.to(device)
        weights = {name: p.detach().cpu().numpy() for name, p in self.network.named_parameters()}
        normalizer = ObsNormalizer(spec.obs_shape[0]) if c.normalize_obs else None
        # Rows of one update's observations, the closing one of each segment included. Where they
        # are few, acting remembers its activations for the update's gradient.
        rows = c.segments_per_update * (c.n_steps + 1)
        gradient: TorsoGradient | None = None
        if layout.convs and c.n_steps and rows <= _MOST_ROWS and device.type == "cpu":
            torso = list(self.network.torso.parameters())
            gradient = TorsoGradient(layout, torso, rows, precision)
        self._remembers = gradient is not None
        self._rows_used = 0
        self.agent = Agent(
            spec,
            layout,
            weights,
            normalizer,
            make_generator(c.seed, 1),
            rows + 1 if self._remembers else 1,  # one more for `agent.act` and `agent.value`
        )
        self.update = Update(c, self.agent, self.network, gradient, precision)
        self._scaler = RewardScaler(c.gamma) if c.reward_transform == "scale" else None
        self._segments = [Segment(spec, c.n_steps)]

    @property
    def updates(self) -> int:
        """Optimizer steps so far."""
        return self.update.count

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

    # --- checkpoint

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything learned and everything on the way, as plain arrays by checkpoint name."""
        state: dict[str, NDArray[Any]] = {
            f"network.{n}": w.copy() for n, w in self.agent.weights.items()
        }
        state |= self.update.get_state()
        state["rng.policy"] = pack_generator(self.agent.rng)
        for source in (self.agent.normalizer, self._scaler):
            if source is not None:
                for key, value in source.get_state().items():
                    state[f"normalizer.{key}"] = value
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
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(as_tensor(state[f"network.{name}"], parameter.shape))
        self.update.set_state(state)
        unpack_generator(self.agent.rng, state["rng.policy"])
        part = {k.removeprefix("normalizer."): v for k, v in state.items() if "normalizer." in k}
        if self.agent.normalizer is not None:
            self.agent.normalizer.set_state(part)
        if self._scaler is not None:
            self._scaler.set_state(part)
        number = len({k.split(".")[1] for k in state if k.startswith("segment.")})
        self._segments = []
        for i in range(number):
            prefix = f"segment.{i}."
            segment = Segment(self.agent.spec, self._config.n_steps)
            segment.set_state({k.removeprefix(prefix): v for k, v in state.items() if prefix in k})
            self._segments.append(segment)
        self._remember_again()

    def _remember_again(self) -> None:
        """Refill the acting network's memory for what is gathered of the next update."""
        self._rows_used = 0
        if self._remembers:
            for segment in self._segments:
                open_ended = segment is self._segments[-1]
                for obs in segment.observations[: -1 if open_ended else None]:
                    self.agent.network.forward(obs, self._next_row())
