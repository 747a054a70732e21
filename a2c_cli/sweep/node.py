"""What runs on the nodes of a cluster: the trials, and the board that ties them to the sweep."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2c_cli.evaluation.workers import Died
from a2c_cli.outside import read_bytes
from a2c_cli.runs.directory import BEST, CONFIG, LAST, METRICS
from a2c_cli.runs.files import write_atomic
from a2c_cli.sweep.local import LocalBackend
from a2c_cli.sweep.plan import Trial
from a2c_cli.sweep.state import Ended, Told

_LARGEST = 4 * 2**30  # bytes of a file
_TELL_EVERY = 2.0  # seconds; a thousand trials tell one board
# What resumes a run, in the order in which it may be copied while the run goes on: the metrics
# hold all that the checkpoint counts on, and resuming cuts off what is too much.
_FILES = (CONFIG, BEST, LAST, METRICS)


class Board:
    """A Ray actor beside the sweep's own process: trials report to it and learn when to stop."""

    def __init__(self, directory: str) -> None:
        self._directory, self._stop = Path(directory), False
        self._news: dict[int, Told] = {}
        self._begun: set[int] = set()
        self._revived: list[int] = []

    async def begin(self, index: int, task: int) -> None:
        """A trial's task starts; for the second time if Ray has lost its first process."""
        if task in self._begun:
            self._revived.append(index)
        self._begun.add(task)

    async def tell(self, index: int, news: Told) -> bool:
        """Take in how far a trial has come; returns whether it should stop."""
        self._news[index] = news
        return self._stop

    async def hear(self) -> tuple[dict[int, Told], list[int]]:
        """What was reported since the last call, and which trials have lost a process."""
        news, self._news = self._news, {}
        revived, self._revived = self._revived, []
        return news, revived

    async def stop(self) -> None:
        """Tell every trial to stop from now on."""
        self._stop = True

    async def fetch(self, name: str) -> dict[str, bytes]:
        """The files of a trial, for a node that does not share the directory."""
        return pack(self._directory / name)

    async def keep(self, name: str, files: Mapping[str, bytes]) -> None:
        """The files of a trial, from such a node."""
        unpack(files, self._directory / name)


def pack(run_dir: Path) -> dict[str, bytes]:
    """The files of a run by name; it may still be training."""
    found = {}
    for name in _FILES:
        with contextlib.suppress(FileNotFoundError):
            found[name] = read_bytes(run_dir / name, _LARGEST, follow=False)
    return found


def unpack(files: Mapping[str, bytes], run_dir: Path) -> None:
    """Write a run's files, the checkpoint after the metrics that it counts on."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == LAST):
        write_atomic(run_dir / name, files[name])


def work(index: int, task: int, trial: Trial, mark: str, board: Any) -> Ended | Died:
    """The task: one trial in a process of its own, which saves and ends if this one dies.

    Ray keeps this process for the next task, and so the torch that its trials are forked from.

    Args:
        index: the trial's number.
        task: the task's own number, the same when Ray tries it again.
        trial: what to run.
        mark: a file in the sweep's directory. A node that sees it shares the directory and trains
            there; any other trains in a directory of its own, whose files are copied back.
        board: the actor to tell.
    """
    import ray

    ray.get(board.begin.remote(index, task))
    with contextlib.ExitStack() as stack:
        directory, shared = Path(mark).parent, Path(mark).exists()
        if not shared:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="a2c-sweep-")))
            unpack(ray.get(board.fetch.remote(trial.name)), directory / trial.name)
        last = directory / trial.name / LAST
        backend = LocalBackend(1)
        stack.callback(backend.close)
        backend.open(directory)
        backend.start(index, trial)
        told, due, saved, stopping = Told(0, 0.0, None), 0.0, 0, False
        while True:
            for _, event in backend.poll(_TELL_EVERY):
                if isinstance(event, Told):
                    told = event
                elif isinstance(event, Ended | Died):
                    if not shared:
                        ray.get(board.keep.remote(trial.name, pack(last.parent)))
                    return event
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _TELL_EVERY
            try:
                stop = ray.get(board.tell.remote(index, told))
                if not shared and last.exists() and last.stat().st_mtime_ns != saved:
                    saved = last.stat().st_mtime_ns
                    ray.get(board.keep.remote(trial.name, pack(last.parent)))
            except ray.exceptions.RayError:
                stop = True  # without the board there is no sweep to train for
            if stop and not stopping:
                stopping = True
                backend.stop()
