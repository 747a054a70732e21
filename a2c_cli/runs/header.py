"""What a checkpoint says about itself, as a record and as a JSON document."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from a2c_cli.config.kinds import KINDS
from a2c_cli.config.legacy import before_there_was, without_gone
from a2c_cli.config.resolve import resolve, wrappers_of
from a2c_cli.config.settings import Settings
from a2c_cli.config.text import from_dict, to_dict
from a2c_cli.envs.spec import ActionSpec, EnvSpec
from a2c_cli.errors import CheckpointError, ConfigError
from a2c_cli.policies.layout import Layout, make_layout
from a2c_cli.text import safe_text

_LARGEST = 1e300  # of a return: sums of a hundred of them are still finite
_ACTION_DTYPES = {
    *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
}


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself.

    Args:
        config: resolved settings of the run.
        spec: the environment.
        env_steps, updates, episodes: how far the run had come.
        recent_returns: raw returns of the last 100 episodes at most, oldest first.
        best_mean_return: the highest mean so far, None before the first: of 100 training
            episodes, or of the evaluation that confirmed it (config.best_by).
        progress: the run's bookkeeping, for exact resume.
        versions: of the libraries that wrote it.
    """

    config: Settings
    spec: EnvSpec
    env_steps: int = 0
    updates: int = 0
    episodes: int = 0
    recent_returns: tuple[float, ...] = ()
    best_mean_return: float | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Emulator frames: env_steps · frame_skip."""
        return self.env_steps * self.spec.frame_skip

    @property
    def mean_return_100(self) -> float | None:
        """Mean raw return of the last 100 training episodes (fewer if there were fewer)."""
        returns = self.recent_returns
        return sum(returns) / len(returns) if returns else None

    def layout(self) -> Layout:
        """The network that is described.

        Raises:
            CheckpointError: there is no such network.
        """
        try:
            return make_layout(self.config, self.spec)
        except ConfigError as error:
            raise CheckpointError(
                f"the checkpoint's network cannot be built: {error.message}"
            ) from None


def to_document(header: Header) -> dict[str, Any]:
    """The header as JSON values."""
    spec = dataclasses.asdict(header.spec)
    for bound in ("low", "high"):  # JSON has no infinity
        spec["action"][bound] = [n if math.isfinite(n) else None for n in spec["action"][bound]]
    return {
        "config": to_dict(header.config),
        "env": spec,
        "env_steps": header.env_steps,
        "updates": header.updates,
        "episodes": header.episodes,
        "recent_returns": list(header.recent_returns),
        "best_mean_return": header.best_mean_return,
        "progress": dict(header.progress),
        "versions": dict(header.versions),
    }


def from_document(document: Mapping[str, Any]) -> Header:
    """The header of a document, which may come from a stranger: every value is checked.

    Raises:
        ConfigError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
            RecursionError: it is not one of `to_document`.
        CheckpointError: it is one, with settings that this version no longer has.
    """
    spec = _spec(document["env"])
    wrote = safe_text(str(document["versions"].get("a2c-cli", "")))[:20] or "an earlier version"
    try:
        settings = without_gone(document["config"], f"written by a2c {wrote}")
    except ConfigError as error:
        raise CheckpointError(error.message, error.hint) from None
    pixels = KINDS[spec.kind].pixels
    settings = before_there_was(settings, pixels=pixels, continuous=spec.continuous)
    config = resolve(from_dict(settings), spec.kind, continuous=spec.continuous)
    if (config.env, config.env_args, wrappers_of(config)) != (spec.id, spec.args, spec.wrappers):
        raise ValueError("its settings and its environment do not fit together")
    counters = {name: document[name] for name in ("env_steps", "updates", "episodes")}
    if not all(is_count(n) for n in counters.values()):
        raise ValueError("a counter is not a count")
    best = document["best_mean_return"]
    returns = _returns(document["recent_returns"])
    if len(returns) > 100:
        raise ValueError("recent_returns has more than 100 entries")
    progress, versions = document["progress"], document["versions"]
    if not isinstance(progress, dict) or not isinstance(versions, dict):
        raise TypeError("progress and versions must be objects")
    if not all(isinstance(v, str) for v in versions.values()):
        raise TypeError("versions must be strings")
    return Header(
        config=config,
        spec=spec,
        recent_returns=returns,
        best_mean_return=None if best is None else _returns([best])[0],
        progress=progress,
        versions=versions,
        **counters,
    )


def _spec(document: Mapping[str, Any]) -> EnvSpec:
    action = document["action"]
    spec = EnvSpec(
        id=_text(document["id"]),
        kind=_text(document["kind"]),
        obs_shape=_counts(document["obs_shape"]),
        obs_dtype=_text(document["obs_dtype"]),
        action=ActionSpec(
            kind=_text(action["kind"]),
            sizes=_counts(action["sizes"]),
            shape=_counts(action["shape"]),
            dtype=_text(action["dtype"]),
            meanings=tuple(_text(m) for m in action["meanings"]),
            start=tuple(_integer(n) for n in action["start"]),
            low=_numbers(-math.inf if n is None else n for n in action["low"]),
            high=_numbers(math.inf if n is None else n for n in action["high"]),
        ),
        args=_scalars(document["args"]),
        wrappers=_scalars(document["wrappers"]),
    )
    if spec.kind not in KINDS or spec.action.kind not in {
        "discrete",
        "multidiscrete",
        "continuous",
    }:
        raise ValueError("unknown kind of environment or action")
    if len(spec.obs_shape) != KINDS[spec.kind].obs_dimensions or 0 in spec.obs_shape:
        raise ValueError("obs_shape does not fit the kind of environment")
    if spec.obs_dtype != KINDS[spec.kind].obs_dtype:
        raise ValueError("obs_dtype does not fit the kind of environment")
    bounds = (spec.action.low, spec.action.high) if spec.continuous else (spec.action.start,)
    if not spec.action.sizes or 0 in spec.action.sizes or spec.action.outputs > 2**20:
        raise ValueError("the action sizes are out of range")
    if spec.action.kind != "multidiscrete" and len(spec.action.sizes) != 1:
        raise ValueError("the action sizes do not fit the kind of action")
    width = spec.action.sizes[0] if spec.continuous else len(spec.action.sizes)
    if any(len(b) != width for b in bounds):
        raise ValueError("the action bounds do not fit the action sizes")
    if math.prod(spec.action.shape) != (1 if spec.action.kind == "discrete" else width):
        raise ValueError("the action's shape does not fit its sizes")
    if spec.action.dtype not in _ACTION_DTYPES:
        raise ValueError("the actions have an unknown type")
    return spec


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise TypeError("a name is not a string")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise TypeError("a number is not an integer")
    return value


def _counts(values: Iterable[Any]) -> tuple[int, ...]:
    counts = tuple(values)
    if len(counts) > 10_000 or not all(is_count(n) for n in counts):
        raise ValueError("a shape is not made of counts")
    return counts


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    numbers = tuple(values)
    for n in numbers:
        if isinstance(n, bool) or not isinstance(n, int | float) or math.isnan(n):
            raise TypeError("a number is none")
    return tuple(float(n) for n in numbers)


def _returns(values: Iterable[Any]) -> tuple[float, ...]:
    numbers = _numbers(values)
    if not all(abs(n) < _LARGEST for n in numbers):
        raise ValueError("a return is out of range")
    return numbers


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values, dict) or not all(
        isinstance(v, bool | int | str) or (isinstance(v, float) and math.isfinite(v))
        for v in values.values()
    ):
        raise TypeError("arguments must be numbers, booleans or strings")
    return dict(values)


def is_count(value: Any) -> bool:
    """Whether it can be a size or a counter of ours."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48
