"""Side by side: our defaults and Stable-Baselines3's PPO, one environment and one thread each.

    pip install -e ".[bench,mujoco]"
    python benchmarks/peers.py                                  # three bodies, one seed, an hour
    python benchmarks/peers.py --env Hopper-v5 --seed 1 --total-steps 300000

The peer has the settings that the RL Zoo tuned for each body with one environment, with its running
normalisation of observations and rewards (github.com/DLR-RM/rl-baselines3-zoo, hyperparams/ppo.yml,
commit 00128b5, HalfCheetah-v3, Walker2d-v3, Hopper-v3). Both are asked for the mean raw return of
the last 100 training episodes, over the same steps and over the same time: seconds of the process's
CPU, which other work on the machine hardly changes. Each learner runs in a process of its own, one
after the other. Writes benchmarks/results/peers.json; what is there already is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "peers.json"
BODIES = ("HalfCheetah-v5", "Walker2d-v5", "Hopper-v5")
LEARNERS = ("a2c", "ppo")
_EVERY = 10_000  # steps between the points of a curve
# By the names of stable_baselines3.PPO.
_ZOO: dict[str, dict[str, float]] = {
    "HalfCheetah": {
        "batch_size": 64, "n_steps": 512, "gamma": 0.98, "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762, "clip_range": 0.1, "n_epochs": 20, "gae_lambda": 0.92,
        "max_grad_norm": 0.8, "vf_coef": 0.58096,
    },
    "Walker2d": {
        "batch_size": 32, "n_steps": 512, "gamma": 0.99, "learning_rate": 5.05041e-05,
        "ent_coef": 0.000585045, "clip_range": 0.1, "n_epochs": 20, "gae_lambda": 0.95,
        "max_grad_norm": 1.0, "vf_coef": 0.871923,
    },
    "Hopper": {
        "batch_size": 32, "n_steps": 512, "gamma": 0.999, "learning_rate": 9.80828e-05,
        "ent_coef": 0.00229519, "clip_range": 0.2, "n_epochs": 5, "gae_lambda": 0.99,
        "max_grad_norm": 0.7, "vf_coef": 0.835671,
    },
}  # fmt: skip
_WIDE = ("HalfCheetah", "Hopper")  # two layers of 256 ReLU, σ = e⁻² at first; else SB3's own


def train_a2c(env_id: str, seed: int, steps: int) -> list[list[float]]:
    """Our defaults; returns [step, CPU seconds, mean return of the last 100] along the way."""
    import tempfile

    from a2c_cli import TrainConfig, train

    curve: list[list[float]] = []

    def watch(progress: Any) -> None:
        if progress.logged and progress.mean_return_100 is not None:
            curve.append([progress.env_steps, time.process_time(), progress.mean_return_100])

    with tempfile.TemporaryDirectory() as directory:
        config = TrainConfig(env=env_id, seed=seed, total_steps=steps, log_every=_EVERY)
        train(config, run_dir=Path(directory) / "run", on_progress=watch)
    return curve


def train_ppo(env_id: str, seed: int, steps: int) -> list[list[float]]:
    """The peer; returns the same."""
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    body = env_id.split("-")[0]
    options = _ZOO[body]
    curve: list[list[float]] = []
    returns: deque[float] = deque(maxlen=100)

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            returns.extend(info["episode"]["r"] for info in self.locals["infos"]
                           if "episode" in info)  # fmt: skip
            if self.num_timesteps % _EVERY == 0 and returns:
                mean = sum(returns) / len(returns)
                curve.append([self.num_timesteps, time.process_time(), mean])
            return True

    env = DummyVecEnv([lambda: Monitor(gymnasium.make(env_id))])
    normalized = VecNormalize(env, gamma=options["gamma"])
    wide = {
        "log_std_init": -2,
        "ortho_init": False,
        "activation_fn": torch.nn.ReLU,
        "net_arch": {"pi": [256, 256], "vf": [256, 256]},
    }
    model = PPO(
        "MlpPolicy",
        normalized,
        seed=seed,
        device="cpu",
        policy_kwargs=wide if body in _WIDE else None,
        **options,  # type: ignore[arg-type]
    )
    model.learn(steps, callback=Watch())
    return curve


def at(curve: list[list[float]], column: int, limit: float) -> float | None:
    """The last mean return at or before a step (column 0) or a second (column 1)."""
    before = [point[2] for point in curve if point[column] <= limit]
    return before[-1] if before else None


def show(found: dict[str, Any]) -> None:
    """Both learners over the same steps, and over the time that the faster one took."""
    print(f"{'':24}{'at the same steps':>26}{'at the same time':>28}")
    print(
        f"{'body':16}{'seed':>5}{'steps':>10}{'a2c':>9}{'ppo':>9}{'CPU s':>9}{'a2c':>9}{'ppo':>9}"
    )
    for run in found["runs"]:
        if not all(name in run for name in LEARNERS):
            continue
        ours, peer = run["a2c"], run["ppo"]
        seconds = min(ours[-1][1], peer[-1][1])
        pairs = [at(curve, 1, seconds) for curve in (ours, peer)]
        score = ["-" if value is None else f"{value:,.0f}" for value in pairs]
        print(
            f"{run['env']:16}{run['seed']:5}{run['total_steps']:10,}{ours[-1][2]:9,.0f}"
            f"{peer[-1][2]:9,.0f}{seconds:9,.0f}{score[0]:>9}{score[1]:>9}"
        )


def main() -> None:
    """Make the runs that are missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", nargs="+", default=list(BODIES), choices=BODIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--total-steps", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--learner", choices=LEARNERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.learner:  # a child: one learner, its curve on stdout
        run = {"a2c": train_a2c, "ppo": train_ppo}[args.learner]
        print(json.dumps(run(args.env[0], args.seed, args.total_steps)))
        return
    found = json.loads(args.output.read_text()) if args.output.exists() else {"runs": []}
    for env_id in args.env:
        wanted = {"env": env_id, "seed": args.seed, "total_steps": args.total_steps}
        same = [r for r in found["runs"] if {k: r[k] for k in wanted} == wanted]
        record = same[0] if same else wanted
        if not same:
            found["runs"].append(record)
        for learner in LEARNERS:
            if learner in record:
                continue
            done = subprocess.run(
                [sys.executable, __file__, "--learner", learner, "--env", env_id,
                 "--seed", str(args.seed), "--total-steps", str(args.total_steps)],
                env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            if done.returncode:
                sys.exit(f"{learner} on {env_id} failed: {done.stderr.strip()}")
            record[learner] = json.loads(done.stdout.splitlines()[-1])
            args.output.write_text(json.dumps(found) + "\n")
    show(found)


if __name__ == "__main__":
    main()
