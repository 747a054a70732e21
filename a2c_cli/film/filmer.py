"""Films of training: every N-th episode, frame by frame, from the training stream itself.

The frames are taken where the stream shows them anyway, so the run is the same, bit for bit, with
and without. A run that is resumed in mid-episode replays that episode first, and with it the
film: it is whole, or it is not there. Nothing that goes wrong with a film ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.make import Stream
from a2c_cli.film.writer import VideoWriter
from a2c_cli.runs.directory import film_path

_SMALL = 320  # pixels: smaller screens are doubled
Frames = Generator[None, NDArray[np.uint8] | None, None]


class EpisodeFilmer:
    """Films the episodes whose turn it is.

    Args:
        env: the training stream; made to render if `every` is not 0.
        run_path: the run directory.
        every: film episodes 1, 1 + every, 1 + 2 · every, ...; 0 films none.
        warn: told of the first thing that goes wrong.
    """

    def __init__(
        self, env: Stream, run_path: Path, every: int, warn: Callable[[str], None]
    ) -> None:
        self._env, self._run_path, self._every, self._warn = env, run_path, every, warn
        self._frames: Frames | None = None
        self._path = run_path
        self._warned = False
        self.films = 0  # finished since this process began

    def begin(self, episode: int) -> None:
        """Before the reset of an episode (counted from 1)."""
        if not self._every or (episode - 1) % self._every:
            return
        self._path = film_path(self._run_path, episode)
        self._frames = _film(self._path, self._env.frames_per_second)
        next(self._frames)
        self._env.on_frame, self._env.on_frame_error = self._take, self._fail

    def end(self) -> Path | None:
        """The episode is over: the finished film, if there was one."""
        return self._path if self._frames is not None and self._send(None) else None

    def discard(self) -> None:
        """Leave nothing of an unfinished film; no more frames are taken."""
        frames, self._frames = self._frames, None
        self._env.on_frame = self._env.on_frame_error = None
        if frames is not None:
            frames.close()

    def _take(self, frame: NDArray[np.uint8]) -> None:
        self._send(frame)

    def _send(self, frame: NDArray[np.uint8] | None) -> bool:
        """One more frame, None for the end; whether that finished the film."""
        assert self._frames is not None
        try:
            self._frames.send(frame)
        except StopIteration:
            self.discard()
            self.films += 1
            return True
        except Exception as error:
            self._fail(error)
        return False

    def _fail(self, error: Exception) -> None:
        self.discard()
        if not self._warned:
            self._warned = True
            self._warn(f"no film of this episode: {' '.join(str(error).split())}")


def _film(path: Path, frames_per_second: float) -> Frames:
    """Takes frames one by one; None makes the film complete, closing it early leaves nothing."""
    frame: Any = yield
    path.parent.mkdir(exist_ok=True)
    scale = 2 if max(frame.shape[:2]) < _SMALL else 1
    with VideoWriter(path, frames_per_second, scale=scale) as video:
        while frame is not None:
            video.write(frame)
            frame = yield
