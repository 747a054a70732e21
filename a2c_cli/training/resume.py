"""What may be resumed: from which file, with which changes, and whether all of it is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2c_cli.algorithm.optimizer import SLOTS
from a2c_cli.config.resolve import check_effect
from a2c_cli.config.settings import Settings, option, settings
from a2c_cli.errors import CheckpointError, ConfigError
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import BEST, LAST
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import check_env_id
from a2c_cli.tracking.session import check_named
from a2c_cli.training.counters import Counters


def find_run(path: Path, *, branch: bool) -> Path:
    """The checkpoint from which a run is resumed.

    Args:
        path: a run directory, or a checkpoint.
        branch: whether the run goes on in a directory of its own.

    Raises:
        CheckpointError: there is none; or, to go on in place, it does not lie in a run directory,
            or what has been learned since would be lost.
    """
    source = path / LAST if path.is_dir() else path
    if not source.exists():
        raise CheckpointError(f"there is no run at {path}", "see the directories in checkpoints")
    apart = f"to train on from it, add --run-dir: --resume {source} --run-dir NEW"
    if branch or source.name == LAST:
        return source
    if source.name != BEST:
        raise CheckpointError(f"{path} is not in a run directory", apart)
    try:
        last = checkpoint.read_header(source.with_name(LAST))[0].env_steps
    except CheckpointError:
        return source  # it is all that is left
    steps = checkpoint.read_header(source)[0].env_steps
    if steps < last:
        raise CheckpointError(
            f"{source} is of step {steps:,}, and its run has come to step {last:,}",
            f"resume the run: --resume {source.parent}; {apart}",
        )
    return source


def changed(header: Header, changes: Mapping[str, Any], env_id: str | None) -> Settings:
    """The settings of a resumed run.

    Raises:
        ConfigError: the environment may not be followed, or a change does not fit.
    """
    check_env_id(header.spec.id, env_id)
    check_named(header.config.tracker, changes.get("tracker"))
    for name in changes:
        if not settings()[name].metadata["on_resume"]:
            raise ConfigError(
                f"{option(name)} cannot be changed on --resume", "start a new run with it"
            )
    following = {
        head: changes["learning_rate"]
        for head in ("actor_learning_rate", "critic_learning_rate")
        if "learning_rate" in changes
        and getattr(header.config, head) == header.config.learning_rate
    }
    config = dataclasses.replace(header.config, **{**following, **changes})
    check_effect(config, changes)
    if config.policy_step == "natural" and not config.max_kl:
        raise ConfigError("--policy-step natural needs a --max-kl above 0", "e.g. --max-kl 0.02")
    if config.total_steps < header.env_steps:
        raise ConfigError(
            f"--total-steps {config.total_steps:,} is less than the run has done:"
            f" {header.env_steps:,} steps",
            "give more, or leave it out",
        )
    return config


def budget_note(before: Settings, now: Settings) -> str:
    """What a longer budget does to the schedules, which run over it; empty if nothing."""
    decaying = [
        words
        for words, shape, end in (
            ("step size", now.learning_rate_schedule, now.learning_rate_end < 1.0),
            ("entropy coefficient", now.entropy_schedule, now.entropy_coef_end < now.entropy_coef),
        )
        if shape != "constant" and end
    ]
    if now.total_steps == before.total_steps or not decaying:
        return ""
    return (
        f"the {' and the '.join(decaying)} decay over the budget, now {now.total_steps:,} instead"
        f" of {before.total_steps:,} steps: at this step they are other than they were"
    )


def check_optimizer(tensors: checkpoint.Tensors) -> None:
    """Of every parameter all slots, or none: one that no loss has reached yet has none.

    Raises:
        ValueError: something is missing or too much.
    """
    found = {name for name in tensors if name.startswith("optimizer.")}
    for name in tensors:
        if name.startswith("network."):
            slots = {f"optimizer.{name.removeprefix('network.')}.{slot}" for slot in SLOTS}
            if found & slots and not slots <= found:
                raise ValueError("the optimizer's state is not complete")
            found -= slots
    if found:
        raise ValueError("the optimizer's state is another network's")


def check_stream(counters: Counters, tensors: checkpoint.Tensors) -> None:
    """Whether what is under way is there: a segment at least, and the episode so far, not more.

    Raises:
        ValueError: it is not.
    """
    parts = {"obs", "actions", "rewards", "terminated"}
    segments = [name for name in tensors if name.startswith("segment.")]
    numbers = range(len({name.split(".")[1] for name in segments}))
    if not numbers or {f"segment.{i}.{part}" for i in numbers for part in parts} != set(segments):
        raise ValueError("the segment that is being gathered is not complete")
    longest = counters.episode_length
    if counters.episode_over and counters.lengths:  # no reset yet: it is the last one's
        longest = counters.lengths[-1]
    if "env.actions" in tensors and len(tensors["env.actions"]) > longest:
        raise ValueError("there are more actions than the episode has steps")
