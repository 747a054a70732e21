"""Filming: every emulator frame in a real file."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from a2c_cli import TrainConfig, evaluate, train
from a2c_cli.errors import A2CError, ConfigError, EnvError
from a2c_cli.recording import record


def frames_of(path: Path) -> tuple[int, tuple[int, int], float]:
    """How many frames are stored, (width, height), frames a second."""
    reader = imageio_ffmpeg.read_frames(path, output_params=["-fps_mode", "passthrough"])
    meta = next(reader)
    return sum(1 for _ in reader), meta["size"], meta["fps"]


def test_an_mp4_holds_every_emulator_frame_of_the_episode(
    breakout_run: Path, tmp_path: Path
) -> None:
    result = record(breakout_run / "last.safetensors", 2, output=tmp_path, max_steps=25, seed=3)
    assert [e["length"] for e in result["episodes"]] == [25, 25]
    assert result["files"] == [e["file"] for e in result["episodes"]]
    for file in result["files"]:
        count, size, fps = frames_of(Path(file))
        assert count == 1 + 4 * 25  # the opening picture and frame_skip frames a step
        assert size == (320, 420)
        assert fps == pytest.approx(60)


def test_films_the_games_that_an_evaluation_of_one_stream_plays(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="tiny/Picture-v0", total_steps=20, network="mlp", hidden_size=8),
          run_dir=run)  # fmt: skip
    result = record(run / "last.safetensors", 3, scale=1)
    assert [e["length"] for e in result["episodes"]] == [9, 9, 9]
    for file in result["files"]:
        count, size, fps = frames_of(Path(file))
        assert (count, size, fps) == (10, (40, 48), 12)
        assert Path(file).parent == run / "videos"


def test_a_gif_is_made_when_the_name_says_so(breakout_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "film.gif"
    result = record(breakout_run / "last.safetensors", 1, output=path, max_steps=5, scale=1)
    assert result["files"] == [str(path)]
    with Image.open(path) as film:
        assert film.format == "GIF"
        assert film.size == (160, 210)
        assert film.n_frames > 3


def test_the_format_is_an_option_for_a_directory(breakout_run: Path, tmp_path: Path) -> None:
    result = record(
        breakout_run / "last.safetensors", 1, output=tmp_path, suffix="gif", max_steps=3, scale=1
    )
    assert Path(result["files"][0]).suffix == ".gif"
    with pytest.raises(ConfigError, match="--format"):
        record(breakout_run / "last.safetensors", 1, output=tmp_path, suffix="avi")


def test_one_file_cannot_hold_two_episodes(breakout_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--episodes is 2"):
        record(breakout_run / "last.safetensors", 2, output=tmp_path / "film.mp4")


def test_the_same_seed_films_the_same_game(cartpole_run: Path, tmp_path: Path) -> None:
    path = cartpole_run / "last.safetensors"
    films = [record(path, 2, output=tmp_path / f"{i}", seed=s, scale=1)
             for i, s in enumerate((1, 1, 2))]  # fmt: skip
    lengths = [[e["length"] for e in film["episodes"]] for film in films]
    assert lengths[0] == lengths[1]
    assert lengths[0] != lengths[2]
    count, _, _ = frames_of(Path(films[0]["files"][0]))
    assert count == 1 + lengths[0][0]


def test_filming_does_not_change_the_game(cartpole_run: Path, tmp_path: Path) -> None:
    from a2c_cli.evaluation import load_agent, make_agent_env, play_episodes

    path = cartpole_run / "last.safetensors"
    film = record(path, 3, output=tmp_path, seed=6, scale=1)
    agent = load_agent(path)
    played = list(play_episodes(agent, 3, seed=6, env=make_agent_env(agent, 6)))
    assert [e["return"] for e in film["episodes"]] == [e.episode_return for e in played]
    assert np.mean([e.length for e in played]) < 2 * evaluate(path, 20)["mean"]


def test_an_environment_that_cannot_render_is_a_clear_error(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="tiny/Bandit-v0", total_steps=5), run_dir=run)
    with pytest.raises(EnvError, match="tiny/Bandit-v0"):
        record(run / "last.safetensors", 1)


def test_a_place_that_cannot_be_written_is_a_clear_error(
    breakout_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(A2CError, match="cannot write"):
        record(breakout_run / "last.safetensors", 1, output=tmp_path / "file" / "in")
