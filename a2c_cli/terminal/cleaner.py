"""Text of libraries made clean, and the process that does so between them and the terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
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


def main(encoding: str) -> None:
    """Clean what comes on descriptor 0 and write it on 1; 2 gets a byte for every mark."""
    cleaner, decoder = Cleaner(), codecs.getincrementaldecoder("utf-8")("replace")
    os.set_blocking(2, False)
    while data := os.read(0, 2**16):
        _write(cleaner.feed(decoder.decode(data)).encode(encoding, "replace"))
        if cleaner.marked:
            cleaner.marked = False
            with contextlib.suppress(OSError):
                os.write(2, b".")


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more; whoever prints must not wait
        while data:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                time.sleep(0.01)
