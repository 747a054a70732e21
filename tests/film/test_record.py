"""Filming: every emulator frame in a real file."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import tiny_envs
from filming import film_games
from numpy.typing import NDArray
from PIL import Image
from process import Outcome

from a2c_cli import TrainConfig, evaluate, load_agent, train
from a2c_cli.errors import A2CError, CheckpointError, ConfigError, EnvError
from a2c_cli.evaluation.episodes import Episode, play_episodes
from a2c_cli.film.camera import Camera
from a2c_cli.film.panel import Moment, Panel
from a2c_cli.film.policy_bars import make_bars
from a2c_cli.film.saliency import Saliency
from a2c_cli.policies.agent import Decision
from a2c_cli.policies.distributions import entropy
from a2c_cli.runs.loading import make_agent_env


def pictures_of(path: Path | str) -> NDArray[np.uint8]:
    """All frames, (frames, height, width, 3)."""
    reader = imageio_ffmpeg.read_frames(path, output_params=["-fps_mode", "passthrough"])
    width, height = next(reader)["size"]
    frames = [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]
    return np.stack(frames)


def frames_of(path: Path) -> tuple[int, tuple[int, int], float]:
    """How many frames are stored, (width, height), frames a second."""
    reader = imageio_ffmpeg.read_frames(path, output_params=["-fps_mode", "passthrough"])
    meta = next(reader)
    return sum(1 for _ in reader), meta["size"], meta["fps"]


def test_an_mp4_holds_every_emulator_frame_of_the_episode(
    breakout_run: Path, tmp_path: Path
) -> None:
    result = film_games(breakout_run / "last.safetensors", 2, output=tmp_path, max_steps=25, seed=3)
    assert [e["length"] for e in result["episodes"]] == [25, 25]
    assert result["files"] == [e["file"] for e in result["episodes"]]
    for file in result["files"]:
        count, size, fps = frames_of(Path(file))
        assert count == 1 + 4 * 25  # the opening picture and frame_skip frames a step
        assert size == (320, 420)
        assert fps == pytest.approx(60)


def test_films_the_games_that_an_evaluation_of_one_stream_plays(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="tiny/Picture-v0", total_steps=20, network="8"),
          run_dir=run)  # fmt: skip
    result = film_games(run / "last.safetensors", 3, scale=1)
    assert [e["length"] for e in result["episodes"]] == [9, 9, 9]
    for file in result["files"]:
        count, size, fps = frames_of(Path(file))
        assert (count, size, fps) == (10, (40, 48), 12)
        assert Path(file).parent == run / "videos"


def test_a_gif_is_made_when_the_name_says_so(breakout_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "film.gif"
    result = film_games(breakout_run / "last.safetensors", 1, output=path, max_steps=5, scale=1)
    assert result["files"] == [str(path)]
    with Image.open(path) as film:
        assert film.format == "GIF"
        assert film.size == (160, 210)
        assert film.n_frames > 3


def test_the_format_is_an_option_for_a_directory(breakout_run: Path, tmp_path: Path) -> None:
    result = film_games(
        breakout_run / "last.safetensors", 1, output=tmp_path, suffix="gif", max_steps=3, scale=1
    )
    assert Path(result["files"][0]).suffix == ".gif"
    with pytest.raises(ConfigError, match="--format"):
        film_games(breakout_run / "last.safetensors", 1, output=tmp_path, suffix="avi")


def test_one_file_cannot_hold_two_episodes(breakout_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--episodes is 2"):
        film_games(breakout_run / "last.safetensors", 2, output=tmp_path / "film.mp4")


def test_the_same_seed_films_the_same_game(cartpole_run: Path, tmp_path: Path) -> None:
    path = cartpole_run / "last.safetensors"
    films = [film_games(path, 2, output=tmp_path / f"{i}", seed=s, scale=1)
             for i, s in enumerate((1, 1, 2))]  # fmt: skip
    lengths = [[e["length"] for e in film["episodes"]] for film in films]
    assert lengths[0] == lengths[1]
    assert lengths[0] != lengths[2]
    count, _, _ = frames_of(Path(films[0]["files"][0]))
    assert count == 1 + lengths[0][0]


def test_filming_does_not_change_the_game(cartpole_run: Path, tmp_path: Path) -> None:
    path = cartpole_run / "last.safetensors"
    film = film_games(path, 3, output=tmp_path, seed=6, scale=1)
    agent = load_agent(path)
    played = list(play_episodes(agent, 3, seed=6, env=make_agent_env(agent, 6)))
    assert [e["return"] for e in film["episodes"]] == [e.episode_return for e in played]
    assert np.mean([e.length for e in played]) < 2 * evaluate(path, 20)["mean"]


def test_an_environment_that_cannot_render_is_a_clear_error(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(env="tiny/Bandit-v0", total_steps=5), run_dir=run)
    with pytest.raises(EnvError, match="tiny/Bandit-v0"):
        film_games(run / "last.safetensors", 1)


def test_a_place_that_cannot_be_written_is_a_clear_error(
    breakout_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(A2CError, match="cannot write"):
        film_games(breakout_run / "last.safetensors", 1, output=tmp_path / "file" / "in")


# --- what is drawn


@pytest.fixture(scope="module")
def picture_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on pictures of 48 x 40 pixels, 9 steps an episode; read only."""
    path = tmp_path_factory.mktemp("runs") / "picture"
    train(TrainConfig(env="tiny/Picture-v0", total_steps=20, network="8"),
          run_dir=path)  # fmt: skip
    return path


def drawn_by_camera(run: Path, steps: int) -> tuple[list[Any], list[Any], list[Any]]:
    """One episode: the pictures, the bare frames, and the panels in the order of decisions."""
    agent = load_agent(run / "last.safetensors")
    env = make_agent_env(agent, 4, render=True)
    frames: list[Any] = []
    pictures: list[Any] = []
    moments: list[Moment] = []

    def panel(frame: tuple[int, int]) -> Panel:
        return Panel("Game", "sampled", agent.spec.action, frame)

    camera = Camera(agent, Fraction(1), 2, None, panel)
    camera.start(lambda picture: pictures.append(picture.copy()))

    def on_frame(frame: Any) -> None:
        frames.append(frame)
        camera.frame(frame)

    def watch(obs: Any, decision: Any, so_far: Any) -> None:
        camera.watch(obs, decision, so_far)
        action, log_std = agent.spec.action, agent.network.log_std
        bars = make_bars(action, decision.outputs, log_std, decision.action)
        uncertainty = entropy(action, decision.outputs, log_std)
        moments.append(
            Moment(so_far.episode_return, so_far.length, decision.value, uncertainty, bars)
        )

    env.on_frame = on_frame
    episode = next(play_episodes(agent, 1, seed=4, env=env, max_steps=steps, watch=watch))
    camera.finish(episode)
    env.close()
    own = panel((2 * frames[0].shape[0], 2 * frames[0].shape[1]))
    panels = [own.draw(moment) for moment in moments]
    final = Moment(episode.episode_return, episode.length, *[
        getattr(moments[-1], name) for name in ("value", "entropy", "bars")
    ])  # fmt: skip
    return pictures, frames, [*panels, own.redraw(final)]


@pytest.mark.parametrize(("name", "steps", "skip"), [("picture", 9, 1), ("breakout", 6, 4)])
def test_a_frame_stands_beside_the_decision_that_was_made_on_it(
    name: str, steps: int, skip: int, request: pytest.FixtureRequest
) -> None:
    pictures, frames, panels = drawn_by_camera(request.getfixturevalue(f"{name}_run"), steps)
    assert len(pictures) == len(frames) == 1 + skip * steps
    assert len(panels) == steps + 1
    for k, (picture, frame) in enumerate(zip(pictures, frames, strict=True)):
        height, width = 2 * frame.shape[0], 2 * frame.shape[1]
        top = (len(picture) - height) // 2
        game = picture[top : top + height, :width]
        np.testing.assert_array_equal(game, frame.repeat(2, 0).repeat(2, 1))
        # Frame 4 t is the one that decision t was made on; those behind it show it acting.
        np.testing.assert_array_equal(picture[:, width:], panels[k // skip])


def test_the_game_is_the_same_whatever_is_drawn(breakout_run: Path, tmp_path: Path) -> None:
    path = breakout_run / "last.safetensors"
    bare, drawn, tinted = (
        film_games(path, 1, output=tmp_path / f"{i}.mp4", seed=2, max_steps=12, scale=2, **options)
        for i, options in enumerate(
            ({}, {"overlay": True}, {"overlay": True, "saliency": "gradient"})
        )
    )
    for film in (drawn, tinted):
        assert [(e["return"], e["length"]) for e in film["episodes"]] == [
            (e["return"], e["length"]) for e in bare["episodes"]
        ]
    plain, beside = pictures_of(bare["files"][0]), pictures_of(drawn["files"][0])
    assert plain.shape == (49, 420, 320, 3)
    assert beside.shape == (49, 420, 320 + 290, 3)
    again, lit = (
        cv2.absdiff(plain, pictures[:, :, :320]).mean(axis=(1, 2, 3))
        for pictures in (beside, pictures_of(tinted["files"][0]))
    )
    assert again.max() < 2  # two encodings of the same frames
    assert lit[:-1].min() > 2 * again.max()


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_every_environment_that_renders_has_a_panel(env: str, tmp_path: Path) -> None:
    train(TrainConfig(env=env, total_steps=10), run_dir=tmp_path / "run")
    path = tmp_path / "run" / "last.safetensors"
    film = film_games(path, 1, output=tmp_path / "film.mp4", overlay=True, scale=1, max_steps=5)
    frames = pictures_of(film["files"][0])
    assert len(frames) == 6
    assert (frames[0, :, -8:] < 60).all()  # the panel's dark edge beside a white scene
    assert (frames[0, :40, :40] > 200).all()


def test_saliency_needs_pixels_and_says_so_before_anything_is_written(
    cartpole_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="pixels of one picture"):
        film_games(
            cartpole_run / "last.safetensors", 1, output=tmp_path / "new", saliency="gradient"
        )
    assert not (tmp_path / "new").exists()


def test_numbers_that_cannot_be_shown_are_a_clear_error(cartpole_run: Path) -> None:
    agent = load_agent(cartpole_run / "last.safetensors")
    camera = Camera(agent, Fraction(1), 1, None, None)
    camera.start(lambda picture: None)
    sound = np.zeros(2, np.float32)
    camera.watch(None, Decision(sound, 0, sound, 1.0), Episode(0.0, 0))
    for bad in (
        Decision(sound, 0, sound, np.inf),
        Decision(sound, 0, sound + np.float32(np.nan), 1.0),
    ):
        with pytest.raises(CheckpointError, match="not finite"):
            camera.watch(None, bad, Episode(0.0, 0))


# --- rates


@pytest.mark.parametrize(
    ("options", "count", "fps"),
    [
        ({"fps": 15}, 26, 15),  # every fourth of 101 frames: the same length in seconds
        ({"fps": 25}, 42, 25),  # 1 + ⌊100 · 25 / 60⌋
        ({"speed": 4}, 26, 60),  # no more frames a second than in real time
        ({"speed": 0.5}, 101, 30),
    ],
)
def test_a_lower_rate_leaves_frames_out_and_the_speed_stays(
    options: dict[str, Any], count: int, fps: float, breakout_run: Path, tmp_path: Path
) -> None:
    film = film_games(
        breakout_run / "last.safetensors", 1, output=tmp_path, max_steps=25, scale=1, **options
    )
    found, _, rate = frames_of(Path(film["files"][0]))
    assert (found, rate) == (count, pytest.approx(fps))


@pytest.mark.parametrize(
    ("options", "message"), [({"fps": 61}, "--fps 61"), ({"speed": 0}, "--speed")]
)
def test_an_impossible_rate_is_refused_before_anything_is_written(
    options: dict[str, Any], message: str, breakout_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        film_games(breakout_run / "last.safetensors", 1, output=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_short_gif_with_a_panel_is_small(breakout_run: Path, tmp_path: Path) -> None:
    film = film_games(
        breakout_run / "last.safetensors", 1, output=tmp_path / "play.gif", overlay=True,
        saliency="gradient", scale=1, fps=15, max_steps=40,
    )  # fmt: skip
    path = Path(film["files"][0])
    with Image.open(path) as gif:
        assert gif.n_frames == 41  # frames of all 160 that were asked for, and the first
    assert path.stat().st_size / 41 < 3e6 / 150  # 10 s of it would have less than 3 MB


# --- the best of several


def test_the_best_of_several_games_is_kept(cartpole_run: Path, tmp_path: Path) -> None:
    path = cartpole_run / "last.safetensors"
    agent = load_agent(path)
    played = list(play_episodes(agent, 6, seed=1, env=make_agent_env(agent, 1)))
    returns = [episode.episode_return for episode in played]
    told: list[int] = []
    film = film_games(
        path, 1, output=tmp_path / "best.mp4", seed=1, best_of=6, scale=1,
        on_episode=lambda: told.append(1),
    )  # fmt: skip
    assert film["best_of"] == len(told) == 6
    assert [e["return"] for e in film["episodes"]] == [max(returns)]
    assert frames_of(tmp_path / "best.mp4")[0] == 1 + max(returns)
    assert [p.name for p in tmp_path.iterdir()] == ["best.mp4"]


def test_saliency_is_computed_for_the_game_that_is_kept_alone(
    breakout_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looked = breakout_run / "last.safetensors", []
    look = Saliency.__call__

    def counted(self: Saliency, obs: Any, action: Any) -> Any:
        looked.append(action)
        return look(self, obs, action)

    monkeypatch.setattr(Saliency, "__call__", counted)
    options: dict[str, Any] = {"seed": 5, "best_of": 3, "max_steps": 40, "scale": 1}
    plain = film_games(path, 1, output=tmp_path / "plain.mp4", **options)
    assert looked == []
    tinted = film_games(path, 1, output=tmp_path / "x.mp4", saliency="gradient", **options)
    assert len(looked) == 40
    assert [e["return"] for e in plain["episodes"]] == [e["return"] for e in tinted["episodes"]]
    assert frames_of(tmp_path / "x.mp4")[0] == frames_of(tmp_path / "plain.mp4")[0]


@pytest.mark.parametrize("name", ["out.avi", "out.WEBM", "out.png", "there"])
def test_an_output_that_cannot_be_a_film_is_refused(
    cartpole_run: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "there").write_text("a file")
    with pytest.raises(ConfigError, match="no kind that can be filmed"):
        film_games(cartpole_run / "last.safetensors", 1, output=tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_the_best_games_of_an_environment_that_exists_once_are_filmed_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(env="tiny/Picture-v0", total_steps=20, network="4@8/8,8")
    run = train(config, run_dir=tmp_path / "run").run_dir
    options: dict[str, Any] = {"best_of": 3, "saliency": "gradient", "scale": 1}
    usual = film_games(run, output=tmp_path / "x.mp4", **options)
    built: list[int] = []
    build = tiny_envs.Picture.__init__

    def build_once(self: tiny_envs.Picture, **given: Any) -> None:
        built.append(1)
        if len(built) > 1:
            raise RuntimeError("only one connection")
        build(self, **given)

    monkeypatch.setattr(tiny_envs.Picture, "__init__", build_once)
    assert film_games(run, output=tmp_path / "x.mp4", **options) == usual
    assert len(built) == 2  # it was tried
    built.clear()
    monkeypatch.setitem(tiny_envs.Picture.metadata, "replayable", False)
    with pytest.raises(ConfigError, match="plays each game twice"):
        film_games(run, output=tmp_path / "y.mp4", **options)


def test_a_game_that_the_limit_has_cut_says_so(
    cartpole_run: Path, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    asked = ("record", cartpole_run, "--scale", 1, "--force", "--output", tmp_path / "x.mp4")
    assert "the game was cut" in cli(*asked, "--max-steps", 5).stdout
    assert "cut" not in cli(*asked).stdout
    films = film_games(cartpole_run, 2, output=tmp_path, max_steps=12, scale=1)["episodes"]
    assert [film["cut"] for film in films] == [film["length"] == 12 for film in films]


def test_the_best_few_are_kept_under_the_numbers_of_their_games(
    cartpole_run: Path, tmp_path: Path
) -> None:
    path = cartpole_run / "last.safetensors"
    agent = load_agent(path)
    played = list(play_episodes(agent, 6, seed=2, env=make_agent_env(agent, 2)))
    # Of equal ones the earlier: sorted() is stable.
    order = sorted(range(6), key=lambda i: -played[i].episode_return)
    best = sorted(order[:2])
    film = film_games(path, 2, output=tmp_path, seed=2, best_of=6, scale=1)
    assert [e["return"] for e in film["episodes"]] == [played[i].episode_return for i in best]
    assert {p.name for p in tmp_path.iterdir()} == {Path(f).name for f in film["files"]}
    for file, i in zip(film["files"], best, strict=True):
        assert file.endswith(f"episode{i + 1}.mp4")


def test_the_best_of_fewer_than_are_to_be_kept_is_refused(
    cartpole_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--best-of 2"):
        film_games(cartpole_run / "last.safetensors", 3, output=tmp_path, best_of=2)
    assert list(tmp_path.iterdir()) == []
