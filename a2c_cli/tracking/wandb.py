"""Weights & Biases: a run of its own, online or offline."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from a2c_cli.config.settings import Settings
from a2c_cli.config.text import to_dict
from a2c_cli.outside import read_bytes
from a2c_cli.tracking.tracker import PROJECT, Value, as_logged, read_state, write_state

_WRITES_WITHIN = 2.0  # seconds in which W&B's own process has written what it got, or ended
_LARGEST = 2**30  # bytes of a file of rows
_BLOCK, _HEAD = 2**15, 7  # bytes
_WHOLE, _LAST_PART = 1, 4


class WandB:
    """A W&B run, with its files in RUN_DIR/wandb; WANDB_MODE, WANDB_PROJECT and so on hold.

    A resumed run keeps its run id. W&B cannot take back a row, and its own process, which dies
    with ours, writes once a second: so on resume the last step is the server's word, or offline
    that of the rows on disk.
    """

    def __init__(self, run_path: Path, config: Settings, env_steps: int) -> None:
        import wandb

        state = read_state(run_path)
        self._package, self._run_path = wandb, run_path
        there = -1
        if env_steps > 0:
            there = _last_row(run_path, closed=state.get("wandb_closed") is True)
        write_state(run_path, state | {"wandb_closed": False})
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run_path.resolve().name,
            id=state["run_id"],
            resume="allow",
            reinit="create_new",  # a run of the caller's own stays as it is
            dir=str(run_path),
            config=to_dict(config),
            settings=wandb.Settings(
                console="off", silent=True, x_transaction_log_flush_interval=1.0
            ),
        )
        offline = f"wandb sync {self._run.settings.sync_dir}"
        self.place = offline if self._run.offline else str(self._run.url)
        self.last_step = there if self._run.offline else self._run.starting_step - 1

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        self._run.log(as_logged(self._package, values), step=env_steps, commit=True)

    def flush(self) -> None:
        pass  # W&B's own process writes once a second

    def close(self) -> None:
        self._run.finish()
        write_state(self._run_path, read_state(self._run_path) | {"wandb_closed": True})


def _last_row(run_path: Path, *, closed: bool) -> int:
    """The last step of which W&B has a row on disk; -1 for none.

    Args:
        run_path: the run directory.
        closed: whether W&B ended by itself. Else its process may still be writing.
    """
    files = sorted((run_path / "wandb").glob("offline-run-*/run-*.wandb"))
    deadline = time.monotonic() + 2.0 * _WRITES_WITHIN
    while not closed and files and time.monotonic() < deadline:
        if time.time() - max(file.stat().st_mtime for file in files) > _WRITES_WITHIN:
            break
        time.sleep(0.1)
    return max((step for file in files for step in rows(file)), default=-1)


def rows(path: Path) -> Iterator[int]:
    """The steps of the rows in a .wandb file, in their order.

    It is a log of protocol buffers in blocks of 32 KiB, after LevelDB's fashion: each part of a
    record is headed by a checksum, its length, and which part it is. A kill may have cut the last.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # its names are made at run time
    try:
        data = read_bytes(path, _LARGEST, follow=False)
    except OSError:
        return
    at, record = _HEAD, b""
    while at + _HEAD <= len(data):
        room = _BLOCK - at % _BLOCK
        if room < _HEAD:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + _HEAD : at + _HEAD + length]
        at += _HEAD + length
        if kind not in (_WHOLE, _LAST_PART):
            continue
        if at > len(data):
            return
        read = messages.Record()
        try:
            read.ParseFromString(record)
        except DecodeError:
            return
        record = b""
        if read.HasField("history"):
            yield int(read.history.step.num)


make = WandB
