"""What runs on the nodes of a cluster: the trials, and the board that ties them to the sweep."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2c_cli.run import BEST, CONFIG, LAST, METRICS, write_atomic
from a2c_cli.sweep.plan import Trial

if TYPE_CHECKING:
    from a2c_cli.engine import Progress

_TELL_EVERY = 1.0  # seconds
# What resumes a run, in the order in which it may be copied while the run goes on: the metrics
# hold all that the checkpoint counts on, and resuming cuts off what is too much.
_FILES = (CONFIG, BEST, LAST, METRICS)


class Board:
    """An actor beside the sweep's own process: what trials tell it and what they are told."""

    def __init__(self, directory: str) -> None:
        self._directory, self._stop = Path(directory), False
        self._news: dict[int, tuple[Any, ...]] = {}
        self._begun: set[int] = set()
        self._revived: list[int] = []

    async def begin(self, index: int) -> None:
        """A trial's process begins; not the first one if an earlier one was lost."""
        if index in self._begun:
            self._revived.append(index)
        self._begun.add(index)

    async def tell(self, index: int, *news: Any) -> bool:
        """Take in where a trial stands; whether it should stop."""
        self._news[index] = news
        return self._stop

    async def hear(self) -> tuple[dict[int, tuple[Any, ...]], list[int]]:
        """Since the last call: where trials stand, and which ones lost a process."""
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
    """The files of a run by name; it may be going on."""
    return {name: (run_dir / name).read_bytes() for name in _FILES if (run_dir / name).exists()}


def unpack(files: Mapping[str, bytes], run_dir: Path) -> None:
    """Write a run's files, the checkpoint after the metrics that it counts on."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == LAST):
        write_atomic(run_dir / name, files[name])


def work(index: int, trial: Trial, mark: str, board: Any) -> tuple[str, str]:
    """The task: one trial, in the shared directory or in one that is brought back."""
    import ray

    from a2c_cli.sweep.trial import run_trial

    with contextlib.ExitStack() as stack:
        ray.get(board.begin.remote(index))
        shared = Path(mark).exists()
        if shared:
            run_dir = Path(mark).parent / trial.name
        else:
            run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="a2c-trial-")))
            unpack(ray.get(board.fetch.remote(trial.name)), run_dir)
        stop: list[str] = []
        stands: list[Any] = [(0, 0.0, None)]
        ended = threading.Event()

        def watch() -> None:
            """Tell and be told; without the board there is no sweep to train for."""
            saved = 0
            while not ended.is_set():
                try:
                    if ray.get(board.tell.remote(index, *stands[0])):
                        stop.append("interrupted")
                    last = run_dir / LAST
                    if not shared and last.exists() and last.stat().st_mtime_ns != saved:
                        saved = last.stat().st_mtime_ns
                        ray.get(board.keep.remote(trial.name, pack(run_dir)))
                except Exception:
                    stop.append("interrupted")
                ended.wait(_TELL_EVERY)

        def note(p: Progress) -> None:
            stands[0] = (p.env_steps, p.steps_per_second, p.mean_return_100)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            result = run_trial(trial.config, run_dir, note, lambda: stop[0] if stop else None)
        finally:
            ended.set()
            watcher.join()
        if not shared:
            ray.get(board.keep.remote(trial.name, pack(run_dir)))
        return result
