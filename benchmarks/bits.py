"""Do six short runs end with the same bits as before a change?

    python benchmarks/bits.py                         # prints a digest for each run
    python benchmarks/bits.py --against ../before     # and compares with another checkout's

Two on CartPole, one on Pendulum, three on Atari, each stopped in the middle and resumed. Compared
are the bytes of the weights and every line of metrics.jsonl but its times. To be run before and
after anything that is meant to leave learning as it is. Some seconds per run, on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]

RUNS: dict[str, dict[str, Any]] = {
    "CartPole": {"env": "CartPole-v1", "total_steps": 20_000},
    "CartPole, whole episodes": {
        "env": "CartPole-v1",
        "total_steps": 10_000,
        "n_steps": 0,
        "actor_learning_rate": 1e-3,
        "normalize_advantages": "running",
    },
    "Pendulum": {"env": "Pendulum-v1", "total_steps": 20_000},
    "Breakout": {"env": "ALE/Breakout-v5", "total_steps": 6_000},
    "Pong, three segments an update": {
        "env": "ALE/Pong-v5",
        "total_steps": 3_000,
        "n_steps": 20,
        "segments_per_update": 3,
        "precision": "float32",
        "loss_reduction": "sum",
        "learning_rate": 1e-4,
    },
    "Freeway, nature": {
        "env": "ALE/Freeway-v5",
        "total_steps": 2_000,
        "network": "nature",
        "optimizer": "adam",
        "learning_rate": 1e-4,
    },
}


def digests(name: str) -> dict[str, str]:
    """Train one of `RUNS` with the a2c_cli on sys.path: SHA-256 of its weights and its metrics."""
    from safetensors.numpy import load_file

    from a2c_cli import TrainConfig, train

    config = RUNS[name]
    stop_at = config["total_steps"] // 2 + 7
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        steps = iter(range(1, 10**9))
        train(
            TrainConfig(**config, seed=1, log_every=1000),
            run_dir=run,
            should_stop=lambda: "interrupted" if next(steps) >= stop_at else None,
        )
        train(resume=run)
        tensors = load_file(run / "last.safetensors")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    weights = hashlib.sha256()
    for key in sorted(tensors):
        if key.startswith("network."):
            weights.update(key.encode() + tensors[key].tobytes())
    kept = [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]
    text = json.dumps(kept, sort_keys=True)
    return {
        "weights": weights.hexdigest()[:16],
        "metrics": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def digests_of(checkout: Path, name: str) -> dict[str, str]:
    """As `digests`, of the a2c_cli in a checkout, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", name],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Print a row for each run; exit with 1 where two checkouts differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout, or a file of --save")
    parser.add_argument("--save", type=Path, help="write the digests here, as JSON")
    parser.add_argument("--one", choices=RUNS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(digests(args.one)))
        return
    saved: dict[str, dict[str, str]] | None = None
    if args.against and args.against.is_file():
        saved = json.loads(args.against.read_text())
    found, differ = {}, 0
    for name in RUNS:
        found[name] = mine = digests_of(HERE, name)
        row = f"{name:32} weights {mine['weights']}  metrics {mine['metrics']}"
        if args.against:
            other = saved[name] if saved else digests_of(args.against.resolve(), name)
            differ += other != mine
            row += "  equal" if other == mine else f"  DIFFERS from {other}"
        print(row, flush=True)
    if args.save:
        args.save.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(min(differ, 1))


if __name__ == "__main__":
    main()
