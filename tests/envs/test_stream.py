"""The endless loop: order of calls, episode ends, lives."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from a2c_cli.envs.stream import play


class Tape:
    """A stream that writes down what happens to it; episodes of `length` steps."""

    def __init__(self, length: int = 3, truncates: bool = False) -> None:
        self.length, self.truncates = length, truncates
        self.log: list[str] = []
        self.age = self.game = 0
        self.success: bool | None = None

    @property
    def lives(self) -> int:
        return 3 - self.age // 2

    def reset(self) -> Any:
        self.log.append("reset")
        self.age, self.game = 0, self.game + 1
        return np.array([self.game, 0])

    def step(self, action: int) -> Any:
        self.log.append(f"step {action}")
        self.age += 1
        over = self.age == self.length
        return (np.array([self.game, self.age]), float(action), over and not self.truncates,
                over and self.truncates)  # fmt: skip


def test_acts_once_a_step_on_the_newest_observation() -> None:
    seen = []

    def act(obs: Any) -> int:
        seen.append(obs.tolist())
        return len(seen)

    steps = list(islice(play(Tape(), act), 7))
    assert seen == [[1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2], [3, 0]]
    assert [s.action for s in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [s.reward for s in steps] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert [s.terminated for s in steps] == [False, False, True] * 2 + [False]


def test_the_last_observation_of_an_episode_is_the_one_before_the_reset() -> None:
    for truncates in (False, True):
        steps = list(islice(play(Tape(truncates=truncates), lambda _: 0), 4))
        assert [s.next_obs.tolist() for s in steps] == [[1, 1], [1, 2], [1, 3], [2, 1]]
        assert steps[2].truncated == truncates
        assert steps[2].episode_over


def test_the_reset_waits_until_the_next_step_is_asked_for() -> None:
    tape = Tape()
    stream = play(tape, lambda _: 0)
    list(islice(stream, 3))
    assert tape.log == ["reset", "step 0", "step 0", "step 0"]
    next(stream)
    assert tape.log[4:] == ["reset", "step 0"]


def test_goes_on_in_mid_episode_without_a_reset() -> None:
    tape = Tape()
    obs = tape.reset()
    tape.log.clear()
    next(play(tape, lambda _: 0, obs))
    assert tape.log == ["step 0"]


def test_a_lost_life_is_told_and_resets_nothing() -> None:
    tape = Tape(length=6)
    steps = list(islice(play(tape, lambda _: 0), 6))
    assert [s.life_lost for s in steps] == [False, True] * 3
    assert tape.log.count("reset") == 1


def test_more_lives_after_a_reset_are_not_a_lost_life() -> None:
    steps = list(islice(play(Tape(length=3), lambda _: 0), 5))
    assert [s.life_lost for s in steps] == [False, True, False, False, True]
