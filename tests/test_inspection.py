"""What `inspect` tells is what is in the file."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from a2c_cli.checkpoint import read_checkpoint
from a2c_cli.inspection import inspect

KEYS = {
    "format_version", "env_id", "config", "parameters", "layers", "env_steps", "frames",
    "updates", "episodes", "mean_return_100", "best_mean_return", "versions", "sha256",
}  # fmt: skip


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
    assert set(record["versions"]) >= {"python", "a2c-cli", "torch", "numpy", "gymnasium", "ale-py"}


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


def test_a_run_without_an_episode_has_no_mean(breakout_run: Path, cartpole_run: Path) -> None:
    with_episodes = inspect(cartpole_run / "last.safetensors")
    assert with_episodes["episodes"] > 10
    assert with_episodes["mean_return_100"] > 0
    assert with_episodes["resumable"] is True
    if inspect(breakout_run / "last.safetensors")["episodes"] == 0:
        assert inspect(breakout_run / "last.safetensors")["mean_return_100"] is None
