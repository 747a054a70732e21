"""Weights & Biases: a run of its own, online or offline."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2c_cli.config.settings import Settings
from a2c_cli.config.text import to_dict
from a2c_cli.tracking.tracker import PROJECT, Value, as_logged, read_state, write_state

_WRITES_WITHIN = 5.0  # seconds, with room to spare


class WandB:
    """A W&B run, with its files in RUN_DIR/wandb; WANDB_MODE, WANDB_PROJECT and so on hold.

    A resumed run keeps its run id. W&B cannot take back a step, so those that it surely
    has are not sent again; the last one stands in RUN_DIR/trackers.json. W&B's own process, which
    dies with ours, writes once a second: of the steps of the last seconds before a kill it may
    have some twice, with the same values, rather than miss them.
    """

    def __init__(self, run_path: Path, config: Settings, env_steps: int) -> None:
        import wandb

        state = read_state(run_path)
        self._package, self._run_path, self._state = wandb, run_path, state
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
        self.last_step = max(state.get("wandb_step", -1), self._run.starting_step - 1)
        offline = f"wandb sync {self._run.settings.sync_dir}"
        self.place = offline if self._run.offline else str(self._run.url)
        self._sent = self.last_step
        self._handed_over: deque[tuple[float, int]] = deque()

    def log(self, env_steps: int, values: Mapping[str, Value]) -> None:
        self._run.log(as_logged(self._package, values), step=env_steps)
        self._sent = env_steps

    def flush(self) -> None:
        now = time.monotonic()
        self._handed_over.append((now, self._sent))
        while self._handed_over[0][0] < now - _WRITES_WITHIN:
            self._remember(self._handed_over.popleft()[1])

    def close(self) -> None:
        self._run.finish()
        self._remember(self._sent)

    def _remember(self, env_steps: int) -> None:
        self._state["wandb_step"] = env_steps
        write_state(self._run_path, self._state)


make = WandB
