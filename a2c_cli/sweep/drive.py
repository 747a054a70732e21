"""The loop that every backend shares: hand out trials, take in what becomes of them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from a2c_cli.evaluation.workers import Died
from a2c_cli.runs.directory import RunDir
from a2c_cli.sweep.plan import Request, Trial, default_path, identify, plan
from a2c_cli.sweep.state import Ended, Event, Revived, State, Told, read_states, save
from a2c_cli.sweep.summary import sum_up
from a2c_cli.terminal.signals import EXIT_CODES

RETRIES = 3  # times that a trial is resumed after its process has died
_POLL = 0.5  # seconds


class Backend(Protocol):
    """Where trials run. `start` also resumes a trial that has a checkpoint."""

    capacity: int

    def open(self, directory: Path) -> None: ...
    def start(self, index: int, trial: Trial) -> None: ...
    def poll(self, seconds: float) -> list[tuple[int, Event]]: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


def run_sweep(
    request: Request,
    run_dir: Path | None,
    make_backend: Callable[[], Backend],
    show: Callable[[Sequence[State]], None],
    watch_signals: Callable[[], Callable[[], str | None]],
    announce: Callable[[Path, int], None] = lambda path, trials: None,
) -> tuple[dict[str, Any], str | None]:
    """Start a sweep, or resume it where it was stopped.

    Args:
        request: the same one resumes the sweep in `run_dir`, any other is refused there.
        run_dir: the sweep's directory; None for the request's own under ./checkpoints.
        make_backend: called only if there is a trial left to run.
        show: called about twice per second with the states of all trials.
        watch_signals: called once trials can be stopped cleanly; gives what `drive` asks.
        announce: told where the sweep lives and how many trials are left to run.

    Returns:
        The record of `sum_up` with `run_dir`; one of `signals.REASONS` if it was stopped.

    Raises:
        A2CError: see `errors`; nothing has been written if the request is at fault.
    """
    trials = plan(request)
    identity = identify(request, trials)
    path = run_dir if run_dir is not None else default_path(identity)
    stopped = None
    with contextlib.ExitStack() as stack:
        left = sum(s.stage != "completed" for s in read_states(path, identity, trials))
        announce(path, left)
        backend = make_backend() if left else None
        if backend is not None:
            stack.callback(backend.close)
        run = RunDir(path)
        stack.callback(run.close)
        states = read_states(path, identity, trials)  # again, now that nobody else can change it
        save(run, identity, sum_up(states))
        if backend is not None:
            backend.open(path)
            stopped = drive(states, backend, show, watch_signals())
        record = {"run_dir": str(path), **sum_up(states)}
        save(run, identity, record)
    return record, stopped


def drive(
    states: Sequence[State],
    backend: Backend,
    show: Callable[[Sequence[State]], None],
    should_stop: Callable[[], str | None],
) -> str | None:
    """Run every trial that is not completed, each to its end.

    A trial whose process dies is resumed from its last checkpoint, up to `RETRIES` times. One that
    fails by itself is not tried again, and the others continue.

    Returns:
        One of `signals.REASONS` if it was asked to stop, after all trials have saved.
    """
    waiting = deque(i for i, state in enumerate(states) if state.stage != "completed")
    running: set[int] = set()
    stopping: str | None = None
    while waiting or running:
        if stopping is None and (stopping := should_stop()) is not None:
            for index in waiting:  # the signal may have reached a trial first
                if states[index].deaths:
                    states[index].stage = "interrupted"
            waiting.clear()
            backend.stop()
        while waiting and len(running) < backend.capacity:
            index = waiting.popleft()
            running.add(index)
            backend.start(index, states[index].trial)
        for index, event in backend.poll(_POLL) if running else ():
            state = states[index]
            if isinstance(event, Told):
                state.stage = "running"
                state.env_steps, state.steps_per_second = event.env_steps, event.steps_per_second
                state.mean_return_100 = event.mean_return_100
            elif isinstance(event, Revived):
                state.deaths, state.message = state.deaths + 1, event.reason
            else:
                running.discard(index)
                if _take_in(state, event, stopping is not None):
                    waiting.appendleft(index)
        show(states)
    left = any(state.stage in ("waiting", "interrupted") for state in states)
    return stopping if left else None


def _take_in(state: State, event: Ended | Died, stopping: bool) -> bool:
    """Record how a trial's process ended; returns whether it must be started again."""
    state.stage = "waiting"
    state.read()
    if isinstance(event, Ended) and event.stopped not in EXIT_CODES:
        state.stage, state.message = event.stopped, event.message
    elif stopping and state.stage != "completed":
        state.stage = "interrupted"
        state.message = "it did not come back and was ended" if isinstance(event, Died) else ""
    elif state.stage != "completed":  # killed, or told to end by somebody else than this sweep
        state.deaths += 1
        state.message = event.reason if isinstance(event, Died) else f"it was {event.stopped}"
        if state.deaths <= RETRIES:
            return True
        state.stage = "failed"
    return False
