"""Which runs belong together, what sets the others apart, and their curves over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from a2c_cli.evaluation.scores import reference_scores
from a2c_cli.evaluation.statistics import bootstrap_ci, iqm
from a2c_cli.plots.labels import Alike, tell_apart
from a2c_cli.plots.view import STEPS, Axis, View
from a2c_cli.runs.metrics import EVALUATIONS, SERIES, SUCCESS, WINDOW, FloatArray, Run

_POINTS = 250  # of the step grid


@dataclass(frozen=True)
class Curve:
    """A value over an axis: the interquartile mean of several runs, or one run's own.

    Args:
        at, center: (G,), where on the axis, and the value there.
        low, high: (G,), a pointwise 95 % bootstrap interval; None for a single run.
    """

    at: FloatArray
    center: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Args:
        label: what sets it apart from other groups; "" if nothing does.
        number: of its label among all labels, from 0: the same label, the same colour.
        runs: at least one, ordered by seed.
        final: the mean return of the last 100 episodes over agent steps.
        returns: the mean return that is drawn: of as many episodes and over the axis that the view
            asks for.
        series: the metrics that its runs have logged.
    """

    label: str
    number: int
    runs: tuple[Run, ...]
    final: Curve
    returns: Curve
    series: Mapping[str, Curve]

    @property
    def endless(self) -> bool:
        """Whether its curves are of the mean reward of a step: no episode has ended."""
        return all(run.endless for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """The groups of one environment, side by side.

    Args:
        env_id: its Gymnasium id.
        groups: ordered by the settings that set them apart.
        frame_skip: frames per agent step; None if the runs do not agree.
        reference: return of (random play, a human tester), where known.
        max_entropy: of the policy, nats, where known.
        view, axis: how its curves are drawn, and over what.
    """

    env_id: str
    groups: tuple[Group, ...]
    frame_skip: float | None
    reference: tuple[float, float] | None
    max_entropy: float | None
    view: View
    axis: Axis

    @property
    def frames_above(self) -> float | None:
        """Frames per agent step, where a second axis has more to say than the first."""
        return self.frame_skip if self.axis.x == STEPS and self.frame_skip != 1 else None

    @property
    def endless(self) -> bool:
        """Whether no episode of it has ended; then that is so in all groups."""
        return all(group.endless for group in self.groups)

    @property
    def end(self) -> float:
        """The last place on its axis that a run has come to."""
        runs = (run for group in self.groups for run in group.runs)
        return max(float(self.axis.place(r, np.array([float(r.env_steps)]))[0]) for r in runs)

    @property
    def series(self) -> list[str]:
        """The metrics of any of its groups that have a chart of their own."""
        return [name for name in SERIES if any(name in group.series for group in self.groups)]


def compare(runs: Sequence[Run], view: View | None = None) -> tuple[list[Comparison], list[str]]:
    """Sort runs into environments and groups, and sum each group up.

    A group is of runs whose settings agree except for the seed and for those that nothing
    learned depends on. Of two runs with the same seed the longer one counts: the other is no
    independent sample. Runs that the view calls by different names are in different groups.

    Returns:
        The comparisons in the order of their first runs, and a sentence for every run not used.

    Raises:
        A2CError: the runs cannot be drawn over the view's axis.
    """
    view = view or View()
    runs, without_end = _with_returns(runs)
    axis = view.axis(runs)
    environments: dict[str, dict[tuple[str, str], Alike]] = {}
    for run in runs:
        found = Alike(view.labels.get(run.path, ""), run)
        likes = environments.setdefault(run.env_id, {}).setdefault(found.key, found)
        likes.runs.append(run)
    # One set of names for all environments: the same label has the same meaning in each.
    telling = {
        name: dict.fromkeys(
            setting
            for parts in environments.values()
            for setting in tell_apart([part for part in parts.values() if part.name == name])
        )
        for name in dict.fromkeys([*view.labels.values(), ""])
    }
    ranks = {name: i for i, name in enumerate(telling)}
    numbers: dict[str, int] = {}
    comparisons, notes = [], without_end
    for env_id, by_settings in environments.items():
        groups = []
        for part in sorted(
            by_settings.values(),
            key=lambda part: (ranks[part.name], part.order(telling[part.name])),
        ):
            chosen, left_out = _one_a_seed(part.runs)
            label = part.label(telling[part.name])
            number = numbers.setdefault(label, len(numbers))
            groups.append(_sum_up(label, number, chosen, view, axis))
            notes += [*left_out, *_cut_short(f"{env_id} {label}".rstrip(), chosen)]
        comparisons.append(_comparison(env_id, groups, view, axis))
    return comparisons, notes


def _cut_short(what: str, runs: Sequence[Run]) -> list[str]:
    """What there is to say where one run is much shorter than another."""
    shortest, longest = (f(run.env_steps for run in runs) for f in (min, max))
    if shortest >= 0.9 * longest:
        return []
    return [
        f"{what}: the curve ends at step {shortest:,}, where the shortest of {len(runs)} runs does;"
        f" the longest has {longest:,}"
    ]


def _one_a_seed(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    best: dict[int, Run] = {}
    notes = []
    for run in runs:
        other = best.get(run.seed)
        if other is None:
            best[run.seed] = run
            continue
        short, best[run.seed] = sorted((other, run), key=lambda r: r.env_steps)
        notes.append(f"{short.path} left out: {best[run.seed].path} has the same settings and seed")
    return [best[seed] for seed in sorted(best)], notes


def _sum_up(label: str, number: int, runs: Sequence[Run], view: View, axis: Axis) -> Group:
    series = {}
    for name in (*SERIES, *EVALUATIONS):
        curves = [
            (axis.place(run, run.series[name][0]), run.series[name][1])
            for run in runs
            if name in run.series
        ]
        if curves:
            series[name] = aggregate(curves)
    final = aggregate([_to_the_end(run) for run in runs])
    returns = final
    if (axis.x, view.window) != (STEPS, WINDOW):
        returns = aggregate(
            [(axis.place(run, run.episode_steps), run.mean_returns(view.window)) for run in runs]
        )
    return Group(label, number, tuple(runs), final, returns, series)


def _with_returns(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Of an environment runs with returns, or if there are none those with a reward rate alone."""
    returning = {run.env_id for run in runs if not run.endless}
    kept = [run for run in runs if not (run.endless and run.env_id in returning)]
    notes = [
        f"{run.path}: no episode has ended, "
        + ("left out" if run.env_id in returning else "drawn is the mean reward of a step")
        for run in runs
        if run.endless
    ]
    return kept, notes


def _to_the_end(run: Run) -> tuple[FloatArray, FloatArray]:
    """The mean return after each episode, and at the run's last line: there runs are compared."""
    steps, means = run.episode_steps, run.mean_returns()
    if run.env_steps == steps[-1]:
        return steps, means
    return np.append(steps, float(run.env_steps)), np.append(means, means[-1])


def aggregate(curves: Sequence[tuple[FloatArray, FloatArray]]) -> Curve:
    """Interquartile mean and pointwise 95 % bootstrap interval over runs, on one grid.

        center(s) = IQM { vᵣ(s) : r = 1 … R },  low, high as `statistics.bootstrap_ci`

    The grid spans what all runs have, so that no point mixes fewer runs than another.
    Between two points of a run its value is interpolated. Equal draws at every point resample
    whole runs, as `bootstrap_ci` is seeded.

    Args:
        curves: R pairs (places on the axis, values); places do not fall.
    """
    starts, ends = [at[0] for at, _ in curves], [at[-1] for at, _ in curves]
    first, last = min(max(starts), min(ends)), min(ends)
    points = max(len(at) for at, _ in curves)
    if len(curves) == 1 and points <= _POINTS:
        return Curve(*curves[0])
    grid = np.unique(np.linspace(first, last, _POINTS))
    values = np.stack([np.interp(grid, at, v) for at, v in curves])
    if len(curves) == 1:
        return Curve(grid, values[0])
    bounds = np.array([bootstrap_ci(column, iqm) for column in values.T])
    return Curve(grid, iqm(values, axis=0), bounds[:, 0], bounds[:, 1])


def _comparison(env_id: str, groups: Sequence[Group], view: View, axis: Axis) -> Comparison:
    runs = [run for group in groups for run in group.runs]
    references = {
        reference_scores(env_id, run.config.get("env_args") or {}, run.frame_skip) for run in runs
    }
    skips = {round(run.frame_skip, 6) for run in runs}
    maxima = {run.max_entropy for run in runs} - {None}
    return Comparison(
        env_id=env_id,
        groups=tuple(groups),
        frame_skip=skips.pop() if len(skips) == 1 else None,
        reference=None if None in references else references.pop(),
        max_entropy=maxima.pop() if len(maxima) == 1 else None,
        view=view,
        axis=axis,
    )


def summarize_group(group: Group) -> dict[str, Any]:
    """A group's last point, as plain values ready for JSON."""
    curve, successes = group.final, group.series.get(SUCCESS)
    return {
        "env_id": group.runs[0].env_id,
        "label": group.label,
        "seeds": [run.seed for run in group.runs],
        "env_steps": int(curve.at[-1]),
        "frames": round(curve.at[-1] * group.runs[0].frame_skip),
        "mean_return_100": None if group.endless else float(curve.center[-1]),
        "reward_rate": float(curve.center[-1]) if group.endless else None,
        "success_rate": None if successes is None else float(successes.center[-1]),
        "ci95": None
        if curve.low is None or curve.high is None
        else [float(curve.low[-1]), float(curve.high[-1])],
        "runs": [str(run.path) for run in group.runs],
    }
