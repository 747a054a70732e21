"""What a run has made of its environment, in one line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from a2c_cli.envs.spec import ActionSpec, EnvSpec, Part
from a2c_cli.policies.layout import Layout
from a2c_cli.text import short_count


def summarize_sight(spec: EnvSpec, layout: Layout, network: str) -> str:
    """The kind of observation and what it is made of, the action, the network and its size.

    Args:
        spec: the environment.
        layout: the network.
        network: as the settings name it.
    """
    size = short_count(sum(math.prod(shape) for shape in layout.parameter_shapes().values()))
    seen = ", ".join(_seen(spec.parts)) or "the screen"
    as_what = "x".join(map(str, spec.obs_shape))
    if spec.kind == "vector":
        as_what = _numbers(as_what)
    if spec.pictures:
        pictures = " and ".join("x".join(map(str, shape)) for shape in spec.pictures)
        as_what = f"{pictures} beside {_numbers(str(spec.features))}"
    return (
        f"{spec.kind} observation: {seen}{'' if seen == as_what else f', as {as_what}'};"
        f" action: {_action(spec.action)};"
        f" network: {network}, {size} parameters"
    )


def _seen(parts: Sequence[Part]) -> list[str]:
    seen = []
    for part in parts:
        shape = "x".join(map(str, part.shape))
        what = {
            "picture": f"{part.dtype} picture {shape}",
            "choices": f"one of {'x'.join(map(str, part.sizes))}",
            "bits": f"{shape} bits",
            "left out": "text (left out)",
        }.get(part.kind, f"{_numbers(shape or '1')}{_small(part)}")
        seen.append(f"{part.name} {what}" if part.name else what)
    few = 6
    return seen if len(seen) <= few else [*seen[:few], f"{len(seen) - few} more parts"]


def _numbers(count: str) -> str:
    return f"{count} number{'s' if count != '1' else ''}"


def _small(part: Part) -> str:
    """What looks like a picture and is not taken for one."""
    return " in a grid, taken as a vector" if len(part.shape) == 3 else ""


def _action(action: ActionSpec) -> str:
    sizes = "x".join(map(str, action.sizes))
    return {
        "discrete": f"one of {sizes}",
        "multidiscrete": f"choices of {sizes}",
        "continuous": f"{sizes} real number{'s' if action.sizes != (1,) else ''}",
    }[action.kind]
