"""`a2c plot`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from process import Outcome, run_python
from written_runs import write_run

Cli = Callable[..., Outcome]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "html", "PNG"])
def test_a_file_is_written_and_named(
    cli: Cli, cartpole_run: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / "new" / f"curve.{suffix}"
    done = cli("plot", cartpole_run, "--output", file, "--json")
    assert done.code == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["file"] == str(file)
    [group] = record["groups"]
    assert (group["env_id"], group["seeds"]) == ("CartPole-v1", [3])
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert done.stderr == f"wrote {file}\n"


@pytest.mark.parametrize("columns", [60, 100])
def test_without_a_file_the_terminal_shows_a_curve(
    cli: Cli, cartpole_run: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = cli("plot", cartpole_run)
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "CartPole-v1"
    assert max(map(len, lines)) == columns
    assert any("entropy" in line for line in lines)
    assert "\x1b" not in done.stdout


def test_a_poor_terminal_gets_ascii(cartpole_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run_python("-m", "a2c_cli", "plot", str(cartpole_run))
    assert done.code == 0, done.stderr
    assert done.stdout.isascii()
    assert "?" not in done.stdout
    assert "aaa" in done.stdout


def test_the_newest_run_is_the_default_and_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "checkpoints" / "run", [1.0, 2.0])
    monkeypatch.chdir(tmp_path)
    done = cli("plot", "--json")
    assert done.stderr == "plotting checkpoints/run\n"
    assert json.loads(done.stdout)["file"] is None
    assert cli("plot", "--json", "--quiet").stderr == ""


def test_runs_left_out_are_said(cli: Cli, tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0, 2.0])
    write_run(tmp_path / "b", [])
    done = cli("plot", tmp_path, "--json")
    assert done.code == 0
    assert done.stderr == f"note: {tmp_path / 'b'} has not finished an episode yet\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["RUN", "--output", "x.jpg"], 2, "x.jpg is of no kind that can be drawn"),
        (["RUN", "--output", "x"], 2, "x is of no kind that can be drawn"),
        (["RUN", "--evaluation", "x.json"], 2, "--evaluation is for an .html page"),
        (["RUN", "--evaluation", "x.json", "-o", "x.png"], 2, "--evaluation is for"),
        (["RUN", "--evaluation", "x.json", "-o", "x.html"], 2, "cannot read x.json"),
        (["nowhere", "--output", "x.png"], 1, "there is no run at nowhere"),
        (["young", "--output", "x.png"], 1, "young has not finished an episode yet"),
        (["RUN", "--output", "dir.png"], 1, "cannot write dir.png: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    cli: Cli, cartpole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "young", [])
    (tmp_path / "dir.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = cli("plot", *(cartpole_run if a == "RUN" else a for a in arguments))
    assert done.code == code
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: ")
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_without_matplotlib_a_picture_names_what_to_install(
    cartpole_run: Path, tmp_path: Path
) -> None:
    blocked = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"sys.argv = ['a2c', 'plot', {str(cartpole_run)!r}, *{{}}]\n"
        "from a2c_cli.commands.app import main\nmain()"
    )
    for name in ("x.png", "x.html"):
        done = run_python("-c", blocked.format(["-o", str(tmp_path / name)]))
        assert (done.code, done.stdout) == (1, "")
        assert done.stderr == (
            "error: a picture needs matplotlib\nhint: install it: pip install matplotlib\n"
        )
    assert run_python("-c", blocked.format([])).code == 0
