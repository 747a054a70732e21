"""Schedules: closed forms, and what must hold for every schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2c_cli.algorithm.schedules import SHAPES, Schedule


@pytest.mark.parametrize(
    ("shape", "middle"),
    [("constant", 1.0), ("linear", 0.505), ("exponential", 0.1)],
)
def test_value_halfway(shape: str, middle: float) -> None:
    assert Schedule(1.0, 0.01, shape)(0.5) == pytest.approx(middle)


def test_linear_quarter_points() -> None:
    schedule = Schedule(0.8, 0.0)
    assert [schedule(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.8, 0.6, 0.4, 0.2, 0.0]
    )


def test_it_has_reached_its_end_where_it_is_told_to() -> None:
    schedule = Schedule(1.0, 0.2, "linear", hold=0.1, until=0.5)
    assert [schedule(p) for p in (0.1, 0.3, 0.5, 0.7, 1.0)] == pytest.approx(
        [1.0, 0.6, 0.2, 0.2, 0.2]
    )
    with pytest.raises(ValueError, match="until"):
        Schedule(1.0, 0.0, hold=0.5, until=0.5)


def test_hold_keeps_the_start_then_decays_over_the_rest() -> None:
    schedule = Schedule(1.0, 0.0, "linear", hold=0.2)
    assert schedule(0.1) == schedule(0.2) == 1.0
    assert schedule(0.6) == pytest.approx(0.5)
    assert schedule(1.0) == 0.0


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    positive = st.floats(1e-9, 10)
    end, start = sorted((draw(positive), draw(positive)))
    return Schedule(start, end, draw(st.sampled_from(SHAPES)), draw(st.floats(0, 0.99)))


@given(schedules(), st.floats(0, 3))
def test_never_leaves_the_range_between_start_and_end(s: Schedule, progress: float) -> None:
    slack = 1e-12 * s.start
    assert s.end - slack <= s(progress) <= s.start + slack


@given(schedules(), st.floats(0, 2), st.floats(0, 2))
def test_never_rises_when_it_ends_below_its_start(s: Schedule, one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert s(late) <= s(early) + 1e-12 * s.start


@given(schedules(), st.floats(0, 1))
def test_nothing_happens_during_the_hold(s: Schedule, share: float) -> None:
    assert s(share * s.hold) == pytest.approx(s.start, rel=1e-12)


@given(schedules(), st.floats(1, 1e6))
def test_an_overrun_budget_stays_exactly_at_the_end(s: Schedule, progress: float) -> None:
    assert s(progress) == (s.start if s.shape == "constant" else s.end)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": "quadratic"},
        {"hold": 1.0},
        {"hold": -0.1},
        {"shape": "exponential", "end": 0.0},
        {"shape": "exponential", "start": 0.0},
    ],
)
def test_impossible_schedules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"shape|hold|exponential"):
        Schedule(**{"start": 1.0, "end": 0.1, **wrong})
