"""What scripts rely on: the keys of each command's JSON."""

from __future__ import annotations

import json
from typing import Any

from process import Outcome

EVALUATE_KEYS = {
    "checkpoint", "env_id", "policy", "episodes", "seed", "returns", "lengths", "mean", "std",
    "median", "iqm", "min", "max", "ci95", "random_mean", "human_normalized", "protocol",
}  # fmt: skip

INSPECT_KEYS = {
    "format_version", "env_id", "config", "parameters", "layers", "env_steps", "frames",
    "updates", "episodes", "mean_return_100", "best_mean_return", "versions", "sha256",
}  # fmt: skip

TRAIN_KEYS = {
    "run_dir", "last", "best", "env_steps", "frames", "updates", "episodes", "mean_return_100",
    "steps_per_second", "stopped", "warnings", "reward_rate", "success_rate",
}  # fmt: skip


def only_json(outcome: Outcome) -> dict[str, Any]:
    """The one JSON object that must be all there is on stdout."""
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.endswith("}\n")
    assert outcome.stdout.count("\n") == 1
    record = json.loads(outcome.stdout)
    assert isinstance(record, dict)
    return record
