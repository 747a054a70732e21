"""The defaults by kind of environment, and the presets: data only.

They depend on the kind of environment and of its actions, never on the game.
"""

from __future__ import annotations

from a2c_cli.config.checks import Value

# What stands in a run's settings for what its kind of environment cannot use.
NEUTRAL: dict[str, Value] = {
    "calibration_steps": 0,
    "prediction_coef": 0.0,
    "prediction_share": 1.0,
    "entropy_floor": 0.0,
    "entropy_floor_end": 0.0,
    "log_std_init": 0.0,
    "frame_skip": 1,
    "screen_size": 84,
    "frame_stack": 1,
    "noop_max": 0,
    "life_loss": False,
    "normalize_obs": False,
}
COMMON: dict[str, Value] = {
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
    "critic_gain": 1.0,
    "log_std_init": 0.0,
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
_PIXEL_DEFAULTS: dict[str, Value] = {
    **COMMON,
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
# Measured by benchmarks/learning.py; docs/lab-notes.md has what was tried.
DEFAULTS: dict[str, dict[str, Value]] = {
    "atari": {
        **_PIXEL_DEFAULTS,
        "network": "a3c",
        "prediction_coef": 0.25,
        "reward_transform": "sign",
        "frame_skip": 4,
        "screen_size": 84,
        "noop_max": 30,
        "life_loss": True,
    },
    "image": {
        **_PIXEL_DEFAULTS,
        "network": "nature",
        "reward_transform": "scale",
    },
    "vector": {
        **COMMON,
        "total_steps": 500_000,
        "n_steps": 32,
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "entropy_coef": 0.01,
        "entropy_coef_end": 0.0,
        "entropy_schedule": "linear",
        "entropy_hold": 0.0,
        "reward_transform": "scale",
        "network": "mlp",
        "activation": "tanh",
        "normalize_obs": True,
    },
}
# A Gaussian policy over a vector differs in these.
CONTINUOUS: dict[str, Value] = {
    "total_steps": 1_000_000,
    "n_steps": 128,
    "entropy_coef": 0.0,
    "normalize_advantages": "update",
    "learning_rate": 3e-3,
    "max_kl": 0.02,
}

# The recipe of the notebook this project started from, as it stands there: no discount, one-step
# TD, no clipped rewards, no sign that a life is lost. Kept to show what it does, not to be used.
PRESETS: dict[str, dict[str, Value]] = {
    "notebook": {
        "network": "notebook",
        "init": "torch",
        "n_steps": 1,
        "gamma": 1.0,
        "gae_lambda": 1.0,
        "value_coef": 0.5,
        "optimizer": "adam",
        "optimizer_eps": 1e-8,
        "learning_rate": 1e-4,
        "learning_rate_schedule": "constant",
        "entropy_coef": 2e-3,
        "entropy_schedule": "constant",
        "entropy_floor": 0.0,
        "max_grad_norm": 0.5,
        "max_kl": 0.0,
        "calibration_steps": 0,
        "prediction_coef": 0.0,
        "reward_transform": "none",
        "life_loss": False,
    }
}
