"""A training run on the terminal: a live table or lines while it goes, and how it ended."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from a2c_cli.terminal.console import Display, print_json, say, sparkline
from a2c_cli.terminal.signals import EXIT_CODES
from a2c_cli.text import duration, number

if TYPE_CHECKING:
    from a2c_cli.training.progress import Progress, TrainResult


class TrainReporter:
    """Shows a run while it goes: a live table on a terminal, else a line for every log entry."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._introduced = False

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
        elif progress.logged:
            display.say(_line(progress))


def _introduction(p: Progress) -> list[str]:
    start = f"from step {p.env_steps:,} " if p.env_steps else ""
    frames = f" ({p.total_frames:,} frames)" if p.total_frames != p.total_steps else ""
    return [
        f"training on {p.env_id} {start}to {p.total_steps:,} steps{frames}",
        f"device   {p.device}",
        f"run      {p.run_dir}",
        *(f"curves   {place}" for place in p.trackers),
        *([f"note     {p.note}"] if p.note else []),
    ]


def panel(p: Progress, width: int) -> Table:
    """Where a run stands, for a terminal of this width."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    bars = max(10, min(40, width - 22))
    done = round(bars * p.env_steps / max(p.total_steps, 1))
    bar = Text("━" * done, "green") + Text("━" * (bars - done), "dim")
    share = f" {100 * p.env_steps / max(p.total_steps, 1):.1f} %"
    table.add_row("progress", bar + Text(share))
    table.add_row("steps", f"{p.env_steps:,} of {p.total_steps:,}")
    if p.total_frames != p.total_steps:
        table.add_row("frames", f"{p.frames:,} of {p.total_frames:,}")
    table.add_row("speed", f"{p.steps_per_second:,.0f} steps/s, {_time_left(p)} left")
    table.add_row(
        "return", f"{number(p.mean_return_100)} over the last {len(p.recent_returns)} episodes"
    )
    table.add_row("", sparkline(p.recent_returns, bars))
    table.add_row("best mean", f"{number(p.best_mean_return)} by {p.best_by}")
    table.add_row("episodes", f"{p.episodes:,}")
    if p.stats is not None:
        s = p.stats
        table.add_row("entropy", f"{s.entropy:.3f} nats{_of_maximum(p)}, β {s.entropy_coef:.2g}")
        table.add_row("losses", f"policy {s.policy_loss:.3g}, value {s.value_loss:.3g}")
        table.add_row("critic", f"explains {s.explained_variance:.2f} of the returns' variance")
        if s.dead_units:
            layer, dead = max(s.dead_units.items(), key=lambda item: item[1])
            table.add_row("dead units", f"{dead:.0%} of {layer}, the worst layer")
        table.add_row("gradient", f"norm {s.grad_norm:.3g}, step size {s.learning_rate:.2g}")
    table.add_row("memory", f"{p.memory_mb:,.0f} MB at most")
    films = f", {p.films:,} film{'s' if p.films != 1 else ''}" if p.films else ""
    table.add_row("files", f"saved at step {p.saved_step:,}{films}")
    return table


def _line(p: Progress) -> str:
    parts = [
        f"step {p.env_steps:,}/{p.total_steps:,}",
        *([f"frames {p.frames:,}"] if p.frames != p.env_steps else []),
        f"{p.steps_per_second:,.0f}/s",
        f"left {_time_left(p)}",
        f"episodes {p.episodes:,}",
        f"return {number(p.mean_return_100)}",
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


def train_result(result: TrainResult, *, json: bool, quiet: bool) -> None:
    """How a run ended, and the command that resumes it."""
    if result.stopped == "diverged":
        say(f"error: the run diverged: {result.message}")
        say(f"hint: the last good checkpoint is {result.last}")
    elif not quiet:
        best = f", best {result.best}" if result.best else ""
        say(f"{result.stopped} after {result.env_steps:,} steps: {result.last}{best}")
    if result.stopped in EXIT_CODES:
        say(f"resume with: {result.resume_command}")
    if json:
        record = dataclasses.asdict(result)
        del record["message"], record["resume_command"]
        print_json({k: str(v) if isinstance(v, Path) else v for k, v in record.items()})
