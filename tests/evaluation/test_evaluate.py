"""Evaluation: whole games, raw scores, and a result that depends on the seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import EVALUATE_KEYS as KEYS

from a2c_cli import TrainConfig, evaluate, load_agent, train
from a2c_cli.envs.make import make_env
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.evaluation.episodes import play_episodes
from a2c_cli.evaluation.statistics import wilson_ci
from a2c_cli.runs.loading import make_agent_env
from a2c_cli.terminal import results


def test_has_the_keys_that_scripts_rely_on(cartpole_run: Path) -> None:
    path = cartpole_run / "last.safetensors"
    result = evaluate(path, 13, seed=4)
    assert set(result) >= KEYS
    assert result["checkpoint"] == str(path)
    assert (result["env_id"], result["policy"]) == ("CartPole-v1", "sampled")
    assert (result["episodes"], result["seed"]) == (13, 4)
    assert len(result["returns"]) == len(result["lengths"]) == 13
    assert result["returns"] == result["lengths"]  # CartPole pays 1 a step
    returns = np.array(result["returns"])
    assert result["mean"] == pytest.approx(returns.mean())
    assert result["median"] == pytest.approx(np.median(returns))
    assert (result["min"], result["max"]) == (returns.min(), returns.max())
    low, high = result["ci95"]
    assert low <= result["mean"] <= high
    assert result["random_mean"] is None
    assert result["human_normalized"] is None
    assert result["protocol"]["step_limit"] == 500


def test_atari_scores_come_with_their_protocol_and_reference(breakout_run: Path) -> None:
    result = evaluate(breakout_run / "last.safetensors", 1, max_steps=5000)
    assert result["cut"] == 0
    protocol = result["protocol"]
    assert protocol["sticky_actions"] == 0.25
    assert (protocol["frame_skip"], protocol["noop_max"]) == (4, 30)
    assert protocol["frame_limit"] == 108_000
    assert protocol["fire_reset"] is False
    assert "ignored" in protocol["life_loss"]
    assert (protocol["rewards"], protocol["step_cap"]) == ("raw", 5000)
    assert result["random_mean"] == 1.7
    assert result["human_normalized"] == pytest.approx((result["mean"] - 1.7) / (30.5 - 1.7))


def test_the_seed_alone_decides(cartpole_run: Path) -> None:
    path = cartpole_run / "last.safetensors"
    first = evaluate(path, 12, seed=1)
    assert evaluate(path, 12, seed=1) == first
    assert evaluate(path, 12, seed=2)["returns"] != first["returns"]


def test_the_number_of_processes_does_not_change_the_result(cartpole_run: Path) -> None:
    path = cartpole_run / "last.safetensors"
    games: list[int] = []
    alone = evaluate(path, 23, seed=9, jobs=1, on_episode=lambda: games.append(1))
    assert len(games) == 23
    together = evaluate(path, 23, seed=9, jobs=2, on_episode=lambda: games.append(2))
    assert together == alone
    assert games.count(2) == 23


@pytest.mark.parametrize("episodes", [1, 9, 10, 11, 25])
def test_every_slot_plays_its_fixed_share(cartpole_run: Path, episodes: int) -> None:
    """Short games are not favoured: how many a slot plays is fixed before the first."""
    result = evaluate(cartpole_run / "last.safetensors", episodes)
    assert len(result["returns"]) == episodes
    more = evaluate(cartpole_run / "last.safetensors", episodes + 10)
    slots = min(10, episodes)
    counts = [episodes // slots + (slot < episodes % slots) for slot in range(slots)]
    if slots == 10:  # the same slots, one game more in each
        starts = np.cumsum([0, *counts[:-1]])
        for slot, (start, count) in enumerate(zip(starts, counts, strict=True)):
            mine = result["returns"][start : start + count]
            longer = more["returns"][start + slot : start + slot + count]
            assert mine == longer


def test_every_slot_has_random_numbers_of_its_own(cartpole_run: Path) -> None:
    assert len(set(evaluate(cartpole_run / "last.safetensors", 10)["returns"])) >= 5


def test_greedy_and_sampled_are_different_policies(cartpole_run: Path) -> None:
    path = cartpole_run / "last.safetensors"
    greedy, sampled = evaluate(path, 10, greedy=True), evaluate(path, 10)
    assert greedy["policy"] == "greedy"
    assert greedy["returns"] != sampled["returns"]


def test_the_environment_s_arguments_can_be_others(cartpole_run: Path) -> None:
    path = cartpole_run / "last.safetensors"
    result = evaluate(path, 3, env_args={"max_episode_steps": 7})
    assert result["lengths"] == [7, 7, 7]
    assert result["env_args"] == {"max_episode_steps": 7}
    with pytest.raises(EnvError, match="unexpected keyword argument 'nothing'"):
        evaluate(path, 1, env_args={"nothing": 1})


def test_an_episode_without_an_end_is_cut_and_the_protocol_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(TrainConfig(env="tiny_envs:tiny/Endless-v0", total_steps=50), run_dir=tmp_path / "run")
    monkeypatch.setattr("a2c_cli.evaluation.episodes.MOST_STEPS", 30)
    path = tmp_path / "run" / "last.safetensors"
    result = evaluate(path, 2, env_id="tiny_envs:tiny/Endless-v0")
    assert result["lengths"] == [30, 30]
    assert (result["protocol"]["step_cap"], result["cut"]) == (30, 2)
    assert result["success_rate"] is None


def test_scores_of_another_protocol_are_not_set_beside_human_ones(tmp_path: Path) -> None:
    # RAM is seen in the usual protocol: skip 4, sticky .25, 108,000 frames.
    config = TrainConfig(env="ALE/Pong-v5", env_args={"obs_type": "ram"}, total_steps=40)
    last = train(config, run_dir=tmp_path / "run").last
    cut = evaluate(last, 1, max_steps=20)
    told = {name: cut["protocol"][name] for name in ("frame_skip", "sticky_actions", "frame_limit")}
    assert told == {"frame_skip": 4, "sticky_actions": 0.25, "frame_limit": 108_000}
    assert (cut["cut"], cut["random_mean"], cut["human_normalized"]) == (1, None, None)


def test_successes_are_counted_where_the_environment_tells(cartpole_run: Path) -> None:
    agent = load_agent(cartpole_run / "last.safetensors")
    env = make_agent_env(agent, 0)
    step = env.step

    def told(action: Any) -> Any:
        outcome = step(action)
        env.success = outcome[2]
        return outcome

    env.step = told  # type: ignore[method-assign]
    (episode,) = play_episodes(agent, 1, seed=0, env=env)
    assert episode.success is True


def test_a_success_rate_says_of_how_many_games(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TrainConfig(env="tiny_envs:tiny/Telling-v0", total_steps=50), run_dir=tmp_path / "run")
    result = evaluate(tmp_path / "run", 40)
    told, rate = result["success_episodes"], result["success_rate"]
    assert 8 < told < 32
    assert result["success_ci95"] == list(wilson_ci(round(rate * told), told))
    results.evaluation(result, json=False)
    shown = capsys.readouterr().out
    assert f"{100 * rate:.1f} %, {round(rate * told)} of {told} games that told" in shown


def test_an_episode_is_a_whole_game_whatever_lives_are_lost(breakout_run: Path) -> None:
    agent = load_agent(breakout_run / "last.safetensors")
    env = make_agent_env(agent, 5)
    lives: list[int] = []
    resets = []
    step, reset = env.step, env.reset

    def counted_step(action: int) -> Any:
        outcome = step(action)
        lives.append(env.lives)
        return outcome

    def counted_reset() -> Any:
        resets.append(len(lives))
        return reset()

    env.step, env.reset = counted_step, counted_reset  # type: ignore[method-assign]
    (episode,) = play_episodes(agent, 1, seed=5, env=env)
    assert len(resets) == 1
    assert {0, 1, 2, 3, 4} <= set(lives)
    assert lives[-1] == 0
    assert episode.length == len(lives)


def test_the_agent_that_is_played_is_left_as_it_was(cartpole_run: Path) -> None:
    agent = load_agent(cartpole_run / "last.safetensors")
    assert agent.normalizer is not None
    state, count = agent.rng.bit_generator.state, agent.normalizer.count
    env = make_agent_env(agent, 0)
    list(play_episodes(agent, 2, seed=0, env=env))
    assert agent.rng.bit_generator.state == state
    assert agent.normalizer.count == count


def test_random_play_is_as_bad_as_the_literature_says(tmp_path: Path) -> None:
    """A policy without training is close to random: CartPole's random mean is about 22."""
    run = tmp_path / "run"
    train(TrainConfig(env="CartPole-v1", total_steps=1), run_dir=run)
    assert 15 < evaluate(run / "last.safetensors", 60)["mean"] < 30


def test_at_least_one_episode(cartpole_run: Path) -> None:
    with pytest.raises(ConfigError, match="--episodes"):
        evaluate(cartpole_run / "last.safetensors", 0)


def test_evaluation_plays_the_environment_the_agent_was_trained_in(tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = {"repeat_action_probability": 0.0, "full_action_space": True}
    train(TrainConfig(env="ALE/Breakout-v5", env_args=args, total_steps=5, frame_skip=2),
          run_dir=run)  # fmt: skip
    result = evaluate(run / "last.safetensors", 1, max_steps=3)
    assert result["protocol"]["sticky_actions"] == 0.0
    assert result["protocol"]["frame_skip"] == 2
    env = make_env("ALE/Breakout-v5", args, load_agent(run / "last.safetensors").spec.wrappers,
                   seed=0)  # fmt: skip
    assert env.spec.action.sizes == (18,)
