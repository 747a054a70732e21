"""Which defaults pay: one setting changed at a time, several seeds each, one table.

    python benchmarks/ablation.py --seeds 1 2
    python benchmarks/ablation.py --seeds 1 2 --only plain lr-3e-3
    python benchmarks/ablation.py --env ALE/Pong-v5 --total-steps 1000000 --seeds 0

Every run is a plain `a2c train` with the options of its line in VARIANTS, on one thread; runs
stay under --directory and are resumed if the script was stopped. Writes
benchmarks/results/ablation/ENV-STEPS.json with the mean raw return of the last 100 training
episodes of every seed, and prints the table. A result file that is there keeps the variants that
were not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from learning import train

RESULTS = Path(__file__).parent / "results" / "ablation"

_RUNNING = ["--normalize-advantages", "running", "--entropy-coef", "0.015"]
VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "no-prediction": ["--prediction-coef", "0"],
    "prediction-.08": ["--prediction-coef", "0.08"],
    "lr-1e-3": ["--learning-rate", "1e-3"],
    "lr-3e-3": ["--learning-rate", "3e-3"],
    "lr-exponential": ["--learning-rate-schedule", "exponential", "--learning-rate-end", "0.05"],
    "entropy-.0025": ["--entropy-coef", "0.0025"],
    "entropy-.01": ["--entropy-coef", "0.01"],
    "entropy-exponential": ["--entropy-schedule", "exponential"],
    "gamma-.995": ["--gamma", "0.995"],
    "lambda-.9": ["--gae-lambda", "0.9"],
    "lambda-1": ["--gae-lambda", "1"],
    "steps-40": ["--n-steps", "40", "--learning-rate", "1.4e-3"],
    "steps-160": ["--n-steps", "160", "--learning-rate", "2.8e-3"],
    "value-coef-.25": ["--value-coef", "0.25"],
    "value-coef-1": ["--value-coef", "1"],
    "grad-norm-2": ["--max-grad-norm", "2"],
    "no-trust-region": ["--max-kl", "0"],
    "max-kl-.02": ["--max-kl", "0.02"],
    "advantages-running": ["--normalize-advantages", "running"],
    "advantages-running-entropy-.015": _RUNNING,
    # The same, with the loss's other terms as large beside the policy's as Breakout has them.
    "advantages-running-all": [*_RUNNING, "--value-coef", "1.5", "--prediction-coef", "0.06"],
    "adam": ["--optimizer", "adam", "--learning-rate", "5e-4"],
    "network-nature": ["--network", "nature"],
    "no-life-loss": ["--no-life-loss"],
    "float32": ["--precision", "float32"],
}


def table(document: dict[str, Any]) -> str:
    """The variants by their mean, best first."""
    rows = []
    for name, variant in document["variants"].items():
        scores = [run["mean_return_100"] for run in variant["runs"]]
        seconds = statistics.median(run["seconds"] for run in variant["runs"])
        rows.append((statistics.mean(scores), name, scores, seconds))
    width = max(len(row[1]) for row in rows)
    return "\n".join(
        f"{name:{width}}  {mean:7.1f}   {'  '.join(f'{s:.1f}' for s in scores):20} {seconds:6.0f} s"
        for mean, name, scores, seconds in sorted(rows, reverse=True)
    )


def main() -> None:
    """Train every variant with every seed, print and keep what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", default="ALE/Breakout-v5")
    parser.add_argument("--total-steps", type=int, default=500_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--directory", type=Path, default=Path("checkpoints/ablation"))
    args = parser.parse_args()

    def run(job: tuple[str, int]) -> dict[str, Any]:
        name, seed = job
        where = args.directory / name
        return train(args.env, args.total_steps, seed, where, VARIANTS[name])

    jobs = [(name, seed) for name in args.only for seed in args.seeds]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(run, jobs))

    output = RESULTS / f"{args.env.split('/')[-1]}-{args.total_steps}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {"env": args.env, "total_steps": args.total_steps, "variants": {}}
    if output.exists():
        document = json.loads(output.read_text())
    for name in args.only:
        runs = [result for job, result in zip(jobs, results, strict=True) if job[0] == name]
        document["variants"][name] = {"options": VARIANTS[name], "runs": runs}
    output.write_text(json.dumps(document, indent=1) + "\n")
    print(table(document))


if __name__ == "__main__":
    main()
