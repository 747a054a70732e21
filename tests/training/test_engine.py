"""Training: it learns, it is deterministic, and a stopped run goes on as if nothing had been."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_runs import assert_same_run, metrics, stop_after, tensors
from process import run_python

from a2c_cli import TrainConfig, evaluate, load_agent, train
from a2c_cli.config.text import from_dict, from_toml, to_dict
from a2c_cli.errors import A2CError, CheckpointError, ConfigError, EnvError, RunDirError
from a2c_cli.runs.checkpoint import encode, read_checkpoint, read_header
from a2c_cli.runs.inspection import inspect
from a2c_cli.training.engine import Progress, TrainResult

ONE = np.ones(1, np.float32)


def train_in_pieces(config: TrainConfig, run: Path, stops: list[int]) -> TrainResult:
    """Stopped at those steps, each time resumed from the file alone."""
    at = 0
    for stop in stops:
        source: dict[str, Any] = {"config": config, "run_dir": run} if at == 0 else {"resume": run}
        result = train(**source, should_stop=stop_after(stop - at))
        assert (result.env_steps, result.stopped) == (stop, "interrupted")
        at = stop
    return train(resume=run)


# --- it learns


PLAIN: dict[str, Any] = {
    "normalize_obs": False, "reward_transform": "none", "policy_step": "gradient",
}  # fmt: skip


def test_a_stream_without_episodes_has_a_reward_rate_that_a_resume_keeps(tmp_path: Path) -> None:
    config = TrainConfig(
        env="tiny/Endless-v0", total_steps=90, log_every=40, policy_step="gradient"
    )
    assert train(config, run_dir=tmp_path / "a").reward_rate == 1.0
    train(config, run_dir=tmp_path / "b", should_stop=stop_after(50))
    result = train(resume=tmp_path / "b")
    assert (result.episodes, result.mean_return_100, result.reward_rate) == (0, None, 1.0)
    lines = (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["rollout/reward_rate"] for line in lines] == [1.0, 1.0, 1.0]


def test_a_success_rate_is_of_the_episodes_that_told_and_a_resume_keeps_it(tmp_path: Path) -> None:
    config = TrainConfig(
        env="tiny/Telling-v0", total_steps=260, log_every=40, eval_every=130, eval_episodes=6,
        policy_step="gradient",
    )  # fmt: skip
    run, whole = tmp_path / "run", train(config, run_dir=tmp_path / "whole")
    train(config, run_dir=run, should_stop=stop_after(190))
    assert train(resume=run).success_rate == whole.success_rate
    assert_same_run(run, tmp_path / "whole")
    lines = metrics(run)
    told = [x["charts/episodic_success"] for x in lines if "charts/episodic_success" in x]
    assert 100 < len(told) < 160
    assert lines[-1]["rollout/success_rate"] == whole.success_rate == sum(told[-100:]) / 100
    assert inspect(run / "last.safetensors")["success_rate"] == whole.success_rate
    assert [0.0 <= x["eval/success_rate"] <= 1.0 for x in lines if "eval/success_rate" in x]


def test_finds_the_best_arm_of_a_bandit(tmp_path: Path) -> None:
    config = TrainConfig(env="tiny/Bandit-v0", total_steps=2000, n_steps=16, learning_rate=1e-2,
                         **PLAIN)  # fmt: skip
    agent = load_agent(train(config, run_dir=tmp_path / "run").last)
    assert agent.act(ONE, greedy=True) == 1
    assert sum(agent.act(ONE) == 1 for _ in range(200)) > 180
    assert agent.value(ONE) == pytest.approx(0.8, abs=0.15)


def test_walks_straight_through_a_chain(tmp_path: Path) -> None:
    config = TrainConfig(env="tiny/Chain-v0", total_steps=4000, n_steps=16, learning_rate=5e-3,
                         reward_transform="none", policy_step="gradient")  # fmt: skip
    run = tmp_path / "run"
    assert train(config, run_dir=run).mean_return_100 == 1.0
    lengths = [m["charts/episodic_length"] for m in metrics(run) if "episode" in m]
    assert sum(lengths[-50:]) / 50 < 6.5  # 5 is the shortest way
    assert sum(lengths[:20]) / 20 > 15


STEADY: dict[str, Any] = {**PLAIN, "gamma": 0.9, "learning_rate": 1e-2, "total_steps": 6000}


@pytest.mark.parametrize("n_steps", [20, pytest.param(8, marks=pytest.mark.slow)])
def test_a_time_limit_is_not_a_death(tmp_path: Path, n_steps: int) -> None:
    """Reward 1 for ever is worth 1 / (1 - γ) = 10, though every episode is cut at 20 steps."""
    config = TrainConfig(env="tiny/Steady-v0", n_steps=n_steps, **STEADY)
    result = train(config, run_dir=tmp_path / "run")
    assert load_agent(result.last).value(ONE) == pytest.approx(10.0, abs=0.3)
    assert result.mean_return_100 == 20.0


def test_a_death_at_the_same_step_is_worth_clearly_less(tmp_path: Path) -> None:
    """The control of the test above: what V would be if the time limit were taken for a death."""
    config = TrainConfig(env="tiny/Mortal-v0", n_steps=20, **STEADY)
    result = train(config, run_dir=tmp_path / "run")
    assert 3.0 < load_agent(result.last).value(ONE) < 8.0
    assert result.mean_return_100 == 20.0


@pytest.mark.slow
def test_balances_a_pole(tmp_path: Path) -> None:
    result = train(TrainConfig(env="CartPole-v1", total_steps=30_000), run_dir=tmp_path / "run")
    assert result.mean_return_100 is not None
    assert result.mean_return_100 > 150


def test_a_longer_budget_is_in_the_settings_that_the_run_leaves(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="CartPole-v1", total_steps=50), run_dir=run)
    train(resume=run, changes={"total_steps": 60})
    assert "total_steps = 60\n" in (run / "config.toml").read_text()


def test_balances_a_pole_better_than_it_began(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = train(TrainConfig(env="CartPole-v1", total_steps=8000), run_dir=run)
    returns = [m["charts/episodic_return"] for m in metrics(run) if "episode" in m]
    assert sum(returns[:20]) / 20 < 40
    assert sum(returns[-20:]) / 20 > 70
    assert result.mean_return_100 == pytest.approx(sum(returns[-100:]) / len(returns[-100:]))


# --- what a run leaves


def test_a_run_leaves_checkpoint_metrics_and_settings(cartpole_run: Path) -> None:
    assert {p.name for p in cartpole_run.iterdir()} >= {
        "last.safetensors", "metrics.jsonl", "config.toml",
    }  # fmt: skip
    header, _ = read_header(cartpole_run / "last.safetensors")
    again = from_dict(from_toml((cartpole_run / "config.toml").read_text(), "config.toml"))
    assert to_dict(again) == to_dict(header.config)
    assert header.env_steps == 1500
    assert (
        header.updates
        == read_checkpoint(cartpole_run / "last.safetensors")[1]["learner.updates"].item()
    )


def test_metrics_bear_the_names_that_the_fields_tools_know(cartpole_run: Path) -> None:
    lines = [json.loads(x) for x in (cartpole_run / "metrics.jsonl").read_text().splitlines()]
    episodes = [line for line in lines if "charts/episodic_return" in line]
    intervals = [line for line in lines if "train/entropy" in line]
    assert [line["env_steps"] for line in intervals] == [500, 1000, 1500]
    assert set(intervals[0]) == {
        "env_steps", "frames", "updates", "episodes",
        "rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/reward_rate",
        "train/policy_loss", "train/value_loss", "train/entropy", "train/entropy_coef",
        "train/learning_rate", "train/explained_variance", "train/grad_norm",
        "train/top_action_share",
        "time/fps", "time/elapsed",
    }  # fmt: skip
    assert 0.0 < intervals[0]["train/entropy"] <= math.log(2) + 1e-6
    assert intervals[0]["train/learning_rate"] > intervals[-1]["train/learning_rate"] >= 0.0
    assert [line["episode"] for line in episodes] == list(range(1, len(episodes) + 1))
    lengths = [line["charts/episodic_length"] for line in episodes]
    assert [line["env_steps"] for line in episodes] == np.cumsum(lengths).tolist()
    assert lengths == [
        line["charts/episodic_return"] for line in episodes
    ]  # CartPole pays 1 a step


def test_returns_are_raw_scores_of_whole_games(tmp_path: Path) -> None:
    """The learner sees signs and lost lives; the log sees the score of the game."""
    from a2c_cli.algorithm.learner import Learner
    from a2c_cli.envs.make import make_env
    from a2c_cli.envs.stream import play

    run = tmp_path / "run"
    # Too small a step to learn from: whatever the default is, games stay short.
    config = TrainConfig(env="ALE/SpaceInvaders-v5", total_steps=800, seed=2, learning_rate=1e-7)
    train(config, run_dir=run)
    config = read_header(run / "last.safetensors")[0].config
    wrappers = {n: getattr(config, n) for n in ("frame_skip", "screen_size", "frame_stack",
                                                "noop_max")}  # fmt: skip
    env = make_env(config.env, {}, wrappers, seed=2)
    learner = Learner(config, env.spec)
    score, scores, signs, lives_lost = 0.0, [], 0.0, 0
    for t, step in enumerate(play(env, learner.act), 1):
        learner.learn(step, t / 800)
        score += step.reward
        signs += np.sign(step.reward)
        lives_lost += step.life_lost
        if step.episode_over:
            scores.append(score)
            score = 0.0
        if t == 800:
            break
    logged = [m["charts/episodic_return"] for m in metrics(run) if "episode" in m]
    assert logged == scores
    assert scores
    assert sum(scores) > signs  # what the learner saw, of the unfinished game too
    assert lives_lost > len(scores)


def test_the_best_checkpoint_has_the_highest_mean_so_far(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = TrainConfig(env="CartPole-v1", total_steps=4000, log_every=250,
                         policy_step="gradient")  # fmt: skip
    result = train(config, run_dir=run)
    assert result.best == run / "best.safetensors"
    best, last = (read_header(run / f"{n}.safetensors")[0] for n in ("best", "last"))
    means = [
        m["rollout/ep_rew_mean"]
        for m in metrics(run)
        if "train/entropy" in m and m["episodes"] >= 20
    ]
    assert last.best_mean_return == max(means)
    assert best.best_mean_return == best.mean_return_100 == max(means)


def test_evaluations_along_the_way_leave_the_training_as_it_was(tmp_path: Path) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    config = TrainConfig(env="CartPole-v1", total_steps=800, log_every=200)
    train(config, run_dir=plain)
    train(dataclasses.replace(config, eval_every=400, eval_episodes=2), run_dir=watched)
    for name, array in tensors(plain).items():
        np.testing.assert_array_equal(array, tensors(watched)[name], err_msg=name)
    scored = [m["env_steps"] for m in metrics(watched) if "eval/mean_reward" in m]
    assert scored == [400, 800]


def test_who_watches_is_told_where_the_run_stands(tmp_path: Path) -> None:
    seen: list[Progress] = []
    config = TrainConfig(env="CartPole-v1", total_steps=600, log_every=200)
    train(config, run_dir=tmp_path / "run", on_progress=seen.append)
    assert seen[0].env_steps == 0
    assert seen[-1].env_steps == seen[-1].total_steps == 600
    assert [p.env_steps for p in seen if p.logged][:2] == [200, 400]
    assert seen[-1].max_entropy == pytest.approx(math.log(2))


def test_the_library_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(TrainConfig(env="ALE/Pong-v5", total_steps=30), run_dir=tmp_path / "run")
    assert capfd.readouterr() == ("", "")


def test_without_a_place_a_run_gets_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = train(TrainConfig(env="CartPole-v1", total_steps=5, seed=4))
    assert result.run_dir.parent == Path("checkpoints")
    assert result.run_dir.name.startswith("CartPole-v1-seed4-")
    assert result.last.exists()


# --- same seed, same bits


SCRIPT = """
from a2c_cli import TrainConfig, train
train(TrainConfig(env="CartPole-v1", total_steps=1100, seed=5), run_dir="cartpole")
train(TrainConfig(env="ALE/Breakout-v5", total_steps=200, seed=5), run_dir="breakout")
"""


def test_the_same_seed_gives_the_same_bits_in_another_process(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    told = SCRIPT + "import sys; print('torch._dynamo' in sys.modules)"
    done = run_python("-c", told, cwd=other)
    assert done.code == 0, done.stderr
    assert done.stdout == "False\n"  # torch's compiler: two seconds of every start
    here = SCRIPT.replace('run_dir="', f'run_dir="{tmp_path}/')
    exec(here, {})
    for name in ("cartpole", "breakout"):
        assert_same_run(tmp_path / name, other / name)


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    for seed in (1, 2):
        train(
            TrainConfig(env="CartPole-v1", total_steps=300, seed=seed), run_dir=tmp_path / f"{seed}"
        )
    one, two = tensors(tmp_path / "1"), tensors(tmp_path / "2")
    assert not np.array_equal(one["network.actor.weight"], two["network.actor.weight"])
    assert metrics(tmp_path / "1") != metrics(tmp_path / "2")


# --- stop and go on


RESUMED: list[Any] = [
    ("CartPole-v1", {"total_steps": 600}, [1, 17, 32, 333]),
    ("CartPole-v1", {"total_steps": 600, "n_steps": 0, "policy_step": "gradient"}, [5, 100, 431]),
    ("CartPole-v1", {"total_steps": 600, "n_steps": 90}, [4, 90, 91, 302]),
    ("CartPole-v1", {"total_steps": 600, "n_steps": 5, "segments_per_update": 3,
                     "policy_step": "gradient"}, [4, 5, 11, 302]),
    ("CartPole-v1", {"total_steps": 400, "optimizer": "rmsprop", "n_steps": 7,
                     "policy_step": "gradient",
                     "normalize_advantages": "running"}, [150]),
    ("Pendulum-v1", {"total_steps": 650}, [1, 199, 200, 417]),
    ("FrozenLake-v1", {"total_steps": 300}, [10, 111]),
    ("tiny/Noise-v0", {"total_steps": 200, "env_args": {"actions": "multibinary"}}, [34, 60]),
    ("tiny/Picture-v0", {"total_steps": 60, "n_steps": 7, "network": "8"},
     [9, 20]),
    ("ALE/Breakout-v5", {"total_steps": 420, "n_steps": 20}, [1, 20, 133, 301]),
    pytest.param("ALE/Breakout-v5", {"total_steps": 320, "n_steps": 0}, [100, 250],
                 marks=pytest.mark.slow),
    pytest.param("ALE/SpaceInvaders-v5", {"total_steps": 200, "n_steps": 10,
                 "segments_per_update": 3}, [14, 77], marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("env", "values", "stops"), RESUMED)
def test_a_run_that_is_stopped_and_resumed_is_the_run_that_was_not(
    tmp_path: Path, env: str, values: dict[str, Any], stops: list[int]
) -> None:
    config = TrainConfig(env=env, seed=6, log_every=50, **values)
    whole = train(config, run_dir=tmp_path / "whole")
    pieces = train_in_pieces(config, tmp_path / "pieces", stops)
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")
    assert pieces.stopped == whole.stopped == "completed"
    for name in ("env_steps", "frames", "updates", "episodes", "mean_return_100"):
        assert getattr(pieces, name) == getattr(whole, name)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """Lines of the log behind the checkpoint are written anew, not twice."""
    config = TrainConfig(env="CartPole-v1", total_steps=600, seed=1, log_every=50)
    train(config, run_dir=tmp_path / "whole")
    run = tmp_path / "killed"
    train(config, run_dir=run, should_stop=stop_after(200))
    kept = (run / "last.safetensors").read_bytes()
    train(resume=run, should_stop=stop_after(150))
    (run / "last.safetensors").write_bytes(kept)  # as if it had been killed before it saved
    train(resume=run)
    assert_same_run(tmp_path / "whole", run)


def test_a_finished_run_can_be_given_a_larger_budget(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="CartPole-v1", total_steps=100), run_dir=run)
    assert train(resume=run).env_steps == 100
    assert train(resume=run, changes={"total_steps": 150}).env_steps == 150
    assert read_header(run / "last.safetensors")[0].config.total_steps == 150


def test_only_what_nothing_depends_on_can_be_changed(cartpole_run: Path) -> None:
    with pytest.raises(ConfigError, match="--gamma cannot be changed on --resume"):
        train(resume=cartpole_run, changes={"gamma": 0.5})


def test_another_step_size_from_here_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    budget = {"total_steps": 400, "policy_step": "gradient", "critic_learning_rate": 7e-3}
    train(TrainConfig(env="CartPole-v1", **budget), run_dir=run, should_stop=stop_after(200))
    train(resume=run, changes={"learning_rate": 1e-9, "learning_rate_schedule": "constant"})
    config = read_header(run / "last.safetensors")[0].config
    rates = (config.learning_rate, config.actor_learning_rate, config.critic_learning_rate)
    assert rates == (1e-9, 1e-9, 7e-3)  # what followed the step size still does
    logged = [line["train/learning_rate"] for line in metrics(run) if "train/learning_rate" in line]
    assert logged[-1] == pytest.approx(1e-9)
    with pytest.raises(ConfigError, match="--learning-rate-end has no effect without"):
        train(resume=run, changes={"learning_rate_end": 0.5})


def test_an_environment_that_is_not_fixed_by_its_seed_goes_on_with_a_fresh_episode(
    tmp_path: Path,
) -> None:
    config = TrainConfig(env="tiny/Noise-v0", env_args={"seeded": False}, total_steps=50)
    train(config, run_dir=tmp_path / "run", should_stop=stop_after(20))
    result = train(resume=tmp_path / "run")
    assert result.env_steps == 50


def test_a_run_is_never_overwritten(cartpole_run: Path) -> None:
    before = (cartpole_run / "last.safetensors").read_bytes()
    with pytest.raises(RunDirError, match="already holds a run") as caught:
        train(TrainConfig(env="CartPole-v1", total_steps=5), run_dir=cartpole_run)
    assert "--resume" in caught.value.hint
    assert (cartpole_run / "last.safetensors").read_bytes() == before


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run at"):
        train(resume=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="not both"):
        train(TrainConfig(env="CartPole-v1"), resume=tmp_path)


@pytest.mark.parametrize("fault", ["raises in step", "nan reward", "nan observation"])
def test_an_environment_that_breaks_ends_the_run_with_its_name(tmp_path: Path, fault: str) -> None:
    config = TrainConfig(env="tiny/Faulty-v0", env_args={"fault": fault}, total_steps=50)
    with pytest.raises(EnvError, match="tiny/Faulty-v0"):
        train(config, run_dir=tmp_path / "run")
    read_checkpoint(tmp_path / "run" / "last.safetensors")  # the last good one is there


def test_a_wrong_request_leaves_no_directory(tmp_path: Path) -> None:
    for config in (
        TrainConfig(env="NoSuchEnv-v0"),
        TrainConfig(env="CartPole-v1", frame_skip=4),
        TrainConfig(env="ALE/Breakout-v5", screen_size=36, network="notebook", frame_stack=1,
                    env_args={"mode": 999}),
        TrainConfig(env="tiny/Odd-v0", env_args={"what": "dict"}),
    ):  # fmt: skip
        with pytest.raises(A2CError):
            train(config, run_dir=tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    config = TrainConfig(env="Pendulum-v1", total_steps=500, learning_rate=1e30, max_grad_norm=0.0,
                         optimizer="rmsprop", reward_transform="none",
                         policy_step="gradient")  # fmt: skip
    result = train(config, run_dir=tmp_path / "run")
    assert result.stopped == "diverged"
    assert "--learning-rate" in result.message
    assert all(np.isfinite(a).all() for n, a in tensors(tmp_path / "run").items()
               if n.startswith("network."))  # fmt: skip


def test_a_file_of_weights_only_is_no_run_to_go_on_with(cartpole_run: Path, tmp_path: Path) -> None:
    header, tensors = read_checkpoint(cartpole_run / "last.safetensors")
    weights = {n: t for n, t in tensors.items() if n.startswith(("network.", "normalizer."))}
    slim = tmp_path / "last.safetensors"
    slim.write_bytes(encode(header, weights))
    with pytest.raises(CheckpointError, match="holds weights only"):
        train(resume=slim)
    assert evaluate(slim, 2)["returns"] == evaluate(cartpole_run / "last.safetensors", 2)["returns"]
