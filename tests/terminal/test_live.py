"""What `a2c train` shows: a table on a terminal, one line per interval in a log file."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from process import Outcome
from rich.console import Console

from a2c_cli.algorithm.update import UpdateStats
from a2c_cli.terminal import live
from a2c_cli.terminal.console import Display
from a2c_cli.training.progress import Progress

BUSY = Progress(
    run_dir=Path("/runs/one"),
    env_id="ALE/Breakout-v5",
    device="cpu (as asked), float32 updates",
    env_steps=12_345_678,
    total_steps=25_000_000,
    frames=49_382_712,
    total_frames=100_000_000,
    updates=154_321,
    episodes=23_456,
    steps_per_second=1234.5,
    seconds=3723.0,
    recent_returns=tuple(float(i % 37) for i in range(100)),
    mean_return_100=12_345.67,
    reward_rate=0.125,
    best_mean_return=-15_678.91,
    best_by="evaluation",
    trackers=("tensorboard",),
    max_entropy=2.89,
    stats=UpdateStats(
        -0.00012345,
        1234.567,
        1.23456,
        12345.67,
        -0.5,
        0.0019876,
        0.0049,
        0.01,
        0.9,
        {"conv1": 0.1, "hidden1": 0.25},
    ),
    logged=True,
    memory_mb=12_391.5,
    saved_step=12_300_000,
    films=1_027,
    warnings=("--tracker wandb failed\x1b[2J",),
)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits_the_terminal_and_shows_what_a_watcher_asks_for(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    console.print(live.panel(BUSY, width))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    for text in (
        "49.4 %", "12,345,678 of 25,000,000", "49,382,712", "1,234 steps/s, 2:50:51 left",
        "12,345.67 over the last 100", "▁", "█", "-15,678.91 by evaluation",
        "1.235 nats of 2.89", "value 1.23e+03", "norm 1.23e+04", "12,392 MB",
        "step 12,300,000, 1,027 films",
    ):  # fmt: skip
        assert text in shown, text


def test_what_is_not_done_yet_is_dim() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(live.panel(BUSY, 80))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[32m━" in shown
    assert "\x1b[2m╌" in shown


def test_a_stream_without_episodes_shows_its_reward_rate() -> None:
    endless = dataclasses.replace(BUSY, episodes=0, recent_returns=(), mean_return_100=None)
    console = Console(width=80, file=io.StringIO())
    console.print(live.panel(endless, 80))
    assert "0.125 a step; no episode has ended" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_log_file_gets_one_line_per_interval(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    done = cli("train", "--env", "CartPole-v1", "--policy-step", "gradient", "--total-steps", 1000,
               "--log-every", 200,
               "--run-dir", tmp_path / "run")  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("step ")]
    steps = [line.split("/")[0].removeprefix("step ") for line in lines]
    assert steps == ["200", "400", "600", "800", "1,000"]
    assert all("entropy" in line and "value loss" in line for line in lines)


def test_warnings_come_as_lines_without_control_characters(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Display() as display:
        live.TrainReporter(display).show(BUSY)
    assert "warning: --tracker wandb failed?[2J\n" in capfd.readouterr().err
    with Display(quiet=True) as display:
        live.TrainReporter(display).show(BUSY)
    assert capfd.readouterr().err == ""


def test_a_terminal_gets_the_table_and_json_stays_clean(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "a2c_cli", "train", "--env", "CartPole-v1", "--policy-step",
         "gradient", "--total-steps", "600",
         "--run-dir", str(tmp_path / "run"), "--json"],
        stdout=subprocess.PIPE, stderr=slave,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not part:
            break
        shown += part
    assert process.stdout is not None
    result = json.loads(process.stdout.read())
    process.stdout.close()
    assert process.wait() == 0
    os.close(master)
    assert result["warnings"] == []
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    for word in ("progress", "speed", "best mean", "entropy", "gradient", "memory", "files"):
        assert word in plain
    # Only our own table is held to the width; paths above it may be longer.
    table = plain[plain.index("progress") :].split("completed after")[0]
    assert max(len(line) for line in re.split(r"[\r\n]+", table)) <= 60
