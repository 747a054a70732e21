"""Pictures: the files are what their names say, and show what is in the runs."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from written_runs import write_run

from a2c_cli.plots.axes import RETURNS, draw_chart
from a2c_cli.plots.comparison import Comparison, compare
from a2c_cli.plots.figures import PAPER, caption, chart_svg, draw
from a2c_cli.runs.metrics import read_runs

BREAKOUT = {"env": "ALE/Breakout-v5", "frame_skip": 4}


def comparisons_of(*paths: Path) -> list[Comparison]:
    return compare(read_runs(list(paths))[0])[0]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> list[Comparison]:
    """Three seeds each of two step sizes on Breakout, with returns from 0 to 20."""
    place = tmp_path_factory.mktemp("sweep")
    returns = np.arange(200) / 10 + np.random.default_rng(0).normal(size=(3, 200))
    return comparisons_of(
        *(
            write_run(place / f"{rate}-{seed}", returns[seed].tolist(),
                      seed=seed, learning_rate=rate, **BREAKOUT)
            for rate in (0.001, 0.002)
            for seed in range(3)
        )
    )  # fmt: skip


def texts(svg: str) -> list[str]:
    return [
        " ".join(node.itertext()).strip()
        for node in ElementTree.fromstring(svg).iter()
        if node.tag.endswith("text")
    ]


def test_each_suffix_gives_such_a_file_and_always_the_same(sweep: list[Comparison]) -> None:
    for suffix, start in (("png", b"\x89PNG\r\n"), ("pdf", b"%PDF-"), ("svg", b"<?xml")):
        data = draw(sweep, suffix)
        assert data.startswith(start)
        assert draw(sweep, suffix) == data


def test_the_chart_of_returns_shows_curves_points_and_references(sweep: list[Comparison]) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    draw_chart(axes, sweep[0], RETURNS, PAPER)
    points = [line for line in axes.lines if line.get_marker() == "."]
    assert len(points) == 6
    assert sum(len(line.get_xdata()) for line in points) == 6 * 200
    bold = [line for line in axes.lines if line.get_linewidth() == 1.8]
    for group, line in zip(sweep[0].groups, bold, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), group.returns.center)
    assert len(axes.collections) == 2  # two bands
    assert [text.get_text() for text in axes.texts] == ["random 1.7", "human 30.5"]
    assert axes.get_xlim() == (0, 10_000)
    [frames] = axes.child_axes
    figure.draw_without_rendering()
    assert frames.get_xlim() == (0, 40_000)
    assert frames.get_xlabel() == "frames"


def test_a_reference_far_away_does_not_press_the_curve_flat(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [0.0, 50.0, 90.0], env="ALE/Seaquest-v5", frame_skip=4)
    axes = Figure().add_subplot()
    draw_chart(axes, comparisons_of(run)[0], RETURNS, PAPER)
    assert axes.get_ylim()[1] < 150
    assert [text.get_text() for text in axes.texts] == [
        "random 68.4",
        "human 42,054.7, above this range",
    ]


def test_entropy_stands_against_its_maximum(cartpole_run: Path) -> None:
    axes = Figure().add_subplot()
    draw_chart(axes, comparisons_of(cartpole_run)[0], "train/entropy", PAPER)
    assert [text.get_text() for text in axes.texts] == ["maximum 0.69"]
    low, high = axes.get_ylim()
    assert -0.05 < low <= 0.0
    assert high > np.log(2)


def test_a_coefficient_of_zero_stands_on_the_ground(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [1.0] * 9)
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('coef": 0.01', 'coef": 0'))
    axes = Figure().add_subplot()
    draw_chart(axes, comparisons_of(run)[0], "train/entropy_coef", PAPER)
    low, high = axes.get_ylim()
    assert -0.1 < low <= 0.0 < high


def test_a_loss_that_falls_by_orders_has_a_logarithmic_axis(tmp_path: Path) -> None:
    falling = comparisons_of(write_run(tmp_path / "long", [1.0] * 600))[0]
    level = comparisons_of(write_run(tmp_path / "short", [1.0] * 20))[0]
    scales = []
    for comparison in (falling, level):
        axes = Figure().add_subplot()
        draw_chart(axes, comparison, "train/value_loss", PAPER)
        scales.append(axes.get_yscale())
    assert scales == ["log", "linear"]


def test_a_chart_for_a_page_takes_its_colours_from_the_page(sweep: list[Comparison]) -> None:
    for name in (RETURNS, *sweep[0].series):
        svg = chart_svg(sweep[0], name, 400, 250)
        ElementTree.fromstring(svg)
        assert "#0102" not in svg
        for variable in ("--ink", "--muted", "--line", "--c1", "--c2"):
            assert f"var({variable})" in svg, (name, variable)
        assert not re.findall(r'="(?:https?:)?//(?!www\.w3\.org/)', svg)
    assert {"episode return", "agent steps", "frames"} <= set(
        texts(chart_svg(sweep[0], RETURNS, 400, 250))
    )


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    name = "$\\frac{</svg><script>alert(1)</script>&\"' \x1b[31m 漢字"
    paths = [
        write_run(tmp_path / str(i), [1.0, 2.0], env=name, network="a3c", gamma=i / 2,
                  env_args={"x": name})
        for i in range(2)
    ]  # fmt: skip
    comparisons = comparisons_of(*paths)
    for suffix in ("png", "svg", "pdf"):
        assert draw(comparisons, suffix)
    assert "<script" not in draw(comparisons, "svg").decode()
    assert "<script" not in chart_svg(comparisons[0], RETURNS, 400, 250)


def test_few_points_and_level_curves_are_drawn(tmp_path: Path) -> None:
    for i, returns in enumerate(([5.0], [0.0, 0.0], [-1e17, 1e17])):
        assert draw(comparisons_of(write_run(tmp_path / str(i), returns)), "png")


def test_many_environments_become_a_grid_of_returns(tmp_path: Path) -> None:
    games = ("Pong", "Breakout", "Qbert", "Boxing", "Freeway", "Alien")
    comparisons = comparisons_of(
        *(write_run(tmp_path / g, [1.0] * 20, env=f"ALE/{g}-v5", frame_skip=4) for g in games)
    )
    height = [
        int.from_bytes(draw(chosen, "png")[20:24], "big")
        for chosen in (comparisons[:2], comparisons)
    ]
    assert height[1] < 1.5 * height[0]


def test_the_caption_says_what_is_drawn(sweep: list[Comparison], cartpole_run: Path) -> None:
    assert caption(sweep) == (
        "Line: mean return of the last 100 episodes, interquartile mean over 3 seeds; band:"
        " pointwise 95 % bootstrap interval over seeds; thin lines: single seeds; points:"
        " single episodes. Intervals over three seeds are too narrow: 73 % of them hold the truth."
    )
    assert caption(comparisons_of(cartpole_run)) == (
        "Line: mean return of the last 100 episodes (one seed); points: single episodes."
    )
