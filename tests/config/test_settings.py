"""Settings: checks, defaults by kind, and one option for every one of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import typer

from a2c_cli.algorithm.schedules import entropy_schedule, learning_rate_schedule
from a2c_cli.commands.options import parse_count, parse_env_args
from a2c_cli.config.defaults import CONTINUOUS, PRESETS
from a2c_cli.config.kinds import KINDS
from a2c_cli.config.resolve import resolve, wrappers_of
from a2c_cli.config.settings import (
    TrainConfig,
    option,
    settings,
    validate,
    value_type,
)
from a2c_cli.config.text import from_dict, from_toml, to_dict, to_toml
from a2c_cli.errors import ConfigError

# --- checks


def test_trackers_are_a_set_of_names() -> None:
    some = TrainConfig(env="x", tracker=["wandb", "tensorboard", "wandb"])  # type: ignore[arg-type]
    assert some.tracker == ("tensorboard", "wandb")
    assert 'tracker = ["tensorboard", "wandb"]' in to_toml(some)
    assert TrainConfig(env="x", tracker=("none",)).tracker == ()
    for wrong in ("wandb", ["none", "wandb"], ["mlflow"], [1], 3):
        with pytest.raises(ConfigError, match="--tracker"):
            TrainConfig(env="x", tracker=wrong)  # type: ignore[arg-type]


def test_histograms_need_a_tracker() -> None:
    for tracker in (None, (), ("none",)):
        with pytest.raises(ConfigError, match="--histograms needs a tracker"):
            TrainConfig(env="x", histograms=True, tracker=tracker)  # type: ignore[arg-type]
    TrainConfig(env="x", histograms=True, tracker=("wandb",))


NUMBERS = [n for n in settings() if value_type(n) in (int, float)]


@pytest.mark.parametrize("name", [n for n in NUMBERS if value_type(n) is float])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=option(name)):
        TrainConfig(env="x", **{name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_the_ends_of_the_range_are_allowed_and_what_lies_beyond_is_not(name: str) -> None:
    meta = settings()[name].metadata
    step = 1 if value_type(name) is int else 1e-3
    kind = value_type(name)
    low, high = meta["low"], meta["high"]
    assert low > -math.inf, f"{name} has no lower bound"
    if not meta["open_low"]:
        TrainConfig(env="x", **{name: kind(low)})
    with pytest.raises(ConfigError, match=f"{option(name)} must be"):
        TrainConfig(env="x", **{name: kind(low) - (0 if meta["open_low"] else step)})
    if high < math.inf:
        TrainConfig(env="x", **{name: kind(high)})
    beyond = kind(high) + step if high < math.inf else (10**400 if kind is int else math.inf)
    with pytest.raises(ConfigError, match=f"{option(name)} must be"):
        TrainConfig(env="x", **{name: beyond})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_steps", 5.5),
        ("n_steps", "5"),
        ("n_steps", True),
        ("gamma", "0.9"),
        ("gamma", True),
        ("optimizer", 1),
        ("life_loss", 1),
    ],
)
def test_values_of_another_type_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match="must be of type"):
        TrainConfig(env="x", **{name: value})


def test_a_whole_number_is_fine_where_a_real_one_is_wanted() -> None:
    config = TrainConfig(env="x", gamma=1)
    assert config.gamma == 1.0
    assert isinstance(config.gamma, float)


@pytest.mark.parametrize("name", [n for n, f in settings().items() if f.metadata["choices"]])
def test_a_choice_that_is_none_lists_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(env="x", **{name: "nonsense"})
    assert all(choice in caught.value.hint for choice in settings()[name].metadata["choices"])


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, "0"])
def test_seeds_outside_their_range_are_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="--seed"):
        TrainConfig(env="x", seed=seed)


@pytest.mark.parametrize("env", ["", "  ", 3])
def test_an_environment_must_be_named(env: Any) -> None:
    with pytest.raises(ConfigError, match="no environment"):
        TrainConfig(env=env)


def test_environment_arguments_must_be_plain_values() -> None:
    with pytest.raises(ConfigError, match="--env-arg a"):
        TrainConfig(env="x", env_args={"a": [{1}]})  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="env_args must be a table"):
        from_dict({"env": "x", "env_args": 3})


def test_an_exponential_schedule_cannot_reach_zero() -> None:
    with pytest.raises(ConfigError, match="--entropy-schedule"):
        TrainConfig(env="x", entropy_schedule="exponential", entropy_coef_end=0.0)
    with pytest.raises(ConfigError, match="--learning-rate-schedule"):
        TrainConfig(env="x", learning_rate_schedule="exponential", learning_rate_end=0.0)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig(env="x").seed = 1  # type: ignore[misc]


def test_a_config_does_not_notice_changes_of_the_arguments_it_was_given() -> None:
    args: dict[str, Any] = {"mode": 1, "map": ["SF"]}
    config = TrainConfig(env="x", env_args=args)
    args["mode"] = 2
    args["map"].append("FG")
    assert config.env_args == {"mode": 1, "map": ["SF"]}


# --- resolve


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("numbers", [0, 3])
def test_a_run_s_settings_have_a_value_for_everything_and_write_down_what_they_use(
    kind: str, numbers: int
) -> None:
    run = resolve(TrainConfig(env="x"), kind, numbers=numbers)
    assert all(getattr(run, name) is not None for name in settings())
    written = to_dict(run)
    assert tuple(wrappers_of(run)) == KINDS[kind].wrappers
    for name, field in settings().items():
        used = kind in field.metadata["kinds"]
        used = used and field.metadata["continuous"] in (None, numbers > 0)
        used = used and name != "init_from"  # it says nothing
        assert (name in written) == used, name
    assert resolve(from_dict(written), kind, numbers=numbers) == run


@pytest.mark.parametrize("kind", KINDS)
def test_resolving_twice_changes_nothing(kind: str) -> None:
    once = resolve(TrainConfig(env="x", learning_rate=0.1, seed=3), kind)
    assert resolve(once, kind) == once
    validate(once)


def test_what_is_given_wins_over_the_default() -> None:
    config = resolve(TrainConfig(env="x", n_steps=7, normalize_obs=False), "vector")
    assert (config.n_steps, config.normalize_obs) == (7, False)
    assert config.gamma == KINDS["vector"].defaults["gamma"]


def test_actor_and_critic_take_the_learning_rate_unless_told_otherwise() -> None:
    config = resolve(TrainConfig(env="x", learning_rate=0.5, actor_learning_rate=0.1), "vector")
    assert (config.actor_learning_rate, config.critic_learning_rate) == (0.1, 0.5)


def test_continuous_actions_have_defaults_of_their_own() -> None:
    config = resolve(TrainConfig(env="x"), "vector", numbers=4)
    assert {name: getattr(config, name) for name in CONTINUOUS} == CONTINUOUS
    assert 4 * math.exp(config.log_std_init) ** 2 == pytest.approx(1.0)
    config = resolve(TrainConfig(env="x", log_std_init=-2.0), "vector", numbers=4)
    assert config.log_std_init == -2.0


def test_a_small_entropy_coefficient_does_not_rise_to_the_default_end() -> None:
    config = resolve(TrainConfig(env="x", entropy_coef=1e-5), "atari")
    assert config.entropy_coef_end == 1e-5


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        ("vector", {"frame_skip": 4}, "--frame-skip"),
        ("vector", {"life_loss": True}, "--life-loss"),
        ("vector", {"frame_stack": 4}, "--frame-stack"),
        ("image", {"screen_size": 84}, "--screen-size"),
        ("atari", {"normalize_obs": True}, "--normalize-obs"),
        ("atari", {"network": "64,64"}, "--network 64,64"),
        ("atari", {"network": "mlp"}, "--network mlp"),
        ("vector", {"network": "nature"}, "--network nature"),
        ("vector", {"log_std_init": 0.0}, "--log-std-init"),
        ("vector", {"calibration_steps": 5}, "--calibration-steps"),
    ],
)
def test_a_setting_without_effect_is_an_error_not_ignored(
    kind: str, values: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        resolve(TrainConfig(env="x", **values), kind)


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ({"entropy_schedule": "constant"}, "entropy_coef_end"),
        ({"entropy_schedule": "constant"}, "entropy_hold"),
        ({"learning_rate_schedule": "constant"}, "learning_rate_end"),
        ({"prediction_coef": 0.0}, "prediction_share"),
        ({"entropy_floor": 0.0}, "entropy_floor_end"),
        ({"eval_every": 0}, "eval_episodes"),
    ],
)
def test_a_setting_that_another_leaves_without_effect_is_an_error_if_it_was_asked_for(
    values: dict[str, Any], asked: str
) -> None:
    complete = resolve(TrainConfig(env="x", **values), "atari")  # as a config.toml has them all
    assert resolve(complete, "atari") == complete
    with pytest.raises(ConfigError, match=f"{option(asked)} has no effect without"):
        resolve(complete, "atari", asked={asked})
    for name in values:
        assert resolve(complete, "atari", asked={name}) == complete


def test_an_mlp_may_look_at_images() -> None:
    assert resolve(TrainConfig(env="x", network="mlp"), "image").network == "mlp"
    assert resolve(TrainConfig(env="x", network="8"), "image").network == "8"


def test_schedules_start_and_end_where_the_settings_say() -> None:
    config = resolve(
        TrainConfig(env="x", entropy_coef=0.2, entropy_coef_end=0.1, learning_rate_end=0.25),
        "atari",
    )
    assert (entropy_schedule(config)(0.0), entropy_schedule(config)(1.0)) == (0.2, 0.1)
    assert entropy_schedule(config)(config.entropy_hold) == 0.2
    assert (learning_rate_schedule(config)(0.0), learning_rate_schedule(config)(1.0)) == (1.0, 0.25)


def test_the_notebooks_recipe_is_kept_as_it_was() -> None:
    config = resolve(TrainConfig(env="ALE/Breakout-v5", **PRESETS["notebook"]), "atari")
    expected = {
        "network": "notebook",
        "n_steps": 1,
        "gamma": 1.0,
        "optimizer": "adam",
        "optimizer_eps": 1e-8,
        "learning_rate": 1e-4,
        "value_coef": 0.5,
        "entropy_coef": 2e-3,
        "max_grad_norm": 0.5,
        "reward_transform": "none",
        "life_loss": False,
        "init": "torch",
        "frame_skip": 4,
        "frame_stack": 4,
        "noop_max": 30,
    }
    assert {name: getattr(config, name) for name in expected} == expected
    assert learning_rate_schedule(config)(0.9) == 1.0
    assert entropy_schedule(config)(0.9) == 2e-3


# --- options


def train_options() -> dict[str, Any]:
    from a2c_cli.commands.app import app

    command = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    return {parameter.name: parameter for parameter in command.params}


def test_every_setting_has_one_option_spelt_like_it_and_every_option_is_documented() -> None:
    options = train_options()
    own = {"run_dir", "resume", "fresh_episode", "config", "preset", "show_config", "json", "quiet",
           "help", "help_all", "env_id"}  # fmt: skip
    fields = {f.name for f in dataclasses.fields(TrainConfig)} - {"source", "unused"}
    named = {"env_arg" if name == "env_args" else name for name in fields}
    assert set(options) - own == named
    for name in named:
        assert option(name) in options[name].opts
        assert options[name].help, name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gamma", "0.99, continuous 0.995"),
        ("life_loss", "on"),
        ("histograms", "off"),
        ("tracker", "none"),
        ("network", "atari a3c, image nature, vector mlp"),
        ("max_kl", "pixels 0.05, vector 0.02, continuous 0.04"),
        ("n_steps", "pixels 80, vector 1,024, continuous 2,048"),
        ("total_steps", "pixels 2,500,000, vector 500,000, continuous 1,000,000"),
    ],
)
def test_help_shows_the_default_by_kind_where_the_kinds_differ(name: str, shown: str) -> None:
    assert train_options()[name].help.endswith(f". [dim]({shown})[/dim]")


def test_help_shows_no_default_of_settings_that_follow_another() -> None:
    options = train_options()
    without = {name for name in settings() if "[dim]" not in options[name].help}
    assert without == {"actor_learning_rate", "critic_learning_rate", "init_from", "log_std_init"}


def test_switches_can_be_turned_off() -> None:
    assert train_options()["life_loss"].secondary_opts == ["--no-life-loss"]


# --- --env-arg


def test_pairs_become_keyword_arguments() -> None:
    assert parse_env_args(["mode=1", "name=a=b"]) == {"mode": 1, "name": "a=b"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false", False), ("False", False), ("True", True), ("None", None), ("3", 3), (".9", 0.9),
        ("1e3", 1000.0), ('"False"', "False"), ('["SF", "FG"]', ["SF", "FG"]),
        ("{a = [1, {b = true}]}", {"a": [1, {"b": True}]}), ("8x8", "8x8"), ("ram", "ram"),
        ("data/map one.txt", "data/map one.txt"), ("[]", []),
    ],
)  # fmt: skip
def test_values_are_those_of_toml_or_python_or_plain_words(text: str, value: Any) -> None:
    parsed = parse_env_args([f"x={text}"])["x"]
    assert parsed == value
    assert type(parsed) is type(value)
    config = TrainConfig(env="x", env_args={"x": parsed})
    assert from_dict(from_toml(to_toml(config), "a file")) == config


@pytest.mark.parametrize(
    "text", ["", "none", "no", "FALSE", "(1, 2)", "[1, 2", "{a: 1}", '"', "a, b", "1979-05-27"]
)
def test_what_could_be_mistaken_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--env-arg x"):
        parse_env_args([f"x={text}"])


@pytest.mark.parametrize(
    ("text", "count"), [("1e6", 10**6), ("2.5e6", 2_500_000), ("1_000", 1000), ("7", 7)]
)
def test_counts_may_be_written_as_people_do(text: str, count: int) -> None:
    assert parse_count(text) == count
    for wrong in ("1.5", "1e-1", "nan", "inf", "many", "1e400"):
        with pytest.raises(typer.BadParameter, match="not a whole number"):
            parse_count(wrong)


@pytest.mark.parametrize("pair", ["mode", "=1", "a b=1", "1a=1", "a-b=1"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_env_args([pair])
