"""`--help`: complete, short where that was asked for, and never cut."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from process import Outcome

from a2c_cli.commands.help import fold_command
from a2c_cli.config.settings import option, settings

Cli = Callable[..., Outcome]
COMMANDS = ("train", "evaluate", "record", "inspect", "plot", "sweep", "push")


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("train", "--help-all")])
def test_it_fits_the_terminal_and_cuts_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = cli(*command, *([] if "--help-all" in command else ["--help"]))
    assert done.code == 0
    assert max(map(len, done.stdout.splitlines())) <= columns
    for sign in ("…", "<", "[dim]", "None", "VALUE", "x>="):
        assert sign not in done.stdout
    assert done.stdout.startswith("Usage: a2c")


def test_train_shows_what_matters_and_says_where_the_rest_is(cli: Cli) -> None:
    short, long = cli("train", "--help").stdout, cli("train", "--help-all").stdout
    shown = [line for line in short.splitlines() if line.startswith("  -")]
    assert len(shown) <= 20
    assert "a2c train --help-all" in short
    for name in settings():
        assert option(name) in long, name
    assert "0 to 1" in long


def test_examples_are_folded_so_that_they_can_be_pasted() -> None:
    command = "a2c train --env CartPole-v1 --total-steps 300000 --seed 1 > out.txt"
    lines = fold_command(command, 40)
    assert len(lines) == 3
    assert max(map(len, lines)) <= 40
    assert shlex.split("\n".join(lines).replace("\\\n", " ")) == shlex.split(command)
    assert fold_command(command, 100) == [command]
