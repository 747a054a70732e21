"""From what was asked for to a run's settings."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Collection
from typing import Any, cast

from a2c_cli.config.checks import Value
from a2c_cli.config.defaults import CONTINUOUS, GRADIENT, GRADIENT_CONTINUOUS, NEUTRAL
from a2c_cli.config.kinds import KINDS, Kind
from a2c_cli.config.networks import parse_network
from a2c_cli.config.settings import Settings, TrainConfig, option, settings
from a2c_cli.errors import ConfigError

_OF_A_START = ("init", "critic_gain", "log_std_init")
LINES = 100  # of metrics.jsonl, at least, by default
_NATURAL = ("--policy-step natural", lambda s: s.policy_step == "natural")
_PLAIN = ("--policy-step gradient", lambda s: s.policy_step == "gradient")
# A setting that changes nothing by itself: what it takes, in words and as a test.
_NEEDS: dict[str, tuple[str, Callable[[Settings], bool]]] = {
    "entropy_coef_end": (
        "an --entropy-schedule that decays",
        lambda s: s.entropy_schedule != "constant",
    ),
    "entropy_hold": (
        "an --entropy-schedule that decays",
        lambda s: s.entropy_schedule != "constant",
    ),
    "entropy_floor_end": ("an --entropy-floor above 0", lambda s: s.entropy_floor > 0.0),
    "learning_rate_end": (
        "a --learning-rate-schedule that decays",
        lambda s: s.learning_rate_schedule != "constant",
    ),
    "prediction_share": ("a --prediction-coef above 0", lambda s: s.prediction_coef > 0.0),
    **dict.fromkeys(("cg_iterations", "fisher_damping", "std_floor"), _NATURAL),
    **dict.fromkeys(("critic_epochs", "critic_minibatch"), _NATURAL),
    **dict.fromkeys(("optimizer", "actor_learning_rate", "value_coef", "loss_reduction"), _PLAIN),
    **dict.fromkeys(("normalize_advantages", "segments_per_update"), _PLAIN),
    "critic_gain": ("--init orthogonal", lambda s: s.init == "orthogonal"),
    "eval_episodes": ("--eval-every", lambda s: s.eval_every > 0),
}


def resolve(
    config: TrainConfig, kind: str, *, numbers: int = 0, asked: Collection[str] = ()
) -> Settings:
    """The settings of a run: every default filled in, by the kind of environment and action.

    Args:
        config: what was asked for; a run's settings resolve to themselves.
        kind: one of `KINDS`.
        numbers: how many real numbers an action has; 0 where actions are discrete.
        asked: settings that somebody has named just now, so that they must change something.

    Raises:
        ConfigError: a setting is given that this kind of environment cannot use, or one is asked
            for that the others leave without effect.
    """
    given = {n: getattr(config, n) for n in settings() if n not in config.unused}
    given = {name: value for name, value in given.items() if value is not None}
    unused = {name for name in settings() if not _usable(name, kind, numbers > 0)}
    for name in given:
        if name in unused:
            raise _no_effect(config.env, name, kind)
    defaults = _defaults(KINDS[kind], given.get("policy_step"), numbers)
    filled = {**NEUTRAL, **defaults, **{n: NEUTRAL[n] for n in unused}, **given}
    filled |= _following(filled, given)
    _check_network(config.env, KINDS[kind], filled["network"])
    if filled["policy_step"] == "natural" and not filled["max_kl"]:
        raise ConfigError("--policy-step natural needs a --max-kl above 0", "e.g. --max-kl 0.02")
    resolved = cast("Settings", dataclasses.replace(config, **filled, unused=frozenset(unused)))
    check_effect(resolved, asked)
    return resolved


def check_effect(run: Settings, asked: Collection[str]) -> None:
    """Whether each of these settings changes something in a run.

    Raises:
        ConfigError: one does not.
    """
    for name in asked:
        if run.init_from and name in _OF_A_START:
            raise ConfigError(
                f"{option(name)} has no place beside --init-from: the weights come from there",
                f"leave {option(name)} out",
            )
        words, has_effect = _NEEDS.get(name, ("", lambda _: True))
        if not has_effect(run):
            raise ConfigError(
                f"{option(name)} has no effect without {words}",
                f"add that, or leave {option(name)} out",
            )


def fewest(run: Settings, kind: str, *, numbers: int = 0) -> TrainConfig:
    """What somebody had to ask for to get a run's settings: those that defaults do not give.

    Args:
        run: settings as `resolve` gives them.
        kind, numbers: as for `resolve`.
    """
    unset: dict[str, Any] = dict.fromkeys(run.unused)
    asked: TrainConfig = dataclasses.replace(cast("TrainConfig", run), **unset, unused=frozenset())
    for name in reversed(settings()):  # what follows from others stands behind them
        with contextlib.suppress(ConfigError):
            nothing: dict[str, Any] = {name: None}
            without = dataclasses.replace(asked, **nothing)
            if resolve(without, kind, numbers=numbers) == run:
                asked = without
    return asked


def wrappers_of(run: Settings) -> dict[str, Any]:
    """The preprocessing of a run's environment, as `make_env` takes it."""
    known = dict.fromkeys(name for kind in KINDS.values() for name in kind.wrappers)
    return {name: getattr(run, name) for name in known if name not in run.unused}


def _defaults(kind: Kind, step: Any, numbers: int) -> dict[str, Value]:
    """By the kind of environment, the kind of step that was asked for, and the kind of action."""
    by_kind = dict(kind.defaults)
    if (step or by_kind.get("policy_step")) == "natural":
        # E‖noise‖² = 1, in half action ranges: what noise costs grows with their number.
        noise = {"log_std_init": -math.log(numbers) / 2} if numbers else {}
        return by_kind | (CONTINUOUS | noise if numbers else {})
    if numbers:
        return by_kind | GRADIENT_CONTINUOUS
    return by_kind | GRADIENT if "policy_step" in by_kind else by_kind


def _usable(name: str, kind: str, continuous: bool) -> bool:
    meta = settings()[name].metadata
    return kind in meta["kinds"] and (meta["continuous"] in (None, continuous))


def _no_effect(env: str, name: str, kind: str) -> ConfigError:
    meta = settings()[name].metadata
    if kind not in meta["kinds"]:
        return ConfigError(
            f"{option(name)} has no effect on {env} (observations: {kind})",
            f"leave it out; it is for {' and '.join(meta['kinds'])} observations",
        )
    actions = "discrete" if meta["continuous"] else "real numbers"
    return ConfigError(f"{option(name)} has no effect on {env}, whose actions are {actions}",
                       "leave it out")  # fmt: skip


def _following(filled: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Defaults that follow from other settings."""
    following: dict[str, Any] = {
        head: filled["learning_rate"]
        for head in ("actor_learning_rate", "critic_learning_rate")
        if head not in given
    }
    # A schedule that was told only where to start must not end above it.
    for start in ("entropy_coef", "entropy_floor"):
        end = f"{start}_end"
        if start in given and end not in given:
            following[end] = min(filled[end], filled[start])
    if "calibration_steps" not in given:  # a short budget is for learning too
        most = filled["total_steps"] // 10
        most = 0 if filled["init_from"] else most
        following["calibration_steps"] = min(filled["calibration_steps"], most)
    if "log_every" not in given:  # so that a short run has a curve too
        most = max(1, filled["total_steps"] // LINES)
        following["log_every"] = min(filled["log_every"], most)
    return following


def _check_network(env: str, kind: Kind, network: str) -> None:
    convs, _ = parse_network(network)
    if kind.convolutions not in (None, bool(convs)):
        raise ConfigError(
            f"--network {network} cannot be used on {env}",
            f"for {kind.name} observations: {kind.networks}",
        )
