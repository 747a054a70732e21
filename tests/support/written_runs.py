"""Run directories as training leaves them, with returns that a test knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from a2c_cli.config.settings import TrainConfig
from a2c_cli.config.text import to_toml
from a2c_cli.runs.directory import CONFIG, METRICS

EVERY = 50  # agent steps an episode


def write_run(
    path: Path,
    returns: Sequence[float],
    *,
    env: str = "CartPole-v1",
    seed: int = 0,
    frame_skip: int = 1,
    more: str = "",
    **settings: Any,
) -> Path:
    """Write config.toml and metrics.jsonl: an episode every `EVERY` steps, metrics every fifth."""
    path.mkdir(parents=True)
    (path / CONFIG).write_text(to_toml(TrainConfig(env=env, seed=seed, **settings)))
    lines = []
    for i, value in enumerate(returns):
        step = EVERY * (i + 1)
        at = {"env_steps": step, "frames": frame_skip * step}
        lines.append(at | {"episode": i + 1, "charts/episodic_return": value})
        if i % 5 == 4:
            share = i / len(returns)
            lines.append(
                at
                | {
                    "train/entropy": 0.69 * (1 - share),
                    "train/value_loss": 1.0 / (i + 1),
                    "train/learning_rate": 0.001 * (1 - share),
                    "train/entropy_coef": 0.01,
                }
            )
    (path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines) + more)
    return path
