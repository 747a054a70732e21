"""One trial, inside its own process: a run that is started or resumed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from a2c_cli.config.settings import TrainConfig
from a2c_cli.errors import A2CError, CheckpointError, DamagedCheckpointError, RunInUseError
from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.runs.directory import BEST, LAST, METRICS, RunDir
from a2c_cli.text import error_text
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

    A directory without a checkpoint that can be read is begun anew; what lies there is set aside.

    Returns:
        How it ended (as `TrainResult.stopped`, or `failed`) and why, in one line.
    """
    deadline, note = time.monotonic() + _PATIENCE, ""
    while True:
        try:
            note = set_aside(run_dir) or note
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
            return result.stopped, result.message or note
        except RunInUseError as error:
            if time.monotonic() > deadline:
                return "failed", error.message
            time.sleep(0.2)
        except A2CError as error:
            return "failed", "; ".join(filter(None, (error.message, error.hint)))
        except Exception as error:  # a fault of one trial must not look like a killed process
            return "failed", f"unexpected {error_text(error)}"


def set_aside(run_dir: Path) -> str:
    """Rename what is left of a run that cannot be resumed, so that it can be begun anew.

    Returns:
        What has been done, for people; empty if nothing.

    Raises:
        RunInUseError: somebody is writing there.
    """
    left = [run_dir / name for name in (LAST, BEST, METRICS) if (run_dir / name).exists()]
    if not left:
        return ""
    try:
        read_checkpoint(run_dir / LAST)
        return ""
    except DamagedCheckpointError:
        why = "its checkpoint was damaged"
    except CheckpointError:
        if (run_dir / LAST).exists():
            return ""  # another version's, say: whoever resumes it says so
        why = "its checkpoint was lost"
    with contextlib.closing(RunDir(run_dir)):
        number = 1
        while any(run_dir.glob(f"*.aside-{number}")):
            number += 1
        for path in left:
            path.rename(path.with_name(f"{path.name}.aside-{number}"))
    return f"begun anew: {why}; the old files end in .aside-{number}"
