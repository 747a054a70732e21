"""Stream RGB frames into an .mp4 or .gif file in constant memory.

Frames go one at a time down a pipe to the ffmpeg program that imageio-ffmpeg brings along.
ffmpeg is run directly rather than through imageio_ffmpeg.write_frames, because that function
neither checks ffmpeg's exit status nor reads its error output: a full disk would pass unseen.
"""

from __future__ import annotations

import errno
import math
import os
import re
import subprocess
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from a2c_cli.runs.files import MARK, create, keep_mode, part_name

# GIF counts time in centiseconds, and common viewers play a delay below 2 cs as 10 cs.
GIF_MAX_FPS = 50


class VideoWriter:
    """Context manager that writes frames to a video file, complete or not at all.

        with VideoWriter("play.mp4", fps=60, scale=2) as video:
            video.write(frame)

    The frames go to a hidden sibling (.play.RANDOM.part.mp4), which takes the place of `path` only
    on a clean exit; on an exception it is deleted and an older file at `path` stays. Two that write
    one path do not disturb each other: the later one stays.

    `.mp4`: H.264, yuv420p, CRF 18, BT.709, index first (faststart), all frames kept. Sides
    left odd after scaling, which yuv420p cannot hold, get a black line right or below. Colour
    is stored at half resolution: `scale` 2 or more keeps one-pixel colour detail.

    `.gif`: loops for ever; every frame has a palette of its own, so up to 255 colours per frame
    (an Atari screen has at most 128) are kept to within one level in 255, undithered. Above
    50 fps only every k-th frame is kept, from the first on, k = ⌈fps / 50⌉, at fps / k, so
    that the speed stays true (60 fps becomes 30 fps). Other rates are exact on average.

    Args:
        path: name ending in .mp4 or .gif, in a directory that exists.
        fps: frames per second, 0.001 to 1000.
        scale: whole factor that repeats each pixel in both directions, without blur.

    Raises:
        ValueError: unknown suffix, bad fps or scale, a frame of a wrong type, wrong shape or
            changed size, use outside `with`, or a clean exit without any frame.
        OSError: `path`, named in the message, cannot be written; if ffmpeg failed, the message
            ends with the first line of its error output, the cause.

    Do not fork without exec while a writer is open: the child would hold the pipe's end, and
    ffmpeg would wait for it to finish.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float, *, scale: int = 1) -> None:
        """Check the arguments; nothing is opened before the `with` statement is entered."""
        self.path = Path(path)
        self._gif = self.path.suffix.lower() == ".gif"
        if not self._gif and self.path.suffix.lower() != ".mp4":
            raise ValueError(f"video name must end in .mp4 or .gif: {self.path}")
        if not 0.001 <= fps <= 1000:  # false for NaN too
            raise ValueError(f"fps must lie between 0.001 and 1000, not {fps}")
        if scale != int(scale) or scale < 1:
            raise ValueError(f"scale must be a whole number from 1 up, not {scale}")
        self.frames = 0  # frames given to write()
        self._scale = int(scale)
        self._keep_every = math.ceil(fps / GIF_MAX_FPS) if self._gif else 1
        # A rational keeps rates such as 60000/1001 from drifting; ffmpeg takes no larger one.
        self._rate = Fraction(fps).limit_denominator(1001) / self._keep_every
        self._part = self.path.with_name(part_name(self.path.name))
        self._shape: tuple[int, ...] | None = None
        self._open = False
        self._ffmpeg: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Check that the place is writable, so that a bad path fails before the first frame."""
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            handle = create(self._part)
            try:
                keep_mode(handle, self.path)
            finally:
                os.close(handle)
        except OSError as error:
            # OSError picks its subclass (PermissionError, ...) from the number.
            reason = f"cannot write video: {error.strerror}"
            raise OSError(error.errno, reason, str(self.path)) from error
        self._open = True
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame; it is copied, so the array may be reused at once.

        Args:
            frame: (height, width, 3) uint8, RGB, the same shape every time.
        """
        if not self._open:
            raise ValueError(f"{self.path} is not open: use VideoWriter in a with statement")
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
            raise ValueError(f"frame must be a uint8 array, not {getattr(frame, 'dtype', frame)}")
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
            raise ValueError(f"frame must have shape (height, width, 3), not {frame.shape}")
        if self._shape is None:
            self._shape = frame.shape
            self._start(width=frame.shape[1], height=frame.shape[0])
        if frame.shape != self._shape:
            raise ValueError(f"frame size changed from {self._shape} to {frame.shape}")
        if self.frames % self._keep_every == 0:
            assert self._ffmpeg is not None
            assert self._ffmpeg.stdin is not None
            try:
                self._ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
            except BrokenPipeError as error:  # ffmpeg has given up
                self._stop()
                raise self._failure() from error
        self.frames += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and move it into place, or delete it if anything went wrong."""
        try:
            if kind is None:
                self._finish()
        finally:
            self._open = False
            if self._ffmpeg is not None and self._ffmpeg.poll() is None:
                self._ffmpeg.kill()
            self._stop()
            if self._errors is not None:
                self._errors.close()
            self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._ffmpeg is None:
            raise ValueError(f"no frames were written to {self.path}")
        self._stop()
        if self._ffmpeg.returncode != 0:
            raise self._failure()
        if self._gif:
            _sign_gif(self._part)
        os.replace(self._part, self.path)

    def _start(self, width: int, height: int) -> None:
        # Imported here: it looks for the ffmpeg program, and only video needs that.
        import imageio_ffmpeg

        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"]
        source += ["-framerate", str(self._rate), "-i", "pipe:0"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-loglevel", "error"]
        command += source + (_gif_options if self._gif else _mp4_options)(self._scale)
        # "file:" keeps ffmpeg from reading a name such as "a:b.mp4" or "-x.mp4" otherwise.
        command += ["-fps_mode", "passthrough", f"file:{self._part}"]
        # Nobody reads the errors before the end, so ffmpeg must not wait for room in their pipe:
        # what is beyond its 64 KiB is lost. A temporary file might lie on the very disk that is
        # full.
        read_end, write_end = os.pipe()
        self._errors = open(read_end, "rb")  # noqa: SIM115 (closed in __exit__)
        os.set_blocking(write_end, False)
        try:
            # A session of its own spares ffmpeg the Ctrl-C that its parent may handle gracefully.
            self._ffmpeg = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=write_end,
                start_new_session=True,
            )
        finally:
            os.close(write_end)

    def _stop(self) -> None:
        if self._ffmpeg is not None and self._ffmpeg.stdin is not None:
            with suppress(BrokenPipeError):
                self._ffmpeg.stdin.close()
            self._ffmpeg.wait()

    def _failure(self) -> OSError:
        # The first line names the cause; the later ones tell what followed from it.
        first = self._errors.readline().decode(errors="replace") if self._errors else ""
        reason = re.sub(r"^\[.*? @ 0x[0-9a-f]+\] ", "", first).strip() or "no message"
        status = self._ffmpeg.returncode if self._ffmpeg else None
        return OSError(f"cannot write video {self.path}: ffmpeg exit status {status}: {reason}")


def _repeat_pixels(scale: int) -> str:
    # format=rgb24 keeps the colour conversion out of this step, where it would drop chroma.
    return f"scale=iw*{scale}:ih*{scale}:flags=neighbor,format=rgb24"


def _mp4_options(scale: int) -> list[str]:
    even = "pad=w=ceil(iw/2)*2:h=ceil(ih/2)*2"
    # Players guess the matrix of untagged video from its size, so it is both used and tagged.
    convert = "scale=out_color_matrix=bt709:out_range=tv:flags=area+accurate_rnd+full_chroma_inp"
    tag = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    filters = f"{_repeat_pixels(scale)},{even},{convert},format=yuv420p,{tag}"
    video = ["-vf", filters, "-c:v", "libx264", "-crf", "18", "-movflags", "+faststart"]
    return [*video, "-metadata", f"comment={MARK}"]


def _sign_gif(path: Path) -> None:
    """Put `MARK` before a gif's last byte, as a comment: ffmpeg writes none."""
    text = MARK.encode()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x21\xfe" + bytes([len(text)]) + text + b"\x00\x3b")


def _gif_options(scale: int) -> list[str]:
    # A palette over the whole film would hold back every frame until the last one has come;
    # one for each frame (stats_mode=single, new=1) streams, and loses no colour besides.
    palette = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none"
    return ["-filter_complex", f"{_repeat_pixels(scale)},{palette}", "-loop", "0"]
