"""From a checkpoint back to its agent and its environment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from a2c_cli import TrainConfig, evaluate, load_agent, train
from a2c_cli.algorithm.learner import Learner
from a2c_cli.errors import CheckpointError, ConfigError, EnvError
from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.runs.loading import agent_from, make_agent_env, trusted_id


def test_a_loaded_agent_acts_as_the_one_that_learned(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="Pendulum-v1", total_steps=300), run_dir=run)
    header, tensors = read_checkpoint(run / "last.safetensors")
    learner = Learner(header.config, header.spec)
    learner.set_state(tensors)
    agent = load_agent(run / "last.safetensors")
    rng = np.random.default_rng(0)
    for _ in range(10):
        obs = rng.standard_normal(3).astype(np.float32)
        assert agent.value(obs) == learner.agent.value(obs)
        np.testing.assert_array_equal(agent.act(obs, True), learner.agent.act(obs, True))


def test_a_checkpoint_does_not_import_modules_unasked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    env_id = "tiny_envs:tiny/Bandit-v0"
    train(TrainConfig(env=env_id, total_steps=10), run_dir=run)
    assert evaluate(run, 2)["episodes"] == 2  # one's own run, with its settings beside it
    path = tmp_path / "strange.safetensors"
    (run / "last.safetensors").rename(path)
    with pytest.raises(ConfigError, match="import a Python module") as caught:
        evaluate(path, 1)
    assert env_id in caught.value.hint
    assert evaluate(path, 2, env_id=env_id)["episodes"] == 2
    with pytest.raises(ConfigError, match="trained on") as caught:
        evaluate(path, 1, env_id="tiny/Bandit-v0")
    assert env_id in caught.value.hint  # it must not lead back to the first error


def test_only_one_s_own_run_has_its_module_imported_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "got" / "run"
    run.mkdir(parents=True)
    config, file = run / "config.toml", run / "last.safetensors"
    config.write_text('env = "mine:Id"')
    assert trusted_id(file, "mine:Id", None) == "mine:Id"
    assert trusted_id(file, "other:Id", None) is None
    assert trusted_id(file, "other:Id", "other:Id") == "other:Id"
    for brought in ("got.mine:Id", "got.run.mine:Id"):  # a directory that was unpacked here
        config.write_text(f'env = "{brought}"')
        assert trusted_id(file, brought, None) is None
    config.unlink()
    config.symlink_to(tmp_path / "elsewhere.toml")
    (tmp_path / "elsewhere.toml").write_text('env = "mine:Id"')
    assert trusted_id(file, "mine:Id", None) is None


def test_an_environment_that_has_changed_since_is_an_error(cartpole_run: Path) -> None:
    agent = load_agent(cartpole_run / "last.safetensors")
    agent.spec = dataclasses.replace(agent.spec, obs_shape=(5,))
    with pytest.raises(EnvError, match="not the environment that the checkpoint describes"):
        make_agent_env(agent, 0)


def test_weights_that_do_not_fit_the_header_are_an_error(cartpole_run: Path) -> None:
    header, tensors = read_checkpoint(cartpole_run / "last.safetensors")
    for broken in (
        {k: v for k, v in tensors.items() if k != "network.actor.bias"},
        {**tensors, "network.actor.bias": np.zeros(3, np.float32)},
        {**tensors, "network.actor.bias": np.zeros(2, np.float64)},
        {**tensors, "normalizer.obs_mean": np.zeros(9)},
        {k: v for k, v in tensors.items() if not k.startswith("normalizer")},
    ):
        with pytest.raises(CheckpointError):
            agent_from(header, broken)


def test_a_description_from_before_there_were_parts_fits_too(cartpole_run: Path) -> None:
    header, tensors = read_checkpoint(cartpole_run / "last.safetensors")
    assert header.spec.parts
    old = dataclasses.replace(header, spec=dataclasses.replace(header.spec, parts=()))
    env = make_agent_env(agent_from(old, tensors), 0)
    assert env.spec == header.spec
    env.close()
