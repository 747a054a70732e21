"""Filming an agent: the episodes of an evaluation, with every frame on the way to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from a2c_cli.envs.make import Stream
from a2c_cli.envs.spec import Obs
from a2c_cli.errors import A2CError, ConfigError, EnvError
from a2c_cli.evaluation.episodes import Episode, play_episodes
from a2c_cli.film.camera import Camera, SaliencyMaps
from a2c_cli.film.canvas import Pixels
from a2c_cli.film.panel import Panel
from a2c_cli.film.request import Games, Picture, Place, frame_rate, name_films
from a2c_cli.film.writer import VideoWriter
from a2c_cli.policies.agent import Agent, Decision
from a2c_cli.runs.checkpoint import read_checkpoint
from a2c_cli.runs.files import check_output
from a2c_cli.runs.finding import find_checkpoint
from a2c_cli.runs.loading import agent_from, as_named, make_agent_env, trusted_id


class Film(NamedTuple):
    """One episode, where it was filmed, and where the film belongs."""

    episode: Episode
    take: Path
    path: Path

    def as_json(self) -> dict[str, Any]:
        """What `a2c record --json` says of it."""
        return {
            "return": self.episode.episode_return,
            "length": self.episode.length,
            "cut": self.episode.cut,
            "file": str(self.path),
        }


def record(
    path: Path | str,
    games: Games = Games(),
    picture: Picture = Picture(),
    place: Place = Place(),
    on_episode: Callable[[], None] = lambda: None,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Film whole episodes, one file each; memory does not grow with their length.

    Args:
        path: the checkpoint, as in `load_agent`.
        games: what is filmed.
        picture: how it looks.
        place: where the films go.
        on_episode: called for every episode that is over.
        on_frame: called for every frame that the environment has drawn.

    Returns:
        The keys of `a2c record --json`; the films in the order in which they were played.

    Raises:
        A2CError: see `errors`.
    """
    path = find_checkpoint(Path(path))
    directory, names = name_films(path, games, place)
    for name in names:
        check_output(directory / name, "--output", place.force)
    header, tensors = read_checkpoint(path)
    header = as_named(header, games.env_id)
    agent = agent_from(header, tensors)
    games = replace(games, env_id=trusted_id(path, agent.spec.id, games.env_id))
    drawing = _drawing(agent, picture, games.policy, header.config.reward_transform)
    env = make_agent_env(agent, games.seed, games.env_id, games.env_args, render=True)
    try:
        kept = _best_games(agent, games, env) if picture.saliency is not None else None
        shoot = _Shoot(agent, env, games, picture, drawing, kept, on_episode, on_frame)
        with threadpool_limits(1, user_api="blas"):
            films = _film(games, directory, names, shoot)
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
        "policy": games.policy,
        "seed": games.seed,
        "files": [str(film.path) for film in films],
        "episodes": [film.as_json() for film in films],
        "best_of": games.best_of,
    }


class _Drawing(NamedTuple):
    """Maps of the saliency, and what makes the panel for a (height, width); None for neither."""

    maps: SaliencyMaps | None
    panel: Callable[[tuple[int, int]], Panel] | None


class _Shoot:
    """Plays an agent's games one after the other, and films them.

    Args:
        agent: who plays.
        env: where, with `render`.
        games, picture: as in `record`.
        drawing: what is drawn beside the game and over it.
        kept: numbers of the games that are filmed; None for all.
        on_episode, on_frame: as in `record`.
    """

    def __init__(
        self,
        agent: Agent,
        env: Stream,
        games: Games,
        picture: Picture,
        drawing: _Drawing,
        kept: set[int] | None,
        on_episode: Callable[[], None],
        on_frame: Callable[[], None],
    ) -> None:
        self._env, self._kept = env, kept
        self._on_episode, self._on_frame = on_episode, on_frame
        self._rate, keep = frame_rate(env.frames_per_second, picture.fps, picture.speed)
        self._scale = 1 if picture.drawn else picture.scale  # of the writer
        self._camera = Camera(agent, keep, picture.scale if picture.drawn else 1, *drawing)
        self._filming = False
        self._episodes = play_episodes(
            agent,
            games.played,
            seed=games.seed,
            greedy=games.greedy,
            env=env,
            max_steps=games.max_steps,
            watch=self._watch if picture.drawn else None,
        )

    def __call__(self, number: int, take: Path) -> Episode | None:
        """Play the next game, which has this number; None if it was not to be filmed in `take`."""
        self._filming = self._kept is None or number in self._kept
        self._env.on_frame = self._frame if self._filming else None
        if not self._filming:
            next(self._episodes)
            self._on_episode()
            return None
        with VideoWriter(take, self._rate, scale=self._scale) as video:
            self._camera.start(video.write)
            episode = next(self._episodes)
            self._camera.finish(episode)
        self._on_episode()
        return episode

    def _frame(self, frame: Pixels) -> None:
        self._camera.frame(frame)
        self._on_frame()

    def _watch(self, obs: Obs, decision: Decision, so_far: Episode) -> None:
        if self._filming:
            self._camera.watch(obs, decision, so_far)


def _film(
    games: Games,
    directory: Path,
    names: Sequence[str],
    shoot: Callable[[int, Path], Episode | None],
) -> list[Film]:
    """The films to keep, in their places.

    Args:
        shoot: plays an episode and films it in a file; None if that one is not wanted.
    """
    directory.mkdir(parents=True, exist_ok=True)
    films: list[Film] = []
    with _workshop(directory, games.best_of) as shop:
        for i, name in enumerate(names):
            take = shop / (name if games.best_of is None else f"{i + 1}-{name}")
            episode = shoot(i, take)
            if episode is None:
                continue
            films.append(Film(episode, take, directory / name))
            if len(films) > games.episodes:  # of equally bad ones the last goes
                worst = min(reversed(films), key=lambda film: film.episode.episode_return)
                worst.take.unlink()
                films.remove(worst)
        for film in films:
            film.take.replace(film.path)
    return films


def _best_games(agent: Agent, games: Games, filmed: Stream) -> set[int] | None:
    """Which of the games will be kept: saliency is dear, so they are played once without it.

    Args:
        filmed: where they will be filmed; here too where there cannot be a second environment.

    Raises:
        ConfigError: the environment must not play a game twice.
    """
    if games.best_of is None or games.best_of <= games.episodes:
        return None
    if not filmed.replayable:
        raise ConfigError(
            f"--saliency with --best-of plays each game twice, and {agent.spec.id} says that it"
            " must not be replayed",
            "leave one of the two out",
        )
    try:
        env = make_agent_env(agent, games.seed, games.env_id, games.env_args)
    except EnvError:  # though it could be made before
        env = filmed
    try:
        with threadpool_limits(1, user_api="blas"):
            played = play_episodes(
                agent, games.played, seed=games.seed, greedy=games.greedy, env=env,
                max_steps=games.max_steps,
            )  # fmt: skip
            returns = [episode.episode_return for episode in played]
    finally:
        if env is filmed:
            filmed.restart(games.seed)
        else:
            env.close()
    best = sorted(range(len(returns)), key=lambda i: (-returns[i], i))
    return set(best[: games.episodes])


def _drawing(agent: Agent, picture: Picture, policy: str, rewards: str) -> _Drawing:
    """What a picture asks for; `rewards` is the run's --reward-transform, the unit of V(s)."""
    maps: SaliencyMaps | None = None
    if picture.saliency is not None:
        from a2c_cli.film.saliency import Saliency

        maps = Saliency(agent, picture.saliency)
    unit = {"sign": "clipped", "scale": "scaled"}.get(rewards, "")
    panel = _panel_maker(agent, policy, maps is not None, unit) if picture.overlay else None
    return _Drawing(maps, panel)


@contextmanager
def _workshop(directory: Path, best_of: int | None) -> Iterator[Path]:
    """Where films are made: in place, or where those that are not kept leave nothing behind."""
    if best_of is None:
        yield directory
        return
    with TemporaryDirectory(prefix=".record-", dir=directory) as name:
        yield Path(name)


def _panel_maker(
    agent: Agent, policy: str, legend: bool, unit: str
) -> Callable[[tuple[int, int]], Panel]:
    name = agent.spec.id.rpartition("/")[2].rpartition(":")[2]
    title = name.rpartition("-v")[0] or name
    return lambda frame: Panel(title, policy, agent.spec.action, frame, legend, unit)
