"""Standard input, output and error: closed before we were started, or full, or gone."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from a2c_cli.text import error_text, message_text


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
    for number, stream in ((2, sys.stderr), (1, sys.stdout)):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if number == 2:
                why = ""
    return why


def hush_threads() -> None:
    """A thread that a library has lost is one line, not pages: what it was for fails by itself."""

    def hook(lost: threading.ExceptHookArgs) -> None:
        said = error_text(lost.exc_value) if lost.exc_value else lost.exc_type.__name__
        with contextlib.suppress(OSError):
            print(message_text(f"warning: a thread ended: {said}"), file=sys.stderr, flush=True)

    threading.excepthook = hook
