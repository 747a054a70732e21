"""Writes that cannot be half done, and that only touch what they are meant for."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import secrets
import stat
from pathlib import Path

from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.outside import open_regular

MARK = "made by a2c"  # stands in every film, picture and page: such a file may be replaced

# Earlier versions had eight other characters.
_PART = re.compile(r"\.(.+)\.(?:[0-9a-f]{16}|[0-9a-z_]{8})\.part(\.(?:mp4|gif))?")


def part_name(name: str) -> str:
    """A new name for a file that is being written: `play.mp4` as `.play.0123456789abcdef.part.mp4`.

    Nobody can know it before, so nobody can have put a link there, and two that write the same
    file do not write into each other's.
    """
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in (".mp4", ".gif"):  # ffmpeg goes by the suffix
        stem, suffix = name, ""
    return f".{stem[:50]}.{secrets.token_hex(8)}.part{suffix}"


def finished_name(part: str) -> str | None:
    """The inverse of `part_name`; None for a name that it does not give."""
    match = _PART.fullmatch(part)
    return None if match is None else match[1] + (match[2] or "")


def create(path: Path | str, directory: int | None = None) -> int:
    """A descriptor of a new file; never follows a link, never opens what is there.

    Raises:
        OSError: it cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666, dir_fd=directory)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that after any kill either the old or the new one is there, whole.

    Raises:
        OSError: it could not be written; the old file is untouched and nothing is left behind.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_in(directory, path.name, data)
    finally:
        os.close(directory)


def replace_in(directory: int, name: str, data: bytes) -> None:
    """As `write_atomic`, in a directory that is held open: it may have been moved.

    Raises:
        OSError: as `write_atomic`.
    """
    part = part_name(name)
    handle = create(part, directory)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            keep_mode(file.fileno(), name, directory)
            os.fsync(file.fileno())
        os.replace(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=directory)
        raise
    os.fsync(directory)


def keep_mode(handle: int, name: Path | str, directory: int | None = None) -> None:
    """Give a new file the mode of the one whose place it will take, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(old.st_mode):
            os.fchmod(handle, stat.S_IMODE(old.st_mode))


def check_output(path: Path, option: str, force: bool) -> None:
    """Whether a file that the user has asked for may be written.

    Raises:
        ConfigError: there is something that this program has not made, and nobody has said that
            it may go.
    """
    if os.path.lexists(path) and not (force or path.is_dir() or _is_marked(path)):
        raise ConfigError(
            f"{path} is there already, and not made by a2c",
            f"choose another {option}, or add --force",
        )


def _is_marked(path: Path) -> bool:
    with (
        contextlib.suppress(OSError, ValueError),  # ValueError: it is empty
        open_regular(path, 2**40, follow=False) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(MARK.encode()) >= 0
    return False


def write_output(path: Path, data: bytes, option: str = "--output") -> None:
    """Write a file that the user has asked for, whole; its directory is made if need be.

    Args:
        option: what it was asked for by.

    Raises:
        A2CError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise A2CError(
            f"cannot write {path}: {error.strerror or error}", f"choose another {option}"
        ) from None
