"""The shape of a network as plain data: from it the torch module and the acting path are built."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from a2c_cli.config.kinds import KINDS
from a2c_cli.config.networks import Conv, parse_network
from a2c_cli.config.settings import Settings
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.errors import ConfigError

CELL = 4  # pixels a side, as many bytes as a word has


@dataclass(frozen=True)
class Layout:
    """A network: convolutions, then hidden layers, then a linear actor and a linear critic.

    Args:
        obs_shape: (channels, height, width) for pixels, (features,) for vectors.
        convs: the convolutions, shared by actor and critic; empty for an mlp.
        hidden: units of the fully connected layers.
        activation: `relu` or `tanh`, after every convolution and hidden layer.
        shared: whether actor and critic share the hidden layers too.
        outputs: units of the actor head.
        continuous: whether the policy also has one ln σ for each output.
        scale: factor on the observation (1/255 for pixels).
        stacked: whether the channels are gray frames, one of them new at each step.
        predictions: cells whose change is predicted (see prediction.py); 0 for no such head.
        pictures: (channels, height, width) of each picture of a mixed observation: each has
            convolutions of its own, and the numbers join them before the first hidden layer.
    """

    obs_shape: tuple[int, ...]
    convs: tuple[Conv, ...]
    hidden: tuple[int, ...]
    activation: str
    shared: bool
    outputs: int
    continuous: bool
    scale: float
    stacked: bool
    predictions: int = 0
    pictures: tuple[tuple[int, ...], ...] = ()

    @property
    def of_pictures(self) -> list[Layout]:
        """Of a mixed observation: the convolutions of each picture, as layouts of their own."""
        return [
            replace(self, obs_shape=shape, hidden=(), scale=1.0 / 255.0, pictures=())
            for shape in self.pictures
        ]

    @property
    def features(self) -> int:
        """Of a mixed observation: how many numbers stand behind the pictures."""
        return self.obs_shape[0] - sum(math.prod(shape) for shape in self.pictures)

    @property
    def gain(self) -> float:
        """Of a mixed observation: the factor on its numbers, √(features of pictures / numbers).

        Else two numbers beside 3,136 features would hardly be heard: with it both sides weigh the
        same at the start.
        """
        if not self.features:
            return 1.0
        seen = sum(part.flat_features for part in self.of_pictures)
        return max(1.0, math.sqrt(seen / self.features))

    @property
    def conv_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(channels, height, width) of the input and of each convolution's output."""
        if not self.convs or self.pictures:
            return ()
        channels, height, width = self.obs_shape
        shapes = [(channels, height, width)]
        for conv in self.convs:
            height = (height - conv.kernel) // conv.stride + 1
            width = (width - conv.kernel) // conv.stride + 1
            shapes.append((conv.channels, height, width))
        return tuple(shapes)

    @property
    def flat_features(self) -> int:
        """Units that enter the first fully connected layer."""
        if self.pictures:
            return self.features + sum(part.flat_features for part in self.of_pictures)
        return math.prod(self.conv_shapes[-1] if self.convs else self.obs_shape)

    @property
    def head_features(self) -> int:
        """Units that enter the actor and the critic head."""
        return self.hidden[-1] if self.hidden else self.flat_features

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by its torch name, without building the network."""
        shapes: dict[str, tuple[int, ...]] = {}
        for torso in ("torso",) if self.shared else ("torso", "critic_torso"):
            parts = {f"{torso}.picture{n + 1}": p for n, p in enumerate(self.of_pictures)}
            for place, part in (parts or {torso: self}).items():
                for i, conv in enumerate(self.convs):
                    weight = (conv.channels, part.conv_shapes[i][0], conv.kernel, conv.kernel)
                    shapes[f"{place}.conv{i + 1}.weight"] = weight
                    shapes[f"{place}.conv{i + 1}.bias"] = (conv.channels,)
            features = self.flat_features
            for i, units in enumerate(self.hidden):
                shapes[f"{torso}.hidden{i + 1}.weight"] = (units, features)
                shapes[f"{torso}.hidden{i + 1}.bias"] = (units,)
                features = units
        shapes["actor.weight"] = (self.outputs, self.head_features)
        shapes["actor.bias"] = (self.outputs,)
        shapes["critic.weight"] = (1, self.head_features)
        shapes["critic.bias"] = (1,)
        if self.predictions:
            shapes["predictor.weight"] = (self.predictions, self.head_features)
            shapes["predictor.bias"] = (self.predictions,)
        if self.continuous:
            shapes["log_std"] = (self.outputs,)
        return shapes

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of everything else that the network needs to act: the mean picture of pixels."""
        return {} if self.scale == 1.0 else {"pixel_mean": self.obs_shape}

    def operations(self) -> dict[str, int]:
        """Floating-point operations of each layer for one decision, two per multiply and add.

        2 · k² · c_in · c_out · height_out · width_out for a convolution, 2 · in · out for a fully
        connected layer; the biases' additions are in them, as a product has one fewer than that.
        """
        count: dict[str, int] = {}
        for name, shape in self.parameter_shapes().items():
            layer, _, kind = name.rpartition(".")
            if kind == "weight":
                places = 1
                if len(shape) == 4:
                    part = self
                    if self.pictures:
                        number = layer.partition("picture")[2].partition(".")[0]
                        part = self.of_pictures[int(number) - 1]
                    places = math.prod(part.conv_shapes[int(layer.rpartition("conv")[2])][1:])
                count[layer] = 2 * math.prod(shape) * places
                if layer == "predictor":  # nothing is predicted to act
                    count[layer] = 0
        return count


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of cells that cover a picture."""
    return -(-height // CELL), -(-width // CELL)


def make_layout(settings: Settings, spec: EnvSpec) -> Layout:
    """The network of a run for its environment.

    Raises:
        ConfigError: the frames are too small for the network's convolutions.
    """
    convs, hidden = parse_network(settings.network)
    layout = Layout(
        obs_shape=spec.obs_shape,
        convs=convs,
        hidden=hidden,
        activation=settings.activation,
        shared=bool(convs),
        outputs=spec.action.outputs,
        continuous=spec.continuous,
        scale=1.0 / 255.0 if spec.obs_dtype == "uint8" else 1.0,
        stacked=KINDS[spec.kind].gray_stack,
        predictions=math.prod(grid(*spec.obs_shape[1:])) if settings.prediction_coef else 0,
        pictures=spec.pictures,
    )
    for part in layout.of_pictures or [layout]:
        if convs and min(n for shape in part.conv_shapes for n in shape) < 1:
            raise ConfigError(
                f"frames of {part.obs_shape[1]}x{part.obs_shape[2]} pixels are too small for"
                f" --network {settings.network}",
                "choose smaller kernels, as in --network 16@4/2,32@3/1,256, or larger frames",
            )
    return layout
