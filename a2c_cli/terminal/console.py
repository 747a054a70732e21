"""How anything is put on a terminal: talk, tables, bars, JSON.

Results go to stdout; everything that is talk goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from a2c_cli.text import message_text, safe_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_BARS = "▁▂▃▄▅▆▇█"


def say(text: str, quiet: bool = False) -> None:
    """A line of talk on stderr."""
    if not quiet:
        with contextlib.suppress(OSError):  # whoever listened may have gone away
            print(message_text(text), file=sys.stderr, flush=True)


class Display:
    """What is shown on stderr while work goes on; a terminal that has gone away does not end it.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = talk()
        self._picture: Live | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        if self._picture is not None:
            with contextlib.suppress(OSError, SystemExit):
                self._picture.stop()

    @property
    def live(self) -> bool:
        """Whether a picture can be redrawn in its place."""
        return self._console.is_terminal

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
        self._show(lambda: self._console.print(Text(message_text(text)), soft_wrap=True))

    def draw(self, picture: Callable[[], RenderableType]) -> None:
        """Put a picture in place of the last one; it is not made where nobody sees it."""
        self._show(lambda: self._redraw(picture()))

    def _redraw(self, picture: RenderableType) -> None:
        if self._picture is None:
            from rich.live import Live  # imports more than most commands need

            self._picture = Live(console=self._console, refresh_per_second=4)
            self._picture.start()
        self._picture.update(picture)

    def _show(self, action: Callable[[], None]) -> None:
        if self._quiet:
            return
        try:
            action()
        except (OSError, SystemExit):  # rich leaves the program when its pipe breaks
            self._quiet = True


@contextlib.contextmanager
def progress_bar(what: str, total: int, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A bar with the time left, on a terminal only; gives the function that advances it."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = talk()
    with Bar(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


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


def print_columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Names on the left, numbers on the right of their columns; an empty line before."""
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for name, *numbers in rows:
        table.add_row(Text(safe_text(name)), *numbers)
    console = Console()
    console.print()
    console.print(table)


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names, dim, and what stands behind each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(safe_text(value)))
    Console().print(table)


def print_json(record: Mapping[str, Any]) -> None:
    """A result for scripts, on stdout."""
    print(json.dumps(record, allow_nan=False), flush=True)


def talk() -> Console:
    """The console on stderr."""
    return Console(stderr=True, highlight=False)
