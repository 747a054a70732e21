"""The options that commands share, spelt once, and those of `train`, made from its settings."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from a2c_cli.commands import completion
from a2c_cli.config.checks import EnvArg
from a2c_cli.config.defaults import CONTINUOUS, PRESETS
from a2c_cli.config.kinds import KINDS
from a2c_cli.config.legacy import without_gone
from a2c_cli.config.settings import settings, value_type
from a2c_cli.config.text import from_dict, from_toml, parse_env_arg
from a2c_cli.errors import ConfigError
from a2c_cli.outside import read_text
from a2c_cli.text import message_text

_LARGEST_CONFIG = 2**20  # bytes

# The settings that plain `a2c train --help` shows; `--help-all` shows the others too.
_MAIN = {
    *("total_steps", "learning_rate", "network", "init_from"),
    *("eval_every", "video_every", "tracker"),
}

Checkpoint = Annotated[
    Optional[Path],  # noqa: UP045  (Typer shows it as one type)
    typer.Argument(
        help="A .safetensors file, a run directory (its best, else its last checkpoint), or the"
        " name of a shipped agent (breakout) or of one on the Hub (hf:user/name). Left out: the"
        " newest under ./checkpoints.",
        show_default=False,
        autocompletion=completion.checkpoints,
    ),
]
Episodes = Annotated[int, typer.Option("--episodes", "-n", min=1, help="Whole games to play.")]
Greedy = Annotated[
    bool,
    typer.Option(
        "--greedy/--sampled",
        help="Take the most probable action, or sample from the policy. [dim](sampled)[/dim]",
        show_default=False,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", "-s", min=0, max=2**63 - 1, help="Fixes everything random.")
]
TrustedEnv = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--env",
        metavar="ID",
        help="The checkpoint's own environment; needed only if its id imports a module.",
        show_default=False,
    ),
]
EnvArgs = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--env-arg",
        metavar="KEY=V",
        help="For gymnasium.make in place of the checkpoint's own (repeatable).",
        show_default=False,
    ),
]
MaxSteps = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="End an episode after so many agent steps.", show_default=False),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace a file that is there and that a2c has not made."),
]
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="TOML file with settings; options override it.", show_default=False),
]
Preset = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help=f"A named recipe ({', '.join(PRESETS)}).",
        show_default=False,
        autocompletion=completion.presets,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout; all talk on stderr.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No talk, only results and errors.")]


def say_at_once(text: str, quiet: bool) -> None:
    """A line of talk before anything slow is imported, where somebody waits at a terminal."""
    if not quiet and sys.stderr.isatty():
        print(message_text(text), file=sys.stderr, flush=True)


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for every setting of `TrainConfig`, in place of its **kwargs."""
    own = [
        p
        for p in inspect.signature(function, eval_str=True).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    extra = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Optional[_option_type(name)], _option(name, field.metadata)],  # noqa: UP045
        )
        for name, field in settings().items()
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + extra
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _option_type(name: str) -> Any:
    kind = value_type(name)
    return list[str] if kind is tuple else kind


def _option(name: str, meta: Any) -> Any:
    doc = meta["doc"]
    if doc[0].isascii():  # no capitals for γ, β and ε
        doc = doc[0].upper() + doc[1:]
    limits = f"; {meta_range}" if (meta_range := describe_range(name)) else ""
    default = describe_default(name)
    flag = "--" + name.replace("_", "-")
    spelling = f"{flag}/--no-{flag[2:]}" if value_type(name) is bool else flag
    whole: dict[str, Any] = {}
    if value_type(name) is int:
        whole = {"parser": parse_count, "metavar": "N"}
    return typer.Option(
        spelling,
        **whole,
        help=f"{doc}{limits}.{f' [dim]({default})[/dim]' if default else ''}",
        rich_help_panel=None if name in _MAIN else meta["group"],
        autocompletion=completion.choices(name),
        show_default=False,
    )


def parse_count(text: str | int) -> int:
    """A whole number as people write it: 1000000, 1_000_000, 1e6 or 2.5e6.

    Raises:
        BadParameter: it is not a whole number.
    """
    try:
        number = Decimal(text)
        if number == number.to_integral_value() and abs(number) < 2**63:
            return int(number)
    except (ArithmeticError, ValueError):
        pass
    raise typer.BadParameter(f"{text!r} is not a whole number")


def describe_range(name: str) -> str:
    """What values a setting takes, in words; "" where everybody expects it."""
    meta = settings()[name].metadata
    if meta["choices"]:
        return " or ".join(meta["choices"]) if len(meta["choices"]) == 2 else ", ".join(
            meta["choices"]
        )  # fmt: skip
    low, high = meta["low"], meta["high"]
    counts = value_type(name) is int and low <= 1 and not math.isfinite(high)
    if counts or not (math.isfinite(low) or math.isfinite(high)):
        return ""
    if math.isfinite(high):
        return f"{'above ' if meta['open_low'] else ''}{low:,g} to {high:,g}"
    return f"above {low:g}" if meta["open_low"] else f"at least {low:g}"


def describe_default(name: str) -> str:
    """The default of a setting, by kind of environment where they differ."""
    values = {kind.name: kind.defaults[name] for kind in KINDS.values() if name in kind.defaults}
    if name in CONTINUOUS:
        values["continuous"] = CONTINUOUS[name]
    if not values:
        return ""
    shown = {kind: _show(value) for kind, value in values.items()}
    if shown.get("mixed") in (shown.get("image"), shown.get("vector")):
        shown.pop("mixed", None)  # one of these in all that differs
    if shown.get("atari") == shown.get("image") and "atari" in shown:
        shown = {"pixels": shown.pop("atari"), **shown}
        del shown["image"]
    if len({value for kind, value in shown.items() if kind != "continuous"}) == 1:
        common = next(iter(shown.values()))
        rest = {k: v for k, v in shown.items() if v != common}
        return ", ".join([common, *(f"{kind} {value}" for kind, value in rest.items())])
    return ", ".join(f"{kind} {value}" for kind, value in shown.items())


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def read_recipe(
    preset: str | None, config: Path | None, named: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a preset, and over them those of a file, as plain values.

    Args:
        preset, config: the name and the file, None for none.
        named: the environment and the trackers that the command itself names, by `env` and
            `tracker`: a module is only imported if it does, whatever stands in the file.

    Raises:
        ConfigError: there is no such preset or file, it is no table of settings, or it would have
            a module imported unasked.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"there is no preset {preset!r}", f"there is: {', '.join(PRESETS)}")
        values |= PRESETS[preset]
    if config is not None:
        try:
            text = read_text(config, _LARGEST_CONFIG)
        except OSError as error:
            raise ConfigError(
                f"cannot read {config}: {error.strerror}", "give a TOML file"
            ) from None
        values |= without_gone(from_toml(text, str(config)), f"{config} was written")
        _check_modules(values, named, config)
        # The rest is checked when the command line has been laid over it.
        from_dict({"env": "any", "env_args": values.get("env_args", {})}, str(config))
    return values


def _check_modules(values: Mapping[str, Any], named: Mapping[str, Any], config: Path) -> None:
    for name, option in (("env", "--env"), ("tracker", "--tracker")):
        found = values.get(name)
        outside = [v for v in (found if isinstance(found, list) else [found])
                   if isinstance(v, str) and ":" in v]  # fmt: skip
        if outside and not named.get(name):
            raise ConfigError(
                f"{config}: {name} = {outside[0]!r} would import a Python module",
                f"if you trust it, name it: {option} {outside[0]!r}",
            )


def parse_env_args(pairs: list[str]) -> dict[str, EnvArg]:
    """`key=value` options as keyword arguments; see `parse_env_arg`.

    Raises:
        ConfigError: one is not of that form.
    """
    parsed: dict[str, EnvArg] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"--env-arg must be key=value, not {pair!r}", "e.g. --env-arg mode=1")
        parsed[key] = parse_env_arg(key, value)
    return parsed
