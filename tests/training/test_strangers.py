"""Runs on environments that change their process, or that no seed fixes."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peculiar_envs
import pytest
import torch
from compare_runs import stop_after
from gymnasium import spaces
from process import run_python

from a2c_cli import TrainConfig, evaluate, train
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.training.progress import Progress


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    here, dtype, numpy = os.getcwd(), torch.get_default_dtype(), np.geterr()
    peculiar_envs.Once.built = 0
    yield
    os.chdir(here)
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(True)
    np.seterr(**numpy)


def run(name: str, path: Path, steps: int = 205, **settings: Any) -> Any:
    config = TrainConfig(env=f"odd/{name}-v0", total_steps=steps, n_steps=32, **settings)
    return train(config, run_dir=path)


def weights(path: Path) -> dict[str, bytes]:
    tensors = read_checkpoint(path / "last.safetensors")[1]
    return {n: a.tobytes() for n, a in tensors.items() if n.startswith("network.")}


def metrics(path: Path) -> list[float]:
    """The return of every episode."""
    lines = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    return [line["charts/episodic_return"] for line in lines if "episode" in line]


def test_a_seed_fixes_the_generators_that_a_process_shares(tmp_path: Path) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    run("Shared", tmp_path / "a", 305)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]
    random.seed(7)
    np.random.seed(7)
    run("Shared", tmp_path / "b")
    result = train(resume=tmp_path / "b", changes={"total_steps": 305})
    assert not any("fresh episode" in text for text in result.warnings)
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Counting", "what reset gives depends on more than its seed"),
        ("Chance", "after step 1 it pays"),
        ("Device", "must not be replayed"),
    ],
)
def test_what_cannot_be_replayed_goes_on_with_a_fresh_episode(
    tmp_path: Path, name: str, why: str
) -> None:
    run(name, tmp_path / "r")
    result = train(resume=tmp_path / "r", changes={"total_steps": 400})
    assert result.env_steps == 400
    assert any("fresh episode, 5 steps" in text and why in text for text in result.warnings)


def test_a_fresh_episode_can_be_asked_for(tmp_path: Path) -> None:
    run("Plain", tmp_path / "r")
    result = train(resume=tmp_path / "r", changes={"total_steps": 400}, fresh_episode=True)
    assert any("fresh episode" in text for text in result.warnings)
    assert result.episodes == 20 + 19  # the sixth step of the 21st began the next one


def test_an_environment_is_built_once(tmp_path: Path) -> None:
    assert run("Once", tmp_path / "r").stopped == "completed"
    peculiar_envs.Once.built = 0
    once = evaluate(tmp_path / "r", 12)["returns"]
    run("Plain", tmp_path / "p")
    assert once == evaluate(tmp_path / "p", 12)["returns"]
    assert peculiar_envs.Once.built > 1  # it was tried


@pytest.mark.parametrize(
    ("observations", "actions", "why"),
    [
        (spaces.Box(0, 1, (1,)), spaces.Discrete(2**20 + 1), "the action sizes are out of range"),
        (spaces.MultiDiscrete([2] * 20_000), spaces.Discrete(2), "20000|10000"),
        (spaces.Box(0, 1, (1,)), spaces.Box(0, 0.123456, (150_000,)), "too long"),
        (spaces.Discrete(10**9), spaces.Discrete(2), "weights"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused_before_a_run_begins(
    tmp_path: Path, observations: Any, actions: Any, why: str
) -> None:
    env = peculiar_envs.Plain()
    env.observation_space, env.action_space = observations, actions
    with pytest.raises(EnvError, match=f"<Plain> is larger than a checkpoint can hold: .*({why})"):
        train(TrainConfig(env=env, total_steps=9), run_dir=tmp_path / "r")
    assert not (tmp_path / "r").exists()


class Late(peculiar_envs.Plain):
    """Sets its action space in reset, where it is too late."""

    def reset(self, **options: Any) -> Any:
        self.action_space = self.late
        return super().reset(**options)


@pytest.mark.parametrize(("size", "fits"), [(2, True), (3, False)])
def test_actions_that_change_in_reset_are_an_error(tmp_path: Path, size: int, fits: bool) -> None:
    env = Late()
    env.late = spaces.Discrete(size)  # type: ignore[attr-defined]
    with contextlib.nullcontext() if fits else pytest.raises(EnvError, match="other actions after"):
        train(TrainConfig(env=env, total_steps=9), run_dir=tmp_path / "r")


@pytest.mark.parametrize(("name", "why"), [("Once", "only one connection"), ("Device", "device")])
def test_evaluations_beside_the_only_environment_are_refused_at_once(
    tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=f"--eval-every needs a second odd/{name}-v0.*{why}"):
        run(name, tmp_path / "r", eval_every=100)
    assert not (tmp_path / "r").exists()


def test_a_real_device_is_evaluated_in_one_process(tmp_path: Path) -> None:
    run("Device", tmp_path / "r")
    before = peculiar_envs.Device.built
    assert len(evaluate(tmp_path / "r", 12, jobs=3)["returns"]) == 12
    assert peculiar_envs.Device.built == before + 1


def test_a_run_stays_where_it_was_started(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    os.chdir(tmp_path)
    run("Moves", Path("r"), env_args={"to": str(tmp_path / "there")})
    assert (tmp_path / "r" / "last.safetensors").exists()
    assert os.getcwd() == str(tmp_path)


def test_an_environment_may_set_torch_up_for_itself(tmp_path: Path) -> None:
    run("Torch", tmp_path / "a", policy_step="gradient")
    assert torch.get_default_dtype() == torch.float64  # what it wanted
    run("Plain", tmp_path / "b", policy_step="gradient")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_actions_without_a_shape_resume_and_rewards_with_one_count(tmp_path: Path) -> None:
    run("Scalar", tmp_path / "a", 305)
    run("Scalar", tmp_path / "b")
    train(resume=tmp_path / "b", changes={"total_steps": 305})
    tensors = read_checkpoint(tmp_path / "b" / "last.safetensors")[1]
    assert tensors["env.actions"].shape == (5,)


def test_leaving_is_an_error_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"SystemExit.*peculiar_envs.py, line \d+"):
        run("Exits", tmp_path / "r")
    with contextlib.suppress(FileNotFoundError):
        assert not list((tmp_path / "r").iterdir())


def test_what_an_environment_prints_is_no_result() -> None:
    env = "peculiar_envs:odd/Prints-v0"
    outcome = run_python("-m", "a2c_cli", "train", "--env", env, "--show-config")
    assert outcome.stdout.startswith(f'env = "{env}"')
    assert outcome.stderr.startswith("python talks in red\nthe system talks?\nxxx")
    assert len(outcome.stderr) < 2100


def test_pictures_and_numbers_are_seen_together(tmp_path: Path) -> None:
    told: list[Progress] = []
    config = TrainConfig(env="odd/Robot-v0", total_steps=325, n_steps=32, network="4@8/4,16")
    train(config, run_dir=tmp_path / "a", on_progress=told.append)
    train(config, run_dir=tmp_path / "b", should_stop=stop_after(205))
    train(resume=tmp_path / "b")
    header, tensors = read_checkpoint(tmp_path / "b" / "last.safetensors")
    assert header.spec.pictures == ((12, 40, 44),)
    assert tensors["network.torso.picture1.conv1.weight"].shape == (4, 12, 8, 8)
    assert tensors["network.torso.hidden1.weight"].shape == (16, 4 * 9 * 10 + 2)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert len(evaluate(tmp_path / "a" / "last.safetensors", 2)["returns"]) == 2
    assert told[0].summary == (
        "mixed observation: camera uint8 picture 40x44x3, joints 2 numbers, task text (left out),"
        " as 12x40x44 beside 2 numbers; action: choices of 2x2; network: 4@8/4,16, 8.97k parameters"
    )


@pytest.mark.slow
def test_what_takes_both_is_learned(tmp_path: Path) -> None:
    run("Robot", tmp_path / "r", 30_000, network="4@8/4,32")
    assert np.mean(metrics(tmp_path / "r")[-100:]) > 9.0  # 5 by chance, 7.5 with one of them
