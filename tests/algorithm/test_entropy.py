"""β: its schedule, and the floor under the entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from specs import DISCRETE, settings_for, vector_spec

from a2c_cli.algorithm.entropy import EntropyBonus
from a2c_cli.algorithm.schedules import entropy_schedule

MOST = math.log(4)


def bonus(**values: float) -> EntropyBonus:
    return EntropyBonus(settings_for(vector_spec(3, DISCRETE), **values), MOST)


def test_above_the_floor_the_schedule_rules() -> None:
    settings = settings_for(vector_spec(), entropy_coef=0.01, entropy_coef_end=0.001)
    mine = EntropyBonus(settings, MOST)
    for progress in (0.0, 0.3, 0.9, 1.0):
        assert mine.update(0.9 * MOST, progress) == entropy_schedule(settings)(progress)


def test_below_the_floor_beta_grows_by_its_rule_until_the_entropy_is_back() -> None:
    mine = bonus(entropy_coef=0.0, entropy_floor=0.5, entropy_floor_end=0.5)
    log_b = math.log(1e-3)
    for share in (0.1, 0.2, 0.0, 0.45, 0.7):
        log_b += 0.05 * (0.5 - share)
        assert mine.update(share * MOST, 0.0) == pytest.approx(math.exp(log_b))


def test_the_floor_falls_over_the_budget() -> None:
    for progress, grows in ((0.0, True), (0.5, True), (1.0, False)):
        mine = bonus(entropy_coef=0.0, entropy_floor=0.3, entropy_floor_end=0.05)
        first = mine.update(0.1 * MOST, progress)
        assert (mine.update(0.1 * MOST, progress) > first) == grows


def test_the_multiplier_stays_within_its_bounds() -> None:
    low, high = (bonus(entropy_coef=0.0, entropy_floor=0.9, entropy_floor_end=0.9) for _ in "ab")
    for _ in range(2000):
        small, large = low.update(MOST, 0.0), high.update(0.0, 0.0)
    assert (small, large) == (pytest.approx(8e-4, rel=1.0), pytest.approx(0.1))


def test_without_a_floor_or_a_greatest_entropy_there_is_the_schedule_alone() -> None:
    settings = settings_for(vector_spec(), entropy_coef=0.02)
    for mine in (
        EntropyBonus(settings, None),
        EntropyBonus(settings, 0.0),  # one action
        bonus(entropy_coef=0.02, entropy_floor=0.0),
    ):
        assert mine.update(-5.0, 0.0) == 0.02
        assert mine.get_state() == {}


def test_its_state_is_resumed_exactly_and_a_damaged_one_is_refused() -> None:
    one, other = bonus(entropy_coef=0.0), bonus(entropy_coef=0.0)
    for share in (0.0, 0.1, 0.2):
        one.update(share, 0.1)
    other.set_state(one.get_state())
    assert other.update(0.05, 0.2) == one.update(0.05, 0.2)
    for value in (math.nan, 1e9, -1e9):
        with pytest.raises(ValueError, match="multiplier"):
            other.set_state({"learner.entropy_multiplier": np.array([value])})
