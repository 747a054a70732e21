"""Agents that come with the package, by their names: `a2c evaluate breakout`."""

from __future__ import annotations

from pathlib import Path

_AGENTS = Path(__file__).parents[1] / "agents"


def shipped_names() -> list[str]:
    """What there is."""
    return sorted(path.stem for path in _AGENTS.glob("*.safetensors"))


def is_shipped(path: Path) -> bool:
    """Whether this file is a shipped agent's."""
    found = find_shipped(path.stem)
    return found is not None and found == path.resolve()


def find_shipped(name: str) -> Path | None:
    """The checkpoint of a shipped agent; None if none has this name."""
    return (_AGENTS / f"{name}.safetensors").resolve() if name in shipped_names() else None
