"""The door between acting and learning: one set of parameters to act with and to differentiate.

An update wants π and V of the very observations on which the policy has just acted, with the very
parameters that acted. So nothing is computed twice:

    decide(obs)    the acting network (NumPy) gives π and V  and remembers its activations
       ...         T times, then remember(last obs)
    evaluate(obs)  the heads (torch) on the remembered features      ── or the whole torch module
    backward(loss) autograd down to the features, then by hand through the torso (gradient.py)
    step, sync()   the new parameters reach both

Who uses it need not know which way was taken: without convolutions, on a GPU, or with very long
segments nothing is remembered, and the torch module does all of it by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2c_cli.config.settings import Settings
from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.policies.agent import Agent, Decision
from a2c_cli.policies.gradient import TorsoGradient
from a2c_cli.policies.layout import make_layout
from a2c_cli.policies.network import ActorCritic
from a2c_cli.policies.normalizer import normalizer_of
from a2c_cli.rng import make_generator, pack_generator, unpack_generator

_MOST_REMEMBERED = 2048  # observations, about 40 KB each


@contextlib.contextmanager
def settled_torch() -> Iterator[None]:
    """Torch as learning needs it, whatever an environment of this process has set.

    Single precision by default, gradients on, tensors on the CPU; afterwards all is as it was.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    if device.type != "cpu":
        torch.set_default_device("cpu")
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)


class Evaluation(NamedTuple):
    """What the parameters say of N observations, with gradient.

    Args:
        outputs: (N, outputs) logits or means.
        values: (N,) V(s).
        features: (N, features), what entered the actor head.
    """

    outputs: Tensor
    values: Tensor
    features: Tensor


class Trainable:
    """A policy and its value function, acting on one observation and differentiable on many.

    Args:
        config: the run's settings.
        spec: the environment.
        device: where it is differentiated; acting stays on the CPU.
        precision: of the torso in `evaluate` and `backward`.
    """

    def __init__(
        self, config: Settings, spec: EnvSpec, device: torch.device, precision: torch.dtype
    ) -> None:
        c, layout = config, make_layout(config, spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(c.seed)
            self.network = ActorCritic(layout, c.init, c.log_std_init, c.critic_gain)
        self.network.to(device)
        self.parameters: list[Tensor] = list(self.network.parameters())
        self._device, self._precision = device, precision
        weights = {name: p.detach().cpu().numpy() for name, p in self.network.state_dict().items()}
        # The closing observation of each segment included.
        observations = c.segments_per_update * (c.n_steps + 1)
        remembers = bool(layout.conv_shapes) and c.n_steps > 0 and observations <= _MOST_REMEMBERED
        self._gradient: TorsoGradient | None = None
        if remembers and device.type == "cpu":
            torso = list(self.network.torso.parameters())
            mean = self.network.pixel_mean
            self._gradient = TorsoGradient(layout, torso, mean, observations, precision)
        self.agent = Agent(
            spec,
            layout,
            weights,
            normalizer_of(spec) if c.normalize_obs else None,
            make_generator(c.seed, 1),
            0 if self._gradient is None else observations,
        )
        self._pixels = torch.empty(0)  # of the last `evaluate`
        self._features = self._value_features = self._pixels

    @property
    def log_std(self) -> Tensor | None:
        """(numbers,) ln σ of a Gaussian policy, with gradient; None for discrete actions."""
        return getattr(self.network, "log_std", None)

    @property
    def actor_parameters(self) -> list[Tensor]:
        """Of the policy: torso, head and ln σ."""
        parameters: list[Tensor] = [
            *self.network.torso.parameters(),
            *self.network.actor.parameters(),
        ]
        return parameters if self.log_std is None else [*parameters, self.log_std]

    @property
    def critic_parameters(self) -> list[Tensor]:
        """Of the value function, where it has a torso of its own."""
        assert self.network.critic_torso is not None
        return [*self.network.critic_torso.parameters(), *self.network.critic.parameters()]

    # --- acting

    def decide(self, obs: Obs) -> Decision:
        """Sample an action; the observation's activations are remembered for `evaluate`."""
        if self.agent.normalizer is not None:
            self.agent.normalizer.update(obs)
        return self.agent.decide(obs, remember=True)

    def remember(self, prepared: Obs) -> None:
        """As if `decide` had been asked about an observation, already prepared for the network."""
        if self._gradient is not None:
            self.agent.network.forward(prepared, remember=True)

    def forget(self) -> None:
        """Begin a new rollout: what is decided from here on belongs to the next `evaluate`."""
        self.agent.network.forget()

    # --- learning

    def evaluate(self, observations: NDArray[Any]) -> Evaluation:
        """π and V of all observations since the last `forget`, with gradient.

        Args:
            observations: (N, *obs_shape), prepared, in the order in which they were decided on.
        """
        net = self.network
        self._pixels = torch.from_numpy(observations)
        if self._gradient is None:
            features, value_features = net.features(self._pixels.to(self._device), self._precision)
        else:
            memories = self._memories()
            features = value_features = memories[-1].flatten(1).requires_grad_()
        self._features, self._value_features = features, value_features
        return Evaluation(net.actor(features), net.critic(value_features).squeeze(-1), features)

    def backward(self, loss: Tensor) -> None:
        """Set every parameter's `grad` to that of a loss on the last `evaluate`."""
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        if self._gradient is not None:
            assert self._features.grad is not None
            self._gradient.write(self._pixels, self._memories(), self._features.grad)

    @torch.no_grad()
    def outputs_of(self, rows: slice | Tensor) -> Tensor:
        """(n, outputs) of some of the last `evaluate`'s observations, by today's parameters."""
        if self._gradient is None:
            outputs, _ = self.network(self._pixels[rows].to(self._device), self._precision)
        else:
            assert isinstance(rows, slice)
            features = self._gradient.features(len(self._pixels), rows)
            outputs = self.network.actor(features)
        return outputs  # type: ignore[no-any-return]

    def dead_units(self) -> dict[str, float]:
        """The share of each layer's ReLU units that were silent in all of the last `evaluate`.

        A convolution's unit is one of its channels. Of the layers whose activations are at hand:
        all where they are remembered, the last one elsewhere, none without ReLUs.
        """
        layout = self.network.layout
        if layout.activation != "relu":
            return {}
        names = [f"conv{i + 1}" for i in range(len(layout.convs))]
        names += [f"hidden{i + 1}" for i in range(len(layout.hidden))]
        if self._gradient is None:
            last = {names[-1]: self._features, f"critic_{names[-1]}": self._value_features}
            layers = {name: x.detach().cpu().numpy() for name, x in last.items()}
            if layout.shared:
                del layers[f"critic_{names[-1]}"]
        else:
            count = len(self._pixels)
            memories = (m[:count] for m in self.agent.network.memories)
            layers = dict(zip(names, memories, strict=True))
        return {name: _silent_share(activations) for name, activations in layers.items()}

    def sync(self) -> None:
        """Let the acting network and the gradient take over parameters that have changed."""
        if self._device.type != "cpu":
            for name, tensor in self.network.state_dict().items():
                self.agent.weights[name][...] = tensor.detach().cpu().numpy()
        if self._gradient is not None:
            self._gradient.sync()
        self.agent.network.sync()

    def _memories(self) -> list[Tensor]:
        count = len(self._pixels)
        return [torch.from_numpy(m[:count]) for m in self.agent.network.memories]

    # --- checkpoint

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Parameters, generator and normaliser as plain arrays by checkpoint name."""
        weights = {n: w.copy() for n, w in self.agent.weights.items()}
        state: dict[str, NDArray[Any]] = {}
        if "pixel_mean" in weights:
            state["normalizer.pixel_mean"] = weights.pop("pixel_mean")
        state |= {f"network.{name}": array for name, array in weights.items()}
        state["rng.policy"] = pack_generator(self.agent.rng)
        if self.agent.normalizer is not None:
            for key, value in self.agent.normalizer.get_state().items():
                state[f"normalizer.{key}"] = value
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore `get_state`.

        Raises:
            KeyError, ValueError, TypeError: the state does not belong to this network.
        """
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(as_tensor(state[f"network.{name}"], parameter.shape))
            for name, buffer in self.network.named_buffers():
                if f"normalizer.{name}" in state:  # in no checkpoint from before there were any
                    buffer.copy_(as_tensor(state[f"normalizer.{name}"], buffer.shape))
        unpack_generator(self.agent.rng, state["rng.policy"])
        if self.agent.normalizer is not None:
            self.agent.normalizer.set_state(
                {k.removeprefix("normalizer."): v for k, v in state.items() if "normalizer." in k}
            )
        self.sync()
        self.forget()


def _silent_share(activations: NDArray[np.float32]) -> float:
    """The share of units, in the last axis, that are nowhere above 0."""
    units = activations.shape[-1]
    if (activations[0].reshape(-1, units).max(axis=0) > 0.0).all():  # as most channels are
        return 0.0
    highest = activations.max(axis=0).reshape(-1, units).max(axis=0)
    return float((highest <= 0.0).mean())


def as_tensor(array: NDArray[Any], shape: torch.Size) -> Tensor:
    """A copy of a float32 array of a checkpoint.

    Raises:
        ValueError: it has another shape or type.
    """
    if tuple(array.shape) != tuple(shape) or array.dtype != np.float32:
        raise ValueError(f"a tensor has shape {array.shape}, expected {tuple(shape)}")
    return torch.from_numpy(array.copy())
