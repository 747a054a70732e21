"""Which checkpoint a command means."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from process import Outcome

from a2c_cli.errors import CheckpointError
from a2c_cli.runs.finding import find_checkpoint


def touch(path: Path, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, (2e9 - age, 2e9 - age))
    return path


def test_a_file_is_itself(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.safetensors", 0)
    assert find_checkpoint(path) == path


def test_a_run_directory_is_its_best_else_its_last(tmp_path: Path) -> None:
    last = touch(tmp_path / "last.safetensors", 0)
    assert find_checkpoint(tmp_path) == last
    best = touch(tmp_path / "best.safetensors", 100)
    assert find_checkpoint(tmp_path) == best


def test_left_out_it_is_the_newest_under_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Path("checkpoints")
    touch(here / "shipped.safetensors", 30)
    assert find_checkpoint(None) == here / "shipped.safetensors"
    touch(here / "old-run" / "last.safetensors", 20)
    assert find_checkpoint(None) == here / "old-run" / "last.safetensors"
    touch(here / "new-run" / "last.safetensors", 10)
    assert find_checkpoint(None) == here / "new-run" / "last.safetensors"
    touch(here / "new-run" / "best.safetensors", 15)  # a run stands for its best
    assert find_checkpoint(None) == here / "new-run" / "best.safetensors"
    touch(here / "hand-made.safetensors", 5)
    assert find_checkpoint(None) == here / "hand-made.safetensors"
    touch(here / "new-run" / "videos" / "x.safetensors", 0)  # not a checkpoint of ours
    assert find_checkpoint(None) == here / "hand-made.safetensors"


def test_nothing_there_names_the_command_that_trains_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for asked in (None, tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="there is no checkpoint") as caught:
            find_checkpoint(asked)
        assert "a2c train --env" in caught.value.hint


def test_where_only_a_sweep_lies_that_is_said(
    cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        run = tmp_path / f"checkpoints/my sweep/CartPole-v1/defaults/seed{seed}"
        run.mkdir(parents=True)
        for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
            (run / name).touch()
    os.utime(run / "best.safetensors", (2e9, 2e9))
    for asked in ([], ["checkpoints/my sweep"]):
        done = cli("evaluate", *asked)
        assert done.code == 1
        assert "itself; 2 runs lie further below, as those of a sweep do" in done.stderr
        assert "('checkpoints/my sweep/CartPole-v1/defaults/seed1' is the newest)" in done.stderr
    done = cli("plot")
    assert "2 runs lie further below ./checkpoints" in done.stderr
    assert "a2c plot 'checkpoints/my sweep'" in done.stderr


def test_a_shipped_agent_is_found_by_its_name_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = find_checkpoint(Path("breakout"))
    assert path.suffix == ".safetensors"
    assert not path.is_symlink()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(Path("brakeout"))
    assert "breakout" in caught.value.hint
    (tmp_path / "breakout").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint in breakout"):
        find_checkpoint(Path("breakout"))  # a directory of this name comes first
