"""What libraries print while work goes on: never a result, and never what drives the terminal.

Environments, emulators and trackers write on descriptors 1 and 2 as they like, from C too. Both
lead to a process that cleans what comes and hands it on to standard error. It is a process so that
the last words of one that crashes come out, and so that C code that prints while it holds Python's
lock cannot wait for itself.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from a2c_cli.terminal import streams
from a2c_cli.terminal.cleaner import Cleaner
from a2c_cli.terminal.signals import note_unheard

if TYPE_CHECKING:
    from rich.console import Console

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); import a2c_cli.terminal.cleaner as c; \
c.main(sys.argv[2], int(sys.argv[3]))"


@contextlib.contextmanager
def results_apart() -> Iterator[None]:
    """Whatever is printed here is talk, made clean; stdout is for results, once this is over.

    From then on it takes what `console` prints, and nothing else until the process has ended.
    """
    ours = sys.stdout
    try:
        real = ours.fileno() == 1 and sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        real = False
    ours.flush()
    kept = os.dup(1) if real else -1
    if real:
        _divert()
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = ours
        if real:
            _flush_c()
            os.dup2(kept, 1)
            os.close(kept)
            streams.settle()
            atexit.register(_silence)


def _divert() -> None:
    """Lead descriptor 2 to a process that cleans; where none can be started all stays as it is."""
    if streams.talk() is not sys.stderr:
        return  # they do so already
    (read, write), (answers, answer), own = os.pipe(), os.pipe(), os.dup(2)
    signals, noted = os.pipe()
    root, encoding = str(Path(__file__).parents[2]), sys.stderr.encoding
    with contextlib.suppress(OSError, ValueError):
        # In a session of its own: it ends when all who print have ended, not by Ctrl-C.
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, root, encoding, str(signals)],
            pass_fds=(signals,), stdin=read, stdout=own, stderr=answer, start_new_session=True,
        )  # fmt: skip
        sys.stderr.flush()
        os.dup2(write, 2)
        streams.take_for_talk(own, encoding, answers)
        note_unheard(noted)
    for descriptor in (read, write, answer, signals):
        os.close(descriptor)


def _flush_c() -> None:
    """What C libraries have printed so far goes where descriptor 1 leads now."""
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).fflush(None)


def _silence() -> None:
    """What is still printed when the process ends is no result."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.dup2(2, 1)


class _Above(io.TextIOBase):
    """Standard output and error of libraries while a picture is shown: lines above it."""

    encoding = "utf-8"

    def __init__(self, console: Console, file: TextIO) -> None:
        self._console, self._file = console, file
        self._cleaner, self._begun = Cleaner(), ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + self._cleaner.feed(text)).split("\n")
        if lines:
            self._show("\n".join(lines))
        return len(text)

    def flush(self) -> None:
        if self._begun:
            self._show(self._begun)
        self._begun = ""

    def fileno(self) -> int:
        return self._file.fileno()

    def _show(self, text: str) -> None:
        from rich.text import Text

        with contextlib.suppress(OSError, SystemExit):  # rich leaves when its pipe breaks
            self._console.print(Text(text), soft_wrap=True)


@contextlib.contextmanager
def above(console: Console) -> Iterator[None]:
    """Here what Python code prints goes above the picture that a console shows, made clean."""
    before = sys.stdout, sys.stderr
    lines = _Above(console, sys.stderr)
    sys.stdout = sys.stderr = lines
    try:
        yield
    finally:
        lines.flush()
        sys.stdout, sys.stderr = before
