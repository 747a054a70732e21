"""The learner against a slow, independent computation of the same update."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from specs import DISCRETE, MULTI, REAL, pixel_spec, random_obs, settings_for, vector_spec
from torch import Tensor
from torch.distributions import Categorical, Normal

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.update import DivergedError, UpdateStats
from a2c_cli.config.settings import TrainConfig
from a2c_cli.envs.spec import EnvSpec, Obs
from a2c_cli.envs.stream import Transition
from a2c_cli.policies.distributions import divergence
from a2c_cli.policies.gradient import source_gradient
from a2c_cli.policies.network import ActorCritic

PLAIN: dict[str, Any] = {
    "reward_transform": "none",
    "normalize_advantages": "none",
    "max_grad_norm": 0.0,
}
VECTOR: dict[str, Any] = {**PLAIN, "normalize_obs": False}


@dataclass
class Lived:
    """One segment as the test remembers it."""

    obs: list[Obs] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    dead: list[bool] = field(default_factory=list)


class Life:
    """Drives a learner by hand; events: `t` terminated, `u` truncated, `l` life lost, `.` none."""

    def __init__(self, learner: Learner, spec: EnvSpec, seed: int = 0) -> None:
        self.learner, self.spec = learner, spec
        self.rng = np.random.default_rng(seed)
        self.obs = random_obs(spec, self.rng)

    def _next_obs(self) -> Obs:
        obs = random_obs(self.spec, self.rng)
        if self.spec.kind == "atari":  # one frame is new at each step
            obs[:-1] = self.obs[1:]
        return obs

    def step(self, event: str = ".", reward: float | None = None, progress: float = 0.0) -> Any:
        reward = float(self.rng.normal()) if reward is None else reward
        action = self.learner.act(self.obs)
        seen, self.obs = self.obs, self._next_obs()
        step = Transition(action, reward, event == "t", event == "u", event == "l", self.obs.copy())
        stats = self.learner.learn(step, progress)
        last = self.obs
        if step.episode_over:
            self.obs = random_obs(self.spec, self.rng)
        return seen, action, reward, last, stats

    def segments(self, events: list[str]) -> tuple[list[Lived], UpdateStats]:
        """Live segments, one string of events each; the last must end in an update."""
        lived = []
        for text in events:
            segment = Lived()
            for event in text:
                seen, action, reward, last, stats = self.step(event)
                segment.obs.append(seen)
                segment.actions.append(action)
                segment.rewards.append(reward)
                segment.dead.append(event in "tl")
            segment.obs.append(last)
            lived.append(segment)
        assert stats is not None
        return lived, stats


def slow_loss(
    network: ActorCritic, config: TrainConfig, segments: list[Lived], beta: float,
    past: list[Lived],
) -> dict[str, Tensor]:  # fmt: skip
    """The whole objective, step by step, from the definitions."""
    rates = slow_rates(past, segments) if config.prediction_coef else []
    rate_entropy = max(1.0, sum(-r * math.log(r) - (1 - r) * math.log(1 - r) for r in rates))
    policy, value, entropy, surprise = [], [], [], [torch.tensor(0.0)]
    for s in segments:
        outputs, values = network(torch.from_numpy(np.stack(s.obs)))
        v = values.detach().double().tolist()
        for t in range(len(s.rewards)):
            # GAE by its sum, arXiv 1506.02438 eq. 16
            advantage, weight = 0.0, 1.0
            for k in range(t, len(s.rewards)):
                alive = 0.0 if s.dead[k] else config.gamma
                advantage += weight * (s.rewards[k] + alive * v[k + 1] - v[k])
                weight *= alive * config.gae_lambda
            if network.layout.continuous:
                pi = Normal(outputs[t], network.log_std.exp())
                log_prob = pi.log_prob(torch.tensor(s.actions[t])).sum()
                h = pi.entropy().sum()
            else:
                pi = Categorical(logits=outputs[t])
                log_prob, h = pi.log_prob(torch.tensor(s.actions[t])), pi.entropy()
            policy.append(-log_prob * advantage)
            value.append((advantage + v[t] - values[t]).square())
            entropy.append(h)
            if config.prediction_coef:
                surprise.append((1.0 - s.dead[t]) * slow_surprise(network, s, t, rates))
    surprise = [x / rate_entropy for x in surprise[1:]] or surprise
    reduce = torch.mean if config.loss_reduction == "mean" else torch.sum
    parts = {name: reduce(torch.stack(x)) for name, x in
             (("policy", policy), ("value", value), ("entropy", entropy),
              ("prediction", surprise))}  # fmt: skip
    total = parts["policy"] + config.value_coef * parts["value"] - beta * parts["entropy"]
    total = total + (config.prediction_coef or 0.0) * parts["prediction"]
    return {**parts, "total": total}


def changed_cells(s: Lived, t: int) -> list[bool]:
    """Which cells of 4x4 pixels change after step t, row by row (the specs here stack nothing)."""
    _, height, width = s.obs[t].shape
    before, after = s.obs[t], s.obs[t + 1]
    return [
        bool((before[:, y : y + 4, x : x + 4] != after[:, y : y + 4, x : x + 4]).any())
        for y in range(0, height, 4)
        for x in range(0, width, 4)
    ]


def slow_rates(past: list[Lived], now: list[Lived]) -> list[float]:
    """How often each cell has changed before this update, with 20 steps at 2 % before all."""
    changed = [changed_cells(s, t) for s in past for t in range(len(s.rewards)) if not s.dead[t]]
    cells = len(changed_cells(now[0], 0))
    return [
        min(max((0.4 + sum(c[i] for c in changed)) / (20 + len(changed)), 1e-4), 1 - 1e-4)
        for i in range(cells)
    ]


def slow_surprise(network: ActorCritic, s: Lived, t: int, rates: list[float]) -> Tensor:
    """-log p of which cells of 4x4 pixels of the newest picture change after step t."""
    features, _ = network.features(torch.from_numpy(s.obs[t][None]))
    odds = torch.tensor([math.log(r / (1 - r)) for r in rates], dtype=torch.float64)
    p = torch.sigmoid(network.predictor(features)[0].double() + odds)
    changed = torch.tensor(changed_cells(s, t))
    return -torch.where(changed, p, 1.0 - p).log().sum()


def assert_update_is_right(
    learner: Learner, before: ActorCritic, config: TrainConfig, lived: list[Lived],
    stats: UpdateStats, past: list[Lived] | None = None,
) -> None:  # fmt: skip
    expected = slow_loss(before, config, lived, stats.entropy_coef, past or [])
    before.zero_grad()
    expected["total"].backward()
    parameters = dict(learner.network.named_parameters())
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in before.parameters()))
    assert norm > 0.0
    for name, p in before.named_parameters():
        actual = parameters[name].grad
        difference = float((actual - p.grad).norm())
        assert difference < 2e-4 * max(float(p.grad.norm()), 0.01 * norm), name
    assert stats.grad_norm == pytest.approx(norm, rel=1e-3)
    assert stats.policy_loss == pytest.approx(expected["policy"].item(), rel=1e-3, abs=1e-5)
    assert stats.value_loss == pytest.approx(expected["value"].item(), rel=1e-3, abs=1e-5)
    if config.prediction_coef:
        assert stats.prediction_loss == pytest.approx(expected["prediction"].item(), rel=1e-3)


CASES: list[tuple[str, EnvSpec, dict[str, Any], list[list[str]]]] = [
    ("one-step TD", vector_spec(), {**VECTOR, "n_steps": 1}, [["."], ["t"], ["."]]),
    ("n-step", vector_spec(), {**VECTOR, "n_steps": 5, "gae_lambda": 1.0}, [["....."], ["..t.."]]),
    ("lambda", vector_spec(), {**VECTOR, "n_steps": 5, "gae_lambda": 0.7}, [["..t.t"], ["..u"]]),
    ("sum", vector_spec(), {**VECTOR, "n_steps": 4, "loss_reduction": "sum"}, [["...."], ["t..."]]),
    ("three segments", vector_spec(), {**VECTOR, "n_steps": 3, "segments_per_update": 3},
     [["...", ".u", "t.t"], ["u", "u", "..."]]),
    ("whole episodes", vector_spec(), {**VECTOR, "n_steps": 0}, [["......t"], [".." * 200 + "u"]]),
    ("gamma one", vector_spec(), {**VECTOR, "n_steps": 3, "gamma": 1.0}, [["..."], [".t."]]),
    ("pixels", pixel_spec(), {**PLAIN, "n_steps": 4}, [["...."], [".l.t"], ["..u"], ["...."]]),
    ("pixels of three segments", pixel_spec(), {**PLAIN, "n_steps": 2, "segments_per_update": 3},
     [["..", "u", ".l"], ["..", "..", ".."]]),
    ("nature", pixel_spec(), {**PLAIN, "n_steps": 3, "network": "nature"}, [["..."], ["t.."]]),
    ("notebook", pixel_spec(), {**PLAIN, "n_steps": 1, "network": "notebook"}, [["."], ["t"]]),
    ("tanh", pixel_spec(), {**PLAIN, "n_steps": 3, "network": "a3c", "activation": "tanh"},
     [["..."], ["t.."]]),
    ("whole games", pixel_spec(), {**PLAIN, "n_steps": 0}, [["..l.t"], [".....u"]]),
    ("image", pixel_spec("image", (6, 40, 44)), {**PLAIN, "n_steps": 3}, [["..."], ["t.u"]]),
    ("image of an mlp that predicts", pixel_spec("image", (3, 38, 41)),
     {**PLAIN, "n_steps": 3, "network": "mlp", "prediction_coef": 0.1}, [["..."], ["t.u"]]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "values", "rounds"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_every_update_has_the_gradient_of_the_written_objective(
    spec: EnvSpec, values: dict[str, Any], rounds: list[list[str]]
) -> None:
    config = settings_for(spec, learning_rate=1e-4, entropy_coef=0.05, init="torch", **values)
    learner = Learner(config, spec)
    life = Life(learner, spec)
    past: list[Lived] = []
    for number, events in enumerate(rounds):
        # A copy from just before the segment: its values, bootstrap value and log-probabilities
        # must come from the parameters that acted, not from those before the last update.
        before = copy.deepcopy(learner.network)
        lived, stats = life.segments(events)
        assert_update_is_right(learner, before, config, lived, stats, past)
        past += lived
        assert learner.updates == number + 1


def test_gaussian_update_has_the_gradient_of_the_written_objective() -> None:
    action = type(REAL)("continuous", (2,), (2,), "float32", low=(-math.inf,) * 2,
                        high=(math.inf,) * 2)  # fmt: skip
    spec = vector_spec(3, action)
    config = settings_for(spec, n_steps=4, entropy_coef=0.05, log_std_init=-0.5, **VECTOR)
    learner = Learner(config, spec)
    life = Life(learner, spec)
    for events in (["...."], [".t.u"]):
        before = copy.deepcopy(learner.network)
        lived, stats = life.segments(events)
        assert_update_is_right(learner, before, config, lived, stats)
    assert learner.network.log_std.grad.abs().sum() > 0


def test_multidiscrete_update_moves_all_of_its_choices() -> None:
    spec = vector_spec(3, MULTI)
    learner = Learner(settings_for(spec, n_steps=4, **VECTOR), spec)
    Life(learner, spec).segments(["...."])
    assert (learner.network.actor.weight.grad.abs().sum(1) > 0).all()


def test_asking_for_a_value_or_an_action_in_mid_segment_does_not_disturb_the_update() -> None:
    spec = pixel_spec()
    config = settings_for(spec, n_steps=4, **PLAIN)
    learner = Learner(config, spec)
    life = Life(learner, spec)
    before = copy.deepcopy(learner.network)
    rng = np.random.default_rng(9)
    lived = Lived()
    for _ in range(4):
        seen, action, reward, last, stats = life.step()
        lived.obs.append(seen)
        lived.actions.append(action)
        lived.rewards.append(reward)
        lived.dead.append(False)
        learner.agent.value(random_obs(spec, rng))
        learner.agent.act(random_obs(spec, rng), greedy=True)
    lived.obs.append(last)
    assert_update_is_right(learner, before, config, [lived], stats)


# --- when an update comes


@pytest.mark.parametrize(
    ("values", "events", "updates"),
    [
        ({"n_steps": 3}, ".......", [3, 6]),
        ({"n_steps": 3}, ".t.....", [3, 6]),  # a death may stand anywhere
        ({"n_steps": 3}, ".u.....", [2, 5]),  # a truncation ends the segment
        ({"n_steps": 1}, "...", [1, 2, 3]),
        ({"n_steps": 0}, "...t..u.t", [4, 7, 9]),
        ({"n_steps": 2, "segments_per_update": 3}, "............", [6, 12]),
        ({"n_steps": 2, "segments_per_update": 2}, "u......", [3, 7]),
    ],
)
def test_updates_come_when_the_segments_are_full(
    values: dict[str, Any], events: str, updates: list[int]
) -> None:
    spec = vector_spec()
    learner = Learner(settings_for(spec, **VECTOR, **values), spec)
    life = Life(learner, spec)
    came = [i for i, event in enumerate(events, 1) if life.step(event)[-1] is not None]
    assert came == updates
    assert learner.updates == len(updates)


def test_a_lost_life_is_a_death_to_the_learner_only_if_it_is_told_so() -> None:
    spec = pixel_spec()
    for life_loss in (True, False):
        config = settings_for(spec, n_steps=3, life_loss=life_loss, **PLAIN)
        learner = Learner(config, spec)
        before = copy.deepcopy(learner.network)
        lived, stats = Life(learner, spec).segments([".l."])
        lived[0].dead = [False, life_loss, False]
        assert_update_is_right(learner, before, config, lived, stats)


@pytest.mark.parametrize(("transform", "expected"), [("none", -7.5), ("sign", -1.0)])
def test_the_learner_sees_the_transformed_reward(transform: str, expected: float) -> None:
    spec = vector_spec()
    config = settings_for(spec, n_steps=1, **{**VECTOR, "reward_transform": transform})
    learner = Learner(config, spec)
    before = copy.deepcopy(learner.network)
    seen, action, _, last, stats = Life(learner, spec).step("t", reward=-7.5)
    lived = Lived([seen, last], [action], [expected], [True])
    assert_update_is_right(learner, before, config, [lived], stats)


# --- rates, clipping


def test_actor_critic_and_torso_have_rates_of_their_own() -> None:
    spec = pixel_spec()
    config = settings_for(
        spec, learning_rate=1e-3, actor_learning_rate=2e-3, critic_learning_rate=3e-3
    )
    learner = Learner(config, spec)
    net = learner.network
    rates = {p: g["lr"] for g in learner.update.optimizer.param_groups for p in g["params"]}
    assert rates[net.torso.conv1.weight] == rates[net.torso.hidden1.bias] == 1e-3
    assert rates[net.actor.weight] == rates[net.actor.bias] == 2e-3
    assert rates[net.critic.weight] == rates[net.critic.bias] == 3e-3
    assert len(rates) == len(list(net.parameters()))


@pytest.mark.parametrize("still", ["actor", "critic"])
def test_a_rate_of_zero_keeps_that_side_of_a_vector_network_still(still: str) -> None:
    spec = vector_spec(3, REAL)
    config = settings_for(spec, n_steps=3, **VECTOR, **{f"{still}_learning_rate": 0.0})
    learner = Learner(config, spec)
    before = copy.deepcopy(dict(learner.network.named_parameters()))
    Life(learner, spec).segments(["..."])
    for name, p in learner.network.named_parameters():
        side = "critic" if "critic" in name else "actor"
        assert torch.equal(p, before[name]) == (side == still), name


def test_the_gradient_is_clipped_to_its_global_norm() -> None:
    spec = vector_spec()
    norms = {}
    for limit in (0.0, 0.01):
        learner = Learner(settings_for(spec, n_steps=3, **{**VECTOR, "max_grad_norm": limit}), spec)
        _, stats = Life(learner, spec).segments(["..."])
        clipped = math.sqrt(sum(float(p.grad.square().sum()) for p in learner.network.parameters()))
        norms[limit] = (stats.grad_norm, clipped)
    reported, unclipped = norms[0.0]
    assert unclipped == pytest.approx(reported, rel=1e-5)
    assert norms[0.01] == pytest.approx((reported, 0.01), rel=1e-3)


MOVED: list[tuple[EnvSpec, dict[str, Any]]] = [
    *[(vector_spec(action=action), {**VECTOR, "n_steps": 6}) for action in (DISCRETE, MULTI, REAL)],
    (pixel_spec(), {**PLAIN, "n_steps": 6}),
    (pixel_spec(action=MULTI), {**PLAIN, "n_steps": 6, "network": "notebook"}),
    (pixel_spec(), {**PLAIN, "n_steps": 0}),  # as where nothing is remembered
]


@pytest.mark.parametrize(("spec", "values"), MOVED)
def test_a_step_that_moves_the_policy_too_far_is_shortened(
    spec: EnvSpec, values: dict[str, Any]
) -> None:
    action = spec.action
    rate = 0.01 if spec.kind == "vector" else 1e-3
    found = {}
    for bound in (0.0, 1e9, 1e-3):
        config = settings_for(spec, learning_rate=rate, init="torch", max_kl=bound, **values)
        learner = Learner(config, spec)
        before = copy.deepcopy(learner.network)
        (lived,), stats = Life(learner, spec).segments([".....t"])
        obs = torch.from_numpy(np.stack(lived.obs))
        with torch.no_grad():
            old, new = before(obs)[0], learner.network(obs)[0]
            log_stds = [getattr(net, "log_std", None) for net in (before, learner.network)]
            moved = divergence(action, old, new, *log_stds).mean().item()
        found[bound] = (moved, stats.approx_kl, copy.deepcopy(learner.network.state_dict()))
        straight = {n: p - before.state_dict()[n] for n, p in learner.network.state_dict().items()}
        found[bound] += (torch.cat([d.flatten() for d in straight.values()]),)
    whole, wide, short = found[0.0], found[1e9], found[1e-3]
    assert math.isnan(whole[1])
    assert all(torch.equal(p, wide[2][n]) for n, p in whole[2].items())
    assert wide[1] == pytest.approx(wide[0], rel=0.01)  # measured right, and reported
    assert short[1] == pytest.approx(wide[1])
    assert short[0] == pytest.approx(1e-3, rel=0.5)  # quadratic, roughly
    torch.testing.assert_close(  # the same direction
        short[3] / short[3].norm(), whole[3] / whole[3].norm(), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("network", ["a3c", "nature", "notebook"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_features_after_a_step_are_those_of_the_torch_module(
    network: str, activation: str
) -> None:
    spec = pixel_spec()
    values = {**PLAIN, "network": network, "activation": activation}
    learner = Learner(settings_for(spec, n_steps=5, **values), spec)
    (lived,), _ = Life(learner, spec).segments(["....."])
    rows = slice(None, None, 2)
    obs = torch.from_numpy(np.stack(lived.obs))[rows]
    assert learner.policy._gradient is not None
    with torch.no_grad():
        expected = learner.network.torso(obs / 255.0)
    actual = learner.policy._gradient.features(6, rows)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [(20, 4, 2), (21, 4, 2), (20, 3, 2), (40, 5, 2), (9, 3, 1), (21, 8, 4), (13, 2, 3), (4, 4, 2)],
)
def test_the_gradient_in_a_convolutions_input_is_autograds(
    size: int, kernel: int, stride: int
) -> None:
    generator = torch.Generator().manual_seed(size)
    source = torch.randn(3, 5, size, size + 1, generator=generator, requires_grad=True)
    weight = torch.randn(7, 5, kernel, kernel, generator=generator)
    output = torch.nn.functional.conv2d(source, weight, stride=stride)
    delta = torch.randn(output.shape, generator=generator)
    output.backward(delta)
    actual = source_gradient(delta, weight, stride, (size, size + 1))
    torch.testing.assert_close(actual.permute(0, 3, 1, 2), source.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_the_step_size_follows_its_schedule_and_never_turns_negative(optimizer: str) -> None:
    spec = vector_spec()
    config = settings_for(
        spec, n_steps=1, optimizer=optimizer, learning_rate=0.1, learning_rate_end=0.0, **VECTOR
    )
    learner = Learner(config, spec)
    life = Life(learner, spec)
    rates = [life.step(progress=p)[-1].learning_rate for p in (0.0, 0.25, 0.5, 1.0, 1.5)]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.0, 0.0])
    at_the_end = copy.deepcopy(learner.network.state_dict())
    life.step(progress=2.0)
    for name, value in learner.network.state_dict().items():
        assert torch.equal(value, at_the_end[name])


def test_the_entropy_coefficient_follows_its_schedule() -> None:
    spec = vector_spec()
    config = settings_for(
        spec, n_steps=1, entropy_coef=0.1, entropy_coef_end=0.02, entropy_hold=0.5, **VECTOR
    )
    life = Life(Learner(config, spec), spec)
    betas = [life.step(progress=p)[-1].entropy_coef for p in (0.0, 0.5, 0.75, 1.0, 9.0)]
    assert betas == pytest.approx([0.1, 0.1, 0.06, 0.02, 0.02])


def test_entropy_is_reported_in_nats() -> None:
    spec = vector_spec()
    learner = Learner(settings_for(spec, n_steps=1, **VECTOR), spec)
    with torch.no_grad():
        learner.network.actor.weight.zero_()
    learner.agent.network.sync()
    assert Life(learner, spec).step()[-1].entropy == pytest.approx(math.log(4), rel=1e-5)


def test_explained_variance_is_the_share_of_the_returns_variance_that_the_critic_knows() -> None:
    spec = vector_spec()
    learner = Learner(settings_for(spec, n_steps=4, gamma=0.0, init="torch", **VECTOR), spec)
    life = Life(learner, spec)
    before = copy.deepcopy(learner.network)
    (lived,), stats = life.segments(["...."])
    with torch.no_grad():
        values = before(torch.from_numpy(np.stack(lived.obs[:4])))[1].numpy()
    rewards = np.array(lived.rewards)
    unexplained = np.var(rewards - values) / np.var(rewards)
    assert stats.explained_variance == pytest.approx(1.0 - unexplained, rel=1e-4)
    same = [life.step(reward=1.0)[-1] for _ in range(4)][-1]
    assert math.isnan(same.explained_variance)


# --- advantages


def test_advantages_divided_by_their_own_scale_do_not_grow_with_the_rewards() -> None:
    spec = vector_spec()
    losses = {}
    for scale in (1.0, 1000.0):
        config = settings_for(
            spec, n_steps=4, gamma=0.0, **{**VECTOR, "normalize_advantages": "update"}
        )
        learner = Learner(config, spec)
        with torch.no_grad():  # V = 0, so that the advantages are the rewards
            learner.network.critic.weight.zero_()
        learner.agent.network.sync()
        life = Life(learner, spec)
        stats = [life.step(reward=scale * r)[-1] for r in (1.0, -1.0, 2.0, 0.5)][-1]
        losses[scale] = stats.policy_loss
    assert losses[1000.0] == pytest.approx(losses[1.0], rel=1e-3)
    assert losses[1.0] != 0.0


def test_a_running_scale_does_not_blow_up_a_quiet_segment() -> None:
    spec = vector_spec()
    sizes = {}
    for mode in ("running", "update"):
        config = settings_for(
            spec, n_steps=4, gamma=0.0, value_coef=0.0, entropy_coef=0.0, learning_rate=1e-9,
            **{**VECTOR, "normalize_advantages": mode},
        )  # fmt: skip
        learner = Learner(config, spec)
        with torch.no_grad():
            learner.network.critic.weight.zero_()
        learner.agent.network.sync()
        life = Life(learner, spec)
        for r in [1.0, -2.0, 3.0, -1.0] * 3:
            life.step(reward=r)
        sizes[mode] = [life.step(reward=1e-4)[-1] for _ in range(4)][-1].grad_norm
    assert sizes["running"] < 1e-2 * sizes["update"]


# --- divergence and state


def test_a_loss_that_is_not_finite_leaves_the_parameters_alone() -> None:
    spec = vector_spec()
    learner = Learner(settings_for(spec, n_steps=1, **VECTOR), spec)
    life = Life(learner, spec)
    life.step()
    before = copy.deepcopy(learner.network.state_dict())
    with pytest.raises(DivergedError, match="after 1 updates") as caught:
        life.step(reward=1e30)
    assert "--learning-rate" in caught.value.hint
    for name, value in learner.network.state_dict().items():
        assert torch.equal(value, before[name])


STATES: list[tuple[EnvSpec, dict[str, Any]]] = [
    (vector_spec(), {"n_steps": 4, "normalize_advantages": "running"}),
    (vector_spec(), {"n_steps": 4, "entropy_floor": 0.9}),
    (vector_spec(3, REAL), {"n_steps": 0}),
    (vector_spec(3, MULTI), {"n_steps": 2, "segments_per_update": 3}),
    (pixel_spec(), {"n_steps": 3, "optimizer": "rmsprop"}),
    (pixel_spec(), {"n_steps": 2, "segments_per_update": 3}),
    (pixel_spec("image", (3, 40, 40)), {"n_steps": 3}),
]


@pytest.mark.parametrize(("spec", "values"), STATES)
@pytest.mark.parametrize("cut", [0, 1, 8, 13])
def test_state_goes_on_bit_for_bit_in_a_fresh_learner(
    spec: EnvSpec, values: dict[str, Any], cut: int
) -> None:
    events = "..u..t....l...t...u.."
    config = settings_for(spec, seed=5, **values)

    def live(learner: Learner, life: Life, events: str) -> list[Any]:
        return [np.asarray(life.step(event)[1]).tolist() for event in events]

    whole = Learner(config, spec)
    life = Life(whole, spec)
    expected = live(whole, life, events)

    first = Learner(config, spec)
    life = Life(first, spec)
    actual = live(first, life, events[:cut])
    state = first.get_state()
    second = Learner(config, spec)
    second.set_state(state)
    life.learner = second
    actual += live(second, life, events[cut:])
    assert actual == expected
    states = whole.get_state(), second.get_state()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        if name.endswith(".obs"):  # its last row is only filled when the segment closes
            array, states[1][name] = array[:-1], states[1][name][:-1]
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)
    assert whole.updates >= 3


def test_a_state_of_another_network_is_refused() -> None:
    small, large = vector_spec(3), vector_spec(4)
    state = Learner(settings_for(small), small).get_state()
    with pytest.raises(ValueError, match="shape"):
        Learner(settings_for(large), large).set_state(state)
    del state["network.actor.bias"]
    with pytest.raises(KeyError):
        Learner(settings_for(small), small).set_state(state)


def test_the_seed_decides_the_first_weights_and_leaves_torchs_generator_alone() -> None:
    spec = vector_spec()
    torch.manual_seed(1)
    expected = torch.rand(1).item()
    torch.manual_seed(1)
    weights = [
        Learner(settings_for(spec, seed=seed), spec).network.actor.weight.detach()
        for seed in (7, 7, 8)
    ]
    assert torch.rand(1).item() == expected
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
