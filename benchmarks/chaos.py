"""Kill -9 real training runs at random moments, resume, and compare with a run left alone.

    python benchmarks/chaos.py --kills 1000
    python benchmarks/chaos.py --kills 3 --only CartPole --steps 8000 --output /tmp/chaos.json

In rounds: one run is left alone and one is killed `--round` times, each time at a random moment
after its first save since the last kill, or (one in four) at any moment since the process was
started; it saves all the time, so that kills fall into saves too. One process in ten is a
`python -m a2c_cli`, the others are children of this one, which has imported everything already.
Beside a watched run, and killed with it, `a2c evaluate` and `a2c record` play its agent.

In the end every tensor of the last checkpoint must be equal bit for bit, every line of
metrics.jsonl but its times, and what each tracker holds must be every step of metrics.jsonl
exactly once. An environment that no seed fixes is never the same twice: of its runs the lines
must come in the order of their steps, each that the settings ask for once. No onlooker that came
to its end may have failed, and no film may be broken. The result is written after every round;
the same command continues where it was stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from a2c_cli import TrainConfig, train
from a2c_cli.commands.app import main as a2c
from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.tracking.wandb import rows as wandb_rows

TRACKERS = ("tensorboard", "wandb", "trackio")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a round trains, in agent steps."""

    env: str
    steps: int
    options: tuple[object, ...] = ()
    onlookers: bool = False
    seeded: bool = True  # whether a seed fixes the environment


KINDS = {
    "Breakout": Kind("ALE/Breakout-v5", 4_000),
    "CartPole": Kind("CartPole-v1", 12_000),
    "Pendulum": Kind("Pendulum-v1", 12_000),
    "CartPole, gradient": Kind("CartPole-v1", 12_000, ("--policy-step", "gradient")),
    "CartPole, watched": Kind(
        "CartPole-v1",
        12_000,
        ("--video-every", 60, *(word for name in TRACKERS for word in ("--tracker", name))),
        onlookers=True,
    ),
    "unseeded": Kind("chaos:chaos/Unseeded-v0", 12_000, seeded=False),
}
PACKAGES = ("onestream-a2c", "torch", "numpy", "gymnasium", "ale-py", *TRACKERS)
RESULTS = Path(__file__).parent / "results"
SUMS = ("kills", "as_a_command", "in_a_save", "onlookers", "onlookers_ended", "onlookers_failed")


class Unseeded(gymnasium.Env[Any, Any]):
    """A walk of up to a hundred steps that no seed fixes."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self._chance = random.SystemRandom()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin in the middle."""
        super().reset(seed=seed)
        self._place, self._age = self._chance.uniform(-1.0, 1.0), 0
        return self._seen(), {}

    def step(self, action: int) -> Any:
        """Left or right, and a push; over outside of [-3, 3]."""
        self._place += (action - 0.5) * 0.5 + self._chance.gauss(0.0, 0.3)
        self._age += 1
        over = abs(self._place) > 3.0
        return self._seen(), 1.0, over, self._age >= 100 and not over, {}

    def _seen(self) -> Any:
        return np.array([self._place, self._age / 100], np.float32)


if "chaos/Unseeded-v0" not in gymnasium.registry:
    gymnasium.register("chaos/Unseeded-v0", Unseeded)


class Forked:
    """`a2c ARGS` in a child of this process: real signals, limits and kills without the start.

    Args:
        args: of the command.
        log: where it writes what it says; nowhere by default.
        uid: the user it becomes.
    """

    def __init__(self, *args: object, log: Path | None = None, uid: int | None = None) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code: Any = 99
        try:
            output = os.open(log or os.devnull, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if uid is not None:
                os.setuid(uid)
            sys.argv = ["a2c", *map(str, args)]
            a2c()
        except SystemExit as left:
            code = left.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """Its exit code (negative for a signal), or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 600.0) -> int:
        """Its exit code.

        Raises:
            subprocess.TimeoutExpired: it is still running.
        """
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("a2c", timeout)
            time.sleep(0.002)
        return code

    def kill(self) -> None:
        """Kill it, if it is not over."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def command(*args: object) -> list[str]:
    """A command line of a2c, run by this Python."""
    return [sys.executable, "-m", "a2c_cli", *map(str, args)]


def start(*args: object) -> subprocess.Popen[bytes]:
    """a2c as a user starts it."""
    return subprocess.Popen(command(*args), stdout=subprocess.DEVNULL)


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


def disorder(run: Path, every: int, steps: int) -> list[str]:
    """What is wrong with the order of a run's lines: also of a run that no seed fixes."""
    records = metrics(run)
    came = [record["env_steps"] for record in records]
    logged = Counter(r["env_steps"] for r in records if "updates" in r)
    found = [] if came == sorted(came) else ["not in the order of their steps"]
    found += [f"step {n}: {logged[n]} lines" for n in range(every, steps, every) if logged[n] != 1]
    return found if came[-1] == steps else [*found, f"ends at {came[-1]}"]


def broken_films(where: Path) -> list[str]:
    """The films that cannot be decoded from end to end."""
    import imageio_ffmpeg

    broken = []
    for film in sorted(where.rglob("*.mp4")):
        if film.name.startswith("."):
            continue  # never finished
        try:
            frames, _ = imageio_ffmpeg.count_frames_and_secs(str(film))
        except RuntimeError:
            frames = 0
        if frames < 1:
            broken.append(film.name)
    return broken


class Round:
    """A run that is killed again and again, and whoever looks on.

    Args:
        kind: what it trains.
        seed: of the run and of the moments.
        where: an empty directory.
    """

    def __init__(self, kind: Kind, seed: int, where: Path) -> None:
        self._kind, self._moment, self._where = kind, random.Random(seed), where
        self.alone, self.killed = where / "alone", where / "killed"
        self.every = max(kind.steps // 20, 1)
        self._start = ("train", "--env", kind.env, "--total-steps", kind.steps, *kind.options)
        self._start += ("--log-every", self.every, "--eval-every", kind.steps // 5)
        self._start += ("--eval-episodes", 1, "--seed", seed, "--quiet")
        self.counts: Counter[str] = Counter()

    def leave_alone(self) -> float:
        """Train undisturbed; the seconds it took."""
        began = time.perf_counter()
        Forked(*self._start, "--run-dir", self.alone).wait(3600)
        return time.perf_counter() - began

    def strike(self, window: float) -> bool:
        """Train on and kill, at most `window` seconds after a save; whether it came to that."""
        before, onlooker = self._saved_at(), self._onlooker()
        at_any_moment, as_a_command = (self._moment.random() < part for part in (0.25, 0.1))
        # Every 6 ms: nearly all the time is spent in a save.
        args = (*self._args(), "--save-every", 0.0001)
        log = self._where / "said"
        process = start(*args) if as_a_command else Forked(*args, log=log)
        longest = window if not at_any_moment else 4.0 if as_a_command else 1.0
        while not at_any_moment and process.poll() is None and self._saved_at() == before:
            time.sleep(0.002)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._moment.uniform(0.0, longest))
        process.kill()
        if onlooker is not None:
            onlooker.kill()
            self._note(onlooker.wait())
        if (code := process.wait()) == 0:
            return False
        if code != -signal.SIGKILL:
            said = "" if as_a_command else log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(map(str, args))} ended with {code} by itself\n{said}")
        self.counts["kills"] += 1
        self.counts["as_a_command"] += as_a_command
        self.counts["in_a_save"] += any(self.killed.glob(".*.part"))
        self.counts["before_any_save"] += self._saved_at() == before
        return True

    def finish(self) -> None:
        """Train to the end."""
        Forked(*self._args(), "--save-every", 5).wait(3600)

    def _args(self) -> tuple[object, ...]:
        if not self._saved_at():
            return (*self._start, "--run-dir", self.killed)
        # An environment of a module is named again.
        named = ("--env", self._kind.env) if ":" in self._kind.env else ()
        return ("train", "--resume", self.killed, "--quiet", *named)

    def _saved_at(self) -> int:
        last = self.killed / "last.safetensors"
        return last.stat().st_mtime_ns if last.exists() else 0

    def _onlooker(self) -> Forked | None:
        if not self._kind.onlookers or not self._saved_at():
            return None
        self.counts["onlookers"] += 1
        number = self.counts["onlookers"]
        if number % 2:
            return Forked("evaluate", self.killed, "--episodes", 2, "--jobs", 1, "--quiet")
        film = self._where / "films" / f"{number}.mp4"
        return Forked("record", self.killed, "--output", film, "--max-steps", 30, "--quiet")

    def _note(self, code: int) -> None:
        self.counts["onlookers_ended"] += code == 0
        self.counts["onlookers_failed"] += code not in (0, -signal.SIGKILL)


def chaos(kind: Kind, kills: int, seed: int, where: Path) -> dict[str, Any]:
    """One round: the run left alone, the killed one, the comparison."""
    run = Round(kind, seed, where)
    undisturbed = run.leave_alone()
    began = time.perf_counter()
    # So that the killed run comes about evenly far between two kills.
    while run.counts["kills"] < kills and run.strike(undisturbed / kills / 2):
        pass
    run.finish()
    found = differences(run.alone, run.killed) if kind.seeded else {}
    return {
        "env": kind.env,
        "steps": kind.steps,
        **run.counts,
        **found,
        "metrics_lines": len(metrics(run.killed)),
        "disorder": disorder(run.killed, run.every, kind.steps),
        "broken_films": broken_films(where),
        "trackers": tracker_faults(run.killed),
        "seconds_undisturbed": round(undisturbed, 1),
        "seconds_killed": round(time.perf_counter() - began, 1),
    }


def wrong(row: dict[str, Any]) -> bool:
    """Whether anything is not as it should be in a round."""
    faults = [n for t in row["trackers"].values() for k, n in t.items() if k != "points"]
    names = ("tensors", "lines", "disorder", "broken_films", "onlookers_failed")
    return any(map(row.get, names)) or any(faults)


def main() -> None:
    """Run, print a line per round, write the result; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="in all rounds together")
    parser.add_argument("--round", type=int, default=40, help="kills of one round")
    parser.add_argument("--only", action="append", choices=KINDS, help="repeatable; default: all")
    parser.add_argument("--steps", type=int, help="agent steps; default: by kind")
    parser.add_argument("--output", type=Path, default=RESULTS / "chaos.json")
    args = parser.parse_args()
    here = str(Path(__file__).parent)  # where the environment without a seed is imported from
    sys.path.insert(0, here)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    os.environ |= {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as where:  # imports what every child would
        train(TrainConfig(env="CartPole-v1", total_steps=1), run_dir=Path(where) / "run")
    rows: list[dict[str, Any]] = []
    if args.output.exists():
        rows = json.loads(args.output.read_text()).get("rounds", [])
    kinds = args.only or list(KINDS)
    while sum(row.get("kills", 0) for row in rows) < args.kills:
        name = kinds[len(rows) % len(kinds)]
        kind = dataclasses.replace(KINDS[name], **({"steps": args.steps} if args.steps else {}))
        with tempfile.TemporaryDirectory() as where:
            row = chaos(kind, args.round, len(rows), Path(where))
        rows.append({"kind": name, "seed": len(rows), **row})
        print(
            f"{name:20} {row['steps']:>7,} steps  {row.get('kills', 0):>3} kills"
            f" ({row.get('in_a_save', 0)} in a save, {row.get('before_any_save', 0)} before any)"
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
        **{name: sum(row.get(name, 0) for row in rows) for name in SUMS},
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
