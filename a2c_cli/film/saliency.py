"""Where a network looks: how much each place of an observation moves its policy and its value.

Two measures, each a map (2, height, width): of the policy, of the value. Both are about one
decision and about this network; neither says why a place matters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from a2c_cli.envs.spec import Obs
from a2c_cli.errors import ConfigError
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.distributions import log_prob_and_entropy
from a2c_cli.policies.network import ActorCritic

METHODS = ("gradient", "perturbation")

_PATCH = 5.0  # σ in pixels of the patch that is blurred, and the distance between two patches
_BLUR = 3.0  # σ in pixels of the blur itself
_BATCH = 64  # observations
_MEMORY = 0.97  # of the scale, per decision: half is forgotten in 23 (1.5 s of an Atari game)


def gradient_maps(
    module: ActorCritic, agent: Agent, observations: Sequence[Obs], actions: Sequence[object]
) -> NDArray[np.float32]:
    """Absolute gradients with respect to the pixels, summed over the channels of each place.

        policy: Σ_c |∂ ln π(a|s) / ∂s|,   value: Σ_c |∂ V(s) / ∂s|

    of the action that was taken. A Gaussian's ln π is flat at its mean, so there the policy's map
    is Σ_c Σ_i |∂ mean_i / ∂s|. Source: Simonyan et al. 2013, arXiv 1312.6034, applied to actor
    and critic as Wang et al. 2016, arXiv 1511.06581, do.

    Args:
        module: the network.
        agent: it belongs to; says what the actions are.
        observations: N of (channels, height, width) uint8.
        actions: N, in the policy's own form.

    Returns:
        (N, 2, height, width), per unit of pixel value (0 to 255).
    """
    spec, shape = agent.spec.action, observations[0].shape
    rows = spec.outputs if spec.kind == "continuous" else 1
    # A copy of each observation for each gradient that is wanted: they do not mix in a batch.
    pixels = torch.as_tensor(np.stack(observations)).float()
    pixels = pixels[:, None].expand(-1, rows + 1, *shape).flatten(0, 1).requires_grad_()
    outputs, values = module(pixels)
    outputs, values = outputs.reshape(-1, rows + 1, spec.outputs), values.reshape(-1, rows + 1)
    if spec.kind == "continuous":
        policy = outputs[:, :rows].diagonal(dim1=1, dim2=2).sum()
    else:
        taken = torch.as_tensor(np.stack([np.asarray(a) for a in actions]))
        policy = log_prob_and_entropy(spec, outputs[:, 0], taken.reshape(len(taken), -1), None)[0]
        policy = policy.sum()
    (gradient,) = torch.autograd.grad(policy + values[:, -1].sum(), pixels)
    places = gradient.abs().sum(1).reshape(-1, rows + 1, *shape[1:])
    return torch.stack([places[:, :rows].sum(1), places[:, -1]], 1).numpy()


def perturbation_maps(module: ActorCritic, obs: Obs) -> NDArray[np.float32]:
    """How far policy and value move when a patch of the picture is blurred.

        policy: ½ ‖u(s) - u(s')‖²,   value: ½ (V(s) - V(s'))²,
        s' = s · (1 - M) + blur(s) · M

    u are the logits or means; M is a Gaussian (σ = 5 pixels, 1 at its centre) around one place;
    the places lie 5 pixels apart. Source: Greydanus et al. 2018, arXiv 1711.00138, equations
    1 to 3.

    Args:
        module: the network.
        obs: (channels, height, width) uint8.

    Returns:
        (2, height, width), interpolated between the places.
    """
    _, height, width = obs.shape
    picture = obs.astype(np.float32)
    change = np.stack([cv2.GaussianBlur(plane, (0, 0), _BLUR) - plane for plane in picture])
    ys, xs = (np.arange(_PATCH / 2, n, _PATCH, dtype=np.float32) for n in (height, width))
    rows, columns = (
        np.exp(-0.5 * ((np.arange(n) - places[:, None]) / _PATCH) ** 2).astype(np.float32)
        for n, places in ((height, ys), (width, xs))
    )
    moved = np.zeros((2, len(ys) * len(xs)), np.float32)
    with torch.no_grad():
        usual, value = module(torch.as_tensor(picture)[None])
        for start in range(0, moved.shape[1], _BATCH):
            places = np.arange(start, min(start + _BATCH, moved.shape[1]))
            masks = rows[places // len(xs), :, None] * columns[places % len(xs), None, :]
            outputs, values = module(torch.as_tensor(picture + change * masks[:, None]))
            moved[0, places] = 0.5 * (outputs - usual).square().sum(1).numpy()
            moved[1, places] = 0.5 * (values - value).square().numpy()
    grid = moved.reshape(2, len(ys), len(xs))
    return np.stack([cv2.resize(g, (width, height), interpolation=cv2.INTER_CUBIC) for g in grid])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Batches as small as these only make a second thread wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Saliency:
    """The maps of one decision after the other, smooth and in [0, 1], for drawing.

    1 is the strongest place of the recent past, not of each picture: else a picture in which
    nothing matters would glow like any other, and all of it would flicker.

    Args:
        agent: whose network it is about.
        method: `gradient` or `perturbation`.

    Raises:
        ConfigError: the agent does not see pixels, or there is no such method.
    """

    def __init__(self, agent: Agent, method: str) -> None:
        if method not in METHODS:
            raise ConfigError(
                f"--saliency-method cannot be {method!r}", f"choose {' or '.join(METHODS)}"
            )
        if agent.spec.obs_dtype != "uint8":
            raise ConfigError(
                "--saliency needs an agent that sees the pixels of one picture, and"
                f" {agent.spec.id} gives it numbers",
                "leave --saliency out; --overlay works for every environment",
            )
        self._agent, self._method = agent, method
        self._module = ActorCritic(agent.layout, init="torch")  # its weights are replaced
        self._module.load_state_dict({n: torch.as_tensor(w) for n, w in agent.weights.items()})
        self._module.requires_grad_(False)
        self._strongest = np.zeros((2, 1, 1), np.float32)

    def __call__(
        self, observations: Sequence[Obs], actions: Sequence[object]
    ) -> list[NDArray[np.float32]]:
        """Of each decision (2, height, width) in [0, 1]: of the policy, of the value.

        Args:
            observations: as the agent saw them, one after the other.
            actions: what it decided, in the policy's own form.
        """
        with _one_thread():
            return self._look(observations, actions)

    def _look(
        self, observations: Sequence[Obs], actions: Sequence[object]
    ) -> list[NDArray[np.float32]]:
        if self._method == "gradient":
            found = gradient_maps(self._module, self._agent, observations, actions)
            # A gradient is speckled; what the eye wants is the neighbourhood.
            sigma = max(found.shape[2:]) / 42
            return [
                self._scale(np.stack([cv2.GaussianBlur(m, (0, 0), sigma) for m in maps]))
                for maps in found
            ]
        # The distance, not its square, which would leave one bright spot alone.
        return [
            self._scale(np.sqrt(np.maximum(perturbation_maps(self._module, obs), 0.0)))
            for obs in observations
        ]

    def _scale(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        strongest = maps.max(axis=(1, 2), keepdims=True)
        self._strongest = np.maximum(strongest, _MEMORY * self._strongest)
        tiny = np.finfo(np.float32).tiny
        return (maps / np.maximum(self._strongest, tiny)).astype(np.float32)
