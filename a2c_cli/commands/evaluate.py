"""a2c evaluate."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from a2c_cli.commands import options
from a2c_cli.commands.help import Command
from a2c_cli.terminal.signals import raise_stopped

EXAMPLES = """
Play whole games with a trained agent and report the raw scores.

Examples:
  a2c evaluate
  a2c evaluate breakout --episodes 100
  a2c evaluate checkpoints/my-run --greedy --json
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate", help=EXAMPLES, cls=Command)(evaluate)


def evaluate(
    checkpoint: options.Checkpoint = None,
    episodes: options.Episodes = 100,
    greedy: options.Greedy = False,
    seed: options.Seed = 0,
    max_steps: options.MaxSteps = None,
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--jobs", "-j", min=1, help="Processes. [dim](one per core)[/dim]",
                     show_default=False),
    ] = None,
    env: options.TrustedEnv = None,
    env_arg: options.EnvArgs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Find the checkpoint, play, results."""
    from a2c_cli.runs.finding import find_checkpoint
    from a2c_cli.terminal import console, prints

    raise_stopped()
    path = find_checkpoint(checkpoint)
    console.say(f"evaluating {path}", quiet)
    # Imports that take a second come after the first words.
    from a2c_cli.evaluation.evaluate import evaluate as play_and_sum_up
    from a2c_cli.evaluation.workers import available_cores
    from a2c_cli.terminal import results

    with prints.results_apart(), console.progress_bar("games", episodes, quiet) as bar:
        result = play_and_sum_up(
            path,
            episodes,
            greedy=greedy,
            seed=seed,
            jobs=jobs or available_cores(),
            env_id=env,
            env_args=options.parse_env_args(env_arg or []),
            max_steps=max_steps,
            on_episode=bar.advance,
        )
    results.evaluation(result, json=json)
