"""What `--help` says of a command: purpose, examples, options. docs/commands says the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

ALL = "--help-all"
BEGIN = "Begin with: a2c train --env CartPole-v1 --total-steps 12000"
ARGUMENTS, OPTIONS = "Arguments", "Options"
_EXAMPLES = "Examples:"
_ALONE = 68  # columns, below which an option's meaning stands under its name


@dataclass(frozen=True)
class Entry:
    """One option or argument.

    Args:
        names: as it is spelt, its value included.
        meaning: a sentence, with its range.
        default: in words; "" without one.
        group: the heading it stands under; plain `--help` shows arguments and `OPTIONS` alone.
    """

    names: str
    meaning: str
    default: str
    group: str

    @property
    def main(self) -> bool:
        """Whether plain `--help` shows it."""
        return self.group in (ARGUMENTS, OPTIONS)


class Command(TyperCommand):
    """A command whose help fits any terminal and leaves nothing out."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print it; what `--help-all` adds only if that was given."""
        show(self, f"a2c {ctx.info_name}", everything=ALL in ctx.meta)


def _show_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        ctx.meta[ALL] = True
        ctx.get_help()
        raise typer.Exit()


HelpAll = Annotated[
    bool,
    typer.Option(ALL, help="Show every setting and exit.", callback=_show_all, is_eager=True),
]


class Group(TyperGroup):
    """The program itself: its help lists the commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print it."""
        show(self, "a2c", everything=True)


def split_help(text: str) -> tuple[str, list[str]]:
    """A command's help text as its purpose and its examples, one command each."""
    purpose, _, examples = text.partition(_EXAMPLES)
    return purpose.strip(), [line.strip() for line in examples.splitlines() if line.strip()]


def entries(command: Any) -> list[Entry]:
    """The options and arguments of a Typer command, in the order of their declaration."""
    return [_entry(param) for param in command.params if not getattr(param, "hidden", False)] + [
        Entry("--help, -h", "Show this and exit.", "", OPTIONS)
    ]


def _entry(param: Any) -> Entry:
    text = re.sub(r"\s+", " ", param.help or "")
    found = re.search(r" ?\[dim\]\((.*)\)\[/dim\]$", text)
    default = found[1] if found else ""
    meaning = text[: found.start()] if found else text
    if param.param_type_name == "argument":
        return Entry(f"[{param.metavar or param.name.upper()}]", meaning, default, ARGUMENTS)
    both = " / ".join(", ".join(names) for names in (param.opts, param.secondary_opts) if names)
    flag = param.is_flag
    if not default and not flag and param.default not in (None, ()):
        default = f"{param.default:,}" if isinstance(param.default, int) else f"{param.default}"
    names = both if flag else f"{both} {param.metavar or _value(param)}"
    group = param.rich_help_panel or OPTIONS
    return Entry(names, f"{meaning}{_range(param)}", default, group)


def _value(param: Any) -> str:
    """What stands for an option's value: N, X, PATH or NAME, by its type."""
    kind = re.sub(r".*\[|\]", "", param.bare_type())
    return {"int": "N", "float": "X", "Path": "PATH"}.get(kind, "NAME")


def _range(param: Any) -> str:
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    endless = high is None or high > 2**53
    if low is None or (endless and low <= 1):  # of a count: everybody expects it
        return ""
    return f" At least {low:g}." if endless else f" From {low:g} to {high:g}."


def fold_command(text: str, width: int) -> list[str]:
    """A command for a shell in lines of at most `width` characters, where its options allow it."""
    lines = [""]
    for part in re.split(r" (?=-|\||>)", text):
        if lines[-1] and len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append("    ")
        lines[-1] += part if not lines[-1].strip() else f" {part}"
    return lines


def show(command: Any, name: str, *, everything: bool) -> None:
    """Print the help of a command or of the program."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    purpose, examples = split_help(command.help or "")
    commands = getattr(command, "commands", {})
    shown = entries(command)
    arguments = "".join(f" {e.names}" for e in shown if e.group == ARGUMENTS)
    console.print(Text(f"Usage: {name}{' COMMAND' if commands else arguments} [OPTIONS]", "bold"))
    console.print(Text(f"\n{purpose}"))
    if examples:
        console.print(Text(f"\n{_EXAMPLES}", "bold"))
        for example in examples:
            for line in fold_command(example, console.width - 2):
                console.print(Text(f"  {line}"), soft_wrap=True)
    if commands:
        rows = [
            (each.name, split_help(each.help or "")[0].split("\n")[0], "")
            for each in commands.values()
        ]
        _print_list(console, "Commands", rows)
    wanted = [entry for entry in shown if everything or entry.main]
    for group in dict.fromkeys(entry.group for entry in wanted):
        rows = [(e.names, e.meaning, e.default) for e in wanted if e.group == group]
        _print_list(console, group, rows)
    if commands:
        console.print(Text(f"\n{BEGIN}", "dim"), soft_wrap=True)
    if len(wanted) < len(shown):
        rest = len(shown) - len(wanted)
        console.print(Text(f"\n{rest} more settings: {name} {ALL}", "dim"), soft_wrap=True)


def _bound(text: str) -> str:
    """A text whose equations (`0 = none`) are not broken at the end of a line."""
    return re.sub(r"(\S+) = (\S+)", "\\1\xa0=\xa0\\2", text)


def _print_list(console: Any, title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"\n{title}:", "bold"))
    texts = [
        (
            Text(names, "cyan"),
            Text(_bound(meaning)).append(f" ({default})" if default else "", "dim"),
        )
        for names, meaning, default in rows
    ]
    if console.width < _ALONE:
        for names_text, meaning_text in texts:
            console.print(Padding(names_text, (0, 0, 0, 2)))
            console.print(Padding(meaning_text, (0, 0, 0, 6)))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=34)
    table.add_column()
    for names_text, meaning_text in texts:
        table.add_row(names_text, meaning_text)
    console.print(Padding(table, (0, 0, 0, 2)))
