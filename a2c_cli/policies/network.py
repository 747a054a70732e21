"""The actor-critic network as a torch module: what the updates differentiate."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from a2c_cli.policies.layout import Layout

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class ActorCritic(nn.Module):
    """π(·|s) and V(s) from one observation batch.

    Pixels: one torso of convolutions and at most one hidden layer, shared by two linear heads.
    Both: convolutions for each picture, whose features and the numbers share hidden layers.
    Vectors: two torsos, so that the value's gradient does not move the policy's features.

    Args:
        layout: the network's shape.
        init: `orthogonal` (gain √2 for ReLU and tanh layers, .01 for the actor head,
            `critic_gain` for the critic head, zero biases) or `torch` (the module defaults).
        log_std_init: ln σ at the start of a Gaussian policy.
        critic_gain: of the critic head where `init` is orthogonal.

    Attributes:
        pixel_mean: (*obs_shape) the mean picture μ, subtracted from pixels; 0 until it is set.
    """

    def __init__(
        self,
        layout: Layout,
        init: str = "orthogonal",
        log_std_init: float = 0.0,
        critic_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.torso = _torso(layout)
        self.critic_torso = None if layout.shared else _torso(layout)
        self.actor = nn.Linear(layout.head_features, layout.outputs)
        self.critic = nn.Linear(layout.head_features, 1)
        if layout.predictions:
            self.predictor = nn.Linear(layout.head_features, layout.predictions)
        if layout.scale != 1.0:
            self.pixel_mean: Tensor
            self.register_buffer("pixel_mean", torch.zeros(layout.obs_shape))
        if layout.continuous:
            self.log_std = nn.Parameter(torch.full((layout.outputs,), log_std_init))
        if init == "orthogonal":
            gains = {"actor": 0.01, "critic": critic_gain, "predictor": 0.01}
            for name, module in self.named_modules():
                if isinstance(module, nn.Linear | nn.Conv2d):
                    nn.init.orthogonal_(module.weight, gains.get(name, math.sqrt(2.0)))
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(self, obs: Tensor, precision: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Actor outputs and state values.

        Args:
            obs: (N, *obs_shape), uint8 pixels or float32 features.
            precision: of the torso; the heads are always float32.

        Returns:
            (N, outputs) logits or means, and (N,) values, float32.
        """
        features, value_features = self.features(obs, precision)
        return self.actor(features), self.critic(value_features).squeeze(-1)

    def values(self, obs: Tensor) -> Tensor:
        """(N,) state values alone, in float32."""
        _, value_features = self.features(obs)
        return self.critic(value_features).squeeze(-1)  # type: ignore[no-any-return]

    def features(
        self, obs: Tensor, precision: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """What enters the actor (and the predictor), and the critic: (N, features) float32."""
        reduced = precision != torch.float32
        x = obs if self.layout.pictures else obs.to(precision)  # numbers keep their digits
        if self.layout.scale != 1.0:  # differences of whole numbers up to 255: exact in bfloat16
            x = (x - self.pixel_mean.to(precision)) / 255.0
        with torch.autocast(obs.device.type, precision, enabled=reduced):
            features = self.torso(x)
            value_features = features if self.critic_torso is None else self.critic_torso(x)
        return features.float(), value_features.float()


def _torso(layout: Layout) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if layout.pictures:
        return _MixedTorso(layout)
    for i, conv in enumerate(layout.convs):
        channels = layout.conv_shapes[i][0]
        layers[f"conv{i + 1}"] = nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride)
        layers[f"conv{i + 1}_act"] = _ACTIVATIONS[layout.activation]()
    # Channels last: the order in which the acting path has the features in memory.
    layers["flatten"] = _FlattenChannelsLast() if layout.convs else nn.Flatten()
    return nn.Sequential(layers | _hidden(layout))


def _hidden(layout: Layout) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    features = layout.flat_features
    for i, units in enumerate(layout.hidden):
        layers[f"hidden{i + 1}"] = nn.Linear(features, units)
        layers[f"hidden{i + 1}_act"] = _ACTIVATIONS[layout.activation]()
        features = units
    return layers


class _MixedTorso(nn.Sequential):
    """Convolutions for each picture of an observation; the numbers join behind them.

    Pixels are taken as (x - 127.5) / 255, numbers times `Layout.gain`. The hidden
    layers are the modules that it is a sequence of.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__(_hidden(layout))
        self._layout = layout
        for i, part in enumerate(layout.of_pictures):
            self.add_module(f"picture{i + 1}", _torso(part))

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) from (N, pixels and numbers)."""
        found, offset = [], 0
        for i, shape in enumerate(self._layout.pictures):
            size = math.prod(shape)
            pixels = x[:, offset : offset + size].reshape(-1, *shape)
            found.append(self.get_submodule(f"picture{i + 1}")((pixels - 127.5) / 255.0))
            offset += size
        joined = torch.cat([*found, self._layout.gain * x[:, offset:]], dim=1)
        for name, layer in self.named_children():
            if name.startswith("hidden"):
                joined = layer(joined)
        return joined


class _FlattenChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)
