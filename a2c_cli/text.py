"""Text for people: numbers, durations, and names that strangers wrote."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


LONGEST = 2000  # characters of a message; nobody reads more


def safe_text(text: str) -> str:
    """Untrusted text without control characters, so that it cannot drive a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def message_text(text: str) -> str:
    """A message, which may quote a stranger's file, of a length that can be read."""
    return safe_text(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...")


def folded(text: str, width: int) -> list[str]:
    """A message in lines for a terminal, broken between words alone: never within a path.

    What stands behind a name (`run        checkpoints/pong`) stays behind it.
    """
    name = re.match(r"\S+(?: \S+)? {2,}", text)
    indent = " " * (len(name[0]) if name and len(name[0]) <= 12 else 2)
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [""]


def error_text(error: BaseException) -> str:
    """An error of somebody else's code in one line: its kind, and what it says if it can."""
    kind = type(error).__name__
    try:
        said = " ".join(str(error).split())
    except Exception:
        said = "it cannot say why"
    return f"{kind}: {said}" if said else kind


def plain_value(value: Any) -> str:
    """A value of a settings file for people: on, off, none, 1,000, a=1."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={plain_value(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_value, value)) or "none"
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def number(value: float | None, form: str = ",.2f", limit: float = math.inf) -> str:
    """A number in digits, or a dash for None; in three digits from `limit` on."""
    if value is None:
        return "-"
    return format(value, form if abs(value) < limit else ".3g")


def percent(share: float, digits: int = 0) -> str:
    """A share as people write it: 40 %."""
    return f"{100 * share:.{digits}f} %"


def short_count(value: float) -> str:
    """A large number in three digits: 0, 500, 20k, 0.5M, 1.2B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (0.1 if size > 1e3 else 1.0):
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def duration(seconds: float) -> str:
    """1:02:03, 2:03 or 3 s."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def first_problem(error: ValidationError) -> str:
    """What is wrong with a document, in one line: the place, then the first thing found there."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    said = first["msg"][:100]  # a bound of 1e300 is written out
    return f"{place}: {said}" if place else said
