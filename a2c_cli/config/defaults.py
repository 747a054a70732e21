"""What no kind of environment says by itself: neutral values, continuous actions, presets."""

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
    "std_floor": 0.0,
    "policy_step": "gradient",
    "cg_iterations": 10,
    "fisher_damping": 0.1,
    "critic_epochs": 10,
    "critic_minibatch": 128,
    "frame_skip": 1,
    "screen_size": 84,
    "frame_stack": 1,
    "resize": 0,
    "grayscale": False,
    "noop_max": 0,
    "life_loss": False,
    "normalize_obs": False,
}
# A Gaussian policy with natural steps differs in these.
CONTINUOUS: dict[str, Value] = {
    "total_steps": 1_000_000,
    "n_steps": 2048,
    "gamma": 0.995,
    "max_kl": 0.04,
    "std_floor": 0.2,
}
# With --policy-step gradient a vector differs in these, and any Gaussian policy in those.
GRADIENT: dict[str, Value] = {
    "n_steps": 32,
    "learning_rate": 2e-3,
    "learning_rate_schedule": "linear",
    "entropy_coef": 0.01,
    "max_kl": 0.0,
    "max_grad_norm": 0.5,
}
GRADIENT_CONTINUOUS: dict[str, Value] = {
    **GRADIENT,
    "total_steps": 1_000_000,
    "n_steps": 128,
    "gamma": 0.99,
    "entropy_coef": 0.0,
    "normalize_advantages": "update",
    "learning_rate": 3e-3,
    "max_kl": 0.02,
    "log_std_init": 0.0,
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
