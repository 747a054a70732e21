"""What comes from outside: files that a stranger may have written, modules that the user names.

A file is only read if it is a regular one and of a size that it may have: a pipe would block, a
device never end, and a sparse file of a few bytes on disk fill the memory.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import resource
import stat
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import Any

_WORK = 256 * 2**20  # bytes; more than any emulator needs
_DEEPEST = 100  # levels of a JSON or TOML document


def open_regular(path: Path, most: int, *, follow: bool = True) -> BufferedReader:
    """Open a file for reading.

    Args:
        path: the file.
        most: bytes that it may have.
        follow: whether it may be a link: not where it lies in a directory that may be a
            stranger's and its content is shown or written to.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        handle = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except OSError as error:
        raise _without_links(error) from None
    try:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes")
        os.set_blocking(handle, True)
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def open_to_write(name: str, directory: int) -> int:
    """A descriptor of a regular file to lock, or to append to; made if it is not there.

    Args:
        name: of the file.
        directory: in which it lies, as a descriptor.

    Raises:
        OSError: it cannot be opened, or is a link or no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(name, flags, 0o666, dir_fd=directory)
    except OSError as error:
        raise _without_links(error) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"{name} is not a regular file")
    return handle


def _without_links(error: OSError) -> OSError:
    if error.errno == errno.ELOOP:  # the system's words are about too many levels of links
        return OSError(errno.ELOOP, f"{Path(os.fsdecode(error.filename)).name} is a link")
    if error.errno == errno.ENXIO:  # of a socket, or of a pipe that nobody reads
        return OSError(errno.EINVAL, "it is not a regular file")
    return error


def read_bytes(path: Path, most: int, *, follow: bool = True) -> bytes:
    """A file's content; see `open_regular`.

    Raises:
        OSError: as there.
    """
    with open_regular(path, most, follow=follow) as file:
        return file.read(most)


def read_text(path: Path, most: int, *, follow: bool = True) -> str:
    """A file's content as UTF-8 text.

    Raises:
        OSError: as `open_regular`, or it is no UTF-8 text.
    """
    try:
        return read_bytes(path, most, follow=follow).decode()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "it is not UTF-8 text") from None


def parse_json(text: bytes | str) -> Any:
    """A JSON document, of which no name stands twice and no part lies too deep.

    Raises:
        ValueError: it is none.
    """
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check_values(document)
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document


def check_values(document: Any) -> None:
    """Whether a parsed document can be worked on: no deep nesting, no integers without end.

    Raises:
        ValueError: it cannot.
    """
    level = [document]
    for _ in range(_DEEPEST):
        if any(isinstance(value, int) and value.bit_length() > 2**12 for value in level):
            raise ValueError("an integer has too many digits")
        inner = [
            v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)
        ]
        level = [value for values in inner for value in values]
        if not level:
            return
    raise ValueError("it is nested too deeply")


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Inside, the process cannot grow by more than a quarter of a GiB (on Linux).

    For libraries that read a length from a stranger's bytes and reserve what it says.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * os.sysconf("SC_PAGE_SIZE") + _WORK
    bounds = [bound for bound in (*before, now) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def import_module(name: str) -> ModuleType:
    """Import a module as `python -m` would find it: the current directory comes first.

    Only for names that the user has given to this command: what a file says may come from a
    stranger.

    Raises:
        Exception: whatever the import does.
    """
    with contextlib.suppress(OSError):  # the directory may be gone
        here = os.getcwd()
        if here not in sys.path:  # the console script has its own directory there instead
            sys.path.insert(0, here)
    return importlib.import_module(name)
