"""Does every environment that is here run: train, kill -9, resume, evaluate, film, inspect?

    python benchmarks/zoo.py --install /tmp/zoo       # a Python of its own with more packages
    /tmp/zoo/bin/python benchmarks/zoo.py             # everything that it finds
    python benchmarks/zoo.py --only CartPole --only minigrid --output /tmp/zoo.json

What is tried: every environment that Gymnasium or a package of `PACKAGES` registers, in its newest
version, and the peculiar ones of the tests. One run is left alone, and one is killed in the middle
and resumed; every tensor of their last checkpoints is compared. An environment has some seconds
and a process of its own. Results are merged into those that are there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from chaos import differences

RESULTS = Path(__file__).parent / "results"
SUPPORT = Path(__file__).parents[1] / "tests" / "support"
STEPS, KILLED_AT = 250, 140  # agent steps
SECONDS = 240  # that an environment may take
FILM = 40  # agent steps
# The module that registers a package's environments, by the name to install it by.
PACKAGES = {
    "minigrid": "minigrid",
    "minatar": "minatar.gym",
    "vizdoom": "vizdoom.gymnasium_wrapper",
    "highway-env": "highway_env",
    "gymnasium-robotics": "gymnasium_robotics",
    "flappy-bird-gymnasium": "flappy_bird_gymnasium",
    "tetris-gymnasium": "tetris_gymnasium.envs",
    "the tests": "peculiar_envs",
}
ASKED = ("minatar.gym",)  # register nothing on their import
# What every environment's process would import again.
PRELOADED = ["a2c_cli.training.engine", "a2c_cli.film.record",
             "a2c_cli.runs.inspection", "imageio.v3"]  # fmt: skip
COLUMNS = ("environment", "kind", "sees", "acts", "network", "resume", "mean", "film", "s")


def install(place: Path) -> None:
    """A Python that sees the packages of this one, and those of `PACKAGES` beside them."""
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    mine = sysconfig.get_path("purelib")
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    theirs = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    # Not its path alone: what was installed with -e stands in files that only `site` reads.
    Path(theirs, "below.pth").write_text(f"import site; site.addsitedir({mine!r})\n")
    for name in PACKAGES:
        if " " not in name:
            subprocess.run([python, "-m", "pip", "install", "--quiet", name], check=False)


def found_here() -> dict[str, list[str]]:
    """Ids as `--env` takes them, by the package that registers them."""
    from a2c_cli.envs.make import known_ids

    known = known_ids()
    found = {"gymnasium": [i for i in known if not _of_ale(i)]}
    for package, module in PACKAGES.items():
        before = set(known_ids())
        try:
            register(module)
        except Exception as error:
            print(f"{package}: not here ({type(error).__name__})", file=sys.stderr)
            continue
        prefix = "" if module in ASKED else f"{module}:"
        found[package] = [prefix + i for i in known_ids() if i not in before]
    found["ale-py"] = [i for i in known if i.startswith("ALE/")]
    return found


def register(module: str) -> None:
    """Import a module that registers environments, or that does it when it is asked to."""
    with _silence():
        found = importlib.import_module(module)
        if module in ASKED:
            found.register_envs()


def _of_ale(env_id: str) -> bool:
    import gymnasium

    return str(gymnasium.spec(env_id).entry_point).startswith("ale_py")


def try_out(env_id: str, place: Path) -> dict[str, Any]:
    """One environment, in this process: what it is, and how each command fared."""
    from a2c_cli import TrainConfig, evaluate, train
    from a2c_cli.film.record import record
    from a2c_cli.film.request import Games, Place
    from a2c_cli.runs.inspection import inspect

    config = TrainConfig(env=env_id, total_steps=STEPS, n_steps=64, log_every=100, threads=1,
                         save_every=0.002)  # fmt: skip
    named = env_id if ":" in env_id else None
    alone, killed = place / "alone", place / "killed"
    told: list[Any] = []
    began = time.perf_counter()
    result = train(config, run_dir=alone, on_progress=told.append)
    row: dict[str, Any] = {
        "stopped": result.stopped,
        "steps_per_second": round(result.steps_per_second),
        "sees": told[0].summary,
        "episodes": result.episodes,
    }
    _in_child(lambda: train(config, run_dir=killed, should_stop=_killer()))
    resumed = train(resume=killed, env_id=named)
    different = differences(alone, killed)
    fresh = [w for w in resumed.warnings if "fresh episode" in w]
    exact = not different["tensors"] and not different["lines"]
    row["resume"] = "exact" if exact else "fresh episode" if fresh else "DIFFERS"
    if row["resume"] == "DIFFERS":  # does it, when nobody kills it?
        train(config, run_dir=place / "again")
        if differences(alone, place / "again")["tensors"]:
            row["resume"] = "not seeded"
    row["why"] = (fresh or [", ".join(different["tensors"][:5])])[0] if not exact else ""
    found = inspect(killed / "last.safetensors")
    row |= {"parameters": found["parameters"], "observation": found["observation"]["shape"]}
    row |= {"actions": found["actions"], "warnings": list(resumed.warnings)}
    scores = evaluate(killed / "last.safetensors", 2, env_id=named, max_steps=100)
    row |= {"mean": scores["mean"], "lengths": scores["lengths"], "protocol": scores["protocol"]}
    games = Games(max_steps=FILM, env_id=named)
    film = place / "film.mp4"
    try:
        record(killed / "last.safetensors", games, place=Place(film))
        row["film"] = _look(film)
    except Exception as error:
        row["film"] = f"{type(error).__name__}: {error}"
    row["seconds"] = round(time.perf_counter() - began, 1)
    return row


def _killer() -> Callable[[], str | None]:
    steps = iter(range(1, 10**9))

    def stop() -> str | None:
        if next(steps) == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return None

    return stop


def _in_child(function: Callable[[], Any]) -> None:
    """Call it in a forked process, which is expected to be killed."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            function()
        os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise RuntimeError("the second run ended by itself")


def _look(film: Path) -> dict[str, Any]:
    """Size of a film, how many frames it has, and the mean brightness of one in the middle."""
    import imageio.v3 as iio

    frames = iio.imread(film)
    middle = frames[len(frames) // 2]
    return {"size": [int(frames.shape[2]), int(frames.shape[1])], "frames": len(frames),
            "brightness": round(float(np.mean(middle))),
            "one_colour": bool(middle.std() < 1.0)}  # fmt: skip


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What libraries print on their import goes nowhere."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _work(env_id: str, pipe: Any) -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    for module in ASKED:
        if importlib.util.find_spec(module.partition(".")[0]):
            register(module)
    with tempfile.TemporaryDirectory() as place:
        try:
            row = try_out(env_id, Path(place))
        except BaseException as error:
            hint = getattr(error, "hint", "")
            row = {"error": f"{type(error).__name__}: {error}" + (f" ({hint})" if hint else "")}
        pipe.send(row)


def in_process(env_id: str) -> dict[str, Any]:
    """As `try_out`, in a process of its own that has some time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(env_id, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            return {"error": f"not done after {SECONDS} s"}
        row: dict[str, Any] = ours.recv()
        return row
    except EOFError:
        process.join()
        return {"error": f"its process ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def good(row: dict[str, Any]) -> bool:
    """Whether nothing is wrong with an environment: it runs, or is refused in a sentence."""
    return refused(row) or ("error" not in row and row["resume"] != "DIFFERS")


def refused(row: dict[str, Any]) -> bool:
    """Whether it cannot be had here, or has a space that is not supported, and that is said."""
    return row.get("error", "").startswith(("EnvError", "UnknownEnvError", "ConfigError"))


def cells(env_id: str, row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    if "error" in row:
        return (env_id, "-", row["error"])
    film = row["film"]
    shown = "none" if isinstance(film, str) else "x".join(map(str, film["size"]))
    if not isinstance(film, str) and film["one_colour"]:
        shown += " one colour"
    actions = f"{row['actions']['kind']} {'x'.join(map(str, row['actions']['sizes']))}"
    size = f"{row['parameters']:,}"
    return (env_id, row["sees"].split()[0], "x".join(map(str, row["observation"])), actions, size,
            row["resume"], f"{row['mean']:.4g}", shown, f"{row['seconds']:.0f}")  # fmt: skip


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """All environments, aligned."""
    table = [COLUMNS, *(cells(env_id, row) for env_id, row in rows.items())]
    whole = [row for row in table if len(row) == len(COLUMNS)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(COLUMNS))]
    for line in table:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)))


def write(output: Path, rows: dict[str, dict[str, Any]]) -> None:
    """The results, with what they are of."""
    packages = ("onestream-a2c", "torch", "numpy", "gymnasium", "ale-py", "mujoco", *PACKAGES)
    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    result = {
        "command": " ".join(["python benchmarks/zoo.py", *sys.argv[1:]]),
        "versions": found,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "environments": len(rows),
        "exact": sum(row.get("resume") == "exact" for row in rows.values()),
        "fresh_episode": sum(row.get("resume") == "fresh episode" for row in rows.values()),
        "refused": sorted(env_id for env_id, row in rows.items() if refused(row)),
        "wrong": sorted(env_id for env_id, row in rows.items() if not good(row)),
        "rows": dict(sorted(rows.items())),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(output)


def main() -> None:
    """Try them one after the other; exit code 1 where one that was tried now is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", type=Path, help="make this virtual environment, and stop")
    parser.add_argument("--only", action="append", help="ids with this in them (repeatable)")
    parser.add_argument("--each", type=int, help="at most so many of a package, spread out")
    parser.add_argument("--new", action="store_true", help="leave out what is in the results")
    parser.add_argument("--output", type=Path, default=RESULTS / "zoo.json")
    args = parser.parse_args()
    if args.install:
        install(args.install)
        return
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    sys.path.insert(0, str(SUPPORT))
    rows: dict[str, dict[str, Any]] = {}
    if args.output.exists():
        rows = json.loads(args.output.read_text())["rows"]
    tried = {}
    for ids in found_here().values():
        chosen = [i for i in ids if not args.only or any(part in i for part in args.only)]
        if args.each and len(chosen) > args.each:
            chosen = chosen[:: -(-len(chosen) // args.each)]
        for env_id in chosen:
            if args.new and env_id in rows:
                continue
            tried[env_id] = rows[env_id] = in_process(env_id)
            print("  ".join(cells(env_id, rows[env_id])), file=sys.stderr, flush=True)
            write(args.output, rows)
    print_table(tried)
    sys.exit(not all(map(good, tried.values())))


if __name__ == "__main__":
    main()
