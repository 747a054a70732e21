"""Filming an agent: the episodes of an evaluation, with every frame on the way to a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.evaluation.episodes import Episode, play_episodes
from a2c_cli.film.camera import Camera, Look
from a2c_cli.film.panel import Panel
from a2c_cli.film.writer import VideoWriter
from a2c_cli.policies.agent import Agent
from a2c_cli.runs.loading import load_agent, make_agent_env

SUFFIXES = ("mp4", "gif")


class Film(NamedTuple):
    """One episode, where it was filmed, and where the film belongs."""

    episode: Episode
    take: Path
    path: Path


def record(
    path: Path | str,
    episodes: int = 1,
    *,
    output: Path | None = None,
    suffix: str = "mp4",
    greedy: bool = False,
    seed: int = 0,
    scale: int = 2,
    fps: float | None = None,
    speed: float = 1.0,
    max_steps: int | None = None,
    env_id: str | None = None,
    overlay: bool = False,
    saliency: str | None = None,
    best_of: int | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Film whole episodes, one file each; memory does not grow with their length.

    The game is the same whatever is drawn over or beside it.

    Args:
        path: the checkpoint file.
        episodes: how many films to keep, ≥ 1.
        output: a directory, or one file (its suffix decides the format) for one episode; None
            for `videos/` beside the checkpoint.
        suffix: `mp4` (H.264 that browsers play) or `gif`.
        greedy, seed, max_steps, env_id: as in `evaluation.evaluate`.
        scale: enlarge every pixel of the game by this whole number.
        fps: frames a second of the file; frames are left out for it, the speed stays. None for
            all frames (60 on Atari, else the environment's own) up to the real rate.
        speed: how much faster than real time the film plays.
        overlay: draw a panel beside the game: score, value, entropy, action probabilities.
        saliency: `gradient` or `perturbation` tints the game where the network looks.
        best_of: play so many episodes and keep those of the highest returns; None for `episodes`.
        on_episode: called for every episode that is over.

    Returns:
        The keys of `a2c record --json`; the films in the order in which they were played.

    Raises:
        A2CError: see `errors`.
    """
    path = Path(path)
    policy = "greedy" if greedy else "sampled"
    played = episodes if best_of is None else best_of
    if played < episodes:
        raise ConfigError(
            f"--best-of {played} is fewer than --episodes {episodes}",
            "--episodes says how many of them to keep",
        )
    directory, names = _places(path, output, suffix, f"{policy}-seed{seed}", episodes, played)
    agent = load_agent(path)
    look: Look | None = None
    if saliency is not None:
        from a2c_cli.film.saliency import Saliency  # imports torch

        look = Saliency(agent, saliency)
    env = make_agent_env(agent, seed, env_id, render=True)
    try:
        rate, keep = _rate(env.frames_per_second, fps, speed)
        make_panel = _panel_maker(agent, policy, look is not None) if overlay else None
        drawn = overlay or look is not None
        camera = Camera(agent, keep, scale if drawn else 1, look, make_panel)
        env.on_frame = camera.frame
        games = play_episodes(
            agent, played, seed=seed, greedy=greedy, env=env, max_steps=max_steps,
            watch=camera.watch if drawn else None,
        )  # fmt: skip
        directory.mkdir(parents=True, exist_ok=True)
        with threadpool_limits(1, user_api="blas"), _workshop(directory, best_of) as shop:
            films: list[Film] = []
            for i, name in enumerate(names):
                take = shop / (name if best_of is None else f"{i + 1}-{name}")
                with VideoWriter(take, rate, scale=1 if drawn else scale) as video:
                    camera.start(video.write)
                    episode = next(games)
                    camera.finish(episode)
                films.append(Film(episode, take, directory / name))
                if len(films) > episodes:  # of equally bad ones the last goes
                    worst = min(reversed(films), key=lambda film: film.episode.episode_return)
                    worst.take.unlink()
                    films.remove(worst)
                on_episode()
            for film in films:
                film.take.replace(film.path)
    except OSError as error:
        raise A2CError(
            f"cannot write the video in {directory}: {error.strerror or error}",
            "choose another --output, or make room",
        ) from None
    finally:
        env.close()
    return {
        "checkpoint": str(path),
        "env_id": agent.spec.id,
        "policy": policy,
        "seed": seed,
        "files": [str(film.path) for film in films],
        "episodes": [
            {
                "return": film.episode.episode_return,
                "length": film.episode.length,
                "file": str(film.path),
            }
            for film in films
        ],
        "best_of": best_of,
    }


def _places(
    path: Path, output: Path | None, suffix: str, policy: str, episodes: int, played: int
) -> tuple[Path, list[str]]:
    """The directory, and the name of each episode that is played."""
    if output is not None and output.suffix.lstrip(".").lower() in SUFFIXES:
        if episodes != 1:
            raise ConfigError(
                f"--output {output} is one file, but --episodes is {episodes}",
                "give a directory",
            )
        return output.parent, [output.name] * played
    if suffix not in SUFFIXES:
        raise ConfigError(f"--format cannot be {suffix!r}", f"choose from {', '.join(SUFFIXES)}")
    stem = f"{path.parent.name}-{path.stem}" if output is not None else path.stem
    names = [f"{stem}-{policy}-episode{i + 1}.{suffix}" for i in range(played)]
    return output if output is not None else path.parent / "videos", names


def _rate(real: float, fps: float | None, speed: float) -> tuple[float, Fraction]:
    """Frames a second of the file, and the share of the environment's frames it holds."""
    if not 0.0 < speed < math.inf:
        raise ConfigError(f"--speed must be above 0, not {speed}", "1 is real time")
    there = real * speed
    if fps is not None and fps > there:
        raise ConfigError(
            f"--fps {fps:g} is more than the {there:g} frames a second that there are",
            "leave it out for all of them; --speed makes the film faster",
        )
    rate = min(there, real) if fps is None else fps
    return rate, Fraction(rate / there).limit_denominator(1000)


@contextmanager
def _workshop(directory: Path, best_of: int | None) -> Iterator[Path]:
    """Where films are made: in place, or where those that are not kept leave nothing behind."""
    if best_of is None:
        yield directory
        return
    with TemporaryDirectory(prefix=".record-", dir=directory) as name:
        yield Path(name)


def _panel_maker(agent: Agent, policy: str, legend: bool) -> Callable[[tuple[int, int]], Panel]:
    name = agent.spec.id.rpartition("/")[2].rpartition(":")[2]
    title = name.rpartition("-v")[0] or name
    return lambda frame: Panel(title, policy, agent.spec.action, frame, legend)
