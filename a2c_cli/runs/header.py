"""What a checkpoint says about itself, as a record and as a JSON document."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from a2c_cli.config.defaults import NEUTRAL
from a2c_cli.config.kinds import KINDS
from a2c_cli.config.legacy import before_there_was, without_gone
from a2c_cli.config.resolve import resolve, wrappers_of
from a2c_cli.config.settings import Settings
from a2c_cli.config.text import from_dict, to_dict
from a2c_cli.envs.spec import Count, EnvSpec, Text
from a2c_cli.errors import CheckpointError, ConfigError
from a2c_cli.policies.layout import Layout, make_layout
from a2c_cli.text import first_problem, safe_text
from a2c_cli.version import DISTRIBUTION

# Sums of a hundred returns must be finite still.
_Return = Annotated[float, Field(gt=-1e300, lt=1e300)]
_PART_KINDS = {"numbers", "choices", "bits", "picture", "left out"}
_DTYPES = {
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

    @property
    def success_rate(self) -> float | None:
        """Share of the last 100 episodes, of those that told, that succeeded; None if none told."""
        told = self.progress.get("successes")
        if not isinstance(told, list) or not told or not all(isinstance(t, bool) for t in told):
            return None
        return sum(told) / len(told)

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


class _Document(BaseModel):
    """A header as it stands in a file: the type and the bounds of every value."""

    model_config = ConfigDict(strict=True)

    config: dict[str, Any]
    env: EnvSpec
    env_steps: Count
    updates: Count
    episodes: Count
    recent_returns: Annotated[tuple[_Return, ...], FailFast(), Field(max_length=100)]
    best_mean_return: _Return | None
    progress: dict[str, Any]
    versions: dict[str, Text]


def _as_json(document: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which is no text, becomes a question mark."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def from_document(document: Mapping[str, Any]) -> Header:
    """The header of a document, which may come from a stranger: every value is checked.

    Raises:
        ConfigError, ValueError, TypeError, KeyError: it is not one of `to_document`.
        CheckpointError: it is one, with settings that this version no longer has.
    """
    try:
        read = _Document.model_validate_json(_as_json(_with_infinities(document)))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    spec = read.env
    _check_spec(spec)
    ours = read.versions.get(DISTRIBUTION, read.versions.get("a2c-cli", ""))
    wrote = safe_text(ours)[:20] or "an earlier version"
    try:
        settings = without_gone(read.config, f"written by a2c {wrote}")
    except ConfigError as error:
        raise CheckpointError(error.message, error.hint) from None
    settings = before_there_was(settings, kind=spec.kind, continuous=spec.continuous)
    config = resolve(from_dict(settings), spec.kind, numbers=spec.numbers)
    wrappers = wrappers_of(config)
    # Earlier versions had less preprocessing, and did what is the neutral value now.
    absent: dict[str, Any] = {
        n: NEUTRAL[n] for n in wrappers if n not in spec.wrappers and n not in settings
    }
    spec = dataclasses.replace(spec, wrappers={**absent, **spec.wrappers})
    if (config.env, config.env_args, wrappers) != (spec.id, spec.args, spec.wrappers):
        raise ValueError("its settings and its environment do not fit together")
    others = {name: getattr(read, name) for name in _Document.model_fields if name != "env"}
    return Header(**{**others, "config": config, "spec": spec})


def _with_infinities(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with an infinity where JSON has none: the inverse of what `to_document` does."""
    env = document["env"]
    action = env["action"]
    low = [-math.inf if n is None else n for n in action["low"]]
    high = [math.inf if n is None else n for n in action["high"]]
    return {**document, "env": {**env, "action": {**action, "low": low, "high": high}}}


def _check_spec(spec: EnvSpec) -> None:
    """Whether the parts of an environment's description fit together.

    Raises:
        ValueError: they do not.
    """
    if spec.kind not in KINDS or spec.action.kind not in {
        "discrete",
        "multidiscrete",
        "continuous",
    }:
        raise ValueError("unknown kind of environment or action")
    if len(spec.obs_shape) != KINDS[spec.kind].obs_dimensions or 0 in spec.obs_shape:
        raise ValueError("obs_shape does not fit the kind of environment")
    if bool(spec.pictures) != (spec.kind == "mixed") or not all(
        len(shape) == 3 and math.prod(shape) for shape in spec.pictures
    ):
        raise ValueError("the pictures do not fit the kind of environment")
    if spec.features < 0:
        raise ValueError("the pictures are larger than the observation")
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
    if spec.action.dtype not in _DTYPES:
        raise ValueError("the actions have an unknown type")
    for part in spec.parts:
        if part.kind not in _PART_KINDS or part.dtype not in _DTYPES | {"float128"}:
            raise ValueError("a part of the observation has an unknown kind or type")
