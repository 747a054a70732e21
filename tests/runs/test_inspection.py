"""What `inspect` tells is what is in the file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import INSPECT_KEYS as KEYS
from PIL import Image
from process import run_python
from specs import REAL, make_pair, pixel_spec, random_obs, settings_for, vector_spec

from a2c_cli import TrainConfig, train
from a2c_cli.config.resolve import wrappers_of
from a2c_cli.errors import A2CError, CheckpointError, ConfigError
from a2c_cli.runs.checkpoint import encode, read_checkpoint
from a2c_cli.runs.header import Header
from a2c_cli.runs.inspection import inspect


def test_has_the_keys_that_scripts_rely_on(breakout_run: Path) -> None:
    path = breakout_run / "last.safetensors"
    record = inspect(path)
    assert set(record) >= KEYS
    json.dumps(record, allow_nan=False)
    assert record["format_version"] == 1
    assert record["env_id"] == "ALE/Breakout-v5"
    assert (record["env_steps"], record["frames"]) == (300, 1200)
    assert record["config"]["total_steps"] == 300
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(record["versions"]) >= {
        "python",
        "onestream-a2c",
        "torch",
        "numpy",
        "gymnasium",
        "ale-py",
    }


def test_layers_are_the_networks_tensors(breakout_run: Path) -> None:
    record = inspect(breakout_run / "last.safetensors")
    _, tensors = read_checkpoint(breakout_run / "last.safetensors")
    weights = {n: a for n, a in tensors.items() if n.startswith("network.")}
    layers = {layer["name"]: layer for layer in record["layers"]}
    assert {f"network.{name}" for name in layers} == set(weights)
    for name, layer in layers.items():
        array = weights[f"network.{name}"]
        assert set(layer) == {"name", "shape", "dtype", "parameters"}
        assert tuple(layer["shape"]) == array.shape
        assert layer["parameters"] == array.size == math.prod(layer["shape"])
        assert layer["dtype"] == "F32"
    assert record["parameters"] == sum(a.size for a in weights.values())


def test_a_run_without_an_episode_has_no_mean(cartpole_run: Path, tmp_path: Path) -> None:
    with_episodes = inspect(cartpole_run / "last.safetensors")
    assert with_episodes["episodes"] > 10
    assert with_episodes["mean_return_100"] > 0
    assert with_episodes["resumable"] is True
    path = write_checkpoint(tmp_path, vector_spec())
    without = inspect(path)
    assert (without["episodes"], without["mean_return_100"]) == (0, None)
    assert without["resumable"] is False


# --- the network


@pytest.mark.parametrize("network", ["notebook", "a3c", "nature", "mlp"])
def test_operations_are_those_that_torch_counts(network: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    spec = vector_spec() if network == "mlp" else pixel_spec("atari")
    agent, module = make_pair(spec, network=network)
    obs = random_obs(agent.spec, np.random.default_rng(0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.as_tensor(obs)[None])
    assert sum(agent.layout.operations().values()) == counter.get_total_flops()


def test_one_row_a_layer_in_the_order_of_the_computation(breakout_run: Path) -> None:
    record = inspect(breakout_run / "last.safetensors")
    names = [layer["name"] for layer in record["network"]]
    assert names[0] == "torso.conv1"
    assert names[-3:] == ["actor", "critic", "predictor"]
    assert sum(layer["parameters"] for layer in record["network"]) == record["parameters"]
    assert sum(layer["share"] for layer in record["network"]) == pytest.approx(1.0)
    assert sum(layer["flops"] for layer in record["network"]) == record["flops"]
    first = record["network"][0]
    channels, stack, kernel, _ = first["shape"]
    assert first["parameters"] == channels * (stack * kernel * kernel + 1)
    assert first["flops"] == 2 * 20 * 20 * channels * stack * kernel * kernel


def test_a_gaussians_deviations_are_a_row_of_their_own(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, vector_spec(action=REAL))
    rows = {layer["name"]: layer for layer in inspect(path, weights=True)["network"]}
    assert (rows["log_std"]["shape"], rows["log_std"]["parameters"]) == ([2], 2)
    assert (rows["log_std"]["flops"], rows["log_std"]["not_finite"]) == (0, 0)


def test_the_header_is_read_without_numpy_or_torch(breakout_run: Path) -> None:
    done = run_python(
        "-c",
        "import sys; sys.argv = ['a2c', 'inspect', sys.argv[1], '--json']\n"
        "from a2c_cli.commands.app import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code\n"
        "print({'torch', 'gymnasium', 'numpy', 'safetensors', 'PIL', 'cv2'} & set(sys.modules))",
        str(breakout_run),
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_damage_shows_without_reading_the_tensors(breakout_run: Path, tmp_path: Path) -> None:
    data = bytearray((breakout_run / "last.safetensors").read_bytes())
    data[-1000] ^= 1
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        inspect(path)


# --- the weights


def write_checkpoint(
    place: Path, spec: Any, change: Callable[[dict[str, Any]], None] = lambda w: None, **values: Any
) -> Path:
    """A checkpoint with the random weights of a network, changed."""
    agent, _ = make_pair(spec, **values)
    names = agent.layout.parameter_shapes()
    weights = {name: agent.weights[name].copy() for name in names}
    change(weights)
    path = place / "made.safetensors"
    config = settings_for(spec, **values)
    spec = replace(spec, wrappers=wrappers_of(config))
    path.write_bytes(
        encode(Header(config, spec), {f"network.{n}": array for n, array in weights.items()})
    )
    return path


def test_norms_are_those_of_the_weights(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, pixel_spec("atari"), network="a3c")
    _, tensors = read_checkpoint(path)
    for layer in inspect(path, weights=True)["network"]:
        weight = tensors[f"network.{layer['name']}.weight"]
        assert layer["norm"] == pytest.approx(float(np.linalg.norm(weight)), rel=1e-5)
        assert layer["largest"] == pytest.approx(float(np.abs(weight).max()))
        assert layer["not_finite"] == 0
    json.dumps(inspect(path, weights=True), allow_nan=False)


def test_numbers_that_are_none_are_counted_where_they_are(tmp_path: Path) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights["torso.conv2.weight"][0, 0, 0, :2] = np.nan
        weights["torso.conv2.bias"][3] = np.inf

    path = write_checkpoint(tmp_path, pixel_spec("atari"), spoil, network="a3c")
    record = inspect(path, weights=True)
    assert {n["name"]: n["not_finite"] for n in record["network"] if n["not_finite"]} == {
        "torso.conv2": 3
    }
    assert [n["norm"] for n in record["network"] if n["name"] == "torso.conv2"] == [None]
    json.dumps(record, allow_nan=False)


def test_silent_units_are_those_that_a_game_does_not_wake(
    cartpole_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="ALE/Breakout-v5", total_steps=5, network="a3c"), run_dir=run)
    header, tensors = read_checkpoint(run / "last.safetensors")
    changed = {name: array.copy() for name, array in tensors.items()}
    changed["network.torso.conv1.weight"][:2] = 0.0
    changed["network.torso.conv1.bias"][:2] = (-1.0, 1.0)
    changed["network.torso.hidden1.bias"][:7] = -1e6
    path = tmp_path / "changed.safetensors"
    path.write_bytes(encode(header, changed))
    layers = {layer["name"]: layer["silent"] for layer in inspect(path, play=30)["network"]}
    own = {n["name"]: n["silent"] for n in
           inspect(run / "last.safetensors", play=30)["network"]}  # fmt: skip
    assert layers["torso.conv1"] == own["torso.conv1"] + 1  # the second one always fires
    assert layers["torso.hidden1"] >= 7
    assert layers["actor"] is None
    with pytest.raises(ConfigError, match="ReLU"):
        inspect(cartpole_run / "last.safetensors", play=5)


# --- the first layer


def test_filters_are_drawn_red_above_zero_and_blue_below(tmp_path: Path) -> None:
    def mark(weights: dict[str, Any]) -> None:
        weights["torso.conv1.weight"][...] = 0.0
        weights["torso.conv1.weight"][0, 0] = 1.0
        weights["torso.conv1.weight"][0, 1] = -1.0

    path = write_checkpoint(tmp_path, pixel_spec("atari"), mark, network="a3c")
    record = inspect(path, filters=tmp_path / "filters.png")
    assert record["filters"] == str(tmp_path / "filters.png")
    assert "norm" not in record["network"][0]
    with Image.open(tmp_path / "filters.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    y, x = 48 + 36, 16 + 36  # the middle of the first plane; the next is 74 pixels on
    red, blue, white = (picture[y, x + 74 * i] for i in range(3))
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert (white > 240).all()


def test_a_layer_without_convolutions_is_drawn_too(cartpole_run: Path, tmp_path: Path) -> None:
    inspect(cartpole_run / "last.safetensors", filters=tmp_path / "first.png")
    with Image.open(tmp_path / "first.png") as image:
        assert image.size[0] > image.size[1]  # a column a unit, a row a feature


def test_a_picture_has_to_be_a_png_in_a_place_that_can_be_written(
    cartpole_run: Path, tmp_path: Path
) -> None:
    path = cartpole_run / "last.safetensors"
    with pytest.raises(ConfigError, match="png"):
        inspect(path, filters=tmp_path / "first.jpg")
    with pytest.raises(A2CError, match="cannot write"):
        inspect(path, filters=path / "first.png")
    (tmp_path / "mine.png").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="not made by a2c"):
        inspect(path, filters=tmp_path / "mine.png")
    assert (tmp_path / "mine.png").read_bytes() == b"precious"
    inspect(path, filters=tmp_path / "mine.png", force=True)
    inspect(path, filters=tmp_path / "mine.png")  # it is ours now


def test_tables_in_a_pipe_are_not_cut_at_the_terminal_s_width(
    breakout_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from a2c_cli.terminal import results as report

    monkeypatch.setenv("COLUMNS", "60")
    record = inspect(breakout_run / "last.safetensors", weights=True)
    report.inspection(record, json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines)
    totals = [line for line in lines if line.startswith("total ")]
    assert f"{record['parameters']:,}" in totals[0]
    heads = [line for line in lines if line.startswith("layer")]
    assert [len(line.rstrip()) for line in heads] == [
        len(line.rstrip()) for line in lines if line.startswith("torso.conv1")
    ]  # every column ends where its head does
