"""a2c plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from a2c_cli.commands import completion, options
from a2c_cli.commands.help import Command
from a2c_cli.errors import A2CError, ConfigError

if TYPE_CHECKING:
    from a2c_cli.plots.comparison import Comparison

EXAMPLES = """
Draw learning curves: in the terminal, as a picture, or on a page of their own.

Runs that differ in their seed alone become one curve, with a 95 % band.
Others are compared; environments stand beside each other.

Examples:
  a2c plot
  a2c plot checkpoints/my-run --output curve.png
  a2c plot checkpoints/sweep --output sweep.pdf --title "Two step sizes"
  a2c plot checkpoints/my-run checkpoints/cartpole --label old --label new
  a2c plot checkpoints/my-run --x time --smooth 10
  a2c evaluate checkpoints/my-run --json > scores.json
  a2c plot checkpoints/my-run --evaluation scores.json --output run.html
"""

PAGE = ".html"
_FOR_PAGES = ("--evaluation is for an .html page", "add --output FILE.html")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("plot", help=EXAMPLES, cls=Command)(plot)


def plot(
    runs: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(show_default=False, autocompletion=completion.runs, metavar="RUN...",
                       help="Run directories, or directories with runs at any depth below."
                       " Left out: the newest run under ./checkpoints."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", show_default=False,
                     help="A .png, .svg or .pdf picture, or an .html page with curves, settings,"
                     " network and the runs' videos. [dim](the terminal)[/dim]"),
    ] = None,
    evaluation: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(show_default=False, metavar="FILE.json",
                     help="What `a2c evaluate --json` printed, for the .html page (repeatable)."),
    ] = None,
    x: Annotated[
        str,
        typer.Option(help="What the curves are drawn over: steps, frames, episodes, or time spent"
                     " on training.", metavar="AXIS", autocompletion=completion.axes),
    ] = "steps",
    smooth: Annotated[
        int,
        typer.Option(min=1, help="Episodes whose mean is a point of the curve; 1 draws each as"
                     " it was."),
    ] = 100,
    label: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(show_default=False,
                     help="A name for the runs of a path: as many as there are paths, in their"
                     " order (repeatable)."),
    ] = None,
    title: Annotated[str, typer.Option(help="What stands above it all.", show_default=False,
                                        metavar="TEXT")] = "",
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Check the request, read the runs, draw, results."""
    from a2c_cli.plots.comparison import compare
    from a2c_cli.plots.view import View
    from a2c_cli.runs.files import check_output, write_output
    from a2c_cli.runs.metrics import find_runs, read_runs
    from a2c_cli.terminal import console, results

    draw = None if output is None else _drawing(output, evaluation or [], title)
    if draw is None and evaluation:
        raise ConfigError(*_FOR_PAGES)
    if output is not None:
        check_output(output, "--output", force)
    paths = find_runs(runs or [])
    view = View(_axis(x), smooth, _names(runs or [], label or []))
    if not runs:
        console.say(f"plotting {paths[0]}", quiet)
    found, left_out = read_runs(paths)
    comparisons, doubles = compare(found, view)
    for note in (*left_out, *doubles):
        console.say(f"note: {note}", quiet)
    if output is not None and draw is not None:
        write_output(output, draw(comparisons))
        console.say(f"wrote {output}", quiet)
    results.curves(comparisons, output, title, json=json)


def _axis(x: str) -> str:
    from a2c_cli.plots.view import AXES

    if x not in AXES:
        raise ConfigError(f"there is no axis {x!r}", f"--x takes one of: {', '.join(AXES)}")
    return x


def _names(paths: Sequence[Path], labels: Sequence[str]) -> dict[Path, str]:
    """What the runs of each path are called, by their directories."""
    from a2c_cli.runs.metrics import find_runs

    if not labels:
        return {}
    if len(labels) != len(paths):
        raise ConfigError(
            f"there are {len(labels)} labels for {len(paths)} paths",
            "give one --label for each RUN, in their order",
        )
    named: dict[Path, str] = {}
    for path, label in zip(paths, labels, strict=True):
        for run in find_runs([path]):
            named.setdefault(run, label)
    return named


def _drawing(
    output: Path, evaluations: list[Path], title: str
) -> Callable[[list[Comparison]], bytes]:
    """What makes the file's content, once the request has been found to be in order.

    Raises:
        ConfigError: nothing can be drawn in such a file, or an evaluation cannot be read.
        A2CError: matplotlib is not installed.
    """
    suffix = output.suffix.lower()
    if evaluations and suffix != PAGE:
        raise ConfigError(*_FOR_PAGES)
    try:
        from a2c_cli.plots import figures, page
        from a2c_cli.plots.evaluation_file import read_evaluation
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise A2CError("a picture needs matplotlib", "install it: pip install matplotlib") from None
    pictures = [f".{name}" for name in figures.SUFFIXES]
    if suffix == PAGE:
        read = [read_evaluation(path) for path in evaluations]
        return lambda comparisons: page.make_page(comparisons, read, title).encode()
    if suffix not in pictures:
        raise ConfigError(
            f"--output {output} is of no kind that can be drawn",
            f"end it in {', '.join(pictures)} or {PAGE}",
        )
    return lambda comparisons: figures.draw(comparisons, suffix.removeprefix("."), title)
