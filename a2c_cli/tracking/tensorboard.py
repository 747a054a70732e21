"""TensorBoard: event files in RUN_DIR/tensorboard."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.config.settings import Settings
from a2c_cli.config.text import to_toml
from a2c_cli.tracking.tracker import Value, read_state, write_state

_GIF_SECONDS = 60  # of a video that is shown


class TensorBoard:
    """Event files in RUN_DIR/tensorboard.

    RUN_DIR/trackers.json remembers up to which step they surely hold everything. Each resume writes
    a new file that begins by declaring void what earlier ones hold of later steps; TensorBoard
    hides them. It shows animated gifs, no mp4: a video's first minute becomes one.
    """

    def __init__(self, run_path: Path, config: Settings, env_steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = run_path / "tensorboard"
        self.place = f"tensorboard --logdir {place}"
        self._run_path, self._state = run_path, read_state(run_path)
        there = env_steps > 0 and any(place.glob("events.out.tfevents.*"))
        # Runs of earlier versions remember nothing, and have everything.
        sent = self._state.get("tensorboard_step", env_steps)
        self.last_step = min(sent, env_steps) if there else -1
        self._sent = self.last_step
        self._writer: Any = SummaryWriter(
            str(place), purge_step=self.last_step + 1 if there else None
        )
        if not there:
            self._writer.add_text("config", f"```toml\n{to_toml(config)}```", 0)

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        self._sent = env_steps
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
        self._state = read_state(self._run_path) | {"tensorboard_step": self._sent}
        write_state(self._run_path, self._state)

    def close(self) -> None:
        self._writer.close()


make = TensorBoard


def _as_gif(video: Path) -> bytes:
    import imageio_ffmpeg

    filters = "fps=15,scale=iw/2:-1,split[a][b];[a]palettegen=stats_mode=single[p];"
    filters += "[b][p]paletteuse=new=1:dither=none"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error"]
    command += ["-t", str(_GIF_SECONDS), "-i", f"file:{video}", "-filter_complex", filters]
    done = subprocess.run([*command, "-f", "gif", "pipe:1"], capture_output=True, check=True)
    return done.stdout
