"""Trackio: a run in a store of its own, local or on a Space."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from a2c_cli.config.settings import Settings
from a2c_cli.config.text import to_dict
from a2c_cli.tracking.tracker import PROJECT, Value, as_logged, read_state


class Trackio:
    """A Trackio run, stored in RUN_DIR/trackio, or where TRACKIO_DIR or TRACKIO_SPACE_ID say.

    The last step that its store has is the last that came through: it stores them one by one.
    Trackio reads TRACKIO_DIR once in a process, when it is imported. What it cannot store it
    reports itself, by a Python warning.
    """

    def __init__(self, run_path: Path, config: Settings, env_steps: int) -> None:
        os.environ.setdefault("TRACKIO_DIR", str((run_path / "trackio").absolute()))
        self.place = f"TRACKIO_DIR={os.environ['TRACKIO_DIR']} trackio show --project {PROJECT}"
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._package: Any = trackio
        name = f"{run_path.resolve().name}-{read_state(run_path)['run_id']}"
        with _silent():
            self._run: Any = trackio.init(
                project=PROJECT,
                name=name,
                resume="allow",
                config=to_dict(config),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        last = SQLiteStorage.get_last_step(PROJECT, run=name)
        self.last_step = -1 if last is None else last

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        self._run.log(as_logged(self._package, values), step=env_steps)

    def flush(self) -> None:
        pass  # its own thread writes every half second

    def close(self) -> None:
        with _silent():
            self._package.finish()


make = Trackio


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Trackio prints to stdout, which belongs to the command's own result."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
