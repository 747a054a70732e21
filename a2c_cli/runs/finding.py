"""Which checkpoint a command means: a file, a run, a shipped agent, one on the Hub, the newest."""

from __future__ import annotations

import shlex
from pathlib import Path

from a2c_cli.errors import CheckpointError
from a2c_cli.runs.directory import BEST, CHECKPOINTS, LAST
from a2c_cli.runs.hub import download, hub_name
from a2c_cli.runs.shipped import find_shipped, shipped_names

_TRAIN = "train one: a2c train --env ALE/Breakout-v5"


def find_checkpoint(path: Path | None) -> Path:
    """The checkpoint a command means.

    Args:
        path: a file, a run directory (its best, else its last checkpoint), the name of a
            shipped agent, or one on the Hub (`hf:user/name`), which is downloaded; None for the
            newest under ./checkpoints.

    Raises:
        CheckpointError: there is none.
        HubError: the Hub does not have it, or cannot be reached.
    """
    if path is None:
        runs = {p.parent for name in (LAST, BEST) for p in CHECKPOINTS.glob(f"*/{name}")}
        found = [*(_in_run(run) for run in runs), *CHECKPOINTS.glob("*.safetensors")]
        if not found:
            raise _none_in(CHECKPOINTS, f"there is no checkpoint under ./{CHECKPOINTS}")
        return max(found, key=lambda p: (p.stat().st_mtime, str(p)))
    try:
        if not path.exists():
            on_the_hub = hub_name(str(path))
            if on_the_hub is not None:
                return download(on_the_hub)
            shipped = find_shipped(str(path))
            if shipped is not None:
                return shipped
            raise CheckpointError(f"there is no checkpoint at {path}", _what_there_is(path))
        if path.is_dir():
            if not (path / LAST).exists() and not (path / BEST).exists():
                raise _none_in(path, f"there is no checkpoint in {path}")
            return _in_run(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", "check the path") from None
    return path


def _what_there_is(path: Path) -> str:
    """A hint for a path that leads nowhere: names are for agents, paths for what was trained."""
    if len(path.parts) == 1 and not path.suffix:
        return f"give a run directory, or the name of a shipped agent: {', '.join(shipped_names())}"
    return _TRAIN


def _none_in(place: Path, message: str) -> CheckpointError:
    """No checkpoint here, but perhaps further below: those of a sweep's runs."""
    below = [p for name in (LAST, BEST) for p in place.rglob(name)]
    if not below:
        return CheckpointError(message, _TRAIN)
    newest = max(below, key=lambda p: (p.stat().st_mtime, str(p))).parent
    count = len({p.parent for p in below})
    runs = "1 run lies" if count == 1 else f"{count:,} runs lie"
    return CheckpointError(
        f"{message} itself; {runs} further below, as those of a sweep do",
        f"name one of them ({shlex.quote(str(newest))} is the newest), or compare them:"
        f" a2c plot {shlex.quote(str(place))}",
    )


def _in_run(run: Path) -> Path:
    return run / BEST if (run / BEST).exists() else run / LAST
