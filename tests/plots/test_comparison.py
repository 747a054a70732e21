"""Which runs become one curve, what the curves are called, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_runs import EVERY, write_run

from a2c_cli import TrainConfig, train
from a2c_cli.config.defaults import PRESETS
from a2c_cli.config.resolve import fewest, resolve
from a2c_cli.config.text import from_dict, to_dict
from a2c_cli.evaluation.statistics import bootstrap_ci, iqm
from a2c_cli.plots.comparison import Comparison, aggregate, compare, summarize_group
from a2c_cli.plots.labels import by_preset, differing
from a2c_cli.runs.metrics import read_runs
from a2c_cli.text import short_count


def compared(*paths: Path) -> tuple[list[Comparison], list[str]]:
    return compare(read_runs(list(paths))[0])


def test_runs_that_differ_in_their_seed_are_one_group(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / f"{rate}-{seed}", [1.0] * 9, seed=seed, learning_rate=rate,
                  actor_learning_rate=rate, threads=1 + seed)
        for rate in (0.01, 0.002)
        for seed in (2, 0, 1)
    ]  # fmt: skip
    [comparison], notes = compared(*paths)
    assert notes == []
    labels = [(group.label, group.number, len(group.runs)) for group in comparison.groups]
    assert labels == [("learning_rate=0.002", 0, 3), ("learning_rate=0.01", 1, 3)]
    assert [run.seed for run in comparison.groups[0].runs] == [0, 1, 2]


def test_each_environment_has_a_comparison_and_a_label_one_meaning(tmp_path: Path) -> None:
    arguments: list[dict[str, Any]] = [
        {"env": "ALE/Pong-v5", "gamma": 0.9, "frame_skip": 4},
        {"env": "CartPole-v1", "gamma": 0.9},
        {"env": "CartPole-v1", "gamma": 0.99},
    ]
    comparisons, _ = compared(
        *(write_run(tmp_path / str(i), [1.0, 2.0], **kw) for i, kw in enumerate(arguments))
    )
    assert [comparison.env_id for comparison in comparisons] == ["ALE/Pong-v5", "CartPole-v1"]
    assert [[(g.label, g.number) for g in comparison.groups] for comparison in comparisons] == [
        [("gamma=0.9", 0)],
        [("gamma=0.9", 0), ("gamma=0.99", 1)],
    ]
    assert comparisons[0].frame_skip == 4.0
    assert comparisons[0].reference == (-20.7, 14.6)
    assert comparisons[1].reference is None


def test_environment_arguments_tell_runs_apart(tmp_path: Path) -> None:
    [comparison], _ = compared(
        write_run(tmp_path / "a", [1.0], env_args={"mode": 1}),
        write_run(tmp_path / "b", [1.0]),
    )
    assert [group.label for group in comparison.groups] == ["mode=1", "mode=unset"]


def test_settings_that_follow_another_are_not_repeated() -> None:
    groups = [{"a": 1, "b": 0.1, "c": 0.1}, {"a": 1, "b": 0.2, "c": 0.2}]
    assert differing(groups) == ["b"]
    assert differing([*groups, {"a": 1, "b": 0.2, "c": 0.1}]) == ["b", "c"]
    assert differing(groups[:1]) == []


def test_runs_are_called_by_what_was_asked_for_not_by_what_follows_from_it(
    tmp_path: Path,
) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"policy_step": "gradient"},
        {"policy_step": "gradient", "n_steps": 16},
    ]
    for i, values in enumerate(asked):
        config = TrainConfig(env="CartPole-v1", total_steps=200, **values)
        train(config, run_dir=tmp_path / str(i))
    [comparison], _ = compared(*(tmp_path / str(i) for i in range(3)))
    assert [group.label for group in comparison.groups] == [
        "policy_step=gradient, n_steps=16",
        "policy_step=gradient, n_steps=32",
        "policy_step=natural, n_steps=1024",
    ]
    [comparison], _ = compared(tmp_path / "0", tmp_path / "1")
    assert [g.label for g in comparison.groups] == ["policy_step=gradient", "policy_step=natural"]


def test_a_preset_is_one_word() -> None:
    recipe = {"env": "ALE/Pong-v5", "total_steps": 50_000, **PRESETS["notebook"]}
    run = resolve(from_dict(recipe), "atari")
    preset, others = by_preset(to_dict(run), to_dict(fewest(run, "atari")))
    assert preset == "notebook"
    assert others == {"env": "ALE/Pong-v5", "env_args": {}, "seed": 0, "total_steps": 50_000}
    other = resolve(from_dict({**recipe, "gamma": 0.9}), "atari")
    assert by_preset(to_dict(other), {"gamma": 0.9}) == (None, {"gamma": 0.9})


def test_of_two_runs_with_one_seed_the_longer_counts(tmp_path: Path) -> None:
    short = write_run(tmp_path / "short", [1.0] * 3)
    long = write_run(tmp_path / "long", [1.0] * 5)
    [comparison], notes = compared(short, long)
    assert [run.path for run in comparison.groups[0].runs] == [long]
    assert notes == [f"{short} left out: {long} has the same settings and seed"]


def test_a_curve_ends_with_the_shortest_run_and_says_so(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / str(n), [1.0] * n, seed=n) for n in (10, 20)]
    [comparison], [note] = compared(*paths)
    assert comparison.groups[0].returns.at[-1] == 10 * EVERY
    assert "ends at step 500" in note


def test_a_curve_is_the_interquartile_mean_with_its_interval() -> None:
    rng = np.random.default_rng(1)
    steps = np.arange(1.0, 101.0)
    values = rng.normal(size=(5, 100)).cumsum(axis=1)
    curve = aggregate([(steps, v) for v in values])
    assert curve.low is not None
    assert curve.high is not None
    assert (curve.at[0], curve.at[-1]) == (1.0, 100.0)
    for i in (0, 101, len(curve.at) - 1):
        column = np.array([np.interp(curve.at[i], steps, v) for v in values])
        assert curve.center[i] == pytest.approx(iqm(column))
        assert (curve.low[i], curve.high[i]) == pytest.approx(bootstrap_ci(column, iqm))
    assert (curve.low <= curve.center).all()
    assert (curve.center <= curve.high).all()


def test_one_run_has_no_interval_and_keeps_its_own_points() -> None:
    steps, values = np.array([3.0, 5.0, 9.0]), np.array([1.0, 0.0, 2.0])
    curve = aggregate([(steps, values)])
    assert curve.low is None
    np.testing.assert_array_equal(curve.at, steps)
    np.testing.assert_array_equal(curve.center, values)
    many = aggregate([(np.arange(10_000.0), np.arange(10_000.0))])
    assert len(many.at) < 1000
    np.testing.assert_allclose(many.center, many.at)


def test_runs_without_common_steps_still_have_a_point() -> None:
    curve = aggregate([(np.array([1.0, 2.0]), np.zeros(2)), (np.array([5.0]), np.ones(1))])
    assert curve.at.tolist() == [2.0]
    assert curve.center.tolist() == [0.5]


def test_a_stream_without_episodes_is_drawn_by_its_reward_rate(tmp_path: Path) -> None:
    config = TrainConfig(env="tiny/Endless-v0", total_steps=60, log_every=20)
    train(config, run_dir=tmp_path / "a")
    [comparison], [note] = compared(tmp_path / "a")
    assert "drawn is the mean reward of a step" in note
    summary = summarize_group(comparison.groups[0])
    assert (summary["mean_return_100"], summary["reward_rate"]) == (None, 1.0)
    assert comparison.groups[0].returns.at.tolist() == [20.0, 40.0, 60.0]


def test_a_summary_is_the_last_point(tmp_path: Path) -> None:
    [comparison], _ = compared(
        *(write_run(tmp_path / str(s), [float(s)] * 9, seed=s, frame_skip=4) for s in range(3))
    )
    summary = summarize_group(comparison.groups[0])
    assert summary["mean_return_100"] == pytest.approx(1.0)
    assert summary["ci95"] == pytest.approx([0.0, 2.0], abs=0.4)
    assert (summary["env_steps"], summary["frames"]) == (9 * EVERY, 36 * EVERY)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (500, "500"), (2500, "2.5k"), (20_000, "20k"), (5e5, "0.5M"), (1e6, "1M"),
     (1.25e6, "1.25M"), (4e7, "40M"), (1.2e9, "1.2B")],
)  # fmt: skip
def test_steps_are_written_short(value: float, shown: str) -> None:
    assert short_count(value) == shown
