"""What stands between libraries and the terminal: a process that cleans their text, and listens."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import time

from a2c_cli.text import LONGEST, safe_text

MARK = "\x1b]a2c\x07"  # in what is read: say so once all before it has been written
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX\]^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[PX\]^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_BROKEN = re.compile(r"([\t\n\r]+)")


class Cleaner:
    """Takes escape sequences out, shows other control characters as `?`, cuts long lines.

    Text may come in any pieces; what could be the begin of a sequence waits for the next one.
    """

    def __init__(self) -> None:
        self._begun = ""
        self._column = 0
        self.marked = False  # whether `MARK` has come since this was last made false

    def feed(self, text: str) -> str:
        """What is to be shown of some more text."""
        text = self._begun + text
        begun = _BEGUN.search(text)
        self._begun = begun[0] if begun and len(begun[0]) <= LONGEST else ""
        text = text[: len(text) - len(self._begun)]
        self.marked |= MARK in text
        pieces = _BROKEN.split(_SEQUENCE.sub("", text).replace("\r\n", "\n"))
        return "".join(map(self._piece, pieces))

    def _piece(self, text: str) -> str:
        if _BROKEN.fullmatch(text):
            self._column = 0 if text != "\t" * len(text) else self._column + len(text)
            return text
        room, self._column = LONGEST - self._column, self._column + len(text)
        if room < 0:
            return ""
        return safe_text(text) if len(text) <= room else f"{safe_text(text[:room])} ..."


class Watch:
    """Whether the process that prints still hears Ctrl-C and SIGTERM.

    Inside of C code that does not come back Python runs no handler. So the C half of Python's own
    tells this one of every signal, and the Python half tells it, by a zero, that it has run.
    """

    def __init__(self) -> None:
        self._process = os.getppid()
        self._unheard, self._last, self._said = 0, 0.0, False

    @property
    def waiting(self) -> float | None:
        """Seconds until `act` should be called; None if there is nothing to wait for."""
        return 0.1 if self._unheard else None

    def take(self, numbers: bytes) -> None:
        """Take in signals, and zeros."""
        for number in numbers:
            if number == 0:
                self._unheard, self._said = 0, False
            elif number in (signal.SIGINT, signal.SIGTERM):
                self._unheard, self._last = self._unheard + 1, time.monotonic()

    def act(self) -> None:
        """Say that the first has not been heard; end the process if the second is not either."""
        silent = time.monotonic() - self._last if self._unheard else 0.0
        if self._unheard > 1 and silent > 1.0 and os.getppid() == self._process:
            cursor = b"\x1b[?25h" if os.isatty(1) else b""  # a picture has hidden it
            _write(cursor + b"error: killed, for it did not come back\n")
            os.kill(self._process, signal.SIGKILL)
            self._unheard = 0
        elif self._unheard == 1 and silent > 3.0 and not self._said:
            self._said = True
            _write(b"stopping: waiting for a call that does not come back (once more to leave)\n")


def main(encoding: str, signals: int) -> None:
    """Clean what comes on descriptor 0 and write it on 1; 2 gets a byte for every mark.

    Args:
        encoding: of what is written.
        signals: the descriptor for `Watch`.
    """
    cleaner, decoder, watch = Cleaner(), codecs.getincrementaldecoder("utf-8")("replace"), Watch()
    os.set_blocking(2, False)
    sources = [0, signals]
    while 0 in sources:
        for source in select.select(sources, [], [], watch.waiting)[0]:
            data = os.read(source, 2**16)
            if not data:
                sources.remove(source)
            elif source == signals:
                watch.take(data)
            else:
                _write(cleaner.feed(decoder.decode(data)).encode(encoding, "replace"))
        if cleaner.marked:
            cleaner.marked = False
            with contextlib.suppress(OSError):
                os.write(2, b".")
        watch.act()


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more; whoever prints must not wait
        while data:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                time.sleep(0.01)
