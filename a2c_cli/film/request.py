"""What is asked of a film: which games, what they look like, where the files go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from a2c_cli.config.checks import EnvArg
from a2c_cli.errors import ConfigError
from a2c_cli.runs.hub import is_downloaded
from a2c_cli.runs.shipped import is_shipped

_SUFFIXES = ("mp4", "gif")
_FOREIGN = {
    *(".avi", ".flv", ".m4v", ".mkv", ".mov", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"),
    *(".apng", ".jpeg", ".jpg", ".png", ".webp"),
}


@dataclass(frozen=True)
class Games:
    """What is filmed.

    Args:
        episodes: how many films to keep, ≥ 1.
        best_of: play so many episodes and keep those of the highest returns; None for `episodes`.
        greedy, seed, max_steps, env_id, env_args: as in `evaluate`.
    """

    episodes: int = 1
    best_of: int | None = None
    greedy: bool = False
    seed: int = 0
    max_steps: int | None = None
    env_id: str | None = None
    env_args: Mapping[str, EnvArg] | None = None

    @property
    def played(self) -> int:
        """Episodes to play."""
        return self.episodes if self.best_of is None else self.best_of

    @property
    def policy(self) -> str:
        """`greedy` or `sampled`."""
        return "greedy" if self.greedy else "sampled"


@dataclass(frozen=True)
class Picture:
    """How a film looks; the game is the same whatever is drawn over or beside it.

    Args:
        scale: enlarge every pixel of the game by this whole number.
        fps: frames per second of the file; frames are left out for it, the speed stays. None for
            all frames (60 on Atari, else the environment's own) up to the real rate.
        speed: how much faster than real time the film plays.
        overlay: draw a panel beside the game: score, value, entropy, action probabilities.
        saliency: `gradient` or `perturbation` tints the game where the network looks.
    """

    scale: int = 2
    fps: float | None = None
    speed: float = 1.0
    overlay: bool = False
    saliency: str | None = None

    @property
    def drawn(self) -> bool:
        """Whether there is more in it than the game."""
        return self.overlay or self.saliency is not None


@dataclass(frozen=True)
class Place:
    """Where films go.

    Args:
        output: a directory, or one file (its suffix decides the format) for one episode; None
            for `videos/` beside the checkpoint.
        suffix: `mp4` (H.264 that browsers play) or `gif`.
        force: whether a file that this program has not made may be replaced.
    """

    output: Path | None = None
    suffix: str = "mp4"
    force: bool = False


def name_films(path: Path, games: Games, place: Place) -> tuple[Path, list[str]]:
    """The directory, and the name of each episode that is played.

    Raises:
        ConfigError: they cannot be as the user wants them.
    """
    output, suffix = place.output, place.suffix
    if games.played < games.episodes:
        raise ConfigError(
            f"--best-of {games.best_of} is fewer than --episodes {games.episodes}",
            "--episodes says how many of them to keep",
        )
    if output is not None and output.suffix.lstrip(".").lower() in _SUFFIXES:
        if games.episodes != 1:
            raise ConfigError(
                f"--output {output} is one file, but --episodes is {games.episodes}",
                "give a directory",
            )
        return output.parent, [output.name] * games.played
    if output is not None and (output.is_file() or output.suffix.lower() in _FOREIGN):
        raise ConfigError(
            f"--output {output} is of no kind that can be filmed",
            f"end it in {' or '.join('.' + name for name in _SUFFIXES)}, or give a directory",
        )
    if suffix not in _SUFFIXES:
        raise ConfigError(f"--format cannot be {suffix!r}", f"choose from {', '.join(_SUFFIXES)}")
    stem = f"{path.parent.name}-{path.stem}" if output is not None else path.stem
    stem += f"-{games.policy}-seed{games.seed}"
    names = [f"{stem}-episode{i + 1}.{suffix}" for i in range(games.played)]
    if output is None:  # beside the checkpoint, but not in the package or in a cache
        elsewhere = is_shipped(path) or is_downloaded(path)
        output = Path("videos") if elsewhere else path.parent / "videos"
    return output, names


def frame_rate(real: float, fps: float | None, speed: float) -> tuple[float, Fraction]:
    """Frames per second of the file, and the share of the environment's frames it holds."""
    if not 0.0 < speed < math.inf:
        raise ConfigError(f"--speed must be above 0, not {speed}", "1 is real time")
    there = real * speed
    if fps is not None and fps > there:
        raise ConfigError(
            f"--fps {fps:g} is more than the {there:g} frames per second that there are",
            "leave it out for all of them; --speed makes the film faster",
        )
    rate = min(there, real) if fps is None else fps
    return rate, Fraction(rate / there).limit_denominator(1000)
