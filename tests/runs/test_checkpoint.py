"""Checkpoints: exact round trips, and files that are not what they should be."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from process import run_python
from safetensors import safe_open
from specs import DISCRETE, MULTI, pixel_spec, settings_for, vector_spec

import a2c_cli
from a2c_cli import TrainConfig, train
from a2c_cli.envs.spec import ActionSpec
from a2c_cli.errors import CheckpointError
from a2c_cli.runs.checkpoint import encode, read_checkpoint, read_header
from a2c_cli.runs.header import Header, from_document, to_document

HALF = ActionSpec("continuous", (2,), (2,), "float32", low=(-math.inf, 0.0), high=(1.5, math.inf))
NAMED = ActionSpec("discrete", (2,), start=(-3,), meanings=("NOOP", "FIRE"))


WRAPPERS = {
    "atari": {"frame_skip": 4, "screen_size": 84, "frame_stack": 4, "noop_max": 30},
    "image": {"frame_skip": 1, "frame_stack": 4, "resize": 0, "grayscale": False},
    "vector": {},
}
ENV_ARGS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just("a"),
    max_size=3,
)


@st.composite
def headers(draw: st.DrawFn, kind: str) -> Header:
    action, args = draw(st.sampled_from([DISCRETE, MULTI, HALF, NAMED])), draw(ENV_ARGS)
    plain = vector_spec(3, action) if kind == "vector" else pixel_spec(kind, action=action)
    spec = dataclasses.replace(plain, args=args, wrappers=WRAPPERS[kind])
    numbers = st.floats(-1e30, 1e30)
    counts = st.integers(0, 2**47)
    return Header(
        config=settings_for(spec, env_args=args, seed=draw(st.integers(0, 2**63 - 1)), gamma=draw(
            st.floats(0, 1))),
        spec=spec,
        env_steps=draw(counts),
        updates=draw(counts),
        episodes=draw(counts),
        recent_returns=tuple(draw(st.lists(numbers, max_size=100))),
        best_mean_return=draw(st.none() | numbers),
        progress={"note": draw(st.text(st.characters(exclude_categories=["Cs"])))},
        versions={"torch": draw(st.text(st.characters(exclude_categories=["Cs"])))},
    )  # fmt: skip


ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint64, np.int8, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@pytest.mark.parametrize("kind", WRAPPERS)
@given(data=st.data())
def test_header_and_tensors_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    header = data.draw(headers(kind))
    names = st.sampled_from(["env.a", "rng.b", "optimizer.c", "d"])
    tensors = data.draw(st.dictionaries(names, ARRAYS))
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    path.write_bytes(encode(header, tensors))
    found, arrays = read_checkpoint(path)
    assert found == header
    assert arrays.keys() == tensors.keys()
    for name, array in tensors.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == np.ascontiguousarray(array).tobytes()


def test_views_are_saved_as_what_they_show(tmp_path: Path) -> None:
    path, array = tmp_path / "x.safetensors", np.arange(12, dtype=np.float32).reshape(3, 4).T
    spec = vector_spec()
    path.write_bytes(encode(Header(settings_for(spec), spec), {"network.x": array}))
    np.testing.assert_array_equal(read_checkpoint(path)[1]["network.x"], array)


def test_a_run_s_checkpoint_opens_with_safetensors_alone(breakout_run: Path) -> None:
    with safe_open(breakout_run / "last.safetensors", "np") as file:
        metadata, names = file.metadata(), set(file.keys())
        assert file.get_tensor("network.torso.conv1.weight").shape == (16, 4, 8, 8)
    assert metadata["format"] == "pt"
    document = json.loads(metadata["a2c"])
    assert document["format_version"] == 1
    assert document["config"]["env"] == document["env"]["id"] == "ALE/Breakout-v5"
    assert document["env"]["action"]["meanings"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert document["env_steps"] == 300
    assert {name.split(".")[0] for name in names} >= {"network", "optimizer", "rng", "env"}


def test_the_header_alone_tells_what_the_whole_file_tells(cartpole_run: Path) -> None:
    path = cartpole_run / "last.safetensors"
    header, infos = read_header(path)
    whole, tensors = read_checkpoint(path)
    assert header == whole
    assert {i.name: i.shape for i in infos} == {n: a.shape for n, a in tensors.items()}
    assert header.frames == header.env_steps == 1500
    returns = header.recent_returns
    assert header.mean_return_100 == pytest.approx(sum(returns) / len(returns))


def test_frames_are_steps_times_frame_skip(breakout_run: Path) -> None:
    header, _ = read_header(breakout_run / "last.safetensors")
    assert (header.env_steps, header.frames) == (300, 1200)


def test_inspect_evaluate_and_record_never_import_torch(breakout_run: Path, tmp_path: Path) -> None:
    done = run_python(
        "-c",
        f"""
import sys
from pathlib import Path
from a2c_cli.evaluation.evaluate import evaluate
from a2c_cli.runs.inspection import inspect
from a2c_cli.film.record import record
from a2c_cli.film.request import Games, Place
path = Path({str(breakout_run / "last.safetensors")!r})
inspect(path)
assert "gymnasium" in sys.modules
evaluate(path, 1, max_steps=5)
record(path, Games(max_steps=5), place=Place(Path({str(tmp_path)!r})))
print(sorted(m for m in sys.modules if m == "torch" or m.startswith("torch.")))
""",
    )
    assert done.stdout.strip() == "[]", done.stderr


# --- files that are not what they should be


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A small, sound checkpoint that a test may damage."""
    spec = vector_spec()
    path = tmp_path / "whole.safetensors"
    tensors = {"network.x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    path.write_bytes(encode(Header(settings_for(spec), spec, env_steps=5), tensors))
    read_checkpoint(path)
    return path


def edited(path: Path, change: Any) -> Path:
    """The file with another JSON header."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    document = json.loads(table["__metadata__"]["a2c"])
    change(document)
    table["__metadata__"] = {"format": "pt", "a2c": json.dumps(document)}
    header = json.dumps(table).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    return path


def test_an_edited_header_is_read_if_it_makes_sense(whole: Path) -> None:
    assert read_header(edited(whole, lambda d: d.update(env_steps=9)))[0].env_steps == 9


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(env_steps=-1),
        lambda d: d.update(env_steps=1.5),
        lambda d: d.update(env_steps=True),
        lambda d: d.update(recent_returns=[0.0] * 101),
        lambda d: d.update(recent_returns=["high"]),
        lambda d: d.update(versions=[]),
        lambda d: d.pop("config"),
        lambda d: d.pop("env"),
        lambda d: d["config"].update(gamma=2.0),
        lambda d: d["config"].update(no_such_setting=1),
        lambda d: d["config"].update(frame_skip=4),
        lambda d: d["env"].update(kind="magic"),
        lambda d: d["env"].update(obs_shape=[0]),
        lambda d: d["env"].update(obs_shape=[3, 84, 84]),
        lambda d: d["env"].update(obs_dtype="uint8"),
        lambda d: d["env"]["action"].update(sizes=[]),
        lambda d: d["env"]["action"].update(sizes=[2**40]),
        lambda d: d["env"]["action"].update(start=[]),
        lambda d: d["env"]["action"].update(kind="mental"),
        lambda d: d["env"].update(args={"a": [1]}),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(whole: Path, change: Any) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint that can be read"):
        read_header(edited(whole, change))


PAST = {"a2c-cli": "0.1.0"}
SHIPPED = Path(__file__).parents[2] / "checkpoints" / "breakout.safetensors"


def test_the_shipped_agent_loads() -> None:
    config = read_checkpoint(SHIPPED)[0].config
    assert (config.env, config.optimizer) == ("ALE/Breakout-v5", "rmsprop")


@pytest.mark.parametrize(
    ("name", "kept", "lost"),
    [
        ("rmsprop_alpha", 0.99, 0.95),
        ("adam_beta1", 0.9, 0.8),
        ("adam_beta2", 0.999, 0.99),
        ("optimizer", "adam", "rmsprop_tf"),
        ("learning_rate_schedule", "exponential", "cosine"),
        ("entropy_schedule", "constant", "cosine"),
    ],
)
def test_a_setting_that_is_gone_is_ignored_where_it_changed_nothing_and_named_where_it_did(
    whole: Path, name: str, kept: Any, lost: Any
) -> None:
    plain = read_header(whole)[0]
    end = {"learning_rate_end": 0.1}  # what an exponential needs

    def write(value: Any) -> Path:
        return edited(
            whole,
            lambda d: (d["config"].update({**end, name: value}), d["versions"].update(PAST)),
        )

    found = read_header(write(kept))[0].config
    assert getattr(found, name, "gone") in (kept, "gone")
    assert found.gamma == plain.config.gamma
    message = f"written by a2c 0.1.0 with {name} = {lost}, which this version no longer has"
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(write(lost))
    assert "install the version" in caught.value.hint


def test_another_format_version_says_what_to_do(whole: Path) -> None:
    with pytest.raises(CheckpointError, match="format version 2") as caught:
        read_header(edited(whole, lambda d: d.update(format_version=2)))
    assert "version 1" in caught.value.hint


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    spec, path = vector_spec(), tmp_path / "nan.safetensors"
    for bad in (math.nan, math.inf):
        weights = np.array([1.0, bad], np.float32)
        path.write_bytes(encode(Header(settings_for(spec), spec), {"network.x": weights}))
        with pytest.raises(CheckpointError, match="not finite"):
            read_checkpoint(path)


def test_a_file_cut_short_anywhere_is_refused(whole: Path) -> None:
    data = whole.read_bytes()
    for size in [*range(0, len(data), 97), len(data) - 1]:
        whole.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            read_checkpoint(whole)


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save

    for content in (b"", b"hello", os.urandom(1000), save({"x": np.zeros(3)})):
        path = tmp_path / "other.safetensors"
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at") as caught:
        read_header(tmp_path / "none.safetensors")
    assert "a2c train" in caught.value.hint
    with pytest.raises(CheckpointError):
        read_header(tmp_path)


def test_control_characters_of_a_file_do_not_reach_the_message(whole: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["config"]["\x1b[2J"] = 1

    with pytest.raises(CheckpointError) as caught:
        read_header(edited(whole, change))
    assert "\x1b" not in caught.value.message + caught.value.hint


def test_an_agent_from_before_there_was_such_a_setting_goes_on_without_it() -> None:
    plain = pixel_spec()
    wrappers = {"frame_skip": 4, "screen_size": 84, "frame_stack": 4, "noop_max": 30}
    spec = dataclasses.replace(plain, wrappers=wrappers)
    document = to_document(Header(settings_for(spec, prediction_coef=0.5), spec))
    assert from_document(document).config.prediction_coef == 0.5
    del document["config"]["prediction_coef"]
    assert from_document(document).config.prediction_coef == 0.0
    assert from_document(document).config.entropy_floor == 0.3
    del document["config"]["entropy_floor"]
    assert from_document(document).config.entropy_floor == 0.0


def test_a_run_of_another_machine_goes_on_with_another_device(tmp_path: Path) -> None:
    run = TrainConfig(env="CartPole-v1", total_steps=300, policy_step="gradient")
    last = train(run, run_dir=tmp_path / "r").last
    header, tensors = a2c_cli.checkpoint.read_checkpoint(last)
    config = dataclasses.replace(header.config, device="cuda")
    last.write_bytes(a2c_cli.checkpoint.encode(dataclasses.replace(header, config=config), tensors))
    result = train(resume=tmp_path / "r", changes={"total_steps": 400, "device": "cpu"})
    assert (result.stopped, result.env_steps) == ("completed", 400)


def test_networks_of_earlier_versions_are_read_as_layers() -> None:
    document = to_document(Header(settings_for(vector_spec()), vector_spec()))
    document["config"] |= {"network": "mlp", "hidden_size": 32, "hidden_layers": 3}
    document["config"] |= {"entropy_full_above": 0.05}
    assert from_document(document).config.network == "32,32,32"
