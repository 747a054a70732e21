"""Settings as text: TOML files, plain dictionaries, and `key=value` on the command line."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from a2c_cli.config.checks import EnvArg, Scalar, check_env_arg
from a2c_cli.config.settings import TrainConfig, option
from a2c_cli.errors import ConfigError
from a2c_cli.outside import check_values

_NAMES = [f.name for f in fields(TrainConfig) if f.name not in ("source", "unused")]
_PYTHON: dict[str, EnvArg] = {"True": True, "False": False, "None": None}
_NONE: EnvArg = {"none": True}  # how a file spells it
_DOUBTFUL = ("", "true", "false", "none", "null", "nil", "yes", "no", "on", "off")
_WORD = re.compile(r"""[^\[\]{}()"',\s][^\[\]{}()"',\n]*""")
# A hundred words with points between them: tomllib's time grows with the square of their number.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""")
_BARE_POINT = re.compile(r"[+-]?([0-9]+\.|\.[0-9]+)([eE][+-]?[0-9]+)?")  # .9, 1.


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Plain values that are set, in the order of declaration; the inverse of `from_dict`.

    What the kind of environment cannot use is left out, and texts that say nothing.
    """
    plain: dict[type, Any] = {dict: dict, tuple: list}
    return {
        name: plain.get(type(value), lambda same: same)(value)
        for name in _NAMES
        if (value := getattr(config, name)) not in (None, "") and name not in config.unused
    }


def from_dict(values: Mapping[str, Any], source: str = "the configuration") -> TrainConfig:
    """A config from plain values.

    Raises:
        ConfigError: a key is unknown (the closest known one is suggested) or a value is wrong.
    """
    for key in values:
        if key not in _NAMES:
            close = difflib.get_close_matches(key, _NAMES, n=1)
            raise ConfigError(
                f"{source} has an unknown key {key!r}",
                f"did you mean {close[0]!r}?" if close else "see `a2c train --show-config`",
            )
    if not isinstance(values.get("env_args", {}), Mapping):
        raise ConfigError(f"{source}: env_args must be a table")
    return TrainConfig(**values)


def to_toml(config: TrainConfig) -> str:
    """TOML that `from_toml` reads back to an equal config."""
    values = to_dict(config)
    env_args = values.pop("env_args")
    lines = [f"{key} = {_toml_value(value)}" for key, value in values.items()]
    if env_args:
        lines += ["", "[env_args]"]
        lines += [f"{_toml_scalar(k)} = {_toml_value(v)}" for k, v in env_args.items()]
    return "\n".join(lines) + "\n"


def from_toml(text: str, source: str) -> dict[str, Any]:
    """The plain values of a TOML document; `from_dict` checks them.

    Raises:
        ConfigError: not TOML.
    """
    try:
        if _LONG_KEY.search(text):
            raise ValueError("it is nested too deeply")
        values = tomllib.loads(text)
        check_values(values)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from None
    if isinstance(values.get("env_args"), dict):
        values["env_args"] = {k: _with_none(v) for k, v in values["env_args"].items()}
    return values


def to_options(config: TrainConfig) -> list[str]:
    """What asks `a2c train` for the settings that are set, as words for a shell."""
    values = to_dict(config)
    arguments = values.pop("env_args")
    words = []
    for name, value in values.items():
        spelt = option(name)
        if isinstance(value, bool):
            words.append(spelt if value else f"--no-{spelt[2:]}")
        else:
            parts = value if isinstance(value, list) else [value]
            words += [word for part in parts for word in (spelt, str(part))]
    return words + [f"--env-arg={name}={_toml_value(v)}" for name, v in arguments.items()]


def parse_scalar(text: str) -> Scalar:
    """A TOML scalar, or the text itself where it is none: never evaluated as code.

    Numbers may be written as anywhere else: `.9` and `1.` too, which TOML does not allow.
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError, KeyError):
        return float(text) if _BARE_POINT.fullmatch(text) else text
    return value if isinstance(value, bool | int | float | str) else text


def parse_env_arg(key: str, text: str) -> EnvArg:
    """The value of a `key=value` on the command line: TOML's, Python's True, False, None, or text.

    Text needs quotes only where it could be mistaken for something else.

    Raises:
        ConfigError: it could; says how to write what may have been meant.
    """
    text = text.strip()
    if text in _PYTHON:
        return _PYTHON[text]
    try:
        value = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        value = {}
    if len(value) == 1:
        check_env_arg(key, value["value"])
        return _with_none(value["value"])
    if _BARE_POINT.fullmatch(text):
        return float(text)
    if text.lower() in _DOUBTFUL or not _WORD.fullmatch(text):
        raise ConfigError(
            f"--env-arg {key}={text} is neither a value nor a plain word",
            """text: key='"..."'; a list: key=[1, 2]; a table: key={a = 1}; True, False, None""",
        )
    return text


def _with_none(value: EnvArg) -> EnvArg:
    """A value of TOML, which has no None, with `_NONE` taken for it."""
    if value == _NONE:
        return None
    if isinstance(value, list):
        return [_with_none(part) for part in value]
    return {k: _with_none(v) for k, v in value.items()} if isinstance(value, dict) else value


def _toml_value(value: EnvArg) -> str:
    if value is None:
        return _toml_value(_NONE)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_toml_scalar(k)} = {_toml_value(v)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    return _toml_scalar(value)


def _toml_scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's too; only DEL must be escaped beyond them.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
