"""What is in a checkpoint, as one plain record; read from its header unless more is asked for."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from a2c_cli.config.text import to_dict
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.errors import CheckpointError, ConfigError
from a2c_cli.policies.layout import Layout
from a2c_cli.runs.checkpoint import (
    FORMAT_VERSION,
    TensorInfo,
    Tensors,
    check_finite,
    read_content,
    read_verified_header,
)
from a2c_cli.runs.files import check_output, write_output
from a2c_cli.runs.header import Header


def inspect(
    path: Path,
    *,
    weights: bool = False,
    filters: Path | None = None,
    play: int = 0,
    env_id: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """The keys of `a2c inspect --json`.

    Neither torch nor NumPy is needed unless weights or filters are asked for.

    Args:
        path: the checkpoint file.
        weights: also the size of the weights, see `weights.weight_statistics`.
        filters: a .png file to draw the first layer in.
        play: also count, as `silent`, the units that stay at 0 for this many steps of the
            environment, sampled policy and seed 0; 0 not to play.
        env_id: of that environment, as in `loading.make_agent_env`.
        force: whether the picture may take the place of another file.

    Raises:
        CheckpointError: missing, damaged or foreign.
        ConfigError: the filters cannot be drawn, or there are no ReLU convolutions to watch.
        EnvError: the environment cannot be made or breaks.
    """
    if filters is not None and filters.suffix.lower() != ".png":
        raise ConfigError(f"--filters {filters} must end in .png")
    if filters is not None:
        check_output(filters, "--filters", force)
    tensors: Tensors = {}
    if weights or play or filters is not None:
        header, infos, digest, tensors = read_content(path)
    else:
        header, infos, digest = read_verified_header(path)
    own = [info for info in infos if info.name.startswith("network.")]
    layout = header.layout()
    network = _network(layout, own)
    if weights or filters is not None:
        _look_at_weights(tensors, layout, network if weights else [], filters)
    if play:
        from a2c_cli.runs.loading import as_named, trusted_id

        check_finite(tensors, path)
        header = as_named(header, env_id)
        silent = _silent_units(header, tensors, play, trusted_id(path, header.spec.id, env_id))
        for layer in network:
            layer["silent"] = silent.get(layer["name"])
    return {
        "checkpoint": str(path),
        "format_version": FORMAT_VERSION,
        **_environment(header.spec),
        "config": to_dict(header.config),
        "parameters": sum(info.size for info in own),
        "flops": sum(layer["flops"] for layer in network),
        "network": network,
        "layers": [_tensor(info) for info in own],
        **_training(header),
        "resumable": any(info.name.startswith("rng.") for info in infos),
        "filters": None if filters is None else str(filters),
        "versions": dict(header.versions),
        "sha256": digest,
    }


def _environment(spec: EnvSpec) -> dict[str, Any]:
    return {
        "env_id": spec.id,
        "observation": {"shape": list(spec.obs_shape), "dtype": spec.obs_dtype},
        "actions": {
            "kind": spec.action.kind,
            "sizes": list(spec.action.sizes),
            "meanings": list(spec.action.meanings),
        },
    }


def _tensor(info: TensorInfo) -> dict[str, Any]:
    return {
        "name": info.name.removeprefix("network."),
        "shape": list(info.shape),
        "dtype": info.dtype,
        "parameters": info.size,
    }


def _training(header: Header) -> dict[str, Any]:
    return {
        "env_steps": header.env_steps,
        "frames": header.frames,
        "updates": header.updates,
        "episodes": header.episodes,
        "mean_return_100": header.mean_return_100,
        "best_mean_return": header.best_mean_return,
        "recent_returns": list(header.recent_returns),
        "success_rate": header.success_rate,
    }


def _network(layout: Layout, infos: list[TensorInfo]) -> list[dict[str, Any]]:
    """One record per layer: its weight and bias together, in the order of the computation.

    Raises:
        CheckpointError: the tensors are not those of the network.
    """
    sizes = {info.name.removeprefix("network."): info.shape for info in infos}
    shapes = layout.parameter_shapes()
    if not shapes.items() <= sizes.items():
        raise CheckpointError(
            "the checkpoint's weights do not fit its network", "it may be damaged"
        )
    operations = layout.operations()
    parameters: dict[str, int] = {}
    for info in infos:
        layer = info.name.removeprefix("network.").removesuffix(".weight").removesuffix(".bias")
        parameters[layer] = parameters.get(layer, 0) + info.size
    total = max(sum(parameters.values()), 1)
    return [
        {
            "name": name,
            "shape": list(sizes.get(f"{name}.weight", sizes.get(name, ()))),
            "parameters": parameters[name],
            "share": parameters[name] / total,
            "flops": operations.get(name, 0),
        }
        for name in dict.fromkeys([*operations, *parameters])
    ]


def _look_at_weights(
    tensors: Tensors, layout: Layout, network: list[dict[str, Any]], filters: Path | None
) -> None:
    """Add the statistics of its weights to each layer; draw the first layer."""
    from a2c_cli.runs.weights import draw_first_layer, weight_statistics

    arrays = {n.removeprefix("network."): a for n, a in tensors.items() if n.startswith("network.")}
    if network:
        statistics = weight_statistics(layout, arrays)
        for layer in network:
            layer.update(statistics.get(layer["name"], {}))
    if filters is not None:
        write_output(filters, draw_first_layer(layout, arrays), "--filters")


def _silent_units(
    header: Header, tensors: Tensors, steps: int, env_id: str | None
) -> dict[str, int]:
    """How many units of each layer gave 0 on every observation of this many steps."""
    import numpy as np

    from a2c_cli.envs.stream import play
    from a2c_cli.runs.loading import agent_from, make_agent_env

    agent = agent_from(header, tensors)
    if agent.layout.activation != "relu" or not agent.layout.conv_shapes:
        raise ConfigError(
            "--play watches networks with ReLU units and convolutions over one picture",
            "leave --play out",
        )
    memories = agent.network.memories  # of the last observation; rewritten by each act()
    woken = [np.zeros(memory.shape[-1], bool) for memory in memories]
    env = make_agent_env(agent, 0, env_id)
    try:
        action = agent.spec.action.to_env
        for _ in islice(play(env, lambda obs: action(agent.decide(obs).action)), steps):
            for awake, memory in zip(woken, memories, strict=True):
                awake |= (memory > 0.0).reshape(-1, len(awake)).any(axis=0)
    finally:
        env.close()
    names = list(agent.layout.operations())
    return {name: int((~awake).sum()) for name, awake in zip(names, woken, strict=False)}
