"""The run directory: what lies where, and who holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from a2c_cli.errors import CheckpointError, RunDirError, RunInUseError
from a2c_cli.runs.files import write_atomic

CHECKPOINTS = Path("checkpoints")
LAST, BEST, METRICS, CONFIG, LOCK = (
    "last.safetensors",
    "best.safetensors",
    "metrics.jsonl",
    "config.toml",
    ".lock",
)
VIDEOS, _FILM = "videos", "training-episode"
_CHUNK = 2**20  # bytes; a single write to a file may not take more than 2 GB


class RunDir:
    """One run's directory, locked for one process as long as it is open.

    Args:
        path: created if it is not there.
        env_id, trackers: of the run, for the command that resumes it.

    Raises:
        RunDirError: it cannot be written, or another process has it.
    """

    def __init__(self, path: Path, env_id: str = "", trackers: Sequence[str] = ()) -> None:
        self.path = path
        self.resume_command = resume_command(path, env_id, trackers)
        self._metrics: int | None = None
        self._lines: list[bytes] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RunDirError(
                f"cannot write in {path}: {error.strerror}", "choose another --run-dir"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            if isinstance(error, BlockingIOError):
                raise RunInUseError(
                    f"another run is writing in {path}", "wait for it, or choose another --run-dir"
                ) from None
            raise RunDirError(
                f"cannot lock {path}: {error.strerror}", "choose a --run-dir on a local disk"
            ) from None
        # Of a process that was killed while it saved or filmed.
        for pattern in (".*.part", f"{VIDEOS}/.{_FILM}*.part.mp4"):
            for leftover in path.glob(pattern):
                with contextlib.suppress(OSError):
                    leftover.unlink()

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
            write_atomic(self.path / CONFIG, toml.encode())

    def open_metrics(self, offset: int) -> int:
        """Open metrics.jsonl for appending behind `offset` bytes; what stands there is cut off.

        Lines behind the checkpoint that is resumed will be written again, and a last line that
        a kill tore is among them.

        Returns:
            How many bytes are missing before `offset`: 0 unless somebody has shortened the file.
        """
        with self._named_errors():
            self._metrics = os.open(
                self.path / METRICS, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
            )
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
        """Replace a checkpoint whole."""
        with self._named_errors():
            write_atomic(self.path / name, data)

    def close(self) -> None:
        """Release the directory."""
        if self._metrics is not None:
            # What could not be written has been reported; closing must not fail on it again.
            with contextlib.suppress(RunDirError):
                self.flush_metrics()
            os.close(self._metrics)
        os.close(self._lock)

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


def resume_command(path: Path, env_id: str, trackers: Sequence[str]) -> str:
    """What resumes a run, for a shell; what imports a module must be named again."""
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


def find_checkpoint(path: Path | None) -> Path:
    """The checkpoint a command means.

    Args:
        path: a file, or a run directory (its best, else its last checkpoint); None for the
            newest under ./checkpoints.

    Raises:
        CheckpointError: there is none.
    """
    train = "train one: a2c train --env ALE/Breakout-v5"
    if path is None:
        runs = {p.parent for name in (LAST, BEST) for p in CHECKPOINTS.glob(f"*/{name}")}
        found = [*(_in_run(run) for run in runs), *CHECKPOINTS.glob("*.safetensors")]
        if not found:
            raise CheckpointError(f"there is no checkpoint under ./{CHECKPOINTS}", train)
        return max(found, key=lambda p: (p.stat().st_mtime, str(p)))
    try:
        if not path.exists():
            raise CheckpointError(f"there is no checkpoint at {path}", train)
        if path.is_dir():
            if not (path / LAST).exists() and not (path / BEST).exists():
                raise CheckpointError(f"there is no checkpoint in {path}", train)
            return _in_run(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", "check the path") from None
    return path


def _in_run(run: Path) -> Path:
    return run / BEST if (run / BEST).exists() else run / LAST
