"""The installed console script, outside of the repository and without PYTHONPATH."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from process import Outcome

SCRIPT = Path(sys.executable).with_name("a2c")

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason=f"{SCRIPT} is not installed")

MODULE = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

gymnasium.register("My-v0", CartPoleEnv, max_episode_steps=40)
"""


def a2c(where: Path, *args: object, **popen: Any) -> Outcome:
    """`a2c ARGS` in a directory, with nothing that helps it to find this checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [SCRIPT, *map(str, args)],
        capture_output=True, text=True, cwd=where, timeout=120, env={**env, "OMP_NUM_THREADS": "1"},
        **popen,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_help(tmp_path: Path) -> None:
    done = a2c(tmp_path, "--help")
    assert (done.code, done.stderr) == (0, "")
    for command in ("train", "evaluate", "record", "inspect", "plot", "sweep", "push"):
        assert command in done.stdout


def test_train_then_look_at_what_came_out(tmp_path: Path) -> None:
    done = a2c(tmp_path, "train", "--env", "CartPole-v1", "--total-steps", 500, "--run-dir", "run")
    assert done.code == 0, done.stderr
    done = a2c(tmp_path, "evaluate", "run", "-n", 4, "--jobs", 2, "--json", "-q")
    assert (done.code, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["returns"]) == 4
    done = a2c(tmp_path, "inspect", "run/last.safetensors", "--json", "-q")
    assert (done.code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["env_steps"] == 500
    done = a2c(tmp_path, "plot", "run", "--output", "run.html", "-q")
    assert (done.code, done.stderr) == (0, "")
    assert "<svg" in (tmp_path / "run.html").read_text()


def test_an_error_is_one_line_and_a_hint(tmp_path: Path) -> None:
    done = a2c(tmp_path, "evaluate", "nowhere")
    assert (done.code, done.stdout) == (1, "")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="others do not limit address space")
def test_too_little_address_space_for_torch_is_said(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (500 * 2**20, 500 * 2**20))

    run = ("train", "--env", "CartPole-v1", "--run-dir", "run", "-q")
    done = a2c(tmp_path, *run, preexec_fn=limit)
    assert done.code == 1
    assert done.stderr.splitlines()[-2] == "error: there is not enough memory"


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    package = tmp_path / "cv2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('libGL.so.1: gone', name='cv2')")
    run = ("-m", "a2c_cli", "train", "--env", "ALE/Pong-v5", "--run-dir", "run", "-q")
    done = subprocess.run(
        [sys.executable, *run], capture_output=True, text=True, cwd=tmp_path, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: a package cannot be loaded: ImportError: libGL.so.1: gone",
        "hint: install cv2 again",
    ]


@pytest.mark.slow
def test_an_environment_may_lie_in_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "mymod.py").write_text(MODULE)
    run = ("--env", "mymod:My-v0", "--total-steps", 200)
    done = a2c(tmp_path, "train", *run, "--run-dir", "run", "-q")
    assert (done.code, done.stderr) == (0, "")
    done = a2c(tmp_path, "evaluate", "run", "--env", "mymod:My-v0", "-n", 4, "--jobs", 2, "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["protocol"]["step_limit"] == 40
    done = a2c(
        tmp_path, "sweep", *run, "--seeds", "0-1", "--jobs", 2, "--run-dir", "sweep", "--json"
    )
    assert done.code == 0, done.stderr
    assert [trial["stopped"] for trial in json.loads(done.stdout)["runs"]] == ["completed"] * 2
