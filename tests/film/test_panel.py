"""The panel says what was decided, and says it in the same place every time: measured in pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from specs import DISCRETE, MULTI, REAL

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.film.canvas import BACKGROUND, BOX, POLICY, VALUE, enlarge, lights, tint
from a2c_cli.film.panel import CURVE, Moment, Panel
from a2c_cli.film.policy_bars import BAR, TAKEN, Chance, Spread, make_bars
from a2c_cli.policies.distributions import entropy

ATARI = (420, 320)  # a screen of 210 x 160, twice


def chances(*probabilities: float, taken: int = 0) -> list[Chance]:
    return [Chance(str(i), p, i == taken) for i, p in enumerate(probabilities)]


def moment(bars: Any, value: float = 0.0, score: float = 0.0, entropy: float = 0.0) -> Moment:
    return Moment(score, 0, value, entropy, bars)


def where(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    """(n, 2): bar and column of every pixel of exactly this colour."""
    return np.argwhere((picture == colour).all(axis=2))


def bars_of(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> list[int]:
    """Lengths of the bars below the head line of the policy, from top to bottom."""
    found = where(picture, colour)
    found = found[found[:, 0] > 255]
    rows = sorted(set(found[:, 0].tolist()))
    starts = [r for r in rows if r - 1 not in rows]
    return [int(np.ptp(found[found[:, 0] == r + 1][:, 1])) + 1 for r in starts]


def test_a_bar_is_as_long_as_its_action_is_probable() -> None:
    panel = Panel("Game", "sampled", DISCRETE, ATARI)
    picture = panel.draw(moment(chances(0.5, 0.25, 0.125, 0.125, taken=1)))
    long, *short = bars_of(picture, BAR)
    (taken,) = bars_of(picture, TAKEN)
    bar = picture[where(picture, TAKEN)[:, 0].max()]  # the second bar, which is half as long
    empty = int((bar == BOX).all(axis=1).sum())
    assert (taken - 1) / (taken + empty - 1) == pytest.approx(0.25, abs=0.006)
    assert taken == pytest.approx(long / 2, abs=1.5)
    assert short == pytest.approx([long / 4, long / 4], abs=1.5)
    whole = bars_of(panel.draw(moment(chances(1.0, 0.0, 0.0, 0.0))), TAKEN)
    assert whole == pytest.approx([2 * long], abs=1.5)


def test_the_entropy_is_drawn_as_a_share_of_its_maximum() -> None:
    lengths = []
    for share in (1.0, 0.5):
        panel = Panel("Game", "sampled", DISCRETE, ATARI)
        bars = chances(1.0, 0.0, 0.0, 0.0)
        found = where(panel.draw(moment(bars, entropy=share * math.log(4))), BAR)
        lengths.append(np.ptp(found[found[:, 0] < 230][:, 1]) + 1)
    assert lengths[1] == pytest.approx(lengths[0] / 2, abs=1.5)


def test_values_that_are_not_in_reward_units_say_so() -> None:
    bars = chances(0.25, 0.25, 0.25, 0.25)
    plain, scaled = (
        Panel("Game", "sampled", DISCRETE, ATARI, value_unit=unit).draw(moment(bars))
        for unit in ("", "scaled")
    )
    rows = np.flatnonzero((plain != scaled).any(axis=(1, 2)))
    assert rows.size
    assert 100 < rows.min() <= rows.max() < 122


def test_the_newest_value_is_at_the_right_end_of_a_curve_that_moves_left() -> None:
    panel = Panel("Game", "sampled", DISCRETE, ATARI)
    bars = chances(0.25, 0.25, 0.25, 0.25)

    def curve(value: float) -> NDArray[np.int64]:
        found = where(panel.draw(moment(bars, value)), CURVE)
        return found[(found[:, 0] > 123) & (found[:, 0] < 184)]

    for value in [0.0] * 100:
        flat = curve(value)
    assert np.ptp(flat[:, 0]) < 8  # the line and the point at its end
    high = curve(1.0)
    newest = high[high[:, 1] > flat[:, 1].max() - 4]
    assert newest[:, 0].min() < 132  # the highest value so far: at the top of the box
    for _ in range(60):
        later = curve(0.0)
    peak = later[later[:, 0] < 132]
    step = (panel.draw(moment(bars)).shape[1] - 32 - 12) / 149
    assert flat[:, 1].max() - peak[:, 1].mean() == pytest.approx(60 * step, abs=5)


def test_nothing_but_what_is_shown_moves() -> None:
    panel = Panel("Game", "greedy", DISCRETE, ATARI)
    first = panel.draw(moment(chances(0.7, 0.1, 0.1, 0.1), value=1.0)).copy()
    again = panel.redraw(moment(chances(0.7, 0.1, 0.1, 0.1), value=1.0))
    np.testing.assert_array_equal(first, again)
    other = panel.draw(moment(chances(0.1, 0.1, 0.1, 0.7, taken=3), value=-55.5, score=12345.0))
    assert other.shape == first.shape
    still = np.s_[:56]  # title and head lines
    np.testing.assert_array_equal(first[still], other[still])
    assert (first != other).any()


@pytest.mark.parametrize("frame", [(420, 320), (96, 81), (801, 1201), (1200, 31)])
@pytest.mark.parametrize("action", [DISCRETE, MULTI, REAL], ids=["discrete", "multi", "real"])
def test_every_frame_and_policy_gives_a_whole_picture_with_even_sides(
    frame: tuple[int, int], action: ActionSpec
) -> None:
    panel = Panel("Game", "sampled", action, frame, legend=True)
    outputs = np.zeros(action.outputs, np.float32)
    taken = {"discrete": 1, "multidiscrete": np.array([1, 2])}.get(action.kind, outputs)
    log_std = np.zeros(2, np.float32)
    bars = make_bars(action, outputs, log_std, taken)
    picture = panel.draw(moment(bars, entropy=entropy(action, outputs, log_std)))
    game = np.full((*frame, 3), 200, np.uint8)
    whole = panel.compose(game, picture)
    height, width, _ = whole.shape
    assert height % 2 == width % 2 == 0
    assert height >= frame[0]
    top = (height - frame[0]) // 2
    np.testing.assert_array_equal(whole[top : top + frame[0], : frame[1]], game)
    assert len(where(whole, POLICY)) > 20
    assert len(where(picture, TAKEN)) > 4


@pytest.mark.parametrize("count", [9, 10, 18])
def test_every_action_of_a_game_has_a_bar(count: int) -> None:
    action = ActionSpec("discrete", (count,), start=(0,))
    bars = chances(*[1 / count] * count)
    picture = Panel("Game", "sampled", action, ATARI, legend=True).draw(moment(bars))
    halves = [picture] if count == 9 else np.array_split(picture, 2, axis=1)
    assert sum(len(bars_of(h, BAR)) + len(bars_of(h, TAKEN)) for h in halves) == count


def test_of_more_actions_than_fit_the_most_probable_are_shown() -> None:
    action = ActionSpec("discrete", (500,), start=(0,))
    bars = chances(*[0.0] * 499, 1.0, taken=499)
    picture = Panel("Game", "sampled", action, ATARI).draw(moment(bars))
    (length,) = bars_of(picture, TAKEN)
    assert length > 40
    assert where(picture, TAKEN)[:, 0].max() < 420


def test_large_numbers_stay_in_their_place() -> None:
    bars = chances(0.25, 0.25, 0.25, 0.25)
    pictures = []
    for value in (1.5, -3.4e38):
        panel = Panel("Game", "sampled", DISCRETE, ATARI)
        pictures.append(panel.draw(moment(bars, value, score=1e300)))
    head = np.s_[102:121, :52]  # the word that stands before the value
    np.testing.assert_array_equal(pictures[0][head], pictures[1][head])
    assert (pictures[1][60:95, 206:230] == BACKGROUND).all()  # between score and step


def test_bars_of_a_categorical_policy() -> None:
    named = ActionSpec("discrete", (2,), meanings=("NOOP", "UPFIRE"), start=(0,))
    bars = make_bars(named, np.array([0.0, math.log(3)], np.float32), None, 1)
    assert [(r.name, r.taken) for r in bars] == [("NOOP", False), ("UPFIRE", True)]  # type: ignore[union-attr]
    assert [r.probability for r in bars] == pytest.approx([0.25, 0.75])  # type: ignore[union-attr]
    bars = make_bars(MULTI, np.zeros(5, np.float32), None, np.array([1, 0]))
    assert [r.name for r in bars] == ["0: 0", "0: 1", "1: 0", "1: 1", "1: 2"]
    assert [r.taken for r in bars] == [False, True, True, False, False]
    assert [r.probability for r in bars] == pytest.approx([1 / 2] * 2 + [1 / 3] * 3)  # type: ignore[union-attr]


def test_bars_of_a_gaussian_policy_are_in_the_environments_units() -> None:
    mean = np.array([0.5, -0.5], np.float32)
    bars = make_bars(REAL, mean, np.log(np.array([0.1, 0.2], np.float32)), np.array([1.0, 0.0]))
    first, second = bars
    assert isinstance(first, Spread)
    assert isinstance(second, Spread)
    # The bounds are [-2, 2] and [0, 10]: half their ranges 2 and 5, the middles 0 and 5.
    assert (first.low, first.high, second.low, second.high) == (-2.0, 2.0, 0.0, 10.0)
    assert [first.mean, second.mean] == pytest.approx([1.0, 2.5])
    assert [first.deviation, second.deviation] == pytest.approx([0.2, 1.0])
    assert [first.taken, second.taken] == pytest.approx([2.0, 5.0])


def test_a_gaussians_band_mean_and_action_are_where_they_belong() -> None:
    action = ActionSpec("continuous", (1,), (1,), "float32", low=(-1.0,), high=(1.0,))
    bars = [Spread("action 0", -1.0, 1.0, 0.0, 0.5, 1.0)]
    picture = Panel("Game", "sampled", action, ATARI).draw(moment(bars))
    ground = where(picture[257:], BOX)[:, 1]
    band, taken = where(picture[257:], BAR)[:, 1], where(picture[257:], TAKEN)[:, 1]
    left, right = ground.min(), taken.mean()  # the action is at the upper bound
    assert (band.min() - left) / (right - left) == pytest.approx(0.25, abs=0.03)
    assert (band.max() - left) / (right - left) == pytest.approx(0.75, abs=0.03)


def test_light_falls_where_the_saliency_is_and_nowhere_else() -> None:
    frame = np.full((42, 32, 3), 100, np.uint8)
    saliency = np.zeros((2, 84, 84), np.float32)
    saliency[0, :28, :28] = 1.0  # the policy's, upper left; the value's, lower right
    saliency[1, 56:, 56:] = 1.0
    lit = tint(frame, lights(saliency, frame))
    expected = 100 + 0.75 * (np.array([POLICY, VALUE], float) - 100)
    np.testing.assert_allclose(lit[4, 4], expected[0], atol=1)
    np.testing.assert_allclose(lit[-4, -4], expected[1], atol=1)
    np.testing.assert_array_equal(lit[21, 16], frame[21, 16])
    assert (frame == 100).all()


def test_enlarging_repeats_pixels() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    np.testing.assert_array_equal(enlarge(frame, 3), frame.repeat(3, 0).repeat(3, 1))


def test_a_title_from_a_strangers_file_stays_in_its_place() -> None:
    bars = chances(1.0, 0.0, 0.0, 0.0)
    usual = Panel("Game", "sampled", DISCRETE, ATARI).draw(moment(bars))
    long = Panel("W\x1b" * 500, "sampled", DISCRETE, ATARI).draw(moment(bars))
    np.testing.assert_array_equal(usual[40:], long[40:])
    np.testing.assert_array_equal(usual[:, -80:], long[:, -80:])
