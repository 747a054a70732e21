"""One chart of learning curves: a quantity of all groups on matplotlib axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from a2c_cli.plots.comparison import Comparison, Curve, Group
from a2c_cli.plots.view import STEPS
from a2c_cli.runs.metrics import EVALUATED_SUCCESS, EVALUATION, SERIES, SUCCESS
from a2c_cli.text import short_count

RETURNS = "returns"  # the chart of episode returns, beside those of `SERIES`
_SCHEDULES = ("train/learning_rate", "train/entropy_coef")
_MOST_POINTS = 1500  # single games drawn of a group
_SHARES = (SUCCESS, "train/explained_variance", "train/dead_units")  # at most 1
_EVALUATED = {RETURNS: EVALUATION, SUCCESS: EVALUATED_SUCCESS}
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Theme:
    """Colours: of text, of lesser text and axes, of the grid, behind it all, of each group."""

    ink: str
    muted: str
    grid: str
    paper: str
    groups: tuple[str, ...]


def draw_chart(
    axes: Axes, comparison: Comparison, name: str, theme: Theme, *, bottom: bool = True
) -> None:
    """Draw one quantity of all groups of an environment.

    Args:
        name: `RETURNS` or a key of `SERIES`.
        bottom: whether nothing stands below it, so that it needs the axis's label.
    """
    _dress(axes, theme)
    axis = comparison.axis
    axes.set_xlim(0, comparison.end or 1.0)
    _count_on(axes.xaxis)
    for group in comparison.groups:
        if name == RETURNS:
            _draw_returns(axes, comparison, group, theme)
        elif name in group.series:
            # Equal schedules lie on each other: the upper one is thinner, so that both show.
            above = comparison.groups[comparison.groups.index(group) + 1 :]
            extra = 1.2 * min(len(above), 3) if name in _SCHEDULES else 0.0
            _draw_curve(axes, group.series[name], group.number, theme, 1.8 + extra)
        if _EVALUATED.get(name) in group.series:
            curve, colour = group.series[_EVALUATED[name]], line_style(group.number, theme)["color"]
            axes.plot(
                curve.at, curve.center, "D", color=colour, ms=4, mew=0, zorder=5, clip_on=False
            )
    if name == RETURNS:
        axes.set_ylabel("reward of a step" if comparison.endless else "episode return")
        _draw_reference(axes, comparison, theme)
        if comparison.frames_above is not None:
            _add_frames(axes, comparison.frames_above, theme)
    else:
        _scale(axes, comparison, name, theme)
    if bottom:
        same = comparison.frame_skip == 1 and name == RETURNS and axis.x == STEPS
        axes.set_xlabel(f"{axis.label} (= frames)" if same else axis.label)


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
    axis.set_major_formatter(FuncFormatter(lambda x, _: short_count(x)))


def _scale(axes: Axes, comparison: Comparison, name: str, theme: Theme) -> None:
    """The y axis of a metric: from 0, to 1 for shares, logarithmic for losses of many orders."""
    axes.set_ylabel(SERIES[name])
    values = np.concatenate([g.series[name].center for g in comparison.groups if name in g.series])
    if name == "train/value_loss" and 0 < 30 * float(np.median(values)) < values.max():
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    if name == "train/entropy" and comparison.max_entropy is not None:
        _level(axes, comparison.max_entropy, f"maximum {comparison.max_entropy:.2f}", theme)
    low, high = axes.get_ylim()
    if name in _SHARES:
        low, high = (0.0 if values.min() >= 0 else max(low, -1.0)), 1.0
    elif values.min() >= 0:
        low, high = 0.0, high if values.max() > 0 else 1.0
    axes.set_ylim(low - 0.03 * (high - low), high + 0.08 * (high - low))


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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _signed(f"{y:,.6g}")))


def line_style(i: int, theme: Theme) -> dict[str, Any]:
    """Colour and dashes of a group, as keyword arguments of matplotlib."""
    n = len(theme.groups)
    return {"color": theme.groups[i % n], "linestyle": _STYLES[i // n % len(_STYLES)]}


def _draw_curve(axes: Axes, curve: Curve, i: int, theme: Theme, width: float = 1.8) -> None:
    line = line_style(i, theme)
    marker = "o" if len(curve.at) == 1 else None
    axes.plot(curve.at, curve.center, linewidth=width, marker=marker, zorder=4, **line)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            curve.at, curve.low, curve.high, color=line["color"], alpha=0.2, lw=0, zorder=2
        )


def _draw_returns(axes: Axes, comparison: Comparison, group: Group, theme: Theme) -> None:
    colour = line_style(group.number, theme)["color"]
    stride = point_stride(group)
    size = 3.0 if sum(len(run.episode_steps) for run in group.runs) > 300 else 5.0
    for run in group.runs:
        at, returns = comparison.axis.place(run, run.episode_steps), run.episode_returns
        axes.plot(
            at[::stride], returns[::stride], ".", color=colour, alpha=0.35, ms=size, mew=0, zorder=1
        )
        if len(group.runs) > 1:
            chosen = np.unique(np.linspace(0, len(run.episode_steps) - 1, 300).astype(int))
            own = run.mean_returns(comparison.view.window)[chosen]
            axes.plot(at[chosen], own, color=colour, alpha=0.45, lw=0.6, zorder=3)
    _draw_curve(axes, group.returns, group.number, theme)


def point_stride(group: Group) -> int:
    """How many games of a group stand for one drawn point."""
    return -(-sum(len(run.episode_steps) for run in group.runs) // _MOST_POINTS)


def _draw_reference(axes: Axes, comparison: Comparison, theme: Theme) -> None:
    if comparison.reference is None:
        return
    low, high = axes.get_ylim()
    far = []
    for name, score in zip(("random", "human"), comparison.reference, strict=True):
        if low - 0.5 * (high - low) <= score <= high + 0.5 * (high - low):
            _level(axes, score, f"{name} {_signed(f'{score:,g}')}", theme)
        else:  # a line so far away would press the curve flat
            side = "above" if score > high else "below"
            far.append(f"{name} {_signed(f'{score:,g}')}, {side} this range")
    if far:
        axes.annotate(
            "\n".join(far), (0, 1), (6, -4), xycoords="axes fraction", va="top", fontsize=7.5,
            textcoords="offset points", color=theme.muted,
        )  # fmt: skip


def _level(axes: Axes, value: float, text: str, theme: Theme) -> None:
    axes.axhline(value, color=theme.muted, linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
    axes.annotate(
        text, (0, value), (4, 3), xycoords=("axes fraction", "data"), va="bottom", fontsize=7.5,
        textcoords="offset points", color=theme.muted, zorder=2.5,
        bbox={"facecolor": theme.paper, "alpha": 0.75, "linewidth": 0, "pad": 0.8},
    )  # fmt: skip


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
