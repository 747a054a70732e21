"""Real signals and kills: `a2c` in a child of this process, and how far a run has come."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from a2c_cli.runs import checkpoint

_spec = importlib.util.spec_from_file_location(
    "chaos", Path(__file__).parents[2] / "benchmarks" / "chaos.py"
)
assert _spec is not None
assert _spec.loader is not None
chaos = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = chaos  # where dataclasses look for their annotations
_spec.loader.exec_module(chaos)


class Forked(chaos.Forked):  # type: ignore[misc,name-defined]
    """`a2c ARGS` in a child of this process, and what it says."""

    def __init__(self, log: Path, *args: object, uid: int | None = None) -> None:
        self._log = log
        super().__init__(*args, log=log, uid=uid)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.poll() is not None

    def wait(self, seconds: float = 20.0) -> tuple[int, str]:
        """Exit code (negative for a signal) and everything it said."""
        try:
            return super().wait(seconds), self._log.read_text()
        except subprocess.TimeoutExpired:
            self.kill()
            super().wait()
            raise AssertionError(
                f"still running after {seconds} s: {self._log.read_text()}"
            ) from None

    def signal(self, number: int) -> None:
        if not self.ended:
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
