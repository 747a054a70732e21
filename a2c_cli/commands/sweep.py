"""a2c sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from a2c_cli.commands import completion, options
from a2c_cli.commands.help import Command
from a2c_cli.errors import ConfigError
from a2c_cli.terminal.signals import EXIT_CODES, ask_to_stop, raise_stopped

EXAMPLES = """
Train many agents: environments, settings and seeds, one stream each.

The same command resumes a sweep that was stopped or killed.

Examples:
  a2c sweep --env CartPole-v1 --seeds 0-4
  a2c sweep --env ALE/Breakout-v5 --env ALE/Pong-v5 --seeds 0-2
  a2c sweep --env CartPole-v1 --set gamma=0.98,0.99 --set n_steps=16,32
  a2c sweep --envs atari-5 --set n_steps=20,40,80 --random 2 --dry-run
  a2c sweep --config pendulum.toml --seeds 0-9
  a2c sweep --envs atari-57 --seeds 0-4 --backend ray --ray-address auto
"""


class BackendName(StrEnum):
    """Where trials run."""

    local = "local"
    ray = "ray"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("sweep", help=EXAMPLES, cls=Command)(sweep)


def sweep(
    env: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Gymnasium id; module:Id imports yours (repeatable).", metavar="ID",
                     show_default=False, autocompletion=completion.environments),
    ] = None,
    envs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="A set of games: atari-5 or atari-57.", show_default=False, metavar="SET",
                     autocompletion=completion.sets),
    ] = None,
    env_arg: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="For gymnasium.make (repeatable).", show_default=False,
                     metavar="KEY=V"),
    ] = None,
    seeds: Annotated[str, typer.Option(help="One run each: 0-4 or 0,3,7.", metavar="LIST")] = "0-4",
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", show_default=False, autocompletion=completion.setting_values,
                     metavar="KEY=V1,V2", help="A setting of `a2c train` and the values to try"
                     " (repeatable; every combination is tried)."),
    ] = None,
    random: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Try only this many of the combinations, drawn at random but"
                     " always the same.", show_default=False),
    ] = None,
    total_steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Budget of each trial in agent steps. [dim](as for train)[/dim]",
                     show_default=False, parser=options.parse_count, metavar="N"),
    ] = None,
    tracker: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Where the curves of every trial go besides its metrics.jsonl; as for"
                     " train (repeatable).", show_default=False,
                     autocompletion=completion.trackers),
    ] = None,
    config: options.Config = None,
    preset: options.Preset = None,
    run_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where the sweep lives. [dim](under ./checkpoints, always the same for"
                     " the same request)[/dim]", show_default=False),
    ] = None,
    backend: Annotated[BackendName, typer.Option(help="local: processes here; ray: Ray tasks.")]
    = BackendName.local,
    ray_address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="A running cluster: auto or host:port. [dim](a Ray of its own)[/dim]",
                     metavar="ADDRESS", show_default=False),
    ] = None,
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--jobs", "-j", min=1, show_default=False,
                     help="Trials at a time. [dim](one per core, of a cluster too)[/dim]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and stop.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Plan, check, run, results."""
    if ray_address is not None and backend is not BackendName.ray:
        raise ConfigError("--ray-address needs --backend ray", "add it, or leave the address out")
    from a2c_cli.evaluation.workers import available_cores
    from a2c_cli.sweep import cluster, local, plan, table
    from a2c_cli.sweep.drive import Backend, run_sweep
    from a2c_cli.terminal import console, prints

    raise_stopped()
    lists = plan.parse_lists(set_ or [])
    base = options.read_recipe(preset, config, {"env": env or envs, "tracker": tracker})
    recipe_env = [base.pop("env")] if "env" in base else []
    _overlay(base, lists, env_arg or [], tracker or [], total_steps)
    request = plan.Request(
        envs=plan.named_envs(env or ([] if envs else recipe_env), envs or []),
        seeds=plan.parse_seeds(seeds),
        base=base,
        lists=lists,
        sample=random,
    )
    if dry_run:
        with prints.results_apart():
            trials = plan.plan(request)
        table.show_plan(trials, json=json)
        return

    def make_backend() -> Backend:
        if backend is BackendName.ray:
            return cluster.RayBackend(jobs, ray_address)
        return local.LocalBackend(jobs or available_cores())

    if backend is BackendName.ray:
        cluster.check_request(ray_address)

    def announce(path: Path, left: int) -> None:
        console.say(f"sweep in {path}: {left:,} trial{'s' if left != 1 else ''} to run", quiet)

    with prints.results_apart(), console.Display(quiet) as display:
        show = table.SweepReporter(display).show
        record, stopped = run_sweep(
            request, run_dir, make_backend, show, lambda: ask_to_stop(quiet), announce
        )
    table.show_result(record, json=json)
    raise typer.Exit(_last_words(record, stopped, quiet, next_commands=not json))


def _overlay(
    base: dict[str, Any],
    lists: Mapping[str, Any],
    env_arg: list[str],
    tracker: list[str],
    total_steps: int | None,
) -> None:
    """Put what the command line says of every trial over the recipe's settings in `base`."""
    base.pop("seed", None)  # of one run
    base["env_args"] = {**base.get("env_args", {}), **options.parse_env_args(env_arg)}
    if tracker:
        base["tracker"] = tracker
    if total_steps is not None:
        if "total_steps" in lists:
            raise ConfigError(
                "total_steps is given both by --total-steps and by --set", "leave one out"
            )
        base["total_steps"] = total_steps


def _last_words(
    record: dict[str, Any], stopped: str | None, quiet: bool, *, next_commands: bool
) -> int:
    """Say what became of the trials and what to type next; return the exit code."""
    from a2c_cli.sweep import table
    from a2c_cli.terminal import console

    for run in record["runs"]:
        if run["message"] and run["stopped"] in ("completed", "interrupted"):
            console.say(f"note: {run['run_dir']}: {run['message']}")
    if stopped is not None:
        console.say(f"resume with: a2c {shlex.join(sys.argv[1:])}")
        return EXIT_CODES[stopped]
    failed = [run for run in record["runs"] if run["stopped"] != "completed"]
    for run in failed:
        console.say(f"error: {run['run_dir']} {run['stopped']}: {run['message']}")
    for text in table.next_commands(record) if next_commands and not failed else ():
        console.say(text, quiet)
    return 1 if failed else 0
