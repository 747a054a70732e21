"""Filming an agent: the episodes of an evaluation, with every frame on the way to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.evaluation import Episode, load_agent, make_agent_env, play_episodes
from a2c_cli.video import VideoWriter

SUFFIXES = ("mp4", "gif")


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
    max_steps: int | None = None,
    env_id: str | None = None,
) -> dict[str, Any]:
    """Film whole episodes, one file each, at real speed; memory does not grow with their length.

    Args:
        path: the checkpoint file.
        episodes: how many, ≥ 1.
        output: a directory, or one file (its suffix decides the format) for one episode; None
            for `videos/` beside the checkpoint.
        suffix: `mp4` (H.264 that browsers play) or `gif`.
        greedy, seed, max_steps, env_id: as in `evaluation.evaluate`.
        scale: enlarge every pixel by this whole number.
        fps: frames a second; None for real time (60 on Atari, else the environment's own).

    Returns:
        The keys of `a2c record --json`.

    Raises:
        A2CError: see `errors`.
    """
    path = Path(path)
    if output is not None and output.suffix.lstrip(".") in SUFFIXES:
        if episodes != 1:
            raise ConfigError(
                f"--output {output} is one file, but --episodes is {episodes}",
                "give a directory",
            )
        directory, names = output.parent, [output.name]
    else:
        if suffix not in SUFFIXES:
            raise ConfigError(
                f"--format cannot be {suffix!r}", f"choose from {', '.join(SUFFIXES)}"
            )
        directory = output if output is not None else path.parent / "videos"
        stem = f"{path.parent.name}-{path.stem}" if output is not None else path.stem
        stem += f"-{'greedy' if greedy else 'sampled'}-seed{seed}"
        names = [f"{stem}-episode{i + 1}.{suffix}" for i in range(episodes)]
    agent = load_agent(path)
    env = make_agent_env(agent, seed, env_id, render=True)
    films = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with threadpool_limits(1, user_api="blas"):
            games = play_episodes(
                agent, episodes, seed=seed, greedy=greedy, env=env, max_steps=max_steps
            )
            for name in names:
                with VideoWriter(
                    directory / name, fps or env.frames_per_second, scale=scale
                ) as video:
                    env.on_frame = video.write
                    episode: Episode = next(games)
                films.append(
                    {
                        "return": episode.episode_return,
                        "length": episode.length,
                        "file": str(directory / name),
                    }
                )
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
        "policy": "greedy" if greedy else "sampled",
        "seed": seed,
        "files": [film["file"] for film in films],
        "episodes": films,
    }
