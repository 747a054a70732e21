"""Films of training: whole or absent, and the run is the same with and without them."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from compare_runs import assert_same_learning, assert_same_run, metrics, stop_after
from filming import film_games
from process import Outcome

from a2c_cli import TrainConfig, train
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.runs.directory import RunDir

CARTPOLE: dict[str, Any] = {"env": "CartPole-v1", "total_steps": 600, "log_every": 200, "seed": 3}


def films(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "videos").glob("[!.]*"))


def frames(run: Path, episode: int) -> int:
    path = run / "videos" / f"training-episode{episode:06d}.mp4"
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    return int(count)


@pytest.mark.parametrize(
    ("config", "every"),
    [
        (CARTPOLE, 8),
        ({"env": "ALE/Breakout-v5", "total_steps": 400, "log_every": 300, "seed": 2}, 2),
    ],
)
def test_a_filmed_run_is_the_same_bit_for_bit(
    tmp_path: Path, config: dict[str, Any], every: int
) -> None:
    plain, filmed = tmp_path / "plain", tmp_path / "filmed"
    train(TrainConfig(**config), run_dir=plain)
    result = train(TrainConfig(**config, video_every=every), run_dir=filmed)
    assert_same_learning(plain, filmed)
    assert result.warnings == ()
    lengths = [m["charts/episodic_length"] for m in metrics(filmed) if "episode" in m]
    assert len(lengths) >= every
    turns = range(1, len(lengths) + 1, every)
    assert films(filmed) == [f"training-episode{episode:06d}.mp4" for episode in turns]
    for episode in turns:
        steps = lengths[episode - 1]
        if config["env"] == "CartPole-v1":
            assert frames(filmed, episode) == steps + 1
        else:  # the game may be over before the last step's four frames are
            assert 4 * steps - 3 <= frames(filmed, episode) - 1 <= 4 * steps


@pytest.mark.parametrize(
    ("env", "steps"),
    [("CartPole-v1", 120), pytest.param("ALE/Breakout-v5", 220, marks=pytest.mark.slow)],
)
def test_a_run_stopped_in_mid_episode_films_that_episode_whole(
    tmp_path: Path, env: str, steps: int
) -> None:
    config = TrainConfig(
        env=env, total_steps=steps, log_every=50, seed=2, video_every=2, learning_rate=1e-6
    )  # too small to learn: games stay short
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    train(config, run_dir=straight)
    first = next(m["env_steps"] for m in metrics(straight) if "episode" in m)
    train(config, run_dir=stopped, should_stop=stop_after(first - 4))
    assert not (stopped / "videos").exists() or not list((stopped / "videos").iterdir())
    # As a kill leaves it: the encoder's file, and the film of somebody else beside it.
    torn = stopped / "videos" / ".training-episode000001.0123456789abcdef.part.mp4"
    other = stopped / "videos" / ".last-sampled-seed0-episode1.0123456789abcdef.part.mp4"
    torn.write_bytes(b"torn")
    other.write_bytes(b"a2c record is at work")
    train(resume=stopped)
    assert not torn.exists()
    other.unlink()
    assert not list((stopped / "videos").glob(".*"))
    assert films(stopped) == films(straight)
    for name in films(straight):
        assert (stopped / "videos" / name).read_bytes() == (straight / "videos" / name).read_bytes()
    assert_same_run(straight, stopped)


def test_an_environment_without_pictures_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match="draws no pictures") as caught:
        train(TrainConfig(env="tiny/Bandit-v0", video_every=1), run_dir=run)
    assert "leave --video-every out" in caught.value.hint
    assert not run.exists()
    train(TrainConfig(env="tiny/Bandit-v0", total_steps=50), run_dir=run, should_stop=stop_after(9))
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(EnvError, match="draws no pictures"):
        train(resume=run, changes={"video_every": 1})
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_what_goes_wrong_with_a_film_warns_once_and_training_goes_on(tmp_path: Path) -> None:
    plain, run = tmp_path / "plain", tmp_path / "run"
    train(TrainConfig(**CARTPOLE), run_dir=plain)
    run.mkdir()
    (run / "videos").write_text("in the way")
    told: list[str] = []
    result = train(
        TrainConfig(**CARTPOLE, video_every=1),
        run_dir=run,
        on_progress=lambda progress: told.extend(progress.warnings),
    )
    assert result.stopped == "completed"
    assert len(result.warnings) == 1
    assert "no film" in result.warnings[0]
    assert told == list(result.warnings)
    assert_same_learning(plain, run)


def test_a_picture_that_fails_in_mid_run_costs_the_film_alone(tmp_path: Path) -> None:
    env: dict[str, Any] = {"env": "tiny/Static-v0", "env_args": {"breaks_at": 7}}
    plain, run = tmp_path / "plain", tmp_path / "run"
    train(TrainConfig(**env, total_steps=100), run_dir=plain)
    result = train(TrainConfig(**env, total_steps=100, video_every=2), run_dir=run)
    assert len(result.warnings) == 1
    assert "the screen went dark" in result.warnings[0]
    assert list((run / "videos").iterdir()) == []
    assert_same_learning(plain, run)
    # What films on request says so.
    with pytest.raises(EnvError, match="the screen went dark"):
        film_games(result.last)


def test_an_encoder_that_dies_warns_once_on_the_command_line(
    cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    run = tmp_path / "run"
    done = cli("train", "--env", "CartPole-v1", "--total-steps", 100, "--video-every", 1,
               "--run-dir", run)  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.stderr.count("warning: no film of this episode: cannot write video") == 1
    assert films(run) == []


def test_a_full_disk_leaves_no_torn_film(tmp_path: Path) -> None:
    """The limit stands in for the disk: a film is larger than it, a checkpoint is not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        config = TrainConfig(env="tiny/Static-v0", total_steps=40, video_every=1)
        result = train(config, run_dir=tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (result.stopped, len(result.warnings)) == ("completed", 1)
    assert list((tmp_path / "run" / "videos").iterdir()) == []


@pytest.mark.slow
def test_kill_9_in_mid_film_leaves_nothing_torn(tmp_path: Path) -> None:
    plain, run = tmp_path / "plain", tmp_path / "run"
    config = {"env": "ALE/Breakout-v5", "total_steps": 2500, "log_every": 1000, "seed": 2}
    train(TrainConfig(**config), run_dir=plain)  # type: ignore[arg-type]
    command = [sys.executable, "-m", "a2c_cli", "train", "--quiet"]
    start = ["--env", "ALE/Breakout-v5", "--total-steps", "2500", "--log-every", "1000"]
    start += ["--seed", "2", "--save-every", "0.005", "--video-every", "1", "--run-dir", str(run)]
    kills = 0
    for arguments in (start, ["--resume", str(run)], ["--resume", str(run)]):
        process = subprocess.Popen([*command, *arguments])
        saved = (run / "last.safetensors").stat().st_mtime_ns if kills else 0
        while process.poll() is None:  # kill it behind a save of its own, in the middle of a film
            last, videos = run / "last.safetensors", run / "videos"
            saved_since = last.exists() and last.stat().st_mtime_ns > saved
            if saved_since and len(films(run)) > kills and list(videos.glob(".*")):
                process.kill()
                kills += 1
                break
            time.sleep(0.02)
        process.wait()
    assert kills >= 1
    subprocess.run([*command, "--resume", str(run)], check=True)
    assert_same_learning(plain, run)
    lengths = [m["charts/episodic_length"] for m in metrics(run) if "episode" in m]
    assert films(run) == [f"training-episode{i:06d}.mp4" for i in range(1, len(lengths) + 1)]
    for episode, steps in enumerate(lengths, 1):
        assert 4 * steps - 3 <= frames(run, episode) - 1 <= 4 * steps


def test_the_directory_of_films_is_there_only_if_asked_for(cartpole_run: Path) -> None:
    assert not (cartpole_run / "videos").exists()


def test_opening_a_run_keeps_finished_films(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    kept = tmp_path / "videos" / "training-episode000001.mp4"
    kept.write_bytes(b"whole")
    RunDir(tmp_path).close()
    assert kept.read_bytes() == b"whole"
    shutil.rmtree(tmp_path / "videos")
