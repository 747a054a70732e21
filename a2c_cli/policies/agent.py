"""An agent that acts: a network, the environment it was made for, and nothing that learns."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.errors import ObservationError
from a2c_cli.policies.acting import ActingNetwork
from a2c_cli.policies.distributions import choose
from a2c_cli.policies.layout import Layout
from a2c_cli.policies.normalizer import ObsNormalizer
from a2c_cli.policies.observer import Observer
from a2c_cli.rng import make_generator


class Decision(NamedTuple):
    """What an agent made of one observation.

    Args:
        observation: as the network took it.
        action: in the policy's own form: int, (choices,) or (numbers,).
        outputs: (outputs,) logits or means; the array is reused by the next decision.
        value: V(s), in units of the rewards that the learner saw.
    """

    observation: Obs
    action: Any
    outputs: NDArray[np.float32]
    value: float


class Agent:
    """Acts on one observation at a time; threads that share an agent wait for each other.

    Only the frames that `act` and `predict` stack are of one episode: there each thread needs an
    agent of its own.

    Args:
        spec: the environment.
        layout: the network's shape.
        weights: its parameters by their torch names, float32; shared, not copied.
        normalizer: of vector observations, or None.
        rng: decides sampled actions.
        remembered: observations whose activations the network can remember, for learning.
    """

    def __init__(
        self,
        spec: EnvSpec,
        layout: Layout,
        weights: Mapping[str, NDArray[np.float32]],
        normalizer: ObsNormalizer | None = None,
        rng: np.random.Generator | None = None,
        remembered: int = 0,
    ) -> None:
        self.spec, self.layout, self.weights = spec, layout, weights
        self.normalizer = normalizer
        self.network = ActingNetwork(layout, weights, remembered)
        self.rng = rng if rng is not None else make_generator(0)
        self._observers = [Observer(spec)]  # one for each environment at once, see `predict`
        self._lock = threading.Lock()  # the network's arrays are used anew by each decision

    def act(self, obs: Any, greedy: bool = False) -> Any:
        """An action as the environment takes it: sampled, or the most probable one.

        Args:
            obs: one observation as the environment gives it (see `Observer`); the first one after
                `reset` opens an episode.
            greedy: take the most probable action (the mean of a Gaussian).

        Raises:
            ObservationError: it is none of this environment, or not finite.
        """
        return self._act(self._observers[0], obs, greedy)

    def _act(self, observer: Observer, obs: Any, greedy: bool) -> Any:
        return self.spec.action.to_env(self.decide(observer.see(obs), greedy).action)

    def reset(self) -> None:
        """A new episode begins: forget the pictures of the last one."""
        for observer in self._observers:
            observer.reset()

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """As `predict` of Stable-Baselines3, for its `evaluate_policy` and loops made for it.

        Args:
            observation: one, or those of several environments as a vectorised one gives them.
            state: handed back as it is: the agent itself remembers earlier pictures.
            episode_start: whether each opens an episode; without it, the first after `reset` does.
            deterministic: take the most probable action.

        Returns:
            The action, or the actions, as the environment takes them; and `state`.

        Raises:
            ObservationError: as `act`.
        """
        count = self._observers[0].count(observation)
        while len(self._observers) < (count or 1):
            self._observers.append(Observer(self.spec))
        starts = np.resize(False if episode_start is None else episode_start, count or 1)
        actions = []
        for i, (observer, opens) in enumerate(zip(self._observers, starts, strict=False)):
            if opens:
                observer.reset()
            one = observation if count is None else _item(observation, i)
            actions.append(self._act(observer, one, deterministic))
        chosen = np.asarray(actions, self.spec.action.dtype)
        return (chosen[0, ...] if count is None else chosen), state

    def decide(self, obs: Obs, greedy: bool = False, remember: bool = False) -> Decision:
        """What the policy says to an observation of a stream, and an action chosen by it.

        Args:
            obs: `spec.obs_shape`, uint8 pixels or float32 features (not normalised).
            greedy: as for `act`.
            remember: keep the network's activations; see `ActingNetwork.forward`.
        """
        prepared = self.prepare(obs)
        with self._lock:
            outputs, value = self.network.forward(prepared, remember)
            action = choose(self.spec.action, outputs, self.network.log_std, self.rng, greedy)
        return Decision(prepared, action, outputs, value)

    def value(self, obs: Any) -> float:
        """V(s) of one observation, in units of the rewards that the learner saw.

        The observation that was acted on last, or the one that comes next: it is looked at, and
        not remembered.

        Raises:
            ObservationError: as `act`.
        """
        prepared = self.prepare(self._observers[0].glimpse(obs))
        with self._lock:
            return self.network.forward(prepared)[1]

    def prepare(self, obs: Obs) -> Obs:
        """An observation as the network takes it.

        Raises:
            ObservationError: it has another shape.
        """
        if obs.shape != self.spec.obs_shape:
            raise ObservationError(
                f"expected an observation of {self.spec.obs_shape}, got {obs.shape}"
            )
        if self.normalizer is not None:
            return self.normalizer.apply(obs)
        return obs if obs.dtype == self.spec.obs_dtype else obs.astype(self.spec.obs_dtype)

    def reseed(self, *entropy: int) -> None:
        """Restart the stream of sampled actions from these integers."""
        self.rng = make_generator(*entropy)


def _item(observations: Any, i: int) -> Any:
    """What the i-th of several environments shows."""
    if isinstance(observations, Mapping):
        return {name: _item(part, i) for name, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_item(part, i) for part in observations)
    return observations[i]
