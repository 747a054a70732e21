"""Runs on environments that Python gives as objects: one that is there, or what makes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tiny_envs
from compare_runs import assert_same_run, metrics, stop_after, tensors
from process import Outcome

from a2c_cli import TrainConfig, evaluate, load_agent, train
from a2c_cli.config.given import id_of
from a2c_cli.errors import A2CError
from a2c_cli.runs.checkpoint import read_header

SHORT: dict[str, Any] = {"total_steps": 150, "seed": 2, "n_steps": 16, "policy_step": "gradient"}


def make_noise(actions: str = "matrix") -> gymnasium.Env[Any, Any]:
    return tiny_envs.Noise(actions=actions)


@pytest.mark.parametrize("source", [make_noise, make_noise()])
def test_an_object_serves_as_an_id_does(tmp_path: Path, source: Any) -> None:
    train(TrainConfig(env="tiny/Noise-v0", env_args={"actions": "matrix"}, **SHORT),
          run_dir=tmp_path / "named")  # fmt: skip
    train(TrainConfig(env=source, **SHORT), run_dir=tmp_path / "whole")
    named, given = tensors(tmp_path / "named"), tensors(tmp_path / "whole")
    for name in named:
        np.testing.assert_array_equal(named[name], given[name], err_msg=name)

    train(TrainConfig(env=source, **SHORT), run_dir=tmp_path / "r", should_stop=stop_after(75))
    train(resume=tmp_path / "r", env=source)
    assert_same_run(tmp_path / "r", tmp_path / "whole")

    games = evaluate(tmp_path / "named", 12)["returns"]
    assert evaluate(tmp_path / "r", 12, env=source)["returns"] == games
    env = make_noise()
    assert env.action_space.contains(load_agent(tmp_path / "r").act(env.reset(seed=1)[0]))


def test_an_object_must_be_given_again_or_named(
    tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    run = tmp_path / "r"
    train(TrainConfig(env=tiny_envs.Chain, **SHORT), run_dir=run)
    for again in (lambda: evaluate(run, 1), lambda: train(resume=run)):
        with pytest.raises(A2CError, match="<Chain> was given to train") as caught:
            again()
        assert "evaluate(run, env=...)" in caught.value.hint
    assert cli("evaluate", run, "--jobs", 1).stderr.count("hint: give it again") == 1
    named = ("--env", "tiny_envs:tiny/Chain-v0", "--quiet")
    assert cli("evaluate", run, "--jobs", 1, "--episodes", 1, *named).code == 0
    assert cli("train", "--resume", run, "--total-steps", 200, *named).code == 0
    assert read_header(run / "last.safetensors")[0].spec.id == named[1]
    assert cli("evaluate", run, "--jobs", 1, "--episodes", 1).code == 0  # one's own, by now


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"env": make_noise(), "eval_every": 50}, "needs a second <Noise> .* is one object"),
        ({"env": make_noise(), "env_args": {"actions": "half"}}, "is there already"),
        ({"env": make_noise, "video_every": 1}, "<make_noise> gives none"),
        ({"env": lambda: 3}, "<lambda> is no gymnasium.Env but of type int"),
        ({"env": lambda: 1 / 0}, "<lambda> cannot be made: ZeroDivisionError.*test_given.py"),
        ({"env": gymnasium.make_vec, "env_args": {"id": "CartPole-v1"}}, "CartPoleVectorEnv"),
    ],
)
def test_what_an_object_cannot_do_is_said_before_anything_is_written(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(A2CError, match=words):
        train(TrainConfig(**{**SHORT, **settings}), run_dir=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_what_makes_environments_takes_arguments_and_is_evaluated(tmp_path: Path) -> None:
    config = TrainConfig(env=make_noise, env_args={"actions": "half"}, eval_every=75, **SHORT)
    train(config, run_dir=tmp_path / "r")
    assert sum("eval/mean_reward" in line for line in metrics(tmp_path / "r")) == 2
    for options, words in (
        ({"env": make_noise, "jobs": 2}, "jobs must be 1"),
        ({"env": lambda actions: tiny_envs.Chain()}, "is not the environment"),
        ({"env": 3}, "must be a gymnasium.Env or a function"),
    ):
        with pytest.raises(A2CError, match=words):
            evaluate(tmp_path / "r", 1, **options)  # type: ignore[arg-type]


def test_the_caller_s_environment_stays_open(tmp_path: Path, cartpole_run: Path) -> None:
    env = make_noise()
    closed: list[int] = []
    env.close = lambda: closed.append(1)  # type: ignore[method-assign]
    train(TrainConfig(env=env, **SHORT), run_dir=tmp_path / "r")
    evaluate(tmp_path / "r", 1, env=env)
    assert closed == []
    with pytest.raises(A2CError, match="by its id"):
        evaluate(cartpole_run, 1, env=env)


def test_an_object_s_name_stands_for_it() -> None:
    assert id_of(gymnasium.make("CartPole-v1")) == "<CartPole-v1>"
    assert [id_of(x) for x in (make_noise(), tiny_envs.Chain, make_noise, lambda: 0)] == [
        "<Noise>", "<Chain>", "<make_noise>", "<lambda>",
    ]  # fmt: skip
