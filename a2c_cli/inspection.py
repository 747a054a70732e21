"""What a checkpoint's header tells, as one plain record; no torch, no environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from a2c_cli.checkpoint import FORMAT_VERSION, file_sha256, read_checkpoint, read_header
from a2c_cli.config import to_dict
from a2c_cli.errors import CheckpointError


def inspect(path: Path) -> dict[str, Any]:
    """The keys of `a2c inspect --json`.

    Raises:
        CheckpointError: missing, damaged or foreign.
    """
    header, infos = read_header(path)
    read_checkpoint(path)  # what it says is only worth something if the file is whole
    layers = [
        {
            "name": info.name.removeprefix("network."),
            "shape": list(info.shape),
            "dtype": info.dtype,
            "parameters": info.size,
        }
        for info in infos
        if info.name.startswith("network.")
    ]
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", "check the path") from None
    return {
        "checkpoint": str(path),
        "format_version": FORMAT_VERSION,
        "env_id": header.spec.id,
        "observation": {"shape": list(header.spec.obs_shape), "dtype": header.spec.obs_dtype},
        "actions": {
            "kind": header.spec.action.kind,
            "sizes": list(header.spec.action.sizes),
            "meanings": list(header.spec.action.meanings),
        },
        "config": to_dict(header.config),
        "parameters": sum(info.size for info in infos if info.name.startswith("network.")),
        "layers": layers,
        "env_steps": header.env_steps,
        "frames": header.frames,
        "updates": header.updates,
        "episodes": header.episodes,
        "mean_return_100": header.mean_return_100,
        "best_mean_return": header.best_mean_return,
        "recent_returns": list(header.recent_returns),
        "resumable": any(info.name.startswith("rng.") for info in infos),
        "versions": dict(header.versions),
        "sha256": digest,
    }
