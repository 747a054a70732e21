"""Curves in a terminal: they fit, they rise where the returns do, and ASCII is ASCII."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_runs import write_run

from a2c_cli.plots.comparison import Comparison, compare
from a2c_cli.plots.text_plot import draw_text
from a2c_cli.runs.metrics import read_runs


@pytest.fixture
def rising(tmp_path: Path) -> Comparison:
    """Two groups on Breakout: one rises, the other stays at 0."""
    rise = write_run(tmp_path / "a", [float(i) for i in range(80)], env="ALE/Breakout-v5",
                     frame_skip=4, gamma=0.9)  # fmt: skip
    stay = write_run(tmp_path / "b", [0.0] * 80, env="ALE/Breakout-v5", frame_skip=4, gamma=0.99)
    return compare(read_runs([rise, stay])[0])[0][0]


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("width", [40, 60, 97])
def test_a_chart_fits_its_width(rising: Comparison, width: int, dots: bool) -> None:
    lines = draw_text(rising, width, dots=dots).plain.splitlines()
    assert max(map(len, lines)) == width
    assert lines[-2].split() == ["0", "2k", "steps", "4k"]
    assert lines[-1].split() == ["0", "8k", "frames", "16k"]


def test_letters_show_each_group_where_it_is(rising: Comparison) -> None:
    text = draw_text(rising, 60, dots=False).plain
    assert text.isascii()
    rows = [line.partition("|")[2] for line in text.splitlines() if "|" in line]
    assert rows[0].rstrip().endswith("a")
    assert set(rows[-1].strip()) <= {"a", "b"}
    assert rows[-1].rstrip().endswith("b")
    heights = [min(i for i, row in enumerate(rows) if row[c] == "a") for c in (5, 20, 40, 50)]
    assert heights == sorted(heights, reverse=True)


def test_dots_leave_no_gap(rising: Comparison) -> None:
    text = draw_text(rising, 60, dots=True).plain
    rows = [line.partition("┤")[2] for line in text.splitlines() if "┤" in line]
    columns = ["".join(row[c] for row in rows).strip() for c in range(1, len(rows[0]))]
    assert all(columns)


def test_a_single_point_is_drawn(tmp_path: Path) -> None:
    [comparison] = compare(read_runs([write_run(tmp_path / "run", [5.0])])[0])[0]
    rows = draw_text(comparison, 60, dots=False).plain.splitlines()[:12]
    assert sum(row.count("a") for row in rows) == 1
