"""The kinds of environment: what an observation is, what prepares it, and the defaults for it.

The defaults depend on the kind of environment and of its actions, never on the game.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from a2c_cli.config.checks import Value

_COMMON: dict[str, Value] = {
    "segments_per_update": 1,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "value_coef": 0.5,
    "loss_reduction": "mean",
    "entropy_floor": 0.3,
    "entropy_floor_end": 0.05,
    "normalize_advantages": "none",
    "max_grad_norm": 0.5,
    "max_kl": 0.0,
    "learning_rate_end": 0.0,
    "learning_rate_schedule": "linear",
    "optimizer_eps": 1e-5,
    "init": "orthogonal",
    "init_from": "",
    "critic_gain": 1.0,
    "device": "auto",
    "precision": "auto",
    "threads": 1,
    "log_every": 10_000,
    "save_every": 5.0,
    "eval_every": 0,
    "eval_episodes": 20,
    "best_by": "training",
    "video_every": 0,
    "tracker": (),
    "histograms": False,
}
_PIXELS: dict[str, Value] = {
    **_COMMON,
    "total_steps": 2_500_000,
    "n_steps": 80,
    "optimizer": "rmsprop",
    "learning_rate": 3e-3,
    "max_kl": 0.05,
    "entropy_coef": 0.005,
    "entropy_coef_end": 0.0001,
    "entropy_schedule": "linear",
    "entropy_hold": 0.2,
    "calibration_steps": 600,
    "prediction_coef": 0.0,
    "prediction_share": 0.5,
    "frame_stack": 4,
    "activation": "relu",
}


@dataclass(frozen=True)
class Kind:
    """One kind of environment.

    Args:
        name: as settings and headers call it.
        pixels: whether an observation is (channels, height, width) uint8, else (features,) float32,
            among them the pixels of pictures where it has several parts.
        gray_stack: whether its channels are gray frames, one of them new at each step.
        wrappers: the settings of its preprocessing.
        convolutions: whether a network must begin with some; None if it may.
        networks: what to choose from, for an error's hint.
        defaults: of its settings.
    """

    name: str
    pixels: bool
    gray_stack: bool
    wrappers: tuple[str, ...]
    convolutions: bool | None
    networks: str
    defaults: Mapping[str, Value]

    @property
    def obs_dtype(self) -> str:
        """NumPy's name of an observation's type."""
        return "uint8" if self.pixels else "float32"

    @property
    def obs_dimensions(self) -> int:
        """Of an observation's shape."""
        return 3 if self.pixels else 1


# Measured by benchmarks/learning.py; docs/lab-notes.md has what was tried.
_ATARI = Kind(
    name="atari",
    pixels=True,
    gray_stack=True,
    wrappers=("frame_skip", "screen_size", "frame_stack", "noop_max"),
    convolutions=True,
    networks="a3c, nature, notebook, or layers that begin with a convolution",
    defaults={
        **_PIXELS,
        "network": "a3c",
        "prediction_coef": 0.25,
        "reward_transform": "sign",
        "frame_skip": 4,
        "screen_size": 84,
        "noop_max": 30,
        "life_loss": True,
    },
)
_OF_ONE_PICTURE = ("calibration_steps", "prediction_coef", "prediction_share")
_PICTURES = ("frame_skip", "frame_stack", "resize", "grayscale")
_IMAGE = Kind(
    name="image",
    pixels=True,
    gray_stack=False,
    wrappers=_PICTURES,
    convolutions=None,
    networks="a3c, nature, notebook, mlp, or layers of your own",
    defaults={
        **_PIXELS,
        "network": "nature",
        "reward_transform": "scale",
        "frame_skip": 1,
        "resize": 0,
        "grayscale": False,
    },
)
_MIXED = Kind(
    name="mixed",
    pixels=False,
    gray_stack=False,
    wrappers=_PICTURES,
    convolutions=True,
    networks="nature, a3c, or layers that begin with a convolution",
    defaults={
        **{k: v for k, v in _IMAGE.defaults.items() if k not in _OF_ONE_PICTURE},
        "normalize_obs": True,
    },
)
_VECTOR = Kind(
    name="vector",
    pixels=False,
    gray_stack=False,
    wrappers=(),
    convolutions=False,
    networks="mlp, or units such as 64,64",
    defaults={
        **_COMMON,
        "total_steps": 500_000,
        "policy_step": "natural",
        "cg_iterations": 10,
        "fisher_damping": 0.1,
        "critic_epochs": 10,
        "critic_minibatch": 128,
        "n_steps": 1024,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "learning_rate_schedule": "constant",
        "max_kl": 0.02,
        "max_grad_norm": 1.0,
        "entropy_coef": 0.0,
        "entropy_coef_end": 0.0,
        "entropy_schedule": "linear",
        "entropy_hold": 0.0,
        "reward_transform": "scale",
        "network": "mlp",
        "activation": "tanh",
        "normalize_obs": True,
    },
)
KINDS = {kind.name: kind for kind in (_ATARI, _IMAGE, _MIXED, _VECTOR)}
PIXELS = tuple(name for name, kind in KINDS.items() if kind.pixels)
UNPREPARED = tuple(name for name, kind in KINDS.items() if "resize" in kind.wrappers)
SIGHTED = ("atari", *UNPREPARED)  # kinds with pictures in their observations
