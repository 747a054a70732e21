"""Real signals and kills: `a2c` in a child of this process, and how far a run has come."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a2c_cli.commands.app import main
from a2c_cli.runs import checkpoint

_spec = importlib.util.spec_from_file_location(
    "chaos", Path(__file__).parents[2] / "benchmarks" / "chaos.py"
)
assert _spec is not None
assert _spec.loader is not None
chaos = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chaos)


class Forked:
    """`a2c ARGS` in a child of this process: real signals, limits and kills without the start."""

    def __init__(self, log: Path, *args: object, uid: int | None = None) -> None:
        self._log = log
        self.pid = os.fork()
        if self.pid:
            return
        code: Any = 99
        try:
            output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if uid is not None:
                os.setuid(uid)
            sys.argv = ["a2c", *map(str, args)]
            main()
        except SystemExit as left:
            code = left.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def ended(self) -> bool:
        """Whether it is over; its exit code can still be waited for."""
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, look) is not None

    def wait(self, seconds: float = 20.0) -> tuple[int, str]:
        """Exit code (negative for a signal) and everything it said."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status), self._log.read_text()
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"still running after {seconds} s: {self._log.read_text()}")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def lines(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def saved_steps(run: Path) -> int:
    return checkpoint.read_header(run / "last.safetensors")[0].env_steps
