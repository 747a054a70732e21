"""A sweep on the terminal: trials while they run, results at the end, JSON for scripts."""

from __future__ import annotations

import json as json_module
import math
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from a2c_cli.evaluation.statistics import few_seeds_note
from a2c_cli.sweep.plan import Trial, setting_text
from a2c_cli.sweep.state import State
from a2c_cli.terminal.console import Display, Results, print_table
from a2c_cli.text import duration, number, percent, safe_text

_LOG_SECONDS = 30.0
_COLUMNS = {"done": 5, "steps/s": 7, "mean": 7, "left": 9}  # beside the trial; 60 in all
_ENDED = ("completed", "failed", "diverged", "interrupted")
_STAGES = ("completed", "running", "waiting", "failed", "diverged", "interrupted")


class SweepReporter:
    """Shows trials while they run: a live table on a terminal, else a line for what happens."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._known: dict[str, tuple[str, int]] = {}
        self._last_line = time.monotonic()

    def show(self, states: Sequence[State]) -> None:
        """Take in where all trials stand."""
        if self._display.live:
            self._display.draw(lambda: self._table(states))
        else:
            self._log(states)

    def _table(self, states: Sequence[State]) -> Group:
        running = [state for state in states if state.stage == "running"]
        troubled = [s for s in states if s.stage in ("failed", "diverged")]
        room = max(3, self._display.height - 4)
        rows = [*running, *troubled][:room]
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("trial", no_wrap=True)
        for name, width in _COLUMNS.items():
            table.add_column(name, justify="right", no_wrap=True, min_width=width)
        room = max(10, self._display.width - sum(_COLUMNS.values()) - len(_COLUMNS) - 1)
        for state in rows:
            live = state.stage == "running"
            share = f"{100 * state.env_steps / state.total_steps:.0f} %"
            rate = f"{state.steps_per_second:,.0f}" if live else ""
            left = _time_left([state], state.steps_per_second) if live else state.stage
            label = Text(safe_text(_label(state.trial)), "" if live else "red")
            label.truncate(room, overflow="ellipsis")
            table.add_row(label, share, rate, _number(state.mean_return_100), left)
        more = len(running) + len(troubled) - len(rows)
        counts = Text(_counts(states) + (f" ({more} not shown)" if more else ""), "dim")
        return Group(table, counts)

    def _log(self, states: Sequence[State]) -> None:
        for state in states:
            known = self._known.get(state.trial.name, ("waiting", 0))
            if known == (state.stage, state.deaths):
                continue
            self._known[state.trial.name] = state.stage, state.deaths
            if state.deaths > known[1]:
                self._display.say(f"died       {state.trial.name}: {state.message}")
            if state.stage in _ENDED:
                mean = _number(state.mean_return_100)
                text = f"{state.stage:10} {state.trial.name}  step {state.env_steps:,}  mean {mean}"
                self._display.say(
                    text if state.stage == "completed" else f"{text}  {state.message}".rstrip()
                )
        if time.monotonic() - self._last_line > _LOG_SECONDS:
            self._last_line = time.monotonic()
            self._display.say(_counts(states))


def _label(trial: Trial) -> str:
    """What tells trials apart comes first: a narrow terminal cuts the end."""
    env, setting, seed = trial.name.split("/")
    return " ".join([seed.removeprefix("seed"), env, setting if trial.setting else ""])


def _counts(states: Sequence[State]) -> str:
    """`3 of 12 completed, 2 running, 7 waiting, about 1:02:03 left`."""
    count = Counter(state.stage for state in states)
    parts = [f"{count['completed']:,} of {len(states):,} completed"]
    parts += [f"{count[stage]:,} {stage}" for stage in _STAGES[1:] if count[stage]]
    rate = sum(state.steps_per_second for state in states if state.stage == "running")
    unfinished = [state for state in states if state.stage in ("running", "waiting")]
    if unfinished and rate:
        parts.append(f"about {_time_left(unfinished, rate)} left")
    return ", ".join(parts)


def _time_left(states: Sequence[State], rate: float) -> str:
    steps = sum(state.total_steps - state.env_steps for state in states)
    return duration(steps / rate) if rate > 0.0 else "?"


def show_plan(trials: Sequence[Trial], *, json: bool) -> None:
    """The trials of a sweep that is not started."""
    if json:
        runs = [{"env_id": t.env_id, "setting": t.setting, "seed": t.seed, "name": t.name,
                 "total_steps": t.config.total_steps, "stopped": None} for t in trials]  # fmt: skip
        print(json_module.dumps({"runs": runs, "summary": {}}), flush=True)
        return
    console = Results()
    rows = [(trial.name, f"{trial.config.total_steps:,}") for trial in trials]
    print_table(console, ("trial", "steps"), rows)
    steps = sum(trial.config.total_steps for trial in trials)
    console.print(f"{len(trials):,} {'trial' if len(trials) == 1 else 'trials'}, {steps:,} steps")


def show_result(record: Mapping[str, Any], *, json: bool) -> None:
    """What `summary.sum_up` found."""
    if json:
        print(json_module.dumps(record, allow_nan=False), flush=True)
        return
    console = Results()
    for env_id, found in record["summary"].items():
        _show_rows(console, env_id, found["settings"], 1.0)
    if record["aggregate"]:
        games = record["aggregate"][0]["games"]
        title = f"human-normalised, {games} game{'s' if games > 1 else ''}, in %"
        _show_rows(console, title, record["aggregate"], 100.0)
    several = any(len(found["settings"]) > 1 for found in record["summary"].values())
    if several:
        best = record["best"]
        told = f"cannot be told: {record['best_note']}" if best is None else setting_text(best)
        console.print(Text(safe_text(f"best setting: {told}")))
    every = [row for found in record["summary"].values() for row in found["settings"]]
    note = few_seeds_note({row["seeds"] for row in every})
    if note:
        console.print(Text(note))
    missing = sum(
        row["missing"] for found in record["summary"].values() for row in found["settings"]
    )
    if missing:
        console.print(f"{missing:,} trials without a result are left out")


def next_commands(record: Mapping[str, Any]) -> list[str]:
    """What to do with a finished sweep, as commands that can be pasted."""
    where = str(record["run_dir"])
    page = f"{where.rstrip('/')}.html"
    best = max(record["runs"], key=lambda run: run["mean_return_100"] or -math.inf)
    return [
        "next:",
        f"  {shlex.join(['a2c', 'plot', where])}",
        f"  {shlex.join(['a2c', 'plot', where, '--output', page])}",
        f"  {shlex.join(['a2c', 'evaluate', str(best['run_dir'])])}",
    ]


def _show_rows(
    console: Results, title: str, rows: Sequence[Mapping[str, Any]], scale: float
) -> None:
    """Settings, best first: seeds, mean, IQM and its interval; successes where any are known."""
    console.print(Text(safe_text(title), "bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("setting", overflow="fold")
    tells = any(row.get("success_rate") is not None for row in rows)  # an aggregate has none
    for name in ("runs", "mean", "IQM", "95 % interval", *(["success"] if tells else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        runs = str(row["seeds"]) + (f"/{row['seeds'] + row['missing']}" if row["missing"] else "")
        if row["iqm"] is None:
            cells: tuple[str, ...] = ("-", "-", "-")
        else:
            bounds = [_number(scale * bound) for bound in row["ci95"] or ()]
            interval = " to ".join(bounds) or "-"
            cells = (_number(scale * row["mean"]), _number(scale * row["iqm"]), interval)
        name = setting_text(row["setting"]).replace(", ", "\n")  # never cut within a number
        if tells:
            rate = row["success_rate"]
            cells = (*cells, "-" if rate is None else percent(rate))
        table.add_row(Text("\n".join(map(safe_text, name.split("\n")))), runs, *cells)
    console.print(table)
    console.print()


def _number(value: float | None) -> str:
    """Few enough digits for a narrow terminal."""
    return number(value, ",.2f" if value is None or abs(value) < 1000 else ",.0f")
