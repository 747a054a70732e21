"""What a run logs: entries of metrics.jsonl, and the same to the trackers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from a2c_cli.runs.directory import METRICS, film_path
from a2c_cli.runs.metrics import read_records
from a2c_cli.tracking.session import Trackers, histograms
from a2c_cli.tracking.tracker import Value
from a2c_cli.training.best import Scorer
from a2c_cli.training.counters import Interval
from a2c_cli.training.guards import steps_between_looks
from a2c_cli.training.state import RunState


class MetricsLog:
    """Logs each episode, and each interval of --log-every or --eval-every steps.

    Args:
        state: of the run.
        scorer: evaluates the agent where an evaluation is due.
        warn: told what the guards find.
    """

    def __init__(self, state: RunState, scorer: Scorer, warn: Callable[[str], None]) -> None:
        self._state, self._scorer, self._warn = state, scorer, warn
        self._look_every = steps_between_looks(state.config.total_steps)
        self.trackers = Trackers({}, warn)  # none, until it is given some

    @property
    def due(self) -> bool:
        """Whether an interval ends at this step whose entry has not been written."""
        steps, c = self._state.counters.env_steps, self._state.config
        due = steps % c.log_every == 0 or steps >= c.total_steps
        due = due or bool(c.eval_every and steps % c.eval_every == 0)
        return due and steps > self._state.counters.last_line

    def end_episode(self, film: Path | None, success: bool | None) -> None:
        """Log the episode that has just ended.

        Args:
            film: of it, if there is one.
            success: what the environment said of it, if it did.
        """
        c = self._state.counters
        entry: dict[str, Any] = {
            "env_steps": c.env_steps,
            "frames": self._state.frames,
            "episode": c.episodes,
            "charts/episodic_return": c.returns[-1],
            "charts/episodic_length": c.lengths[-1],
        }
        if success is not None:
            entry["charts/episodic_success"] = float(success)
        self._state.directory.append_metrics(entry)
        self._track(entry if film is None else {**entry, "video": film})

    def end_interval(self) -> float | None:
        """Log the interval that ends at this step.

        Returns:
            The score by which the agent is the best so far, None if it is not.

        Raises:
            StopAskedError: the run is to stop; nothing has been logged.
        """
        state, c = self._state, self._state.counters
        entry: dict[str, Any] = {
            "env_steps": c.env_steps,
            "frames": state.frames,
            "updates": state.learner.updates,
            "episodes": c.episodes,
        }
        mean = c.mean_return()
        if mean is not None:
            entry["rollout/ep_rew_mean"] = mean
            entry["rollout/ep_len_mean"] = sum(c.lengths) / len(c.lengths)
        successes = c.success_rate()
        if successes is not None:
            entry["rollout/success_rate"] = successes
        rate = c.interval.reward_rate
        if rate is not None:
            entry["rollout/reward_rate"] = c.reward_rate = rate
        entry |= c.interval.metrics()
        evaluated, best = self._scorer.score(c)
        entry |= evaluated
        c.watched.join(c.interval)
        if c.env_steps - c.last_look >= self._look_every:
            self._look()
        entry["time/fps"] = round(state.rate, 1)
        entry["time/elapsed"] = round(state.clock.seconds, 2)
        state.directory.append_metrics(entry)
        state.directory.flush_metrics()
        wanted = state.config.histograms and self.trackers
        self._track(entry | (histograms(state.learner.network) if wanted else {}))
        c.last_line = c.env_steps
        c.interval = Interval()
        self.flush_trackers()
        return best

    @property
    def complete_step(self) -> int:
        """The last step of which no more entries will come."""
        steps = self._state.counters.env_steps
        return steps - 1 if self.due else steps

    def flush_trackers(self) -> None:
        """Hand over to the trackers what waits; not a step of which the interval is still owed."""
        self.trackers.flush(owed=self.complete_step + 1)

    def close_trackers(self) -> None:
        """Hand over what waits, in the same way, and end the trackers' sessions."""
        self.trackers.close(owed=self.complete_step + 1)

    def catch_up(self) -> None:
        """Send the trackers what they have lost, or never had, of the steps before a resume."""
        path = self._state.directory.path
        with contextlib.suppress(OSError):
            self.trackers.catch_up(_logged(path, read_records(path / METRICS)))

    def _look(self) -> None:
        c = self._state.counters
        spent = c.env_steps / self._state.config.total_steps
        most = self._state.env.spec.action.max_entropy
        found = c.guards.check(c.watched.metrics(), c.returns, spent, most)
        if self._state.config.n_steps == 0 and c.episodes == 0:
            found += c.guards.check_endless(c.env_steps)
        for text in found:
            self._warn(f"step {c.env_steps:,}: {text}")
        c.last_look, c.watched = c.env_steps, Interval()

    def _track(self, entry: Mapping[str, Value]) -> None:
        values = {name: value for name, value in entry.items() if name != "env_steps"}
        self.trackers.log(self._state.counters.env_steps, values)


def _logged(run_path: Path, records: Iterable[Any]) -> Iterator[tuple[int, dict[str, Value]]]:
    """Entries of metrics.jsonl as they were logged: the step, and its values with the film."""
    for record in records:
        step = record.pop("env_steps", None) if isinstance(record, dict) else None
        if not isinstance(step, int):
            continue  # somebody has damaged the file
        episode = record.get("episode")
        film = film_path(run_path, episode) if isinstance(episode, int) else run_path
        yield step, record | ({"video": film} if film.is_file() else {})
