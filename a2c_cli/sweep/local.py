"""Trials on this machine: one process each, forked from a server that has imported torch once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from a2c_cli.sweep.plan import Trial
from a2c_cli.sweep.state import Died, Ended, Event, Told
from a2c_cli.terminal.signals import ask_to_stop

if TYPE_CHECKING:
    from a2c_cli.training.engine import Progress

_GRACE = 30.0  # seconds in which a trial that was asked to stop should have saved
_TELL_EVERY = 0.5  # seconds
# What each trial would otherwise import anew; torch does the second one, two seconds' worth, at the
# first step of an optimizer.
_PRELOAD = ["a2c_cli.sweep.trial", "torch._dynamo"]


class LocalBackend:
    """Runs up to `capacity` trials at a time.

    Each trial's process is tied to this one by a pipe, which breaks even when this process is
    killed: the trial then saves and ends, so nothing trains on in a directory that the
    continued sweep needs.

    Args:
        jobs: trials at a time.
    """

    def __init__(self, jobs: int) -> None:
        self.capacity = jobs
        # Forking is not safe everywhere; a new interpreter is, and costs seconds.
        self._context: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
        if sys.platform == "linux":
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(_PRELOAD)
        self._running: dict[int, tuple[BaseProcess, Connection]] = {}

    def open(self, directory: Path) -> None:
        """Set the directory in which the run directories lie."""
        self._directory = directory

    def start(self, index: int, trial: Trial) -> None:
        """Start or resume a trial."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(trial, self._directory / trial.name, theirs)
        )
        # Ctrl-C reaches the whole group of processes; only the sweep's own answers it. Others
        # inherit the mask from their first moment on, unless the tracker's start lifts it again.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._running[index] = process, ours

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        """What has happened to which trial; waits up to `seconds` for something to happen."""
        indices = {pipe: index for index, (_, pipe) in self._running.items()}
        events: list[tuple[int, Event]] = []
        for pipe in wait(list(indices), seconds):
            assert isinstance(pipe, Connection)
            index = indices[pipe]
            try:
                event: Event = pipe.recv()
            except (EOFError, OSError):
                event = Died(f"its process {self._bury(index)}")
            else:
                if isinstance(event, Ended):
                    self._bury(index)
            events.append((index, event))
        return events

    def stop(self) -> None:
        """Ask all trials to save and end; `poll` tells when they have."""
        for _, pipe in self._running.values():
            with contextlib.suppress(OSError):
                pipe.send("stop")

    def close(self) -> None:
        """Leave no process behind, however the sweep ends."""
        for _, pipe in self._running.values():
            pipe.close()  # tells the trial to save
        for process, _ in self._running.values():
            process.join(_GRACE)
            process.kill()
        self._running.clear()

    def _bury(self, index: int) -> str:
        process, pipe = self._running.pop(index)
        pipe.close()
        process.join(_GRACE)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode or 0
        process.close()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _work(trial: Trial, run_dir: Path, pipe: Connection) -> None:
    """What a trial's process does, from start to end."""
    from a2c_cli.sweep.trial import run_trial  # imports torch, which the sweep's own never does

    os.dup2(2, 1)  # what an environment prints must not stand among the results
    terminated = ask_to_stop(quiet=True)
    stop: list[str] = []

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
            stop.append("interrupted")
            pipe.recv()  # nothing more is sent: this waits for the end of the sweep's process
        stop.append("interrupted")
        time.sleep(_GRACE)
        os._exit(1)  # an environment that does not come back must not keep the directory

    threading.Thread(target=watch, daemon=True).start()
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < _TELL_EVERY:
            return
        last = time.monotonic()
        with contextlib.suppress(OSError):
            pipe.send(Told(progress.env_steps, progress.steps_per_second, progress.mean_return_100))

    def should_stop() -> str | None:
        return stop[0] if stop else terminated()

    ended = run_trial(trial.config, run_dir, tell, should_stop)
    with contextlib.suppress(OSError):
        pipe.send(Ended(*ended))
