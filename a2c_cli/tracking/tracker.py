"""What a tracker is, how one is found by its name, and what those share that have a run id.

A tracker gets the values of metrics.jsonl under their names there, with `env_steps` as the step.
Its package is imported only when a run asks for it.

A resumed run continues its curves, each step once, wherever it was killed. Steps after the
checkpoint, which it may have sent already, are played once more and not sent; steps before it
that a tracker has lost are sent again out of metrics.jsonl. How each tracker knows its last step
stands with its class.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from a2c_cli.config.settings import TRACKERS, Settings
from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.outside import import_module, parse_json, read_bytes
from a2c_cli.runs.files import write_atomic

PROJECT = "a2c"  # what W&B and Trackio file the runs under
_STATE = "trackers.json"  # in the run directory

# A number of a curve, an array for a histogram, a video file.
Value = float | NDArray[np.float32] | Path


class Tracker(Protocol):
    """Where the curves of a run go. What it does can end neither the run nor its exactness.

    Args:
        last_step: values of steps up to this one are there from before a resume and are not sent
            again; -1 for none.
        place: where the user finds it, a command or an address.
    """

    last_step: int
    place: str

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        """Take in the values of one step, by their names in metrics.jsonl.

        Beside those come `video`, a film, and arrays named `parameters/...` and `gradients/...`
        where a run has --video-every or --histograms.
        """

    def flush(self) -> None:
        """Put what was taken in where a kill cannot reach it, as far as the package lets us."""

    def close(self) -> None:
        """End the session."""


# Called with the run directory, the run's settings, and how far it has come: 0 for a new run; for a
# resumed one the last step before its checkpoint of which nothing more will come.
Factory = Callable[[Path, Settings, int], Tracker]


def find_tracker(name: str) -> Factory:
    """What makes the tracker that --tracker names.

    Args:
        name: one of `config.TRACKERS`, for `make` in a2c_cli/tracking/NAME.py; or `module:factory`,
            whose module is imported.

    Raises:
        A2CError: its package is not installed, or there is no such module or factory.
    """
    if name in TRACKERS:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a mere directory ./wandb is no package
            raise A2CError(
                f"--tracker {name} needs the package {name}, which is not installed",
                f"install it: pip install {name}",
            )
        return importlib.import_module(f"a2c_cli.tracking.{name}").make  # type: ignore[no-any-return]
    module, _, factory = name.partition(":")
    try:
        found = getattr(import_module(module), factory, None)
    except Exception as error:
        raise ConfigError(
            f"--tracker {name}: the module {module!r} cannot be imported: {error}",
            "install it, or run from the directory that holds it",
        ) from error
    if not callable(found):
        raise ConfigError(
            f"--tracker {name}: there is no function {factory!r} in the module {module!r}",
            "name one that returns a Tracker, see a2c_cli/tracking/tracker.py",
        )
    return found  # type: ignore[no-any-return]


def lacking(tracker: object) -> list[str]:
    """What an object lacks of a `Tracker`."""
    lacks = [f"{m}()" for m in ("log", "flush", "close") if not callable(getattr(tracker, m, None))]
    for name, kind in (("last_step", int), ("place", str)):
        if not isinstance(getattr(tracker, name, None), kind):
            lacks.append(f"{name}: {kind.__name__}")
    return lacks


def as_logged(package: Any, values: Mapping[str, Value]) -> dict[str, Any]:
    """The values as W&B and Trackio, which bear the same names, want them."""
    dressed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Path):
            dressed[name] = package.Video(str(value), format="mp4")
        else:
            dressed[name] = package.Histogram(value) if isinstance(value, np.ndarray) else value
    return dressed


def read_state(run_path: Path) -> dict[str, Any]:
    """What the run directory remembers: `run_id`, made up the first time, and steps that were sent.

    The steps are `tensorboard_step` and `wandb_step`; `wandb_closed` is whether W&B had ended.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        state = parse_json(read_bytes(run_path / _STATE, 2**16, follow=False))
        if not isinstance(state, dict):
            raise ValueError("it is no object")
        steps = [state.get(f"{name}_step", -1) for name in ("tensorboard", "wandb")]
        if str(state["run_id"]).isalnum() and all(isinstance(step, int) for step in steps):
            return dict(state)
    state = {"run_id": secrets.token_hex(4)}
    write_state(run_path, state)
    return state


def write_state(run_path: Path, state: Mapping[str, Any]) -> None:
    """Remember it for the next resume."""
    write_atomic(run_path / _STATE, json.dumps(state).encode())
