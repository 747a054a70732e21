"""What a run tells of itself: while it goes, and when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from a2c_cli.algorithm.update import UpdateStats


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; the keys of `a2c train --json`, but for the last two."""

    run_dir: Path
    last: Path
    best: Path | None
    env_steps: int
    frames: int
    updates: int
    episodes: int
    mean_return_100: float | None
    steps_per_second: float
    stopped: str  # completed, interrupted, terminated or diverged
    warnings: tuple[str, ...] = ()
    message: str = ""
    resume_command: str = ""  # what goes on with it, quoted for a shell


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches it."""

    run_dir: Path
    env_id: str
    device: str
    env_steps: int
    total_steps: int
    frames: int
    total_frames: int
    updates: int
    episodes: int
    steps_per_second: float
    recent_returns: tuple[float, ...]
    mean_return_100: float | None
    best_mean_return: float | None
    best_by: str  # what `best_mean_return` is a mean of: `training` or `evaluation`
    trackers: tuple[str, ...]  # where to look at each
    max_entropy: float | None  # nats; None for a Gaussian, whose entropy has no maximum
    stats: UpdateStats | None
    logged: bool  # whether a line of metrics.jsonl has just been written
    memory_mb: float  # the most that the process has had resident
    saved_step: int  # env_steps of last.safetensors
    films: int  # finished in videos/ since this process began
    note: str = ""  # what the user should know about how this run was resumed
    warnings: tuple[str, ...] = ()  # those that are new since the last Progress
