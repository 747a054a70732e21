"""How large a checkpoint may be: what its own network, settings and environment account for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from a2c_cli.errors import CheckpointError
from a2c_cli.runs.header import Header

_ROOM = 64 * 2**20  # bytes for the emulator, generators and counters
_COPIES = 8  # of the parameters, at most: the optimizer keeps several
_WIDTHS = {"uint8": 1, "float32": 4}


class Sized(Protocol):
    """A tensor as a file's table describes it: its name and where its bytes lie."""

    @property
    def name(self) -> str: ...
    @property
    def offsets(self) -> tuple[int, int]: ...


def check_sizes(header: Header, infos: Sequence[Sized]) -> None:
    """Whether the tensors need no more memory than a run with this header can have.

    Known before one of them is read: a file of 4 GiB may be a few bytes on its disk.

    Raises:
        ValueError: they do.
    """
    spec, c = header.spec, header.config
    try:
        shapes = header.layout().parameter_shapes()
    except CheckpointError:
        return  # said by whoever builds it
    parameters = sum(4 * math.prod(shape) for shape in shapes.values())
    obs = math.prod(spec.obs_shape) * _WIDTHS[spec.obs_dtype]
    steps = min(header.env_steps, (c.n_steps or header.env_steps) * max(c.segments_per_update, 1))
    steps += c.segments_per_update + c.calibration_steps + 4
    bounds = {
        "segment": steps * (obs + 8 * spec.action.outputs + 16),
        "calibration": (c.calibration_steps + 4) * obs,
        "env": 8 * max(math.prod(spec.action.shape), 1) * (header.env_steps + 1) + obs,
    }
    found: dict[str, int] = {}
    for info in infos:
        group = info.name.partition(".")[0]
        group = group if group in bounds else "network"
        found[group] = found.get(group, 0) + info.offsets[1] - info.offsets[0]
    bounds["network"] = _COPIES * (parameters + 4 * math.prod(spec.obs_shape))
    for group, size in found.items():
        if size > bounds[group] + _ROOM:
            raise ValueError(f"its {group} tensors are larger than those of its run can be")
