"""Kill -9 real training runs at random moments, resume, and compare with a run left alone.

    python benchmarks/chaos.py --kills 1000
    python benchmarks/chaos.py --kills 3 --only CartPole --steps 8000 --output /tmp/chaos.json

In rounds: one run is left alone and one is killed `--round` times, each time at a random moment
after its first save since the last kill, or (one in four) at any moment since the process was
started; it saves all the time, so that kills fall into saves too. In the end every tensor of the
last checkpoint must be equal bit for bit, every line of metrics.jsonl but its times, and what
each tracker holds must be every step of metrics.jsonl exactly once. The result is written after
every round; the same command continues where it was stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.tracking.wandb import rows as wandb_rows

TRACKERS = ("tensorboard", "wandb", "trackio")
# What a round trains: environment, agent steps, and more options.
KINDS: dict[str, tuple[str, int, tuple[object, ...]]] = {
    "Breakout": ("ALE/Breakout-v5", 20_000, ()),
    "CartPole": ("CartPole-v1", 60_000, ()),
    "Pendulum": ("Pendulum-v1", 60_000, ()),
    "CartPole, gradient": ("CartPole-v1", 60_000, ("--policy-step", "gradient")),
    "CartPole, watched": (
        "CartPole-v1",
        40_000,
        ("--video-every", 60, *(word for name in TRACKERS for word in ("--tracker", name))),
    ),
}
PACKAGES = ("onestream-a2c", "torch", "numpy", "gymnasium", "ale-py", *TRACKERS)
RESULTS = Path(__file__).parent / "results"


def command(*args: object) -> list[str]:
    """A command line of a2c, run by this Python."""
    return [sys.executable, "-m", "a2c_cli", *map(str, args)]


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their times; a torn line is an error."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in r.items() if not k.startswith("time/")} for r in records]


def differences(one: Path, other: Path) -> dict[str, Any]:
    """What differs between two runs: names of tensors, and numbers of lines."""
    (_, a), (_, b) = (read_checkpoint(run / "last.safetensors") for run in (one, other))
    tensors = sorted(
        name
        for name in a.keys() | b.keys()
        if name not in a
        or name not in b
        or a[name].dtype != b[name].dtype
        or not np.array_equal(a[name], b[name], equal_nan=True)
    )
    left, right = metrics(one), metrics(other)
    pairs = enumerate(zip(left, right, strict=False), 1)
    lines = [number for number, (x, y) in pairs if x != y]
    if len(left) != len(right):
        lines.append(min(len(left), len(right)) + 1)
    return {
        "network_equal": not any(name.startswith("network.") for name in tensors),
        "tensors": tensors,
        "metrics_lines": len(left),
        "lines": lines,
    }


def tracker_steps(run: Path) -> dict[str, list[int]]:
    """The steps of which each tracker that a run has holds a point, in the order of its store."""
    found: dict[str, list[int]] = {}
    if (run / "tensorboard").exists():
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0})
        events.Reload()
        found["tensorboard"] = [event.step for event in events.Scalars("frames")]
    if (run / "wandb").exists():
        files = sorted((run / "wandb").glob("offline-run-*/run-*.wandb"))
        found["wandb"] = [step for file in files for step in wandb_rows(file)]
    for store in (run / "trackio").glob("*.db"):
        with contextlib.closing(sqlite3.connect(store)) as connection:
            rows = connection.execute("SELECT step FROM metrics ORDER BY id").fetchall()
        found["trackio"] = [step for (step,) in rows]
    return found


def tracker_faults(run: Path) -> dict[str, dict[str, int]]:
    """How many steps of metrics.jsonl each tracker lacks, and how many it has twice."""
    wanted = {record["env_steps"] for record in metrics(run)}
    return {
        name: {
            "points": len(steps),
            "lacks": len(wanted - set(steps)),
            "twice": len(steps) - len(set(steps)),
            "others": len(set(steps) - wanted),
        }
        for name, steps in tracker_steps(run).items()
    }


def chaos(
    env: str, steps: int, kills: int, seed: int, where: Path, more: tuple[object, ...] = ()
) -> dict[str, Any]:
    """One round: the run left alone, the killed one, the comparison."""
    options = ("--log-every", max(steps // 20, 1), "--eval-every", steps // 5, *more)
    options = (*options, "--eval-episodes", 1, "--seed", seed, "--quiet")
    alone, killed = where / "alone", where / "killed"
    start = ("train", "--env", env, "--total-steps", steps, *options)
    began = time.perf_counter()
    subprocess.run(command(*start, "--run-dir", alone), check=True)
    undisturbed = time.perf_counter() - began

    random_moment = random.Random(seed)
    # So that the killed run comes about evenly far between two kills.
    window = undisturbed / kills / 2
    counts = {"kills": 0, "in_a_save": 0, "before_any_save": 0, "finished_early": 0}
    began = time.perf_counter()
    while counts["kills"] < kills:
        last = killed / "last.safetensors"
        resume = last.exists()
        args = ("train", "--resume", killed, "--quiet") if resume else (*start, "--run-dir", killed)
        before = last.stat().st_mtime_ns if resume else 0
        # Every 6 ms: nearly all the time is spent in a save.
        process = subprocess.Popen(command(*args, "--save-every", 0.0001))
        if random_moment.random() < 0.25:
            moment = random_moment.uniform(0.0, 4.0)
        else:
            while process.poll() is None and not (
                last.exists() and last.stat().st_mtime_ns > before
            ):
                time.sleep(0.002)
            moment = random_moment.uniform(0.0, window)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        counts["in_a_save"] += any(killed.glob(".*.part"))
        code = process.wait()
        if code == 0:
            counts["finished_early"] += 1
            break
        if code != -9:
            raise SystemExit(f"{' '.join(map(str, args))} ended with {code} by itself")
        counts["kills"] += 1
        after = last.stat().st_mtime_ns if last.exists() else 0
        counts["before_any_save"] += after == before
    args = ("train", "--resume", killed) if last.exists() else (*start, "--run-dir", killed)
    subprocess.run(command(*args, "--save-every", 5, "--quiet"), check=True)
    return {
        "env": env,
        "steps": steps,
        **counts,
        **differences(alone, killed),
        "trackers": tracker_faults(killed),
        "seconds_undisturbed": round(undisturbed, 1),
        "seconds_killed": round(time.perf_counter() - began, 1),
    }


def wrong(row: dict[str, Any]) -> bool:
    """Whether anything differs in a round."""
    faults = [n for t in row["trackers"].values() for k, n in t.items() if k != "points"]
    return bool(row["tensors"] or row["lines"] or any(faults))


def main() -> None:
    """Run, print a line per round, write the result; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="in all rounds together")
    parser.add_argument("--round", type=int, default=20, help="kills of one round")
    parser.add_argument("--only", action="append", choices=KINDS, help="repeatable; default: all")
    parser.add_argument("--steps", type=int, help="agent steps; default: by kind")
    parser.add_argument("--output", type=Path, default=RESULTS / "chaos.json")
    args = parser.parse_args()
    os.environ |= {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    rows: list[dict[str, Any]] = []
    if args.output.exists():
        rows = json.loads(args.output.read_text()).get("rounds", [])
    kinds = args.only or list(KINDS)
    while sum(row["kills"] for row in rows) < args.kills:
        kind = kinds[len(rows) % len(kinds)]
        env, steps, more = KINDS[kind]
        with tempfile.TemporaryDirectory() as where:
            row = chaos(env, args.steps or steps, args.round, len(rows), Path(where), more)
        rows.append({"kind": kind, "seed": len(rows), **row})
        print(
            f"{kind:20} {row['steps']:>7,} steps  {row['kills']:>3} kills"
            f" ({row['in_a_save']} in a save, {row['before_any_save']} before any)"
            f"  {row['seconds_killed']:>6} s  {row['metrics_lines']} lines"
            f"  {'DIFFERENT' if wrong(row) else 'equal'}",
            flush=True,
        )
        write(args.output, rows)
    raise SystemExit(any(map(wrong, rows)))


def write(output: Path, rows: list[dict[str, Any]]) -> None:
    """The rounds so far, with their sums."""
    result = {
        "command": " ".join(["python", "benchmarks/chaos.py", *sys.argv[1:]]),
        "versions": {
            n: version(n) for n in ("onestream-a2c", "torch", "numpy", "gymnasium", "ale-py")
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}",
        "kills": sum(row["kills"] for row in rows),
        "in_a_save": sum(row["in_a_save"] for row in rows),
        "lines": sum(row["metrics_lines"] for row in rows),
        "different": sum(map(wrong, rows)),
        "rounds": rows,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(output)


if __name__ == "__main__":
    main()
