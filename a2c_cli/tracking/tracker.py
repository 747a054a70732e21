"""Curves, histograms and videos for TensorBoard, W&B and Trackio, behind one small face.

A tracker gets the values of metrics.jsonl under their names there, with `env_steps` as the step.
None of the packages is imported before a run asks for it.

On resume the curves go on. Steps behind the checkpoint, which a killed run may have sent already,
are played once more; how each tracker avoids having them twice stands with its class.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from a2c_cli.config.settings import TrainConfig
from a2c_cli.config.text import to_dict, to_toml
from a2c_cli.runs.files import write_atomic

PROJECT = "a2c"  # what W&B and Trackio file the runs under
_STATE = "trackers.json"  # in the run directory
_WANDB_WRITES_WITHIN = 5.0  # seconds, with room to spare
_GIF_SECONDS = 60  # of a video that TensorBoard shows

# A number of a curve, an array for a histogram, a video file.
Value = float | NDArray[np.float32] | Path


class Tracker(Protocol):
    """What the three have in common.

    Args:
        last_step: values of steps up to this one are there from before a resume.
        place: where the user finds it, a command or an address.
    """

    last_step: int
    place: str

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        """Take in the values of one step."""

    def flush(self) -> None:
        """Put what was taken in where a kill cannot reach it, as far as the package lets us."""

    def close(self) -> None:
        """End the session."""


class _TensorBoard:
    """Event files in RUN_DIR/tensorboard.

    Each resume writes a new file that begins by declaring void what earlier ones hold of steps
    behind its checkpoint; TensorBoard hides them. It shows animated gifs, no mp4: a video's first
    minute becomes one.
    """

    last_step = -1

    def __init__(self, run_path: Path, config: TrainConfig, env_steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        directory = str(run_path / "tensorboard")
        self.place = f"tensorboard --logdir {directory}"
        self._writer: Any = SummaryWriter(
            directory, purge_step=env_steps + 1 if env_steps else None
        )
        if env_steps == 0:
            self._writer.add_text("config", f"```toml\n{to_toml(config)}```", 0)

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            if isinstance(value, Path):
                self._show(name, value, env_steps)
            elif isinstance(value, np.ndarray):
                self._writer.add_histogram(name, value, env_steps)
            else:
                self._writer.add_scalar(name, value, env_steps)

    def _show(self, name: str, video: Path, env_steps: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        image = Summary.Image(encoded_image_string=_as_gif(video))
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._writer.file_writer.add_summary(summary, env_steps)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandB:
    """A W&B run, with its files in RUN_DIR/wandb; WANDB_MODE, WANDB_PROJECT and so on hold.

    A resume goes on under the same run id. W&B cannot take back a step, so those that it surely
    has are not sent again; the last one stands in RUN_DIR/trackers.json. W&B's own process, which
    dies with ours, writes once a second: of the steps of the last seconds before a kill it may
    have some twice, with the same values, rather than miss them.
    """

    def __init__(self, run_path: Path, config: TrainConfig, state: dict[str, Any]) -> None:
        import wandb

        self._package, self._run_path, self._state = wandb, run_path, state
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run_path.resolve().name,
            id=state["run_id"],
            resume="allow",
            reinit="create_new",  # a run of the caller's own stays as it is
            dir=str(run_path),
            config=to_dict(config),
            settings=wandb.Settings(
                console="off", silent=True, x_transaction_log_flush_interval=1.0
            ),
        )
        self.last_step = max(state.get("wandb_step", -1), self._run.starting_step - 1)
        offline = f"wandb sync {self._run.settings.sync_dir}"
        self.place = offline if self._run.offline else str(self._run.url)
        self._sent = self.last_step
        self._handed_over: deque[tuple[float, int]] = deque()

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        self._run.log(_dress(self._package, values), step=env_steps)
        self._sent = env_steps

    def flush(self) -> None:
        now = time.monotonic()
        self._handed_over.append((now, self._sent))
        while self._handed_over[0][0] < now - _WANDB_WRITES_WITHIN:
            self._remember(self._handed_over.popleft()[1])

    def close(self) -> None:
        self._run.finish()
        self._remember(self._sent)

    def _remember(self, env_steps: int) -> None:
        self._state["wandb_step"] = env_steps
        _write_state(self._run_path, self._state)


class _Trackio:
    """A Trackio run, stored in RUN_DIR/trackio, or where TRACKIO_DIR or TRACKIO_SPACE_ID say.

    Steps that its store already has are not sent again. Trackio reads TRACKIO_DIR once in a
    process, when it is imported. What it cannot store it reports itself, by a Python warning.
    """

    def __init__(self, run_path: Path, config: TrainConfig, state: dict[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str((run_path / "trackio").absolute()))
        self.place = f"TRACKIO_DIR={os.environ['TRACKIO_DIR']} trackio show --project {PROJECT}"
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._package: Any = trackio
        name = f"{run_path.resolve().name}-{state['run_id']}"
        with _silent():
            self._run: Any = trackio.init(
                project=PROJECT,
                name=name,
                resume="allow",
                config=to_dict(config),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        last = SQLiteStorage.get_last_step(PROJECT, run=name)
        self.last_step = -1 if last is None else last

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        self._run.log(_dress(self._package, values), step=env_steps)

    def flush(self) -> None:
        pass  # its own thread writes every half second

    def close(self) -> None:
        with _silent():
            self._package.finish()


def _dress(package: Any, values: Mapping[str, Value]) -> dict[str, Any]:
    """The values as W&B and Trackio, which bear the same names, want them."""
    dressed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Path):
            dressed[name] = package.Video(str(value), format="mp4")
        else:
            dressed[name] = package.Histogram(value) if isinstance(value, np.ndarray) else value
    return dressed


def open_tracker(name: str, run_path: Path, config: TrainConfig, env_steps: int) -> Tracker:
    """Start a tracker's session, or go on with the one that the run directory knows of.

    Args:
        name: one of `config.TRACKERS`.
        run_path: the run directory, ours.
        config: resolved.
        env_steps: how far the run has come.

    Raises:
        Exception: whatever the package does if it cannot start.
    """
    if name == "tensorboard":
        return _TensorBoard(run_path, config, env_steps)
    state = _read_state(run_path)
    _write_state(run_path, state)
    return (_WandB if name == "wandb" else _Trackio)(run_path, config, state)


def _read_state(run_path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads((run_path / _STATE).read_text())
        if str(state["run_id"]).isalnum() and isinstance(state.get("wandb_step", -1), int):
            return dict(state)
    return {"run_id": secrets.token_hex(4)}


def _write_state(run_path: Path, state: Mapping[str, Any]) -> None:
    write_atomic(run_path / _STATE, json.dumps(state).encode())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Trackio prints to stdout, which belongs to the command's own result."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _as_gif(video: Path) -> bytes:
    import imageio_ffmpeg

    filters = "fps=15,scale=iw/2:-1,split[a][b];[a]palettegen=stats_mode=single[p];"
    filters += "[b][p]paletteuse=new=1:dither=none"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error"]
    command += ["-t", str(_GIF_SECONDS), "-i", f"file:{video}", "-filter_complex", filters]
    done = subprocess.run([*command, "-f", "gif", "pipe:1"], capture_output=True, check=True)
    return done.stdout
