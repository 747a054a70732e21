"""How fast is one stream? Ours against the raw emulator, the notebook's loop and SB3's A2C.

Every contender runs in a process of its own; repeats are interleaved (A B C A B C ...), so that a
machine whose speed drifts drifts for all. Rates are agent steps a second over all environments;
one agent step is four emulator frames on ALE/Breakout-v5 with sticky actions.

    pip install -e ".[bench]"
    python benchmarks/speed.py                 # writes benchmarks/results/speed.json
    python benchmarks/speed.py --env ALE/Pong-v5 --repeats 3 --output pong.json

Peers get the better of one and two threads (`--threads`); SB3's settings are those of the RL Zoo
for Atari (16 environments, n_steps 5, RMSpropTFLike 7e-4), as of its repository.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "speed.json"
SB3 = {"sb3-1": 1, "sb3-8": 8, "sb3-16": 16}
CONTENDERS = ["raw", "ours", "ours-2-threads", "notebook", *SB3]


def raw(env_id: str) -> Iterator[int]:
    """Four act() calls a step, random actions, no screen: the floor for one process."""
    import ale_py
    import gymnasium
    import numpy as np

    gymnasium.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    env = gymnasium.make(env_id, frameskip=1).unwrapped
    ale, actions = env.ale, list(env._action_set)
    rng = np.random.default_rng(0)
    while True:
        for choice in rng.integers(len(actions), size=500).tolist():
            action = actions[choice]
            ale.act(action)
            ale.act(action)
            ale.act(action)
            ale.act(action)
            if ale.game_over():
                ale.reset_game()
        yield 500


def ours(env_id: str) -> Iterator[int]:
    """`a2c train` with its defaults, all of it: logging, checkpoints, episodes."""
    import tempfile

    from a2c_cli import TrainConfig, train

    steps = 0

    class FinishedError(Exception):
        pass

    def watch(progress: object) -> None:
        nonlocal steps
        new, steps = progress.env_steps - steps, progress.env_steps  # type: ignore[attr-defined]
        if not clock(new):
            raise FinishedError

    clock = _clock()
    threads = int(os.environ["OMP_NUM_THREADS"])
    with tempfile.TemporaryDirectory() as directory:
        try:
            train(TrainConfig(env=env_id, threads=threads), run_dir=directory, on_progress=watch)
        except FinishedError:
            yield -1


def notebook(env_id: str) -> Iterator[int]:
    """The loop this project started from, written anew: one-step TD, two forward passes a step."""
    import ale_py
    import gymnasium
    import torch
    from torch import nn

    gymnasium.register_envs(ale_py)
    env = gymnasium.make(env_id, render_mode="rgb_array", frameskip=1)
    env = gymnasium.wrappers.AtariPreprocessing(env, scale_obs=True)
    env = gymnasium.wrappers.FrameStackObservation(env, stack_size=4)
    actions = int(env.action_space.n)
    torso = nn.Sequential(
        *(nn.Conv2d(4, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU()),
        *(nn.Conv2d(32, 32, 5, 2), nn.ReLU(), nn.Flatten()),
    )
    actor, critic = nn.Linear(1568, actions), nn.Linear(1568, 1)
    parameters = [p for part in (torso, actor, critic) for p in part.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def forward(obs: object) -> tuple[torch.Tensor, torch.Tensor]:
        features = torso(torch.tensor(obs, dtype=torch.float32).unsqueeze(0))
        return actor(features), critic(features).squeeze()

    obs, _ = env.reset(seed=0)
    while True:
        for _ in range(20):
            logits, value = forward(obs)
            policy = torch.distributions.Categorical(logits=logits)
            action = policy.sample()
            obs, reward, terminated, truncated, _ = env.step(int(action))
            following = torch.zeros(()) if terminated else forward(obs)[1]
            error = reward + following - value
            loss = -policy.log_prob(action) * error.detach() + 0.5 * error.square()
            loss = (loss - 2e-3 * policy.entropy()).sum()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.5)
            optimizer.step()
            if terminated or truncated:
                obs, _ = env.reset()
        yield 20


def sb3(env_id: str, environments: int) -> Iterator[int]:
    """Stable-Baselines3's A2C with the RL Zoo's Atari settings."""
    import ale_py
    import gymnasium
    from stable_baselines3 import A2C
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

    gymnasium.register_envs(ale_py)
    several = environments > 1 and os.environ.get("SB3_VEC") == "subproc"
    vec_env = VecFrameStack(
        make_atari_env(
            env_id,
            n_envs=environments,
            seed=0,
            env_kwargs={"frameskip": 1},
            vec_env_cls=SubprocVecEnv if several else DummyVecEnv,
            # A forked process knows the games; one that starts anew would have to register them.
            vec_env_kwargs={"start_method": "fork"} if several else {},
        ),
        n_stack=4,
    )
    model = A2C(
        "CnnPolicy",
        vec_env,
        n_steps=5,
        ent_coef=0.01,
        vf_coef=0.25,
        policy_kwargs={"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}},
        device="cpu",
    )
    clock = _clock()

    class Timer(BaseCallback):
        def _on_step(self) -> bool:
            return clock(environments)

    model.learn(10**9, callback=Timer())
    yield -1


_SECONDS, _WARM_UP = float(os.environ.get("SPEED_SECONDS", "10")), 3.0
_counted = [0, 0.0]  # steps and seconds behind the warm-up


def _clock() -> Callable[[int], bool]:
    """Counts steps behind a warm-up; false when the time is over."""
    begin = time.perf_counter()
    started: list[float] = []

    def count(steps: int) -> bool:
        now = time.perf_counter()
        if now - begin < _WARM_UP:
            return True
        if not started:
            started.append(now)
            return True
        _counted[0] += steps
        _counted[1] = now - started[0]
        return _counted[1] < _SECONDS

    return count


def measure(name: str, env_id: str) -> float:
    """Steps a second of one contender in this process."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if name in SB3:
        steps = sb3(env_id, SB3[name])
    else:
        steps = {"raw": raw, "notebook": notebook}.get(name, ours)(env_id)
    clock = _clock()
    for count in steps:
        if count < 0 or not clock(count):
            break
    return _counted[0] / _counted[1]


def run(name: str, env_id: str, threads: int, vec: str = "dummy") -> float:
    """Steps a second of one contender in a process of its own."""
    extra = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1", "SB3_VEC": vec}
    command = [sys.executable, __file__, "--child", name, "--env", env_id]
    done = subprocess.run(
        command, env={**os.environ, **extra}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def best_settings(env_id: str, names: list[str]) -> dict[str, tuple[int, str]]:
    """Threads, and for SB3 the kind of vector environment, that suit each peer best here."""
    chosen: dict[str, tuple[int, str]] = {}
    for name in names:
        if name in ("raw", "ours"):
            chosen[name] = (1, "dummy")
        elif name == "ours-2-threads":
            chosen[name] = (2, "dummy")
        else:
            vecs = ("dummy", "subproc") if SB3.get(name, 1) > 1 else ("dummy",)
            options = [(threads, vec) for threads in (1, 2) for vec in vecs]
            rates = {option: run(name, env_id, *option) for option in options}
            chosen[name] = max(rates, key=lambda option: rates[option])
            print(f"{name}: {rates} -> {chosen[name]}", file=sys.stderr)
    return chosen


def table(results: dict[str, list[float]]) -> str:
    """Medians, ranges and ratios as a table for the README."""
    medians = {name: statistics.median(rates) for name, rates in results.items()}
    lines = ["| contender | steps/s | range | share of raw | ours is faster by |"]
    lines.append("|---|---|---|---|---|")
    for name, rates in results.items():
        share = statistics.median(r / f for r, f in zip(rates, results["raw"], strict=True))
        faster = statistics.median(o / r for o, r in zip(results["ours"], rates, strict=True))
        lines.append(
            f"| {name} | {medians[name]:,.0f} | {min(rates):,.0f} to {max(rates):,.0f}"
            f" | {share:.2f} | {faster:.1f} x |"
        )
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Of everything that is timed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "ale-py", "gymnasium", "stable-baselines3"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def cpu_name() -> str:
    """The processor as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> None:
    """Run the comparison, or one contender of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", default="ALE/Breakout-v5")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(measure(args.child, args.env))
        return
    chosen = best_settings(args.env, args.only)
    results: dict[str, list[float]] = {name: [] for name in args.only}
    for repeat in range(args.repeats):
        for name in args.only:
            results[name].append(run(name, args.env, *chosen[name]))
            print(f"{repeat + 1}/{args.repeats} {name} {results[name][-1]:,.0f}", file=sys.stderr)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "env": args.env,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "settings": {n: {"threads": t, "vec_env": v} for n, (t, v) in chosen.items()},
        "versions": versions(),
        "steps_per_second": results,
    }
    args.output.write_text(json.dumps(document, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
