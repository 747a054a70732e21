"""What is learned with the plain defaults: runs of `a2c train`, one process and one thread each.

    python benchmarks/learning.py --env CartPole-v1 --total-steps 300000 --seeds 5
    python benchmarks/learning.py --env ALE/Breakout-v5 --total-steps 500000 --seeds 3
    python benchmarks/learning.py --env ALE/Pong-v5 --total-steps 2500000 --seeds 1 -- --n-steps 40

Writes benchmarks/results/learning/ENV-STEPS.json: for every seed the mean raw return of the last
100 training episodes at the end and along the way, when (steps, seconds) it first reached a human
tester's score where one is known, the wall-clock seconds and the command. Runs stay under
--directory and are resumed if the script was stopped; seeds that the file already holds stay in
it, as long as they were trained with the same defaults and options.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from a2c_cli import __version__
from a2c_cli.evaluation.scores import reference_scores

RESULTS = Path(__file__).parent / "results" / "learning"
_POINTS = 50  # of a learning curve


def train(
    env_id: str, steps: int, seed: int, directory: Path, options: list[str]
) -> dict[str, Any]:
    """One run, from the start or from where it was stopped."""
    run = directory / f"{env_id.split('/')[-1]}-{steps}-seed{seed}"
    fresh = ["--env", env_id, "--total-steps", str(steps), "--seed", str(seed)]
    fresh += options
    resumes = (run / "last.safetensors").exists()
    arguments = ["--resume", str(run)] if resumes else [*fresh, "--run-dir", str(run)]
    done = subprocess.run(
        [sys.executable, "-m", "a2c_cli", "train", *arguments, "--quiet", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"seed {seed} failed: {done.stderr.strip()}")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = [
        (m["env_steps"], m["rollout/ep_rew_mean"]) for m in lines if "rollout/ep_rew_mean" in m
    ]
    reference = reference_scores(env_id)
    passed = [
        (m["env_steps"], m["time/elapsed"])
        for m in lines
        if reference and m.get("rollout/ep_rew_mean", -math.inf) >= reference[1]
    ]
    return {
        "seed": seed,
        "human_level": passed[0] if passed else None,
        "mean_return_100": json.loads(done.stdout)["mean_return_100"],
        "seconds": [m["time/elapsed"] for m in lines if "time/elapsed" in m][-1],
        "curve": points[:: max(1, len(points) // _POINTS)],
        "command": " ".join(["a2c", "train", *fresh]),
    }


def joined(
    output: Path, document: dict[str, Any], runs: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """`runs` and those of other seeds that `output` holds of the same experiment, by seed."""
    held = json.loads(output.read_text()) if output.exists() else {}
    by_seed = {run["seed"]: run for run in held.pop("runs", []) if held == document}
    by_seed.update((run["seed"], run) for run in runs)
    return [by_seed[seed] for seed in sorted(by_seed)]


def main() -> None:
    """Train the seeds, print and keep what came out."""
    own, options = sys.argv[1:], []
    if "--" in own:
        own, options = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", required=True)
    parser.add_argument("--total-steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--directory", type=Path, default=Path("checkpoints/learning"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args(own)
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = list(
            pool.map(
                lambda seed: train(args.env, args.total_steps, seed, args.directory, options),
                range(args.first_seed, args.first_seed + args.seeds),
            )
        )
    name = f"{args.env.split('/')[-1]}-{args.total_steps}.json"
    output = args.output or RESULTS / name
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "env": args.env,
        "total_steps": args.total_steps,
        "options": options,
        "defaults": ".".join(__version__.split(".")[:2]),  # whose they are, where none is given
    }
    output.write_text(
        json.dumps({**document, "runs": joined(output, document, runs)}, indent=1) + "\n"
    )
    for run in runs:
        print(f"seed {run['seed']}  {run['mean_return_100']:10.2f}  {run['seconds']:7.0f} s")


if __name__ == "__main__":
    main()
