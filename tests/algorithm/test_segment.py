"""Segments: T transitions, T+1 observations, and a state that is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from specs import DISCRETE, MULTI, REAL, pixel_spec, vector_spec

from a2c_cli.algorithm.segment import Segment

SPECS = {
    "discrete": vector_spec(2, DISCRETE),
    "multidiscrete": vector_spec(2, MULTI),
    "continuous": vector_spec(2, REAL),
    "pixels": pixel_spec(shape=(1, 36, 36)),
}
ACTIONS: dict[str, Any] = {
    "discrete": 3,
    "multidiscrete": np.array([1, 2]),
    "continuous": np.array([0.25, -4.0], np.float32),
    "pixels": 1,
}


def fill(segment: Segment, name: str, steps: int, first: int = 0) -> None:
    spec = SPECS[name]
    for t in range(first, first + steps):
        segment.begin(np.full(spec.obs_shape, t, spec.obs_dtype), ACTIONS[name])
        segment.end(float(t) / 2, terminated=t % 3 == 2)


@pytest.mark.parametrize("name", SPECS)
def test_holds_what_was_put_in(name: str) -> None:
    segment = Segment(SPECS[name], 5)
    fill(segment, name, 5)
    segment.close(np.full(SPECS[name].obs_shape, 99, SPECS[name].obs_dtype))
    first = segment.observations.reshape(6, -1)[:, 0]
    assert first.tolist() == [0, 1, 2, 3, 4, 99]
    assert segment.observations.dtype == SPECS[name].obs_dtype
    assert segment.rewards.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert segment.terminated.tolist() == [0, 0, 1, 0, 0]
    for action in segment.actions:
        np.testing.assert_array_equal(action, ACTIONS[name])
    assert segment.actions.dtype == (np.float32 if name == "continuous" else np.int64)
    assert segment.actions.shape == (5, *np.shape(ACTIONS[name]))


def test_copies_observations_so_that_a_stream_may_reuse_its_array() -> None:
    segment = Segment(SPECS["discrete"], 2)
    obs = np.zeros(2, np.float32)
    segment.begin(obs, 0)
    obs += 7
    segment.end(0.0, terminated=False)
    assert segment.observations[0].tolist() == [0, 0]


def test_is_full_after_its_length() -> None:
    segment = Segment(SPECS["discrete"], 3)
    for t in range(3):
        assert not segment.full
        fill(segment, "discrete", 1, t)
    assert segment.full
    segment.clear()
    assert not segment.full
    assert len(segment.rewards) == 0
    assert len(segment.observations) == 1


def test_a_segment_without_length_grows_with_its_episode() -> None:
    segment = Segment(SPECS["discrete"], 0)
    fill(segment, "discrete", 1000)
    segment.close(np.full(2, -1, np.float32))
    assert not segment.full
    assert segment.observations[:, 0].tolist() == [*range(1000), -1]
    assert segment.rewards.tolist() == [t / 2 for t in range(1000)]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("steps", [0, 1, 3, 5])
def test_state_goes_on_exactly_in_a_fresh_segment(name: str, steps: int) -> None:
    whole, before, after = (Segment(SPECS[name], 5) for _ in range(3))
    fill(whole, name, 5)
    fill(before, name, steps)
    state = before.get_state(closed=True)
    fill(before, name, 5 - steps, 40)  # what happens later must not reach the state
    after.set_state(state)
    assert after.steps == steps
    fill(after, name, 5 - steps, steps)
    for part in ("observations", "actions", "rewards", "terminated"):
        np.testing.assert_array_equal(getattr(after, part)[:5], getattr(whole, part)[:5])


def test_state_of_a_long_episode_goes_on_in_a_fresh_segment() -> None:
    before, after = Segment(SPECS["discrete"], 0), Segment(SPECS["discrete"], 0)
    fill(before, "discrete", 700)
    after.set_state(before.get_state(closed=True))
    fill(after, "discrete", 300, 700)
    assert after.rewards.tolist() == [t / 2 for t in range(1000)]


def test_a_state_of_another_segment_is_refused() -> None:
    segment = Segment(SPECS["discrete"], 5)
    fill(segment, "discrete", 5)
    state = segment.get_state(closed=True)
    with pytest.raises(ValueError, match="5 steps"):
        Segment(SPECS["discrete"], 4).set_state(state)
    with pytest.raises(ValueError, match="shape"):
        Segment(vector_spec(3), 5).set_state(state)
    with pytest.raises(ValueError, match="actions"):
        Segment(SPECS["multidiscrete"], 5).set_state(state)
    with pytest.raises(KeyError):
        segment.set_state({k: v for k, v in state.items() if k != "rewards"})


@pytest.mark.parametrize("action", [-1, 2**62])
@pytest.mark.parametrize("name", [n for n, spec in SPECS.items() if not spec.continuous])
def test_actions_that_there_are_not_are_refused(name: str, action: int) -> None:
    segment = Segment(SPECS[name], 5)
    fill(segment, name, 3)
    state = segment.get_state(closed=False)
    Segment(SPECS[name], 5).set_state(state)
    state["actions"][1] = action
    with pytest.raises(ValueError, match="actions that there are not"):
        Segment(SPECS[name], 5).set_state(state)
