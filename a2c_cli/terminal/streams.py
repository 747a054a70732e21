"""Standard input, output and error: closed before we were started, or full, or gone."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from typing import TextIO

from a2c_cli.terminal.cleaner import MARK
from a2c_cli.text import error_text, message_text

_PATIENCE = 2.0  # seconds for what has been printed to come out
# Where descriptor 2 leads to a process that cleans what libraries print: standard error itself,
# and the descriptor on which that process answers.
_own: list[TextIO] = []
_answers: list[int] = []


def talk() -> TextIO:
    """Where what we say ourselves goes: standard error, past what cleans the words of others."""
    return _own[0] if _own else sys.stderr


def talk_descriptor() -> int:
    """Its descriptor."""
    return _own[0].fileno() if _own else 2


def take_for_talk(descriptor: int, encoding: str, answers: int) -> None:
    """From here on talk goes to this descriptor; `settle` waits for an answer on the other."""
    _own.append(os.fdopen(descriptor, "w", 1, encoding, "replace", closefd=False))
    _answers.append(answers)


def settle() -> None:
    """Wait until all that has been printed so far has come out."""
    if not _answers:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
        os.write(2, MARK.encode())
        if select.select(_answers, [], [], _PATIENCE)[0]:
            os.read(_answers[0], 2**16)


def open_missing() -> None:
    """Put /dev/null where a standard descriptor is closed.

    Else the first file that is opened gets its number, and what is meant for people is written
    into a run's metrics.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def finish() -> str:
    """Hand all output over; what cannot be is dropped, so that the interpreter's exit is quiet.

    Returns:
        Why results could not be written, empty if they could.
    """
    why = ""
    for stream in (talk(), sys.stderr, sys.stdout):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            if stream is sys.stdout:
                why = getattr(error, "strerror", None) or str(error)
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return why


def hush_threads() -> None:
    """A thread that a library has lost is one line, not pages: what it was for fails by itself."""

    def hook(lost: threading.ExceptHookArgs) -> None:
        said = error_text(lost.exc_value) if lost.exc_value else lost.exc_type.__name__
        with contextlib.suppress(OSError):
            print(message_text(f"warning: a thread ended: {said}"), file=sys.stderr, flush=True)

    threading.excepthook = hook
