"""Environments that Python gives as objects: one that is there, or a function that makes one.

Such a run's id is the object's name in angle brackets, which no environment can be asked for by.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

GIVE_AGAIN = (
    "give it again: evaluate(run, env=...), train(resume=run, env=...); to a command, --env"
    " module:Id of the same environment"
)
# A gymnasium.Env, or what returns one; its class does.
Source: TypeAlias = Any


def is_given(env_id: str) -> bool:
    """Whether an id stands for an object of Python's."""
    return env_id.startswith("<")


def id_of(source: Source) -> str:
    """The id that stands for an object: `<CartPole-v1>`, `<Hop>`, `<make_hop>`."""
    named: Any = source
    if is_instance(source):
        spec = getattr(source, "spec", None)
        named = getattr(source, "unwrapped", source).__class__
        if spec is not None:
            return f"<{spec.id}>"
    name = getattr(named, "__name__", None) or type(source).__name__
    return f"<{name.strip('<>') or 'environment'}>"


def is_instance(source: Source) -> bool:
    """Whether it is an environment itself, which can serve one stream and no second."""
    return not inspect.isclass(source) and hasattr(source, "reset") and hasattr(source, "step")


def is_source(source: Source) -> bool:
    """Whether an environment can come from it at all."""
    return callable(source) or is_instance(source)


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function knows a keyword argument."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # not every function tells
        return False
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)
