"""Learning curves in characters, for a terminal: braille dots, or letters where those fail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from a2c_cli.plots.comparison import Comparison, Curve
from a2c_cli.plots.view import STEPS
from a2c_cli.text import short_count

COLOURS = ("blue", "red", "green", "magenta", "yellow", "cyan", "white")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROWS = 12  # of characters in a chart
# The bit of each dot of a braille character, by row and column of its 4 x 2 grid.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def mark(number: int, dots: bool) -> Text:
    """What stands for a group in a chart and in its legend."""
    letter = "⠒⠒" if dots else _LETTERS[number % len(_LETTERS)]
    return Text(letter, style=COLOURS[number % len(COLOURS)])


def draw_text(comparison: Comparison, width: int, *, dots: bool) -> Text:
    """The mean returns of all groups of an environment, over the axis of its view.

    Args:
        width: in characters, at least 30.
        dots: draw braille dots; otherwise each group's letter, in ASCII alone.
    """
    curves = [(group.number, group.returns) for group in comparison.groups]
    low = min(float(curve.center.min()) for _, curve in curves)
    high = max(float(curve.center.max()) for _, curve in curves)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 1.0, high + 1.0
    last = max(float(curve.at[-1]) for _, curve in curves)
    labels = {0: f"{high:,.4g}", _ROWS // 2: f"{(low + high) / 2:,.4g}", _ROWS - 1: f"{low:,.4g}"}
    margin = max(map(len, labels.values()))
    columns = max(width - margin - 2, 10)
    cells = np.full((_ROWS, columns), " ", dtype="<U1")
    owner = np.full((_ROWS, columns), -1)
    for number, curve in curves:
        letter = None if dots else _LETTERS[number % len(_LETTERS)]
        drawn = _draw_curve(curve, (low, high), last, columns, letter)
        cells[drawn != " "] = drawn[drawn != " "]
        owner[drawn != " "] = number
    upright, corner, dash = ("┤", "└", "─") if dots else ("|", "+", "-")
    chart = Text()
    for row in range(_ROWS):
        chart.append(f"{labels.get(row, ''):>{margin}} {upright}", style="dim")
        for column in range(columns):
            style = COLOURS[owner[row, column] % len(COLOURS)] if owner[row, column] >= 0 else ""
            chart.append(str(cells[row, column]), style=style)
        chart.append("\n")
    chart.append(" " * margin + f" {corner}{dash * columns}\n", style="dim")
    axes = [("steps" if comparison.axis.x == STEPS else comparison.axis.label, 1.0)]
    if comparison.frames_above is not None:
        axes.append(("frames", comparison.frames_above))
    for name, scale in axes:
        line = _axis(columns, name, last * scale)
        chart.append(" " * (margin + 2) + line + "\n", style="dim")
    return chart


def _draw_curve(
    curve: Curve, heights: tuple[float, float], last: float, columns: int, letter: str | None
) -> NDArray[np.str_]:
    """(_ROWS, columns) characters: the letter, or braille dots without one; blank elsewhere.

    Args:
        heights: the values at the lowest and the highest row.
        last: the place on the axis at the right edge.
    """
    low, high = heights
    across, down = (2, 4) if letter is None else (1, 1)
    at = np.linspace(0.0, last, columns * across)
    inside = (at >= curve.at[0]) & (at <= curve.at[-1])
    if not inside.any():  # a single early point
        inside[np.abs(at - curve.at[-1]).argmin()] = True
    height = (high - np.interp(at, curve.at, curve.center)) / (high - low)
    rows = np.rint(height * (_ROWS * down - 1)).astype(int)
    blocks = _trace(rows, inside, _ROWS * down).reshape(_ROWS, down, columns, across)
    hit = blocks.any(axis=(1, 3))
    cells = np.full((_ROWS, columns), " ", dtype="<U1")
    if letter is None:
        bits = (blocks * _BITS[None, :, None, :]).sum(axis=(1, 3))
        cells[hit] = np.vectorize(lambda b: chr(0x2800 + b), otypes=["<U1"])(bits[hit])
    else:
        cells[hit] = letter
    return cells


def _trace(rows: NDArray[np.int64], inside: NDArray[np.bool_], height: int) -> NDArray[np.bool_]:
    """The dots of a line through one row per column, without gaps."""
    grid = np.zeros((height, len(rows)), dtype=bool)
    before = rows[np.maximum(np.arange(len(rows)) - 1, np.flatnonzero(inside)[0])]
    for column in np.flatnonzero(inside):
        top, bottom = sorted((int(before[column]), int(rows[column])))
        grid[top : bottom + 1, column] = True
    return grid


def _axis(columns: int, name: str, last: float) -> str:
    """`0        steps        60k`, with the middle's value where there is room."""
    middle, end = (f"{x:.3g}" if x < 1000 else short_count(x) for x in (last / 2, last))
    middle += f" {name}"
    left = "0" + middle.rjust(columns // 2 + len(middle) // 2 - 1)
    return left + end.rjust(columns - len(left))
