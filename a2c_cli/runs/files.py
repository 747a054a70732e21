"""Writes that cannot be half done."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from a2c_cli.errors import A2CError


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that after any kill either the old or the new one is there, whole.

    Raises:
        OSError: it could not be written; the old file is untouched and nothing is left behind.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_output(path: Path, data: bytes) -> None:
    """Write a file that the user has asked for, whole; its directory is made if need be.

    Raises:
        A2CError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise A2CError(
            f"cannot write {path}: {error.strerror or error}", "choose another --output"
        ) from None
