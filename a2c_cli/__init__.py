"""a2c: train an advantage actor-critic online from a single stream of experience.

The public API is imported on first use, so `import a2c_cli` imports neither torch nor gymnasium.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from a2c_cli.version import VERSION

if TYPE_CHECKING:
    from a2c_cli.config.settings import TrainConfig
    from a2c_cli.errors import A2CError
    from a2c_cli.evaluation.evaluate import evaluate
    from a2c_cli.policies.agent import Agent
    from a2c_cli.runs import checkpoint
    from a2c_cli.runs.loading import load_agent
    from a2c_cli.training.engine import TrainResult, train

__version__ = VERSION

__all__ = [
    "A2CError",
    "Agent",
    "TrainConfig",
    "TrainResult",
    "checkpoint",
    "evaluate",
    "load_agent",
    "train",
]

_HOMES = {
    "A2CError": "errors",
    "Agent": "policies.agent",
    "TrainConfig": "config.settings",
    "TrainResult": "training.engine",
    "checkpoint": "runs",
    "evaluate": "evaluation.evaluate",
    "load_agent": "runs.loading",
    "train": "training.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'a2c_cli' has no attribute {name!r}")
    return resolve_name(f"a2c_cli.{_HOMES[name]}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
