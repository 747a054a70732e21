"""An agent in a loop over an environment that the user has made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import peculiar_envs  # noqa: F401  (registers odd/*)
import pytest
from numpy.typing import NDArray

from a2c_cli import A2CError, TrainConfig, load_agent, train
from a2c_cli.envs.gym import GymStream
from a2c_cli.policies.observer import Observer

PICTURE = {"frame_skip": 1, "frame_stack": 4, "resize": 0, "grayscale": False}


class Told(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps what was shown last."""

    def reset(self, **options: Any) -> Any:
        self.shown, info = self.env.reset(**options)
        return self.shown, info

    def step(self, action: Any) -> Any:
        self.shown, *rest = self.env.step(action)
        return (self.shown, *rest)


def shown(env_id: str, wrappers: Any) -> Iterator[tuple[Observer, bool, Any, NDArray[Any]]]:
    """What an environment shows and what its stream makes of it, over two episodes."""
    env = Told(gymnasium.make(env_id))
    stream = GymStream(env, env_id, {}, wrappers, 0)
    observer = Observer(stream.spec)
    for _ in range(2):
        seen, over = stream.reset(), False
        yield observer, True, env.shown, seen
        while not over:
            seen, _, terminated, truncated = stream.step(env.action_space.sample())
            over = terminated or truncated
            yield observer, False, env.shown, seen
    stream.close()


@pytest.mark.parametrize(
    ("env_id", "wrappers"),
    [
        ("CartPole-v1", {}),
        ("tiny/Chain-v0", {}),
        ("tiny/Parts-v0", {}),
        ("tiny/Picture-v0", PICTURE),
        ("tiny/Picture-v0", {**PICTURE, "frame_stack": 1}),
        ("odd/Robot-v0", {**PICTURE, "grayscale": True, "resize": 36}),
    ],
)
def test_what_an_environment_shows_becomes_what_its_stream_gives(
    env_id: str, wrappers: Any
) -> None:
    for observer, first, raw, expected in shown(env_id, wrappers):
        if first:
            observer.reset()
        assert observer.count(raw) is None
        if env_id != "odd/Robot-v0":  # whose camera often shows the same twice
            assert np.array_equal(observer.glimpse(raw), expected)
        assert np.array_equal(observer.see(raw), expected)
        assert np.array_equal(observer.glimpse(raw), expected)
        assert np.array_equal(observer.see(expected), expected)  # prepared already


def agent_of(env_id: str, path: Path, **args: Any) -> Any:
    train(TrainConfig(env=env_id, env_args=args, total_steps=20, n_steps=16), run_dir=path)
    return load_agent(path)


def test_an_agent_plays_atari_as_gymnasium_gives_it(breakout_run: Path) -> None:
    agent = load_agent(breakout_run)  # a run directory
    env = gymnasium.make("ALE/Breakout-v5")
    obs, _ = env.reset(seed=1)
    small = gymnasium.wrappers.AtariPreprocessing(gymnasium.make("ALE/Breakout-v5", frameskip=1))
    stacked, _ = gymnasium.wrappers.FrameStackObservation(small, 4).reset(seed=1)
    seen = Observer(agent.spec).see(obs)
    assert seen.shape == stacked.shape == (4, 84, 84)
    assert np.abs(seen.astype(int) - Observer(agent.spec).see(stacked)).mean() < 2.0
    for _ in range(3):
        obs = env.step(agent.act(obs))[0]
    assert np.isfinite(agent.value(obs))
    with pytest.raises(A2CError, match=r"expected an observation of \(210, 160, 3\), got \(7,\)"):
        agent.act(np.zeros(7, np.uint8))


@pytest.mark.parametrize(
    "env_id", ["tiny/Chain-v0", "tiny/Picture-v0", "CartPole-v1", "tiny/Parts-v0"]
)
def test_predict_takes_one_observation_and_those_of_parallel_environments(
    env_id: str, tmp_path: Path
) -> None:
    agent = agent_of(env_id, tmp_path / "r")
    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(env_id)] * 3)
    obs, _ = envs.reset(seed=3)
    starts = np.ones(3, bool)
    for _ in range(12):
        actions, state = agent.predict(obs, None, starts, deterministic=True)
        assert actions.shape == (3,)
        assert state is None
        obs, _, terminated, truncated, _ = envs.step(actions)
        starts = terminated | truncated
    env = gymnasium.make(env_id)
    one, _ = env.reset(seed=3)
    agent.reset()
    action, _ = agent.predict(one, deterministic=True)
    assert action.shape == ()
    assert env.action_space.contains(action[()])
    agent.reset()
    assert agent.act(one, greedy=True) == action
    envs.close()


def test_each_parallel_environment_has_its_own_pictures(tmp_path: Path) -> None:
    agent = agent_of("tiny/Picture-v0", tmp_path / "r")
    dark, bright = np.zeros((48, 40, 3), np.uint8), np.full((48, 40, 3), 200, np.uint8)
    agent.predict(np.stack([dark, bright]), None, [True, True])
    agent.predict(np.stack([bright, dark]), None, [False, True])
    kept = [observer.see(bright)[:, 0, 0].tolist() for observer in agent._observers]
    assert kept == [[0] * 6 + [200] * 6, [0] * 9 + [200] * 3]


def test_stable_baselines3_evaluates_an_agent(tmp_path: Path) -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    agent = agent_of("FrozenLake-v1", tmp_path / "r", is_slippery=False)
    mean, _ = evaluation.evaluate_policy(
        agent, gymnasium.make("FrozenLake-v1"), 3, deterministic=False, warn=False
    )
    assert 0.0 <= mean <= 1.0


@pytest.mark.parametrize(
    ("obs", "why"),
    [
        ({"rest": (1, [0.5])}, "part 'arm' is missing"),
        ({"arm": np.full((2, 2), np.nan), "rest": (1, [0.5])}, "is not finite"),
        ({"arm": np.zeros((2, 2)), "rest": (7, [0.5])}, "its space says 0 to 2"),
        (None, "missing"),
    ],
)
def test_what_is_no_observation_is_named(obs: Any, why: str, tmp_path: Path) -> None:
    agent = agent_of("tiny/Parts-v0", tmp_path / "r")
    for ask in (agent.act, agent.value, agent.predict):
        with pytest.raises(A2CError, match=why):
            ask(obs)
