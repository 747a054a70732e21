"""Whether a value is what its setting takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeAlias, Union, cast

from a2c_cli.config.networks import parse_network
from a2c_cli.errors import ConfigError

Scalar = bool | int | float | str
Value = Scalar | tuple[str, ...]
# An argument of `gymnasium.make`: what JSON can hold.
EnvArg: TypeAlias = Union[Scalar, list["EnvArg"], dict[str, "EnvArg"], None]  # noqa: UP007
_DEEPEST = 8  # of lists and tables in an argument


def check_stream(env: Any, env_args: Mapping[Any, Any], seed: Any) -> None:
    """Whether these can name an environment, its arguments and a seed.

    Raises:
        ConfigError: one of them cannot.
    """
    if not isinstance(env, str) or not env.strip():
        raise ConfigError("no environment given", "name one, e.g. --env ALE/Breakout-v5")
    if not _is_text(env):
        raise ConfigError(f"--env {env!a} is not valid Unicode text")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"--seed must be an integer, not {seed!r}")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"--seed must be between 0 and 2^63 - 1, not {seed}")
    for key, value in env_args.items():
        check_env_arg(key, value)


def check_env_arg(key: Any, value: Any, depth: int = 0) -> None:
    """Whether a value can be an argument of an environment, in a file too.

    Raises:
        ConfigError: it cannot.
    """
    texts = (key, value) if isinstance(value, str) else (key,)
    if not all(isinstance(text, str) and _is_text(text) for text in texts):
        raise ConfigError(f"--env-arg {key!a} is not valid Unicode text")
    if isinstance(value, list | dict) and depth < _DEEPEST:
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            check_env_arg(f"{key}.{name}", part, depth + 1)
    elif value is not None and not isinstance(value, Scalar):
        raise ConfigError(
            f"--env-arg {key} must be a number, a text, True, False, None, a list or a table of"
            f" these, not {type(value).__name__}"
        )


def check_together(config: Any) -> None:
    """Whether the values of a `TrainConfig` that are set go together.

    Raises:
        ConfigError: two do not.
    """
    if config.network is not None:
        parse_network(config.network)
    if config.entropy_schedule == "exponential" and 0.0 in (
        config.entropy_coef,
        config.entropy_coef_end,
    ):
        raise ConfigError(
            "--entropy-schedule exponential cannot start or end at 0",
            "give a small positive --entropy-coef-end",
        )
    if config.learning_rate_schedule == "exponential" and config.learning_rate_end == 0.0:
        raise ConfigError(
            "--learning-rate-schedule exponential cannot end at 0",
            "give a small positive --learning-rate-end, or --learning-rate-schedule linear",
        )
    if config.init_from and config.calibration_steps:
        raise ConfigError(
            "--init-from takes a network that is calibrated", "add --calibration-steps 0"
        )
    if config.best_by == "evaluation" and not config.eval_every:
        raise ConfigError("--best-by evaluation needs evaluations", "add --eval-every 50000")
    if config.histograms and not config.tracker:
        raise ConfigError(
            "--histograms needs a tracker to send them to",
            "add --tracker tensorboard, or --no-histograms",
        )


def _is_text(value: str) -> bool:
    """Whether a file can hold it: half of a surrogate pair stands for a byte that is no text."""
    return not any("\ud800" <= c <= "\udfff" for c in value)


def checked(option: str, value: Any, wanted: type, meta: Mapping[str, Any]) -> Value:
    """A value as its setting takes it.

    Args:
        option: how the setting is spelt, for the message.
        value: as it was given.
        wanted: bool, int, float, str or tuple (of some of the choices).
        meta: low, high, open_low, choices and modules; see `config.setting`.

    Raises:
        ConfigError: it has another type, or is out of range, or none of the choices.
    """
    if wanted is tuple:
        return _checked_names(option, value, meta["choices"], meta["modules"])
    if wanted is str and isinstance(value, PurePath):
        value = str(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1023 else math.inf
    if wanted is int and isinstance(value, float) and value.is_integer():  # 1e6
        value = int(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ConfigError(f"{option} must be of type {wanted.__name__}, not {value!r}")
    if isinstance(value, str) and not _is_text(value):
        raise ConfigError(f"{option} {value!a} is not valid Unicode text")
    if meta["choices"] and value not in meta["choices"]:
        raise ConfigError(
            f"{option} cannot be {value!r}", f"choose from {', '.join(meta['choices'])}"
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = meta["low"], meta["high"]
        if wanted is int:
            high = min(high, 2**63 - 1)
        if not (low <= value <= high and math.isfinite(value)):
            bounds = f"at least {low:g}" if high >= 2**63 - 1 else f"between {low:g} and {high:g}"
            raise ConfigError(f"{option} must be {bounds}, not {value}")
        if meta["open_low"] and value <= low:
            raise ConfigError(f"{option} must be above {low:g}, not {value}")
    return cast(Scalar, value)


def _checked_names(
    option: str, values: Any, choices: tuple[str, ...], modules: bool
) -> tuple[str, ...]:
    """Some of the choices, each once, in their order, then `module:name`s; `none` is for no one."""
    hint = f"choose from {', '.join(choices)}{', or give module:name' if modules else ''}"
    if not isinstance(values, list | tuple):
        raise ConfigError(f"{option} must be a list of names, not {values!r}", hint)
    for value in values:
        named = modules and isinstance(value, str) and re.fullmatch(r"[\w.]+:\w+", value)
        if value not in choices and not named:
            raise ConfigError(f"{option} cannot be {value!r}", hint)
    if "none" in values and len(values) > 1:
        raise ConfigError(f"{option} cannot be none and something else", "leave one out")
    ordered = sorted(dict.fromkeys(values), key=lambda v: (*choices, v).index(v))
    return tuple(value for value in ordered if value != "none")
