"""Learning curves as files: one picture of all runs, or single charts for a page."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from a2c_cli.evaluation.statistics import few_seeds_note
from a2c_cli.plots.axes import RETURNS, Theme, draw_chart, line_style, point_stride
from a2c_cli.plots.comparison import Comparison
from a2c_cli.runs.files import MARK
from a2c_cli.runs.metrics import EVALUATION, SERIES
from a2c_cli.text import safe_text

SUFFIXES = ("png", "svg", "pdf")
MOST_WITH_SERIES = 4  # environments beside each other with all their charts

# Okabe & Ito's palette, which colour-blind readers can tell apart, without its yellow and with
# darker orange and sky that stand out on white.
PAPER = Theme(
    "#1f2328",
    "#59636e",
    "#d8dee4",
    "#ffffff",
    ("#0072b2", "#d55e00", "#009e73", "#aa3f88", "#b87a00", "#2a8fc7", "#000000"),
)
# Stand-ins that `chart_svg` replaces by CSS variables, so that a page can be light or dark.
_VARIABLES = Theme(
    "#010203", "#010204", "#010205", "#010206", tuple(f"#0102{10 + i}" for i in range(7))
)
_CSS = {
    _VARIABLES.ink: "var(--ink)",
    _VARIABLES.muted: "var(--muted)",
    _VARIABLES.grid: "var(--line)",
    _VARIABLES.paper: "var(--paper)",
    **{colour: f"var(--c{i + 1})" for i, colour in enumerate(_VARIABLES.groups)},
}


def draw(comparisons: Sequence[Comparison], suffix: str, title: str = "") -> bytes:
    """All environments in one picture: columns of charts, or a grid of returns if there are many.

    Args:
        comparisons: at least one.
        suffix: one of `SUFFIXES`.
        title: above it all; for a single environment it takes the place of its name.
    """
    many = len(comparisons) > MOST_WITH_SERIES
    names = [] if many else [n for n in SERIES if any(n in p.series for p in comparisons)]
    with _style():
        figure = (
            _single(comparisons[0], names, title)
            if len(comparisons) == 1
            else _columns(comparisons, names)
        )
        if title and len(comparisons) > 1:
            figure.suptitle(
                textwrap.fill(safe_text(title), int(figure.get_figwidth() * 10)),
                x=0.012, ha="left", fontsize=13, fontweight="bold",
            )  # fmt: skip
        words = caption(comparisons)
        if many:
            words += f" Other metrics: with at most {MOST_WITH_SERIES} environments, or .html."
        width = int(figure.get_figwidth() * 17)
        figure.supxlabel(
            textwrap.fill(words, width), x=0.012, ha="left", fontsize=7.5, color=PAPER.muted
        )
        picture = _render(figure, suffix)
        return picture + f"<!-- {MARK} -->\n".encode() if suffix == "svg" else picture


def _single(comparison: Comparison, names: Sequence[str], title: str) -> Figure:
    rows = (len(names) + 1) // 2
    figure = Figure(figsize=(8.4, 4.0 + 1.9 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, 2, height_ratios=[2.0] + [1.0] * rows)
    top = figure.add_subplot(grid[0, :])
    draw_chart(top, comparison, RETURNS, PAPER)
    name = textwrap.fill(safe_text(title or comparison.env_id), 80)
    top.set_title(name, loc="left", fontsize=12, fontweight="bold", pad=8)
    for i, name in enumerate(names):
        axes = figure.add_subplot(grid[1 + i // 2, i % 2])
        draw_chart(axes, comparison, name, PAPER, bottom=i >= len(names) - 2)
    _legend(figure, [comparison])
    return figure


def _columns(comparisons: Sequence[Comparison], names: Sequence[str]) -> Figure:
    """A column for each environment, or a grid of their returns if there are no other charts."""
    across = min(len(comparisons), 4)
    rows = 1 + len(names) if names else -(-len(comparisons) // across)
    height = 2.9 + 1.7 * len(names) if names else 2.9 * rows
    figure = Figure(figsize=(3.9 * across, height + 0.9), layout="constrained")
    ratios = [1.8] + [1.0] * len(names) if names else [1.0] * rows
    grid = figure.add_gridspec(rows, across, height_ratios=ratios)
    for i, comparison in enumerate(comparisons):
        top = figure.add_subplot(grid[i // across, i % across])
        draw_chart(top, comparison, RETURNS, PAPER, bottom=not names)
        top.set_title(safe_text(comparison.env_id), loc="left", fontsize=11, fontweight="bold")
        for row, name in enumerate(names, start=1):
            if name in comparison.series:
                axes = figure.add_subplot(grid[row, i])
                draw_chart(axes, comparison, name, PAPER, bottom=name == comparison.series[-1])
    _legend(figure, comparisons)
    return figure


def _legend(figure: Figure, comparisons: Sequence[Comparison]) -> None:
    """The groups, above everything; left out where a picture has nothing to tell apart."""
    numbers = {
        group.label: group.number for comparison in comparisons for group in comparison.groups
    }
    if len(numbers) < 2:
        return
    labels = [textwrap.fill(safe_text(label), 90) for label in numbers]
    across = 3 if max(map(len, labels)) < 36 else 1
    figure.set_figheight(figure.get_figheight() + 0.19 * (len(labels) // across))
    figure.legend(
        [Line2D([], [], **line_style(number, PAPER), linewidth=2) for number in numbers.values()],
        labels,
        loc="outside upper left",
        ncols=across,
        frameon=False,
    )


def chart_svg(comparison: Comparison, name: str, width: float, height: float) -> str:
    """One chart as an <svg> element for a page, its colours as CSS variables.

    Args:
        name: `RETURNS` or a key of `SERIES`.
        width, height: in CSS pixels at which its text has the size of the page's.
    """
    with _style():
        figure = Figure(figsize=(width / 96, height / 96))
        axes = figure.add_subplot()
        draw_chart(axes, comparison, name, _VARIABLES)
        # The same margins in all charts, so that they align in the columns of a page.
        above = 46 if axes.child_axes else 12
        figure.subplots_adjust(74 / width, 46 / height, 1 - 14 / width, 1 - above / height)
        axes.yaxis.set_label_coords(-62 / (width - 88), 0.5)
        matplotlib.rcParams["svg.hashsalt"] = f"{comparison.env_id} {name} {width}"
        matplotlib.rcParams["svg.fonttype"] = "none"  # the page's own font
        svg = _render(figure, "svg").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="[a-z._0-9]+_\d+"', "", svg)  # matplotlib's own counters repeat in a page
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return re.sub("|".join(_CSS), lambda match: _CSS[match[0]], svg)


def legend_mark(number: int) -> str:
    """A group's line as a small <svg> element for a page's legend."""
    line = line_style(number, _VARIABLES)
    dashes = {"-": "", "--": "9 4", ":": "3 3", "-.": "9 3 3 3"}[line["linestyle"]]
    return (
        '<svg viewBox="0 0 28 10" aria-hidden="true"><line x1="0" y1="5" x2="28" y2="5"'
        f' stroke-width="3" stroke-dasharray="{dashes}" style="stroke: {_CSS[line["color"]]}"/>'
        "</svg>"
    )


def caption(comparisons: Sequence[Comparison]) -> str:
    """What the lines, bands and points of these charts are, in one or two sentences."""
    groups = [group for comparison in comparisons for group in comparison.groups]
    sizes = sorted({len(group.runs) for group in groups})
    seeds = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    window = comparisons[0].view.window
    many = f"mean return of the last {window:,} episodes"
    text = f"Line: {many if window > 1 else 'return of each episode'}"
    if all(group.endless for group in groups):
        text = "Line: mean reward of a step, since the point before; no episode has ended"
    if sizes[-1] > 1:
        text += (
            f", interquartile mean over {seeds} seeds; band: pointwise 95 % bootstrap"
            " interval over seeds; thin lines: single seeds"
        )
    else:
        text += " (one seed)"
    strides = sorted({point_stride(group) for group in groups})
    every = f" (one in {strides[-1]:,} drawn)" if strides[-1] > 1 else ""
    text += f"; points: single episodes{every}"
    if any(EVALUATION in group.series for group in groups):
        text += "; diamonds: evaluations"
    note = few_seeds_note(sizes)
    return f"{text}. {note.capitalize()}." if note else f"{text}."


@contextmanager
def _style() -> Iterator[None]:
    """Our own look, whatever the reader's matplotlibrc says."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in any script
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.size": 9,
                "axes.labelsize": 9,
                "xtick.labelsize": 8.5,
                "ytick.labelsize": 8.5,
                "legend.fontsize": 9,
                "text.parse_math": False,  # a name with a $ is no formula
                "svg.hashsalt": "a2c",
            }
        )
        yield


def _render(figure: Figure, suffix: str) -> bytes:
    """The same bytes for the same figure: no date, no random ids."""
    dated = {"svg": ("Date", "Creator", "Format", "Type"), "pdf": ("CreationDate",)}
    metadata: dict[str, str | None] = dict.fromkeys(dated.get(suffix, ()))
    if suffix != "svg":
        metadata["Software" if suffix == "png" else "Creator"] = MARK
    buffer = io.BytesIO()
    transparent = suffix == "svg"
    figure.savefig(buffer, format=suffix, dpi=160, metadata=metadata, transparent=transparent)
    return buffer.getvalue()
