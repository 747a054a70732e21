"""The defaults by kind of environment, the presets, and how a config is filled in with them.

They depend on the kind of environment and of its actions, never on the game.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from a2c_cli.config.checks import Value
from a2c_cli.config.settings import TrainConfig, option, settings
from a2c_cli.errors import ConfigError

COMMON: dict[str, Value] = {
    "segments_per_update": 1,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "value_coef": 0.5,
    "loss_reduction": "mean",
    "entropy_full_above": 0.0,
    "normalize_advantages": "none",
    "max_grad_norm": 0.5,
    "max_kl": 0.0,
    "learning_rate_end": 0.0,
    "learning_rate_schedule": "linear",
    "optimizer_eps": 1e-5,
    "init": "orthogonal",
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
    "learning_rate": 2e-3,
    "max_kl": 0.05,
    "entropy_coef": 0.005,
    "entropy_coef_end": 0.0001,
    "entropy_schedule": "linear",
    "entropy_hold": 0.2,
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
        "prediction_coef": 0.02,
        "entropy_full_above": 0.05,
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
        "hidden_size": 256,
        "hidden_layers": 1,
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
        "hidden_size": 64,
        "hidden_layers": 2,
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
        "max_grad_norm": 0.5,
        "max_kl": 0.0,
        "prediction_coef": 0.0,
        "reward_transform": "none",
        "life_loss": False,
    }
}

# A setting that changes nothing by itself: what it takes, in words and as a test.
_NEEDS: dict[str, tuple[str, Callable[[TrainConfig], bool]]] = {
    "entropy_coef_end": (
        "an --entropy-schedule that decays",
        lambda c: c.entropy_schedule != "constant",
    ),
    "entropy_hold": (
        "an --entropy-schedule that decays",
        lambda c: c.entropy_schedule != "constant",
    ),
    "entropy_full_above": (
        "an --entropy-coef above 0 and --normalize-advantages none",
        lambda c: c.entropy_coef > 0.0 and c.normalize_advantages == "none",
    ),
    "learning_rate_end": (
        "a --learning-rate-schedule that decays",
        lambda c: c.learning_rate_schedule != "constant",
    ),
    "prediction_share": ("a --prediction-coef above 0", lambda c: c.prediction_coef > 0.0),
    "eval_episodes": ("--eval-every", lambda c: c.eval_every > 0),
}


def resolve(
    config: TrainConfig, kind: str, *, continuous: bool = False, asked: Collection[str] = ()
) -> TrainConfig:
    """The same run with every setting that its kind of environment uses filled in.

    Args:
        kind: one of `KINDS`.
        continuous: whether the policy is a Gaussian (Box actions).
        asked: settings that somebody has named just now, so that they must change something.

    Raises:
        ConfigError: a setting is given that this kind of environment cannot use, or one is asked
            for that the others leave without effect.
    """
    defaults = DEFAULTS[kind] | (CONTINUOUS if continuous else {})
    if not continuous:
        defaults = {k: v for k, v in defaults.items() if k != "log_std_init"}
    filled: dict[str, Any] = {}
    for name, f in settings().items():
        given = getattr(config, name)
        if given is None:
            filled[name] = defaults.get(name)
        elif kind not in f.metadata["kinds"]:
            raise ConfigError(
                f"{option(name)} has no effect on {config.env} (observations: {kind})",
                f"leave it out; it is for {' and '.join(f.metadata['kinds'])} observations",
            )
        elif name == "log_std_init" and not continuous:
            raise ConfigError(
                f"--log-std-init has no effect on {config.env}, whose actions are discrete",
                "leave it out",
            )
        else:
            filled[name] = given
    for head in ("actor_learning_rate", "critic_learning_rate"):
        if filled[head] is None:
            filled[head] = filled["learning_rate"]
    # A schedule that was told only where to start must not end above it.
    if config.entropy_coef is not None and config.entropy_coef_end is None:
        filled["entropy_coef_end"] = min(filled["entropy_coef_end"], config.entropy_coef)
    network = filled["network"]
    if kind == "image" and network != "mlp":
        for name in ("hidden_size", "hidden_layers"):
            if getattr(config, name) is not None:
                raise ConfigError(f"{option(name)} needs --network mlp", "leave it out")
            filled[name] = None
    if (kind == "vector" and network != "mlp") or (kind == "atari" and network == "mlp"):
        raise ConfigError(
            f"--network {network} cannot be used on {config.env}",
            "use mlp for vector observations; a3c, nature or notebook for pixels",
        )
    resolved = dataclasses.replace(config, **filled)
    for name in asked:
        words, has_effect = _NEEDS.get(name, ("", lambda _: True))
        if not has_effect(resolved):
            raise ConfigError(
                f"{option(name)} has no effect without {words}",
                f"add that, or leave {option(name)} out",
            )
    return resolved
