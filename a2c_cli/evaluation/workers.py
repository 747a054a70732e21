"""Processes that work for this one and never outlive it: of an evaluation, and of a sweep."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from a2c_cli.errors import A2CError
from a2c_cli.text import error_text

_LOCK = "a2c.lock"
_ATTEMPTS = 5  # to start a process


@dataclass(frozen=True)
class Returned:
    """What a worker's function has returned: its last message."""

    value: Any


@dataclass(frozen=True)
class Died:
    """A worker has ended before its function has returned."""

    reason: str


class Workers:
    """Each worker is one function in a process of its own, tied to this one by a pipe.

    The pipe carries messages both ways, and breaks even when this process is killed: by that a
    worker knows that it must end.

    Args:
        preload: modules that every worker would import. Where forking is safe, workers are forked
            from a server that has imported them once; elsewhere, and without any, each is a new
            interpreter.
        patience: seconds that a worker has to end by itself once the pipe is closed.
    """

    def __init__(self, preload: Sequence[str] = (), patience: float = 0.0) -> None:
        self._patience = patience
        self._context: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
        if preload and sys.platform == "linux":
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(list(preload))
            _claim_directory()
        self._running: dict[int, tuple[BaseProcess, Connection]] = {}

    def start(self, number: int, function: Callable[..., Any], *args: Any) -> None:
        """Call `function(*args, pipe)` in a new process, which messages name by its number.

        Raises:
            A2CError: none can be started.
        """
        if multiprocessing.current_process().daemon:
            raise A2CError(
                "a daemonic process of multiprocessing may have no processes of its own",
                "give --jobs 1 (jobs=1)",
            )
        for attempt in range(_ATTEMPTS):
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_work, args=(function, args, theirs))
            try:
                self._start(process)
            except (OSError, EOFError) as error:  # the server that forks has died: a new one comes
                ours.close()
                failed = error
                time.sleep(0.1 * attempt)
            else:
                self._running[number] = process, ours
                return
            finally:
                theirs.close()
        raise A2CError(
            f"a process cannot be started: {error_text(failed)}",
            "is there enough memory, and room for more processes?",
        )

    def _start(self, process: BaseProcess) -> None:
        # Ctrl-C reaches the whole group of processes; only this one answers it. Workers inherit
        # the mask from their first moment on, unless the tracker's start lifts it again.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def poll(self, seconds: float) -> list[tuple[int, Any]]:
        """Which worker has sent what, `Returned` or `Died` in the end; waits up to `seconds`."""
        numbers = {pipe: number for number, (_, pipe) in self._running.items()}
        messages: list[tuple[int, Any]] = []
        for pipe in wait(list(numbers), seconds):
            assert isinstance(pipe, Connection)
            number = numbers[pipe]
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                message = Died(f"its process {self._bury(number)}")
            else:
                if isinstance(message, Returned):
                    self._bury(number)
            messages.append((number, message))
        return messages

    def send(self, message: Any) -> None:
        """Send a message to every worker."""
        for _, pipe in self._running.values():
            with contextlib.suppress(OSError):
                pipe.send(message)

    def kill(self) -> None:
        """End every worker at once; `poll` tells that they have died."""
        for process, _ in self._running.values():
            process.kill()

    def close(self) -> None:
        """Leave no process behind."""
        for _, pipe in self._running.values():
            pipe.close()
        for process, _ in self._running.values():
            process.join(self._patience)
            process.kill()
        self._running.clear()

    def _bury(self, number: int) -> str:
        process, pipe = self._running.pop(number)
        pipe.close()
        process.join(self._patience or None)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode or 0
        process.close()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _claim_directory() -> None:
    """Lock the directory in which the server that forks listens; remove those of the killed.

    multiprocessing makes it, and nobody removes it after `kill -9`. Only those with our lock in
    them are removed, once it is free.
    """
    own = Path(util.get_temp_dir())
    for lock in own.parent.glob(f"pymp-*/{_LOCK}"):
        with contextlib.suppress(OSError), _opened(lock, os.O_RDWR) as handle:
            if os.fstat(handle).st_uid == os.getuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
    with contextlib.suppress(OSError):  # without a lock it is as it would be without us
        if not (own / _LOCK).exists():
            handle = os.open(own / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)  # as long as this process lives
            os.rename(own / f"{_LOCK}.new", own / _LOCK)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _work(function: Callable[..., Any], args: tuple[Any, ...], pipe: Connection) -> None:
    returned = Returned(function(*args, pipe))
    with contextlib.suppress(OSError):
        pipe.send(returned)


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
