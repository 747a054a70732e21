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
}
# Settings that an agent does not need to act, whatever they were.
_OF_LEARNING = ("entropy_full_above",)
_COMPACT = "16@8/4,32@4/2,32@3/2,256"


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
    kept = {n: v for n, v in values.items() if n not in _GONE and n not in _OF_LEARNING}
    size, layers = kept.pop("hidden_size", None), kept.pop("hidden_layers", None)
    if kept.get("network") == "compact":
        kept["network"] = _COMPACT
    elif kept.get("network") == "mlp" and isinstance(size, int) and isinstance(layers, int):
        kept["network"] = ",".join([str(size)] * max(0, min(layers, 64)))
    return kept


def before_there_was(settings: Mapping[str, Any], *, kind: str, continuous: bool) -> dict[str, Any]:
    """A checkpoint's settings, and what its run did where there was no such setting yet."""
    absent: dict[str, Any] = {"critic_gain": 1.0}
    if continuous:
        absent["std_floor"] = 0.0
    else:
        absent["entropy_floor"] = 0.0
    if kind == "vector":
        absent["policy_step"] = "gradient"
    if kind in ("atari", "image"):
        absent |= {"prediction_coef": 0.0, "calibration_steps": 0}
    return {**absent, **settings}
