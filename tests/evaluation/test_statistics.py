"""Robust means, bootstrap intervals and normalisation, against closed forms and slow twins."""

from __future__ import annotations

import json
import math
import statistics as stdlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2c_cli.evaluation import statistics
from a2c_cli.evaluation.statistics import (
    bootstrap_ci,
    human_normalized,
    iqm,
    stratified_bootstrap_ci,
    summarize,
    wilson_ci,
)

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
SAMPLES = st.lists(NUMBERS, min_size=1, max_size=40)


def slow_iqm(values: list[float]) -> float:
    ordered, cut = sorted(values), int(0.25 * len(values))
    return math.fsum(ordered[cut : len(values) - cut]) / (len(values) - 2 * cut)


# --- shares


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (50, 100)])
def test_the_ends_of_wilson_s_interval_are_as_far_as_a_score_test_allows(
    successes: int, n: int
) -> None:
    low, high = wilson_ci(successes, n)
    assert low <= successes / n <= high
    for end in {low, high} - {0.0, 1.0}:  # |p̂ - p| = z √(p (1 - p) / n)
        far = abs(successes / n - end) / math.sqrt(end * (1 - end) / n)
        assert far == pytest.approx(stdlib.NormalDist().inv_cdf(0.975))
    with pytest.raises(ValueError, match="cannot have succeeded"):
        wilson_ci(n + 1, n)


# --- iqm


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([0.0, 1.0, 5.0], 2.0),  # three values: nothing is trimmed
        ([0.0, 1.0, 3.0, 1000.0], 2.0),
        ([8.0, 1.0, 6.0, 3.0, 5.0, 4.0, 7.0, 2.0], 4.5),
        # ten values: 2.5 from either end is rounded down to 2, as scipy's trim_mean does
        ([-1000.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0, 11.0, 12.0], 5.0),
    ],
)
def test_iqm_closed_forms(values: list[float], expected: float) -> None:
    assert iqm(values) == pytest.approx(expected)


@settings(deadline=None)  # a busy machine is not a fault
@given(SAMPLES)
def test_iqm_equals_a_sort(values: list[float]) -> None:
    assert iqm(values) == pytest.approx(slow_iqm(values), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("n", [1000, 1001, 1002, 1003])
def test_iqm_of_many_values_equals_a_sort(n: int) -> None:
    # Small arrays are sorted whole by NumPy's partition: only a large one can tell.
    x = np.random.default_rng(n).lognormal(size=n)
    assert iqm(x) == pytest.approx(slow_iqm(x.tolist()), rel=1e-12)


@settings(deadline=None)
@given(SAMPLES, st.randoms(use_true_random=False), st.floats(-10, 10), NUMBERS)
def test_iqm_ignores_order_and_follows_units(
    values: list[float], shuffler: Any, factor: float, shift: float
) -> None:
    shuffled = shuffler.sample(values, len(values))
    changed = [factor * v + shift for v in shuffled]
    assert iqm(changed) == pytest.approx(factor * iqm(values) + shift, rel=1e-6, abs=1e-4)
    assert min(values) - 1e-6 <= iqm(values) <= max(values) + 1e-6


def test_iqm_ignores_the_outer_quarters() -> None:
    assert iqm([1, 2, 3, 4, 5, 6, 7, 1e9]) == iqm([-1e9, 2, 3, 4, 5, 6, 7, 8])


def test_iqm_along_an_axis_or_pooled() -> None:
    x = np.random.default_rng(0).normal(size=(6, 11))
    np.testing.assert_allclose(iqm(x, axis=1), [slow_iqm(list(row)) for row in x])
    np.testing.assert_allclose(iqm(x, axis=0), [slow_iqm(list(column)) for column in x.T])
    assert iqm(x) == pytest.approx(slow_iqm(list(x.ravel())))


def test_iqm_leaves_its_input_alone() -> None:
    x = np.array([3.0, 1.0, 2.0, 9.0, 4.0])
    iqm(x)
    assert x.tolist() == [3.0, 1.0, 2.0, 9.0, 4.0]


# --- bootstrap


def test_interval_of_the_mean_of_coin_flips() -> None:
    # The mean of a resample is Binomial(10, ½) / 10, whose 2.5 % and 97.5 % quantiles are
    # 2 and 8: P(X ≤ 1) = 0.011, P(X ≤ 2) = 0.055.
    assert bootstrap_ci([0, 1] * 5) == pytest.approx((0.2, 0.8))
    # P(X ≤ 3) = 0.17, P(X ≤ 4) = 0.38: the 25 % quantile is 4.
    assert bootstrap_ci([0, 1] * 5, level=0.5) == pytest.approx((0.4, 0.6))


def test_interval_of_the_mean_is_normal_for_many_values() -> None:
    x = np.random.default_rng(3).exponential(size=2500)
    half = 1.95996 * x.std() / math.sqrt(len(x))
    low, high = bootstrap_ci(x, resamples=8000)
    assert low == pytest.approx(x.mean() - half, abs=0.06 * half)
    assert high == pytest.approx(x.mean() + half, abs=0.06 * half)


def test_interval_equals_a_slow_loop() -> None:
    x = list(np.random.default_rng(4).lognormal(size=21))
    rng = np.random.default_rng(99)
    slow = [stdlib.median(rng.choice(x, size=21).tolist()) for _ in range(4000)]
    expected = np.quantile(slow, [0.1, 0.9])
    found = bootstrap_ci(x, np.median, level=0.8, resamples=4000)
    spread = float(np.std(slow))
    assert found == pytest.approx(expected, abs=0.2 * spread)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_interval_covers_the_true_mean_as_often_as_it_says(level: float) -> None:
    rng = np.random.default_rng(5)
    trials = 600
    covered = 0
    for trial in range(trials):
        low, high = bootstrap_ci(
            rng.normal(2.0, 3.0, size=40), level=level, resamples=400, seed=trial
        )
        covered += low <= 2.0 <= high
    # Three standard errors of the simulation, and 2 % that the method is known to fall short.
    slack = 3.0 * math.sqrt(level * (1 - level) / trials)
    assert level - slack - 0.02 <= covered / trials <= level + slack


@settings(deadline=None)
@given(SAMPLES, st.integers(0, 2**32))
def test_interval_of_the_mean_stays_inside_the_sample(values: list[float], seed: int) -> None:
    low, high = bootstrap_ci(values, resamples=50, seed=seed)
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6


def test_wider_level_gives_a_wider_interval() -> None:
    x = np.random.default_rng(6).normal(size=30)
    outer, inner = bootstrap_ci(x, level=0.99), bootstrap_ci(x, level=0.8)
    assert outer[0] < inner[0] < inner[1] < outer[1]


def test_the_seed_decides_the_draws() -> None:
    x = np.random.default_rng(7).normal(size=30)
    assert bootstrap_ci(x) == bootstrap_ci(x, seed=0) != bootstrap_ci(x, seed=1)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [np.random.default_rng(8).normal(size=n) for n in (5, 9)]
    whole = stratified_bootstrap_ci(groups, iqm, resamples=101)
    sizes: list[int] = []

    def spy(a: Any, *, axis: int) -> Any:
        sizes.append(a.size)
        return iqm(a, axis=axis)

    monkeypatch.setattr(statistics, "_BLOCK_ELEMENTS", 100)
    assert stratified_bootstrap_ci(groups, spy, resamples=101) == pytest.approx(whole)
    assert max(sizes) <= 100
    assert sum(sizes) == 101 * 14


def test_a_sample_larger_than_a_block_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_BLOCK_ELEMENTS", 3)
    assert bootstrap_ci([4.0] * 10, resamples=7) == (4.0, 4.0)


# --- stratified bootstrap


def test_spread_between_games_does_not_widen_the_interval() -> None:
    games = [[0.0] * 5, [10.0] * 5, [200.0] * 5]
    assert stratified_bootstrap_ci(games) == (70.0, 70.0)
    low, high = bootstrap_ci(np.concatenate(games))
    assert high - low > 50.0  # what pooling without strata would claim


def test_stratified_variance_has_its_closed_form() -> None:
    # Var = Σ n_g · σ_g² / N² for the pooled mean.
    rng = np.random.default_rng(9)
    games = [rng.normal(m, s, size=n) for m, s, n in [(0, 1, 80), (50, 4, 40), (-9, 2, 160)]]
    pooled = np.concatenate(games)
    sigma = math.sqrt(sum(len(g) * g.var() for g in games)) / len(pooled)
    low, high = stratified_bootstrap_ci(games, resamples=8000)
    assert low == pytest.approx(pooled.mean() - 1.95996 * sigma, abs=0.12 * sigma)
    assert high == pytest.approx(pooled.mean() + 1.95996 * sigma, abs=0.12 * sigma)


def test_stratified_interval_equals_a_slow_loop() -> None:
    rng = np.random.default_rng(10)
    games = [rng.lognormal(m, 1.0, size=n) for m, n in [(0.0, 5), (1.0, 10), (2.0, 3)]]
    slow = [
        slow_iqm([v for g in games for v in rng.choice(g, size=len(g)).tolist()])
        for _ in range(4000)
    ]
    found = stratified_bootstrap_ci(games, iqm, level=0.9, resamples=4000)
    assert found == pytest.approx(np.quantile(slow, [0.05, 0.95]), abs=0.15 * float(np.std(slow)))


def test_stratified_interval_covers_the_true_value() -> None:
    rng = np.random.default_rng(11)
    means = np.array([0.0, 5.0, -3.0, 40.0])
    trials, covered = 400, 0
    for trial in range(trials):
        games = list(rng.normal(means[:, None], 1.0, size=(4, 15)))
        low, high = stratified_bootstrap_ci(games, resamples=300, seed=trial)
        covered += low <= means.mean() <= high
    # 15 seeds a game: each σ_g is short by √(14 / 15), so about 94 % is due.
    assert 0.90 <= covered / trials <= 0.975


@pytest.mark.parametrize(
    ("games", "seeds", "due"), [(1, 3, 0.73), (5, 3, 0.85), (5, 5, 0.89), (1, 40, 0.945)]
)
def test_coverage_of_the_iqm_of_few_seeds_is_what_the_readme_says(
    games: int, seeds: int, due: float
) -> None:
    # The truth is the expected IQM of such a table, which is the middle of the games by symmetry.
    rng = np.random.default_rng(13)
    levels = np.linspace(-2.0, 2.0, games) if games > 1 else np.zeros(1)
    trials, covered = 500, 0
    for trial in range(trials):
        table = list(rng.normal(levels[:, None], 1.0, size=(games, seeds)))
        low, high = stratified_bootstrap_ci(table, iqm, resamples=300, seed=trial)
        covered += low <= 0.0 <= high
    assert covered / trials == pytest.approx(due, abs=3.0 * math.sqrt(due * (1 - due) / trials))


def test_games_with_equal_scores_are_drawn_independently() -> None:
    # With one stream shared by both games the mean would have the variance of one game.
    game = np.random.default_rng(12).normal(size=200)
    one, two = bootstrap_ci(game), stratified_bootstrap_ci([game, game])
    assert (two[1] - two[0]) / (one[1] - one[0]) == pytest.approx(math.sqrt(0.5), rel=0.1)


# --- human-normalized scores


def test_human_normalized_closed_forms() -> None:
    assert human_normalized(1.7, 1.7, 30.5) == 0.0
    assert human_normalized(30.5, 1.7, 30.5) == 1.0
    assert human_normalized(-16.4 + 2.2, -18.6, -16.4) == pytest.approx(2.0)
    assert isinstance(human_normalized(3, 1, 2), float)


def test_human_normalized_broadcasts() -> None:
    scores = np.array([[1.0, 3.0], [5.0, 10.0]])
    found = human_normalized(scores, [1.0, 0.0], [3.0, 10.0])
    np.testing.assert_allclose(found, [[0.0, 0.3], [2.0, 1.0]])


@settings(deadline=None)
@given(NUMBERS, NUMBERS, st.floats(1, 1e6))
def test_human_normalized_can_be_undone(score: float, random: float, gap: float) -> None:
    human = random + gap
    back = random + human_normalized(score, random, human) * (human - random)
    assert back == pytest.approx(score, rel=1e-9, abs=1e-6)


# --- summary


def test_summary_of_a_known_sample() -> None:
    found = summarize([1.0, 2.0, 3.0, 10.0])
    assert list(found) == ["mean", "std", "median", "iqm", "min", "max", "ci95"]
    assert found["mean"] == 4.0
    assert found["std"] == pytest.approx(math.sqrt(12.5))  # divided by n = 4, not by 3
    assert found["median"] == found["iqm"] == 2.5
    assert (found["min"], found["max"]) == (1.0, 10.0)
    assert found["ci95"] == list(bootstrap_ci([1.0, 2.0, 3.0, 10.0]))
    assert json.loads(json.dumps(found)) == found


def test_summary_takes_arrays_of_other_types() -> None:
    x = np.array([3, 1, 2], dtype=np.int32)
    assert summarize(x) == summarize([3.0, 1.0, 2.0])
    assert json.dumps(summarize(np.array([1, 2], dtype=np.float32)))


def test_summary_of_one_episode() -> None:
    found = summarize([7.0])
    assert found.pop("std") == 0.0
    assert found.pop("ci95") == [7.0, 7.0]
    assert set(found.values()) == {7.0}


# --- errors

ON_ONE_SAMPLE: list[Callable[[Any], Any]] = [
    iqm,
    bootstrap_ci,
    lambda x: stratified_bootstrap_ci([[1.0, 2.0], x]),
    lambda x: human_normalized(x, 0.0, 1.0),
    summarize,
]


@pytest.mark.parametrize("function", ON_ONE_SAMPLE)
@pytest.mark.parametrize("bad", [[], [math.nan], [1.0, math.inf], [1.0, -math.inf, 2.0]])
def test_empty_and_non_finite_input_is_refused(function: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(ValueError, match=r"empty|NaN or infinity"):
        function(bad)


@pytest.mark.parametrize("function", [bootstrap_ci, summarize])
@pytest.mark.parametrize("bad", [3.0, [[1.0, 2.0], [3.0, 4.0]]])
def test_a_sample_must_be_a_vector(function: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        function(bad)


def test_no_groups_at_all() -> None:
    with pytest.raises(ValueError, match="groups is empty"):
        stratified_bootstrap_ci([])


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95.0, math.nan])
def test_level_must_be_a_probability(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        bootstrap_ci([1.0, 2.0], level=level)


def test_resamples_must_be_positive() -> None:
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_ci([1.0, 2.0], resamples=0)


@pytest.mark.parametrize("human", [2.0, [1.0, 2.0]])
def test_a_scale_needs_a_length(human: Any) -> None:
    with pytest.raises(ValueError, match="equal"):
        human_normalized(1.0, 2.0, human)


@pytest.mark.parametrize(("random", "human"), [(math.nan, 1.0), (0.0, math.inf)])
def test_a_scale_needs_finite_ends(random: float, human: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        human_normalized(1.0, random, human)
