"""a2c inspect."""

from __future__ import annotations

import typer

from a2c_cli.commands import options

EXAMPLES = """
Check a checkpoint and show what is in it: network, settings, training so far.

[bold]Examples[/bold]
  a2c inspect
  a2c inspect checkpoints/breakout.safetensors
  a2c inspect checkpoints/my-run --json
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("inspect", help=EXAMPLES)(inspect)


def inspect(
    checkpoint: options.Checkpoint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the checkpoint, read its header, report."""
    from a2c_cli import report
    from a2c_cli.inspection import inspect as look
    from a2c_cli.run import find_checkpoint

    path = find_checkpoint(checkpoint)
    report.say(f"inspecting {path}", quiet)
    report.inspection(look(path), json=json)
