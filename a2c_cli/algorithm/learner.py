"""READ FIRST: the learner. It acts, gathers segments of one stream, and has them learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from a2c_cli.algorithm.calibration import Calibration
from a2c_cli.algorithm.natural_update import NaturalUpdate
from a2c_cli.algorithm.scales import RewardScaler
from a2c_cli.algorithm.segment import Segment
from a2c_cli.algorithm.update import Update, UpdateStats
from a2c_cli.config.settings import Settings
from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.envs.stream import Transition
from a2c_cli.policies.trainable import Trainable, settled_torch


class Learner:
    """Learns from one stream, one segment at a time.

    `act` and `learn` are called in turn, once per step. Every action is drawn from the parameters
    as of the last finished update, and the segment's values and its bootstrap value come from
    those very parameters.

    Args:
        config: the run's settings.
        spec: the environment.
        device: where the updates run.
        precision: of the network's torso in an update.
    """

    def __init__(
        self,
        config: Settings,
        spec: EnvSpec,
        device: torch.device | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        c = self._config = config
        self.policy = Trainable(c, spec, device or torch.device("cpu"), precision)
        self.agent, self.network = self.policy.agent, self.policy.network
        self.update: Update | NaturalUpdate = (
            NaturalUpdate(c, self.policy) if c.policy_step == "natural" else Update(c, self.policy)
        )
        self._scaler = RewardScaler(c.gamma) if c.reward_transform == "scale" else None
        self._calibration = Calibration(spec, c.calibration_steps)
        self._segments = [Segment(spec, c.n_steps)]

    @property
    def updates(self) -> int:
        """Optimizer steps so far."""
        return self.update.count

    def act(self, obs: Obs) -> Any:
        """Sample an action, as the environment takes it, and note what it was decided on."""
        if self._calibration.running:
            decision = self.agent.decide(obs)
        else:
            decision = self.policy.decide(obs)
            self._segments[-1].begin(decision.observation, decision.action)
        return self.agent.spec.action.to_env(decision.action)

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
        c, segment, reward = self._config, self._segments[-1], self._learner_reward(step)
        if self._calibration.running:
            self._calibrate(step.next_obs)
            return None
        dead = step.terminated or (step.life_lost and c.life_loss)
        segment.end(reward, dead)
        whole_episode = c.n_steps == 0 and step.terminated
        if not (segment.full or step.truncated or whole_episode):
            return None
        return self._close_segment(step.next_obs, progress)

    def cut(self, obs: Obs, progress: float) -> UpdateStats | None:
        """End the episode under way as a truncation would, without another step.

        Args:
            obs: its last observation.
            progress: as for `learn`.

        Returns:
            As `learn`.

        Raises:
            DivergedError: as `learn`.
        """
        if self._scaler is not None:
            self._scaler.end_episode()
        if self._calibration.running or not self._segments[-1].steps:
            return None
        return self._close_segment(obs, progress)

    def _close_segment(self, obs: Obs, progress: float) -> UpdateStats | None:
        segment, closing = self._segments[-1], self.agent.prepare(obs)
        segment.close(closing)
        self.policy.remember(closing)
        if not self._rollout_full:
            self._segments.append(Segment(self.agent.spec, self._next_length))
            return None
        with settled_torch():
            stats = self.update(self._segments, progress)
        del self._segments[1:]
        self._segments[0].clear()
        self.policy.forget()
        return stats

    @property
    def _rollout_full(self) -> bool:
        """Whether it is time for an update.

        Segments that a truncation has cut short count as whole for the gradient's small steps; a
        natural step waits for all of its T steps.
        """
        if self._config.policy_step == "natural":
            return sum(s.steps for s in self._segments) >= self._config.n_steps
        return len(self._segments) >= self._config.segments_per_update

    @property
    def _next_length(self) -> int:
        """T of the next segment of this rollout."""
        if self._config.policy_step == "natural":
            return self._config.n_steps - sum(s.steps for s in self._segments)
        return self._config.n_steps

    def _calibrate(self, obs: Obs) -> None:
        self._calibration.add(obs)
        if not self._calibration.running:
            with settled_torch():
                self._calibration.finish(self.network)
                self.policy.sync()

    def _learner_reward(self, step: Transition) -> float:
        if self._config.reward_transform == "sign":
            return float(np.sign(step.reward))
        if self._scaler is not None:
            return self._scaler(step.reward, step.episode_over)
        return step.reward

    def start_from(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take another learner's weights, and the scales of what it has seen; nothing else.

        Args:
            tensors: of a checkpoint whose network is this one.

        Raises:
            KeyError, ValueError, TypeError: it is another one.
        """
        own = self.get_state()
        learned = ("network.", "normalizer.")
        self.set_state(own | {n: tensors[n] for n in own if n in tensors and n.startswith(learned)})
        if self._scaler is not None:
            self._scaler.end_episode()

    # --- checkpoint

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything learned and everything under way, as plain arrays by checkpoint name."""
        state = self.policy.get_state() | self.update.get_state()
        if self._scaler is not None:
            for key, value in self._scaler.get_state().items():
                state[f"normalizer.{key}"] = value
        for key, value in self._calibration.get_state().items():
            state[f"calibration.{key}"] = value
        for i, segment in enumerate(self._segments):
            closed = segment is not self._segments[-1]
            for key, value in segment.get_state(closed=closed).items():
                state[f"segment.{i}.{key}"] = value
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`.

        Raises:
            KeyError, ValueError, TypeError: the state does not belong to this learner.
        """
        self.policy.set_state(state)
        self.update.set_state(state)
        if self._scaler is not None:
            self._scaler.set_state(_part(state, "normalizer."))
        self._calibration.set_state(_part(state, "calibration."))
        number = len({k.split(".")[1] for k in state if k.startswith("segment.")})
        self._segments = []
        for i in range(number):
            segment = Segment(self.agent.spec, self._next_length)
            segment.set_state(_part(state, f"segment.{i}."))
            self._segments.append(segment)
        for segment in self._segments:
            closed = segment is not self._segments[-1]
            for obs in segment.observations[: None if closed else -1]:
                self.policy.remember(obs)


def _part(state: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
