"""A fresh Python process in which the environments of this folder can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """What one command left: exit code and its two streams."""

    code: int
    stdout: str
    stderr: str


def run_python(*args: str, cwd: Path | None = None, timeout: float = 120) -> Outcome:
    """A fresh Python process; the tiny environments can be imported in it."""
    path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
