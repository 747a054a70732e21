"""Gymnasium environments as streams: encodings, replays, and environments that break."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from a2c_cli.envs.gym import GymStream
from a2c_cli.envs.make import make_env, probe
from a2c_cli.envs.spaces import action_spec, observation_parts
from a2c_cli.envs.stream import ReplayError
from a2c_cli.errors import A2CError, EnvError, UnknownEnvError


def stream(env_id: str, *, seed: int = 0, frame_stack: int = 4, render: bool = False, **args: Any):
    return make_env(env_id, args, {"frame_stack": frame_stack}, seed=seed, render=render)


def random_action(env: Any, rng: np.random.Generator) -> Any:
    action = env.spec.action
    if action.kind == "continuous":
        return action.to_env(2 * rng.standard_normal(action.outputs))
    if action.kind == "discrete":
        return action.to_env(rng.integers(action.sizes[0]))
    return action.to_env(np.array([rng.integers(n) for n in action.sizes]))


# --- spaces


@pytest.mark.parametrize(
    ("env_id", "args", "kind", "obs_shape", "action_kind", "sizes"),
    [
        ("CartPole-v1", {}, "vector", (4,), "discrete", (2,)),
        ("Pendulum-v1", {}, "vector", (3,), "continuous", (1,)),
        ("FrozenLake-v1", {}, "vector", (16,), "discrete", (4,)),
        ("tiny/Noise-v0", {"actions": "multidiscrete"}, "vector", (2,), "multidiscrete", (2, 3)),
        ("tiny/Noise-v0", {"actions": "multibinary"}, "vector", (2,), "multidiscrete", (2, 2, 2)),
        ("tiny/Noise-v0", {"actions": "matrix"}, "vector", (2,), "continuous", (4,)),
        ("Blackjack-v1", {}, "vector", (45,), "discrete", (2,)),
        ("tiny/Parts-v0", {}, "vector", (8,), "discrete", (2,)),
        ("tiny/Picture-v0", {}, "image", (12, 48, 40), "discrete", (2,)),
        ("tiny/Picture-v0", {"channels": 0}, "image", (4, 48, 40), "discrete", (2,)),
        ("ALE/Breakout-v5", {"obs_type": "ram"}, "vector", (128,), "discrete", (4,)),
    ],
)
def test_spaces_become_specs(
    env_id: str, args: dict[str, Any], kind: str, obs_shape: Any, action_kind: str, sizes: Any
) -> None:
    env = stream(env_id, **args)
    assert env.spec.kind == kind
    assert env.spec.obs_shape == obs_shape
    assert (env.spec.action.kind, env.spec.action.sizes) == (action_kind, sizes)
    assert probe(env_id, args)[:2] == (kind, sizes[0] if action_kind == "continuous" else 0)
    obs = env.reset()
    assert obs.shape == obs_shape
    assert obs.dtype == env.spec.obs_dtype
    env.close()


@pytest.mark.parametrize(
    ("what", "message"), [("dict", "Dict observations"), ("text", "Text actions")]
)
def test_a_space_without_a_network_is_a_clear_error(what: str, message: str) -> None:
    args = {"what": what}
    for build in (lambda: stream("tiny/Odd-v0", what=what), lambda: probe("tiny/Odd-v0", args)):
        with pytest.raises(UnknownEnvError, match=message) as caught:
            build()
        assert "wrap it" in caught.value.hint


def test_boxes_without_numbers_are_refused_unless_there_are_others() -> None:
    nothing, some = spaces.Box(-1, 1, (0,)), spaces.Box(-1, 1, (2,))
    with pytest.raises(UnknownEnvError, match="shows nothing"):
        observation_parts(nothing, "x")
    with pytest.raises(UnknownEnvError, match="Box actions"):
        action_spec(nothing, "x")
    assert [p.width for p in observation_parts(spaces.Dict(a=nothing, b=some), "x")] == [0, 2]


def test_whole_number_boxes_are_no_actions_here() -> None:
    with pytest.raises(UnknownEnvError, match="Box actions"):
        stream("tiny/Noise-v0", actions="integers")


def test_an_unknown_id_suggests_close_ones() -> None:
    with pytest.raises(UnknownEnvError) as caught:
        probe("CartPol-v1", {})
    assert "CartPole-v1" in caught.value.hint
    with pytest.raises(UnknownEnvError) as caught:
        probe("ALE/Breakot-v5", {})
    assert "ALE/Breakout-v5" in caught.value.hint


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(UnknownEnvError, match="no_such_module"):
        probe("no_such_module:Env-v0", {})


def test_an_argument_the_environment_does_not_take_is_an_error() -> None:
    with pytest.raises(EnvError, match="cannot be made"):
        probe("CartPole-v1", {"colour": "red"})


def test_an_id_may_name_the_module_that_registers_it() -> None:
    assert probe("tiny_envs:tiny/Chain-v0", {})[:2] == ("vector", 0)


# --- steps


@pytest.mark.parametrize(
    ("env_id", "args"),
    [
        ("CartPole-v1", {}),
        ("Pendulum-v1", {}),
        ("FrozenLake-v1", {}),
        ("Acrobot-v1", {}),
        ("tiny/Noise-v0", {"actions": "discrete"}),
        ("tiny/Noise-v0", {"actions": "multidiscrete"}),
        ("tiny/Noise-v0", {"actions": "multibinary"}),
        ("tiny/Noise-v0", {"actions": "matrix"}),
        ("tiny/Noise-v0", {"actions": "half"}),
        ("tiny/Parts-v0", {}),
    ],
)
def test_gives_what_the_environment_gives(env_id: str, args: dict[str, Any]) -> None:
    """The same seeds and actions in the environment itself; Noise checks that it takes them."""
    env, own = stream(env_id, **args), gymnasium.make(env_id, **args)
    rng = np.random.default_rng(0)
    obs = env.reset()
    own_seed = env_seed(env)
    own_obs, _ = own.reset(seed=own_seed)
    for _ in range(60):
        np.testing.assert_allclose(obs, encode(own, own_obs), rtol=1e-6)
        action = random_action(env, rng)
        obs, reward, terminated, truncated = env.step(action)
        own_obs, *expected, _ = own.step(action)
        assert [reward, terminated, truncated] == pytest.approx([float(expected[0]), *expected[1:]])
        if terminated or truncated:
            break


def env_seed(env: Any) -> int:
    """The seed of the stream's first episode."""
    from a2c_cli.rng import make_generator

    return int(make_generator(0, 0).integers(2**31))


def encode(env: gymnasium.Env[Any, Any], obs: Any) -> Any:
    return np.asarray(gymnasium.spaces.flatten(env.observation_space, obs), np.float32)


def test_an_observation_of_several_parts_is_one_vector() -> None:
    env = stream("tiny/Parts-v0")
    obs = env.reset()
    assert obs.shape == (8,)
    assert obs[4:7].tolist().count(1.0) == 1  # the Discrete(3) between the two boxes
    for fault in ("missing", "short", "outside"):
        env = stream("tiny/Parts-v0", fault=fault)
        env.reset()
        with pytest.raises(EnvError, match="outside its space"):
            env.step(0)


def test_discrete_states_are_one_hot() -> None:
    env = stream("tiny/Chain-v0")
    assert env.reset().tolist() == [1, 0, 0, 0, 0, 0]
    assert env.step(1)[0].tolist() == [0, 1, 0, 0, 0, 0]


def test_pendulums_torque_is_scaled_to_its_range_and_clipped() -> None:
    action = stream("Pendulum-v1").spec.action
    assert action.to_env(np.array([0.5])).tolist() == [1.0]
    assert action.to_env(np.array([-3.0])).tolist() == [-2.0]


def test_a_matrix_of_actions_keeps_its_shape() -> None:
    action = stream("tiny/Noise-v0", actions="matrix").spec.action
    native = action.to_env(np.array([-1.0, 0.0, 1.0, 5.0]))
    assert native.tolist() == [[-2.0, 2.0], [6.0, 6.0]]


def test_a_time_limit_truncates_and_a_death_terminates() -> None:
    env = stream("tiny/Steady-v0")
    env.reset()
    ends = [env.step(0)[2:] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)]
    env = stream("tiny/Mortal-v0")
    env.reset()
    assert [env.step(0)[2:] for _ in range(20)][-1] == (True, False)


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_images_are_stacked_oldest_first_with_channels_together(channels: int) -> None:
    env = stream("tiny/Picture-v0", channels=channels, frame_stack=3)
    depth = max(channels, 1)

    def pictures(obs: Any) -> list[int]:
        assert (obs == obs[:, :1, :1]).all()
        return obs[:, 0, 0].tolist()

    def expected(*ages: int) -> list[int]:
        return [10 * age + c for age in ages for c in range(depth)]

    assert pictures(env.reset()) == expected(0, 0, 0)
    assert pictures(env.step(0)[0]) == expected(0, 0, 1)
    assert pictures(env.step(0)[0]) == expected(0, 1, 2)
    assert pictures(env.step(0)[0]) == expected(1, 2, 3)
    assert pictures(env.reset()) == expected(0, 0, 0)


def test_every_step_and_every_reset_shows_a_frame() -> None:
    env = stream("tiny/Picture-v0", render=True)
    frames: list[int] = []
    env.on_frame = lambda frame: frames.append(int(frame[0, 0, 0]))
    env.reset()
    for _ in range(9):
        env.step(0)
    env.reset()
    assert frames == [10 * age for age in [*range(10), 0]]
    assert env.frames_per_second == 12


def test_an_environment_that_cannot_render_says_so() -> None:
    env = stream("tiny/Chain-v0")
    env.reset()
    with pytest.raises(EnvError, match="cannot render"):
        env.render()


# --- environments that break


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises in step", "raised in step: RuntimeError: arm fell off"),
        ("raises in a library", r"JSONDecodeError.*tiny_envs.py, line \d+"),
        ("exits in step", "raised in step: SystemExit: 0"),
        ("nan reward", "reward nan"),
        ("inf reward", "reward inf"),
        ("text reward", "raised in step: ValueError"),
        ("nan observation", "not finite"),
        ("wrong shape", r"shape \(3,\), its space says \(2,\)"),
        ("ragged", "observation"),
    ],
)
def test_a_broken_step_is_an_error_that_names_the_environment(fault: str, message: str) -> None:
    env = stream("tiny/Faulty-v0", fault=fault)
    env.reset()
    env.step(0)
    env.step(0)
    with pytest.raises(EnvError, match=message) as caught:
        env.step(0)
    assert "tiny/Faulty-v0" in caught.value.message


def test_a_broken_reset_is_an_error_that_names_the_environment() -> None:
    env = stream("tiny/Faulty-v0", fault="raises in reset")
    with pytest.raises(EnvError, match="tiny/Faulty-v0 raised in reset: RuntimeError: no power"):
        env.reset()


# --- seeds and replay


def walk(env: Any, obs: Any, steps: int, rng: np.random.Generator) -> list[Any]:
    trail = []
    for _ in range(steps):
        if obs is None:
            obs = env.reset()
            trail.append(obs.tolist())
        obs, reward, terminated, truncated = env.step(random_action(env, rng))
        trail.append((obs.tolist(), reward, terminated, truncated))
        if terminated or truncated:
            obs = None
    return trail


REPLAYED = [
    ("CartPole-v1", {}),
    ("Pendulum-v1", {}),
    ("FrozenLake-v1", {}),
    ("MountainCarContinuous-v0", {}),
    ("tiny/Noise-v0", {"actions": "discrete"}),
    ("tiny/Noise-v0", {"actions": "multibinary"}),
    ("tiny/Noise-v0", {"actions": "multidiscrete"}),
    ("tiny/Noise-v0", {"actions": "matrix"}),
    ("tiny/Picture-v0", {}),
]


@pytest.mark.parametrize(("env_id", "args"), REPLAYED)
@pytest.mark.parametrize("cut", [1, 8, 17, 30])
def test_a_fresh_stream_goes_on_exactly_from_a_saved_state(
    env_id: str, args: dict[str, Any], cut: int
) -> None:
    env = stream(env_id, seed=4, **args)
    rng = np.random.default_rng(1)
    walk(env, env.reset(), cut, rng)
    state = {name: array.copy() for name, array in env.get_state().items()}
    now = env._obs.copy() if hasattr(env, "_obs") else None
    words = rng.bit_generator.state
    expected = walk(env, now, 40, rng) if not over(env, state) else walk(env, None, 40, rng)
    again = stream(env_id, seed=4, **args)
    obs = again.set_state(state)
    np.testing.assert_array_equal(obs, state["obs"])
    rng.bit_generator.state = words
    start = None if over(env, state) else obs
    assert walk(again, start, 40, rng) == expected


def over(env: Any, state: Any) -> bool:
    """Noise and Picture end their episodes by themselves at a known age."""
    limit = {"tiny/Noise-v0": 17, "tiny/Picture-v0": 9}.get(env.spec.id)
    return limit is not None and len(state["actions"]) == limit


def test_episodes_of_a_stream_differ_and_streams_of_one_seed_do_not() -> None:
    starts = {}
    for seed in (1, 1, 2):
        env = stream("CartPole-v1", seed=seed)
        found = [tuple(env.reset().tolist()) for _ in range(5)]
        assert len(set(found)) == 5
        assert starts.setdefault(seed, found) == found
    assert starts[1] != starts[2]


def test_an_environment_may_write_into_the_action_it_is_given() -> None:
    env = stream("tiny/Noise-v0", actions="matrix", writes=True)
    env.reset()
    for _ in range(3):
        obs = env.step(np.ones((2, 2), np.float32))[0]
    again = stream("tiny/Noise-v0", actions="matrix", writes=True).set_state(env.get_state())
    assert np.array_equal(again, obs)


def test_an_environment_whose_seed_does_not_fix_it_is_found_out() -> None:
    env = stream("tiny/Noise-v0", seeded=False)
    env.reset()
    env.step(5)
    with pytest.raises(ReplayError, match="what reset gives depends on more than its seed"):
        stream("tiny/Noise-v0", seeded=False).set_state(env.get_state())


@pytest.mark.parametrize("missing", ["episode", "actions", "obs"])
def test_a_state_with_a_part_missing_is_refused(missing: str) -> None:
    env = stream("CartPole-v1")
    env.reset()
    state = {k: v for k, v in env.get_state().items() if k != missing}
    with pytest.raises(A2CError, match="does not fit"):
        stream("CartPole-v1").set_state(state)


def test_the_protocol_tells_the_time_limit() -> None:
    assert stream("CartPole-v1").protocol["step_limit"] == 500
    assert stream("tiny/Chain-v0").protocol["step_limit"] == 50


class SpeechlessError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Rude(gymnasium.Env[Any, Any]):
    """Raises in step() what cannot be printed, and leaves the program in close()."""

    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> Any:
        raise SpeechlessError

    def close(self) -> None:
        raise SystemExit(3)


def test_an_environment_that_cannot_even_fail_is_an_environment_that_failed() -> None:
    stream = GymStream(Rude(), "rude", {}, {}, seed=0)
    stream.reset()
    with pytest.raises(EnvError, match="raised in step: SpeechlessError: it cannot say why"):
        stream.step(0)
    stream.close()
