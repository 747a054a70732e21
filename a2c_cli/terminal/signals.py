"""Ctrl-C, SIGTERM and a hang-up: what a command does with them, at every stage of its life.

Starting: one line and out, nothing has been begun. Training: finish the step, save, say how to
resume. Evaluating, filming: `Stopped` unwinds what is open. A second signal leaves at once, and
within seconds from inside a C library that does not come back (`cleaner.Watch`). A hang-up comes
when the terminal is closed or its connection lost; under `nohup` it is ignored. The library itself
installs no handler.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from a2c_cli.terminal.streams import talk_descriptor

REASONS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
EXIT_CODES = {reason: 128 + number for number, reason in REASONS.items()}
_noted: list[int] = []  # where `note_unheard` leads
_SHOW_CURSOR = b"\x1b[?25h"


class Stopped(BaseException):
    """A signal came in the middle of work that leaves nothing to save.

    Args:
        reason: one of `REASONS`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Around a whole command: until it says otherwise a signal ends it at once, with one line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _leave) for number in _answered()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answered() -> list[signal.Signals]:
    """The signals that are ours to answer: not a hang-up that whoever started us has us ignore."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in REASONS if not (ignored and number == signal.SIGHUP)]


def raise_stopped() -> None:
    """From here on the first signal raises `Stopped`."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        _next_one_kills()
        raise Stopped(REASONS[signal.Signals(number)])

    _install(on_signal)


def ask_to_stop(quiet: bool = False) -> Callable[[], str | None]:
    """From here on the first signal is only noted; returns the question what was noted.

    Args:
        quiet: do not tell the user that the signal has been heard.
    """
    asked: list[str] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        _next_one_kills()
        asked.append(REASONS[signal.Signals(number)])
        if not quiet:
            _write(b"stopping: saving first (once more to leave at once)\n")

    _install(on_signal)
    return lambda: asked[0] if asked else None


def note_unheard(descriptor: int) -> None:
    """Write every signal there, from C, and a zero once it has been answered.

    Whoever reads it can tell a process that hears nothing since C code does not come back.
    """
    if threading.current_thread() is threading.main_thread():
        os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        _noted.append(descriptor)


def _install(handler: Callable[[int, FrameType | None], None]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in _answered():
            signal.signal(number, handler)


def _next_one_kills() -> None:
    with contextlib.suppress(OSError):
        for descriptor in _noted:
            os.write(descriptor, b"\0")
    # The default action needs no Python to run. A progress display has hidden the cursor.
    # A hang-up comes twice where both the shell and the terminal send one.
    for number in REASONS:
        again = signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL
        signal.signal(number, again)
    if os.isatty(talk_descriptor()):
        _write(_SHOW_CURSOR)


def _leave(number: int, frame: FrameType | None) -> None:
    reason = REASONS[signal.Signals(number)]
    _write(f"error: {reason} before anything was begun\n".encode())
    os._exit(EXIT_CODES[reason])


def _write(data: bytes) -> None:
    # Not through sys.stderr: its buffer may be in use by what the signal interrupted.
    with contextlib.suppress(OSError):
        os.write(talk_descriptor(), data)
