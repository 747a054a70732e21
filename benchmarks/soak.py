"""Run for long with everything on, and watch memory and open files: both must stay flat.

    python benchmarks/soak.py
    python benchmarks/soak.py --share 0.02 --output /tmp/soak.json

Five million steps of CartPole and one million of Breakout, with evaluations that decide on the best
checkpoint, checkpoints every few seconds, and every 25th episode on video. Resident memory and
open files of the process are read once a second. Flat means: in the last quarter of the time the
median of the memory is at most 5 % or 10 MB above that of the second quarter, whichever is more,
that of open files is no higher, and no unfinished video is left. The result keeps what earlier
calls found of other environments.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RUNS = {"CartPole-v1": 5_000_000, "ALE/Breakout-v5": 1_000_000}
RESULTS = Path(__file__).parent / "results"


def resident_mb(pid: int) -> float:
    """Resident memory of a process, its children not included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def soak(env: str, steps: int, every: float, where: Path) -> dict[str, Any]:
    """One run and its samples."""
    options = ["train", "--env", env, "--total-steps", steps, "--run-dir", where / "run"]
    options += ["--eval-every", max(steps // 20, 1), "--eval-episodes", 2, "--save-every", 0.05]
    options += ["--log-every", max(steps // 100, 1), "--best-by", "evaluation"]
    options += ["--video-every", 25, "--quiet"]
    command = [sys.executable, "-m", "a2c_cli"]
    began = time.monotonic()
    process = subprocess.Popen([*command, *map(str, options)])
    samples: list[tuple[float, float, int]] = []
    while process.poll() is None:
        try:
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
            samples.append((time.monotonic() - began, resident_mb(process.pid), files))
        except (ProcessLookupError, FileNotFoundError):
            break
        time.sleep(every)
    if process.wait() != 0:
        raise SystemExit(f"{env} ended with {process.returncode}")
    quarter = max(len(samples) // 4, 1)
    second, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    memory = [statistics.median(s[1] for s in part) for part in (second, last)]
    # A file that is being saved is open for a moment, and an encoder's pipes as long as one in 25
    # episodes: the median does not see them.
    files = [statistics.median_low(s[2] for s in part) for part in (second, last)]
    videos = len(list((where / "run" / "videos").glob("*.mp4")))
    leftovers = list((where / "run" / "videos").glob(".*"))
    flat = memory[1] - memory[0] <= max(0.05 * memory[0], 10.0) and files[1] <= files[0]
    flat = flat and not leftovers
    shown = samples[:: max(len(samples) // 50, 1)]
    return {
        "env": env,
        "steps": steps,
        "version": version("onestream-a2c"),
        "videos": videos,
        "seconds": round(time.monotonic() - began, 1),
        "samples": len(samples),
        "memory_mb_second_quarter": round(memory[0], 1),
        "memory_mb_last_quarter": round(memory[1], 1),
        "memory_mb_peak": round(max(s[1] for s in samples), 1),
        "files_second_quarter": files[0],
        "files_last_quarter": files[1],
        "flat": flat,
        "seconds_mb_files": [[round(t, 1), round(mb, 1), n] for t, mb, n in shown],
    }


def main() -> None:
    """Run, print a table, write the result; exit code 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", action="append", help="repeatable; default: both")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, to try it out")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between samples")
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.json")
    args = parser.parse_args()
    kept = json.loads(args.output.read_text())["runs"] if args.output.exists() else []
    rows = {row["env"]: row for row in kept}
    for env in args.env or RUNS:
        with tempfile.TemporaryDirectory() as where:
            row = soak(env, int(RUNS.get(env, 300_000) * args.share), args.every, Path(where))
        rows[env] = row
        write(args.output, list(rows.values()))
        print(
            f"{env:18} {row['steps']:>9,} steps {row['seconds']:>7} s"
            f"  memory {row['memory_mb_second_quarter']} -> {row['memory_mb_last_quarter']} MB"
            f"  files {row['files_second_quarter']} -> {row['files_last_quarter']}"
            f"  {'flat' if row['flat'] else 'GROWS'}",
            flush=True,
        )
    raise SystemExit(not all(row["flat"] for row in rows.values()))


def write(output: Path, rows: list[dict[str, Any]]) -> None:
    """The newest run of each environment."""
    result = {
        "command": " ".join(["python", "benchmarks/soak.py", *sys.argv[1:]]),
        "versions": {
            n: version(n) for n in ("onestream-a2c", "torch", "numpy", "gymnasium", "ale-py")
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}",
        "runs": rows,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
