"""Where a picture changes, against a count pixel by pixel; and what predicting it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from specs import pixel_spec, random_obs, settings_for, vector_spec

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.prediction import changes, grid, surprise
from a2c_cli.config.resolve import resolve
from a2c_cli.config.settings import TrainConfig
from a2c_cli.envs.stream import Transition
from a2c_cli.errors import ConfigError


@pytest.mark.parametrize(("height", "width"), [(84, 84), (83, 81), (4, 4), (5, 3), (1, 1)])
@pytest.mark.parametrize(("stacked", "channels"), [(4, 1), (6, 3), (1, 1)])
def test_a_cell_changes_where_a_pixel_of_the_newest_picture_does(
    height: int, width: int, stacked: int, channels: int
) -> None:
    rng = np.random.default_rng(0)
    observations = np.repeat(rng.integers(0, 256, (1, stacked, height, width), np.uint8), 9, 0)
    for t in range(1, 9):  # a few pixels from here on, in any channel, older pictures included
        for _ in range(3):
            c, y, x = (int(rng.integers(n)) for n in (stacked, height, width))
            observations[t:, c, y, x] += 1
    expected = np.zeros((8, *grid(height, width)), np.float32)
    for t, c, y, x in np.ndindex(8, channels, height, width):
        c += stacked - channels
        if observations[t, c, y, x] != observations[t + 1, c, y, x]:
            expected[t, y // 4, x // 4] = 1.0
    assert expected.any()
    np.testing.assert_array_equal(changes(observations, channels), expected.reshape(8, -1))


def test_what_moves_by_rule_becomes_predictable() -> None:
    """A dot that walks along a row: the surprise falls far below that of its mere rate."""
    spec = pixel_spec("atari", (1, 36, 36))
    config = settings_for(spec, n_steps=20, learning_rate=1e-3)
    learner = Learner(config, spec)

    def picture(t: int) -> np.ndarray:
        obs = np.zeros(spec.obs_shape, np.uint8)
        obs[0, 12:14, t % 36] = 255
        return obs

    losses = []
    for t in range(20 * 200):
        learner.act(picture(t))
        stats = learner.learn(Transition(0, 0.0, False, False, False, picture(t + 1)), 0.0)
        if stats is not None:
            losses.append(stats.prediction_loss)
    assert losses[0] < 2.0  # in units of what the cells' rates alone leave open
    assert np.mean(losses[-10:]) < 0.25


def test_its_weight_falls_to_nothing_over_its_share_of_the_budget() -> None:
    spec = pixel_spec()
    settings = {"n_steps": 2, "prediction_coef": 0.1, "prediction_share": 0.5, "max_grad_norm": 0.0}
    gradients = []
    for progress in (0.0, 0.25, 0.5):
        learner = Learner(settings_for(spec, **settings), spec)
        rng = np.random.default_rng(0)
        for _ in range(2):
            learner.act(random_obs(spec, rng))
            step = Transition(0, 0.0, False, False, False, random_obs(spec, rng))
            stats = learner.learn(step, progress)
        assert stats is not None
        assert np.isnan(stats.prediction_loss) == (progress == 0.5)
        gradients.append(learner.network.predictor.weight.grad)
    assert gradients[0] is not None
    torch.testing.assert_close(gradients[1], gradients[0] / 2)
    assert gradients[2] is None


def test_without_it_there_is_no_such_head() -> None:
    spec = pixel_spec()
    learner = Learner(settings_for(spec, prediction_coef=0.0), spec)
    assert not hasattr(learner.network, "predictor")
    vectors = vector_spec()
    assert not hasattr(Learner(settings_for(vectors), vectors).network, "predictor")
    with pytest.raises(ConfigError, match="--prediction-coef has no effect"):
        resolve(TrainConfig(env="CartPole-v1", prediction_coef=0.1), "vector")


def test_acting_does_not_depend_on_it() -> None:
    spec = pixel_spec()
    rng = np.random.default_rng(0)
    obs = random_obs(spec, rng)
    learner = Learner(settings_for(spec), spec)
    before = learner.agent.network.forward(obs)[0].copy()
    with torch.no_grad():
        learner.network.predictor.weight.add_(1.0)
    np.testing.assert_array_equal(learner.agent.network.forward(obs)[0], before)


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 3), ("sum", 1)])
def test_prediction_gradient_is_probability_minus_change_where_the_stream_goes_on(
    reduction: str, divisor: int
) -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.5], [3.0, -3.0]], requires_grad=True)
    changed = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    followed = torch.tensor([1.0, 0.0, 1.0])
    loss = surprise(logits, changed, followed, reduction)
    loss.backward()
    p = torch.sigmoid(logits.detach())
    nats = -(changed * p.log() + (1 - changed) * (1 - p).log()).sum(1) * followed
    assert loss.item() == pytest.approx(float(nats.sum()) / divisor)
    torch.testing.assert_close(logits.grad, (p - changed) * followed[:, None] / divisor)
