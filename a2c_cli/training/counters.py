"""What a run counts: episodes, returns, sums since the last line of metrics.jsonl; all resumed."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from a2c_cli.algorithm.update import UpdateStats
from a2c_cli.envs.spec import Count
from a2c_cli.envs.stream import Transition
from a2c_cli.runs.header import Header
from a2c_cli.text import first_problem
from a2c_cli.training.guards import Guards

_WINDOW = 100  # episodes of a mean return


@dataclass
class Interval:
    """Sums over updates, and the actions: since the last line of metrics.jsonl, or a last look."""

    updates: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    actions: dict[int, int] = field(default_factory=dict)  # how often each, where it is one number
    steps: int = 0
    reward: float = 0.0

    @property
    def reward_rate(self) -> float | None:
        """Mean reward of a step, which streams without episodes have too."""
        return self.reward / self.steps if self.steps else None

    def add(self, stats: UpdateStats) -> None:
        self.updates += 1
        for name, value in stats.metrics().items():
            if name in ("learning_rate", "entropy_coef"):
                self.last[name] = value
            else:
                self.sums[name] = self.sums.get(name, 0.0) + value

    def join(self, later: Interval) -> None:
        """Take in an interval that follows this one."""
        self.updates += later.updates
        for name, value in later.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        for action, times in later.actions.items():
            self.actions[action] = self.actions.get(action, 0) + times
        self.last |= later.last

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
    successes: deque[bool] = field(default_factory=lambda: deque(maxlen=_WINDOW))  # those told
    reward_rate: float | None = None  # of the last interval that has ended
    interval: Interval = field(default_factory=Interval)
    last_look: int = 0  # env_steps at which the guards last looked
    watched: Interval = field(default_factory=Interval)  # since then, up to the last line
    guards: Guards = field(default_factory=Guards)

    def count(self, step: Transition) -> None:
        self.env_steps += 1
        self.interval.steps += 1
        self.interval.reward += step.reward
        if isinstance(step.action, int | np.integer):
            actions, action = self.interval.actions, int(step.action)
            actions[action] = actions.get(action, 0) + 1
        self.episode_return += step.reward
        self.episode_length += 1
        self.episode_over = step.episode_over
        if step.episode_over:
            self.episodes += 1
            self.returns.append(self.episode_return)
            self.lengths.append(self.episode_length)
            if step.success is not None:
                self.successes.append(step.success)
            self.guards.add_episode(self.episode_return)
            self.episode_return, self.episode_length = 0.0, 0

    def leave_episode(self) -> None:
        """The episode under way is left unfinished; its return is nobody's."""
        self.episode_return, self.episode_length, self.episode_over = 0.0, 0, True

    def mean_return(self) -> float | None:
        return sum(self.returns) / len(self.returns) if self.returns else None

    def success_rate(self) -> float | None:
        """Of the last episodes that told; None where none has."""
        return sum(self.successes) / len(self.successes) if self.successes else None

    def private(self) -> dict[str, Any]:
        return {
            "episode_return": self.episode_return,
            "episode_length": self.episode_length,
            "episode_over": self.episode_over,
            "last_line": self.last_line,
            "reward_rate": self.reward_rate,
            "lengths": list(self.lengths),
            "successes": list(self.successes),
            "interval": dataclasses.asdict(self.interval),
            "last_look": self.last_look,
            "watched": dataclasses.asdict(self.watched),
            "guards": dataclasses.asdict(self.guards),
        }


_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Numbers = Annotated[list[_Finite], FailFast(), Field(max_length=1000)]


class _Interval(BaseModel):
    """An `Interval` as it stands in a file."""

    updates: Count
    sums: dict[str, _Finite]
    last: dict[str, _Finite]
    actions: dict[int, Count] = {}
    steps: Count = 0
    reward: _Finite = 0.0


class _Guards(BaseModel):
    """`Guards` as they stand in a file."""

    first_returns: _Numbers = []
    value_losses: _Numbers = []
    said: Annotated[list[str], FailFast(), Field(max_length=100)] = []
    best: _Finite | None = None


class Saved(BaseModel):
    """A run's bookkeeping as it stands in a checkpoint, which may be a stranger's.

    Args:
        metrics_bytes: length of metrics.jsonl when it was saved.
        elapsed: seconds of training.
        others: as in `Counters`. Earlier versions had no actions, guards, looks, last_line,
            successes.
    """

    model_config = ConfigDict(strict=True)

    metrics_bytes: Count
    elapsed: _Finite
    episode_return: _Finite
    episode_length: Count
    episode_over: bool
    last_line: Count | None = None
    reward_rate: _Finite | None = None
    lengths: Annotated[list[Count], FailFast(), Field(max_length=_WINDOW)]
    successes: Annotated[list[bool], FailFast(), Field(max_length=_WINDOW)] = []
    interval: _Interval
    last_look: Count | None = None
    watched: _Interval = _Interval(updates=0, sums={}, last={})
    guards: _Guards = _Guards()

    @classmethod
    def of(cls, header: Header) -> Saved:
        """What a checkpoint's header holds.

        Raises:
            ValueError: it is damaged.
        """
        try:
            saved = cls.model_validate_json(json.dumps(header.progress))
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        names = tuple(f.name for f in dataclasses.fields(UpdateStats))
        for part in (saved.interval, saved.watched):
            if not all(name.startswith(names) for name in {**part.sums, **part.last}):
                raise ValueError("the sums since the last line of metrics.jsonl are damaged")
            if part.sums and not part.updates:
                raise ValueError("there are sums of no updates")
        if len(saved.lengths) != len(header.recent_returns):
            raise ValueError("the last episodes' returns and lengths do not fit together")
        return saved

    def counters(self, header: Header) -> Counters:
        """The counters to resume with."""
        return Counters(
            env_steps=header.env_steps,
            episodes=header.episodes,
            episode_return=self.episode_return,
            episode_length=self.episode_length,
            episode_over=self.episode_over,
            last_line=header.env_steps if self.last_line is None else self.last_line,
            reward_rate=self.reward_rate,
            best_mean_return=header.best_mean_return,
            returns=deque(header.recent_returns, _WINDOW),
            lengths=deque(self.lengths, _WINDOW),
            successes=deque(self.successes, _WINDOW),
            interval=Interval(**self.interval.model_dump()),
            last_look=header.env_steps if self.last_look is None else self.last_look,
            watched=Interval(**self.watched.model_dump()),
            guards=Guards(**self.guards.model_dump()),
        )
