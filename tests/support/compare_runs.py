"""Are two runs the same, bit for bit? And what stops a run in the middle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.runs.checkpoint import read_checkpoint, read_header


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what goes by the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


def tensors(run: Path) -> dict[str, Any]:
    return read_checkpoint(run / "last.safetensors")[1]


def assert_same_run(one: Path, other: Path) -> None:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    for name in a:
        if name.startswith("segment.") and name.endswith(".obs"):
            # Its last row is written when the segment closes; until then it holds leftovers.
            np.testing.assert_array_equal(a[name][:-1], b[name][:-1], err_msg=name)
        else:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert metrics(one) == metrics(other)
    first, second = (read_header(p / "last.safetensors")[0] for p in (one, other))
    for header in (first, second):
        header.progress.pop("elapsed")  # type: ignore[attr-defined]
        header.progress.pop("metrics_bytes")  # type: ignore[attr-defined]
    assert first == second


def stop_after(steps: int, reason: str = "interrupted") -> Callable[[], str | None]:
    count = iter(range(1, 10**9))
    return lambda: reason if next(count) == steps else None


def assert_same_learning(one: Path, other: Path) -> None:
    a, b = tensors(one), tensors(other)
    for name in a:
        if not name.endswith(".obs"):  # of a segment: its last row may hold leftovers
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert metrics(one) == metrics(other)
