"""What the best checkpoint means: the training mean, or an evaluation that was confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compare_runs import assert_same_run, metrics, stop_after

from a2c_cli import TrainConfig, train
from a2c_cli.errors import ConfigError
from a2c_cli.runs.checkpoint import read_header

JUDGED: dict[str, Any] = {
    "env": "tiny/Chain-v0", "total_steps": 900, "n_steps": 25, "learning_rate": 5e-3,
    "reward_transform": "none", "log_every": 300, "eval_every": 100, "eval_episodes": 2,
    "best_by": "evaluation", "seed": 5,
}  # fmt: skip
BANDIT = {**JUDGED, "env": "tiny/Bandit-v0", "eval_episodes": 10}


@pytest.mark.parametrize("config", [BANDIT, pytest.param(JUDGED, marks=pytest.mark.slow)])
def test_the_best_is_an_evaluation_that_a_second_one_confirmed(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    train(TrainConfig(**config), run_dir=run)
    best, at, confirmations = None, 0, 0
    for line in metrics(run):
        if "eval/mean_reward" not in line:
            continue
        candidate = best is None or line["eval/mean_reward"] > best
        assert ("eval/confirmed_mean_reward" in line) == candidate
        if candidate:
            confirmations += 1
            if best is None or line["eval/confirmed_mean_reward"] > best:
                best, at = line["eval/confirmed_mean_reward"], line["env_steps"]
    header, _ = read_header(run / "best.safetensors")
    assert (header.best_mean_return, header.env_steps) == (best, at)
    assert read_header(run / "last.safetensors")[0].best_mean_return == best
    assert 1 <= confirmations < 9  # some evaluations are no better than the best


def test_evaluations_of_a_stream_without_an_end_are_as_long_as_what_lies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2c_cli.training.best._FEWEST_STEPS", 20)
    settings: dict[str, Any] = {"total_steps": 100, "eval_episodes": 2, "policy_step": "gradient"}
    for name, every, reward in (("Endless", 10, 20.0), ("Endless", 50, 50.0), ("Mortal", 50, 20.0)):
        run = tmp_path / f"{name}{every}"
        train(TrainConfig(env=f"tiny/{name}-v0", eval_every=every, **settings), run_dir=run)
        means = [m["eval/mean_reward"] for m in metrics(run) if "eval/mean_reward" in m]
        assert means == [reward] * (100 // every)


def test_a_lucky_draw_is_not_called_best(tmp_path: Path) -> None:
    """Few episodes of a bandit vary much: some first means must not hold, and then do not count."""
    run = tmp_path / "run"
    untaught = {
        "policy_step": "gradient",
        **BANDIT,
        "learning_rate": 1e-6,
        "eval_every": 30,
        "eval_episodes": 4,
        "seed": 1,
    }
    train(TrainConfig(**untaught), run_dir=run)
    lines = [m for m in metrics(run) if "eval/confirmed_mean_reward" in m]
    pairs = [(m["eval/mean_reward"], m["eval/confirmed_mean_reward"]) for m in lines]
    assert any(second < first for first, second in pairs)
    best = read_header(run / "last.safetensors")[0].best_mean_return
    assert best == max(second for _, second in pairs) < max(m["eval/mean_reward"] for m in lines)


def test_the_best_is_the_same_after_stops_in_the_middle_of_evaluations(tmp_path: Path) -> None:
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    train(TrainConfig(**JUDGED), run_dir=straight)
    for number, (calls, at) in enumerate([(105, 100), (3, 100), (12, 100)]):
        source: dict[str, Any] = {"resume": pieces}
        if number == 0:
            source = {"config": TrainConfig(**JUDGED), "run_dir": pieces}
        # The question is asked once a step, in evaluations too.
        assert train(**source, should_stop=stop_after(calls)).env_steps == at
    train(resume=pieces)
    assert_same_run(straight, pieces)
    first, second = (read_header(p / "best.safetensors")[0] for p in (straight, pieces))
    assert first.env_steps == second.env_steps


def test_by_evaluation_needs_evaluations(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--best-by evaluation needs evaluations"):
        TrainConfig(env="CartPole-v1", best_by="evaluation")
    with pytest.raises(ConfigError, match="--best-by evaluation"):
        TrainConfig(env="CartPole-v1", best_by="evaluation", eval_every=0)
    run = tmp_path / "run"
    train(TrainConfig(**{**BANDIT, "total_steps": 50}), run_dir=run)
    with pytest.raises(ConfigError, match="--best-by cannot be changed"):
        train(resume=run, changes={"best_by": "training"})
