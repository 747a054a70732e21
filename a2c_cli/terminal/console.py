"""How anything is put on a terminal: talk, tables, bars, JSON.

Results go to stdout; everything that is talk goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from a2c_cli.terminal import streams
from a2c_cli.terminal.prints import above
from a2c_cli.text import folded, message_text, safe_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.progress import Progress

_UNLIMITED = 10_000  # columns
_BARS = "▁▂▃▄▅▆▇█"


def say(text: str, quiet: bool = False) -> None:
    """A line of talk on stderr."""
    if not quiet:
        with contextlib.suppress(OSError):  # whoever listened may have gone away
            print(message_text(text), file=streams.talk(), flush=True)


class Display:
    """What is shown on stderr while work goes on; a terminal that has gone away does not end it.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = talk()
        self._picture: Live | None = None
        self._last: RenderableType | None = None  # drawn, at `_width`
        self._width = 0
        self._prints = contextlib.ExitStack()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        if self._picture is not None:
            with contextlib.suppress(OSError, SystemExit):
                self._picture.stop()
        self._prints.close()

    @property
    def live(self) -> bool:
        """Whether a picture can be redrawn in its place."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def width(self) -> int:
        """Characters in a line."""
        return self._console.width

    @property
    def height(self) -> int:
        """Lines."""
        return self._console.height

    def say(self, text: str) -> None:
        """A line above the picture, however long: a picture would tear it."""
        line = message_text(text)
        lines = folded(line, self.width) if self._console.is_terminal else [line]
        self._show(lambda: self._console.print(Text("\n".join(lines)), soft_wrap=True))

    def draw(self, picture: Callable[[], RenderableType]) -> None:
        """Put a picture in place of the last one; it is not made where nobody sees it."""
        self._show(lambda: self._redraw(picture()))

    def _redraw(self, picture: RenderableType) -> None:
        if self._picture is None:
            from rich.live import Live  # imports more than most commands need

            self._picture = Live(
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._picture.start()
            self._prints.enter_context(above(self._console))
        width = self._console.width
        self._step_over_what_wrapped(width)
        self._last, self._width = picture, width
        self._picture.update(picture, refresh=True)

    def _step_over_what_wrapped(self, width: int) -> None:
        """A terminal that became narrower has broken lines of the picture: erase the surplus."""
        if self._last is None or width >= self._width:
            return
        options = self._console.options.update(width=self._width)
        lines = self._console.render_lines(self._last, options, pad=False)
        lengths = [sum(segment.cell_length for segment in line) for line in lines]
        extra = sum(max(0, math.ceil(length / width) - 1) for length in lengths)
        step = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        self._console.control(Control(*(step * extra)))

    def _show(self, action: Callable[[], None]) -> None:
        if self._quiet:
            return
        try:
            action()
        except (OSError, SystemExit):  # rich leaves the program when its pipe breaks
            self._quiet = True


class Bar:
    """What moves a progress bar.

    Args:
        bar: rich's.
    """

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar, self._task = bar, bar.add_task("", total=total)

    def advance(self) -> None:
        """One of what is counted is over."""
        self._bar.advance(self._task)
        self._bar.update(self._task, description="")

    def count(self, what: str) -> Callable[[], None]:
        """Shows how many of something there have been within the one that is going on."""
        seen = 0

        def one_more() -> None:
            nonlocal seen
            seen += 1
            self._bar.update(self._task, description=f"{seen:,} {what}")

        return one_more


@contextlib.contextmanager
def progress_bar(what: str, total: int, quiet: bool = False) -> Iterator[Bar]:
    """A bar with the time left, on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    console = talk()
    bar = Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(what),
        TextColumn("{task.description}"),
        Left(compact=True),
        console=console,
        disable=quiet or not console.is_terminal or console.is_dumb_terminal,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar, contextlib.nullcontext() if bar.disable else above(console):
        yield Bar(bar, total)


def sparkline(values: Sequence[float], width: int = 30) -> str:
    """A row of bars from the lowest to the highest value, averaged down to `width`."""
    if not values:
        return ""
    step = max(1, math.ceil(len(values) / width))
    means = [
        sum(chunk) / len(chunk)
        for chunk in (values[i : i + step] for i in range(0, len(values), step))
    ]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_BARS[round((m - low) / span * (len(_BARS) - 1))] for m in means)


class Results(Console):
    """Stdout: nothing that is printed is cut, and a reader that has gone away is no failure."""

    def __init__(self) -> None:
        free = not sys.stdout.isatty() and "COLUMNS" not in os.environ  # rich would say 80
        super().__init__(highlight=False, width=_UNLIMITED if free else None)

    def on_broken_pipe(self) -> None:
        """Raise it: rich would leave the program with code 1."""
        raise BrokenPipeError

    def put(self, text: Text) -> None:
        """One line, however long."""
        self.print(text, soft_wrap=True)


def print_columns(names: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> None:
    """A table; an empty line before it.

    Args:
        names: of its columns.
        rows: texts; nothing in them is cut or broken.
        left: the column of names, on the left of it; numbers are on the right of theirs.
    """
    console = Results()
    console.put(Text())
    print_table(console, names, rows, left)


def print_table(
    console: Results, names: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0
) -> None:
    """As `print_columns`, without the empty line."""
    clean = [[safe_text(cell) for cell in row] for row in (names, *rows)]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    for i, row in enumerate(clean):
        cells = [
            cell.ljust(width) if column == left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        console.put(Text("  ".join(cells).rstrip(), "" if i else "bold"))


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names, dim, and what stands behind each; broken between words, and on a terminal only."""
    console = Results()
    margin = max(len(name) for name, _ in rows)
    room = max(20, console.width - margin - 2) if console.is_terminal else sys.maxsize
    for name, value in rows:
        lines = textwrap.wrap(
            safe_text(value), room, break_long_words=False, break_on_hyphens=False
        )
        for i, line in enumerate(lines or [""]):
            label = "" if i else name
            console.put(Text(f"{label:{margin}}  ", "dim").append(Text(line, "not dim")))


def print_json(record: Mapping[str, Any]) -> None:
    """A result for scripts, on stdout."""
    print(json.dumps(record, allow_nan=False), flush=True)


class _Talk(Console):
    """Stderr: as wide as the terminal that it leads to, wherever descriptors 0 to 2 lead."""

    def __init__(self) -> None:
        super().__init__(file=streams.talk(), highlight=False)

    @property  # type: ignore[misc]
    def size(self) -> ConsoleDimensions:
        if not (self.is_dumb_terminal or {"COLUMNS", "LINES"} & set(os.environ)):
            with contextlib.suppress(OSError, ValueError):
                columns, lines = os.get_terminal_size(self.file.fileno())
                if columns and lines:
                    return ConsoleDimensions(columns, lines)
        return super().size


def talk() -> Console:
    """The console on stderr."""
    return _Talk()
