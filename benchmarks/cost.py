"""Where the microseconds of an agent step go, and how the cost grows with the settings.

    python benchmarks/cost.py               # writes benchmarks/results/cost.json
    python benchmarks/cost.py --env ALE/Pong-v5 --repeats 3 --output pong.json

Runs the loop of `a2c train` in this process with one thread and a clock around each stage; the
emulator's share is measured beside it, as four `act` calls a step with random actions and no
screen. All variants take turns within each repeat; medians over the repeats are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from speed import cpu_name, raw, versions
from threadpoolctl import threadpool_limits

from a2c_cli import TrainConfig
from a2c_cli.algorithm.learner import Learner
from a2c_cli.envs.make import open_env, run_settings
from a2c_cli.envs.stream import Transition
from a2c_cli.training.machine import choose_precision

RESULTS = Path(__file__).parent / "results" / "cost.json"
STEPS = 3000

# What is varied, one setting at a time around the defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "n_steps 5": {"n_steps": 5},
    "n_steps 20": {"n_steps": 20},
    "n_steps 320": {"n_steps": 320},
    "network nature": {"network": "nature"},
    "network notebook": {"network": "notebook"},
    "frame_stack 1": {"frame_stack": 1},
    "frame_stack 8": {"frame_stack": 8},
    "prediction_coef 0": {"prediction_coef": 0.0},
    "all 18 actions": {"env_args": {"full_action_space": True}},
    "precision float32": {"precision": "float32"},
}


@dataclass
class Stages:
    """Seconds spent in each stage over a number of steps."""

    steps: int = 0
    total: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def microseconds(self) -> dict[str, float]:
        """An agent step, by stage; `loop` is what lies between the clocks."""
        stages = {name: 1e6 * s / self.steps for name, s in self.seconds.items()}
        total = 1e6 * self.total / self.steps
        return {**stages, "loop": total - sum(stages.values()), "total": total}


class Run:
    """The loop of training, with a clock around each stage."""

    def __init__(self, env_id: str, changes: dict[str, Any]) -> None:
        config = TrainConfig(env=env_id, device="cpu", **changes)
        self.config = config = run_settings(config)
        self.env = open_env(config)
        device = torch.device("cpu")
        self.learner = Learner(config, self.env.spec, device, choose_precision(config, device))
        self.obs: Any = None
        self.time(200)  # the first updates are slower

    def time(self, steps: int) -> Stages:
        """Go on for some steps."""
        env, learner, clock, stages = self.env, self.learner, time.perf_counter, Stages(steps)
        begin = clock()
        for _ in range(steps):
            t0 = clock()
            if self.obs is None:
                self.obs = env.reset()
            t1 = clock()
            lives = env.lives
            action = learner.act(self.obs)
            t2 = clock()
            obs, reward, terminated, truncated = env.step(action)
            t3 = clock()
            lost = env.lives < lives
            step = Transition(action, reward, terminated, truncated, lost, obs)
            updated = learner.learn(step, 0.0)
            t4 = clock()
            self.obs = None if step.episode_over else obs
            for stage, seconds in (
                ("reset", t1 - t0),
                ("act", t2 - t1),
                ("environment", t3 - t2),
                ("update" if updated else "collect", t4 - t3),
            ):
                stages.add(stage, seconds)
        stages.total = clock() - begin
        return stages


def time_emulator(env_id: str) -> float:
    """Microseconds of four raw `act` calls, resets included."""
    steps, begin = 0, time.perf_counter()
    for count in raw(env_id):
        steps += count
        if steps >= STEPS:
            break
    return 1e6 * (time.perf_counter() - begin) / steps


def median_stages(repeats: Iterable[dict[str, float]]) -> dict[str, float]:
    """Medians stage by stage."""
    rows = list(repeats)
    return {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]}


def table(result: dict[str, dict[str, float]], emulator: float) -> str:
    """One line a variant, microseconds an agent step."""
    columns = ["environment", "act", "update", "reset", "collect", "loop", "total"]
    lines = ["| variant | " + " | ".join(columns) + " | steps/s | above raw |"]
    lines.append("|---" * (len(columns) + 3) + "|")
    for name, stages in result.items():
        cells = [f"{stages.get(c, 0.0):.0f}" for c in columns]
        cells += [f"{1e6 / stages['total']:,.0f}", f"{stages['total'] - emulator:.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Time all variants, print the table, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", default="ALE/Breakout-v5")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        runs = {name: Run(args.env, changes) for name, changes in VARIANTS.items()}
        times: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        emulator = []
        for repeat in range(args.repeats):
            emulator.append(time_emulator(args.env))
            for name, run in runs.items():
                times[name].append(run.time(STEPS).microseconds())
            print(f"repeat {repeat + 1} of {args.repeats}", file=sys.stderr)
    result = {name: median_stages(rows) for name, rows in times.items()}
    floor = round(statistics.median(emulator), 1)
    document = {
        "command": " ".join(["python", "benchmarks/cost.py", *sys.argv[1:]]),
        "env": args.env,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "steps_per_repeat": STEPS,
        "repeats": args.repeats,
        "raw_emulator": floor,
        "microseconds_per_step": result,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(document, indent=1) + "\n")
    print(f"raw emulator: {floor:.0f} microseconds an agent step\n")
    print(table(result, floor))


if __name__ == "__main__":
    main()
