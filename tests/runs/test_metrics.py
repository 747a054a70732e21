"""Reading runs: what training wrote, what a kill tore, what somebody damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from written_runs import EVERY, write_run

from a2c_cli.errors import A2CError, CheckpointError
from a2c_cli.runs.checkpoint import read_header
from a2c_cli.runs.metrics import find_runs, read_run, read_runs


def test_a_real_run_is_read_as_training_counted_it(cartpole_run: Path) -> None:
    run, skipped = read_run(cartpole_run)
    header = read_header(cartpole_run / "last.safetensors")[0]
    assert skipped == 0
    assert (run.env_id, run.seed, run.frame_skip) == ("CartPole-v1", 3, 1.0)
    assert len(run.episode_returns) == header.episodes
    assert run.env_steps == header.env_steps == 1500
    assert run.mean_returns()[-1] == pytest.approx(header.mean_return_100)
    assert run.max_entropy == pytest.approx(np.log(2))
    steps, entropy = run.series["train/entropy"]
    assert steps.tolist() == [500.0, 1000.0, 1500.0]
    assert ((entropy > 0) & (entropy <= np.log(2) + 1e-6)).all()


def test_frames_are_counted_on_atari(breakout_run: Path) -> None:
    write = (breakout_run / "metrics.jsonl").read_text()
    assert '"episode"' in write, "the run is too short for this test"
    assert read_run(breakout_run)[0].frame_skip == 4.0


def test_the_running_mean_is_that_of_the_last_hundred(tmp_path: Path) -> None:
    returns = np.random.default_rng(0).normal(size=350) * 1000
    run, _ = read_run(write_run(tmp_path / "run", returns.tolist()))
    slow = [returns[max(0, i - 99) : i + 1].mean() for i in range(350)]
    np.testing.assert_allclose(run.mean_returns(), slow, atol=1e-9)


def test_a_torn_last_line_is_no_damage(tmp_path: Path) -> None:
    for i, torn in enumerate(('{"env_steps": 99999, "charts/epi', '{"env_steps": 99999}')):
        path = write_run(tmp_path / str(i), [1.0, 2.0, 3.0], more=torn)
        run, skipped = read_run(path)
        assert (run.env_steps, skipped) == (3 * EVERY, 0)


def test_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    bad = [
        '{"env_steps": 7', "", "[]", "null", '"text"', "[" * 100_000, '{"env_steps": "7"}',
        '{"env_steps": -5, "charts/episodic_return": 1}', "9" * 5000, "\x00\x01",
        '{"env_steps": NaN, "charts/episodic_return": 1}',
    ]  # fmt: skip
    odd = [  # whole lines whose values nobody can draw
        '{"env_steps": 7, "charts/episodic_return": NaN}',
        '{"env_steps": 7, "charts/episodic_return": 1e999}',
        '{"env_steps": 7, "charts/episodic_return": true}',
        '{"env_steps": 7, "charts/episodic_return": 1e300, "train/entropy": null}',
    ]
    path = write_run(tmp_path / "run", [1.0] * 4, more="\n".join([*bad, *odd]) + "\n")
    run, skipped = read_run(path)
    assert skipped == len(bad)
    assert run.episode_returns.tolist() == [1.0] * 4
    assert run.series == {}
    _, notes = read_runs([path])
    assert notes == [f"{path / 'metrics.jsonl'}: {len(bad)} damaged lines were left out"]


def test_lines_out_of_order_are_sorted(tmp_path: Path) -> None:
    early = '{"env_steps": 1, "frames": 1, "charts/episodic_return": 9}\n'
    run, _ = read_run(write_run(tmp_path / "run", [1.0, 2.0], more=early))
    assert run.episode_steps.tolist() == [1, EVERY, 2 * EVERY]
    assert run.episode_returns.tolist() == [9, 1, 2]


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    a = write_run(tmp_path / "sweep" / "x" / "a", [1.0])
    b = write_run(tmp_path / "sweep" / "b", [1.0])
    (a / "last.safetensors").write_bytes(b"")
    (tmp_path / "sweep" / "empty").mkdir()
    assert find_runs([tmp_path / "sweep"]) == [b, a]
    assert find_runs([a / "last.safetensors"]) == [a]
    assert find_runs([b, tmp_path / "sweep", b / ".." / "b"]) == [b, a]


def test_without_a_path_the_newest_run_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no run under \./checkpoints"):
        find_runs([])
    for i, name in enumerate(("newer", "older")):
        run = write_run(tmp_path / "checkpoints" / name, [1.0])
        os.utime(run / "metrics.jsonl", (1e9 - i, 1e9 - i))
    assert find_runs([]) == [Path("checkpoints/newer")]


def test_a_place_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run at"):
        find_runs([tmp_path / "nothing"])
    with pytest.raises(CheckpointError, match=r"there is no metrics\.jsonl in .* or below"):
        find_runs([tmp_path])


def test_runs_that_cannot_be_drawn_are_left_out_unless_they_are_all(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", [1.0])
    young = write_run(tmp_path / "young", [])
    odd = write_run(tmp_path / "odd", [1.0])
    (odd / "config.toml").write_text("env = 7")
    bare = write_run(tmp_path / "bare", [1.0])
    (bare / "config.toml").unlink()
    runs, notes = read_runs([young, good, odd, bare])
    assert [run.path for run in runs] == [good]
    assert notes[0] == f"{young} has not finished an episode yet"
    assert "does not name an environment" in notes[1]
    assert "cannot read" in notes[2]
    with pytest.raises(A2CError, match=r"nothing to plot: .*young has not .* \(and 1 more\)"):
        read_runs([young, bare])


def test_a_pipe_a_link_and_a_line_without_end_do_not_hold_a_plot_up(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [1.0])
    whole = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(b"x" * 3_000_000 + b"\n" + whole)
    found, skipped = read_run(run)
    assert (list(found.episode_returns), skipped) == ([1.0], 1)
    (tmp_path / "mine").write_bytes(whole)
    for name in ("metrics.jsonl", "config.toml"):
        kept = (run / name).read_bytes()
        (run / name).unlink()
        (run / name).symlink_to(tmp_path / "mine")
        with pytest.raises(A2CError, match="is a link"):
            read_run(run)
        (run / name).unlink()
        os.mkfifo(run / name)
        with pytest.raises(A2CError, match="not a regular file"):
            read_run(run)
        (run / name).unlink()
        (run / name).write_bytes(kept)
