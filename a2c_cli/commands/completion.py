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
setting_names = of(f"{name}=" for name in settings())


def environments(incomplete: str) -> list[str]:
    """Gymnasium's ids; the games are under ALE/."""
    from a2c_cli.envs.make import known_ids  # takes half a second: only when it is asked for

    return of(known_ids())(incomplete)


def checkpoints(incomplete: str) -> list[str]:
    """Runs under ./checkpoints, shipped agents, and paths as the shell knows them."""
    from a2c_cli.runs.directory import CHECKPOINTS, METRICS
    from a2c_cli.runs.shipped import shipped_names

    runs = sorted(str(path.parent) for path in CHECKPOINTS.glob(f"*/{METRICS}"))
    return of([*shipped_names(), *runs])(incomplete) or _paths(incomplete)


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
