"""What groups of runs are called: by the settings that somebody gave and that set them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from a2c_cli.config.defaults import PRESETS
from a2c_cli.config.resolve import fewest
from a2c_cli.config.settings import KEEPING, settings
from a2c_cli.config.text import to_dict
from a2c_cli.runs.metrics import Run

# Settings that nothing learned depends on, and the seed, do not set runs apart.
_NEUTRAL = {"env", "seed"} | {n for n, f in settings().items() if f.metadata["group"] == KEEPING}
_UNSET = "unset"


class Alike:
    """Runs of one environment that differ in their seed alone, or in what nothing depends on.

    Args:
        name: what the user calls them; "" for nothing.
        first: one of them.

    Attributes:
        runs: those that were found, none at first.
        key: the same for all of them, and for no others.
    """

    def __init__(self, name: str, first: Run) -> None:
        self.name, self.runs = name, list[Run]()
        self.settings = _flat(first.config)
        self.key = name, repr(sorted(self.settings.items()))
        self._first = first

    def causes(self) -> dict[str, Any]:
        """What was asked for, without what merely follows from it; {} where that is unknown."""
        preset, others = by_preset(self._first.config, asked(self._first) or {})
        if preset is None:
            return _flat(others)
        self.settings["preset"] = preset
        return {"preset": preset, **_flat(others)}

    def label(self, names: Iterable[str]) -> str:
        """The user's name, then the values of the settings named."""
        own = [f"{n}={_show(self.settings.get(n, _UNSET))}" for n in names]
        return ", ".join([self.name, *own] if self.name else own)

    def order(self, names: Iterable[str]) -> list[tuple[bool, float, str]]:
        """By the values of the settings named: numbers first, by size."""
        values = [self.settings.get(name) for name in names]
        return [
            (False, float(v), "") if isinstance(v, int | float) else (True, 0.0, str(v))
            for v in values
        ]


def tell_apart(parts: Sequence[Alike]) -> list[str]:
    """The names of the settings that tell groups of one environment apart.

    Those that were asked for, where checkpoints say so: `policy_step` alone changes eight others.
    """
    if len(parts) < 2:
        return []
    causes = differing([part.causes() for part in parts])
    if len({part.label(causes) for part in parts}) == len(parts):
        return causes
    return differing([part.settings for part in parts])


def differing(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the values in which groups differ.

    One that merely follows another (with equal values in every group, as actor_learning_rate
    follows learning_rate) is not among them.
    """
    names = dict.fromkeys(name for values in groups for name in values)
    telling: dict[tuple[str, ...], str] = {}
    for name in names:
        column = tuple(_show(values.get(name, _UNSET)) for values in groups)
        if len(set(column)) > 1:
            telling.setdefault(column, name)
    return list(telling.values())


def asked(run: Run) -> dict[str, Any] | None:
    """What somebody had to ask for to get a run's settings, as plain values; None if unknown."""
    if run.header is None:
        return None
    config, spec = run.header.config, run.header.spec
    return to_dict(fewest(config, spec.kind, numbers=spec.numbers))


def by_preset(
    config: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """The preset whose values all stand in a run's settings, and what was asked for besides."""
    for name, preset in PRESETS.items():
        if preset.items() <= config.items():
            return name, {n: value for n, value in values.items() if n not in preset}
    return None, dict(values)


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in config.items() if name not in _NEUTRAL}
    nested = values.pop("env_args", {})
    return values | (nested if isinstance(nested, dict) else {"env_args": nested})


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
