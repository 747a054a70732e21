"""The run directory: what lies where, and who holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from a2c_cli.config.given import is_given
from a2c_cli.errors import RunDirError, RunInUseError
from a2c_cli.outside import open_regular, open_to_write
from a2c_cli.runs.files import finished_name, replace_in

CHECKPOINTS = Path("checkpoints")
LAST, BEST, METRICS, CONFIG, LOCK = (
    "last.safetensors",
    "best.safetensors",
    "metrics.jsonl",
    "config.toml",
    ".lock",
)
VIDEOS, _FILM = "videos", "training-episode"
_WRITTEN_IN = (VIDEOS, "tensorboard", "wandb", "trackio")
_SAVED = (LAST, BEST, CONFIG, "trackers.json", "sweep.json")
_LARGEST = 4 * 2**30  # bytes of a file of another run
_CHUNK = 2**20  # bytes; a single write to a file may not take more than 2 GB


class RunDir:
    """One run's directory, locked for one process as long as it is open.

    It is held by a descriptor, and so are the files that are written in place: where it is moved
    while the run goes on, they move with it. It may be a stranger's: no link is followed, and only
    what this program has made is ever deleted.

    Args:
        path: created if it is not there.
        env_id, trackers: of the run, for the command that resumes it.

    Raises:
        RunDirError: it cannot be written, another process has it, or a link leads out of it.
    """

    def __init__(self, path: Path, env_id: str = "", trackers: Sequence[str] = ()) -> None:
        self.path = path
        self.resume_command = resume_command(path, env_id, trackers)
        self._metrics: int | None = None
        self._lines: list[bytes] = []
        with contextlib.ExitStack() as stack:
            try:
                path.mkdir(parents=True, exist_ok=True)
                self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, self._directory)
                self._lock = open_to_write(LOCK, self._directory)
                stack.callback(os.close, self._lock)
                _check_links(path)
            except OSError as error:
                raise RunDirError(
                    f"cannot write in {path}: {error.strerror}", "choose another --run-dir"
                ) from None
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunInUseError(
                    f"another run is writing in {path}", "wait for it, or choose another --run-dir"
                ) from None
            except OSError as error:
                raise RunDirError(
                    f"cannot lock {path}: {error.strerror}", "choose a --run-dir on a local disk"
                ) from None
            _sweep_up(path)
            self._handles = stack.pop_all()

    @property
    def in_use(self) -> bool:
        """Whether a run has left something here that a new one would overwrite."""
        metrics = self.path / METRICS
        kept = metrics.exists() and metrics.stat().st_size > 0
        return self.last.exists() or self.best.exists() or kept

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / LAST

    @property
    def best(self) -> Path:
        """The checkpoint with the highest score; --best-by says which score that is."""
        return self.path / BEST

    def write_config(self, toml: str) -> None:
        """The settings, to run it again with --config."""
        with self._named_errors():
            replace_in(self._directory, CONFIG, toml.encode())

    def take_over(self, source: Path, metrics_bytes: int) -> None:
        """Begin as a branch of another run: with its metrics so far.

        Args:
            source: the other run's directory, which is only read.
            metrics_bytes: of its metrics.jsonl that belong to the branch.
        """
        with self._named_errors():
            handle = open_to_write(METRICS, self._directory)
            with (
                open(handle, "wb") as target,
                contextlib.suppress(FileNotFoundError),
                open_regular(source / METRICS, _LARGEST, follow=False) as lines,
            ):
                while metrics_bytes > 0 and (data := lines.read(min(_CHUNK, metrics_bytes))):
                    target.write(data)
                    metrics_bytes -= len(data)

    def open_metrics(self, offset: int) -> int:
        """Open metrics.jsonl for appending behind `offset` bytes; what stands there is cut off.

        Lines behind the checkpoint that is resumed will be written again, and a last line that
        a kill tore is among them.

        Returns:
            How many bytes are missing before `offset`: 0 unless somebody has shortened the file.
        """
        with self._named_errors():
            self._metrics = open_to_write(METRICS, self._directory)
            size = os.fstat(self._metrics).st_size
            end = min(size, offset)
            while end > 0:  # never append in the middle of a line
                start = max(0, end - _CHUNK)
                newline = os.pread(self._metrics, end - start, start).rfind(b"\n")
                end = start + newline + 1
                if newline >= 0:
                    break
            if end < size:
                os.ftruncate(self._metrics, end)
            return offset - end

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line (kept in memory until `flush_metrics`)."""
        self._lines.append(json.dumps(record, allow_nan=False).encode() + b"\n")

    def flush_metrics(self, sync: bool = False) -> int:
        """Hand all lines to the operating system, whole or not at all.

        Args:
            sync: wait until they are on the disk.

        Returns:
            The file's length in bytes.
        """
        assert self._metrics is not None
        with self._named_errors():
            before = os.fstat(self._metrics).st_size
            data = b"".join(self._lines)
            try:
                for start in range(0, len(data), _CHUNK):
                    chunk = data[start : start + _CHUNK]
                    if os.write(self._metrics, chunk) != len(chunk):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if sync:
                    os.fsync(self._metrics)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._metrics, before)
                raise
            self._lines.clear()
            return before + len(data)

    def save(self, data: bytes, name: str = LAST) -> None:
        """Replace a checkpoint whole, where the directory now is.

        Raises:
            RunDirError: it cannot be written; or it has been, but no longer at `path`: whatever
                lies there is another run's.
        """
        with self._named_errors():
            replace_in(self._directory, name, data)
            if name != BEST and not self._is_in_place():  # the last one comes after the best
                raise RunDirError(
                    f"{self.path} was moved or replaced while the run went on",
                    "the run is saved in the directory as it is now: resume it from there",
                )

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path / LOCK), os.fstat(self._lock))
        except OSError:
            return False

    def close(self) -> None:
        """Release the directory."""
        if self._metrics is not None:
            # What could not be written has been reported; closing must not fail on it again.
            with contextlib.suppress(RunDirError):
                self.flush_metrics()
            os.close(self._metrics)
        self._handles.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = f"make room or fix it, then: {self.resume_command}"
            if not self.last.exists():
                hint = "choose another --run-dir" if self.path.exists() else "the directory is gone"
            raise RunDirError(
                f"cannot write in {self.path}: {error.strerror or error}", hint
            ) from None


def _check_links(path: Path) -> None:
    """Whether all that a run writes stays in its directory.

    Raises:
        RunDirError: a link leads out of it.
    """
    # What lies deeper has names that nobody can know before; W&B's own links to its logs are there.
    for place in itertools.chain(path.iterdir(), *((path / n).glob("*") for n in _WRITTEN_IN)):
        if place.is_symlink() and not _real(place).is_relative_to(_real(path)):
            raise RunDirError(
                f"{place} is a link that leads out of the run",
                "put what it stands for in its place, or choose another --run-dir",
            )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve() does not take a link to itself


def _sweep_up(path: Path) -> None:
    """Delete what a process has left that was killed while it saved or filmed, and nothing else."""
    with contextlib.suppress(OSError):
        for leftover in itertools.chain(path.glob(".*.part"), (path / VIDEOS).glob(".*.part.mp4")):
            name = finished_name(leftover.name) or ""
            if name in _SAVED or re.fullmatch(rf"{_FILM}[0-9]+\.mp4", name):
                leftover.unlink()


def resume_command(path: Path, env_id: str, trackers: Sequence[str]) -> str:
    """What resumes a run, for a shell; what imports a module must be named again."""
    if is_given(env_id):  # an object of Python's
        return f"train(resume={str(path)!r}, env=...)"
    words = ["a2c", "train", "--resume", str(path)]
    words += ["--env", env_id] if ":" in env_id else []
    words += spell_trackers(trackers) if any(":" in name for name in trackers) else []
    return shlex.join(words)


def spell_trackers(names: Sequence[str]) -> list[str]:
    """Trackers as options of `a2c train`."""
    return [word for name in names for word in ("--tracker", name)]


def film_path(run_path: Path, episode: int) -> Path:
    """Where the film of a training episode goes."""
    return run_path / VIDEOS / f"{_FILM}{episode:06d}.mp4"


def new_run_path(env_id: str, seed: int, parent: Path = CHECKPOINTS) -> Path:
    """A directory name that is not taken: environment, seed, time of start."""
    name = "".join(c if c.isalnum() else "-" for c in env_id.split(":")[-1].split("/")[-1])
    stem = f"{name}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = parent / stem, 2
    while path.exists():
        path, number = parent / f"{stem}-{number}", number + 1
    return path
