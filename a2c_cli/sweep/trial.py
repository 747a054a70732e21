"""One trial, inside its own process: a run that is started or resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from a2c_cli.config.settings import TrainConfig
from a2c_cli.errors import A2CError, RunInUseError
from a2c_cli.runs.directory import LAST
from a2c_cli.training.engine import Progress, train

_PATIENCE = 60.0  # seconds


def run_trial(
    config: TrainConfig,
    run_dir: Path,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], str | None],
) -> tuple[str, str]:
    """Train to the end of the budget, from the last checkpoint if there is one.

    Args:
        config: complete settings of the run.
        run_dir: its directory. Where an earlier process of the same trial is still saving after
            the death of its sweep, this waits a minute for it.

    Returns:
        How it ended (as `TrainResult.stopped`, or `failed`) and why, in one line.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            if (run_dir / LAST).exists():
                result = train(
                    resume=run_dir,
                    env_id=config.env,
                    changes={"tracker": config.tracker} if config.tracker else {},
                    on_progress=on_progress,
                    should_stop=should_stop,
                )
            else:
                result = train(
                    config, run_dir=run_dir, on_progress=on_progress, should_stop=should_stop
                )
            return result.stopped, result.message
        except RunInUseError as error:
            if time.monotonic() > deadline:
                return "failed", error.message
            time.sleep(0.2)
        except A2CError as error:
            return "failed", "; ".join(filter(None, (error.message, error.hint)))
        except Exception as error:  # a fault of one trial must not look like a killed process
            return "failed", f"unexpected {type(error).__name__}: {error}"
