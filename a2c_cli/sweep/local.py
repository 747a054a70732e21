"""Trials on this machine: one process each, forked from a server that has imported torch once."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from a2c_cli.evaluation.workers import Returned, Workers
from a2c_cli.sweep.plan import Trial
from a2c_cli.sweep.state import Ended, Event, Told
from a2c_cli.terminal.signals import ask_to_stop

if TYPE_CHECKING:
    from a2c_cli.training.engine import Progress

_GRACE = 30.0  # seconds in which a trial that was asked to stop should have saved
_MORE = 5.0  # seconds after which one that could not end itself is killed
_TELL_EVERY = 0.5  # seconds
_PRELOAD = ["a2c_cli.sweep.trial"]  # what each trial would otherwise import anew


class LocalBackend:
    """Runs up to `capacity` trials at a time.

    A trial saves and ends when this process is gone, so nothing trains on in a directory that the
    resumed sweep needs.

    Args:
        jobs: trials at a time.
    """

    def __init__(self, jobs: int) -> None:
        self.capacity = jobs
        self._workers = Workers(_PRELOAD, _GRACE)
        self._deadline = math.inf

    def open(self, directory: Path) -> None:
        """Set the directory in which the run directories lie."""
        self._directory = directory

    def start(self, index: int, trial: Trial) -> None:
        """Start or resume a trial."""
        self._workers.start(index, _work, trial, self._directory / trial.name)

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        """What has happened to which trial; waits up to `seconds` for something to happen."""
        if time.monotonic() > self._deadline:
            self._workers.kill()  # inside of C code not even its own thread could end it
        return [
            (index, message.value if isinstance(message, Returned) else message)
            for index, message in self._workers.poll(seconds)
        ]

    def stop(self) -> None:
        """Ask all trials to save and end; `poll` tells when they have."""
        self._workers.send("stop")
        self._deadline = time.monotonic() + _GRACE + _MORE

    def close(self) -> None:
        """Leave no process behind, however the sweep ends."""
        self._workers.close()


def _work(trial: Trial, run_dir: Path, pipe: Connection) -> Ended:
    """What a trial's process does, from start to end."""
    from a2c_cli.sweep.trial import run_trial  # imports torch, which the sweep's own never does

    os.dup2(2, 1)  # what an environment prints must not stand among the results
    terminated = ask_to_stop(quiet=True)
    stop: list[str] = []

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        stop.append("interrupted")
        time.sleep(_GRACE)  # the process ends by itself once it has saved
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

    return Ended(*run_trial(trial.config, run_dir, tell, should_stop))
