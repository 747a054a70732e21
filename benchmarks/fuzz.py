"""Feed mutated files to whatever reads them: a right answer or an A2CError.

    python benchmarks/fuzz.py --count 100000
    python benchmarks/fuzz.py --count 300 --output /tmp/fuzz.json

Mutated are checkpoints (loaded, inspected, resumed) and the other files of a run, a sweep and an
evaluation (read for a plot, opened to train in, recognised, put on a page), which may also become
a pipe, a link, a directory or a sparse file.

Two kinds of mutation of a checkpoint. Damage: bytes flipped, cut, swapped, repeated; a right
answer is then only the very answer of the undamaged file. Malice: the header or the tensors
changed and the file put together again, its checksum left out or made to fit; a right answer is
then an agent that acts with finite numbers and a report that JSON can hold.
Every case has a time limit; the memory of the
whole process is measured. In parts of a thousand cases, each with a seed of its own: the result
is written after every part, and the same command continues where it was stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import json
import math
import os
import platform
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli import A2CError, TrainConfig, evaluate, train
from a2c_cli.commands.options import read_recipe
from a2c_cli.plots.comparison import compare, summarize_group
from a2c_cli.plots.evaluation_file import read_evaluation
from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.runs.directory import RunDir
from a2c_cli.runs.inspection import inspect
from a2c_cli.runs.loading import agent_from
from a2c_cli.runs.metrics import read_run
from a2c_cli.sweep.plan import Trial
from a2c_cli.sweep.state import read_states
from a2c_cli.tracking.tracker import read_state

RESULTS = Path(__file__).parent / "results"
ENVS = ("CartPole-v1", "Pendulum-v1", "ALE/Breakout-v5")
SECONDS = 10.0  # of computing for one case; thirty times as much of waiting
PART = 1000  # cases
RESUMED = 1  # of a hundred cases, those that mutate a checkpoint
_HUGE = (-1, 0, 1, 2, 3, 2**31 - 1, 2**31, 2**32, 2**40, 2**47, 2**48, 2**63, 2**64, 10**30)
_VALUES: tuple[Any, ...] = (
    *_HUGE, -(2**63), 0.5, -0.0, 1e308, -1e308, 1e-320, True, False, None, "", "x", "\x1b[2J",
    "a" * 5000, "module:Env-v0", "../../etc/passwd", "ALE/Pong-v5", "CartPole-v1", "float16", "O",
    "(2,)i4", "multidiscrete", "continuous", "discrete", "image", "vector", "atari", "mlp",
    "nature", [], {}, [[]], [None], [1, 2, 3], [0], [-1], [2**40, 2**40], ["x"], {"x": 1},
    {"x": {"y": []}}, [1e300] * 100, [10**5000 % 10**40],
)  # fmt: skip
_RAW = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 5000, '{"a":' * 5000, "{}{}",
        "[" * 400 + "]" * 400, '{"a":1,"a":1}', "[" + "{}," * 300_000 + "0]")  # fmt: skip
_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "U64", "I32", "I16", "I8", "U8", "BOOL", "Q9", 3)


class TookTooLong(BaseException):
    """Raised by the alarm."""


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The table and the tensors' bytes of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(table: Any, body: bytes) -> bytes:
    """The inverse of `split`; the table may be text already."""
    text = (table if isinstance(table, str) else json.dumps(table)).encode(errors="surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a JSON value."""
    found: list[tuple[Any, Any]] = []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """The file with something wrong in its bytes."""
    changed = bytearray(data)
    header = 8 + struct.unpack("<Q", data[:8])[0]
    # Half of them where the sense is: in the header.
    end = header if rng.random() < 0.5 else len(changed)
    at = rng.randrange(end)
    match rng.randrange(8):
        case 0:
            changed[at] ^= 1 << rng.randrange(8)
        case 1:
            for _ in range(rng.randrange(1, 50)):
                changed[rng.randrange(end)] = rng.randrange(256)
        case 2:
            del changed[at:]
        case 3:
            del changed[at : at + rng.randrange(1, 200)]
        case 4:
            changed[at:at] = rng.randbytes(rng.randrange(1, 200))
        case 5:
            changed[at : at + 8] = changed[at + 8 : at + 16]
        case 6:
            changed[:8] = struct.pack("<Q", rng.choice([n % 2**64 for n in _HUGE]))
        case 7:
            changed += changed[: rng.randrange(1, 5000)]
    return bytes(changed)


def malice(data: bytes, rng: random.Random) -> bytes:
    """The file put together again with something wrong in it, its checksum gone or made to fit."""
    table, body = split(data)
    metadata = table["__metadata__"]
    metadata.pop("sha256", None)
    document = json.loads(metadata["a2c"])
    names = [name for name in table if name != "__metadata__"]
    name = rng.choice(names)
    kind = rng.randrange(10)
    if kind < 4:
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            container, key = rng.choice(places(document))
            if rng.random() < 0.2:
                container.pop(key)
                break
            container[key] = copy.deepcopy(rng.choice(_VALUES))
    elif kind == 4:  # something that json.dumps would not write
        container, key = rng.choice(places(document))
        container[key] = "@"
        metadata["a2c"] = json.dumps(document).replace('"@"', rng.choice(_RAW))
        return join(table, body)
    elif kind == 5:
        table[name][rng.choice(["shape", "dtype", "data_offsets"])] = rng.choice(
            [*_VALUES, *_DTYPES, [rng.choice(_HUGE), rng.choice(_HUGE)]]
        )
    elif kind == 6:
        entry = table.pop(name)
        if rng.random() < 0.5:
            table[rng.choice([*names, "network.x", "x" * 1000, "\x1b[2J", "__metadata__"])] = entry
    elif kind == 7:  # tensors of the right size and the wrong content
        begin, end = table[name]["data_offsets"]
        junk = rng.choice([b"\xff", b"\x00", b"\x80\x7f", b"\xff\xff\x7f\x7f", rng.randbytes(64)])
        junk = (junk * ((end - begin) // len(junk) + 1))[: end - begin]
        body = body[:begin] + junk + body[end:]
    elif kind == 8:
        text = json.dumps(table)
        twice = json.dumps({name: table[name]})[1:-1]
        return join(text[:-1] + ", " + twice + "}", body)
    else:
        metadata[rng.choice(["a2c", "format", "sha256"])] = rng.choice([*_VALUES[:10], "{}", "[]"])
        return join(table, body)
    metadata["a2c"] = json.dumps(document)
    if rng.random() < 0.5:
        metadata["sha256"] = _checksum(table, metadata["a2c"], body)
    return join(table, body)


def _checksum(table: dict[str, Any], document: str, body: bytes) -> str:
    types = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U64": "<u8", "I32": "<i4", "U8": "|u1"}
    digest = hashlib.sha256(document.encode(errors="replace"))
    for name, entry in sorted(table.items()):
        if name != "__metadata__":
            try:
                begin, end = entry["data_offsets"]
                text = f"{name} {types[entry['dtype']]} {tuple(entry['shape'])}"
                digest.update(text.encode(errors="replace"))
                digest.update(body[begin:end])
            except (KeyError, TypeError, ValueError):
                return "0" * 64
    return digest.hexdigest()


def answer(path: Path) -> dict[str, Any]:
    """What loading and inspecting give; every number in it has been made sure of.

    Raises:
        A2CError: the file is refused.
    """
    report = inspect(path)
    json.dumps(report, allow_nan=False)
    header, tensors = read_checkpoint(path)
    agent = agent_from(header, tensors)
    agent.reseed(0)
    obs = np.ones(header.spec.obs_shape, header.spec.obs_dtype)
    action = np.asarray(agent.act(obs))
    if not np.isfinite(action).all() or not math.isfinite(agent.value(obs)):
        raise ArithmeticError("the agent acts with numbers that are not finite")
    report.pop("checkpoint")
    report.pop("sha256")  # of the file; the content may be equal
    return {"report": report, "action": action.tolist()}


def limit(seconds: float) -> None:
    """Raise `TookTooLong` after so much computing, whatever else this machine has to do."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 30 * seconds)


def judge(data: bytes, path: Path, expected: dict[str, Any] | None) -> str:
    """Run one case; returns `refused`, `right`, or what is wrong with it."""
    path.write_bytes(data)
    limit(SECONDS)
    try:
        got = answer(path)
    except A2CError as error:
        return "refused" if str(error).isprintable() else "an error with control characters"
    except TookTooLong:
        return "took too long"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        limit(0.0)
    if expected is not None and got != expected:
        return "a wrong answer"
    return "right"


_TEXTS = (
    *(b"NaN", b"1e999", b"-1", b"0x" + b"f" * 6000, b"9" * 5000, b"[" * 5000, b"{" * 5000),
    *(
        b"\x00" * 100,
        b"\x1b[2J",
        b"\xff\xfe",
        b"\n" * 1000,
        b"a" * 100_000,
        b'"' * 7,
        b"[env_args]\n",
    ),
    *(b'env = "x:Y-v0"\n', b"a.b." * 2000 + b"c = 1\n", b"\xe2\x80\xae", b"true", b"null"),
)
FILES = ("config.toml", "metrics.jsonl", "sweep.json", "evaluation.json", ".lock", "trackers.json")


def disfigure(path: Path, rng: random.Random, data: bytes) -> None:
    """Put something else in a file's place."""
    path.unlink(missing_ok=True)
    match rng.randrange(12):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to(rng.choice(["/dev/zero", "/dev/null", "nowhere", path.name, ".."]))
        case 2:
            path.mkdir()
        case 3:
            path.write_bytes(data)
            os.truncate(path, rng.choice([0, 1, 2**20, 2**40]))
        case 4:
            pass
        case _:
            changed = bytearray(data)
            for _ in range(rng.choice([1, 1, 2, 5])):
                at = rng.randrange(len(changed) + 1)
                cut = rng.choice([0, 0, 1, 10, len(changed)])
                changed[at : at + cut] = rng.choice([*_TEXTS, rng.randbytes(8), b""])
            path.write_bytes(changed)


def read_all(where: Path, trials: list[Trial]) -> None:
    """Everything that reads the files of a directory; each may refuse."""
    readers: list[Callable[[], object]] = [
        lambda: json.dumps(summarize_runs(where), allow_nan=False),
        lambda: read_evaluation(where / "evaluation.json"),
        lambda: read_states(where, {"envs": []}, trials),
        lambda: read_recipe(None, where / "config.toml", {}),
        lambda: open_state(where),
        lambda: open_run(where),
    ]
    for read in readers:
        try:
            read()
        except A2CError as error:
            if len(str(error)) > 10**6:
                raise ValueError("a message without end") from None


def summarize_runs(where: Path) -> list[Any]:
    """What a plot would print."""
    run, _ = read_run(where)
    return [summarize_group(group) for part in compare([run])[0] for group in part.groups]


def open_state(where: Path) -> None:
    """What a tracker remembers; whoever opens trackers says so where it cannot be written."""
    with contextlib.suppress(OSError):
        read_state(where)


def open_run(where: Path) -> None:
    """Open a directory as training does, and close it."""
    with contextlib.closing(RunDir(where)) as run:
        run.open_metrics(10)


def judge_files(where: Path, originals: dict[str, bytes], rng: random.Random) -> str:
    """Disfigure one or two files of a run's directory and read all; as `judge`."""
    chosen = rng.sample(FILES, rng.choice([1, 1, 2]))
    for name in chosen:
        disfigure(where / name, rng, originals[name])
    limit(SECONDS)
    try:
        read_all(where, [])
        return "right"
    except TookTooLong:
        return f"took too long ({chosen})"
    except Exception as error:
        return f"{type(error).__name__}: {error} ({chosen})"[:200]
    finally:
        limit(0.0)
        for name in FILES:
            path = where / name
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(True)
            path.write_bytes(originals[name])


def judge_resume(data: bytes, run: Path) -> str:
    """Resume from a mutated checkpoint in a child process, so that a crash is seen."""
    (run / "last.safetensors").write_bytes(data)
    (run / "metrics.jsonl").unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
            header, _ = read_checkpoint(run / "last.safetensors")
            train(resume=run, changes={"total_steps": header.env_steps + 100})
            code = 0
        except A2CError:
            code = 1
        except BaseException as error:
            print(f"resume: {type(error).__name__}: {error}"[:300], file=sys.stderr)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {0: "right", 1: "refused"}.get(code, f"resume ended with {code}")


def make_checkpoints(where: Path) -> list[Path]:
    """A small run for each environment."""
    runs = []
    for number, env in enumerate(ENVS):
        runs.append(where / f"run-{number}")
        size = {"network": "8@8/4,16"} if "ALE" in env else {"network": "16,16"}
        train(TrainConfig(env=env, total_steps=250, **size), run_dir=runs[-1])
    return runs


class Target:
    """The files that are mutated, and what the undamaged ones answer.

    Args:
        where: an empty directory.
    """

    def __init__(self, where: Path) -> None:
        self.runs = make_checkpoints(where)
        self.originals = [(run / "last.safetensors").read_bytes() for run in self.runs]
        self.expected = [answer(run / "last.safetensors") for run in self.runs]
        self.path = where / "mutated.safetensors"
        self.folder = where / "folder"
        shutil.copytree(self.runs[0], self.folder)
        (self.folder / "sweep.json").write_text('{"request": {"envs": []}, "runs": []}')
        (self.folder / "evaluation.json").write_text(
            json.dumps(evaluate(self.folder / "last.safetensors", 2))
        )
        (self.folder / "trackers.json").write_text('{"run_id": "abcd", "wandb_step": 3}')
        self.texts = {file: (self.folder / file).read_bytes() for file in FILES}

    def case(self, rng: random.Random, resume: bool) -> dict[str, str]:
        """One case: its kinds, and the verdict on each."""
        if rng.random() < 0.4:
            return {"files": judge_files(self.folder, self.texts, rng)}
        which = rng.choice([0, 0, 0, 1, 1, 1, 2])  # the Atari file is large and slow
        kind = rng.choice(["damage", "malice"])
        data = (damage if kind == "damage" else malice)(self.originals[which], rng)
        expected = self.expected[which] if kind == "damage" else None
        found = {kind: judge(data, self.path, expected)}
        if resume:
            found["resume"] = judge_resume(data, self.runs[which])
        return found


def fuzz_part(target: Target, part: int, seed: int, result: dict[str, Any]) -> None:
    """Add a part's cases to the result; print those that are wrong."""
    rng = random.Random(f"{seed} {part}")
    began = time.perf_counter()
    for number in range(PART):
        start = time.perf_counter()
        verdicts = target.case(rng, resume=number % 100 < RESUMED)
        result["slowest_case_seconds"] = round(
            max(result["slowest_case_seconds"], time.perf_counter() - start), 3
        )
        for kind, verdict in verdicts.items():
            result[kind][verdict] = result[kind].get(verdict, 0) + 1
            if verdict not in ("right", "refused"):
                result["wrong"] += 1
                print(f"part {part}, case {number} ({kind}): {verdict}", flush=True)
    result["cases"] += PART
    result["seconds"] = round(result["seconds"] + time.perf_counter() - began, 1)


def main() -> None:
    """Fuzz, print, write the result; exit code 1 if a case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="cases, in whole parts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "fuzz.json")
    args = parser.parse_args()

    def alarm(*_: object) -> None:
        raise TookTooLong

    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGPROF, alarm)
    result: dict[str, Any] = {"cases": 0, "wrong": 0, "parts": 0}
    result |= {kind: {} for kind in ("damage", "malice", "resume", "files")}
    result |= {"seconds": 0.0, "slowest_case_seconds": 0.0, "memory_grown_mb": 0.0}
    if args.output.exists():
        found = json.loads(args.output.read_text())
        result = found if found.get("seed") == args.seed else result
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        target = Target(Path(name))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while result["cases"] < args.count:
            fuzz_part(target, result["parts"], args.seed, result)
            result["parts"] += 1
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            result["memory_grown_mb"] = max(result["memory_grown_mb"], round(grown / 1024, 1))
            child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            result["peak_of_resuming_child_mb"] = round(child / 1024, 1)
            write(args.output, result | {"seed": args.seed})
    raise SystemExit(result["wrong"] > 0)


def write(output: Path, result: dict[str, Any]) -> None:
    """The parts so far."""
    head = {
        "command": " ".join(["python", "benchmarks/fuzz.py", *sys.argv[1:]]),
        "versions": {n: version(n) for n in ("onestream-a2c", "numpy", "safetensors")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}",
    }
    part = output.with_suffix(".part")
    part.write_text(json.dumps(result | head, indent=2) + "\n")
    part.replace(output)


if __name__ == "__main__":
    main()
