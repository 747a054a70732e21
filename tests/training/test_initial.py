"""A run from another run's weights: what is taken, what is not, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_runs import assert_same_run, stop_after, tensors

from a2c_cli import TrainConfig, train
from a2c_cli.config.resolve import resolve
from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.runs.checkpoint import read_header
from a2c_cli.training.engine import Progress

SCALED: dict[str, Any] = {"reward_transform": "scale", "network": "8"}


def test_weights_and_scales_are_taken_and_nothing_else(tmp_path: Path, cartpole_run: Path) -> None:
    notes: list[Progress] = []
    config = TrainConfig(env="CartPole-v1", total_steps=400, seed=3, init_from=cartpole_run)  # type: ignore[arg-type]
    run = tmp_path / "run"
    train(config, run_dir=run, should_stop=stop_after(1), on_progress=notes.append)
    last, new = tensors(cartpole_run), tensors(run)
    for name in last:
        if name.startswith("network."):  # one step has changed none of it
            np.testing.assert_array_equal(new[name], last[name], err_msg=name)
    assert new["normalizer.obs_count"] == last["normalizer.obs_count"] + 1
    assert not [name for name in new if name.startswith("optimizer.") and new[name].any()]
    assert (new["learner.updates"], read_header(run / "last.safetensors")[0].env_steps) == (0, 1)
    assert "after 1,500 steps of CartPole-v1" in notes[0].note
    train(resume=run)  # the source is not looked at again
    train(config, run_dir=tmp_path / "whole")
    assert_same_run(run, tmp_path / "whole")
    assert read_header(run / "last.safetensors")[0].config.init_from == str(cartpole_run)


def test_the_scale_of_rewards_is_taken_without_its_episode(tmp_path: Path) -> None:
    source = train(
        TrainConfig(env="tiny/Steady-v0", total_steps=50, **SCALED), run_dir=tmp_path / "a"
    )
    before = tensors(source.run_dir)["normalizer.reward"]
    config = TrainConfig(env="tiny/Mortal-v0", total_steps=9, init_from=str(source.last), **SCALED)
    after = tensors(train(config, run_dir=tmp_path / "b").run_dir)["normalizer.reward"]
    assert before[0] > 5.0
    assert after[1] == before[1] + 9
    assert after[0] == pytest.approx(sum(0.995**i for i in range(9)), rel=0.05)  # from 0


def test_nothing_is_calibrated_again() -> None:
    run = resolve(TrainConfig(env="ALE/Pong-v5", init_from="pong"), "atari")
    assert run.calibration_steps == 0
    with pytest.raises(ConfigError, match="calibrated"):
        TrainConfig(env="ALE/Pong-v5", init_from="pong", calibration_steps=9)
    with pytest.raises(ConfigError, match="--init has no place beside --init-from"):
        resolve(
            TrainConfig(env="CartPole-v1", init_from="x", init="torch"), "vector", asked=["init"]
        )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"env": "Acrobot-v1"}, "it sees 4 of CartPole-v1, this run 6"),
        ({"env": "tiny/Telling-v0"}, "it sees 4 of CartPole-v1, this run 1"),
        ({"network": "8,8"}, "its network has other layers; add --network mlp"),
        ({"activation": "relu"}, "its units are tanh; add --activation tanh"),
        ({"normalize_obs": False}, "from normalised observations; add --normalize-obs"),
        ({"init_from": "nowhere"}, "there is no checkpoint at nowhere"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(
    tmp_path: Path, cartpole_run: Path, config: dict[str, Any], words: str
) -> None:
    asked = {"env": "CartPole-v1", "total_steps": 9, "init_from": str(cartpole_run), **config}
    with pytest.raises(A2CError) as caught:
        train(TrainConfig(**asked), run_dir=tmp_path / "run")
    assert words in f"{caught.value.message}; {caught.value.hint}"
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_takes_no_other_weights(cartpole_run: Path) -> None:
    with pytest.raises(ConfigError, match="--init-from cannot be changed on --resume"):
        train(resume=cartpole_run, changes={"init_from": "pong"})
