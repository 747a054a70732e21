"""Kills, signals, full disks, broken environments, strangers' files: what a run survives."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trouble_envs
from kills import Forked, chaos, lines, saved_steps, until
from process import Outcome, run_python

from a2c_cli import A2CError, TrainConfig, evaluate, train
from a2c_cli.envs.make import make_env
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import RunDir

Cli = Callable[..., Outcome]
CARTPOLE = ("--env", "CartPole-v1", "--log-every", 500)
SLOW_ENV = ("--env", "trouble/Trouble-v0", "--env-arg", "pause=0.001", "--log-every", 50)


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Torch imports two seconds' worth at the first training: once here, not in every child."""
    train(TrainConfig(env="CartPole-v1", total_steps=1), run_dir=tmp_path_factory.mktemp("warm"))


@pytest.fixture(autouse=True)
def _hang_ups_are_heard() -> Iterator[None]:
    """Under nohup they would be ignored, by all that is started here too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def assert_clear(text: str, *parts: str) -> None:
    """One error line with all parts, one hint, no traceback."""
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, text
    assert len([line for line in text.splitlines() if line.startswith("hint:")]) == 1, text
    for part in parts:
        assert part in errors[0]


# --- kill -9


@pytest.mark.parametrize(
    "env",
    [
        "ALE/Breakout-v5",
        pytest.param("Pendulum-v1", marks=pytest.mark.slow),
        pytest.param("CartPole-v1", marks=pytest.mark.slow),
    ],
)
def test_killed_runs_end_as_if_left_alone(env: str, tmp_path: Path) -> None:
    steps = 600 if "ALE" in env else 6000
    options = ("--env", env, "--total-steps", steps, "--log-every", 100, "--quiet")
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    assert Forked(tmp_path / "log", "train", *options, "--run-dir", alone).wait(60)[0] == 0
    args: tuple[object, ...] = ("train", *options, "--run-dir", killed)
    last = killed / "last.safetensors"
    for moment in (0.02, 0.3, 0.11):
        before = last.stat().st_mtime_ns if last.exists() else 0
        run = Forked(tmp_path / "log", *args, "--save-every", 0.0005)
        until(
            lambda run=run, before=before: (
                run.ended  # a quick machine is at the end already
                or (last.exists() and last.stat().st_mtime_ns > before)
            )
        )
        time.sleep(moment)
        run.signal(signal.SIGKILL)
        args = ("train", "--resume", killed, "--quiet")
        assert run.wait()[0] in (-signal.SIGKILL, 0)
    assert Forked(tmp_path / "log", *args, "--save-every", 5).wait(60)[0] == 0
    found = chaos.differences(alone, killed)
    assert (found["tensors"], found["lines"]) == ([], [])
    assert found["metrics_lines"] >= steps // 100


# Trackers under kills: tests/tracking has a test of its own; each start of theirs takes seconds.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in chaos.KINDS if "watched" not in name])
def test_chaos_script(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(chaos.__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("WANDB_MODE", "offline")
    kind = dataclasses.replace(chaos.KINDS[name], steps=3000)
    found = chaos.chaos(kind, 3, 0, tmp_path)
    assert found["kills"] >= 1  # a quick machine may reach the end between two kills
    assert not chaos.wrong(found)


def test_a_stop_while_evaluating_loses_nothing(tmp_path: Path) -> None:
    config = TrainConfig(
        env="CartPole-v1", total_steps=1200, log_every=500, eval_every=400, eval_episodes=3
    )
    train(config, run_dir=tmp_path / "alone")
    for stop_at in (403, 800, 1202):  # in the first evaluation, between them, in the last
        calls = 0

        def should_stop(stop_at: int = stop_at) -> str | None:
            nonlocal calls
            calls += 1
            return "interrupted" if calls >= stop_at else None

        run = tmp_path / f"stopped-{stop_at}"
        first = train(config, run_dir=run, should_stop=should_stop)
        assert first.stopped == "interrupted"
        assert train(resume=run).stopped == "completed"
        found = chaos.differences(tmp_path / "alone", run)
        assert (found["tensors"], found["lines"]) == ([], [])


# --- signals


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "hung up"),
    ],
)
def test_first_signal_saves_and_says_how_to_go_on(
    number: int, code: int, word: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run, "--json")
    until(lambda: lines(run) > 5)
    child.signal(number)
    left, said = child.wait()
    assert left == code
    assert f"resume with: a2c train --resume {run}" in said
    assert "Traceback" not in said
    result = json.loads(said.splitlines()[-1])
    assert (result["stopped"], result["env_steps"]) == (word, saved_steps(run))
    assert saved_steps(run) > 0


def test_second_signal_leaves_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--env-arg", "pause=30", "--env", "trouble/Trouble-v0")
    child = Forked(tmp_path / "log", "train", *options, "--run-dir", run)
    until(lambda: (run / "last.safetensors").exists())
    time.sleep(0.3)  # into a step that takes half a minute
    child.signal(signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    child.signal(signal.SIGINT)
    left, said = child.wait()
    assert time.monotonic() - began < 2.0
    assert left == -signal.SIGINT  # what a shell shows as 130
    assert "stopping: saving first" in said
    checkpoint.read_checkpoint(run / "last.safetensors")


def test_signal_while_evaluating(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = (*SLOW_ENV, "--eval-every", 50, "--eval-episodes", 1_000_000)
    child = Forked(tmp_path / "log", "train", *options, "--run-dir", run)
    until(lambda: (run / "last.safetensors").exists())
    time.sleep(0.6)  # fifty steps take a tenth of it
    child.signal(signal.SIGTERM)
    assert child.wait()[0] == 143
    assert saved_steps(run) == 50


def test_signals_while_saving(tmp_path: Path) -> None:
    for moment in (0.1, 0.13, 0.17):
        run = tmp_path / f"run-{moment}"
        child = Forked(
            tmp_path / "log", "train", *CARTPOLE, "--run-dir", run, "--save-every", 0.0001
        )
        until(lambda run=run: (run / "last.safetensors").exists())
        time.sleep(moment)
        child.signal(signal.SIGINT)
        assert child.wait()[0] == 130
        assert saved_steps(run) > 0
        assert not list(run.glob("*.part"))


@pytest.mark.parametrize("moment", [0.1, 0.6, 1.2])
def test_signal_at_start(moment: float, tmp_path: Path) -> None:
    arguments = chaos.command("train", "--env", "ALE/Breakout-v5", "--total-steps", 100_000)
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    time.sleep(moment)
    process.terminate()
    _, said = process.communicate(timeout=30)
    # Before the interpreter has come to the first line of the package, the default stands.
    assert process.returncode == 143 or (moment == 0.1 and process.returncode == -15)
    assert "Traceback" not in said
    begun = (tmp_path / "checkpoints").exists()
    assert begun or said in ("error: terminated before anything was begun\n", "")


def test_a_closed_terminal_sends_two_hang_ups(tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run)
    until(lambda: lines(run) > 5)
    child.signal(signal.SIGHUP)
    child.signal(signal.SIGHUP)
    assert child.wait()[0] == 129
    assert saved_steps(run) > 0


def test_nohup_is_heeded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run)
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: lines(run) > 2)
    child.signal(signal.SIGHUP)
    seen = lines(run)
    until(lambda: lines(run) > seen + 2)
    child.signal(signal.SIGTERM)
    assert child.wait()[0] == 143


def test_the_first_save_by_the_clock_comes_early(tmp_path: Path) -> None:
    from a2c_cli.training import saving

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "_FIRST", 1e-5)
        saved: list[int] = []
        train(
            TrainConfig(env="CartPole-v1", total_steps=3000, log_every=500),
            run_dir=tmp_path / "run",
            on_progress=lambda p: saved.append(p.saved_step),
        )
    assert len({step for step in saved if 0 < step < 3000}) == 1  # one, then --save-every


def test_nothing_is_written_into_a_run_that_was_meant_for_people(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = chaos.command("train", *CARTPOLE, "--total-steps", 600, "--run-dir", run)
    done = subprocess.run(["sh", "-c", '"$@" 0<&- 1>&- 2>&-', "sh", *words], check=False)
    assert done.returncode == 0
    assert [r["env_steps"] for r in chaos.metrics(run)][-1] == 600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_written_are_one_line(cartpole_run: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            chaos.command("inspect", cartpole_run, "--json"),
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert_clear(done.stderr, "No space left")
    assert len(done.stderr.splitlines()) == 3  # with the one that says what is inspected


def descendants(pid: int) -> set[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(c) for c in children}.union(*(descendants(int(c)) for c in children))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_evaluate_leaves_no_process_behind(number: int, cartpole_run: Path) -> None:
    process = subprocess.Popen(
        chaos.command("evaluate", cartpole_run, "--episodes", 10**6, "--jobs", 2),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(descendants(process.pid)) >= 3)  # the tracker and two workers
    time.sleep(1.0)
    workers = descendants(process.pid)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it
    else:
        process.kill()
    _, said = process.communicate(timeout=20)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert said.splitlines()[1:] == ["error: interrupted"]
    until(lambda: not any(map(alive, workers)), 10.0)


def test_record_removes_the_unfinished_video(cartpole_run: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    child = Forked(tmp_path / "log", "record", cartpole_run, "-n", 9999, "--output", films)
    until(lambda: len(list(films.glob("*.mp4"))) >= 1)
    child.signal(signal.SIGTERM)
    left, said = child.wait()
    assert left == 143
    assert said.splitlines()[-1] == "error: terminated"
    assert not list(films.glob(".*"))


def test_a_closed_terminal_does_not_end_a_run(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        chaos.command("train", *CARTPOLE, "--total-steps", 600, "--run-dir", tmp_path / "run"),
        stderr=write,
        check=False,
    )
    os.close(write)
    assert saved_steps(tmp_path / "run") == 600
    assert done.returncode == 0


# --- trouble on the way


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 320 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def assert_resumes(run: Path, **changes: Any) -> None:
    steps = saved_steps(run)
    result = train(resume=run, changes={"total_steps": steps + 40, **changes})
    assert (result.stopped, result.env_steps) == ("completed", steps + 40)
    chaos.metrics(run)  # no torn line


def test_disk_full(small_disk: Path, tmp_path: Path) -> None:
    run = small_disk / "run"
    options = (*CARTPOLE, "--run-dir", run, "--save-every", 0.001)
    child = Forked(tmp_path / "log", "train", *options)
    until(lambda: lines(run) > 3)
    (small_disk / "ballast").write_bytes(bytes(100_000))
    left, said = child.wait()
    assert left == 1
    assert_clear(said, str(run), "No space left")
    assert f"a2c train --resume {run}" in said
    assert sorted(p.name for p in run.iterdir())[0] == ".lock"
    assert not list(run.glob("*.part"))
    chaos.metrics(run)
    (small_disk / "ballast").unlink()
    assert_resumes(run)


def test_no_line_of_metrics_is_half_written(small_disk: Path) -> None:
    run = RunDir(small_disk)
    run.open_metrics(0)
    for number in range(20):
        run.append_metrics({"number": number, "text": "x" * 1000})
    run.flush_metrics()
    for number in range(200):
        run.append_metrics({"number": number, "text": "x" * 3000})
    with pytest.raises(A2CError, match="No space left"):
        run.flush_metrics()
    run.close()
    records = chaos.metrics(small_disk)
    assert len(records) == 20


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        (resource.RLIMIT_FSIZE, 30_000, "File too large"),
        (resource.RLIMIT_NOFILE, 3, "Too many open files"),
    ],
)
def test_limits(limit: int, value: int, why: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run, "--save-every", 0.002)
    until(lambda: lines(run) > 3)
    resource.prlimit(child.pid, limit, (value, value))
    left, said = child.wait()
    assert left == 1
    assert_clear(said, str(run), why)
    assert_resumes(run)


def test_directory_deleted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run, "--save-every", 0.005)
    until(lambda: lines(run) > 3)
    run.rename(tmp_path / "gone")  # at once, where a file could be saved in between by rmtree
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)  # one that is being saved is in the way
    left, said = child.wait()
    assert left == 1
    assert_clear(said, str(run))
    assert "No such file" in said or "was moved or replaced" in said


def test_directory_turns_read_only() -> None:
    nobody = 65534 if os.getuid() == 0 else None  # root may write anywhere
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        where.chmod(0o777)
        run = where / "run"
        child = Forked(
            where / "log", "train", *CARTPOLE, "--run-dir", run, "--save-every", 0.005, uid=nobody
        )
        until(lambda: lines(run) > 3)
        run.chmod(0o555)
        left, said = child.wait()
        assert left == 1
        assert_clear(said, str(run), "Permission denied")
        again = Forked(where / "log", "train", "--resume", run, "--quiet", uid=nobody)
        # What is there may still be written: only new files are refused.
        assert_clear(again.wait()[1], str(run), "Permission denied")
        run.chmod(0o755)
        assert_resumes(run)


@pytest.mark.parametrize("kind", trouble_envs.KINDS)
def test_broken_environment(kind: str, cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--env", "trouble/Trouble-v0", "--env-arg", f"kind={kind}", "--log-every", 100)
    got = cli("train", *options, "--run-dir", run, "--save-every", 0.0002, "--quiet")
    assert got.code == 1
    step = 700 if kind == "reset" else 699
    assert_clear(got.stderr, "trouble/Trouble-v0", trouble_envs.KINDS[kind], f"after step {step}")
    assert f"a2c train --resume {run}" in got.stderr
    assert 0 < saved_steps(run) <= step
    assert len(chaos.metrics(run)) == 6 + step // 10 + (kind == "reset")
    assert train(resume=run, changes={"total_steps": saved_steps(run) + 5}).stopped == "completed"


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_divergence(env: str, cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = (
        "--learning-rate",
        1e38,
        "--max-grad-norm",
        0,
        "--n-steps",
        64,
        "--save-every",
        0.00001,
    )
    got = cli("train", "--env", env, *options, "--run-dir", run, "--json", "--quiet")
    assert got.code == 1
    assert json.loads(got.stdout)["stopped"] == "diverged"
    assert_clear(got.stderr, "diverged")
    header, tensors = checkpoint.read_checkpoint(run / "last.safetensors")  # refuses NaN
    assert header.env_steps >= 0
    assert all(np.isfinite(v).all() for k, v in tensors.items() if k.startswith("network."))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_never_saved(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from a2c_cli.algorithm.update import Update

    update = Update.__call__

    def broken(self: Update, *args: Any, **named: Any) -> Any:
        stats = update(self, *args, **named)
        if self.count == 5:
            self._policy.agent.weights["actor.bias"][0] = value
        return stats

    monkeypatch.setattr(Update, "__call__", broken)
    config = TrainConfig(
        env="CartPole-v1", total_steps=1000, save_every=1e-6, policy_step="gradient"
    )
    result = train(config, run_dir=tmp_path / "run")
    assert result.stopped == "diverged"
    assert "actor.bias is no longer finite after 5 updates" in result.message
    assert 120 < checkpoint.read_checkpoint(result.last)[0].env_steps < 160


def test_actions_that_are_not_finite_are_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from a2c_cli.algorithm.update import Update

    update = Update.__call__

    def broken(self: Update, *args: Any, **named: Any) -> Any:
        stats = update(self, *args, **named)
        self._policy.agent.weights["log_std"][...] = np.nan
        return stats

    monkeypatch.setattr(Update, "__call__", broken)
    config = TrainConfig(env="Pendulum-v1", total_steps=1000, log_every=500, policy_step="gradient")
    result = train(config, run_dir=tmp_path / "run")
    assert result.stopped == "diverged"
    assert "log_std is no longer finite after 1 updates" in result.message


# --- the directory


def test_second_run_in_one_directory_is_refused(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run)
    until(lambda: (run / "last.safetensors").exists())
    for args in (("--resume", run, "--total-steps", 10**9), (*CARTPOLE, "--run-dir", run)):
        got = cli("train", *args)
        assert got.code == 1
        assert_clear(got.stderr, "another run is writing", str(run))
    child.signal(signal.SIGINT)
    assert child.wait()[0] == 130


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors", "metrics.jsonl"])
def test_fresh_run_where_a_run_is(name: str, cli: Cli, cartpole_run: Path, tmp_path: Path) -> None:
    shutil.copy(cartpole_run / name, tmp_path)
    before = (tmp_path / name).read_bytes()
    got = cli("train", "--env", "CartPole-v1", "--total-steps", 1, "--run-dir", tmp_path)
    assert got.code == 1
    assert_clear(got.stderr, "already holds a run", str(tmp_path))
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("damage", ["torn", "missing", "shortened", "longer"])
def test_metrics_are_mended_on_resume(
    damage: str, cli: Cli, cartpole_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cartpole_run, run)
    metrics = run / "metrics.jsonl"
    whole = metrics.read_bytes()
    if damage == "torn":
        metrics.write_bytes(whole + b'{"env_steps": 15')
    elif damage == "longer":
        metrics.write_bytes(whole + whole)
    elif damage == "shortened":
        metrics.write_bytes(whole[: len(whole) // 2])
    else:
        metrics.unlink()
    got = cli("train", "--resume", run, "--total-steps", 2000)
    assert got.code == 0
    assert ("are missing" in got.stderr) == (damage in ("missing", "shortened"))
    records = chaos.metrics(run)
    assert records[-1]["env_steps"] == 2000
    if damage in ("torn", "longer"):
        assert metrics.read_bytes().startswith(whole)
        assert [r["env_steps"] for r in records] == sorted(r["env_steps"] for r in records)


def test_an_older_checkpoint_does_not_take_the_place_of_a_newer_one(
    cli: Cli, cartpole_run: Path, tmp_path: Path
) -> None:
    run, branch = tmp_path / "run", tmp_path / "branch"
    shutil.copytree(cartpole_run, run)
    longer = train(resume=run, changes={"total_steps": 2500})
    shutil.copy(cartpole_run / "last.safetensors", run / "best.safetensors")
    whole = (run / "metrics.jsonl").read_bytes()
    last = (run / "last.safetensors").read_bytes()
    best = run / "best.safetensors"
    got = cli("train", "--resume", best)
    assert got.code == 1
    assert_clear(got.stderr, "is of step 1,500, and its run has come to step 2,500")
    assert f"--resume {best} --run-dir NEW" in got.stderr
    got = cli("train", "--resume", best, "--run-dir", branch, "--total-steps", 2500)
    assert got.code == 0
    assert "decay over the budget, now 2,500 instead of 1,500 steps" in got.stderr
    assert (run / "metrics.jsonl").read_bytes() == whole
    assert (run / "last.safetensors").read_bytes() == last
    found = chaos.differences(run, branch)  # the same steps from the same state
    assert (found["tensors"], found["lines"]) == ([], [])
    assert longer.env_steps == saved_steps(branch) == 2500


def test_a_run_may_branch_off_from_a_file_by_itself(cartpole_run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "shipped.safetensors"
    shutil.copy(cartpole_run / "last.safetensors", alone)
    result = train(resume=alone, run_dir=tmp_path / "run", changes={"total_steps": 1600})
    assert (result.env_steps, result.stopped) == (1600, "completed")


def test_evaluating_a_run_that_trains_plays_one_agent(tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = Forked(tmp_path / "log", "train", *CARTPOLE, "--run-dir", run, "--save-every", 1e-5)
    until(lambda: (run / "last.safetensors").exists())
    for seed in range(8):  # each would meet a save between two openings
        checkpoint.read_checkpoint(run / "last.safetensors")
        assert evaluate(run / "last.safetensors", 3, seed=seed, max_steps=20)["episodes"] == 3
    child.signal(signal.SIGKILL)
    child.wait()


# --- files from strangers


def test_module_is_only_imported_when_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange_module.py").write_text(
        "import gymnasium\n"
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
        "gymnasium.register('Strange-v0', 'gymnasium.envs.classic_control:CartPoleEnv',"
        " max_episode_steps=50)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run, env = tmp_path / "run", "strange_module:Strange-v0"
    train(TrainConfig(env=env, total_steps=100), run_dir=run)
    del sys.modules["strange_module"]
    (tmp_path / "imported").unlink()
    settings = run / "config.toml"
    settings.rename(tmp_path / "away.toml")  # else it is one's own run
    for args in (("evaluate", run), ("record", run), ("train", "--resume", run)):
        got = cli(*args)
        assert got.code == 2
        assert_clear(got.stderr, "would import a Python module", env)
    assert cli("inspect", run).code == 0
    assert not (tmp_path / "imported").exists()
    other = cli("train", "--resume", run, "--env", "CartPole-v1")
    assert other.code == 2
    assert cli("evaluate", run, "--env", env, "-n", 1, "--jobs", 1).code == 0
    assert (tmp_path / "imported").exists()
    resumed = cli("train", "--resume", run, "--env", env, "--total-steps", 150, "--quiet")
    assert (resumed.code, saved_steps(run)) == (0, 150)
    (tmp_path / "away.toml").rename(settings)
    assert cli("evaluate", run, "-n", 1, "--jobs", 1).code == 0
    own = cli("train", "--resume", run, "--total-steps", 200, "--quiet")
    assert (own.code, saved_steps(run)) == (0, 200)


def test_a_settings_file_is_a_strangers_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('env = "trouble_envs:trouble/Trouble-v0"\ntotal_steps = 20\n')
    for command in ("train", "sweep"):
        got = cli(command, "--config", tmp_path / "c.toml", "--run-dir", tmp_path / "no")
        assert got.code == 2
        assert_clear(got.stderr, "would import a Python module", "trouble_envs")
    assert not (tmp_path / "no").exists()
    named = ("--env", "trouble_envs:trouble/Trouble-v0", "--run-dir", tmp_path / "run")
    assert cli("train", "--config", tmp_path / "c.toml", *named, "--quiet").code == 0


def changed_run(source: Path, where: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A run directory with another last checkpoint alone."""
    header, tensors = checkpoint.read_checkpoint(source / "last.safetensors")
    change(tensors)
    where.mkdir()
    (where / "last.safetensors").write_bytes(checkpoint.encode(header, tensors))
    return where


def test_a_run_without_its_segment_is_refused_before_training(
    cli: Cli, cartpole_run: Path, tmp_path: Path
) -> None:
    def without(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith("segment.")]:
            del tensors[name]

    run = changed_run(cartpole_run, tmp_path / "run", without)
    got = cli("train", "--resume", run, "--total-steps", 1600, "--quiet")
    assert got.code == 1
    assert_clear(got.stderr, "the segment that is being gathered is not complete")
    assert not (run / "metrics.jsonl").exists()


@pytest.mark.parametrize("fixture", ["cartpole_run", "breakout_run"])
def test_a_replay_ends_where_its_episode_ended(
    fixture: str, cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def longer(tensors: dict[str, Any]) -> None:
        tensors["env.actions"] = np.ones(20_000, np.int64)

    run = changed_run(request.getfixturevalue(fixture), tmp_path / "run", longer)
    got = cli("train", "--resume", run, "--total-steps", 9999, "--quiet")
    assert got.code == 1
    assert_clear(got.stderr, "more actions than the episode has steps")
    header, tensors = checkpoint.read_checkpoint(run / "last.safetensors")
    env = make_env(header.spec.id, header.spec.args, header.spec.wrappers, seed=header.config.seed)
    state = {n.removeprefix("env."): t for n, t in tensors.items() if n.startswith("env.")}
    with pytest.raises(A2CError, match=r"is over before its last action|more than the"):
        env.set_state(state)
    env.close()


@pytest.mark.slow
def test_the_emulator_reserves_no_memory_that_a_stranger_names(
    breakout_run: Path, tmp_path: Path
) -> None:
    def boastful(tensors: dict[str, Any]) -> None:
        opening = tensors["env.opening"].copy()
        for at in (24, 28, 78):  # the lengths of the state, of a digest, of a generator
            opening[at : at + 4] = np.frombuffer((2**31 - 16).to_bytes(4, "little"), np.uint8)
        tensors["env.opening"] = opening

    run = changed_run(breakout_run, tmp_path / "run", boastful)
    done = run_python(
        "-c",
        "import resource, sys\nfrom a2c_cli import A2CError, train\n"
        f"try: train(resume={str(run)!r}, changes={{'total_steps': 400}})\n"
        "except A2CError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)",
    )
    why, megabytes = done.stdout.splitlines()
    assert "the saved emulator state does not fit" in why
    assert int(megabytes) < 1500  # two lengths alone would be 4 GB


def test_a_sparse_checkpoint_is_not_read(cli: Cli, cartpole_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    whole = (cartpole_run / "last.safetensors").read_bytes()
    table, body = fuzz_split(whole)
    size = 3 * 2**30
    table["segment.9.rewards"] = {
        "dtype": "U8", "shape": [size], "data_offsets": [len(body), len(body) + size],
    }  # fmt: skip
    head = json.dumps(table).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)
    os.truncate(path, 8 + len(head) + len(body) + size)
    began = time.monotonic()
    for args in (("evaluate", path), ("train", "--resume", path)):
        got = cli(*args)
        assert got.code == 1
        assert_clear(got.stderr, "segment tensors are larger than those of its run can be")
    os.truncate(path, 40 * 2**30)
    assert "larger than" in cli("inspect", path).stderr
    assert time.monotonic() - began < 5.0


def fuzz_split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_two_recordings_to_one_file(cartpole_run: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    args = ("record", cartpole_run, "--output", film, "--quiet")
    both = [Forked(tmp_path / f"log{seed}", *args, "--seed", seed) for seed in (0, 1)]
    assert [child.wait()[0] for child in both] == [0, 0]
    assert film.read_bytes()[4:8] == b"ftyp"
    assert not list(tmp_path.glob(".*"))
    film.write_bytes(b"my holidays")
    left, said = Forked(tmp_path / "log", *args).wait()
    assert left == 2
    assert_clear(said, "film.mp4 is there already, and not made by a2c")
    assert Forked(tmp_path / "log", *args, "--force").wait()[0] == 0


def test_messages_are_short(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'env = "CartPole-v1"\ngamma = "{"x" * 100_000}"\n')
    got = cli("train", "--config", tmp_path / "c.toml")
    assert got.code == 2
    assert len(got.stderr) < 2500


def test_strings_of_the_header_cannot_drive_the_terminal(
    cli: Cli, cartpole_run: Path, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\r\n\x9b31m/../../x"
    header, tensors = checkpoint.read_checkpoint(cartpole_run / "last.safetensors")
    progress = {**header.progress, "lengths": [10, 10]}
    spec = dataclasses.replace(
        header.spec,
        id=evil,
        action=dataclasses.replace(header.spec.action, meanings=(evil, evil)),
        args={evil: evil},
    )
    config = dataclasses.replace(header.config, env=evil, env_args={evil: evil})
    header = dataclasses.replace(
        header,
        spec=spec,
        config=config,
        versions={evil + "\ud800": evil},
        recent_returns=(1e299, -1e299),
        progress=progress,
    )
    strange = tmp_path / "last.safetensors"
    strange.write_bytes(checkpoint.encode(header, {**tensors, f"network.{evil}": np.zeros(1)}))
    for args in (
        ("inspect", strange),
        ("inspect", strange, "--json"),
        ("evaluate", strange, "--jobs", 1),
        ("record", strange),
        ("train", "--resume", tmp_path),
    ):
        got = cli(*args)
        assert got.code == (0 if args[0] == "inspect" else 1), got
        bad = [c for c in got.stdout + got.stderr if not c.isprintable() and c != "\n"]
        assert bad == []
    assert {p.name for p in tmp_path.iterdir()} <= {"last.safetensors", ".lock", "videos"}
