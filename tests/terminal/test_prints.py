"""What libraries print is no result, and cannot drive the terminal: of Python, of C, of workers."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process import SUPPORT, run_python
from rich.console import Console

from a2c_cli.terminal.cleaner import MARK, Cleaner
from a2c_cli.terminal.prints import above

PRINTS = "peculiar_envs:odd/Prints-v0"


def cleaned(*pieces: str) -> str:
    cleaner = Cleaner()
    return "".join(map(cleaner.feed, pieces))


@pytest.mark.parametrize(
    ("printed", "shown"),
    [("\x1b[31mred\x1b[0m", "red"), ("\x1b[2J\x1b[1;1Hover", "over"), ("\x1bcreset", "reset"),
     ("\x1b]0;title\x07a \x1b]8;;http://x\x1b\\b", "a b"), ("\x1bP1$r\x1b\\dcs", "dcs"),
     ("a\x00b\x07c\x08d\x9b2Je\u202ef", "a?b?c?d?2Je?f"), ("\x1b\x01", "??"),
     ("tab\tand\r\nline\rbar", "tab\tand\nline\rbar"), ("é☃", "é☃")],
)  # fmt: skip
def test_sequences_are_gone_and_controls_show(printed: str, shown: str) -> None:
    assert cleaned(printed + "\n") == shown + "\n"
    assert cleaned(*printed, "\n").replace("\r\n", "\n") == shown + "\n"  # one by one


@given(st.lists(st.text("\x00\x07\x1b[]P\\;0m2J\x9b\n\r\t aé", max_size=12)))
def test_whatever_comes_in_whatever_pieces_nothing_drives_the_terminal(pieces: list[str]) -> None:
    assert all(c.isprintable() or c in "\n\r\t" for c in cleaned(*pieces))


def test_lines_without_end_are_cut_and_the_next_one_is_whole() -> None:
    lines = cleaned("x" * 1990, "y" * 10**5, "z" * 10**5, "\nnext\n", "\x1b]" + "0" * 10**5).split(
        "\n"
    )
    assert lines[0] == "x" * 1990 + "y" * 10 + " ..."
    assert lines[1] == "next"
    assert len(lines[2]) < 2100


def test_a_mark_is_seen_in_pieces_and_never_shown() -> None:
    cleaner = Cleaner()
    assert cleaner.feed("a" + MARK[:3]) == "a"
    assert not cleaner.marked
    assert cleaner.feed(MARK[3:] + "b") == "b"
    assert cleaner.marked


def test_what_is_printed_under_a_picture_stands_above_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=20)
    with above(console):
        print("[bold]not markup[/x] \x1bc", "long " * 10)
        print("part", end="", flush=True)
        print("begun", end="")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown == "[bold]not markup[/x]  " + "long " * 10 + "\npart\nbegun\n"
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_every_command_cleans_what_environments_print(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = [
        "train",
        "--env",
        PRINTS,
        "--total-steps",
        "60",
        "--network",
        "8",
        "--run-dir",
        str(run),
    ]
    evaluate = ["evaluate", str(run), "--env", PRINTS, "--episodes", "2", "--jobs", "2"]
    for command in (train, evaluate):
        done = run_python("-m", "a2c_cli", *command, "--json", cwd=tmp_path)
        assert done.code == 0, done.stderr
        assert done.stdout.startswith("{")
        assert done.stdout.count("\n") == 1
        assert "python talks in red" in done.stderr
        assert "the system talks?" in done.stderr
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", done.stderr)
        assert max(map(len, done.stderr.splitlines())) < 2100


@pytest.mark.slow
def test_a_sweep_and_a_film_do_so_too(tmp_path: Path) -> None:
    sweep = ["sweep", "--env", PRINTS, "--seeds", "0-1", "--total-steps", "60", "--run-dir", "s"]
    film = [
        "record",
        "s/peculiar_envs-odd-Prints-v0/defaults/seed0",
        "--env",
        PRINTS,
        "--output",
        "x.mp4",
    ]
    for command in (sweep, film):
        done = run_python("-m", "a2c_cli", *command, cwd=tmp_path)
        assert done.code == 0, done.stderr
        assert "the system talks?" in done.stderr
        assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.slow
def test_ctrl_c_twice_ends_what_does_not_come_back(tmp_path: Path) -> None:
    words = ["--env", "trouble_envs:trouble/Trouble-v0", "--env-arg", "kind=dead", "--run-dir", "r"]
    train = [sys.executable, "-m", "a2c_cli", "train", *words, "--policy-step", "gradient"]
    path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        train,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stderr is not None
    said = "nothing"
    while said != "dead\n":
        said = process.stderr.readline()
        assert said
    process.send_signal(signal.SIGINT)
    while "does not come back" not in (said := process.stderr.readline()):
        assert said
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGKILL
    assert process.stderr.read() == "error: killed, for it did not come back\n"


@pytest.mark.slow
def test_the_last_words_of_a_crash_come_out(tmp_path: Path) -> None:
    done = run_python(
        "-m", "a2c_cli", "train", "--env", "peculiar_envs:odd/Crashes-v0", cwd=tmp_path
    )
    assert done.code == -6
    assert done.stderr.endswith("assertion failed: world\n")
