"""An environment is a guest in this process: what it changes of the process is put right.

Simulators change the working directory, call sys.exit, install handlers of signals. Around every
call into one stands a `Guest`; before the first one a machine without a screen is told so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from a2c_cli.errors import EnvError
from a2c_cli.text import error_text

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_PACKAGE = str(Path(__file__).resolve().parents[1])


class Guest:
    """Around a call into an environment, which may have a working directory of its own.

    One that changes the directory finds itself there again at its next call, and we are where we
    were: our paths are relative to where the command was typed.
    """

    def __init__(self) -> None:
        self._home = _here()
        self._place: str | None = None  # where it stands by itself

    def __enter__(self) -> None:
        if self._place is not None:
            self._home = _here()
            os.chdir(self._place)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        here = _here()
        if here != self._home:
            self._place = here
            if self._home is not None:
                os.chdir(self._home)

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """As around any call, and around those that set things up: building it, and reset.

        Handlers of signals and NumPy's treatment of overflow are ours again afterwards.
        """
        numpy_errors = np.geterr()
        with _kept_signals(), self:
            yield
        if np.geterr() != numpy_errors:
            np.seterr(**numpy_errors)


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the directory is gone
        return None


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def describe(error: BaseException) -> str:
    """A foreign exception in one line, with the place in foreign code where it was raised."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _ours(f.filename)]
    # The user's own file says more than the library in which its call has failed.
    frames = [f for f in frames if not f.filename.startswith(_LIBRARIES)] or frames
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{error_text(error)}{place}"


def _ours(filename: str) -> bool:
    return filename.startswith((_PACKAGE, "<"))


def close_env(env: Any) -> None:
    """Free an environment; nothing depends any more on whether that works."""
    with contextlib.suppress(Exception, SystemExit), Guest().settling():
        env.close()


def refuse(what: str, error: BaseException, hint: str = "") -> EnvError:
    """The error that stands for one of an environment's own.

    Args:
        what: the environment and what it did, as in `CartPole-v1 raised in step`.
    """
    return EnvError(f"{what}: {describe(error)}", hint)


def announce_no_screen(render: bool) -> None:
    """Where there is no screen and nobody has said how to draw, libraries are told: off screen.

    SDL for every environment, filmed or not: some observe what they draw, and a film must not
    change what it films. MuJoCo only for films: its import fails where the driver does not work.
    On a machine with a screen nothing is touched.
    """
    if sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "offscreen")  # with "dummy" some draw nothing
    if render and "MUJOCO_GL" not in os.environ:
        for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
            if find_library(library):
                os.environ["MUJOCO_GL"] = name
                return
