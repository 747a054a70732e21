"""Filming an agent: the episodes of an evaluation, with every frame on the way to a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from a2c_cli.agent import Agent, Decision
from a2c_cli.envs.spec import Obs
from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.evaluation import Episode, load_agent, make_agent_env, play_episodes
from a2c_cli.overlay import Moment, Panel, enlarge, tint
from a2c_cli.policies.acting import entropy
from a2c_cli.policy_view import describe
from a2c_cli.video import VideoWriter

SUFFIXES = ("mp4", "gif")

Pixels = NDArray[np.uint8]
Look = Callable[[Obs, Any], NDArray[np.float32]]


class Film(NamedTuple):
    """One episode, where it was filmed, and where the film belongs."""

    episode: Episode
    take: Path
    path: Path


class Camera:
    """Pairs each frame with the decision that was made on it, draws, and thins out.

    A frame waits until the next one comes: a decision in between was made on it. So the panel
    shows, from the frame that the agent saw on, what it decided there, until it decides again.

    Args:
        agent: whose decisions they are.
        keep: the share of the frames to keep, at most 1.
        scale: factor on the game's pixels.
        look: the saliency of a decision, or None.
        panel: makes the panel for a (height, width) of the enlarged game, or None.
    """

    def __init__(
        self,
        agent: Agent,
        keep: Fraction,
        scale: int,
        look: Look | None,
        panel: Callable[[tuple[int, int]], Panel] | None,
    ) -> None:
        self._agent, self._keep, self._scale = agent, keep, scale
        self._look, self._make_panel = look, panel

    def start(self, write: Callable[[Pixels], None]) -> None:
        """A new episode, whose pictures go to `write`."""
        self._write = write
        self._panel: Panel | None = None
        self._picture: Pixels | None = None  # of the panel, as of the last decision
        self._moment: Moment | None = None
        self._saliency: NDArray[np.float32] | None = None
        self._waiting: Pixels | None = None
        self._count = self._kept = 0

    def frame(self, frame: Pixels) -> None:
        """The environment has drawn a frame."""
        self._flush()
        if self._make_panel is not None and self._panel is None:
            height, width, _ = frame.shape
            self._panel = self._make_panel((height * self._scale, width * self._scale))
        if math.floor(self._count * self._keep) >= self._kept:
            self._waiting = frame
            self._kept += 1
        self._count += 1

    def watch(self, obs: Obs, decision: Decision, so_far: Episode) -> None:
        """The agent has decided."""
        if self._look is not None:
            self._saliency = self._look(obs, decision.action)
        if self._panel is not None:
            action, log_std = self._agent.spec.action, self._agent.network.log_std
            self._moment = Moment(
                so_far.episode_return,
                so_far.length,
                decision.value,
                entropy(action, decision.outputs, log_std),
                describe(action, decision.outputs, log_std, decision.action),
            )
            self._picture = self._panel.draw(self._moment)

    def finish(self, episode: Episode) -> None:
        """The last frame, on which nothing was decided any more, shows the final score."""
        if self._panel is not None and self._moment is not None:
            final = replace(self._moment, score=episode.episode_return, steps=episode.length)
            self._picture = self._panel.redraw(final)
        self._saliency = None
        self._flush()

    def _flush(self) -> None:
        if self._waiting is None:
            return
        frame, self._waiting = self._waiting, None
        if self._saliency is not None:
            frame = tint(frame, self._saliency)
        if self._scale > 1:
            frame = enlarge(frame, self._scale)
        if self._panel is not None and self._picture is not None:
            frame = self._panel.compose(frame, self._picture)
        self._write(frame)


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
        from a2c_cli.saliency import Saliency  # imports torch

        look = Saliency(agent, saliency)
    env = make_agent_env(agent, seed, env_id, render=True)
    try:
        rate, keep = _rate(env.frames_per_second, fps, speed)
        drawn = overlay or look is not None

        def panel(frame: tuple[int, int]) -> Panel:
            title = agent.spec.id.rpartition("/")[2].rpartition("-v")[0] or agent.spec.id
            return Panel(title, policy, agent.spec.action, frame, legend=look is not None)

        camera = Camera(agent, keep, scale if drawn else 1, look, panel if overlay else None)
        env.on_frame = camera.frame
        games = play_episodes(
            agent, played, seed=seed, greedy=greedy, env=env, max_steps=max_steps,
            watch=camera.watch if drawn else None,
        )  # fmt: skip
        directory.mkdir(parents=True, exist_ok=True)
        films: list[Film] = []
        with threadpool_limits(1, user_api="blas"), _workshop(directory, best_of) as shop:
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


def _workshop(directory: Path, best_of: int | None) -> AbstractContextManager[Path]:
    """Where films are made: in place, or where those that are not kept leave nothing behind."""
    if best_of is None:
        return nullcontext(directory)
    return _temporary_directory(directory)


@contextmanager
def _temporary_directory(parent: Path) -> Iterator[Path]:
    with TemporaryDirectory(prefix=".record-", dir=parent) as name:
        yield Path(name)
