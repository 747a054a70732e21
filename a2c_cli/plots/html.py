"""HTML from plain values, which may come out of a stranger's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from a2c_cli.text import safe_text


def text(value: object) -> str:
    """Any value as text that is harmless in a page, attributes included."""
    return escape(safe_text(str(value)))


def number(value: float | None) -> str:
    """Two decimals; a dash for None."""
    return "–" if value is None else f"{value:,.2f}".replace("-", "\N{MINUS SIGN}")


def interval(ci95: Sequence[float] | None) -> str:
    """`low to high`; a dash for None."""
    return "–" if ci95 is None else f"{number(ci95[0])} to {number(ci95[1])}"


def heading(name: str, env_id: str | None = None) -> str:
    """Of a section, about one environment if the page has several."""
    return f"<h2>{name}{'' if env_id is None else ' · ' + text(env_id)}</h2>"


def table(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A table that scrolls by itself where it is too wide.

    Args:
        columns: their names; one that starts with # holds numbers.
        rows: (class, cells), the cells as HTML.
    """

    def cell(tag: str, column: str, content: str) -> str:
        kind = ' class="n"' if column.startswith("#") else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    head = "".join(cell("th", c, text(c.lstrip("#"))) for c in columns)
    body = "\n".join(
        f"<tr{' class=' + chr(34) + kind + chr(34) if kind else ''}>"
        + "".join(cell("td", c, x) for c, x in zip(columns, cells, strict=True))
        + "</tr>"
        for kind, cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>'
        f"\n<tbody>\n{body}\n</tbody></table></div>"
    )


def definitions(kind: str, values: Mapping[str, str]) -> str:
    """A list of names and values, laid out by its class.

    Args:
        kind: `tiles` or `settings`.
        values: plain text.
    """
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in values.items()
    )
    return f'<dl class="{kind}">{items}</dl>'
