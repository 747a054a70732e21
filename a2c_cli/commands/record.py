"""a2c record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from a2c_cli.commands import options
from a2c_cli.signals import raise_stopped

EXAMPLES = """
Film a trained agent: one video an episode, every emulator frame.

[bold]Examples[/bold]
  a2c record --episodes 5
  a2c record checkpoints/breakout.safetensors --output videos --scale 3
  a2c record checkpoints/my-run --greedy --format gif --max-steps 300
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("record", help=EXAMPLES)(record)


def record(
    checkpoint: options.Checkpoint = None,
    episodes: options.Episodes = 1,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", show_default=False,
                     help="Directory for the videos, or one .mp4 or .gif file for one episode."
                     " [dim](videos/ beside the checkpoint)[/dim]"),
    ] = None,
    greedy: options.Greedy = False,
    seed: options.Seed = 0,
    scale: Annotated[int, typer.Option(min=1, max=8, help="Enlarge every pixel.")] = 2,
    fps: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1, max=240, show_default=False,
                     help="Frames a second. [dim](real time)[/dim]"),
    ] = None,
    format: Annotated[str, typer.Option(help="mp4 or gif.")] = "mp4",
    max_steps: options.MaxSteps = None,
    env: options.TrustedEnv = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Find the checkpoint, play and film, report."""
    from a2c_cli import report
    from a2c_cli.recording import record as film
    from a2c_cli.run import find_checkpoint

    raise_stopped()
    path = find_checkpoint(checkpoint)
    report.say(f"recording {path}", quiet)
    result = film(
        path,
        episodes,
        output=output,
        suffix=format,
        greedy=greedy,
        seed=seed,
        scale=scale,
        fps=fps,
        max_steps=max_steps,
        env_id=env,
    )
    report.recording(result, json=json)
