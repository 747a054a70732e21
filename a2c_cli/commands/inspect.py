"""a2c inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from a2c_cli.commands import options
from a2c_cli.commands.help import Command

EXAMPLES = """
Check a checkpoint and show what is in it: network, settings, training so far.

Examples:
  a2c inspect
  a2c inspect breakout
  a2c inspect checkpoints/my-run --json
  a2c inspect checkpoints/my-run --weights --filters filters.png
  a2c inspect breakout --play 500
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("inspect", help=EXAMPLES, cls=Command)(inspect)


def inspect(
    checkpoint: options.Checkpoint = None,
    weights: Annotated[
        bool,
        typer.Option("--weights", help="Also the norm and the largest weight of each layer, and how"
                     " many are NaN or infinite."),
    ] = False,
    filters: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.png", show_default=False,
                     help="Draw the first layer's weights."),
    ] = None,
    play: Annotated[
        int,
        typer.Option(min=0, metavar="STEPS", show_default=False,
                     help="Also play this many steps, and count the dead units: those that give 0"
                     " at every one of them."),
    ] = 0,
    force: options.Force = False,
    env: options.TrustedEnv = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Find the checkpoint, read it, results."""
    from a2c_cli.runs.finding import find_checkpoint
    from a2c_cli.runs.inspection import inspect as look
    from a2c_cli.terminal import console, results

    path = find_checkpoint(checkpoint)
    console.say(f"inspecting {path}", quiet)
    result = look(path, weights=weights, filters=filters, play=play, env_id=env, force=force)
    results.inspection(result, json=json)
