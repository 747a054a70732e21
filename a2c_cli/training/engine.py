"""train(): checks a request, then starts a run or resumes one that was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from a2c_cli.algorithm.optimizer import SLOTS
from a2c_cli.config.resolve import wrappers_of
from a2c_cli.config.settings import Settings, TrainConfig, option, settings
from a2c_cli.config.text import to_toml
from a2c_cli.envs.make import open_env, run_settings
from a2c_cli.errors import CheckpointError, ConfigError, RunDirError
from a2c_cli.film.filmer import check_filmable
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import BEST, LAST, METRICS, RunDir, new_run_path
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import agent_from, check_env_id, make_saved_env
from a2c_cli.text import safe_text
from a2c_cli.tracking.session import check_named, find_trackers
from a2c_cli.training.counters import Counters, Saved
from a2c_cli.training.loop import Training
from a2c_cli.training.machine import keep_freed_memory, make_learner
from a2c_cli.training.progress import Progress, TrainResult
from a2c_cli.training.state import Clock, RunState

__all__ = ["Progress", "TrainResult", "train"]


def train(
    config: TrainConfig | None = None,
    *,
    run_dir: Path | str | None = None,
    resume: Path | str | None = None,
    changes: Mapping[str, Any] | None = None,
    env_id: str | None = None,
    asked: Collection[str] = (),
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], str | None] = lambda: None,
) -> TrainResult:
    """Train from one stream, from the start or from where a run was stopped.

    Args:
        config: of a new run; unset settings take the defaults of its kind of environment.
        run_dir: of a new run; a new directory under ./checkpoints if None.
        resume: the run directory (or its `last.safetensors`) to resume, in place.
        changes: settings to change on resume; only those that nothing learned depends on. A
            tracker that imports a module (`module:factory`) is only opened if `tracker` names it
            here.
        env_id: of the run to resume; needed only if it imports a module (`module:Id`), which is
            never done because a checkpoint says so.
        asked: settings of `config` that it is an error to leave without effect.
        on_progress: called a few times per second, and after every entry of metrics.jsonl.
        should_stop: asked after every step; `interrupted`, `terminated` or `hung up` saves and
            stops.

    Raises:
        A2CError: see `errors`.
    """
    if (config is None) == (resume is None):
        raise ConfigError("give either a configuration or a run to resume, not both")
    keep_freed_memory()
    caller = _Caller(on_progress, should_stop)
    with threadpool_limits(1, user_api="blas"), contextlib.ExitStack() as stack:
        if resume is not None:
            training = _resumed(stack, Path(resume), changes or {}, env_id, caller)
        else:
            assert config is not None
            path = Path(run_dir) if run_dir is not None else None
            training = _fresh(stack, config, path, asked, caller)
        return training.run()


class _Caller(NamedTuple):
    """Whom a run reports to, and whom it asks whether to stop."""

    on_progress: Callable[[Progress], None] | None
    should_stop: Callable[[], str | None]


def _fresh(
    stack: contextlib.ExitStack,
    request: TrainConfig,
    path: Path | None,
    asked: Collection[str],
    caller: _Caller,
) -> Training:
    # Everything about the request is checked before anything is written.
    config = run_settings(request, asked)
    find_trackers(config.tracker)
    if config.video_every:
        check_filmable(config.env, config.env_args, wrappers_of(config))
    env = open_env(config, render=config.video_every > 0)
    stack.callback(env.close)
    learner, device = make_learner(config, env.spec)
    where = path if path is not None else new_run_path(config.env, config.seed)
    run = RunDir(where, config.env, config.tracker)
    stack.callback(run.close)
    if run.in_use:
        raise RunDirError(
            f"{run.path} already holds a run",
            f"resume it (--resume {run.path}) or choose another --run-dir",
        )
    run.write_config(to_toml(config))
    run.open_metrics(0)
    state = RunState(run, config, env, learner, Counters(), Clock())
    training = Training(state, device, *caller)
    stack.callback(training.close)
    training.open_trackers()
    return training


def _resumed(
    stack: contextlib.ExitStack,
    path: Path,
    changes: Mapping[str, Any],
    env_id: str | None,
    caller: _Caller,
) -> Training:
    # The request is checked before the directory is touched, and the file read once it is ours.
    source = _find_run(path)
    header, _ = checkpoint.read_header(source)
    config = _changed(header, changes, env_id)
    find_trackers(config.tracker)
    if config.video_every:
        check_filmable(header.spec.id, header.spec.args, header.spec.wrappers)
    run = RunDir(source.parent, config.env, config.tracker)
    stack.callback(run.close)
    header, tensors = checkpoint.read_checkpoint(source)
    config = _changed(header, changes, env_id)
    if "rng.policy" not in tensors:
        raise CheckpointError(
            f"{source} holds weights only: no run can be resumed from it",
            "a2c evaluate, record and inspect take it",
        )
    agent_from(header, tensors)  # before a network is built as large as the header may say
    env = make_saved_env(header.spec, seed=config.seed, render=config.video_every > 0)
    stack.callback(env.close)
    try:
        learner, device = make_learner(config, env.spec)
        saved = Saved.of(header)
        counters = saved.counters(header)
        _check_optimizer(tensors)
        _check_stream(counters, tensors)
        clock = Clock(counters.env_steps, saved.elapsed)
        training = Training(RunState(run, config, env, learner, counters, clock), device, *caller)
        stack.callback(training.close)
        training.resume_from(tensors)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{source} cannot be resumed: {safe_text(str(error))[:200]}",
            "a2c evaluate and record may still read it",
        ) from None
    missing = run.open_metrics(saved.metrics_bytes)
    if missing:
        note = f"{missing:,} bytes of {METRICS} are missing; the run continues with what is left"
        training.reporter.note = note
    if changes:
        run.write_config(to_toml(config))
    training.open_trackers()
    return training


def _find_run(path: Path) -> Path:
    """The checkpoint from which a run is resumed.

    Raises:
        CheckpointError: there is none, or it does not lie in a run directory.
    """
    source = path / LAST if path.is_dir() else path
    if not source.exists():
        raise CheckpointError(f"there is no run at {path}", "see the directories in checkpoints")
    if source.name not in (LAST, BEST):
        raise CheckpointError(
            f"{path} is not in a run directory",
            f"to resume it, copy it into a directory of its own as {LAST}",
        )
    return source


def _changed(header: Header, changes: Mapping[str, Any], env_id: str | None) -> Settings:
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
    return dataclasses.replace(header.config, **changes)


def _check_optimizer(tensors: checkpoint.Tensors) -> None:
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


def _check_stream(counters: Counters, tensors: checkpoint.Tensors) -> None:
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
