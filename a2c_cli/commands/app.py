"""The command line: builds the Typer app and turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from a2c_cli.commands import evaluate, inspect, plot, push, record, sweep, train
from a2c_cli.commands.help import Group
from a2c_cli.errors import A2CError
from a2c_cli.terminal.signals import EXIT_CODES, Stopped, handled
from a2c_cli.terminal.streams import finish, hush_threads, open_missing, settle
from a2c_cli.text import error_text, folded, message_text, safe_text
from a2c_cli.version import VERSION

# As torch says it, and the loader of libraries below a limit of address space.
_MEMORY = re.compile("(out of|can't allocate|[cC]annot allocate|not enough) memory|failed to map")
_NO_MEMORY = (
    "there is not enough memory",
    "try a smaller network or --n-steps, or see `ulimit -v`",
)

app = typer.Typer(
    name="a2c",
    help="Train an advantage actor-critic online from a single stream of experience, then"
    " evaluate it, film it and look inside.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, evaluate, record, inspect, plot, sweep, push):
    command.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"a2c {VERSION}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: runs the app; every error ends in `error: ...`, `hint: ...` and a code."""
    open_missing()
    hush_threads()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a poor terminal must not end a run
    with handled():
        code = _run()
        why = finish()
        if why and code == 0:
            code = _fail(f"the results cannot be written: {why}", "see where stdout goes", 1)
            finish()
        settle()
    sys.exit(code)


def _run() -> int:
    for arg in sys.argv[1:]:
        if re.fullmatch(r"(--[a-z-]+=)?\s*", arg):  # an empty path would be the current directory
            return _fail(f"an argument is empty: {arg!r}", f"see `{_help_command()}`", 2)
    try:
        return int(app(standalone_mode=False, prog_name="a2c") or 0)
    except A2CError as error:
        return _fail(error.message, error.hint or f"see `{_help_command()}`", error.exit_code)
    except typer.TyperException as error:
        return _fail(_said(error), f"see `{_help_command()}`", error.exit_code)
    except Stopped as stopped:
        return _fail(stopped.reason, "", EXIT_CODES[stopped.reason])
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", "", 130)
    except BrokenPipeError:
        # The reader went away (`a2c ... | head`); give the interpreter nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _fail(*_NO_MEMORY, 1)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{place}", "check the place and its limits", 1)
    except Exception as error:
        said = error_text(error)
        if _MEMORY.search(said):
            return _fail(*_NO_MEMORY, 1)
        if isinstance(error, ImportError):
            package = (error.name or "it").partition(".")[0]
            return _fail(f"a package cannot be loaded: {said}", f"install {package} again", 1)
        return _fail(f"unexpected {said}", "this is a bug; A2C_DEBUG=1 shows where", 1)


def _fail(message: str, hint: str, code: int) -> int:
    if os.environ.get("A2C_DEBUG") == "1":
        import traceback

        trace = traceback.format_exc()
        with contextlib.suppress(OSError):
            typer.echo("\n".join(safe_text(line) for line in trace.splitlines()), err=True)
    if not message:  # `a2c` alone has printed the help
        return code
    # Messages may quote names from files: nothing in them may drive the terminal.
    for label, text in (("error", message), ("hint", hint)):
        with contextlib.suppress(OSError):  # whoever listened may have gone away
            if text:
                line = f"{label}: {message_text(' '.join(text.split()))}"
                width = _width()
                typer.echo("\n".join(folded(line, width) if width else [line]), err=True)
    return code


def _width() -> int:
    """Columns of the terminal that errors go to; 0 where they go elsewhere."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def _said(error: typer.TyperException) -> str:
    """What is wrong with the command line, shorter than the parser says it."""
    number = r"Input should be a valid (?:(integer)|number), unable to parse string as an? \w+"
    return re.sub(
        number, lambda m: f"it takes a {'whole ' if m[1] else ''}number", error.format_message()
    )


def _help_command() -> str:
    known = {"train", "evaluate", "record", "inspect", "plot", "sweep", "push"}
    names = [arg for arg in sys.argv[1:] if arg in known][:1]
    return " ".join(["a2c", *names, "--help"])
