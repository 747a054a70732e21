"""What a shell completes: ids, networks, presets, trackers, settings, axes, runs, agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from a2c_cli.config.defaults import PRESETS
from a2c_cli.config.networks import NETWORKS
from a2c_cli.config.settings import TRACKERS, settings

Complete = Callable[[str], list[str]]


def of(names: Iterable[str]) -> Complete:
    """Completes what has been typed to one of some names."""
    known = list(names)

    def complete(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return complete


networks = of(NETWORKS)
presets = of(PRESETS)
trackers = of((*TRACKERS, "none"))
axes = of(("steps", "frames", "episodes", "time"))
sets = of(("atari-5", "atari-57"))
methods = of(("gradient", "perturbation"))
films = of(("mp4", "gif"))


def environments(incomplete: str) -> list[str]:
    """Gymnasium's ids; the games are under ALE/."""
    from a2c_cli.envs.make import known_ids  # takes half a second: only when it is asked for

    return of(known_ids())(incomplete)


def setting_values(incomplete: str) -> list[str]:
    """A setting with its equals sign, then its values one after the other, separated by commas."""
    name, equals, values = incomplete.partition("=")
    if not equals:
        return of(f"{name}=" for name in settings())(incomplete)
    complete = choices(name) if name in settings() else None
    *before, last = values.split(",")
    start = ",".join([f"{name}={before[0]}", *before[1:]]) + "," if before else f"{name}="
    return [] if complete is None else [start + value for value in complete(last)]


def checkpoints(incomplete: str) -> list[str]:
    """Shipped agents, runs under ./checkpoints, and paths as the shell knows them."""
    from a2c_cli.runs.shipped import shipped_names

    return of([*shipped_names(), *_found("metrics.jsonl")])(incomplete) or _paths(incomplete)


def runs(incomplete: str) -> list[str]:
    """Runs and sweeps under ./checkpoints, and paths as the shell knows them."""
    return of([*_found("metrics.jsonl"), *_found("sweep.json")])(incomplete) or _paths(incomplete)


def _found(name: str) -> list[str]:
    """The directories under ./checkpoints that hold such a file."""
    from a2c_cli.runs.directory import CHECKPOINTS

    return sorted(str(path.parent) for path in CHECKPOINTS.glob(f"*/{name}"))


def _paths(incomplete: str) -> list[str]:
    parent = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    found = (path for path in parent.glob("*") if path.is_dir() or path.suffix == ".safetensors")
    return [str(path) for path in sorted(found) if str(path).startswith(incomplete)]


def choices(name: str) -> Complete | None:
    """What completes the values of a setting; None where everything may stand."""
    if name == "network":
        return networks
    known = settings()[name].metadata["choices"]
    return of(known) if known else None
