"""Terminals of all kinds: narrow, dumb, without colours, resized, or none at all; completion."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from process import Outcome
from rich.console import Console
from rich.text import Text

from a2c_cli.terminal.console import Display
from a2c_cli.text import folded

TRAIN = ["train", "CartPole-v1", "--policy-step", "gradient", "--total-steps", "300"]
ESCAPE = re.compile(r"\x1b\[\??([0-9;]*)([A-Za-z])")


class Screen:
    """Just enough of a terminal: what it shows after some output, and after it was made narrower.

    A line that is longer than the terminal is wide stands on several rows, as in those that reflow.
    """

    def __init__(self, width: int) -> None:
        self.width, self.rows, self.row, self.column = width, [""], 0, 0

    def narrow(self, width: int) -> None:
        """Every row that is too long is wrapped; the cursor stays behind the last character."""
        self.width = width
        assert self.row == len(self.rows) - 1
        self.rows = [part for row in self.rows for part in textwrap.wrap(
            row, width, drop_whitespace=False, break_on_hyphens=False) or [""]]  # fmt: skip
        self.row, self.column = len(self.rows) - 1, len(self.rows[-1])

    def write(self, text: str) -> None:
        at = 0
        while at < len(text):
            found = ESCAPE.match(text, at)
            if found is not None:
                self._control(found[2], int(found[1] or 1) if found[1].isdigit() else 1)
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _control(self, letter: str, number: int) -> None:
        if letter == "A":
            self.row = max(0, self.row - number)
        elif letter == "K":
            self.rows[self.row] = ""

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.rows.append("")
        else:
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1


@pytest.mark.parametrize("narrower", [79, 60, 41])
def test_a_terminal_made_narrower_keeps_nothing_of_the_wider_picture(narrower: int) -> None:
    screen, display = Screen(80), Display()
    console = Console(file=io.StringIO(), force_terminal=True, width=80, legacy_windows=False)
    display._console = console

    def draw() -> None:
        rows = [f"row {i} ".ljust(console.width - 1, "=") for i in range(5)]
        display.draw(lambda: Text("\n".join(rows)))
        screen.write(console.file.getvalue())  # type: ignore[attr-defined]
        console.file.seek(0)
        console.file.truncate()

    draw()
    draw()
    console.width = narrower
    screen.narrow(narrower)
    draw()
    shown = [row for row in screen.rows if row.strip()]
    assert [row[:6] for row in shown] == [f"row {i} " for i in range(5)]
    assert max(map(len, shown)) < narrower


def run_in_terminal(tmp_path: Path, *arguments: str, **environment: str) -> str:
    """What a command writes to a terminal of its own, both streams."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "a2c_cli", *arguments], stdout=slave, stderr=slave, cwd=tmp_path,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm", "PYTHONPATH": os.getcwd(),
             **environment},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # Linux's way of saying that the other end is closed
        pass
    assert process.wait() == 0, shown.decode()
    os.close(master)
    return shown.decode()


@pytest.mark.slow
def test_without_colours_progress_still_shows(tmp_path: Path) -> None:
    shown = run_in_terminal(tmp_path, *TRAIN, NO_COLOR="1")
    assert not [code for code, letter in ESCAPE.findall(shown) if letter == "m" and "3" in code]
    assert "━" in shown  # done
    assert "╌" in shown  # not yet


def test_a_message_is_broken_between_words_alone_and_stands_behind_its_name() -> None:
    path = "checkpoints/" + "-".join(["name"] * 9)
    lines = folded(f"run        one of {path} and a few more words behind it", 40)
    assert lines[0] == "run        one of"
    assert lines[1] == " " * 11 + path
    assert all(line.startswith(" " * 11) for line in lines[1:])
    assert max(map(len, lines[2:])) <= 40
    assert folded("short", 40) == ["short"]


@pytest.mark.slow
def test_a_dumb_terminal_gets_lines(tmp_path: Path) -> None:
    shown = run_in_terminal(tmp_path, *TRAIN, TERM="dumb")
    assert "\x1b" not in shown
    assert "step 300/300" in shown


def test_without_a_terminal_no_table_is_cut(
    cli: Callable[..., Outcome], cartpole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    done = cli("inspect", cartpole_run)
    assert max(map(len, done.stdout.splitlines())) > 80  # the versions
    assert "…" not in done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("train --env CartP", "CartPole-v1"), ("train --preset no", "notebook"),
     ("plot --x t", "time"),
     ("train --network na", "nature"), ("train --tracker tr", "trackio"),
     ("sweep --set gam", "gamma="), ("evaluate brea", "breakout"),
     ("sweep --set network=mlp,n", "network=mlp,nature"), ("sweep --tracker te", "tensorboard"),
     ("record --saliency-method p", "perturbation"), ("push po", "pong"),
     ("train --resume c", "checkpoints/mine"), ("evaluate checkpoints/m", "checkpoints/mine")],
)  # fmt: skip
def test_a_shell_completes_values(
    cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str,
    expected: str,
) -> None:  # fmt: skip
    (tmp_path / "checkpoints" / "mine").mkdir(parents=True)
    (tmp_path / "checkpoints" / "mine" / "metrics.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    words = f"a2c {typed}"
    monkeypatch.setenv("_A2C_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    done = cli()
    assert expected in "\n".join(done.stdout.splitlines())
