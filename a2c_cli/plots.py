"""Learning curves drawn with matplotlib: one picture of all, or single panels for a page."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from a2c_cli.comparison import Curve, Group, Panel
from a2c_cli.curves import EVALUATION, SERIES, WINDOW
from a2c_cli.errors import A2CError, safe_text

try:
    import matplotlib
except ModuleNotFoundError:
    raise A2CError("a picture needs matplotlib", "install it: pip install matplotlib") from None
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

SUFFIXES = ("png", "svg", "pdf")
RETURNS = "returns"  # the panel of episode returns, beside those of `SERIES`
MOST_WITH_SERIES = 4  # environments beside each other with all their panels
_MOST_POINTS = 1500  # single games drawn a panel
_SCHEDULES = ("train/learning_rate", "train/entropy_coef")
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Theme:
    """Colours: of text, of lesser text and axes, of the grid, behind it all, of each group."""

    ink: str
    muted: str
    grid: str
    paper: str
    groups: tuple[str, ...]


# Okabe & Ito's palette, which colour-blind readers can tell apart, without its yellow and with
# darker orange and sky that stand out on white.
PAPER = Theme(
    "#1f2328",
    "#59636e",
    "#d8dee4",
    "#ffffff",
    ("#0072b2", "#d55e00", "#009e73", "#aa3f88", "#b87a00", "#2a8fc7", "#000000"),
)
# Stand-ins that `panel_svg` replaces by CSS variables, so that a page can be light or dark.
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


def draw(panels: Sequence[Panel], suffix: str) -> bytes:
    """All environments in one picture: columns of panels, or a grid of returns if there are many.

    Args:
        panels: at least one.
        suffix: one of `SUFFIXES`.
    """
    many = len(panels) > MOST_WITH_SERIES
    names = [] if many else [n for n in SERIES if any(n in p.series for p in panels)]
    with _style():
        figure = _single(panels[0], names) if len(panels) == 1 else _columns(panels, names)
        caption = describe(panels)
        width = int(figure.get_figwidth() * 17)
        figure.supxlabel(
            textwrap.fill(caption, width), x=0.012, ha="left", fontsize=7.5, color=PAPER.muted
        )
        return _render(figure, suffix)


def _single(panel: Panel, names: Sequence[str]) -> Figure:
    rows = (len(names) + 1) // 2
    figure = Figure(figsize=(8.4, 4.0 + 1.9 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, 2, height_ratios=[2.0] + [1.0] * rows)
    top = figure.add_subplot(grid[0, :])
    draw_panel(top, panel, RETURNS, PAPER)
    top.set_title(safe_text(panel.env_id), loc="left", fontsize=12, fontweight="bold", pad=8)
    for i, name in enumerate(names):
        axes = figure.add_subplot(grid[1 + i // 2, i % 2])
        draw_panel(axes, panel, name, PAPER, bottom=i >= len(names) - 2)
    _legend(figure, [panel])
    return figure


def _columns(panels: Sequence[Panel], names: Sequence[str]) -> Figure:
    """A column for each environment, or a grid of their returns if there are no other panels."""
    across = min(len(panels), 4)
    rows = 1 + len(names) if names else -(-len(panels) // across)
    height = 2.9 + 1.7 * len(names) if names else 2.9 * rows
    figure = Figure(figsize=(3.9 * across, height + 0.9), layout="constrained")
    ratios = [1.8] + [1.0] * len(names) if names else [1.0] * rows
    grid = figure.add_gridspec(rows, across, height_ratios=ratios)
    for i, panel in enumerate(panels):
        top = figure.add_subplot(grid[i // across, i % across])
        draw_panel(top, panel, RETURNS, PAPER, bottom=not names)
        top.set_title(safe_text(panel.env_id), loc="left", fontsize=11, fontweight="bold")
        for row, name in enumerate(names, start=1):
            if name in panel.series:
                axes = figure.add_subplot(grid[row, i])
                draw_panel(axes, panel, name, PAPER, bottom=name == panel.series[-1])
    _legend(figure, panels)
    return figure


def _legend(figure: Figure, panels: Sequence[Panel]) -> None:
    """The groups, above everything; left out where a picture has nothing to tell apart."""
    numbers = {group.label: group.number for panel in panels for group in panel.groups}
    if len(numbers) < 2:
        return
    labels = [textwrap.fill(safe_text(label), 90) for label in numbers]
    figure.legend(
        [Line2D([], [], **_line(number, PAPER), linewidth=2) for number in numbers.values()],
        labels,
        loc="outside upper left",
        ncols=3 if max(map(len, labels)) < 36 else 1,
        frameon=False,
    )


def panel_svg(panel: Panel, name: str, width: float, height: float) -> str:
    """One panel as an <svg> element for a page, its colours as CSS variables.

    Args:
        name: `RETURNS` or a key of `SERIES`.
        width, height: in CSS pixels at which its text has the size of the page's.
    """
    with _style():
        figure = Figure(figsize=(width / 96, height / 96), layout="constrained")
        draw_panel(figure.add_subplot(), panel, name, _VARIABLES)
        matplotlib.rcParams["svg.hashsalt"] = f"{panel.env_id} {name} {width}"
        svg = _render(figure, "svg").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="[a-z_0-9]+_\d+"', "", svg)  # matplotlib's own counters repeat in a page
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return re.sub("|".join(_CSS), lambda match: _CSS[match[0]], svg)


def draw_panel(axes: Axes, panel: Panel, name: str, theme: Theme, *, bottom: bool = True) -> None:
    """Draw one quantity of all groups of an environment.

    Args:
        name: `RETURNS` or a key of `SERIES`.
        bottom: whether nothing stands below it, so that it needs the steps' label.
    """
    _dress(axes, theme)
    last = max(run.env_steps for group in panel.groups for run in group.runs)
    axes.set_xlim(0, last)
    _count_on(axes.xaxis)
    for group in panel.groups:
        if name == RETURNS:
            _draw_returns(axes, group, theme)
        elif name in group.series:
            # Equal schedules lie on each other: the upper one is thinner, so that both show.
            below = len(panel.groups) - 1 - panel.groups.index(group) if name in _SCHEDULES else 0
            _draw_curve(axes, group.series[name], group.number, theme, 1.8 + 1.8 * min(below, 3))
    if name == RETURNS:
        axes.set_ylabel("episode return")
        _draw_reference(axes, panel, theme)
        if panel.frame_skip is not None and panel.frame_skip != 1:
            _add_frames(axes, panel.frame_skip, theme)
    else:
        _scale(axes, panel, name, theme)
    if bottom:
        same = panel.frame_skip == 1 and name == RETURNS
        axes.set_xlabel("agent steps (= frames)" if same else "agent steps")


def _add_frames(axes: Axes, frame_skip: float, theme: Theme) -> None:
    """A second axis above: the emulator's frames."""

    def frames(steps: Any) -> Any:
        return steps * frame_skip

    def agent_steps(frames: Any) -> Any:
        return frames / frame_skip

    above = axes.secondary_xaxis("top", functions=(frames, agent_steps))
    _count_on(above.xaxis)
    above.set_xlabel("frames", color=theme.muted)
    above.tick_params(color=theme.grid, labelcolor=theme.muted)
    above.spines["top"].set_visible(False)


def _count_on(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))


def _scale(axes: Axes, panel: Panel, name: str, theme: Theme) -> None:
    """The y axis of a metric: from 0, or logarithmic for losses that fall by orders."""
    axes.set_ylabel(SERIES[name])
    values = np.concatenate([g.series[name].center for g in panel.groups if name in g.series])
    if name == "train/value_loss" and 0 < 30 * float(np.median(values)) < values.max():
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    if name == "train/entropy" and panel.max_entropy is not None:
        _level(axes, panel.max_entropy, f"maximum {panel.max_entropy:.2f}", theme)
    low, high = min(0.0, axes.get_ylim()[0]), axes.get_ylim()[1]
    axes.set_ylim(low, high + 0.08 * (high - low))


def _dress(axes: Axes, theme: Theme) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.muted)
    axes.tick_params(color=theme.muted, labelcolor=theme.ink)
    axes.grid(True, color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.6g}"))


def _line(i: int, theme: Theme) -> dict[str, Any]:
    n = len(theme.groups)
    return {"color": theme.groups[i % n], "linestyle": _STYLES[i // n % len(_STYLES)]}


def _draw_curve(axes: Axes, curve: Curve, i: int, theme: Theme, width: float = 1.8) -> None:
    line = _line(i, theme)
    marker = "o" if len(curve.steps) == 1 else None
    axes.plot(curve.steps, curve.center, linewidth=width, marker=marker, zorder=4, **line)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            curve.steps, curve.low, curve.high, color=line["color"], alpha=0.2, lw=0, zorder=2
        )


def _draw_returns(axes: Axes, group: Group, theme: Theme) -> None:
    colour = _line(group.number, theme)["color"]
    stride = point_stride(group)
    for run in group.runs:
        steps, returns = run.episode_steps[::stride], run.episode_returns[::stride]
        axes.plot(steps, returns, ".", color=colour, alpha=0.25, ms=2.4, mew=0, zorder=1)
        if len(group.runs) > 1:
            chosen = np.unique(np.linspace(0, len(run.episode_steps) - 1, 300).astype(int))
            own = run.mean_returns()[chosen]
            axes.plot(run.episode_steps[chosen], own, color=colour, alpha=0.45, lw=0.6, zorder=3)
    _draw_curve(axes, group.returns, group.number, theme)
    if EVALUATION in group.series:
        curve = group.series[EVALUATION]
        axes.plot(curve.steps, curve.center, "D", color=colour, ms=3.5, mew=0, zorder=5)


def point_stride(group: Group) -> int:
    """Every how many games of a group one is drawn as a point."""
    return -(-sum(len(run.episode_steps) for run in group.runs) // _MOST_POINTS)


def _draw_reference(axes: Axes, panel: Panel, theme: Theme) -> None:
    if panel.reference is None:
        return
    low, high = axes.get_ylim()
    far = []
    for name, score in zip(("random", "human"), panel.reference, strict=True):
        if low - 0.5 * (high - low) <= score <= high + 0.5 * (high - low):
            _level(axes, score, f"{name} {score:,g}", theme)
        else:  # a line so far away would press the curve flat
            far.append(f"{name} {score:,g}, {'above' if score > high else 'below'} this range")
    if far:
        axes.annotate(
            "\n".join(far), (0, 1), (6, -4), xycoords="axes fraction", va="top", fontsize=7.5,
            textcoords="offset points", color=theme.muted,
        )  # fmt: skip


def _level(axes: Axes, value: float, text: str, theme: Theme) -> None:
    axes.axhline(value, color=theme.muted, linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
    axes.annotate(
        text, (0, value), (4, 3), xycoords=("axes fraction", "data"), va="bottom", fontsize=7.5,
        textcoords="offset points", color=theme.muted, zorder=6,
        bbox={"facecolor": theme.paper, "alpha": 0.75, "linewidth": 0, "pad": 0.8},
    )  # fmt: skip


def describe(panels: Sequence[Panel]) -> str:
    """What the lines, bands and points of these panels are, in one or two sentences."""
    groups = [group for panel in panels for group in panel.groups]
    sizes = sorted({len(group.runs) for group in groups})
    seeds = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    text = f"Line: mean return of the last {WINDOW} episodes"
    if sizes[-1] > 1:
        text += (
            f", interquartile mean over {seeds} seeds; band: pointwise 95 % bootstrap interval"
            " over seeds; thin lines: single seeds"
        )
    else:
        text += " (one seed)"
    strides = sorted({point_stride(group) for group in groups})
    every = f" (one in {strides[-1]:,} drawn)" if strides[-1] > 1 else ""
    text += f"; points: single episodes{every}"
    if any(EVALUATION in group.series for group in groups):
        text += "; diamonds: evaluations"
    return text + "."


def count(value: float) -> str:
    """A number of steps for an axis: 0, 2,500, 20k, 0.5M, 1.2B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (0.1 if size > 1e3 else 1.0):
            return f"{value / size:.4g}{unit}"
    return f"{value:g}"


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
                "svg.fonttype": "none",
                "svg.hashsalt": "a2c",
                "path.simplify": True,
            }
        )
        yield


def _render(figure: Figure, suffix: str) -> bytes:
    """The same bytes for the same figure: no date, no random ids."""
    dated = {"svg": ("Date", "Creator", "Format", "Type"), "pdf": ("CreationDate",)}
    metadata = dict.fromkeys(dated.get(suffix, ()))
    buffer = io.BytesIO()
    transparent = suffix == "svg"
    figure.savefig(
        buffer, format=suffix, dpi=160, metadata=metadata or None, transparent=transparent
    )
    return buffer.getvalue()
