"""Settings as text: what is written reads back equal, and nothing in it is evaluated as code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2c_cli.config.settings import TrainConfig, settings, value_type
from a2c_cli.config.text import from_dict, from_toml, parse_scalar, to_dict, to_toml
from a2c_cli.errors import ConfigError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXT
)
ARGUMENTS = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT, part, max_size=3),
    max_leaves=5,
)


@st.composite
def configs(draw: st.DrawFn) -> TrainConfig:
    values: dict[str, Any] = {
        "env": draw(TEXT.filter(str.strip)),
        "env_args": draw(st.dictionaries(TEXT, ARGUMENTS, max_size=4)),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }
    for name, field in settings().items():
        meta, kind = field.metadata, value_type(name)
        if draw(st.booleans()):
            continue
        low, high = max(meta["low"], -(2**62)), min(meta["high"], 2**62)
        if kind is tuple:
            names = [choice for choice in meta["choices"] if choice != "none"]
            values[name] = draw(st.lists(st.sampled_from(names)))
        elif name == "network":
            values[name] = draw(st.sampled_from(["a3c", "mlp", "8@5/3,32", "64,64"]))
        elif name == "init_from":
            values[name] = draw(TEXT.filter(bool))
        elif meta["choices"]:
            values[name] = draw(st.sampled_from([c for c in meta["choices"] if c != "exponential"]))
        elif kind is bool:
            values[name] = draw(st.booleans())
        elif kind is int:
            values[name] = draw(st.integers(int(low), int(high)))
        else:
            values[name] = draw(st.floats(low, high, exclude_min=meta["open_low"], allow_nan=False))
    if not values.get("eval_every"):
        values.pop("best_by", None)
    if not values.get("tracker"):
        values.pop("histograms", None)
    if "init_from" in values:
        values.pop("calibration_steps", None)
    return TrainConfig(**values)


# --- round trips


@given(configs())
def test_toml_round_trip_is_exact(config: TrainConfig) -> None:
    text = to_toml(config).encode().decode()
    assert from_dict(from_toml(text, "a file")) == config


@given(configs())
def test_dict_round_trip_is_exact(config: TrainConfig) -> None:
    assert from_dict(to_dict(config)) == config


@given(TEXT, TEXT)
def test_any_text_survives_as_environment_argument_and_as_its_name(key: str, value: str) -> None:
    config = TrainConfig(env="x", env_args={key: value})
    assert from_dict(from_toml(to_toml(config), "a file")).env_args == {key: value}


def test_bytes_that_are_no_text_are_refused_before_a_file_is_written() -> None:
    for values in ({"env": "a\udcff"}, {"env": "a", "env_args": {"k": "\udcff"}}):
        with pytest.raises(ConfigError, match="not valid Unicode"):
            from_dict(values)


def test_unset_settings_stay_out_of_the_file() -> None:
    assert to_toml(TrainConfig(env="CartPole-v1")) == 'env = "CartPole-v1"\nseed = 0\n'


def test_text_that_is_not_toml_names_its_source() -> None:
    for text in ("env = ", "a = 1\na = 2", "x = " + "9" * 5000, "a = " + "[" * 5000):
        with pytest.raises(ConfigError, match=r"my\.toml is not valid TOML"):
            from_toml(text, "my.toml")


def test_a_key_of_half_a_million_words_is_refused_before_it_costs_hours() -> None:
    for word in ("a", '"a"', "'a'"):
        with pytest.raises(ConfigError, match="nested too deeply"):
            from_toml(f"{word} ." * 2**17 + "b = 1", "my.toml")


def test_unknown_key_suggests_the_closest_one() -> None:
    with pytest.raises(ConfigError, match="learning_rat'") as caught:
        from_dict({"env": "x", "learning_rat": 1.0}, "my.toml")
    assert "'learning_rate'" in caught.value.hint
    assert "my.toml" in caught.value.message


def test_unknown_key_that_resembles_nothing_says_where_to_look() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict({"env": "x", "qqq": 1})
    assert "--show-config" in caught.value.hint


# --- one value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("1e-3", 1e-3),
        (".9", 0.9),
        ("-1.", -1.0),
        ("+.5e-3", 5e-4),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("true", True),
        ("false", False),
        ('"1"', "1"),
        ("'a b'", "a b"),
        ("slippery", "slippery"),
        ("True", "True"),
        ("", ""),
        ("[1]", "[1]"),
        ("{a=1}", "{a=1}"),
        ("1\nother = 2", 1),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_environment_arguments_are_toml_scalars_or_plain_text(text: str, value: object) -> None:
    parsed = parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


@given(TEXT)
def test_any_text_parses_to_a_scalar(text: str) -> None:
    assert isinstance(parse_scalar(text), bool | int | float | str)
