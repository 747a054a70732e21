"""The command line: exit codes, what goes to which stream, and JSON that scripts rely on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from contract import EVALUATE_KEYS, INSPECT_KEYS, TRAIN_KEYS, only_json
from process import Outcome, run_python

from a2c_cli.config.text import from_dict, from_toml

Cli = Callable[..., Outcome]


def assert_error(outcome: Outcome, code: int, *words: str) -> None:
    """`error: ...` and at most `hint: ...`, nothing else, and no traceback."""
    assert outcome.code == code, outcome.stderr
    assert outcome.stdout == ""
    lines = outcome.stderr.splitlines()
    talk = [line for line in lines if not line.startswith(("error: ", "hint: "))]
    assert not [line for line in talk if "Traceback" in line or "File " in line]
    assert [line.split(":")[0] for line in lines if line not in talk] in (
        ["error", "hint"],
        ["error"],
    )
    for word in words:
        assert word in outcome.stderr


# --- train


def test_train_reports_one_json_object(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = cli("train", "--env", "ALE/Pong-v5", "--total-steps", 30, "--run-dir", run, "--json")
    record = only_json(outcome)
    assert set(record) == TRAIN_KEYS
    assert record["run_dir"] == str(run)
    assert record["last"] == str(run / "last.safetensors")
    assert record["best"] is None
    assert (record["env_steps"], record["frames"]) == (30, 120)
    assert record["stopped"] == "completed"
    assert "120 frames" in outcome.stderr


def test_quiet_says_where_the_run_is_and_nothing_else(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "--env", "CartPole-v1", "--total-steps", 40, "-q",
                  "--run-dir", tmp_path / "run")  # fmt: skip
    assert outcome == Outcome(0, f"{tmp_path / 'run'}\n", "")


def test_every_option_reaches_the_run(cli: Cli, tmp_path: Path) -> None:
    outcome = cli(
        "train", "--env", "ALE/Breakout-v5", "--seed", 5, "--env-arg", "mode=4",
        "--env-arg", "repeat_action_probability=0.1", "--n-steps", 7, "--no-life-loss",
        "--learning-rate", "1e-3", "--network", "notebook", "--show-config",
    )  # fmt: skip
    config = from_dict(from_toml(outcome.stdout, "stdout"))
    assert (config.env, config.seed, config.n_steps) == ("ALE/Breakout-v5", 5, 7)
    assert config.env_args == {"mode": 4, "repeat_action_probability": 0.1}
    assert (config.life_loss, config.learning_rate) == (False, 1e-3)
    assert config.network == "notebook"
    assert config.gamma == 0.99  # the rest is resolved
    assert outcome.stderr == ""


def test_a_shown_config_runs_again(cli: Cli, tmp_path: Path) -> None:
    shown = cli("train", "--env", "CartPole-v1", "--total-steps", 20, "--show-config").stdout
    file = tmp_path / "my.toml"
    file.write_text(shown)
    run = tmp_path / "run"
    only_json(cli("train", "--config", file, "--run-dir", run, "--json", "--total-steps", 30))
    assert (run / "config.toml").read_text() == shown.replace(
        "total_steps = 20", "total_steps = 30"
    )
    # And what a run has written feeds --config too.
    second = tmp_path / "second"
    only_json(cli("train", "--config", run / "config.toml", "--run-dir", second, "--json"))
    assert (second / "config.toml").read_bytes() == (run / "config.toml").read_bytes()


def test_options_win_over_the_file_and_the_file_over_the_preset(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('env = "ALE/Pong-v5"\nn_steps = 3\ngamma = 0.5\n')
    shown = cli("train", "--preset", "notebook", "--config", file, "--gamma", 0.25, "--show-config")
    config = from_dict(from_toml(shown.stdout, "stdout"))
    assert (config.network, config.n_steps, config.gamma) == ("notebook", 3, 0.25)


def test_a_file_may_need_what_the_command_line_adds(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('best_by = "evaluation"\n')
    args = ("train", "--config", file, "--env", "CartPole-v1", "--show-config")
    assert_error(cli(*args), 2, "--best-by evaluation needs evaluations")
    assert cli(*args, "--eval-every", 100).code == 0


def test_resume_goes_on_in_place(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("train", "--env", "CartPole-v1", "--total-steps", 50, "--run-dir", run, "-q")
    record = only_json(cli("train", "--resume", run, "--total-steps", 80, "--json"))
    assert (record["env_steps"], record["run_dir"]) == (80, str(run))


def test_a_diverged_run_ends_with_code_1_and_its_last_checkpoint(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "--env", "Pendulum-v1", "--total-steps", 500, "--learning-rate", "1e30",
                  "--max-grad-norm", 0, "--policy-step", "gradient", "--optimizer", "rmsprop",
                  "--reward-transform", "none", "--json",
                  "--run-dir", tmp_path / "run")  # fmt: skip
    assert outcome.code == 1
    assert json.loads(outcome.stdout)["stopped"] == "diverged"
    assert "error: the run diverged" in outcome.stderr
    assert str(tmp_path / "run" / "last.safetensors") in outcome.stderr


# --- evaluate, record, inspect


def test_evaluate_reports_one_json_object(cli: Cli, cartpole_run: Path) -> None:
    outcome = cli("evaluate", cartpole_run, "-n", 3, "--jobs", 1, "--json", "--seed", 2)
    record = only_json(outcome)
    assert set(record) >= EVALUATE_KEYS
    assert (record["episodes"], record["seed"], record["policy"]) == (3, 2, "sampled")
    assert record["checkpoint"] in outcome.stderr


def test_evaluate_shows_a_table_without_json(cli: Cli, cartpole_run: Path) -> None:
    outcome = cli("evaluate", cartpole_run, "-n", 3, "--jobs", 1, "--greedy", "-q")
    assert outcome.code == 0
    assert outcome.stderr == ""
    for word in ("CartPole-v1", "greedy", "mean", "95 % interval", "IQM", "step limit 500"):
        assert word in outcome.stdout


def test_record_reports_one_json_object(cli: Cli, breakout_run: Path, tmp_path: Path) -> None:
    record = only_json(
        cli("record", breakout_run, "-o", tmp_path, "-n", 2, "--max-steps", 4, "--json")
    )
    assert len(record["files"]) == len(record["episodes"]) == 2
    for file, episode in zip(record["files"], record["episodes"], strict=True):
        assert set(episode) == {"return", "length", "file", "cut"}
        assert (episode["length"], episode["file"]) == (4, file)
        assert Path(file).stat().st_size > 0


def test_record_draws_what_it_is_asked_for(cli: Cli, breakout_run: Path, tmp_path: Path) -> None:
    outcome = cli("record", breakout_run, "-o", tmp_path, "--overlay", "--saliency", "--best-of",
                  2, "--fps", 30, "--max-steps", 3, "--json")  # fmt: skip
    (file,) = only_json(outcome)["files"]
    assert list(tmp_path.iterdir()) == [Path(file)]
    outcome = cli("record", breakout_run, "-o", tmp_path / "one.gif", "--saliency-method",
                  "perturbation", "--max-steps", 1)  # fmt: skip
    assert outcome.code == 0
    assert str(tmp_path / "one.gif") in "".join(outcome.stdout.split())


def test_a_machine_without_a_desktop_is_no_error(cartpole_run: Path, tmp_path: Path) -> None:
    done = run_python("-m", "a2c_cli", "record", str(cartpole_run), "-o", str(tmp_path / "a.mp4"),
                      "--max-steps", "2", "-q")  # fmt: skip
    assert (done.code, done.stderr) == (0, "")


def test_inspect_looks_at_the_weights_when_asked(
    cli: Cli, breakout_run: Path, tmp_path: Path
) -> None:
    outcome = cli("inspect", breakout_run, "--weights", "--filters", tmp_path / "f.png")
    assert outcome.code == 0
    for word in ("norm", "max |w|", "NaN/inf"):
        assert word in outcome.stdout
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_reports_one_json_object(cli: Cli, cartpole_run: Path) -> None:
    record = only_json(cli("inspect", cartpole_run, "--json"))
    assert set(record) >= INSPECT_KEYS


def test_inspect_shows_layers_and_settings_without_json(cli: Cli, cartpole_run: Path) -> None:
    outcome = cli("inspect", cartpole_run)
    assert outcome.code == 0
    for word in ("critic_torso.hidden1 ", "64x4", "FLOPs/step", "learning_rate", "sha256", "total"):
        assert word in outcome.stdout


def test_left_out_the_checkpoint_is_the_newest_and_its_name_is_told(
    cli: Cli, cartpole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_error(cli("inspect"), 1, "there is no checkpoint", "a2c train --env")
    place = tmp_path / "checkpoints" / "mine"
    place.mkdir(parents=True)
    (place / "last.safetensors").write_bytes((cartpole_run / "last.safetensors").read_bytes())
    outcome = cli("inspect", "--json")
    assert only_json(outcome)["checkpoint"] == "checkpoints/mine/last.safetensors"
    assert "checkpoints/mine/last.safetensors" in outcome.stderr


# --- errors


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train"], ["no environment"]),
        (["train", "--env", "CartPol-v1"], ["CartPole-v1"]),
        (["train", "--env", "CartPole-v1", "--gamma", "2"], ["--gamma", "between 0 and 1"]),
        (["train", "--env", "CartPole-v1", "--gamma", "x"], ["--gamma"]),
        (["train", "--env", "CartPole-v1", "--frame-skip", "2"], ["--frame-skip", "no effect"]),
        (["train", "--env", "CartPole-v1", "--optimizer", "sgd"], ["rmsprop", "adam"]),
        (["train", "--env", "CartPole-v1", "--preset", "none"], ["notebook"]),
        (["train", "--env", "CartPole-v1", "--env-arg", "x"], ["key=value"]),
        (["train", "--config", "/no/such.toml"], ["/no/such.toml"]),
        (["train", "--no-such-option"], ["--no-such-option"]),
        (["train", "--env", "CartPole-v1", "--total-steps", "9" * 400], ["--total-steps"]),
        (["evaluate", "-n", "0"], ["--episodes"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_wrong_usage_ends_with_code_2_and_names_the_option(
    cli: Cli, args: list[str], words: list[str]
) -> None:
    assert_error(cli(*args), 2, *words)


def test_a_file_with_an_unknown_key_suggests_the_known_one(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('env = "CartPole-v1"\ngama = 0.9\n')
    assert_error(cli("train", "--config", tmp_path / "c.toml"), 2, "'gama'", "'gamma'")


def test_a_file_of_an_earlier_version_feeds_config_unless_it_asks_for_what_is_gone(
    cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('env = "CartPole-v1"\nadam_beta1 = 0.9\nrmsprop_alpha = 0.99\n')
    assert cli("train", "--config", file, "--show-config").code == 0
    file.write_text('env = "CartPole-v1"\nadam_beta1 = 0.8\n')
    assert_error(cli("train", "--config", file), 2, "adam_beta1 = 0.8", "no longer has")


def test_resume_keeps_the_runs_own_settings(cli: Cli, cartpole_run: Path) -> None:
    for extra in (["--seed", "1"], ["--preset", "notebook"]):
        assert_error(cli("train", "--resume", cartpole_run, *extra), 2, extra[0])
    assert_error(cli("train", "--resume", cartpole_run, "--gamma", "0.5"), 2, "--gamma")


@pytest.mark.parametrize("command", ["evaluate", "record", "inspect"])
def test_work_that_fails_ends_with_code_1(cli: Cli, command: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(b"no checkpoint")
    assert_error(cli(command, file, "-q"), 1, "bad.safetensors")
    assert_error(cli(command, tmp_path / "none", "-q"), 1, "there is no checkpoint")


def test_an_environment_that_breaks_ends_with_code_1(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "--env", "tiny/Faulty-v0", "--env-arg", "fault=raises in step",
                  "--total-steps", 50, "--run-dir", tmp_path / "run", "-q")  # fmt: skip
    assert_error(outcome, 1, "tiny/Faulty-v0 raised in step: RuntimeError: arm fell off")


def test_debug_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2C_DEBUG", "1")
    outcome = cli("inspect", "/none")
    assert outcome.code == 1
    assert "Traceback" in outcome.stderr
    assert "error: there is no checkpoint" in outcome.stderr


# --- talk


def test_the_command_that_resumes_is_one_line_however_long_the_path(
    cli: Cli, tmp_path: Path
) -> None:
    from a2c_cli.terminal import live
    from a2c_cli.training.engine import TrainResult

    run = tmp_path / ("a" * 100) / ("b" * 100)
    command = f"a2c train --resume {run}"
    result = TrainResult(
        run, run / "last", None, 1, 1, 0, 0, None, 1.0, "interrupted", resume_command=command
    )
    capture = cli("--version")
    assert capture.code == 0
    assert capture.stdout.startswith("a2c 0.")
    import contextlib
    import io

    with contextlib.redirect_stderr(io.StringIO()) as talk:
        live.train_result(result, json=False, quiet=True)
    assert f"resume with: {command}\n" in talk.getvalue()


def test_no_colours_or_progress_bars_where_there_is_no_terminal(
    cli: Cli, cartpole_run: Path, tmp_path: Path
) -> None:
    outcome = cli("train", "--env", "CartPole-v1", "--total-steps", 60, "--run-dir", tmp_path / "r")
    assert "\x1b" not in outcome.stderr + outcome.stdout
    assert "\r" not in outcome.stderr
    assert "training on CartPole-v1" in outcome.stderr
    assert "\x1b" not in cli("inspect", cartpole_run).stdout


@pytest.mark.parametrize("command", ["train", "evaluate", "record", "inspect"])
def test_help_has_examples(cli: Cli, command: str) -> None:
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert "Examples" in outcome.stdout
    assert f"a2c {command}" in outcome.stdout


def test_alone_it_shows_the_commands_in_the_order_of_their_life(cli: Cli) -> None:
    text = cli("--help").stdout
    places = [text.index(f"\n  {c} ") for c in ("train", "evaluate", "record", "inspect")]
    assert places == sorted(places)


def test_the_module_runs_as_the_script_does(cartpole_run: Path) -> None:
    done = run_python("-m", "a2c_cli", "inspect", str(cartpole_run), "--json")
    assert done.code == 0
    assert set(json.loads(done.stdout)) >= INSPECT_KEYS
    done = run_python("-m", "a2c_cli", "inspect", os.devnull)
    assert done.code == 1
    assert done.stderr.splitlines()[-2].startswith("error: ")
    assert done.stdout == ""
