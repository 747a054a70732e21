"""Statistics for small samples of returns: robust means, bootstrap intervals, normalisation.

Reinforcement-learning results are a handful of noisy runs, so a point estimate alone says
little. The tools here are those of Agarwal et al. 2021, "Deep Reinforcement Learning at the
Edge of the Statistical Precipice" (arXiv 2108.13264), written with NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Protocol, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Resamples are drawn in blocks of at most this many numbers (32 MiB of float64), so that an
# interval over a million episodes needs no more memory than one over ten.
_BLOCK_ELEMENTS = 4_194_304


ENOUGH = 4  # seeds from which on an interval of their IQM is worth its name
_FEW = {2: "50", 3: "73"}  # seeds: % of their intervals that hold the truth (normal scores)


def few_seeds_note(counts: Collection[int]) -> str:
    """What must be said beside intervals over so many seeds each; empty if nothing."""
    few = [n for n in _FEW if n in counts]
    if not few:
        return ""
    seeds = " or ".join("two" if n == 2 else "three" for n in few)
    shares = " or ".join(_FEW[n] for n in few)
    return f"intervals over {seeds} seeds are too narrow: {shares} % of them hold the truth"


class Statistic(Protocol):
    """A reduction along one axis, such as np.mean, np.median or `iqm`."""

    def __call__(self, a: Any, /, *, axis: int) -> Any:
        """Reduce `a` along `axis`; an array (B, n) with axis -1 gives an array (B,)."""
        ...


def _finite(x: ArrayLike, name: str) -> FloatArray:
    values = np.asarray(x, dtype=np.float64)
    if values.size == 0:
        raise ValueError(f"{name} is empty")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return values


def _finite_vector(x: ArrayLike, name: str) -> FloatArray:
    values = _finite(x, name)
    if values.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {values.shape}")
    return values


@overload
def iqm(x: ArrayLike, *, axis: None = None) -> float: ...
@overload
def iqm(x: ArrayLike, *, axis: int) -> FloatArray: ...
def iqm(x: ArrayLike, *, axis: int | None = None) -> float | FloatArray:
    """Interquartile mean: the mean of the middle half of the values.

        IQM(x) = 1 / (n - 2k) · Σ x₍ᵢ₎ for i = k+1 … n-k,   k = ⌊n / 4⌋

    with x₍₁₎ ≤ … ≤ x₍ₙ₎. Less sensitive to outliers than the mean, and with a smaller
    variance than the median. The number cut from either end is rounded down, with no
    fractional weights: the convention of scipy.stats.trim_mean(x, 0.25) and so of rliable,
    to stay comparable with published figures. Fewer than four values are not trimmed.

    Source: Agarwal et al. 2021, arXiv 2108.13264, section 4.3.

    Args:
        x: any shape, any unit.
        axis: the axis to reduce, or None for all values pooled.

    Returns:
        A float for axis None, else an array with that axis removed.

    Raises:
        ValueError: x is empty or not finite.
    """
    values = _finite(x, "x")
    if axis is None:
        return float(_iqm_last_axis(values.reshape(-1)))
    return _iqm_last_axis(np.moveaxis(values, axis, -1))


def _iqm_last_axis(values: FloatArray) -> FloatArray:
    n = values.shape[-1]
    cut = n // 4
    # Only the two cut positions have to be in their sorted place, which is O(n), not a sort.
    ordered = np.partition(values, (cut, n - cut - 1), axis=-1)
    return cast(FloatArray, ordered[..., cut : n - cut].mean(axis=-1))


def bootstrap_ci(
    x: ArrayLike,
    statistic: Statistic = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap confidence interval of a statistic of one sample.

        low, high = quantiles (1 - level) / 2 and (1 + level) / 2 of { T(x*₁), …, T(x*_R) }

    where each x*ᵣ is n draws from x with replacement. It is deterministic for a given seed.
    With few values it is too narrow: for the mean of n normal values its spread lacks the
    factor √(n / (n - 1)), and a single value gives an interval of width zero.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.

    Args:
        x: (n,).
        statistic: T, called once for many resamples, with `axis`; see `Statistic`.
        level: probability that the interval covers the true value, inside (0, 1).
        resamples: R, at least 1.
        seed: of the draws.

    Returns:
        (low, high), in the unit of T(x).

    Raises:
        ValueError: x is empty, not finite or not a vector; level or resamples out of range.
    """
    return stratified_bootstrap_ci([x], statistic, level, resamples, seed)


def stratified_bootstrap_ci(
    groups: Sequence[ArrayLike],
    statistic: Statistic = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic pooled over games, resampled per game.

        x*ᵣ = concat(x*ᵣ₁, …, x*ᵣ_G),  x*ᵣ_g = n_g draws with replacement from group g

    then as `bootstrap_ci`. Every resample keeps each game's number of runs, so the spread
    between games, which are fixed and not a sample, does not widen the interval. All runs
    are pooled with equal weight: a game with more runs counts for more.
    Few runs a game make it too narrow: of 95 % intervals for the IQM of normal scores, 73 % hold
    the truth for one game and three runs, 85 % for five games of three, 92 % for 57 games of five.

    Source: Agarwal et al. 2021, arXiv 2108.13264, section 4.1 (as in rliable).

    Args:
        groups: G arrays (n_g,), one a game, normally human-normalized scores, one a seed.
        statistic, level, resamples, seed: as for `bootstrap_ci`.

    Returns:
        (low, high), in the unit of the statistic.

    Raises:
        ValueError: there are no groups; otherwise as for `bootstrap_ci`.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    strata = [_finite_vector(group, f"group {i}") for i, group in enumerate(groups)]
    if not strata:
        raise ValueError("groups is empty")

    # One generator for each game keeps a game's draws the same whatever the block size.
    generators = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(strata))]
    block = max(1, _BLOCK_ELEMENTS // sum(len(stratum) for stratum in strata))
    estimates = np.empty(resamples)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = [
            stratum[rng.integers(len(stratum), size=(rows, len(stratum)))]
            for stratum, rng in zip(strata, generators, strict=True)
        ]
        estimates[start : start + rows] = statistic(np.concatenate(drawn, axis=1), axis=-1)
    low, high = np.quantile(estimates, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def wilson_ci(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a probability, which n trials with two outcomes estimate.

        (p + z² / 2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z² / n),   p = successes / n

    It holds for few trials too, and does not shrink to a point where all succeed.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Args:
        successes: 0 to n.
        n: at least 1.

    Returns:
        (low, high), inside [0, 1].

    Raises:
        ValueError: the counts are out of range.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} trials cannot have succeeded")
    z, p = 1.959963984540054, successes / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return max(low, 0.0) if successes else 0.0, min(high, 1.0) if successes < n else 1.0


def human_normalized(score: ArrayLike, random: ArrayLike, human: ArrayLike) -> Any:
    """Score on the scale where 0 is random play and 1 a human tester.

        (score - random) / (human - random)

    Source: Mnih et al. 2015, Nature 518, "Human-level control …" (there in percent).

    Args:
        score, random, human: game points; they broadcast together.

    Returns:
        A float without unit for three scalars, else an array of the broadcast shape.

    Raises:
        ValueError: an input is empty or not finite, or human equals random.
    """
    s, r, h = _finite(score, "score"), _finite(random, "random"), _finite(human, "human")
    if (h == r).any():
        raise ValueError("human and random scores are equal: the scale has no length")
    normalized = (s - r) / (h - r)
    return float(normalized) if np.ndim(normalized) == 0 else normalized


def summarize(returns: ArrayLike) -> dict[str, float | list[float]]:
    """Describe a sample of episode returns, as plain floats ready for JSON.

        mean = x̄,  std = √(1/n · Σ (xᵢ - x̄)²),  ci95 = bootstrap interval of the mean

    std is the population deviation (ddof = 0), so that one episode has std 0, not NaN;
    iqm as `iqm`; ci95 as `bootstrap_ci` with its defaults, hence the same on every call.

    Args:
        returns: (n,), undiscounted returns in game points.

    Returns:
        The keys mean, std, median, iqm, min and max (floats) and ci95 ([low, high]).

    Raises:
        ValueError: returns is empty, not finite or not a vector.
    """
    x = _finite_vector(returns, "returns")
    return {
        "mean": float(x.mean()),
        "std": float(x.std(ddof=0)),
        "median": float(np.median(x)),
        "iqm": iqm(x),
        "min": float(x.min()),
        "max": float(x.max()),
        "ci95": list(bootstrap_ci(x)),
    }
