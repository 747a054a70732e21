"""What the tests share: small trained runs, and the command line in this process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_envs  # noqa: F401  (registers tiny/*)
import torch
from browser import chromium, open_page  # noqa: F401  (fixtures)
from hypothesis import settings
from process import Outcome

from a2c_cli import TrainConfig, train
from a2c_cli.terminal.signals import REASONS

settings.register_profile("a2c", deadline=None, max_examples=50)
settings.load_profile("a2c")
torch.set_num_threads(1)


@pytest.fixture
def cli(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Outcome]]:
    """`a2c ARGS` in this process, by the function that the console script calls."""
    from a2c_cli.commands.app import main

    handlers = {number: signal.getsignal(number) for number in REASONS}

    def run(*args: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["a2c", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return Outcome(int(left.value.code or 0), out, err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def cartpole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 1,500 steps on CartPole; read only."""
    path = tmp_path_factory.mktemp("runs") / "cartpole"
    settings = {"total_steps": 1500, "log_every": 500, "policy_step": "gradient"}
    train(TrainConfig(env="CartPole-v1", seed=3, **settings), run_dir=path)
    return path


@pytest.fixture(scope="session")
def breakout_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 300 steps on Breakout; read only."""
    path = tmp_path_factory.mktemp("runs") / "breakout"
    train(TrainConfig(env="ALE/Breakout-v5", total_steps=300, seed=1), run_dir=path)
    return path
