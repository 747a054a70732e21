"""A training run on the terminal: a live table or lines while it goes, and how it ended."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from a2c_cli.terminal.console import Display, print_json, say, sparkline
from a2c_cli.terminal.signals import EXIT_CODES
from a2c_cli.text import duration, number, percent, short_count

if TYPE_CHECKING:
    from a2c_cli.training.progress import Progress, TrainResult


_LINE_STEPS = 10_000  # between two lines of a log file; fewer where the budget is short
_WIDE = 100  # columns from which the panel has two halves


class TrainReporter:
    """Shows a run while it goes: a live table on a terminal, else lines for a log file."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._introduced = False
        self._lines = 0  # of a log file so far

    def show(self, progress: Progress) -> None:
        """Take in where the run stands."""
        display = self._display
        if not self._introduced:
            self._introduced = True
            for text in _introduction(progress):
                display.say(text)
        for text in progress.warnings:
            display.say(f"warning: {text}")
        if display.live:
            display.draw(lambda: panel(progress, display.width))
        elif progress.logged and self._is_due(progress):
            display.say(_line(progress))

    def _is_due(self, p: Progress) -> bool:
        """Whether a log file gets a line: not for each of the many points of a short curve."""
        lines = p.env_steps // max(1, min(_LINE_STEPS, p.total_steps // 10))
        due = lines > self._lines or p.env_steps >= p.total_steps
        self._lines = max(lines, self._lines)
        return due


def _introduction(p: Progress) -> list[str]:
    start = f"from step {p.env_steps:,} " if p.env_steps else ""
    frames = f" ({p.total_frames:,} frames)" if p.total_frames != p.total_steps else ""
    return [
        f"training on {p.env_id} {start}to {p.total_steps:,} steps{frames}",
        *([f"sees       {p.summary}"] if p.summary else []),
        f"device     {p.device}",
        f"run        {p.run_dir}",
        *(f"curves     {place}" for place in p.trackers),
        *([f"note       {p.note}"] if p.note else []),
    ]


def panel(p: Progress, width: int) -> Table:
    """Where a run stands, for a terminal of this width: two halves beside each other if it is wide.

    Args:
        p: where it stands.
        width: in characters, at least 40.
    """
    halves = (_progress_rows, _learning_rows)
    beside = width >= _WIDE
    inner = (width - 4) // 2 if beside else width
    table = Table.grid(padding=(0, 2), expand=beside)
    parts = [_rows(rows(p, inner), inner) for rows in halves]
    if beside:
        for _ in parts:
            table.add_column(ratio=1)
        table.add_row(*parts)
    else:
        for part in parts:
            table.add_row(part)
    return table


def _rows(rows: list[tuple[str, str | Text]], width: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True, min_width=10)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=width - 11)
    for name, value in rows:
        table.add_row(name, value)
    return table


def _progress_rows(p: Progress, width: int) -> list[tuple[str, str | Text]]:
    """How far it has come."""
    bars = max(10, min(40, width - 22))
    done = round(bars * p.env_steps / max(p.total_steps, 1))
    # Told apart by their shape too: NO_COLOR has no colours.
    bar = Text.assemble(
        ("━" * done, "green"),
        ("╌" * (bars - done), "dim"),
        f" {100 * p.env_steps / max(p.total_steps, 1):.1f} %",
    )
    rows: list[tuple[str, str | Text]] = [
        ("progress", bar),
        ("steps", f"{p.env_steps:,} of {p.total_steps:,}"),
    ]
    if p.total_frames != p.total_steps:
        rows.append(("frames", f"{p.frames:,} of {p.total_frames:,}"))
    films = f", {p.films:,} film{'s' if p.films != 1 else ''}" if p.films else ""
    return [
        *rows,
        ("speed", f"{p.steps_per_second:,.0f} steps/s, {_time_left(p)} left"),
        ("elapsed", duration(p.seconds)),
        ("memory", f"{p.memory_mb:,.0f} MB at most"),
        ("files", f"saved at step {p.saved_step:,}{films}"),
    ]


def _learning_rows(p: Progress, width: int) -> list[tuple[str, str | Text]]:
    """What it has learned."""
    rows: list[tuple[str, str | Text]] = [
        ("return", f"{number(p.mean_return_100)} over the last {len(p.recent_returns)} episodes"),
        ("", _spark(p.recent_returns, width - 11)),
        *(
            []
            if p.success_rate is None
            else [("success", f"{percent(p.success_rate)} of episodes")]
        ),
        ("best mean", _best(p)),
        ("episodes", f"{p.episodes:,}"),
    ]
    if not p.episodes:
        rows[:2] = [("reward", f"{number(p.reward_rate, '.4g')} a step; no episode has ended")]
    if p.stats is None:
        return rows
    s = p.stats
    rows += [
        ("entropy", f"{s.entropy:.3f} nats{_of_maximum(p)}, β {s.entropy_coef:.2g}"),
        ("losses", f"policy {s.policy_loss:.3g}, value {s.value_loss:.3g}"),
        ("critic", f"explains {s.explained_variance:.2f} of the variance"),
    ]
    if s.dead_units:
        layer, dead = max(s.dead_units.items(), key=lambda item: item[1])
        rows.append(("dead units", f"{percent(dead)} of {layer}, the worst layer"))
    return [*rows, ("gradient", f"norm {s.grad_norm:.3g}, step size {s.learning_rate:.2g}")]


def _best(p: Progress) -> str:
    if p.best_mean_return is None:
        return "none yet"
    return f"{number(p.best_mean_return)} by {p.best_by}"


def _spark(returns: Sequence[float], width: int) -> str:
    """The last returns as bars, with what the lowest and the highest bar stand for."""
    if not returns:
        return ""
    scale = f" {short_count(min(returns))} to {short_count(max(returns))}"
    return sparkline(returns, max(10, min(40, width - len(scale)))) + scale


def _line(p: Progress) -> str:
    parts = [
        f"step {p.env_steps:,}/{p.total_steps:,}",
        *([f"frames {p.frames:,}"] if p.frames != p.env_steps else []),
        f"{p.steps_per_second:,.0f}/s",
        f"left {_time_left(p)}",
        f"episodes {p.episodes:,}",
        f"return {number(p.mean_return_100)}"
        if p.episodes
        else f"reward {number(p.reward_rate, '.4g')} a step",
        *([] if p.success_rate is None else [f"success {percent(p.success_rate)}"]),
        f"best {number(p.best_mean_return)}",
    ]
    if p.stats is not None:
        parts.append(f"entropy {p.stats.entropy:.3f}{_of_maximum(p)}")
        parts.append(f"value loss {p.stats.value_loss:.3g}")
    return "  ".join(parts)


def _of_maximum(p: Progress) -> str:
    return f" of {p.max_entropy:.2f}" if p.max_entropy is not None else ""


def _time_left(p: Progress) -> str:
    if p.steps_per_second <= 0.0:
        return "?"
    return duration((p.total_steps - p.env_steps) / p.steps_per_second)


def _next_commands(result: TrainResult) -> list[str]:
    words = shlex.split(result.resume_command)
    own = ["--env", words[words.index("--env") + 1]] if "--env" in words else []
    run = str(result.run_dir)
    return [
        "next:",
        f"  {shlex.join(['a2c', 'evaluate', run, *own])}",
        f"  {shlex.join(['a2c', 'record', run, *own, '--overlay'])}",
        f"  {shlex.join(['a2c', 'plot', run])}",
    ]


def train_result(result: TrainResult, *, json: bool, quiet: bool) -> None:
    """How a run ended, and what to do next, as commands that can be pasted."""
    if result.stopped == "diverged":
        say(f"error: the run diverged: {result.message}")
        say(f"hint: the last good checkpoint is {result.last}")
    elif not quiet:
        say(f"{result.stopped} after {result.env_steps:,} steps")
        say(f"last       {result.last}")
        if result.best:
            say(f"best       {result.best}")
    if result.stopped in EXIT_CODES:
        say(f"resume with: {result.resume_command}")
    elif result.stopped == "completed" and not (quiet or json):
        for text in _next_commands(result):
            say(text)
    if quiet and not json:
        print(result.run_dir, flush=True)
    if json:
        record = dataclasses.asdict(result)
        del record["message"], record["resume_command"]
        print_json({k: str(v) if isinstance(v, Path) else v for k, v in record.items()})
