"""Are two runs the same, bit for bit? And what stops a run in the middle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.runs.checkpoint import read_checkpoint, read_header


def metrics(run: Path) -> list[dict[str, Any]]:
    """The entries of metrics.jsonl without what goes by the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


def tensors(run: Path) -> dict[str, Any]:
    return read_checkpoint(run / "last.safetensors")[1]


def assert_same_run(one: Path, other: Path) -> None:
    """The same learning, and the same header but for the clock."""
    assert_same_learning(one, other)
    first, second = (read_header(p / "last.safetensors")[0] for p in (one, other))
    for header in (first, second):
        header.progress.pop("elapsed")  # type: ignore[attr-defined]
        header.progress.pop("metrics_bytes")  # type: ignore[attr-defined]
    assert first == second


def stop_after(steps: int, reason: str = "interrupted") -> Callable[[], str | None]:
    count = iter(range(1, 10**9))
    return lambda: reason if next(count) == steps else None


def assert_same_learning(one: Path, other: Path) -> None:
    """The same tensors and metrics; the settings and the trackers of a header may differ."""
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert metrics(one) == metrics(other)
