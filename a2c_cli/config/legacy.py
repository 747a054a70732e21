"""Settings as earlier versions of a2c wrote them, into checkpoints and config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2c_cli.errors import ConfigError

# Settings that are gone, and the value that all runs have had since.
_GONE: dict[str, Any] = {"rmsprop_alpha": 0.99, "adam_beta1": 0.9, "adam_beta2": 0.999}
# Settings that are still there, and their values that are gone.
_GONE_VALUES = {
    "optimizer": ("rmsprop_tf",),
    "entropy_schedule": ("cosine",),
    "learning_rate_schedule": ("cosine",),
    "network": ("compact",),
}


def without_gone(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The settings that there still are; one that is gone is left out where it changes nothing.

    Args:
        values: by name, as a file has them.
        source: who wrote them, for the message.

    Raises:
        ConfigError: this version cannot do what they say.
    """
    for name, value in values.items():
        if (name in _GONE and value != _GONE[name]) or value in _GONE_VALUES.get(name, ()):
            raise ConfigError(
                f"{source} with {name} = {value}, which this version no longer has",
                "install the version that wrote it",
            )
    return {name: value for name, value in values.items() if name not in _GONE}
