"""The commands and programs of README and docs are run, each with a small budget, as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process import Outcome, run_python
from tree import ROOT
from walk import commands, files, programs

Cli = Callable[..., Outcome]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
# What a command gets beyond what the page says, so that it is over soon; the last option counts.
SMALL = {
    "train": ["--total-steps", "120"],
    "evaluate": ["--episodes", "2", "--max-steps", "20", "--jobs", "1"],
    "record": ["--max-steps", "12", "--best-of", "1", "--episodes", "1"],
    "sweep": ["--dry-run"],
}
ELSEWHERE = ("hf:", "--ray-address")  # need a network or a cluster; tests of their own have them
PACKAGES = ("tensorboard", "wandb", "trackio", "ray")


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cartpole_run: Path, breakout_run: Path
) -> Iterator[Path]:
    """A directory as a reader's: some runs under ./checkpoints, an environment of one's own."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "checkpoints"
    for name in ("cartpole", "my-run", "sweep/CartPole-v1/seed0"):
        shutil.copytree(cartpole_run, runs / name)
    for name in ("pong", "Breakout-v5-seed0-20261126-120000"):
        shutil.copytree(breakout_run, runs / name)
    shutil.copy(ROOT / "checkpoints" / "breakout.safetensors", runs)
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "pendulum.toml").write_text('env = "Pendulum-v1"\n')
    (tmp_path / "hop.py").write_text(files(ROOT / "README.md")["hop.py"])
    yield tmp_path
    Path(tmp_path / "hop.py").unlink()


def run(cli: Cli, place: Path, patch: pytest.MonkeyPatch, command: str) -> None:
    """Run one command as a shell would, in small; it must succeed."""
    redirected = re.fullmatch(r"(.*?) > ([\w.]+)", command)
    words = shlex.split(redirected[1] if redirected else command)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        patch.setenv(name, value)
    name, *arguments = words[1:]
    resumed = "--resume" in arguments or "--show-config" in arguments
    fresh = name == "train" and not resumed and "--run-dir" not in arguments
    small = [] if resumed else SMALL.get(name, [])
    if "yourmodule:YourEnv-v0" in arguments:  # the reader's own; README's hop.py stands for it
        arguments = ["--env", "hop:Hop-v0"]
    for option in ("--run-dir",) if name == "train" else ():
        if option in arguments:  # a page may train there twice
            shutil.rmtree(arguments[arguments.index(option) + 1], ignore_errors=True)
    extra = ["--run-dir", place / "checkpoints" / f"new{len(os.listdir('checkpoints'))}"]
    done = cli(name, *arguments, *small, *(extra if fresh else []))
    assert done.code == 0, f"{command}\n{done.stderr}"
    if redirected:
        (place / redirected[2]).write_text(done.stdout)


def runnable(command: str) -> bool:
    """Whether this machine has what the command needs."""
    there = [name for name in PACKAGES if importlib.util.find_spec(name) is not None]
    wanted = [name for name in PACKAGES if re.search(rf"(tracker|backend) {name}\b", command)]
    return set(wanted) <= set(there) and not any(word in command for word in ELSEWHERE)


def test_the_commands_of_the_readme_run(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commands(ROOT / "README.md")
    assert [command.split()[1] for command in found[:4]] == ["train", "evaluate", "record", "plot"]
    assert any("hop:Hop-v0" in command for command in found)  # behind a block of Python
    for command in found:
        run(cli, place, monkeypatch, command)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in DOCS if commands(page) and page.stem != "results"],  # of days
    ids=lambda page: page.stem,
)  # fmt: skip
def test_the_commands_of_a_page_run(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch, page: Path
) -> None:
    for command in commands(page):
        if runnable(command):
            run(cli, place, monkeypatch, command)


def run_programs(page: Path, place: Path) -> None:
    """All of a page in one process: what one has trained, the next one loads."""
    text = "\n".join(programs(page))
    assert "a2c" in text
    done = run_python("-c", text, cwd=place)
    assert done.code == 0, done.stderr
    assert done.stdout


def test_the_program_of_the_readme_runs(place: Path) -> None:
    run_programs(ROOT / "README.md", place)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["library", "runs"])
def test_the_programs_of_a_page_run(place: Path, name: str) -> None:
    run_programs(ROOT / "docs" / f"{name}.md", place)


def test_the_environment_of_the_docs_is_that_of_the_readme() -> None:
    own = (files(page)["hop.py"] for page in (ROOT / "README.md", ROOT / "docs/environments.md"))
    short, long = ([line for line in text.splitlines() if '"""' not in line] for text in own)
    assert [line for line in short if line] == [line for line in long if line]
