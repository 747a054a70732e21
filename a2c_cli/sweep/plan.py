"""The request for a sweep, checked and expanded into its trials. Nothing is written here."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from a2c_cli.config.checks import Scalar
from a2c_cli.config.resolve import wrappers_of
from a2c_cli.config.settings import Settings
from a2c_cli.config.text import from_dict, parse_scalar, to_dict
from a2c_cli.envs.make import open_env, probe
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.errors import ConfigError
from a2c_cli.evaluation.scores import ATARI_5, ATARI_57
from a2c_cli.policies.layout import make_layout
from a2c_cli.runs.directory import CHECKPOINTS

ENV_SETS = {"atari-5": ATARI_5, "atari-57": ATARI_57}
_MOST_TRIALS = 100_000
_LONGEST_NAME = 100  # of one directory; most file systems end at 255 bytes
# What has an option of its own here, and what a trial cannot choose.
_NOT_A_SETTING = {
    "env": "use --env (repeatable)",
    "seed": "use --seeds, e.g. --seeds 0-4",
    "env_args": "use --env-arg key=value",
    "threads": "a trial has one thread: more trials at a time use more cores",
}


@dataclass(frozen=True)
class Request:
    """What the user asked for; equal requests are the same sweep.

    Args:
        envs: Gymnasium ids.
        seeds: one run each per environment and setting.
        base: values by field of `TrainConfig` that all trials share, but for what `lists` names.
        lists: field -> values to try; every combination is a setting.
        sample: only so many of the combinations, drawn at random but always the same; None for all.
    """

    envs: tuple[str, ...]
    seeds: tuple[int, ...]
    base: Mapping[str, Any] = field(default_factory=dict)
    lists: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    sample: int | None = None


@dataclass(frozen=True)
class Trial:
    """One run: `config` is complete, `setting` is what the lists chose of it.

    `name` is its directory below the sweep's: environment / setting / seed.
    """

    name: str
    setting: Mapping[str, Scalar]
    config: Settings

    @property
    def env_id(self) -> str:
        return str(self.config.env)

    @property
    def seed(self) -> int:
        return self.config.seed


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0-4`, `0,3,7` or a mixture as numbers.

    Raises:
        ConfigError: it is none of these, or a seed comes twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,19})(?:-([0-9]{1,19}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise ConfigError(f"--seeds cannot be {text!r}", "e.g. --seeds 0-4 or --seeds 0,3,7")
        if last - first >= _MOST_TRIALS:
            raise ConfigError(f"--seeds {text} are more than {_MOST_TRIALS:,}")
        seeds += range(first, last + 1)
    return _all_different(seeds, "--seeds")


def parse_lists(pairs: Sequence[str]) -> dict[str, tuple[Scalar, ...]]:
    """`key=v1,v2` options as lists of values, each as the setting itself would take it.

    Raises:
        ConfigError: a key is unknown, has no values, comes twice, or a value is wrong.
    """
    lists: dict[str, tuple[Scalar, ...]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        parts = [part.strip() for part in text.split(",")]
        if not equals or not all(parts):
            raise ConfigError(
                f"--set must be key=v1,v2,..., not {pair!r}", "e.g. --set learning_rate=5e-4,1e-3"
            )
        if key in _NOT_A_SETTING:
            raise ConfigError(f"--set cannot change {key}", _NOT_A_SETTING[key])
        if key in lists:
            raise ConfigError(f"--set {key} is given twice", "list all its values in one --set")
        # Through a config, so that 1 and 1.0 are the same step size; any environment will do.
        values = [
            getattr(from_dict({"env": "any", key: parse_scalar(part)}, "--set"), key)
            for part in parts
        ]
        lists[key] = _all_different(values, f"--set {key}")
    return lists


def named_envs(ids: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The environments of `--env` and of the sets of `--envs`, each once.

    Raises:
        ConfigError: there is no such set, or no environment at all.
    """
    for name in names:
        if name not in ENV_SETS:
            close = difflib.get_close_matches(name, ENV_SETS, n=1)
            raise ConfigError(
                f"there is no set of environments {name!r}",
                f"did you mean {close[0]}?" if close else f"there is: {', '.join(ENV_SETS)}",
            )
    envs = dict.fromkeys([*ids, *itertools.chain(*(ENV_SETS[name] for name in names))])
    if not envs:
        raise ConfigError("no environment given", "name one, e.g. --env ALE/Breakout-v5")
    return tuple(envs)


def combinations(
    lists: Mapping[str, tuple[Scalar, ...]], sample: int | None
) -> list[dict[str, Scalar]]:
    """Every combination of the values, or `sample` different ones drawn from a fixed generator.

    Raises:
        ConfigError: the sample is larger than the grid.
    """
    size = math.prod(len(values) for values in lists.values())
    if sample is None:
        numbers: Sequence[int] = range(size)
    elif sample > size:
        raise ConfigError(
            f"--random {sample}: --set gives only {size:,}"
            f" {'combination' if size == 1 else 'combinations'}",
            "give more values, or leave --random out to run all",
        )
    else:
        numbers = sorted(random.Random(0).sample(range(size), sample))
    if len(numbers) > _MOST_TRIALS:
        raise ConfigError(f"{size:,} combinations are too many", "draw some with --random 20")
    found = []
    for number in numbers:
        setting = {}
        for key, values in reversed(list(lists.items())):  # the last key changes fastest
            number, index = divmod(number, len(values))
            setting[key] = values[index]
        found.append({key: setting[key] for key in lists})
    return found


def plan(request: Request) -> list[Trial]:
    """All trials, seed by seed, so that a sweep cut short has tried everything about equally often.

    Every environment is built and every setting resolved for it, so that what a trial would
    refuse is refused here.

    Raises:
        A2CError: an environment cannot be built, or cannot use a setting.
    """
    settings = combinations(request.lists, request.sample)
    count = len(request.envs) * len(settings) * len(request.seeds)
    if count > _MOST_TRIALS:
        raise ConfigError(f"{count:,} trials are too many", f"at most {_MOST_TRIALS:,}")
    configs: dict[str, tuple[dict[str, Scalar], Settings]] = {}
    for env_id in request.envs:
        seen = probe(env_id, request.base.get("env_args", {}))
        specs: dict[tuple[Any, ...], EnvSpec] = {}
        for setting in settings:
            values = {**request.base, **setting, "env": env_id}
            name = "/".join((_slug(env_id), _setting_name(setting)))
            if name in configs:
                raise ConfigError(f"two trials would share the directory {name}")
            given = from_dict(values, "the sweep")
            config = seen.resolve(given, asked=setting)
            _check_network(config, specs)
            configs[name] = setting, config
    return [
        Trial(f"{name}/seed{seed}", setting, dataclasses.replace(config, seed=seed))
        for seed in request.seeds
        for name, (setting, config) in configs.items()
    ]


def _check_network(config: Settings, specs: dict[tuple[Any, ...], EnvSpec]) -> None:
    """Whether the network fits what the environment shows; built once for all equal frames."""
    if config.threads != 1:
        raise ConfigError(f"threads cannot be {config.threads}", _NOT_A_SETTING["threads"])
    frames = tuple(wrappers_of(config).values())
    if frames not in specs:
        env = open_env(config)
        specs[frames] = env.spec
        env.close()
    make_layout(config, specs[frames])


def identify(request: Request, trials: Sequence[Trial]) -> dict[str, Any]:
    """The request as plain JSON values, kept in sweep.json to recognise the sweep by.

    `resolved` is a digest of the complete settings of every trial: where another version of a2c has
    another default, it is another sweep.
    """
    digest = hashlib.sha256()
    for trial in trials:
        digest.update(json.dumps([trial.name, to_dict(trial.config)]).encode())
    return {
        "envs": list(request.envs),
        "seeds": list(request.seeds),
        "base": dict(request.base),
        "set": {key: list(values) for key, values in request.lists.items()},
        "random": request.sample,
        "resolved": digest.hexdigest(),
    }


def default_path(identity: Mapping[str, Any]) -> Path:
    """Where a sweep lives unless told otherwise: the same request, the same directory."""
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    first, *others = identity["envs"]
    more = f"-and-{len(others)}-more" if others else ""
    return CHECKPOINTS / f"sweep-{_slug(first)}{more}-{digest[:8]}"


def _setting_name(setting: Mapping[str, Scalar]) -> str:
    return _slug(setting_text(setting).replace(", ", ","))


def setting_text(setting: Mapping[str, Scalar]) -> str:
    """`learning_rate=0.001, n_steps=40`, or `defaults` where nothing was set."""
    return ", ".join(f"{key}={json.dumps(v).strip(chr(34))}" for key, v in setting.items()) or (
        "defaults"
    )


def _slug(text: str) -> str:
    """A directory name that shows the text, and stays different where the text must be cut."""
    name = re.sub(r"[^A-Za-z0-9._=,+-]", "-", text).strip(".") or "-"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _all_different(values: Sequence[Any], what: str) -> tuple[Any, ...]:
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise ConfigError(f"{what} has {twice[0]!r} twice", "leave one out")
    return tuple(values)
