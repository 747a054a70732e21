"""Workers: what they send arrives, how they end is told, and none is left."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from a2c_cli import TrainConfig, train
from a2c_cli.errors import A2CError, EnvError
from a2c_cli.evaluation.evaluate import evaluate
from a2c_cli.evaluation.workers import Died, Returned, Workers


def answer(greeting: str, pipe: Connection) -> int:
    pipe.send(f"{greeting} {pipe.recv()}")
    return os.getpid()


def fall(number: int, pipe: Connection) -> None:
    if number:
        os.kill(os.getpid(), number)
    os._exit(3)


def wait_for_ever(pipe: Connection) -> None:
    pipe.send(os.getpid())
    time.sleep(1e6)


def messages(workers: Workers, count: int) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    end = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < end
        found += workers.poll(0.1)
    return found


def test_messages_go_both_ways_and_the_last_is_what_was_returned() -> None:
    workers = Workers()
    for number, greeting in enumerate(("hello", "good day")):
        workers.start(number, answer, greeting)
    workers.send("you")
    found = messages(workers, 4)
    workers.close()
    for number, greeting in enumerate(("hello", "good day")):
        said, returned = (message for n, message in found if n == number)
        assert said == f"{greeting} you"
        assert isinstance(returned, Returned)
        assert returned.value != os.getpid()
    assert workers.poll(0.0) == []


def test_a_death_is_told_with_its_cause() -> None:
    workers = Workers(preload=["a2c_cli.text"], patience=10.0)
    workers.start(0, fall, signal.SIGKILL)
    workers.start(1, fall, 0)
    found = dict(messages(workers, 2))
    workers.close()
    assert found[0] == Died("its process was killed by signal 9")
    assert found[1] == Died("its process ended with code 3")


def test_closing_leaves_no_process_behind() -> None:
    workers = Workers()
    workers.start(0, wait_for_ever)
    ((_, pid),) = messages(workers, 1)
    process = psutil.Process(pid)
    workers.close()
    process.wait(10)


def test_what_goes_wrong_in_a_worker_of_an_evaluation_is_raised_here(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="tiny/Bandit-v0", total_steps=5), run_dir=run)
    assert len(evaluate(run / "last.safetensors", 2)["returns"]) == 2
    # A fresh process does not know of this environment.
    with pytest.raises(EnvError, match="there is no environment 'tiny/Bandit-v0'"):
        evaluate(run / "last.safetensors", 2, jobs=2)


def test_the_directory_of_a_killed_process_is_removed_by_the_next_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pymp-somebody-s").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = "from a2c_cli.evaluation.workers import Workers; Workers(['json']); print(flush=True)"
    lives, *killed = (
        subprocess.Popen(
            [sys.executable, "-c", f"{program}; input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(3)
    )  # fmt: skip
    for process in (lives, *killed):
        assert process.stdout is not None
        process.stdout.readline()
    for process in killed:
        process.kill()
        process.wait()
    assert len(list(tmp_path.iterdir())) == 4
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(list(tmp_path.iterdir())) == 2
    lives.communicate(b"\n")
    assert [path.name for path in tmp_path.iterdir()] == ["pymp-somebody-s"]


@pytest.mark.slow
def test_a_fork_server_that_dies_is_replaced() -> None:
    from multiprocessing import forkserver

    with contextlib.closing(Workers(("json",))) as workers:
        for number in range(3):
            workers.start(number, answer, "hello")
            server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            os.kill(server, signal.SIGKILL)
        workers.send("you")
        said = [message for _, message in messages(workers, 6) if isinstance(message, str)]
    assert said == ["hello you"] * 3


def test_a_daemonic_process_is_told_that_it_may_have_no_others(
    cartpole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(A2CError, match="a daemonic process"):
        evaluate(cartpole_run / "last.safetensors", 4, jobs=2)
