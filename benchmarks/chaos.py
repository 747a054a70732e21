"""Kill -9 real training runs at random moments, resume, and compare with a run left alone.

    python benchmarks/chaos.py --kills 20
    python benchmarks/chaos.py --kills 3 --env CartPole-v1 --steps 8000 --output /tmp/chaos.json

For each environment one run is left alone and one is killed `--kills` times, each time at a
random moment after its first save since the last kill, or (one in four) at any moment since the
process was started; it saves all the time, so that kills fall into saves too. In the end every
tensor of the last checkpoint must be equal bit for bit, and every line of metrics.jsonl but its
times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.runs.checkpoint import read_checkpoint

STEPS = {"ALE/Breakout-v5": 20_000, "CartPole-v1": 60_000, "Pendulum-v1": 60_000}
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


def chaos(env: str, steps: int, kills: int, seed: int, where: Path) -> dict[str, Any]:
    """One environment: the run left alone, the killed one, the comparison."""
    options = ("--log-every", max(steps // 20, 1), "--eval-every", steps // 5)
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
        "seconds_undisturbed": round(undisturbed, 1),
        "seconds_killed": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Run, print a table, write the result; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="per environment")
    parser.add_argument("--env", action="append", help="repeatable; default: all three")
    parser.add_argument("--steps", type=int, help="agent steps; default: by environment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "chaos.json")
    args = parser.parse_args()
    rows = []
    for env in args.env or STEPS:
        with tempfile.TemporaryDirectory() as where:
            steps = args.steps or STEPS.get(env, 20_000)
            row = chaos(env, steps, args.kills, args.seed, Path(where))
        rows.append(row)
        same = "equal" if not row["tensors"] and not row["lines"] else "DIFFERENT"
        print(
            f"{env:18} {row['steps']:>7,} steps  {row['kills']:>3} kills"
            f" ({row['in_a_save']} in a save, {row['before_any_save']} before any)"
            f"  {row['seconds_killed']:>6} s  {row['metrics_lines']} lines  {same}",
            flush=True,
        )
    result = {
        "command": " ".join(["python", "benchmarks/chaos.py", *sys.argv[1:]]),
        "versions": {
            n: version(n) for n in ("onestream-a2c", "torch", "numpy", "gymnasium", "ale-py")
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}",
        "runs": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    raise SystemExit(any(row["tensors"] or row["lines"] for row in rows))


if __name__ == "__main__":
    main()
