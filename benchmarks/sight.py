"""Does any network go blind? The first 24,000 steps of nine games with twenty seeds each.

    python benchmarks/sight.py                            # writes benchmarks/results/sight.json
    python benchmarks/sight.py --games Pong --seeds 3 --output pong.json -- --critic-gain 0.1

To be run after any change of network or optimizer. Of each run: the share of dead ReLU units by
layer (the least of the last 50 segments, which bounds what is silent in all of them), the KL
divergence of the first update before it is shortened, the auxiliary task's loss (1 is what each
cell's rate of change alone leaves open) and the critic's explained variance over the last 50
updates. A network is blind if 95 % of a layer's units are dead. What is there already is kept: a
run that was stopped adds what is missing. Options behind -- are those of `a2c train`. One process
and one thread, some 20 seconds per run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from threadpoolctl import threadpool_limits

from a2c_cli import TrainConfig
from a2c_cli.algorithm.learner import Learner
from a2c_cli.config.text import from_dict, parse_scalar
from a2c_cli.envs.make import open_env, run_settings
from a2c_cli.envs.stream import play
from a2c_cli.training.machine import choose_device, choose_precision, keep_freed_memory

RESULTS = Path(__file__).parent / "results" / "sight.json"
GAMES = ("Breakout", "Pong", "Freeway", "Qbert", "SpaceInvaders", "Seaquest", "MsPacman",
         "Asterix", "BeamRider")  # fmt: skip
STEPS, LAST, BLIND = 24_000, 50, 0.95


def look(game: str, seed: int, changes: dict[str, Any], steps: int = STEPS) -> dict[str, Any]:
    """One run's first steps, its schedules over the whole default budget."""
    config: TrainConfig = from_dict({"env": f"ALE/{game}-v5", "seed": seed, **changes})
    settings = run_settings(config)
    env = open_env(settings)
    device, _ = choose_device(settings, env.spec)
    learner = Learner(settings, env.spec, device, choose_precision(settings, device))
    kls: list[float] = []
    last: deque[Any] = deque(maxlen=LAST)
    start = time.perf_counter()
    for step, transition in enumerate(play(env, learner.act), 1):
        stats = learner.learn(transition, step / settings.total_steps)
        if stats is not None:
            kls.append(stats.approx_kl)
            last.append(stats)
        if step == steps:
            break
    env.close()
    layers = last[-1].dead_units
    dead = {name: min(s.dead_units[name] for s in last) for name in layers}
    predicted = [s.prediction_loss for s in last if math.isfinite(s.prediction_loss)]
    explained = [s.explained_variance for s in last if math.isfinite(s.explained_variance)]
    return {
        "dead_units": {name: round(share, 4) for name, share in dead.items()},
        "blind": any(share >= BLIND for share in dead.values()),
        "first_kl": float(f"{kls[0]:.3g}"),
        "prediction_loss": round(statistics.fmean(predicted), 4) if predicted else None,
        "explained_variance": round(statistics.fmean(explained), 4) if explained else None,
        "seconds": round(time.perf_counter() - start, 1),
    }


def show(found: dict[str, Any]) -> None:
    """One row per game, over its seeds."""
    print(f"{'game':15} seeds blind  most dead units by layer          first KL    aux. loss")
    for game in GAMES:
        runs = list(found["runs"].get(game, {}).values())
        if not runs:
            continue
        most = {n: max(r["dead_units"][n] for r in runs) for n in runs[0]["dead_units"]}
        layers = " ".join(f"{name} {share:4.0%}" for name, share in most.items())
        kl = max(r["first_kl"] for r in runs)
        losses = [r["prediction_loss"] for r in runs if r["prediction_loss"] is not None]
        task = f"{statistics.median(losses):.2f}" if losses else "-"
        blind = sum(r["blind"] for r in runs)
        print(f"{game:15} {len(runs):5} {blind:5}  {layers:34} {kl:8.1e} {task:>12}")


def main() -> None:
    """Make the runs that are missing, print the table."""
    own, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", nargs="+", default=list(GAMES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(own.split())
    words = rest.split()
    changes = {
        name.removeprefix("--").replace("-", "_"): parse_scalar(value)
        for name, value in zip(words[::2], words[1::2], strict=True)
    }
    found: dict[str, Any] = {"steps": STEPS, "options": changes, "runs": {}}
    if args.output.exists():
        found = json.loads(args.output.read_text())
        if found["options"] != changes:
            sys.exit(f"{args.output} holds runs with other options; choose another --output")
    keep_freed_memory()
    with threadpool_limits(1, user_api="blas"):
        for seed in range(args.seeds):
            for game in args.games:
                runs = found["runs"].setdefault(game, {})
                if str(seed) not in runs:
                    runs[str(seed)] = look(game, seed, changes)
                    args.output.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


if __name__ == "__main__":
    main()
