"""The Atari stream against gymnasium's own wrappers, pixel by pixel, and its exact states."""

from __future__ import annotations

import itertools
from typing import Any

import ale_py
import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from a2c_cli.envs.make import make_env, probe
from a2c_cli.envs.stream import play
from a2c_cli.errors import ConfigError, EnvError

gymnasium.register_envs(ale_py)

WRAPPERS = {"frame_skip": 4, "screen_size": 84, "frame_stack": 4, "noop_max": 30}


def stream(game: str = "Breakout", seed: int = 0, args: Any = None, **changes: int) -> Any:
    return make_env(f"ALE/{game}-v5", args or {}, {**WRAPPERS, **changes}, seed=seed)


def reference(game: str, seed: int, args: dict[str, Any], changes: dict[str, int]) -> Any:
    w = {**WRAPPERS, **changes}
    env = AtariPreprocessing(
        gymnasium.make(f"ALE/{game}-v5", frameskip=1, **args),
        noop_max=w["noop_max"],
        frame_skip=w["frame_skip"],
        screen_size=w["screen_size"],
    )
    env.env.reset(seed=seed)  # seeds the emulator and the no-ops, as the stream does when made
    return FrameStackObservation(env, w["frame_stack"])


def compare(game: str, steps: int, *, args: Any = None, seed: int = 3, **changes: int) -> list[Any]:
    """Walk both side by side; returns what ended the episodes."""
    ours, theirs = stream(game, seed, args, **changes), reference(game, seed, args or {}, changes)
    rng = np.random.default_rng(seed)
    actions = theirs.action_space.n
    assert ours.spec.action.sizes == (actions,)
    np.testing.assert_array_equal(ours.reset(), theirs.reset()[0])
    ends, paid = [], 0.0
    for t in range(steps):
        action = int(rng.integers(actions))
        obs, reward, terminated, truncated = ours.step(action)
        expected, *rest, _ = theirs.step(action)
        assert (reward, terminated, truncated) == tuple(rest), t
        assert (obs == expected).all(), f"{game}: pixels differ at step {t}"
        assert ours.lives == theirs.unwrapped.ale.lives()
        paid += abs(reward)
        if terminated or truncated:
            ends.append((terminated, truncated))
            np.testing.assert_array_equal(ours.reset(), theirs.reset()[0])
    assert paid > 0 or steps < 1000 or game == "Freeway"
    ours.close()
    theirs.close()
    return ends


@pytest.mark.parametrize("game", ["Breakout", pytest.param("Pong", marks=pytest.mark.slow)])
def test_equals_gymnasiums_wrappers_over_two_thousand_steps(game: str) -> None:
    assert (True, False) in compare(game, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("game", ["SpaceInvaders", "Qbert", "Freeway"])
def test_equals_gymnasiums_wrappers_in_more_games(game: str) -> None:
    assert len(compare(game, 2200)) >= 1


@pytest.mark.parametrize(
    ("args", "changes"),
    [
        ({}, {"frame_skip": 1, "frame_stack": 1}),
        ({}, {"frame_skip": 2, "frame_stack": 2, "screen_size": 64}),
        ({}, {"frame_skip": 3, "screen_size": 105, "noop_max": 0}),
        ({}, {"screen_size": 210, "frame_stack": 3}),
        ({"repeat_action_probability": 0.0, "full_action_space": True}, {}),
        ({"mode": 12, "difficulty": 1}, {}),
    ],
)
def test_equals_gymnasiums_wrappers_with_other_settings(
    args: dict[str, Any], changes: dict[str, int]
) -> None:
    compare("Breakout", 150, args=args, **changes)


def test_a_frame_limit_truncates_as_in_gymnasium() -> None:
    ends = compare("SpaceInvaders", 200, args={"max_num_frames_per_episode": 200})
    assert set(ends) == {(False, True)}
    assert len(ends) >= 3


def test_a_lost_life_does_not_reset_the_game() -> None:
    env = stream(seed=1)
    env.reset()
    assert env.lives == 5
    rng = np.random.default_rng(0)
    seen = [5]
    while True:
        _, _, terminated, truncated = env.step(int(rng.integers(4)))
        if env.lives != seen[-1]:
            seen.append(env.lives)
        if terminated or truncated:
            break
    assert seen == [5, 4, 3, 2, 1, 0]


def test_the_same_seed_plays_the_same_games_and_another_seed_others() -> None:
    def play(seed: int) -> bytes:
        env, pictures = stream(seed=seed), b""
        for _ in range(2):
            pictures += env.reset().tobytes()
            for t in range(30):
                pictures += env.step(t % 4)[0].tobytes()
        return pictures

    assert play(5) == play(5)
    assert play(5) != play(6)


# --- frames


@pytest.mark.parametrize("noop_max", [0, 30])
def test_on_frame_gives_every_emulator_frame_in_order(noop_max: int) -> None:
    env = stream(seed=2, noop_max=noop_max)
    frames: list[Any] = []
    env.on_frame = lambda frame: frames.append(frame.copy())
    env.reset()
    assert len(frames) == 1  # the first picture of the game; the no-ops are not filmed
    raw = gymnasium.make("ALE/Breakout-v5", frameskip=1)
    raw.reset(seed=2)
    raw.unwrapped.ale.reset_game()
    if noop_max:
        for _ in range(raw.unwrapped.np_random.integers(1, noop_max + 1)):
            raw.unwrapped.ale.act(0)
    np.testing.assert_array_equal(frames[0], raw.unwrapped.ale.getScreenRGB())
    rng = np.random.default_rng(0)
    for _ in range(40):
        action = int(rng.integers(4))
        frames.clear()
        env.step(action)
        assert len(frames) == 4
        for frame in frames:
            expected, *_ = raw.step(action)
            np.testing.assert_array_equal(frame, expected)
        np.testing.assert_array_equal(frames[-1], env.render())


def test_watching_does_not_change_the_game() -> None:
    watched, alone = stream(seed=4), stream(seed=4)
    watched.on_frame = lambda frame: frame.fill(0)
    watched.reset()
    alone.reset()
    for t in range(60):
        np.testing.assert_array_equal(watched.step(t % 4)[0], alone.step(t % 4)[0])


# --- exact states


@pytest.mark.parametrize(
    "game", ["Breakout", pytest.param("SpaceInvaders", marks=pytest.mark.slow)]
)
def test_a_fresh_stream_goes_on_exactly_from_any_point_of_a_game(game: str) -> None:
    env = stream(game, seed=11)
    rng = np.random.default_rng(7)
    number = env.spec.action.sizes[0]
    actions = rng.integers(number, size=130).tolist()
    env.reset()
    trail, states, over = [], {}, False
    for t, action in enumerate(actions):
        if t % 13 == 5:
            states[t] = ({k: v.copy() for k, v in env.get_state().items()}, over)
        if over:
            env.reset()
        obs, reward, terminated, truncated = env.step(action)
        over = terminated or truncated
        trail.append((obs.copy(), reward, terminated, truncated))
    assert len(states) == 10
    for t, (state, at_end) in states.items():
        fresh = stream(game, seed=99)  # its own seed must not matter
        np.testing.assert_array_equal(fresh.set_state(state), state["obs"])
        over = at_end
        for action, (obs, *rest) in list(zip(actions, trail, strict=True))[t : t + 10]:
            if over:
                fresh.reset()
            got, *outcome = fresh.step(action)
            assert outcome == rest, f"saved at {t}"
            assert (got == obs).all(), f"saved at {t}"
            over = outcome[1] or outcome[2]
        fresh.close()


def test_the_games_after_a_restored_one_are_the_same_too() -> None:
    def rest(env: Any, count: int) -> list[Any]:
        rng, found = np.random.default_rng(3), []
        while len(found) < count:
            obs, reward, terminated, truncated = env.step(int(rng.integers(4)))
            found.append((int(obs.sum()), reward))
            if terminated or truncated:
                found.append((int(env.reset().sum()), None))
        return found

    env = stream(seed=11)
    env.reset()
    rest(env, 300)
    state = env.get_state()
    expected = rest(env, 500)
    assert sum(reward is None for _, reward in expected) >= 2
    fresh = stream(seed=0)
    fresh.set_state(state)
    assert rest(fresh, 500) == expected


def test_a_stream_in_mid_game_can_be_sent_back_too() -> None:
    """Where the joystick was held before must not be what the first sticky action repeats."""
    env = stream(seed=21, noop_max=0)
    states = []
    for _ in range(12):
        env.reset()
        for action in (3, 3, 0):
            env.step(action)
        states.append({k: v.copy() for k, v in env.get_state().items()})
    for state in states:
        env.step(2)
        np.testing.assert_array_equal(env.set_state(state), state["obs"])


def test_the_state_before_the_first_game_is_a_state_too() -> None:
    env, fresh = stream(seed=8), stream(seed=8)
    fresh.set_state(env.get_state())
    np.testing.assert_array_equal(env.reset(), fresh.reset())


@pytest.mark.parametrize("damage", ["opening", "rng", "actions", "obs"])
def test_a_damaged_state_is_an_error_not_a_crash(damage: str) -> None:
    env = stream()
    env.reset()
    for t in range(5):
        env.step(t % 4)
    state = env.get_state()
    broken = {
        "opening": state["opening"][:50],
        "rng": state["rng"][:3],
        "actions": np.array([77]),
        "obs": state["obs"] ^ 1,
    }[damage]
    with pytest.raises(EnvError, match="does not fit"):
        stream().set_state({**state, damage: broken})
    with pytest.raises(EnvError, match="does not fit"):
        stream().set_state({k: v for k, v in state.items() if k != damage})


# --- settings


@pytest.mark.parametrize(
    "name", ["frameskip", "obs_type", "render_mode", "sound_obs", "continuous"]
)
def test_arguments_that_the_preprocessing_owns_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--env-arg {name}"):
        stream(args={name: "rgb"})


def test_an_argument_the_emulator_does_not_know_is_an_error() -> None:
    with pytest.raises(EnvError, match="cannot be made"):
        stream(args={"colour": "red"})
    with pytest.raises(EnvError, match="cannot be made"):
        stream(args={"mode": 1234})


def test_the_spec_and_the_protocol_say_how_the_game_is_played() -> None:
    env = stream()
    assert env.spec.action.meanings == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert env.spec.obs_shape == (4, 84, 84)
    assert env.spec.frame_skip == 4
    assert env.frames_per_second == 60
    assert env.protocol == {
        "sticky_actions": 0.25,
        "frame_skip": 4,
        "noop_max": 30,
        "frame_limit": 108_000,
        "step_limit": None,
        "fire_reset": False,
        "full_action_space": False,
    }
    assert probe("ALE/Breakout-v5", {})[:2] == ("atari", 0)


def test_a_limit_of_agent_steps_truncates_a_game() -> None:
    env = make_env("ALE/Pong-v5", {"max_episode_steps": 5}, WRAPPERS, seed=0)
    ends = [step.truncated for step in itertools.islice(play(env, lambda obs: 0), 12)]
    assert [i for i, truncated in enumerate(ends) if truncated] == [4, 9]
    assert env.protocol["step_limit"] == 5
    for wrong in (0, 2.5, True, "5"):
        with pytest.raises(ConfigError, match="max_episode_steps"):
            make_env("ALE/Pong-v5", {"max_episode_steps": wrong}, WRAPPERS, seed=0)
