"""`record` by keywords, as the command line gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from a2c_cli.film.record import record
from a2c_cli.film.request import Games, Picture, Place


def film_games(
    path: Path,
    episodes: int = 1,
    *,
    on_episode: Callable[[], None] = lambda: None,
    **options: Any,
) -> dict[str, Any]:
    """Each option goes where it belongs; one that is unknown is an error."""
    options["episodes"] = episodes
    parts = [
        kind(**{f.name: options.pop(f.name) for f in fields(kind) if f.name in options})
        for kind in (Games, Picture, Place)
    ]
    assert not options
    return record(path, *parts, on_episode)
