"""Results of a sweep: per environment and setting, over all games, and the best setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from a2c_cli.evaluation.scores import reference_scores
from a2c_cli.evaluation.statistics import (
    ENOUGH,
    human_normalized,
    iqm,
    stratified_bootstrap_ci,
)
from a2c_cli.sweep.plan import setting_text
from a2c_cli.sweep.state import State


def sum_up(states: Sequence[State]) -> dict[str, Any]:
    """The keys of `a2c sweep --json` that tell results.

    A trial counts with its mean raw return over its last 100 training episodes. A trial that did
    not complete, or never finished an episode, counts as missing; a setting with fewer missing
    trials ranks above all that have more, so that no setting wins because it often breaks.

    Returns:
        `runs`: one record per trial. `summary`: by environment its best setting's `setting, seeds,
        missing, mean, iqm, ci95` (95 % bootstrap interval of the IQM over seeds), its mean
        `success_rate` where the environment tells, and all of them as `settings`, best first.
        `aggregate`: by setting `games, seeds, missing, mean, iqm, ci95` of the human-normalised
        scores of all games with reference scores, pooled, interval stratified by game (arXiv
        2108.13264), best first; an interval is None where no game has two seeds. `best`: the best
        setting over all environments, None where that cannot be told; `best_note` says why.
    """
    found: dict[str, dict[str, list[State]]] = {}
    settings: dict[str, Mapping[str, Any]] = {}
    for state in states:
        setting = setting_text(state.trial.setting)
        settings[setting] = state.trial.setting
        found.setdefault(state.trial.env_id, {}).setdefault(setting, []).append(state)
    summary = {}
    for env_id, by_setting in found.items():
        rows = [
            {"setting": settings[name], **_measure([group]), "success_rate": _successes(group)}
            for name, group in by_setting.items()
        ]
        rows.sort(key=_rank)
        summary[env_id] = {**rows[0], "settings": rows}
    aggregate = []
    games = [env_id for env_id in found if _reference(*found[env_id].values()) is not None]
    for name in settings:
        groups = [found[env_id][name] for env_id in games]
        if groups:
            measured = _measure(groups, normalized=True)
            aggregate.append({"setting": settings[name], "games": len(games), **measured})
    aggregate.sort(key=_rank)
    ranked: list[dict[str, Any]] = []
    if len(found) == 1:
        ranked = next(iter(summary.values()))["settings"]
    elif len(games) == len(found):
        ranked = aggregate
    why = _doubt(ranked)
    return {"runs": [_run(s) for s in states], "summary": summary, "aggregate": aggregate,
            "best": None if why else ranked[0]["setting"], "best_note": why}  # fmt: skip


def _reference(*groups: Sequence[State]) -> tuple[float, float] | None:
    """Random and human score of a game, where all its trials play by the usual protocol."""
    configs = [state.trial.config for group in groups for state in group]
    found = {reference_scores(c.env, c.env_args, c.frame_skip or 4) for c in configs}
    return None if None in found else found.pop()


def _doubt(ranked: Sequence[Mapping[str, Any]]) -> str:
    """Why the first of these settings is not known to be the best; empty if it is.

    Those of which more trials are missing rank below by rule.
    """
    if not ranked:
        return "the environments have no common scale"
    first, *others = ranked
    rivals = [row for row in others if row["missing"] == first["missing"]]
    if first["iqm"] is None:
        return "no trial has a result"
    if not rivals:
        return ""
    fewest = min(row["seeds"] for row in (first, *rivals))
    if fewest < ENOUGH:
        return f"{fewest} seed{'s' if fewest > 1 else ''} a setting are too few; give {ENOUGH}"
    close = sum(row["ci95"][1] >= first["ci95"][0] for row in rivals)
    if close:
        return f"the intervals of the first {close + 1} overlap; more seeds make them narrower"
    return ""


def _run(state: State) -> dict[str, Any]:
    return {
        "env_id": state.trial.env_id,
        "setting": state.trial.setting,
        "seed": state.trial.seed,
        "run_dir": str(state.run_dir),
        "env_steps": state.env_steps,
        "mean_return_100": state.mean_return_100,
        "success_rate": state.success_rate,
        "stopped": None if state.stage in ("waiting", "running") else state.stage,
        "message": "" if state.stage in ("waiting", "running") else state.message,
    }


def _measure(groups: Sequence[Sequence[State]], normalized: bool = False) -> dict[str, Any]:
    """Statistics over one group of seeds, or over a group for each game pooled."""
    scores = []
    for group in groups:
        means = [s.mean_return_100 for s in group if s.stage == "completed"]
        values = np.array([mean for mean in means if mean is not None])
        if normalized and values.size:
            reference = _reference(group)
            assert reference is not None
            values = human_normalized(values, *reference)
        scores.append(values)
    trials = sum(len(group) for group in groups)
    present = [values for values in scores if values.size]
    pooled = np.concatenate(scores)
    counts = {"seeds": pooled.size, "missing": trials - pooled.size}
    if not present:
        return {**counts, "mean": None, "iqm": None, "ci95": None}
    several = any(values.size > 1 for values in present)  # of one seed nothing is known
    interval = list(stratified_bootstrap_ci(present, iqm)) if several else None
    return {**counts, "mean": float(pooled.mean()), "iqm": iqm(pooled), "ci95": interval}


def _successes(group: Sequence[State]) -> float | None:
    """Mean success rate of the trials that completed; None where the environment does not tell."""
    rates = [s.success_rate for s in group if s.stage == "completed"]
    told = [rate for rate in rates if rate is not None]
    return sum(told) / len(told) if told else None


def _rank(row: Mapping[str, Any]) -> tuple[int, float]:
    return row["missing"], -row["iqm"] if row["iqm"] is not None else 0.0
