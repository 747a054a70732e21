"""a2c train."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from a2c_cli.commands import completion, options
from a2c_cli.commands.help import Command, HelpAll
from a2c_cli.config.settings import TrainConfig
from a2c_cli.config.text import from_dict, to_toml
from a2c_cli.errors import ConfigError
from a2c_cli.terminal.signals import EXIT_CODES, ask_to_stop

EXAMPLES = """
Train online A2C from one stream of experience.

Examples:
  a2c train --env ALE/Breakout-v5
  a2c train --env CartPole-v1 --total-steps 300000 --seed 1
  a2c train --env ALE/Pong-v5 --learning-rate 1e-3 --run-dir checkpoints/pong
  a2c train --resume checkpoints/pong
  a2c train --resume checkpoints/pong/last.safetensors --run-dir checkpoints/branch
  a2c train --env Pendulum-v1 --show-config > pendulum.toml
  a2c train --env CartPole-v1 --video-every 50 --tracker tensorboard
"""

_ONE_RUN = "one run is of one environment; for several see `a2c sweep --help`"
STOP_CODES = {"completed": 0, "diverged": 1, **EXIT_CODES}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("train", help=EXAMPLES, cls=Command)(options.with_settings(train))


def train(
    env_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="ENV", help="The same as --env.", show_default=False,
                       autocompletion=completion.environments),
    ] = None,
    env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Gymnasium id; module:Id imports yours.", metavar="ID",
                     show_default=False, autocompletion=completion.environments),
    ] = None,
    env_arg: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="For gymnasium.make (repeatable).", show_default=False,
                     metavar="KEY=V"),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--seed", "-s", help="Fixes everything random. [dim](0)[/dim]",
                     show_default=False),
    ] = None,
    run_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where the run lives. [dim](a new one under ./checkpoints)[/dim]",
                     show_default=False),
    ] = None,
    resume: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Resume the run in this directory.", show_default=False,
                     autocompletion=completion.runs),
    ] = None,
    fresh_episode: Annotated[
        bool,
        typer.Option("--fresh-episode", help="Resume with a new episode, without replaying the one"
                     " under way: for real devices and simulators with a clock of their own."),
    ] = False,
    config: options.Config = None,
    preset: options.Preset = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the settings as TOML and stop.")
    ] = False,
    help_all: HelpAll = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    **given: Any,
) -> None:  # fmt: skip
    """Parse, resolve, train, report."""
    del help_all  # has been answered
    if env_id is not None and env is not None:
        raise ConfigError(f"two environments are named: {env} and the extra {env_id}", _ONE_RUN)
    env = env if env is not None else env_id
    changes = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        own = {"env-arg": env_arg, "seed": seed}
        for name, value in {**own, "config": config, "preset": preset}.items():
            if value is not None:
                raise ConfigError(
                    f"--{name} cannot be combined with --resume: the run keeps its own",
                    "leave it out, or start a new run",
                )
        settings = None
    else:
        settings = _settings(env, env_arg, seed, config, preset, changes)
    if show_config:
        if settings is None:
            raise ConfigError("--show-config needs --env", "a run's settings: its config.toml")
        typer.echo(_resolved_toml(settings, changes), nl=False)
        return

    options.say_at_once(f"starting {resume or env}: loading torch", quiet)
    from a2c_cli.terminal import console, live, prints
    from a2c_cli.training.engine import train as run_training

    with prints.results_apart(), console.Display(quiet) as display:
        result = run_training(
            settings,
            run_dir=run_dir,
            resume=resume,
            changes=changes if resume is not None else None,
            on_progress=live.TrainReporter(display).show,
            env_id=env if resume is not None else None,
            fresh_episode=fresh_episode,
            asked=changes,
            should_stop=ask_to_stop(quiet),
        )
    live.train_result(result, json=json, quiet=quiet)
    raise typer.Exit(STOP_CODES[result.stopped])


def _settings(
    env: str | None,
    env_arg: list[str] | None,
    seed: int | None,
    config: Path | None,
    preset: str | None,
    changes: dict[str, Any],
) -> TrainConfig:
    values = options.read_recipe(preset, config, {**changes, "env": env})
    if env is not None:
        values["env"] = env
    if env_arg:
        values["env_args"] = {**values.get("env_args", {}), **options.parse_env_args(env_arg)}
    if seed is not None:
        values["seed"] = seed
    return from_dict(values | changes, str(config) if config else "the command line")


def _resolved_toml(settings: TrainConfig, asked: Collection[str]) -> str:
    from a2c_cli.envs.make import run_settings
    from a2c_cli.terminal import prints

    with prints.results_apart():
        return to_toml(run_settings(settings, asked))
