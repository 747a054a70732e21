"""Mutated checkpoints: a right answer or an A2CError, never anything else.

The small sister of benchmarks/fuzz.py, which feeds tens of thousands of them.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from process import Outcome

from a2c_cli import A2CError, TrainConfig, train
from a2c_cli.runs.checkpoint import encode, read_checkpoint, read_header
from a2c_cli.runs.inspection import inspect

_spec = importlib.util.spec_from_file_location(
    "fuzz", Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
)
assert _spec is not None
assert _spec.loader is not None
fuzz = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz)

FEW = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise fuzz.TookTooLong

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def original(cartpole_run: Path) -> bytes:
    return (cartpole_run / "last.safetensors").read_bytes()


def rebuilt(original: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """The file with its table and its JSON document changed, without a checksum."""
    table, body = fuzz.split(original)
    table["__metadata__"].pop("sha256")
    document = json.loads(table["__metadata__"]["a2c"])
    change(table, document)
    table["__metadata__"]["a2c"] = json.dumps(document)
    return bytes(fuzz.join(table, body))


@FEW
@given(seed=st.integers(0, 2**32))
def test_damage(seed: int, original: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(original)
    expected = fuzz.answer(path)
    data = fuzz.damage(original, random.Random(seed))
    assert fuzz.judge(data, path, expected) in ("right", "refused")


@FEW
@given(seed=st.integers(0, 2**32))
def test_malice(seed: int, original: bytes, tmp_path: Path) -> None:
    data = fuzz.malice(original, random.Random(seed))
    assert fuzz.judge(data, tmp_path / "x.safetensors", None) in ("right", "refused")


@FEW
@given(data=st.binary(max_size=300))
def test_junk(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    assert fuzz.judge(data, path, None) == "refused"
    assert fuzz.judge(struct.pack("<Q", len(data)) + data, path, None) == "refused"


@pytest.mark.parametrize("raw", fuzz._RAW, ids=[text[:12] for text in fuzz._RAW])
def test_strange_json_everywhere(raw: str, original: bytes, tmp_path: Path) -> None:
    table, body = fuzz.split(original)
    path = tmp_path / "x.safetensors"
    assert fuzz.judge(fuzz.join(raw, body), path, None) == "refused"
    text = json.dumps({**table, "network.actor.bias": "@"}).replace('"@"', raw)
    assert fuzz.judge(fuzz.join(text, body), path, None) == "refused"
    for key in ("env_steps", "config", "recent_returns"):
        document = json.loads(table["__metadata__"]["a2c"])
        document[key] = "@"
        changed = {**table, "__metadata__": {"a2c": json.dumps(document).replace('"@"', raw)}}
        assert fuzz.judge(fuzz.join(changed, body), path, None) == "refused"


def test_a_damaged_name_of_the_checksum_is_damage(original: bytes, tmp_path: Path) -> None:
    data = original.replace(b'"sha256"', b'"sha25v"')
    assert data != original
    assert fuzz.judge(data, tmp_path / "x.safetensors", None) == "refused"


@pytest.mark.parametrize(
    "changes", [{"high": [1e300]}, {"dtype": "float16", "high": [1e30]}], ids=["range", "type"]
)
def test_actions_that_overflow_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    train(TrainConfig(env="Pendulum-v1", total_steps=20), run_dir=tmp_path / "run")
    whole = (tmp_path / "run" / "last.safetensors").read_bytes()
    path = tmp_path / "x.safetensors"
    data = rebuilt(whole, lambda _, document: document["env"]["action"].update(changes))
    assert fuzz.judge(rebuilt(whole, lambda *_: None), path, None) == "right"
    assert fuzz.judge(data, path, None) == "refused"


def flip_weight(table: dict[str, Any], body: bytes) -> bytes:
    begin = table["network.actor.weight"]["data_offsets"][0]
    return body[:begin] + bytes([body[begin] ^ 1]) + body[begin + 1 :]


def test_one_flipped_bit_of_a_weight_is_noticed(original: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    table, body = fuzz.split(original)
    path.write_bytes(fuzz.join(table, flip_weight(table, body)))
    for read in (read_checkpoint, inspect):
        with pytest.raises(A2CError, match="checksum"):
            read(path)


def test_one_changed_digit_of_the_header_is_noticed(original: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    assert original.count(b'\\"env_steps\\": 1500') == 1
    path.write_bytes(original.replace(b'\\"env_steps\\": 1500', b'\\"env_steps\\": 1900'))
    with pytest.raises(A2CError, match="checksum"):
        inspect(path)


def test_a_file_without_a_checksum_is_still_read(original: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(rebuilt(original, lambda table, document: None))
    assert read_header(path)[0].env_steps == 1500
    read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t, d: d.update(format_version=2), "format version 2"),
        (lambda t, d: d.update(format_version="1"), "no format version"),
        (lambda t, d: d.pop("env"), "'env'"),
        (lambda t, d: d["config"].update(env="Acrobot-v1"), "do not fit together"),
        (lambda t, d: d["env"].update(wrappers={"frame_skip": 4}), "do not fit together"),
        (lambda t, d: d["config"].update(network=",".join(["65536"] * 64)), "weights"),
        (lambda t, d: d["env"].update(obs_shape=[2**47]), "weights"),
        (lambda t, d: d["env"]["action"].update(sizes=[2**47]), "sizes"),
        (lambda t, d: d["env"]["action"].update(dtype="O"), "unknown type"),
        (lambda t, d: d["env"]["action"].update(shape=[2]), "shape"),
        (
            lambda t, d: d.update(recent_returns=[1e308] * 2),
            r"recent_returns\.0: Input should be less",
        ),
        (lambda t, d: t["network.actor.bias"].update(dtype="I32"), "weights"),
        (lambda t, d: t["network.actor.bias"].update(shape=[1, 2]), "weights"),
        (lambda t, d: t["network.actor.bias"].update(shape=[2**40]), "does not fit its data"),
        (lambda t, d: t["network.actor.bias"].update(data_offsets=[0, 8]), "out of place"),
        (lambda t, d: t.pop("network.actor.bias"), "out of place"),
    ],
)
def test_what_a_stranger_may_write(
    change: Callable[[dict[str, Any], dict[str, Any]], None],
    why: str,
    original: bytes,
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(rebuilt(original, change))
    with pytest.raises(A2CError, match=why):
        fuzz.answer(path)


@pytest.mark.parametrize("name", ["network.actor.weight", "normalizer.obs_mean"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(
    name: str, value: float, cartpole_run: Path, tmp_path: Path
) -> None:
    header, tensors = read_checkpoint(cartpole_run / "last.safetensors")
    tensors[name].flat[0] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(encode(header, tensors))
    with pytest.raises(A2CError, match="not finite"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer.actor.bias.exp_avg", None),
        ("optimizer.actor.bias.exp_avg", np.zeros(3, np.float32)),
        ("rng.policy", np.zeros(5, np.uint64)),
        ("rng.policy", np.zeros(6, np.int64)),
        ("env.actions", np.full(40, 7)),
        ("env.episode", np.array([-3])),
        ("env.episode", np.zeros(0, np.int64)),
        ("learner.updates", np.zeros(0, np.int64)),
        ("learner.advantages", np.zeros(3)),
        ("learner.advantages", np.array([1.0, np.inf])),
        ("segment.0.rewards", np.zeros(10**6, np.float32)),
        ("segment.0.obs", np.zeros((1, 1), np.float32)),
        ("normalizer.reward", np.zeros(1)),
    ],
)
def test_resume_from_what_a_stranger_may_write(
    name: str, value: Any, cli: Cli, cartpole_run: Path, tmp_path: Path
) -> None:
    header, tensors = read_checkpoint(cartpole_run / "last.safetensors")
    assert name in tensors
    tensors.pop(name)
    if value is not None:
        tensors[name] = value
    (tmp_path / "last.safetensors").write_bytes(encode(header, tensors))
    got = cli("train", "--resume", tmp_path, "--total-steps", 1600, "--quiet")
    assert got.code == 1
    assert len([line for line in got.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "unexpected" not in got.stderr
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("junk", [b"", b"\xff" * 14_000, bytes(14_000), b"\x07" * 9])
def test_resume_from_junk_for_the_emulator(
    junk: bytes, cli: Cli, breakout_run: Path, tmp_path: Path
) -> None:
    header, tensors = read_checkpoint(breakout_run / "last.safetensors")
    tensors["env.opening"] = np.frombuffer(junk, np.uint8)
    (tmp_path / "last.safetensors").write_bytes(encode(header, tensors))
    got = cli("train", "--resume", tmp_path, "--total-steps", 400, "--quiet")
    assert got.code == 1
    assert "the saved emulator state does not fit ALE/Breakout-v5" in got.stderr


def test_saved_actions_of_another_kind() -> None:
    from a2c_cli.envs.make import make_env

    stream = make_env("Pendulum-v1", {}, {}, seed=0)
    stream.reset()
    for _ in range(5):
        stream.step(np.zeros(1, np.float32))
    state = stream.get_state()
    for actions in (state["actions"][:, 0], state["actions"].astype(np.int64)):
        with pytest.raises(A2CError, match="saved actions do not fit"):
            stream.set_state({**state, "actions": actions})
    stream.set_state(state)


def test_files_of_a_run(cartpole_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(cartpole_run, folder)
    (folder / "sweep.json").write_text('{"request": {"envs": []}, "runs": []}')
    (folder / "evaluation.json").write_text("{}")
    (folder / "trackers.json").write_text('{"run_id": "abcd", "wandb_step": 3}')
    originals = {name: (folder / name).read_bytes() for name in fuzz.FILES}
    rng = random.Random(0)
    assert {fuzz.judge_files(folder, originals, rng) for _ in range(150)} == {"right"}
