"""TensorBoard: event files in RUN_DIR/tensorboard."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.config.settings import Settings
from a2c_cli.config.text import to_toml
from a2c_cli.tracking.tracker import Value

_GIF_SECONDS = 60  # of a video that is shown


class TensorBoard:
    """Event files in RUN_DIR/tensorboard.

    Each resume writes a new file that begins by declaring void what earlier ones hold of steps
    behind its checkpoint; TensorBoard hides them. It shows animated gifs, no mp4: a video's first
    minute becomes one.
    """

    last_step = -1

    def __init__(self, run_path: Path, config: Settings, env_steps: int) -> None:
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


make = TensorBoard


def _as_gif(video: Path) -> bytes:
    import imageio_ffmpeg

    filters = "fps=15,scale=iw/2:-1,split[a][b];[a]palettegen=stats_mode=single[p];"
    filters += "[b][p]paletteuse=new=1:dither=none"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error"]
    command += ["-t", str(_GIF_SECONDS), "-i", f"file:{video}", "-filter_complex", filters]
    done = subprocess.run([*command, "-f", "gif", "pipe:1"], capture_output=True, check=True)
    return done.stdout
