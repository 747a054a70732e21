"""What curves are drawn over, averaged over, and called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from process import Outcome
from written_runs import EVERY, write_run

from a2c_cli.errors import A2CError
from a2c_cli.plots.comparison import Comparison, compare, summarize_group
from a2c_cli.plots.figures import caption
from a2c_cli.plots.view import View
from a2c_cli.runs.metrics import read_runs

RETURNS = [float(i) for i in range(150)]


def drawn(view: View, *paths: Path) -> Comparison:
    [comparison] = compare(read_runs(list(paths))[0], view)[0]
    return comparison


def timed(path: Path, seconds_a_step: float, frame_skip: int = 1) -> Path:
    lines = [{"env_steps": s, "time/elapsed": s * seconds_a_step} for s in (2500, 5000, 7500)]
    more = "".join(json.dumps(line) + "\n" for line in lines)
    return write_run(path, RETURNS, frame_skip=frame_skip, more=more)


@pytest.mark.parametrize(
    ("x", "end", "label"),
    [("steps", 7500.0, "agent steps"), ("frames", 30_000.0, "frames"),
     ("episodes", 150.0, "episodes"), ("time", 2.5, "hours of training")],
)  # fmt: skip
def test_the_same_curve_over_another_axis(tmp_path: Path, x: str, end: float, label: str) -> None:
    comparison = drawn(View(x=x), timed(tmp_path / "run", 1.2, frame_skip=4))
    curve = comparison.groups[0].returns
    assert curve.at[-1] == pytest.approx(end)
    assert curve.at[0] == pytest.approx(end / 150)
    assert comparison.end == pytest.approx(end)
    assert comparison.axis.label == label
    assert comparison.frames_above == (4.0 if x == "steps" else None)
    entropy = comparison.groups[0].series["train/entropy"]
    assert entropy.at[-1] == pytest.approx(end)


def test_what_is_said_of_a_run_does_not_depend_on_how_it_is_drawn(tmp_path: Path) -> None:
    path = timed(tmp_path / "run", 0.001)
    plain = summarize_group(drawn(View(), path).groups[0])
    assert plain["mean_return_100"] == np.mean(RETURNS[-100:])
    assert plain == summarize_group(drawn(View(x="time", window=3), path).groups[0])


def test_fewer_episodes_in_the_mean(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", RETURNS)
    by_three, single = drawn(View(window=3), path), drawn(View(window=1), path)
    assert by_three.groups[0].returns.center[-1] == 148.0
    np.testing.assert_array_equal(single.groups[0].returns.center, RETURNS)
    assert "mean return of the last 3 episodes" in caption([by_three])
    assert "Line: return of each episode" in caption([single])


def test_times_that_nobody_noted(tmp_path: Path) -> None:
    with pytest.raises(A2CError, match="has no times"):
        drawn(View(x="time"), write_run(tmp_path / "run", RETURNS))


def test_names_tell_equal_runs_apart_and_unequal_ones_still_differ(
    cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    for name in ("old", "new"):
        for gamma in (0.9, 0.99) if name == "new" else (0.9,):
            write_run(tmp_path / name / str(gamma), [1.0] * 9, gamma=gamma)
    paths = [tmp_path / "old", tmp_path / "new"]
    done = cli("plot", *paths, "--label", "yesterday", "--label", "today", "--json")
    groups = json.loads(done.stdout)["groups"]
    labels = [group["label"] for group in groups]
    assert labels == ["yesterday", "today, gamma=0.9", "today, gamma=0.99"]
    assert all(len(group["runs"]) == 1 for group in groups)
    done = cli("plot", *paths, "--label", "one")
    assert done.code == 2
    assert "there are 1 labels for 2 paths" in done.stderr


@pytest.mark.parametrize("suffix", ["svg", "html", ""])
def test_a_title_stands_above_it_all(
    cli: Callable[..., Outcome], tmp_path: Path, suffix: str
) -> None:
    runs = [write_run(tmp_path / env, [1.0] * 9, env=f"{env}-v0") for env in "AB"]
    file = tmp_path / f"x.{suffix}"
    more = ["--output", file] if suffix else []
    done = cli("plot", *runs, "--title", "Two <worlds>", "--smooth", 5, *more)
    assert done.code == 0, done.stderr
    if suffix == "html":
        assert "<h1>Two &lt;worlds&gt;</h1>" in file.read_text()
    elif suffix == "":
        assert done.stdout.splitlines()[0] == "Two <worlds>"
    else:
        assert "<!-- Two &lt;worlds&gt; -->" in file.read_text()


def test_an_axis_that_there_is_not(cli: Callable[..., Outcome], cartpole_run: Path) -> None:
    done = cli("plot", cartpole_run, "--x", "games")
    assert done.code == 2
    assert "--x takes one of: steps, frames, episodes, time" in done.stderr


def test_steps_are_the_default(tmp_path: Path) -> None:
    assert drawn(View(), write_run(tmp_path / "run", RETURNS)).end == EVERY * len(RETURNS)
