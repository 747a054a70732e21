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
        self._lock = threading.Lock()  # the network's arrays are used anew by each decision

    def act(self, obs: Obs, greedy: bool = False) -> Any:
        """An action as the environment takes it: sampled, or the most probable one.

        Args:
            obs: one observation as the environment's stream gives it: `spec.obs_shape`, uint8
                pixels or float32 features (not normalised).
            greedy: take the most probable action (the mean of a Gaussian).

        Raises:
            ObservationError: it is none, of another shape, or not finite.
        """
        _check_finite(obs)
        return self.spec.action.to_env(self.decide(obs, greedy).action)

    def decide(self, obs: Obs, greedy: bool = False, remember: bool = False) -> Decision:
        """As `act`, with what the decision was made from.

        Args:
            remember: keep the network's activations; see `ActingNetwork.forward`.
        """
        prepared = self.prepare(obs)
        with self._lock:
            outputs, value = self.network.forward(prepared, remember)
            action = choose(self.spec.action, outputs, self.network.log_std, self.rng, greedy)
        return Decision(prepared, action, outputs, value)

    def value(self, obs: Obs) -> float:
        """V(s) of one observation, in units of the rewards that the learner saw.

        Raises:
            ObservationError: as `act`.
        """
        _check_finite(obs)
        prepared = self.prepare(obs)
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


def _check_finite(obs: Obs) -> None:
    """Whether it is an array of numbers that are finite; a stream's own have been checked."""
    if not isinstance(obs, np.ndarray) or obs.dtype.kind not in "uif":
        raise ObservationError(
            f"an observation must be an array of numbers, not {type(obs).__name__}",
            "give what the environment's stream gives",
        )
    if obs.dtype.kind == "f" and not np.isfinite(obs).all():
        raise ObservationError("the observation is not finite", "an agent cannot act on NaN")
