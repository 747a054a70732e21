"""What a run counts: episodes, returns, sums since the last line of metrics. All of it resumes."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from a2c_cli.algorithm.update import UpdateStats
from a2c_cli.envs.stream import Transition
from a2c_cli.runs.header import Header
from a2c_cli.training.guards import Guards

_WINDOW = 100  # episodes of a mean return


def is_number(value: Any) -> bool:
    """Whether a value out of a checkpoint is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass
class Interval:
    """Sums over the updates and episodes since the last line of metrics.jsonl."""

    updates: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    actions: dict[int, int] = field(default_factory=dict)  # how often each, where it is one number

    def add(self, stats: UpdateStats) -> None:
        self.updates += 1
        for name, value in stats.metrics().items():
            if name in ("learning_rate", "entropy_coef"):
                self.last[name] = value
            else:
                self.sums[name] = self.sums.get(name, 0.0) + value

    def metrics(self) -> dict[str, float]:
        means = {name: total / self.updates for name, total in self.sums.items()}
        if self.actions:
            taken = self.actions.values()
            means["top_action_share"] = max(taken) / sum(taken)
        return {f"train/{name}": value for name, value in {**means, **self.last}.items()}


@dataclass
class Counters:
    """The run's bookkeeping, all of it in the checkpoint."""

    env_steps: int = 0
    episodes: int = 0
    episode_return: float = 0.0
    episode_length: int = 0
    episode_over: bool = True
    last_line: int = 0  # env_steps of the last line of the interval kind in metrics.jsonl
    best_mean_return: float | None = None
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    lengths: deque[int] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    interval: Interval = field(default_factory=Interval)
    guards: Guards = field(default_factory=Guards)

    def count(self, step: Transition) -> None:
        self.env_steps += 1
        if isinstance(step.action, int):
            actions = self.interval.actions
            actions[step.action] = actions.get(step.action, 0) + 1
        self.episode_return += step.reward
        self.episode_length += 1
        self.episode_over = step.episode_over
        if step.episode_over:
            self.episodes += 1
            self.returns.append(self.episode_return)
            self.lengths.append(self.episode_length)
            self.guards.add_episode(self.episode_return)
            self.episode_return, self.episode_length = 0.0, 0

    def mean_return(self) -> float | None:
        return sum(self.returns) / len(self.returns) if self.returns else None

    def private(self) -> dict[str, Any]:
        return {
            "episode_return": self.episode_return,
            "episode_length": self.episode_length,
            "episode_over": self.episode_over,
            "last_line": self.last_line,
            "lengths": list(self.lengths),
            "interval": dataclasses.asdict(self.interval),
            "guards": dataclasses.asdict(self.guards),
        }

    @classmethod
    def from_header(cls, header: Header) -> Counters:
        """Go on from `private`.

        Raises:
            KeyError, ValueError, TypeError: it is not one.
        """
        p, interval = header.progress, header.progress["interval"]
        names = tuple(f.name for f in dataclasses.fields(UpdateStats))
        for part in (interval["sums"], interval["last"]):
            known = all(name.startswith(names) for name in part)
            if not known or not all(is_number(v) for v in part.values()):
                raise ValueError("the sums since the last line of metrics are damaged")
        remembered = {f.name for f in dataclasses.fields(Guards)}
        guards = Guards(**{k: v for k, v in p.get("guards", {}).items() if k in remembered})
        numbers = (*guards.first_returns, *guards.value_losses)
        if not all(map(is_number, numbers)) or not isinstance(guards.said, list):
            raise ValueError("what the guards remember is damaged")
        actions = {int(action): count for action, count in interval.get("actions", {}).items()}
        counts = [p["episode_length"], interval["updates"], p.get("last_line", 0), *p["lengths"]]
        counts += actions.values()
        if interval["sums"] and not interval["updates"]:
            raise ValueError("there are sums of no updates")
        if not all(isinstance(n, int) and 0 <= n < 2**48 for n in counts):
            raise ValueError("a count is none")
        if not is_number(p["episode_return"]) or len(p["lengths"]) != len(header.recent_returns):
            raise ValueError("the current episode's statistics are damaged")
        counters = cls(
            env_steps=header.env_steps,
            episodes=header.episodes,
            episode_return=float(p["episode_return"]),
            episode_length=int(p["episode_length"]),
            episode_over=bool(p["episode_over"]),
            last_line=int(p.get("last_line", header.env_steps)),
            best_mean_return=header.best_mean_return,
            interval=Interval(interval["updates"], interval["sums"], interval["last"], actions),
            guards=guards,
        )
        counters.returns.extend(header.recent_returns)
        counters.lengths.extend(int(n) for n in p["lengths"])
        return counters
