"""What a sweep adds to its trials: time per trial, and the memory of the sweep's own process.

    python benchmarks/sweep.py --trials 1000
    python benchmarks/sweep.py --trials 40 --backend ray

A trial is a few steps of CartPole, so that nearly all the time is a trial's overhead: its
process, its checkpoints, its bookkeeping. Beside it stands the same run as a command of its own.
Writes benchmarks/results/sweep-BACKEND.json; exit code 1 if a trial failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
_SAMPLES = 20  # of the memory, in the result


def command(*args: object) -> list[str]:
    """A command line of a2c, run by this Python."""
    return [sys.executable, "-m", "a2c_cli", *map(str, args)]


def alone(steps: int, where: Path) -> float:
    """Seconds that one such run takes as a command of its own."""
    began = time.perf_counter()
    args = ("--env", "CartPole-v1", "--total-steps", steps, "--run-dir", where / "alone", "--quiet")
    subprocess.run(command("train", *args), check=True)
    return time.perf_counter() - began


def sweep(trials: int, steps: int, jobs: int, backend: str, where: Path) -> dict[str, Any]:
    """Run the sweep and watch the memory of its own process."""
    seeds = f"0-{trials - 1}"
    args = ("sweep", "--env", "CartPole-v1", "--seeds", seeds, "--total-steps", steps, "--jobs",
            jobs, "--backend", backend, "--run-dir", where, "--json", "--quiet")  # fmt: skip
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command(*args), stdout=output)
        watched = psutil.Process(process.pid)
        memory: list[tuple[int, float]] = []
        first = None
        while process.poll() is None:
            begun = sum(1 for _ in where.glob("*/*/*/last.safetensors"))
            if begun and first is None:
                first = time.perf_counter() - began
            try:
                memory.append((begun, watched.memory_info().rss / 2**20))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.5)
        process.wait()
        seconds = time.perf_counter() - began
        output.seek(0)
        record = json.loads(output.read().splitlines()[-1])
    completed = sum(run["stopped"] == "completed" for run in record["runs"])
    memory = [(begun, rss) for begun, rss in memory if begun > jobs]
    running = [rss for _, rss in memory]
    return {
        "backend": backend,
        "trials": trials,
        "completed": completed,
        "steps": steps,
        "jobs": jobs,
        "seconds": round(seconds, 1),
        "seconds_to_first_trial": round(first or 0.0, 1),
        "seconds_per_trial": round((seconds - (first or 0.0)) * jobs / trials, 3),
        "driver_mb": {"first": round(running[0], 1), "last": round(running[-1], 1),
                      "most": round(max(running), 1)},
        "driver_mb_by_trials_begun": {
            begun: round(rss, 1) for begun, rss in memory[:: max(1, len(memory) // _SAMPLES)]
        },
    }  # fmt: skip


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        single = alone(args.steps, where)
        row = sweep(args.trials, args.steps, args.jobs, args.backend, where / "sweep")
    result = {
        "command": " ".join(["python", "benchmarks/sweep.py", *sys.argv[1:]]),
        "versions": {
            n: version(n) for n in ("onestream-a2c", "torch", "numpy", "gymnasium", "ray")
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}",
        "seconds_of_one_train_command": round(single, 2),
        **row,
    }
    output = args.output or RESULTS / f"sweep-{args.backend}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{row['completed']} of {row['trials']} trials in {row['seconds']} s"
        f" ({row['seconds_to_first_trial']} s to the first), {row['seconds_per_trial']} s of a core"
        f" each; one train command {single:.2f} s; the sweep's own process"
        f" {row['driver_mb']['first']} to {row['driver_mb']['last']} MB"
    )
    raise SystemExit(row["completed"] != row["trials"])


if __name__ == "__main__":
    main()
