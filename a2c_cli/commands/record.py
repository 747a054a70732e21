"""a2c record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from a2c_cli.commands import completion, options
from a2c_cli.commands.help import Command
from a2c_cli.terminal.signals import raise_stopped

EXAMPLES = """
Film a trained agent: one video per episode, with its policy and value beside the game.

Examples:
  a2c record --episodes 5
  a2c record breakout --output videos --scale 3
  a2c record --overlay --saliency --best-of 10
  a2c record checkpoints/my-run --overlay --output play.gif --fps 15 --max-steps 150
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("record", help=EXAMPLES, cls=Command)(record)


def record(
    checkpoint: options.Checkpoint = None,
    episodes: Annotated[
        int, typer.Option("--episodes", "-n", min=1, help="Videos to make, of whole games.")
    ] = 1,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", show_default=False,
                     help="Directory for the videos, or one .mp4 or .gif file for one video."
                     " [dim](videos/ beside the checkpoint)[/dim]"),
    ] = None,
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="Draw a panel beside the game: score, value, entropy,"
                     " the probability of every action."),
    ] = False,
    saliency: Annotated[
        bool,
        typer.Option("--saliency", help="Tint the game where the network looks: blue for the"
                     " policy, red for the value."),
    ] = False,
    saliency_method: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="METHOD", show_default=False, autocompletion=completion.methods,
                     help="gradient, or perturbation: what blurring each place would change;"
                     " slower. Turns --saliency on. [dim](gradient)[/dim]"),
    ] = None,
    best_of: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, show_default=False,
                     help="Play this many episodes; keep the best, or the best --episodes."),
    ] = None,
    greedy: options.Greedy = False,
    seed: options.Seed = 0,
    scale: Annotated[int, typer.Option(min=1, max=8, help="Enlarge every pixel.")] = 2,
    fps: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1, max=240, show_default=False,
                     help="Frames per second of the file; the others are left out."
                     " [dim](all: 60 on Atari)[/dim]"),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.05, max=20, help="Times as fast as real.")
    ] = 1.0,
    format: Annotated[
        str, typer.Option(help="mp4 or gif.", metavar="KIND", autocompletion=completion.films)
    ] = "mp4",
    max_steps: options.MaxSteps = None,
    force: options.Force = False,
    env: options.TrustedEnv = None,
    env_arg: options.EnvArgs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Find the checkpoint, play and film, results."""
    from a2c_cli.runs.finding import find_checkpoint
    from a2c_cli.terminal import console, prints

    raise_stopped()
    path = find_checkpoint(checkpoint)
    console.say(f"recording {path}", quiet)
    # Imports that take a second come after the first words.
    from a2c_cli.film.record import record as film
    from a2c_cli.film.request import Games, Picture, Place
    from a2c_cli.terminal import results

    games = Games(
        episodes, best_of, greedy, seed, max_steps, env, options.parse_env_args(env_arg or [])
    )
    method = saliency_method or ("gradient" if saliency else None)
    picture = Picture(scale, fps, speed, overlay, method)
    with prints.results_apart(), console.progress_bar("games", games.played, quiet) as bar:
        place = Place(output, format, force)
        result = film(path, games, picture, place, bar.advance, bar.count("frames"))
    results.recording(result, json=json)
