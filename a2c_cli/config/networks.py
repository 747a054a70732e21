"""Networks as text: a name, or the layers themselves.

16@8/4,32@4/2,256     two convolutions (channels@kernel/stride), then 256 units
64,64                 two fully connected layers
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from a2c_cli.errors import ConfigError

NETWORKS = {
    # A3C, arXiv 1602.01783; the network of the first DQN paper, arXiv 1312.5602.
    "a3c": "16@8/4,32@4/2,256",
    # Mnih et al. 2015, doi 10.1038/nature14236.
    "nature": "32@8/4,64@4/2,64@3/1,512",
    # The notebook that this project started from.
    "notebook": "16@5/2,32@5/2,32@5/2",
    "mlp": "64,64",
}

_CONV = re.compile(r"([0-9]{1,4})@([0-9]{1,2})/([0-9]{1,2})")
_UNITS = re.compile(r"[0-9]{1,5}")
_MOST_LAYERS, _MOST_UNITS, _MOST_CHANNELS = 64, 65_536, 1024


@dataclass(frozen=True)
class Conv:
    """A square convolution without padding."""

    channels: int
    kernel: int
    stride: int


def parse_network(text: str) -> tuple[tuple[Conv, ...], tuple[int, ...]]:
    """The convolutions and the units of the fully connected layers behind them.

    Args:
        text: a name of `NETWORKS`, or layers as they stand there.

    Raises:
        ConfigError: it is neither.
    """
    convs: list[Conv] = []
    hidden: list[int] = []
    layers = NETWORKS.get(text, text).replace(" ", "").split(",")
    for layer in layers if len(layers) <= _MOST_LAYERS else [""]:
        conv = _CONV.fullmatch(layer)
        if conv and not hidden and all(int(n) for n in conv.groups()):
            convs.append(Conv(*map(int, conv.groups())))
        elif _UNITS.fullmatch(layer) and 0 < int(layer) <= _MOST_UNITS:
            hidden.append(int(layer))
        else:
            raise _not_a_network(text)
    if (len(hidden) > 1 and convs) or any(conv.channels > _MOST_CHANNELS for conv in convs):
        raise _not_a_network(text)
    return tuple(convs), tuple(hidden)


def _not_a_network(text: str) -> ConfigError:
    return ConfigError(
        f"--network cannot be {text[:60]!r}",
        f"choose from {', '.join(NETWORKS)}, or name the layers: 16@8/4,32@4/2,256 are two"
        " convolutions (channels@kernel/stride) and 256 units; at most one layer of units behind"
        " convolutions",
    )
