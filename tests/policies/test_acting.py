"""The NumPy acting path is the torch module, whatever it keeps from the step before."""

from __future__ import annotations

import math
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from specs import (
    DISCRETE,
    MULTI,
    REAL,
    make_pair,
    mixed_spec,
    pixel_spec,
    policy_of,
    random_obs,
    settings_for,
    vector_spec,
)

from a2c_cli import A2CError, load_agent
from a2c_cli.algorithm.learner import Learner
from a2c_cli.envs.spec import ActionSpec, EnvSpec, Obs
from a2c_cli.envs.stream import Transition
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.convolution import runs, touched
from a2c_cli.policies.network import ActorCritic

CASES = [
    *[(name, pixel_spec()) for name in ("a3c", "nature", "notebook")],
    *[(name, pixel_spec("image", (6, 64, 96))) for name in ("a3c", "nature")],
    ("notebook", pixel_spec("image", (3, 50, 61), MULTI)),
    ("a3c", pixel_spec("atari", (1, 84, 84))),
    ("a3c", pixel_spec("atari", (2, 83, 83))),
    ("mlp", pixel_spec("image", (3, 36, 40))),
    ("nature", mixed_spec((3, 40, 44), (1, 36, 50), numbers=3)),
    ("8@8/4,4@3/1", mixed_spec((1, 40, 44), numbers=1)),
    ("mlp", vector_spec(5)),
    ("mlp", vector_spec(1, MULTI)),
    ("mlp", vector_spec(5, REAL)),
]
ids = [f"{n}-{s.kind}-{'x'.join(map(str, s.obs_shape))}-{s.action.kind}" for n, s in CASES]


def assert_same(agent: Agent, module: ActorCritic, obs: Obs) -> None:
    with torch.no_grad():
        outputs, values = module(torch.from_numpy(obs.copy()[None]))
    actual, value = policy_of(agent, obs)
    np.testing.assert_allclose(actual, outputs[0].numpy(), rtol=1e-4, atol=2e-5)
    assert value == pytest.approx(values.item(), rel=1e-4, abs=2e-5)
    assert agent.value(obs) == value


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(("network", "spec"), CASES, ids=ids)
def test_equals_the_torch_module(network: str, spec: EnvSpec, activation: str) -> None:
    rng = np.random.default_rng(0)
    agent, module = make_pair(spec, network=network, activation=activation)
    for _ in range(3):
        assert_same(agent, module, random_obs(spec, rng))
    for extreme in (0, 255):
        assert_same(agent, module, np.full(spec.obs_shape, extreme, spec.obs_dtype))


@pytest.mark.parametrize("network", ["a3c", "notebook"])
def test_equals_the_torch_module_along_a_stream_that_reuses_its_array(network: str) -> None:
    spec = pixel_spec()
    agent, module = make_pair(spec, network=network)
    rng = np.random.default_rng(1)
    stack = np.zeros(spec.obs_shape, np.uint8)
    for t in range(33):
        if t in (11, 12, 30):  # a new game: one frame all through
            stack[...] = rng.integers(0, 256, spec.obs_shape[1:])
        elif t not in (20, 21):  # the picture may stand still
            stack[:-1] = stack[1:]
            stack[-1] = rng.integers(0, 256, spec.obs_shape[1:])
        assert_same(agent, module, stack)


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**16)), min_size=2, max_size=8))
def test_what_was_seen_before_leaves_no_trace(changes: list[tuple[int, int]]) -> None:
    # One frame of a stack changes at a time: the case in which a cache is tempted.
    spec = pixel_spec()
    agent, module = make_pair(spec)
    obs = random_obs(spec, np.random.default_rng(2))
    for frame, seed in changes:
        obs[:-1] = obs[1:]
        obs[frame] = random_obs(spec, np.random.default_rng(seed))[0]
        assert_same(agent, module, obs)


REMEMBERING = [
    (name, activation, shape)
    for name in ("a3c", "nature", "notebook")
    for activation in ("relu", "tanh")
    for shape in ((4, 84, 84), (3, 83, 90))
]


@pytest.mark.parametrize(("network", "activation", "shape"), REMEMBERING)
def test_the_result_has_the_same_bits_whatever_came_before(
    network: str, activation: str, shape: tuple[int, int, int]
) -> None:
    spec = pixel_spec("atari", shape)
    values = {"network": network, "activation": activation}
    walked, _ = make_pair(spec, **values)
    rng = np.random.default_rng(3)
    stack = random_obs(spec, rng)
    for t in range(40):
        if t == 20:  # a new game
            stack[...] = random_obs(spec, rng)[0]
        if t == 25:  # one that begins where this one is
            stack[...] = stack[-1].copy()
        if t == 30:
            walked.network.sync()
        stack[:-1] = stack[1:]
        # Most of the picture stands still: two patches change, one of them a single pixel.
        for size in (1, int(rng.integers(1, 30))):
            top, left = rng.integers(0, shape[1]), rng.integers(0, shape[2])
            patch = stack[-1, top : top + size, left : left + size]
            patch += rng.integers(0, 256, patch.shape).astype(np.uint8)
        outputs, value = policy_of(walked, stack)
        fresh, _ = make_pair(spec, **values)
        expected, expected_value = policy_of(fresh, stack)
        np.testing.assert_array_equal(outputs, expected)
        assert value == expected_value
        memories = zip(walked.network.memories, fresh.network.memories, strict=True)
        for kept, anew in memories:
            np.testing.assert_array_equal(kept, anew)


@given(st.integers(0, 2**84 - 1), st.integers(1, 8), st.integers(1, 4))
def test_rows_are_touched_where_their_windows_hold_a_changed_row(
    changed: int, kernel: int, stride: int
) -> None:
    rows = (84 - kernel) // stride + 1
    windows = [range(stride * r, stride * r + kernel) for r in range(rows)]
    expected = [r for r in range(rows) if any(changed >> y & 1 for y in windows[r])]
    found = touched(changed, kernel, stride, rows)
    assert [r for r in range(rows + 9) if found >> r & 1] == expected
    slices = runs(found)
    assert [r for s in slices for r in range(s.start, s.stop)] == expected
    assert all(a.stop < b.start for a, b in pairwise(slices))  # neighbours go together


def test_new_weights_meet_the_frames_that_were_kept_too() -> None:
    spec = pixel_spec()
    agent, module = make_pair(spec)
    rng = np.random.default_rng(6)
    stack = random_obs(spec, rng)
    for _ in range(6):
        assert_same(agent, module, stack)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0.9)
        agent.network.sync()
        stack[:-1] = stack[1:]
        stack[-1] = random_obs(spec, rng)[0]


def test_two_agents_do_not_share_what_they_keep() -> None:
    spec = pixel_spec()
    (one, module), (other, _) = make_pair(spec), make_pair(spec)
    rng = np.random.default_rng(4)
    stack = random_obs(spec, rng)
    for _ in range(6):
        stack[:-1] = stack[1:]
        stack[-1] = random_obs(spec, rng)[0]
        assert_same(one, module, stack)
        policy_of(other, random_obs(spec, rng))


@pytest.mark.parametrize(("network", "spec"), CASES, ids=ids)
def test_follows_the_weights_after_every_update(network: str, spec: EnvSpec) -> None:
    config = settings_for(spec, network=network, n_steps=3, learning_rate=0.05)
    learner = Learner(config, spec)
    rng = np.random.default_rng(5)
    obs = random_obs(spec, rng)
    before = [p.detach().clone() for p in learner.network.parameters()]
    updates = 0
    for t in range(7):
        action = learner.act(obs)
        obs = random_obs(spec, rng)
        step = Transition(action, float(t), False, False, False, obs)
        updates += learner.learn(step, 0.0) is not None
        probe = Agent(spec, learner.agent.layout, learner.agent.weights, learner.agent.normalizer)
        with torch.no_grad():
            prepared = torch.from_numpy(probe.prepare(obs)[None].copy())
            expected, values = learner.network(prepared)
        outputs, value = policy_of(probe, obs)
        np.testing.assert_allclose(outputs, expected[0].numpy(), rtol=1e-3, atol=1e-4)
        assert value == pytest.approx(values.item(), rel=1e-3, abs=1e-4)
    assert updates == 2
    changed = [
        not torch.equal(a, b) for a, b in zip(before, learner.network.parameters(), strict=True)
    ]
    assert any(changed)
    # The learner's own agent has followed too.
    assert_same_policy(learner.agent, learner.network, obs)


def assert_same_policy(agent: Agent, module: ActorCritic, obs: Obs) -> None:
    with torch.no_grad():
        outputs, _ = module(torch.from_numpy(agent.prepare(obs)[None].copy()))
    np.testing.assert_allclose(policy_of(agent, obs)[0], outputs[0].numpy(), rtol=1e-3, atol=1e-4)


# --- choosing


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def test_sampled_actions_have_the_frequencies_of_the_softmax() -> None:
    spec = vector_spec()
    agent, module = make_pair(spec)
    agent.reseed(0)
    obs = np.array([1.0, -0.5, 2.0], np.float32)
    with torch.no_grad():
        module.actor.weight.mul_(4)  # far from uniform
    agent.network.sync()
    logits, _ = policy_of(agent, obs)
    pi = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert pi.max() > 2 * pi.min()
    n = 20_000
    counts = np.bincount([agent.act(obs) for _ in range(n)], minlength=4)
    assert chi_square(counts, n * pi) < 16.27  # 3 degrees of freedom, p = .001


def test_each_choice_of_a_multidiscrete_action_has_its_own_softmax() -> None:
    spec = vector_spec(3, MULTI)
    agent, _ = make_pair(spec, seed=3)
    agent.reseed(1)
    obs = np.array([1.0, -0.5, 2.0], np.float32)
    logits, _ = policy_of(agent, obs)
    n = 10_000
    actions = np.array([agent.act(obs) for _ in range(n)])
    joint = np.zeros((2, 3))
    np.add.at(joint, (actions[:, 0], actions[:, 1]), 1)
    first, second = (np.exp(x) / np.exp(x).sum() for x in (logits[:2], logits[2:]))
    assert chi_square(joint, n * np.outer(first, second)) < 20.52  # 5 degrees, p = .001


def test_gaussian_actions_have_the_mean_and_the_deviation_of_the_policy() -> None:
    free = ActionSpec("continuous", (2,), (2,), "float32", low=(-math.inf,) * 2,
                      high=(math.inf,) * 2)  # fmt: skip
    spec = vector_spec(3, free)
    agent, module = make_pair(spec)
    with torch.no_grad():
        module.log_std.copy_(torch.tensor([-1.0, 0.5]))
    agent.reseed(2)
    obs = np.array([1.0, -0.5, 2.0], np.float32)
    means, _ = policy_of(agent, obs)
    n = 20_000
    actions = np.array([agent.act(obs) for _ in range(n)])
    deviation = np.exp([-1.0, 0.5])
    np.testing.assert_allclose(actions.mean(0), means, atol=4 * deviation.max() / math.sqrt(n))
    np.testing.assert_allclose(actions.std(0), deviation, rtol=0.03)
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.03


@pytest.mark.parametrize("action", [DISCRETE, MULTI, REAL])
def test_greedy_takes_the_most_probable_action_and_no_random_number(action: ActionSpec) -> None:
    spec = vector_spec(3, action)
    agent, _ = make_pair(spec)
    rng = np.random.default_rng(0)
    state = agent.rng.bit_generator.state
    for _ in range(20):
        obs = random_obs(spec, rng)
        outputs, _ = policy_of(agent, obs)
        if action.kind == "discrete":
            expected = outputs.argmax()
        elif action.kind == "multidiscrete":
            expected = np.array([outputs[:2].argmax(), outputs[2:].argmax()])
        else:
            expected = action.to_env(outputs)
        np.testing.assert_array_equal(agent.act(obs, greedy=True), expected)
    assert agent.rng.bit_generator.state == state


def test_a_certain_policy_never_does_anything_else() -> None:
    spec = vector_spec()
    agent, module = make_pair(spec)
    with torch.no_grad():
        module.actor.weight.zero_()
        module.actor.bias.copy_(torch.tensor([-1000.0, 1000.0, -1000.0, 0.0]))
    agent.network.sync()
    assert {agent.act(np.zeros(3, np.float32)) for _ in range(200)} == {1}


def test_the_same_seed_gives_the_same_actions_and_another_seed_others() -> None:
    spec = vector_spec()
    agent, _ = make_pair(spec)
    obs = np.zeros(3, np.float32)

    def actions(*seed: int) -> list[int]:
        agent.reseed(*seed)
        return [agent.act(obs) for _ in range(50)]

    assert actions(1, 2) == actions(1, 2)
    assert actions(1, 2) != actions(1, 3)


def test_an_observation_of_another_shape_is_refused() -> None:
    agent, _ = make_pair(vector_spec(3))
    with pytest.raises(ValueError, match=r"expected an observation of \(3,\), got \(4,\)"):
        agent.act(np.zeros(4, np.float32))


# --- from the policy's action to the environment's


def test_discrete_actions_count_from_the_spaces_start() -> None:
    assert ActionSpec("discrete", (3,), start=(5,)).to_env(2) == 7
    multi = ActionSpec("multidiscrete", (2, 3), (2,), start=(0, 10))
    assert multi.to_env(np.array([1, 2])).tolist() == [1, 12]


def test_real_actions_are_scaled_to_the_range_and_clipped() -> None:
    assert REAL.to_env(np.array([0.0, 0.0])).tolist() == [0.0, 5.0]
    assert REAL.to_env(np.array([1.0, -1.0])).tolist() == [2.0, 0.0]
    assert REAL.to_env(np.array([-9.0, 0.5])).tolist() == [-2.0, 7.5]
    assert REAL.to_env(np.array([0.0, 0.0])).dtype == np.float32


def test_a_half_open_range_is_clipped_on_its_closed_side_only() -> None:
    spec = ActionSpec("continuous", (2,), (2,), "float32", low=(0.0, -math.inf),
                      high=(math.inf, math.inf))  # fmt: skip
    assert spec.to_env(np.array([-3.0, -3.0])).tolist() == [0.0, -3.0]
    assert spec.to_env(np.array([50.0, 50.0])).tolist() == [50.0, 50.0]


def test_threads_may_share_an_agent(breakout_run: Path) -> None:
    agent = load_agent(breakout_run / "last.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (24, *agent.spec.obs_shape), np.uint8)
    alone = [agent.value(frame) for frame in frames]
    found: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: found.append([agent.value(frame) for frame in frames]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 6


@pytest.mark.parametrize(
    ("obs", "why"),
    [
        (None, "must be an array of numbers, not NoneType"),
        (np.array(["left"]), "must be an array of numbers"),
        (np.full(4, np.nan, np.float32), "is not finite"),
        (np.zeros(3, np.float32), "expected an observation of"),
    ],
)
def test_what_is_no_observation_is_a_clear_error(obs: Any, why: str, cartpole_run: Path) -> None:
    agent = load_agent(cartpole_run / "last.safetensors")
    for ask in (agent.act, agent.value):
        with pytest.raises(A2CError, match=why):
            ask(obs)
