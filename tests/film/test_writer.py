"""Video files, written by the real encoder and read back frame by frame."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from a2c_cli.film.writer import VideoWriter

Frame = NDArray[np.uint8]
SUFFIXES = ["mp4", "gif"]


def read_frames(path: Path) -> Iterator[Frame]:
    """Every stored frame, undoing no frame rate: one frame out for each frame in the file."""
    reader = imageio_ffmpeg.read_frames(path, output_params=["-fps_mode", "passthrough"])
    width, height = next(reader)["size"]
    for data in reader:
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


def numbered(index: int, height: int = 64, width: int = 80) -> Frame:
    """A frame that tells its index: ten blocks, white or black, are its binary digits."""
    bits = np.array([index >> bit & 1 for bit in range(10)], dtype=np.uint8)
    blocks = np.kron(bits.reshape(2, 5), np.ones((height // 2, width // 5), dtype=np.uint8))
    return np.repeat(blocks[:, :, None] * np.uint8(255), 3, axis=2)


def number_of(frame: Frame, height: int = 64, width: int = 80) -> int:
    centres = frame[height // 4 :: height // 2, width // 10 :: width // 5, 1]
    return sum(1 << i for i, level in enumerate(centres.ravel()) if level > 127)


def atari_like(seed: int, height: int = 210, width: int = 160) -> Frame:
    """Blocks of 8 × 8 pixels in 128 colours that differ from seed to seed."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (128, 3), dtype=np.uint8)
    small = palette[rng.integers(0, 128, (-(-height // 8), -(-width // 8)))]
    return small.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def write(path: Path, frames: list[Frame], fps: float = 30, scale: int = 1) -> list[Frame]:
    with VideoWriter(path, fps, scale=scale) as video:
        for frame in frames:
            video.write(frame)
    return list(read_frames(path))


def describe(path: Path) -> str:
    """What `ffmpeg -i` says of the file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def error(a: Frame, b: Frame) -> NDArray[np.int64]:
    return np.asarray(np.abs(a.astype(np.int64) - b))


# --- what is in the file


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_frame_is_kept_in_order(tmp_path: Path, suffix: str) -> None:
    # Each number twice: an encoder that drops or merges equal neighbours would show.
    indices = [i // 2 for i in range(150)]
    found = write(tmp_path / f"a.{suffix}", [numbered(i) for i in indices])
    assert [number_of(frame) for frame in found] == indices


@pytest.mark.parametrize(("fps", "shown"), [(60, "60"), (15, "15"), (60000 / 1001, "59.94")])
def test_mp4_format(tmp_path: Path, fps: float, shown: str) -> None:
    path = tmp_path / "a.mp4"
    assert len(write(path, [numbered(i) for i in range(60)], fps)) == 60
    text = describe(path)
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709, progressive\), 80x64", text), text
    assert f" {shown} fps" in text
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", text).groups()  # type: ignore[union-attr]
    assert hours == minutes == "00"
    assert float(seconds) == pytest.approx(60 / fps, abs=0.02)


def test_mp4_has_its_index_first(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [numbered(0)])
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 72, 72)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_flat_colours_survive(tmp_path: Path, suffix: str, colour: tuple[int, ...]) -> None:
    frame = np.full((64, 80, 3), colour, dtype=np.uint8)
    (found,) = write(tmp_path / f"a.{suffix}", [frame])
    assert error(found, frame).max() <= 3


def test_mp4_is_close_to_its_frames(tmp_path: Path) -> None:
    frames = [atari_like(seed) for seed in range(5)]
    for found, frame in zip(write(tmp_path / "a.mp4", frames, scale=2), frames, strict=True):
        expected = frame.repeat(2, axis=0).repeat(2, axis=1)
        assert found.shape == (420, 320, 3)
        assert error(found, expected).mean() < 4


@pytest.mark.parametrize("scale", [1, 3])
def test_gif_is_nearly_exact_though_the_palette_changes(tmp_path: Path, scale: int) -> None:
    frames = [atari_like(seed) for seed in range(6)]
    frames[2] = frames[1].copy()
    frames[2][40:50, 60:70] = 255  # a small change, which a GIF stores as a small patch
    for found, frame in zip(write(tmp_path / "a.gif", frames, scale=scale), frames, strict=True):
        expected = frame.repeat(scale, axis=0).repeat(scale, axis=1)
        assert error(found, expected).max() <= 1


def test_gif_of_many_colours_is_not_dithered(tmp_path: Path) -> None:
    # Error diffusion would make two equal halves differ.
    half = np.zeros((64, 64, 3), dtype=np.uint8)
    half[..., 0], half[..., 1] = np.indices((64, 64)) * 4
    (found,) = write(tmp_path / "a.gif", [np.concatenate([half, half], axis=1)])
    np.testing.assert_array_equal(found[:, :64], found[:, 64:])
    assert error(found[:, :64], half).mean() < 12


def test_scaling_repeats_pixels_without_blur(tmp_path: Path) -> None:
    checks = np.indices((16, 20)).sum(axis=0) % 2 * np.uint8(255)
    frame = np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)
    (found,) = write(tmp_path / "a.mp4", [frame], scale=4)
    assert error(found, frame.repeat(4, axis=0).repeat(4, axis=1)).max() <= 12


@pytest.mark.parametrize(("height", "width"), [(33, 40), (32, 41), (33, 41)])
def test_mp4_pads_odd_sides_with_black(tmp_path: Path, height: int, width: int) -> None:
    frame = np.full((height, width, 3), 180, dtype=np.uint8)
    (found,) = write(tmp_path / "a.mp4", [frame])
    assert found.shape == (height + height % 2, width + width % 2, 3)
    assert error(found[:height, :width], frame).max() <= 10
    assert found[height:].max(initial=0) <= 20
    assert found[:, width:].max(initial=0) <= 20


def test_gif_keeps_odd_sides(tmp_path: Path) -> None:
    (found,) = write(tmp_path / "a.gif", [atari_like(0, 33, 41)])
    assert found.shape == (33, 41, 3)


@pytest.mark.parametrize(
    ("fps", "kept"), [(15, 1), (24, 1), (50, 1), (51, 2), (60, 2), (100, 2), (120, 3)]
)
def test_gif_plays_at_the_true_speed(tmp_path: Path, fps: float, kept: int) -> None:
    path = tmp_path / "a.gif"
    found = write(path, [numbered(i, 16, 20) for i in range(121)], fps)
    assert [number_of(frame, 16, 20) for frame in found] == list(range(0, 121, kept))
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        delays = []
        for index in range(len(found)):
            image.seek(index)
            delays.append(image.info["duration"])
    assert min(delays) >= 20  # milliseconds; viewers slow down anything below
    # The last delay is the muxer's own: a start-to-start time has to be exact to 1 cs.
    assert sum(delays[:-1]) == pytest.approx(1000 * kept * (len(found) - 1) / fps, abs=10)


def test_frames_may_be_views_and_may_be_reused(tmp_path: Path) -> None:
    buffer = np.empty((64, 160, 3), dtype=np.uint8)
    view = buffer[:, ::2]
    with VideoWriter(tmp_path / "a.mp4", 30) as video:
        for index in range(20):
            view[:] = numbered(index)
            video.write(view)
            view[:] = 0
        assert video.frames == 20
    assert [number_of(frame) for frame in read_frames(tmp_path / "a.mp4")] == list(range(20))


@pytest.mark.parametrize("name", ["-a.mp4", "a:b.mp4", "100%d.gif", "é ü.MP4", "x.y.GIF"])
def test_awkward_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(name, 10) as video:
        video.write(numbered(1))
    assert os.listdir() == [name]
    assert len(list(read_frames(tmp_path / name))) == 1


# --- resources


def resident(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_memory_does_not_grow_with_the_film(tmp_path: Path, suffix: str) -> None:
    frames = [atari_like(seed, 160, 160) for seed in range(4)]
    used = {}
    with VideoWriter(tmp_path / f"a.{suffix}", 30) as video:
        for index in range(701):
            video.write(frames[index % 4])
            if index in (200, 700):
                assert video._ffmpeg is not None
                used[index] = resident(video._ffmpeg.pid) + resident(os.getpid())
    held_back = 500 * frames[0].nbytes  # 38 MB, were all frames kept
    assert used[700] - used[200] < held_back / 3


def test_ctrl_c_in_the_terminal_does_not_reach_the_encoder(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 30) as video:
        video.write(numbered(0))
        assert video._ffmpeg is not None
        assert os.getpgid(video._ffmpeg.pid) != os.getpgrp()


# --- all or nothing


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_name_appears_only_when_the_file_is_complete(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"old")
    with VideoWriter(path, 30) as video:
        video.write(numbered(0))
        assert path.read_bytes() == b"old"
        part, other = sorted(os.listdir(tmp_path))
        assert re.fullmatch(rf"\.a\.[0-9a-f]{{16}}\.part\.{suffix}", part)
        assert other == f"a.{suffix}"
    assert os.listdir(tmp_path) == [path.name]
    assert len(list(read_frames(path))) == 1


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("frames", [0, 1, 100])
def test_an_exception_leaves_nothing_behind(
    tmp_path: Path, kind: type[BaseException], frames: int
) -> None:
    video = VideoWriter(tmp_path / "a.mp4", 30)
    with pytest.raises(kind, match="mine"), video:  # noqa: PT012 (the failure is inside)
        for index in range(frames):
            video.write(numbered(index))
        raise kind("mine")
    assert os.listdir(tmp_path) == []
    if frames:
        assert video._ffmpeg is not None
        assert video._ffmpeg.returncode == -signal.SIGKILL  # no time spent on a lost film


def test_an_exception_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), VideoWriter(path, 30) as video:  # noqa: PT012
        video.write(numbered(0))
        raise RuntimeError
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert path.read_bytes() == b"old"


def test_no_frames_is_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no frames.*a\.mp4"), VideoWriter(tmp_path / "a.mp4", 30):
        pass
    assert os.listdir(tmp_path) == []


# --- places that cannot be written


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("missing/a.mp4", FileNotFoundError),
        ("file/a.mp4", NotADirectoryError),
        ("folder.mp4", IsADirectoryError),
    ],
)
def test_a_bad_place_fails_before_the_first_frame(
    tmp_path: Path, name: str, kind: type[OSError]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(kind, match=f"cannot write video.*{name}"), VideoWriter(tmp_path / name, 30):
        pytest.fail("entered")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"a\.mp4"), VideoWriter(tmp_path / "a.mp4", 30):
        pytest.fail("entered")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("frames", [1, 400])
def test_full_disk_is_reported_in_ffmpegs_words(tmp_path: Path, suffix: str, frames: int) -> None:
    # One frame fails when the file is closed, 400 fail while they are being written.
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    message = f"cannot write video {re.escape(str(path))}: .*No space left on device"
    video = VideoWriter(path, 30)
    with pytest.raises(OSError, match=message), video:  # noqa: PT012
        video._part.unlink()
        video._part.symlink_to("/dev/full")
        for index in range(frames):
            video.write(np.roll(noise, index, axis=0))
    assert video.frames < 400
    assert os.listdir(tmp_path) == []


# --- misuse


@pytest.mark.parametrize("name", ["a.avi", "a", "a.mp4.txt", ".mp4"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(name)):
        VideoWriter(tmp_path / name, 30)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e-9])
def test_bad_fps(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "a.mp4", fps)


@pytest.mark.parametrize("scale", [0, -2, 1.5])
def test_bad_scale(tmp_path: Path, scale: Any) -> None:
    with pytest.raises(ValueError, match="scale"):
        VideoWriter(tmp_path / "a.mp4", 30, scale=scale)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((64, 80, 3), dtype=np.float32),
        np.zeros((64, 80), dtype=np.uint8),
        np.zeros((64, 80, 4), dtype=np.uint8),
        np.zeros((0, 80, 3), dtype=np.uint8),
        [[[0, 0, 0]]],
    ],
)
def test_bad_frame(tmp_path: Path, bad: Any) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match="frame must"), VideoWriter(path, 30) as video:
        video.write(bad)
    assert os.listdir(tmp_path) == []


def test_frame_size_must_not_change(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    # The same number of bytes, so that only a look at the shape can tell.
    with pytest.raises(ValueError, match="changed"), VideoWriter(path, 30) as video:  # noqa: PT012
        video.write(np.zeros((64, 80, 3), dtype=np.uint8))
        video.write(np.zeros((80, 64, 3), dtype=np.uint8))
    assert os.listdir(tmp_path) == []


def test_writing_outside_with(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "a.mp4", 30)
    with pytest.raises(ValueError, match="with statement"):
        video.write(numbered(0))
    with video:
        video.write(numbered(0))
    with pytest.raises(ValueError, match="with statement"):
        video.write(numbered(0))
