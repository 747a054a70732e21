"""Sweeps: what is planned, run, survived and summed up; on this machine and on Ray."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from contract import only_json
from kills import chaos, saved_steps, until
from process import SUPPORT, Outcome, run_python

from a2c_cli import TrainConfig, train
from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.plots.comparison import compare, summarize_group
from a2c_cli.runs.checkpoint import read_header
from a2c_cli.runs.directory import RunDir
from a2c_cli.runs.metrics import find_runs, read_runs
from a2c_cli.sweep.drive import RETRIES
from a2c_cli.sweep.plan import (
    Request,
    Trial,
    combinations,
    default_path,
    identify,
    named_envs,
    parse_lists,
    parse_seeds,
    plan,
)
from a2c_cli.sweep.state import State
from a2c_cli.sweep.summary import sum_up
from a2c_cli.sweep.table import SweepReporter, show_result
from a2c_cli.sweep.trial import run_trial
from a2c_cli.terminal.console import Display

Cli = Callable[..., Outcome]
BANDIT = "tiny_envs:tiny/Bandit-v0"


# --- the plan


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("0,3,7", (0, 3, 7)), ("7", (7,)), ("2, 5-6", (2, 5, 6))],
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4-0", "a", "1,,2", "-1", "0-", "1.5", "0-2,1", "0-999999"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(text)


def test_values_are_those_that_train_would_take() -> None:
    found = parse_lists(["learning-rate=5e-4,1", "life_loss=true,false", "optimizer=adam"])
    assert found == {
        "learning_rate": (0.0005, 1.0), "life_loss": (True, False), "optimizer": ("adam",)
    }  # fmt: skip
    assert [type(v) for v in found["learning_rate"]] == [float, float]


@pytest.mark.parametrize(
    ("pairs", "message", "hint"),
    [
        (["learning_rat=1"], "unknown key 'learning_rat'", "learning_rate"),
        (["n_steps"], "key=v1,v2", "learning_rate=5e-4,1e-3"),
        (["n_steps=5,,6"], "key=v1,v2", "e.g."),
        (["n_steps=5.5"], "--n-steps must be of type int", ""),
        (["gamma=2"], "--gamma must be between", ""),
        (["learning_rate=1,1.0"], "1.0 twice", ""),
        (["gamma=0.9", "gamma=0.8"], "given twice", "one --set"),
        (["seed=1,2"], "seed", "--seeds"),
        (["env=CartPole-v1"], "env", "--env"),
        (["threads=2"], "threads", "one thread"),
    ],
)
def test_lists_that_are_none(pairs: list[str], message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        parse_lists(pairs)
    assert hint in refused.value.hint


def test_every_combination_comes_once() -> None:
    lists = parse_lists(["gamma=0.9,0.99", "n_steps=8,16,32"])
    settings = combinations(lists, None)
    assert [(s["gamma"], s["n_steps"]) for s in settings] == [
        (0.9, 8), (0.9, 16), (0.9, 32), (0.99, 8), (0.99, 16), (0.99, 32)
    ]  # fmt: skip
    assert combinations({}, None) == [{}]


def test_a_random_sample_has_no_doubles_and_never_changes() -> None:
    lists = {"n_steps": tuple(range(1, 1000)), "gamma": tuple(k / 1000 for k in range(1000))}
    drawn = combinations(lists, 20)
    assert drawn == combinations(lists, 20)
    assert len({tuple(s.values()) for s in drawn}) == 20
    assert len({s["n_steps"] for s in drawn}) > 15  # from all over the grid
    assert len({s["gamma"] for s in drawn}) > 15
    with pytest.raises(ConfigError, match="999,000 combinations"):
        combinations(lists, 999_001)


def test_named_sets_of_games() -> None:
    assert len(named_envs([], ["atari-57"])) == 57
    assert named_envs(["ALE/Phoenix-v5", "CartPole-v1"], ["atari-5"]) == (
        "ALE/Phoenix-v5", "CartPole-v1", "ALE/BattleZone-v5", "ALE/DoubleDunk-v5",
        "ALE/NameThisGame-v5", "ALE/Qbert-v5",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="atari5") as refused:
        named_envs([], ["atari5"])
    assert "atari-5" in refused.value.hint
    with pytest.raises(ConfigError, match="no environment"):
        named_envs([], [])


def test_a_trial_has_its_settings_and_a_readable_place_of_its_own() -> None:
    request = Request(
        envs=("CartPole-v1", "ALE/Pong-v5"),
        seeds=(0, 7),
        base={"total_steps": 100},
        lists=parse_lists(["learning_rate=5e-4,1e-3"]),
    )
    trials = plan(request)
    assert [t.name for t in trials][:3] == [
        "CartPole-v1/learning_rate=0.0005/seed0",
        "CartPole-v1/learning_rate=0.001/seed0",
        "ALE-Pong-v5/learning_rate=0.0005/seed0",
    ]
    assert len({t.name for t in trials}) == len(trials) == 8
    for trial in trials:
        rate = trial.config.learning_rate
        assert trial.name.endswith(f"/learning_rate={rate}/seed{trial.config.seed}")
        assert (trial.config.total_steps, trial.config.threads) == (100, 1)
        assert trial.config.n_steps == (1024 if trial.env_id == "CartPole-v1" else 80)


def test_long_names_are_cut_and_stay_different() -> None:
    lists = parse_lists(
        [f"{key}=0.5" for key in ("gamma", "gae_lambda", "fisher_damping", "entropy_coef",
         "entropy_hold", "max_grad_norm", "entropy_floor")] + ["critic_gain=0.5,0.6"]
    )  # fmt: skip
    names = {t.name for t in plan(Request(("CartPole-v1",), (0,), {}, lists))}
    assert len(names) == 2
    assert all(len(part) <= 100 for name in names for part in name.split("/"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lists": {"frame_skip": (2,)}}, "--frame-skip has no effect on CartPole-v1"),
        ({"lists": {"network": ("mlp", "a3c")}}, "--network a3c cannot be used"),
        ({"envs": ("CartPole-v1", "CartPol-v1")}, "no environment 'CartPol-v1'"),
        ({"base": {"threads": 2}}, "threads cannot be 2"),
        ({"envs": ("a/b:CartPole-v1",)}, "a/b"),
        ({"seeds": tuple(range(100_001))}, "100,001 trials are too many"),
    ],
)
def test_what_a_trial_would_refuse_is_refused_at_once(
    changes: dict[str, Any], message: str
) -> None:
    request = {"envs": ("CartPole-v1",), "seeds": (0,), "base": {}, "lists": {}, **changes}
    with pytest.raises(A2CError, match=message) as refused:
        plan(Request(**request))
    assert refused.value.exit_code == 2


def test_the_same_request_finds_its_directory_again() -> None:
    def path(**changes: Any) -> Path:
        request = Request(**{"envs": ("CartPole-v1",), "seeds": (0,), **changes})
        return default_path(identify(request, plan(request)))

    assert path() == path()
    assert path().parent == Path("checkpoints")
    assert path().name.startswith("sweep-CartPole-v1-")
    different = [path(), path(seeds=(1,)), path(base={"total_steps": 9}), path(sample=1)]
    assert len(set(different)) == 4


# --- the summary


def states(results: dict[tuple[str, str], list[float | None]]) -> list[State]:
    """States of trials by (environment, gamma), a mean return each; None for a failed one.

    The trials are made by hand: `plan` would build every environment to average some numbers.
    """
    found = []
    for (env, gamma), means in results.items():
        for seed, mean in enumerate(means):
            config = TrainConfig(env=env, seed=seed, gamma=float(gamma), total_steps=1000)
            name = f"{env.replace('/', '-')}/gamma={gamma}/seed{seed}"
            stage = "completed" if mean is not None else "diverged"
            trial = Trial(name, {"gamma": float(gamma)}, config)
            found.append(State(trial, Path("x"), stage, 1, 1.0, mean))
    return found


def test_summary_of_one_environment() -> None:
    record = sum_up(
        states({("CartPole-v1", "0.5"): [1, 2, 3, 10], ("CartPole-v1", "0.9"): [4, 4, 4, 4]})
    )
    best, other = record["summary"]["CartPole-v1"]["settings"]
    assert best == {"setting": {"gamma": 0.9}, "seeds": 4, "missing": 0, "mean": 4.0, "iqm": 4.0,
                    "ci95": [4.0, 4.0], "success_rate": None}  # fmt: skip
    assert (other["mean"], other["iqm"]) == (4.0, 2.5)
    assert 1.0 <= other["ci95"][0] < 2.5 < other["ci95"][1] <= 10.0
    assert record["summary"]["CartPole-v1"]["iqm"] == 4.0
    assert record["best"] is None  # the other's interval is wide
    assert record["aggregate"] == []  # nobody has measured humans at it


def test_a_setting_that_breaks_does_not_win_by_its_survivors() -> None:
    record = sum_up(
        states({("CartPole-v1", "0.5"): [500, None, None], ("CartPole-v1", "0.9"): [9, 9, 9]})
    )
    assert record["best"] == {"gamma": 0.9}
    row = record["summary"]["CartPole-v1"]["settings"][1]
    assert (row["seeds"], row["missing"], row["mean"]) == (1, 2, 500.0)
    nothing = sum_up(states({("CartPole-v1", "0.5"): [None]}))
    assert (nothing["best"], nothing["summary"]["CartPole-v1"]["iqm"]) == (None, None)


def test_the_best_setting_is_named_where_the_intervals_allow_it() -> None:
    def verdict(one: list[float | None], other: list[float | None]) -> tuple[Any, str]:
        record = sum_up(states({("CartPole-v1", "0.5"): one, ("CartPole-v1", "0.9"): other}))
        return record["best"], record["best_note"]

    assert verdict([1, 2, 3, 4], [11, 12, 13, 14]) == ({"gamma": 0.9}, "")
    assert verdict([1, 2, 3], [11, 12, 13]) == (None, "3 seeds a setting are too few; give 4")
    best, why = verdict([1, 2, 3, 12], [4, 11, 12, 13])
    assert best is None
    assert "the intervals of the first 2 overlap" in why
    assert verdict([1], [2])[0] is None


def test_one_seed_has_no_interval_and_few_have_a_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = sum_up(states({("CartPole-v1", "0.5"): [21.67]}))
    assert one["summary"]["CartPole-v1"]["ci95"] is None
    show_result(one, json=False)
    assert "21.67 to" not in capsys.readouterr().out
    show_result(sum_up(states({("CartPole-v1", "0.5"): [1, 2, 3]})), json=False)
    assert "three seeds are too narrow: 73 %" in " ".join(capsys.readouterr().out.split())


def test_games_are_pooled_on_the_human_scale() -> None:
    # Random play at Pong is -20.7 and a human 14.6; at Breakout 1.7 and 30.5.
    results: dict[tuple[str, str], list[float | None]] = {
        ("ALE/Pong-v5", "0.5"): [(14.6 - 20.7) / 2] * 2,
        ("ALE/Pong-v5", "0.9"): [14.6] * 2,
        ("ALE/Breakout-v5", "0.5"): [(30.5 + 1.7) / 2] * 2,
        ("ALE/Breakout-v5", "0.9"): [(30.5 + 1.7) / 2] * 2,
    }
    record = sum_up(states(results))
    best, other = record["aggregate"]
    assert (best["setting"], best["games"], best["seeds"]) == ({"gamma": 0.9}, 2, 4)
    assert (best["mean"], best["iqm"]) == (pytest.approx(0.75), pytest.approx(0.75))
    assert other["iqm"] == pytest.approx(0.5)
    # The games differ, the seeds do not: strata leave nothing to doubt.
    assert best["ci95"] == pytest.approx([0.75, 0.75])
    assert record["best"] == {"gamma": 0.9}
    mixed = sum_up(states({**results, ("CartPole-v1", "0.5"): [1], ("CartPole-v1", "0.9"): [1]}))
    assert mixed["best"] is None  # no scale for all three
    assert mixed["aggregate"] == record["aggregate"]


# --- on the terminal


def test_tables_fit_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")  # taken for a terminal
    found = states({("ALE/MontezumaRevenge-v5", "0.123456"): [k * 1000.5 for k in range(200)],
                    ("ALE/Pong-v5", "0.123456"): [None] * 100})  # fmt: skip
    for number, state in enumerate(found[:100]):
        state.stage = "running" if number < 90 else "waiting"
    with Display() as display:
        watcher = SweepReporter(display)
        watcher.show(found)
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", x) for x in capsys.readouterr().err.splitlines()]
    assert len({line for line in shown if "Montezuma" in line}) == 20 - 4
    assert max(map(len, shown)) <= 60
    assert "0 ALE-MontezumaRevenge-v5" in shown[1]
    text = " ".join(" ".join(shown).split())
    assert "100 of 300 completed, 90 running, 10 waiting, 100 diverged" in text
    assert "not shown" in text
    monkeypatch.delenv("FORCE_COLOR")
    show_result(sum_up(found), json=False)
    result = capsys.readouterr().out.splitlines()
    assert max(map(len, result)) <= 60
    assert any("gamma=0.123456" in line and "100/200" in line for line in result)


def test_a_log_has_a_line_for_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    found = states({("CartPole-v1", "0.5"): [1.0, 2.0]})
    found[0].stage = found[1].stage = "running"
    with Display() as display:
        watcher = SweepReporter(display)
        watcher.show(found)
        found[0].deaths, found[0].message = 1, "its process was killed by signal 9"
        watcher.show(found)
        found[0].stage, found[1].stage, found[1].message = "completed", "failed", "no\x1b[2J power"
        for _ in range(3):
            watcher.show(found)
    assert capsys.readouterr().err.splitlines() == [
        "died       CartPole-v1/gamma=0.5/seed0: its process was killed by signal 9",
        "completed  CartPole-v1/gamma=0.5/seed0  step 1  mean 1.00",
        "failed     CartPole-v1/gamma=0.5/seed1  step 1  mean 2.00  no?[2J power",
    ]
    with Display(quiet=True) as display:
        SweepReporter(display).show(found)
    assert capsys.readouterr().err == ""


# --- runs


def differences(one: Path, other: Path) -> dict[str, Any]:
    """What differs between the trials of two sweeps."""
    names = sorted(p.parent.relative_to(one) for p in one.rglob("last.safetensors"))
    assert names == sorted(p.parent.relative_to(other) for p in other.rglob("last.safetensors"))
    assert names
    found = {str(name): chaos.differences(one / name, other / name) for name in names}
    return {name: d for name, d in found.items() if d["tensors"] or d["lines"]}


BANDITS = ("sweep", "--env", BANDIT, "--seeds", "0,3", "--set", "learning_rate=1e-3,1e-2",
           "--total-steps", 300, "--jobs", 2)  # fmt: skip


def test_a_sweep_says_how_many_episodes_succeeded(
    cli: Cli, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = ("sweep", "--env", "tiny_envs:tiny/Telling-v0", "--seeds", 0, "--total-steps", 200,
            "--jobs", 1, "--run-dir", tmp_path / "sweep")  # fmt: skip
    record = only_json(cli(*told, "--json"))
    rates = [run["success_rate"] for run in record["runs"]]
    for run in record["runs"]:
        header, _ = read_header(Path(run["run_dir"]) / "last.safetensors")
        assert 0.0 < run["success_rate"] == header.success_rate
    [row] = record["summary"]["tiny_envs:tiny/Telling-v0"]["settings"]
    assert row["success_rate"] == pytest.approx(np.mean(rates))
    show_result(record, json=False)
    shown = capfd.readouterr().out
    assert f"{100 * np.mean(rates):.0f} %" in shown
    assert "success" in shown


def test_a_sweep_is_its_trials(cli: Cli, tmp_path: Path) -> None:
    where = tmp_path / "sweep"
    record = only_json(cli(*BANDITS, "--run-dir", where, "--json"))
    assert {"runs", "summary", "aggregate", "best", "run_dir"} <= set(record)
    assert len(record["runs"]) == 4
    for run in record["runs"]:
        assert (run["env_id"], run["stopped"]) == (BANDIT, "completed")
        header, _ = read_header(Path(run["run_dir"]) / "last.safetensors")
        assert header.mean_return_100 == run["mean_return_100"]
        assert (header.config.seed, header.env_steps) == (run["seed"], 300)
        assert header.config.learning_rate == run["setting"]["learning_rate"]
    rows = record["summary"][BANDIT]["settings"]
    for row in rows:
        means = [r["mean_return_100"] for r in record["runs"] if r["setting"] == row["setting"]]
        assert row["mean"] == pytest.approx(np.mean(means))
    assert record["best"] is None  # of two seeds
    [compared], _ = compare(read_runs(find_runs([where]))[0])
    drawn = {g.label: summarize_group(g) for g in compared.groups}
    for row in rows:  # `a2c plot` says the same of the same runs
        of_plot = drawn[f"learning_rate={row['setting']['learning_rate']}"]
        assert of_plot["mean_return_100"] == pytest.approx(row["iqm"])
        assert of_plot["ci95"] == pytest.approx(row["ci95"])
    kept = json.loads((where / "sweep.json").read_text())
    assert {key: kept[key] for key in record} == record
    # A trial is exactly the run that `a2c train` would have made.
    name = Path(record["runs"][-1]["run_dir"])
    config = read_header(name / "last.safetensors")[0].config
    train(TrainConfig(env=BANDIT, seed=3, learning_rate=1e-2, total_steps=300), run_dir=where / "a")
    assert config == read_header(where / "a" / "last.safetensors")[0].config
    assert chaos.differences(name, where / "a")["tensors"] == []

    # Again: nothing runs, nothing is touched. Another request: refused, nothing is touched.
    before = {p: p.stat().st_mtime_ns for p in where.rglob("*.*") if p.name != "sweep.json"}
    again = cli(*BANDITS, "--run-dir", where)
    assert again.code == 0
    assert "best setting: cannot be told: 2 seeds a setting are too few" in again.stdout
    assert max(map(len, again.stdout.splitlines())) <= 80
    other = cli(*BANDITS[:-4], "--total-steps", 301, "--run-dir", where)
    assert other.code == 1
    assert "another request (different: base)" in other.stderr
    inside = cli(*BANDITS, "--run-dir", name)
    assert inside.code == 1
    assert "runs of no sweep" in inside.stderr
    assert before == {p: p.stat().st_mtime_ns for p in where.rglob("*.*") if p.name != "sweep.json"}


def test_a_sweep_mends_what_it_has_lost(cli: Cli, tmp_path: Path) -> None:
    where = tmp_path / "sweep"
    record = only_json(cli(*BANDITS, "--run-dir", where, "--json"))
    shutil.copytree(where, tmp_path / "whole")
    runs = [Path(run["run_dir"]) for run in record["runs"]]
    for damage in (None, b"{", b"[" * 100_000, b'{"request": 3'):
        (where / "sweep.json").unlink()
        if damage is not None:
            (where / "sweep.json").write_bytes(damage)
        again = only_json(cli(*BANDITS, "--run-dir", where, "--json"))
        assert again == record
    (where / "sweep.json").unlink()
    other = cli(*BANDITS[:-4], "--total-steps", 301, "--run-dir", where)
    assert other.code == 1  # the same places, and other trials
    assert "runs of no sweep, or of another" in other.stderr

    last = [run / "last.safetensors" for run in runs]
    data = last[0].read_bytes()
    last[0].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # a flipped bit of a finished trial
    last[1].write_bytes(last[1].read_bytes()[:1000])
    last[2].unlink()
    mended = cli(*BANDITS, "--run-dir", where, "--json")
    assert only_json(mended)["summary"] == record["summary"]
    assert differences(tmp_path / "whole", where) == {}
    for run, why in zip(runs, ("damaged", "damaged", "lost"), strict=False):
        assert f"note: {run}: begun anew: its checkpoint was {why}" in mended.stderr
        assert (run / "metrics.jsonl.aside-1").exists()
    assert (runs[0] / "last.safetensors.aside-1").read_bytes() == data[:-1] + bytes([data[-1] ^ 1])


def test_a_failing_trial_is_reported_and_the_rest_goes_on(cli: Cli, tmp_path: Path) -> None:
    args = ("--env-arg", "kind=raise", "--env-arg", "at=150", "--seeds", "0-1")
    outcome = cli("sweep", "--env", "trouble_envs:trouble/Trouble-v0", *args, "--set",
                  "total_steps=100,200", "--run-dir", tmp_path, "--jobs", 1, "--json")  # fmt: skip
    assert outcome.code == 1
    record = json.loads(outcome.stdout)
    stopped = {(r["setting"]["total_steps"], r["seed"]): r["stopped"] for r in record["runs"]}
    assert stopped == {(100, 0): "completed", (100, 1): "completed",
                       (200, 0): "failed", (200, 1): "failed"}  # fmt: skip
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "motor is on fire" in errors[0]
    assert record["best"] == {"total_steps": 100}


def test_a_trial_that_always_dies_is_given_up(cli: Cli, tmp_path: Path) -> None:
    args = ("--env-arg", "kind=killed", "--env-arg", "at=150", "--seeds", "0")
    outcome = cli("sweep", "--env", "trouble_envs:trouble/Trouble-v0", *args, "--set",
                  "total_steps=200,100", "--run-dir", tmp_path, "--jobs", 1, "--json")  # fmt: skip
    assert outcome.code == 1
    record = json.loads(outcome.stdout)
    assert [run["stopped"] for run in record["runs"]] == ["failed", "completed"]
    assert record["runs"][0]["message"] == "its process was killed by signal 9"
    assert outcome.stderr.count("died ") == 1 + RETRIES


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        ("--set learning_rat=1", 2, "did you mean 'learning_rate'"),
        ("--set frame_skip=2", 2, "no effect"),
        ("--set entropy_floor=0,0.1 --set entropy_floor_end=0.05", 2, "without an --entropy-floor"),
        ("--seeds 3-1", 2, "--seeds"),
        ("--envs atari6", 2, "atari-5"),
        ("--ray-address auto", 2, "--backend ray"),
        ("--backend ray --ray-address ray://there", 2, "host:port"),
        ("--backend cloud", 2, "--backend"),
        ("--env nope", 2, "no environment"),
        ("--random 2", 2, "--set gives only 1 combination"),
        ("--total-steps 9 --set total_steps=8", 2, "both by --total-steps and by --set"),
        ("--preset notebook", 2, "no effect on CartPole-v1"),
        ("--config no.toml", 2, "cannot read no.toml"),
    ],
)
def test_a_wrong_request_writes_nothing(
    args: str, code: int, word: str, cli: Cli, tmp_path: Path
) -> None:
    outcome = cli("sweep", "--env", "CartPole-v1", *args.split(), "--run-dir", tmp_path / "new")
    assert (outcome.code, outcome.stdout) == (code, "")
    assert word in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_a_dry_run_lists_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    args = (*BANDITS, "--run-dir", tmp_path / "new", "--dry-run")
    shown = cli(*args)
    assert shown.code == 0
    assert "learning_rate=0.01/seed3" in shown.stdout
    assert "4 trials, 1,200 steps" in shown.stdout
    assert len(only_json(cli(*args, "--json"))["runs"]) == 4
    assert not list(tmp_path.iterdir())


def test_a_file_or_a_preset_is_what_all_trials_share(cli: Cli, tmp_path: Path) -> None:
    file, where = tmp_path / "own.toml", tmp_path / "sweep"
    file.write_text(f'env = "{BANDIT}"\nseed = 7\ntotal_steps = 40\ngamma = 0.5\n'
                    "n_steps = 4\n[env_args]\n")  # fmt: skip
    args = ("--config", file, "--env", BANDIT, "--seeds", "0-1", "--set", "gamma=.25",
            "--run-dir", where)  # fmt: skip
    record = only_json(cli("sweep", *args, "--total-steps", 20, "--jobs", 1, "--json"))
    assert [(run["env_id"], run["seed"]) for run in record["runs"]] == [(BANDIT, 0), (BANDIT, 1)]
    for run in record["runs"]:
        config = read_header(Path(run["run_dir"]) / "last.safetensors")[0].config
        assert (config.total_steps, config.gamma, config.n_steps) == (20, 0.25, 4)
    # Environments on the command line stand in for the file's.
    shown = cli("sweep", "--config", file, "--env", "CartPole-v1", "--seeds", "0", "--dry-run")
    assert "1 trial, 40 steps" in shown.stdout
    assert "CartPole" in shown.stdout
    shown = cli("sweep", "--preset", "notebook", "--envs", "atari-5", "--seeds", 0, "--dry-run")
    assert "5 trials" in shown.stdout


def test_the_process_of_the_sweep_imports_neither_torch_nor_ray() -> None:
    done = run_python(
        "-c",
        "import sys\n"
        "from a2c_cli.sweep import cluster, drive, local, plan, table\n"
        "print({'torch', 'ray', 'matplotlib'} & set(sys.modules))",
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_a_sweep_held_by_another_process_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    held = RunDir(tmp_path)
    outcome = cli(*BANDITS, "--run-dir", tmp_path)
    held.close()
    assert outcome.code == 1
    assert "another run is writing" in outcome.stderr


# --- kills


class Driver:
    """A sweep in a process of its own, as a user starts it."""

    def __init__(self, log: Path, *args: object) -> None:
        self._log = log
        path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "a2c_cli", *map(str, args)],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait(self, seconds: float = 120.0) -> tuple[int, str]:
        try:
            return self._process.wait(seconds), self._log.read_text()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"still running: {self._log.read_text()}") from None

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def trial_of(self, run_dir: Path) -> psutil.Process | None:
        """The process that has a run's lock open."""
        for child in self.children():
            try:
                if any(f.path == str(run_dir / "metrics.jsonl") for f in child.open_files()):
                    return child
            except psutil.Error:
                continue
        return None


def gone(processes: list[psutil.Process]) -> None:
    """Wait until none of them is left (a zombie is waiting for somebody else)."""

    def left() -> list[psutil.Process]:
        found = []
        for process in processes:
            try:
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    until(lambda: not left())


def steps(run_dir: Path) -> int:
    """Lines of metrics, which grow with the steps."""
    metrics = run_dir / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def slow_sweep(where: Path, pause: float = 0.004) -> tuple[object, ...]:
    """Two seeds at a time of a corridor of 600 steps; each writes a line every 20."""
    return ("sweep", "--env", "trouble_envs:trouble/Trouble-v0", "--env-arg", f"pause={pause}",
            "--seeds", "0-2", "--total-steps", 600, "--set", "log_every=20", "--set",
            "save_every=0.001", "--jobs", 2, "--run-dir", where)  # fmt: skip


def trial_dir(where: Path, seed: int) -> Path:
    slug = "trouble_envs-trouble-Trouble-v0/log_every=20,save_every=0.001"
    return where / slug / f"seed{seed}"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trials of `slow_sweep`, each trained alone and without the pauses."""
    where = tmp_path_factory.mktemp("sweeps") / "undisturbed"
    for seed in range(3):
        config = TrainConfig(env="trouble_envs:trouble/Trouble-v0", seed=seed, total_steps=600,
                             log_every=20, save_every=0.001)  # fmt: skip
        train(config, run_dir=trial_dir(where, seed))
    return where


@pytest.mark.slow
def test_killed_trials_and_a_stopped_sweep_end_as_if_left_alone(
    tmp_path: Path, undisturbed: Path
) -> None:
    where = tmp_path / "sweep"
    driver = Driver(tmp_path / "log", *slow_sweep(where))
    until(lambda: steps(trial_dir(where, 0)) > 20)
    victim = driver.trial_of(trial_dir(where, 0))
    assert victim is not None
    victim.kill()
    victim.wait(10)
    until(lambda: driver.trial_of(trial_dir(where, 0)) is not None)  # and it goes on
    processes = driver.children()
    trial = driver.trial_of(trial_dir(where, 0))
    assert trial is not None
    blocked = Path(f"/proc/{trial.pid}/status").read_text().partition("SigBlk:")[2].split()[0]
    assert int(blocked, 16) & 1 << (signal.SIGINT - 1)  # the sweep's own process answers it
    os.killpg(driver.pid, signal.SIGINT)  # Ctrl-C reaches the whole group
    code, said = driver.wait()
    assert code == 130, said
    assert "was killed by signal 9" in said
    assert "resume with: a2c sweep --env trouble_envs:trouble/Trouble-v0" in said
    gone(processes)
    kept = json.loads((where / "sweep.json").read_text())
    assert "interrupted" in {run["stopped"] for run in kept["runs"]}

    code, said = Driver(tmp_path / "log", *slow_sweep(where)).wait()
    assert code == 0, said
    assert differences(undisturbed, where) == {}


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--env-arg", "pause=1e6"), ("--env-arg", "kind=dead")])
def test_a_trial_that_does_not_come_back_is_named_and_ended(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    where = tmp_path / "sweep"
    driver = Driver(tmp_path / "log", *slow_sweep(where), *how, "--env-arg", "at=5")
    until(lambda: (trial_dir(where, 0) / "last.safetensors").exists())
    time.sleep(1.0)
    processes = driver.children()
    os.killpg(driver.pid, signal.SIGINT)
    code, said = driver.wait(90.0)
    assert code == 130, said
    assert f"note: {trial_dir(where, 0)}: it did not come back and was ended" in said
    gone(processes)


@pytest.mark.slow
def test_nothing_outlives_a_killed_sweep_and_the_same_command_goes_on(
    tmp_path: Path, undisturbed: Path
) -> None:
    where = tmp_path / "sweep"
    driver = Driver(tmp_path / "log", *slow_sweep(where))
    until(lambda: min(steps(trial_dir(where, seed)) for seed in (0, 1)) > 20)
    processes = driver.children()
    assert len(processes) >= 3
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    gone(processes)
    for seed in (0, 1):  # saved where they were, long before their end
        assert saved_steps(trial_dir(where, seed)) < 600
    code, said = Driver(tmp_path / "log", *slow_sweep(where)).wait()
    assert code == 0, said
    assert differences(undisturbed, where) == {}


def test_a_trial_waits_for_one_that_is_still_saving(tmp_path: Path) -> None:
    (trial,) = plan(Request((BANDIT,), (0,), {"total_steps": 20}))
    held = RunDir(tmp_path)
    releasing = threading.Timer(0.5, held.close)
    releasing.start()
    assert run_trial(trial.config, tmp_path, lambda p: None, lambda: None) == ("completed", "")
    assert releasing.finished.is_set()


# --- Ray


def skip_without_ray() -> None:
    """Its tests are for where the extra is installed, as in CI's second half."""
    pytest.importorskip("ray", reason="ray is not installed (extra ray)")


class TwoNodes:
    """Two Ray nodes of one CPU on this machine; the sweep's own process joins the first."""

    def __init__(self) -> None:
        skip_without_ray()
        from ray.cluster_utils import Cluster

        # Ray takes 127.0.0.1 for the host's own address, which may be walled off.
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.2",
                            "include_dashboard": False},
        )  # fmt: skip
        self._second = self._cluster.add_node(num_cpus=1, node_ip_address="127.0.0.3")
        self.address = self._cluster.address

    def kill_second(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    nodes = TwoNodes()
    yield nodes
    nodes.close()


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["shared directory", "brought back"])
def test_a_node_lost_in_mid_sweep_changes_nothing(
    shared: bool, tmp_path: Path, two_nodes: TwoNodes, undisturbed: Path
) -> None:
    where = tmp_path / "sweep"
    # A pause that outlives the minute in which the cluster takes the other node for dead.
    driver = Driver(
        tmp_path / "log", *slow_sweep(where, pause=0.02),
        "--backend", "ray", "--ray-address", two_nodes.address,
    )  # fmt: skip
    if not shared:  # without the mark each node takes the directory for its own
        until(lambda: bool(list(where.glob(".shared-*"))), 60)
        next(where.glob(".shared-*")).unlink()
    begun = [trial_dir(where, seed) for seed in (0, 1)]
    until(lambda: min(map(steps, begun)) > 10, 120)
    assert (begun[0] / ".lock").exists() == shared
    before = min(map(steps, begun))
    two_nodes.kill_second()
    code, said = driver.wait(300)
    assert code == 0, said
    assert said.count("Ray lost its process or node") == 1
    assert before > 10
    assert differences(undisturbed, where) == {}
    assert not list(where.glob(".shared-*"))


@pytest.mark.slow
def test_two_games_and_three_seeds_are_the_same_here_and_on_ray(tmp_path: Path) -> None:
    skip_without_ray()
    here, on_ray = tmp_path / "local", tmp_path / "ray"
    args = ("sweep", "--env", "ALE/Breakout-v5", "--env", "ALE/Pong-v5", "--seeds", "0-2",
            "--total-steps", 1500, "--set", "log_every=500", "--jobs", 2, "--json")  # fmt: skip
    code, said = Driver(tmp_path / "log", *args, "--run-dir", here).wait(300)
    assert code == 0, said
    expected = json.loads(said.splitlines()[-1])
    driver = Driver(tmp_path / "log", *args, "--run-dir", on_ray, "--backend", "ray")
    pong = on_ray / "ALE-Pong-v5/log_every=500/seed0"
    until(lambda: steps(pong) >= 2, 120)
    victim = driver.trial_of(pong)  # kill -9: Ray begins another process
    if victim is not None:
        victim.kill()
    code, said = driver.wait(300)
    assert code == 0, said
    assert differences(here, on_ray) == {}
    found = json.loads(said.splitlines()[-1])
    assert found["summary"] == expected["summary"]
    assert found["aggregate"] == expected["aggregate"]


@pytest.mark.slow
def test_a_sweep_on_ray_stops_and_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    skip_without_ray()
    where = tmp_path / "sweep"
    command = (*slow_sweep(where), "--backend", "ray")
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        before = max(steps(trial_dir(where, seed)) for seed in range(3))
        driver = Driver(tmp_path / "log", *command)
        until(
            lambda before=before: max(steps(trial_dir(where, s)) for s in range(3)) > before + 5, 90
        )
        os.kill(driver.pid, number)
        found, said = driver.wait(60)
        assert found == code, said
    code, said = Driver(tmp_path / "log", *command).wait(120)
    assert code == 0, said
    assert differences(undisturbed, where) == {}
