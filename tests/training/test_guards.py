"""Guards: each speaks when its trouble is there, once, and is silent on a run that does well."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from a2c_cli import TrainConfig, train
from a2c_cli.training.guards import FIRST, Guards, steps_between_looks

MOST = math.log(4)
POOR = [1.0, 2.0] * 50
START = [1.0, 2.0] * (FIRST // 2)
FINE = {"train/entropy": 0.8, "train/top_action_share": 0.5, "train/value_loss": 0.1}


def watch(line: dict[str, float], returns: list[float], spent: float = 0.1) -> list[str]:
    guards = Guards()
    for episode_return in START:
        guards.add_episode(episode_return)
    for _ in range(5):
        assert guards.check(FINE, POOR, 0.05, MOST) == []
    said = guards.check({**FINE, **line}, returns, spent, MOST)
    assert guards.check({**FINE, **line}, returns, spent, MOST) == []  # once is enough
    return said


def test_collapsed_entropy() -> None:
    (text,) = watch({"train/entropy": 0.001}, POOR)
    assert "entropy has collapsed to 0.001 of 1.39 nats" in text
    assert "--entropy-coef" in text
    assert watch({"train/entropy": 0.001}, [9.0, 11.0] * 50) == []  # it has solved its task
    assert watch({"train/entropy": 0.05}, POOR) == []


def test_one_action() -> None:
    (text,) = watch({"train/top_action_share": 0.995}, POOR)
    assert "99.5 % of the time" in text
    assert watch({"train/top_action_share": 0.995}, [9.0, 11.0] * 50) == []  # Freeway: always up


def test_no_better_than_random() -> None:
    assert watch({}, POOR, spent=0.49) == []
    (text,) = watch({}, POOR, spent=0.51)
    assert "the mean return is 1.5, no better than the untrained policy's 1.5" in text
    assert watch({}, [2.0, 3.0] * 50, spent=0.51) == []


def test_too_few_episodes_tell_nothing() -> None:
    assert watch({}, POOR[:99], spent=0.9) == []


def test_without_the_first_episodes_nothing_is_said_of_them() -> None:
    assert Guards().check(FINE, POOR, 0.6, MOST) == []


def test_value_error() -> None:
    (text,) = watch({"train/value_loss": 11.0}, POOR)
    assert "a loss of 11, usually 0.1" in text
    assert watch({"train/value_loss": 9.0}, POOR) == []
    assert watch({"train/value_loss": 11.0}, [9.0, 11.0] * 50) == []


def test_a_first_reward_is_no_value_error() -> None:
    guards = Guards()
    for _ in range(5):
        guards.check({**FINE, "train/value_loss": 2e-6}, POOR, 0.05, MOST)
    assert guards.check({**FINE, "train/value_loss": 9e-4}, POOR, 0.1, MOST) == []  # Freeway
    (text,) = guards.check({**FINE, "train/value_loss": 2.0}, POOR, 0.1, MOST)
    assert "the value error explodes" in text


def test_a_layer_whose_units_are_dead() -> None:
    guards = Guards()
    line = {**FINE, "train/dead_units_conv1": 0.4, "train/dead_units_hidden1": 0.3}
    assert guards.check({**line, "train/dead_units": 0.4}, POOR, 0.1, MOST) == []
    line |= {"train/dead_units": 1.0, "train/dead_units_conv1": 1.0}
    (text,) = guards.check(line, POOR, 0.1, MOST)
    assert "100 % of the units of conv1 are dead: the network is blind" in text
    assert guards.check(line, POOR, 0.1, MOST) == []


def test_natural_steps_that_are_rejected() -> None:
    assert watch({"train/rejected_steps": 0.4}, POOR) == []
    (text,) = watch({"train/rejected_steps": 0.6}, POOR)
    assert "60 % of the natural steps were rejected" in text
    assert watch({"train/rejected_steps": 0.6}, [9.0, 11.0] * 50) == []


def test_a_gaussian_has_no_greatest_entropy() -> None:
    guards = Guards()
    assert guards.check({"train/entropy": -7.0}, [], 0.1, None) == []


def test_whole_episodes_where_none_ends(tmp_path: Path) -> None:
    config = TrainConfig(env="tiny/Endless-v0", total_steps=10_000, n_steps=0, log_every=5_000)
    result = train(config, run_dir=tmp_path / "run")
    assert result.updates == 0
    (text,) = [text for text in result.warnings if "--n-steps 0" in text]
    assert "no episode has ended in 10,000 steps" in text


def test_a_fall() -> None:
    guards = Guards()
    for episode_return in START:
        guards.add_episode(episode_return)
    assert guards.check(FINE, [100.0] * (FIRST - 1), 0.3, MOST) == []  # so few are luck
    assert guards.check(FINE, [40.0, 42.0] * 50, 0.4, MOST) == []
    assert guards.check(FINE, [14.0, 16.0] * 50, 0.5, MOST) == []
    (text,) = guards.check(FINE, [13.0, 15.0] * 50, 0.5, MOST)
    assert "has fallen from 41 to 14" in text


def test_an_evaluation_above_the_training_mean_is_no_fall(tmp_path: Path) -> None:
    config = TrainConfig(
        env="CartPole-v1", total_steps=10_000, log_every=1000, eval_every=5000, eval_episodes=2,
        best_by="evaluation", seed=1,
    )  # fmt: skip
    result = train(config, run_dir=tmp_path / "run")
    assert not any("fallen" in text for text in result.warnings)


@pytest.mark.slow
def test_a_run_that_really_collapses(tmp_path: Path) -> None:
    config = TrainConfig(
        env="CartPole-v1", total_steps=12_000, log_every=2000, learning_rate=0.05, entropy_coef=0.0,
        policy_step="gradient", entropy_floor=0.0,
    )  # fmt: skip
    warnings = " ".join(train(config, run_dir=tmp_path / "run").warnings)
    assert "no longer explores" in warnings
    assert "no better than the untrained policy's" in warnings


def test_a_network_that_really_goes_blind(tmp_path: Path) -> None:
    config = TrainConfig(
        env="CartPole-v1", total_steps=6000, log_every=200, learning_rate=1.0, activation="relu",
        policy_step="gradient",
        learning_rate_schedule="constant",
    )  # fmt: skip
    warnings = " ".join(train(config, run_dir=tmp_path / "run").warnings)
    assert "are dead: the network is blind" in warnings


@pytest.mark.slow
def test_a_run_that_does_well_hears_nothing(tmp_path: Path) -> None:
    config = TrainConfig(env="CartPole-v1", total_steps=20_000, log_every=2000)
    assert train(config, run_dir=tmp_path / "run").warnings == ()


def test_a_short_run_has_a_curve_and_is_looked_at_ten_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(
        Guards, "check", lambda self, entry, *_: looks.append(entry) or []  # type: ignore[func-returns-value]
    )  # fmt: skip
    config = TrainConfig(env="CartPole-v1", total_steps=4000, n_steps=32, policy_step="gradient")
    halted = iter([None] * 2500 + ["interrupted"])
    train(config, run_dir=tmp_path / "run", should_stop=lambda: next(halted, None))
    train(resume=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    logged = [line["env_steps"] for line in lines if "episode" not in line]
    assert logged == list(range(40, 4001, 40))
    assert len(looks) == 4  # no more often than every 1,000 steps, through a resume too
    last = [line["train/entropy"] for line in lines if "train/entropy" in line][-25:]
    assert min(last) <= looks[-1]["train/entropy"] <= max(last)


def test_long_runs_are_looked_at_every_ten_thousand_steps() -> None:
    spans = [steps_between_looks(total) for total in (500, 12_000, 2_500_000)]
    assert spans == [1000, 1200, 10_000]
