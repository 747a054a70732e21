"""The run directory: who holds it, what lies where, and writes that are never half done."""

from __future__ import annotations

import json
import os
import resource
import shlex
from pathlib import Path

import pytest

from a2c_cli.errors import RunDirError
from a2c_cli.runs.directory import RunDir, new_run_path
from a2c_cli.runs.files import part_name, write_atomic

# --- names


def test_new_runs_never_share_a_name(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        path = new_run_path("ALE/Breakout-v5", 7, tmp_path)
        assert path.name.startswith("Breakout-v5-seed7-")
        path.mkdir()
        seen.add(path)
    assert len(seen) == 3


def test_a_run_s_name_cannot_lead_out_of_its_parent(tmp_path: Path) -> None:
    assert new_run_path("a:b/../..", 0, tmp_path).parent == tmp_path


# --- atomic writes


def test_a_write_replaces_the_whole_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (b"first", b"second, longer", b""):
        write_atomic(path, data)
        assert path.read_bytes() == data
        assert os.listdir(tmp_path) == ["x"]


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as a full disk does
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomic(path, bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_replacement_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "x", b"new")
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"new")
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    path.chmod(0o640)
    write_atomic(path, b"newer")
    assert path.stat().st_mode & 0o777 == 0o640


# --- the directory


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "videos", "tensorboard/x", "notes"])
def test_no_link_out_of_the_directory_is_followed(name: str, tmp_path: Path) -> None:
    run, mine = tmp_path / "run", tmp_path / "mine"
    (run / name).parent.mkdir(parents=True)
    mine.mkdir() if name == "videos" else mine.write_bytes(b"precious")
    (run / name).symlink_to(mine)
    with pytest.raises(RunDirError, match="is a link"):
        RunDir(run)
    assert mine.is_dir() or mine.read_bytes() == b"precious"
    mine.rmdir() if mine.is_dir() else mine.unlink()
    with pytest.raises(RunDirError, match="is a link"):  # dangling, it would be made
        RunDir(run)
    assert not mine.exists()


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_a_pipe_in_the_directory_does_not_hold_us_up(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RunDirError, match=f"{name} is not a regular file"):
        RunDir(tmp_path).open_metrics(0)


def test_a_directory_that_is_moved_away_takes_the_run_with_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.save(b"first")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    other = RunDir(tmp_path / "run")
    other.save(b"another run's")
    with pytest.raises(RunDirError, match="was moved or replaced"):
        run.save(b"second")
    assert (tmp_path / "elsewhere" / "last.safetensors").read_bytes() == b"second"
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == b"another run's"
    run.close()
    other.close()


def test_one_run_at_a_time_holds_a_directory(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(RunDirError, match="another run is writing"):
        RunDir(tmp_path / "run")
    run.close()
    RunDir(tmp_path / "run").close()


def test_the_command_that_resumes_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "b'c d"
    run = RunDir(path, "mine:Arm-v0")
    words = ["a2c", "train", "--resume", str(path), "--env", "mine:Arm-v0"]
    assert shlex.split(run.resume_command) == words
    run.close()
    run = RunDir(path, "CartPole-v1")
    assert shlex.split(run.resume_command) == words[:4]
    run.close()


def test_leftovers_of_a_killed_save_are_swept_away_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    theirs = [".notes.part", ".last.safetensors.part", ".thesis.0123456789abcdef.part", "a.part"]
    theirs += ["videos/.holiday.0123456789abcdef.part.mp4"]
    ours = [part_name("last.safetensors"), ".best.safetensors.k3_9_abc.part"]
    ours += [f"videos/{part_name('training-episode000001.mp4')}"]
    for name in (*theirs, *ours):
        (tmp_path / name).write_bytes(b"half")
    RunDir(tmp_path).close()
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(str(p.relative_to(tmp_path)) for p in left) == sorted([".lock", *theirs])


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match="cannot write in"):
        RunDir(tmp_path / "file" / "run")


def test_metrics_are_lines_of_json(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.open_metrics(0)
    run.append_metrics({"env_steps": 1, "x": 0.1})
    size = run.flush_metrics()
    run.append_metrics({"env_steps": 2})
    assert run.flush_metrics() > size
    run.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["env_steps"] for line in lines] == [1, 2]


def test_a_resumed_run_drops_the_lines_behind_its_checkpoint(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.open_metrics(0)
    run.append_metrics({"env_steps": 1})
    offset = run.flush_metrics()
    run.append_metrics({"env_steps": 2})
    run.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"env_steps": 3, "torn')
    run = RunDir(tmp_path)
    run.open_metrics(offset)
    run.append_metrics({"env_steps": 20})
    run.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"env_steps": 1}\n{"env_steps": 20}\n'
