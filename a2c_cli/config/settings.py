"""Every setting of a training run: its meaning, its unit, its range.

One flat frozen dataclass is the single source: the options of `a2c train`, the keys of
`config.toml` and of a checkpoint's header are its field names, and `--help` prints its docs.

It has two types. A `TrainConfig` is what was asked for: a field left out is None. `Settings` are
what a run has: `resolve` has filled every field, so that none of them can be None.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Never, TypeAlias

from typing_extensions import TypeVar

from a2c_cli.config.checks import EnvArg, check_stream, check_together, checked
from a2c_cli.config.given import Source, id_of, is_given, is_source
from a2c_cli.config.kinds import KINDS, PIXELS, SIGHTED, UNPREPARED

# Of each, a2c_cli/tracking/NAME.py has the factory.
TRACKERS = ("tensorboard", "wandb", "trackio")
SHAPES = ("constant", "linear", "exponential")  # of a schedule


def setting(
    doc: str,
    group: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    modules: bool = False,
    kinds: tuple[str, ...] = tuple(KINDS),
    continuous: bool | None = None,
    open_low: bool = False,
    on_resume: bool = False,
) -> Any:
    """A field of `TrainConfig` that is None until set: `resolve` fills in its kind's default.

    Args:
        doc: one line for --help and the README, with the unit.
        group: the panel of --help it stands in.
        low, high: inclusive range of a number; `open_low` excludes `low` itself.
        choices: the strings allowed, if it is one (or, of type tuple, some) of a few.
        modules: whether `module:name` is allowed beside the choices.
        kinds: the kinds of environment that can use it; for others, setting it is an error.
        continuous: whether it is for real-valued actions alone, for discrete ones alone, or (None)
            for both.
        on_resume: whether `--resume` may change it (nothing that has been learned depends on it).
    """
    return field(
        default=None,
        metadata={
            "doc": doc,
            "group": group,
            "low": low,
            "high": high,
            "choices": choices,
            "modules": modules,
            "kinds": kinds,
            "continuous": continuous,
            "open_low": open_low,
            "on_resume": on_resume,
        },
    )


ALGORITHM, OPTIMIZER, NETWORK = "Algorithm", "Optimizer", "Network"
PREPROCESSING, KEEPING = "Preprocessing", "Keeping and watching"


# What a field may be besides its value: None where things were asked for, nothing where resolved.
Absent = TypeVar("Absent", covariant=True, default=None)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Generic[Absent]):
    """The settings of one run. Units: steps are agent steps of the environment."""

    # A Gymnasium id. A gymnasium.Env or a function that makes one goes to `source`; see `given`.
    env: Any = ""
    env_args: Mapping[str, EnvArg] = field(default_factory=dict)
    seed: int = 0
    total_steps: int | Absent = setting(
        "budget in agent steps; the schedules run over it", "Run", low=1, on_resume=True
    )

    # --- algorithm
    n_steps: int | Absent = setting(
        "steps T per segment; 1 = one-step TD, 0 = whole episodes (REINFORCE with a baseline)",
        ALGORITHM,
        low=0,
        high=100_000,
    )
    segments_per_update: int | Absent = setting(
        "segments gathered for one update", ALGORITHM, low=1, high=10_000
    )
    gamma: float | Absent = setting("discount factor γ", ALGORITHM, low=0.0, high=1.0)
    gae_lambda: float | Absent = setting(
        "λ of the returns; 1 = plain n-step returns", ALGORITHM, low=0.0, high=1.0
    )
    value_coef: float | Absent = setting("weight c of the value loss", ALGORITHM, low=0.0)
    entropy_coef: float | Absent = setting("weight β of the entropy bonus", ALGORITHM, low=0.0)
    entropy_coef_end: float | Absent = setting("β at the end of the budget", ALGORITHM, low=0.0)
    entropy_schedule: str | Absent = setting("how β decays", ALGORITHM, choices=SHAPES)
    entropy_hold: float | Absent = setting(
        "share of the budget before β starts to decay", ALGORITHM, low=0.0, high=0.99
    )
    entropy_floor: float | Absent = setting(
        "the entropy may not fall below this share of ln |A|: β grows until it is back; 0 = never",
        ALGORITHM,
        low=0.0,
        high=0.99,
        continuous=False,
    )
    entropy_floor_end: float | Absent = setting(
        "that share at the end of the budget", ALGORITHM, low=0.0, high=0.99, continuous=False
    )
    calibration_steps: int | Absent = setting(
        "first steps from which nothing is learned but the mean picture and the network's biases;"
        " 0 = none",
        ALGORITHM,
        low=0,
        high=100_000,
        kinds=PIXELS,
    )
    prediction_coef: float | Absent = setting(
        "weight κ of predicting where the picture changes next: the auxiliary task of the torso;"
        " 0 = none",
        ALGORITHM,
        low=0.0,
        kinds=PIXELS,
    )
    prediction_share: float | Absent = setting(
        "share of the budget over which κ falls to 0", ALGORITHM, low=0.0, high=1.0, open_low=True,
        kinds=PIXELS,
    )  # fmt: skip
    loss_reduction: str | Absent = setting(
        "over the steps of an update", ALGORITHM, choices=("mean", "sum")
    )
    normalize_advantages: str | Absent = setting(
        "divide advantages by their scale: in this update, or a running one",
        ALGORITHM,
        choices=("none", "update", "running"),
    )
    reward_transform: str | Absent = setting(
        "what the learner sees of a reward: as it is, its sign, or divided by the running"
        " scale of the discounted return",
        ALGORITHM,
        choices=("none", "sign", "scale"),
    )

    # --- optimizer
    policy_step: str | Absent = setting(
        "along the natural gradient, by conjugate gradients, or along the plain one",
        OPTIMIZER,
        choices=("natural", "gradient"),
        kinds=("vector",),
    )
    cg_iterations: int | Absent = setting(
        "conjugate-gradient iterations of a natural step",
        OPTIMIZER,
        low=1,
        high=1000,
        kinds=("vector",),
    )
    fisher_damping: float | Absent = setting(
        "added to the diagonal of the Fisher matrix", OPTIMIZER, low=0.0, kinds=("vector",)
    )
    critic_epochs: int | Absent = setting(
        "passes of the critic over a rollout", OPTIMIZER, low=1, high=1000, kinds=("vector",)
    )
    critic_minibatch: int | Absent = setting(
        "steps per minibatch of such a pass", OPTIMIZER, low=1, high=100_000, kinds=("vector",)
    )
    optimizer: str | Absent = setting(
        "RMSProp or Adam, both with bias correction",
        OPTIMIZER,
        choices=("rmsprop", "adam"),
    )
    learning_rate: float | Absent = setting(
        "step size", OPTIMIZER, low=0.0, open_low=True, on_resume=True
    )
    actor_learning_rate: float | Absent = setting(
        "step size of the actor's own layers; left out: --learning-rate", OPTIMIZER, low=0.0,
        on_resume=True,
    )  # fmt: skip
    critic_learning_rate: float | Absent = setting(
        "step size of the critic's own layers; left out: --learning-rate", OPTIMIZER, low=0.0,
        on_resume=True,
    )  # fmt: skip
    learning_rate_end: float | Absent = setting(
        "step size at the end of the budget, as a share of the first", OPTIMIZER, low=0.0, high=1.0,
        on_resume=True,
    )  # fmt: skip
    learning_rate_schedule: str | Absent = setting(
        "how the step size decays", OPTIMIZER, choices=SHAPES, on_resume=True
    )
    optimizer_eps: float | Absent = setting("ε of the optimizer", OPTIMIZER, low=0.0, open_low=True)
    max_kl: float | Absent = setting(
        "KL divergence δ in nats: a natural step's length; a gradient step beyond it is shortened,"
        " 0 = never",
        OPTIMIZER,
        low=0.0,
        on_resume=True,
    )
    max_grad_norm: float | Absent = setting(
        "clip the gradient to this global norm; 0 = never", OPTIMIZER, low=0.0
    )

    # --- network
    network: str | Absent = setting(
        "torso: a3c, nature, notebook, mlp, or its layers, as in 16@8/4,32@4/2,256"
        " (channels@kernel/stride, then units) or 64,64",
        NETWORK,
    )
    activation: str | Absent = setting("between layers", NETWORK, choices=("relu", "tanh"))
    init: str | Absent = setting(
        "initial weights: orthogonal with a small actor head, or torch's own",
        NETWORK,
        choices=("orthogonal", "torch"),
    )
    init_from: str | Absent = setting(
        "start from the weights of another run (a checkpoint, run directory or agent's name), its"
        " normaliser and scales included; the optimizer starts fresh, nothing is calibrated",
        NETWORK,
    )
    critic_gain: float | Absent = setting(
        "scale of the critic head's initial weights (orthogonal)", NETWORK, low=0.0, high=10.0
    )
    log_std_init: float | Absent = setting(
        "logarithm of a Gaussian policy's σ at the start; half the action range is 1; left out:"
        " -ln(n)/2 for an action of n numbers",
        NETWORK,
        low=-10.0,
        high=3.0,
        continuous=True,
    )

    std_floor: float | Absent = setting(
        "σ of a Gaussian policy stays above this share of its start (natural steps); 0 = none",
        NETWORK,
        low=0.0,
        high=1.0,
        continuous=True,
    )

    # --- preprocessing
    frame_skip: int | Absent = setting(
        "frames of the environment per agent step", PREPROCESSING, low=1, high=60, kinds=SIGHTED
    )
    screen_size: int | Absent = setting(
        "side of the square gray frame, pixels", PREPROCESSING, low=36, high=210, kinds=("atari",)
    )
    frame_stack: int | Absent = setting(
        "frames in one observation", PREPROCESSING, low=1, high=16, kinds=SIGHTED
    )
    resize: int | Absent = setting(
        "side of the square pictures that the agent sees, pixels; 0 = as they are; left out: 84 for"
        " pictures larger than 128",
        PREPROCESSING,
        low=0,
        high=512,
        kinds=UNPREPARED,
    )
    grayscale: bool | Absent = setting(
        "gray pictures instead of colour", PREPROCESSING, kinds=UNPREPARED
    )
    noop_max: int | Absent = setting(
        "up to so many no-op frames open a game", PREPROCESSING, low=0, high=200, kinds=("atari",)
    )
    life_loss: bool | Absent = setting(
        "a lost life cuts the bootstrap in training (it never resets the game)",
        PREPROCESSING,
        kinds=("atari",),
    )
    normalize_obs: bool | Absent = setting(
        "normalise numbers in observations by their running mean and variance",
        PREPROCESSING,
        kinds=("vector", "mixed"),
    )

    # --- keeping and watching: nothing learned depends on these
    device: str | Absent = setting(
        "where the updates run; acting stays on the CPU",
        KEEPING,
        choices=("auto", "cpu", "cuda"),
        on_resume=True,
    )
    precision: str | Absent = setting(
        "of the update's torso; auto = bfloat16 for pixels where the device has it",
        KEEPING,
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int | Absent = setting(
        "threads of an update", KEEPING, low=1, high=1024, on_resume=True
    )
    log_every: int | Absent = setting(
        "steps between lines of metrics.jsonl; by default a hundredth of a short budget",
        KEEPING,
        low=1,
    )
    save_every: float | Absent = setting(
        "minutes between checkpoints; 0 = only at the end", KEEPING, low=0.0, on_resume=True
    )
    eval_every: int | Absent = setting(
        "steps between evaluations during training; 0 = never", KEEPING, low=0
    )
    eval_episodes: int | Absent = setting(
        "episodes of such an evaluation; one that nothing ends is cut after --eval-every steps,"
        " 1,000 to 27,000",
        KEEPING,
        low=1,
    )
    best_by: str | Absent = setting(
        "what makes a checkpoint the best: the mean of the last 100 training episodes, or that of"
        " an evaluation, confirmed by a second one on other seeds",
        KEEPING,
        choices=("training", "evaluation"),
    )
    video_every: int | Absent = setting(
        "film every N-th training episode, from the first on; 0 = none",
        KEEPING,
        low=0,
        on_resume=True,
    )
    tracker: tuple[str, ...] | Absent = setting(
        "where the curves go besides metrics.jsonl; module:factory for yours (repeatable)",
        KEEPING,
        choices=(*TRACKERS, "none"),
        modules=True,
        on_resume=True,
    )
    histograms: bool | Absent = setting(
        "weights and gradients per line of metrics.jsonl, for the trackers",
        KEEPING,
        on_resume=True,
    )

    source: Source | None = field(default=None, repr=False, compare=False)  # written nowhere
    # What this kind of environment cannot use: filled with neutral values, written nowhere.
    unused: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.env, str) and is_source(self.env):
            object.__setattr__(self, "source", self.env)
            object.__setattr__(self, "env", id_of(self.env))
        elif not (isinstance(self.env, str) and is_given(self.env)):
            object.__setattr__(self, "source", None)
        object.__setattr__(self, "env_args", copy.deepcopy(dict(self.env_args)))
        validate(self)


Settings: TypeAlias = TrainConfig[Never]
_FIELDS = {f.name: f for f in fields(TrainConfig)}


def settings() -> dict[str, dataclasses.Field[Any]]:
    """The fields that have a default by kind, by name, in the order of their declaration."""
    return {name: f for name, f in _FIELDS.items() if f.metadata}


def option(name: str) -> str:
    """How a field is spelt on the command line."""
    return "--" + name.replace("_", "-")


def value_type(name: str) -> type:
    """The type of a field's value once it is resolved: bool, int, float, str or tuple (of str)."""
    declared = str(_FIELDS[name].type).removesuffix(" | Absent").split("[")[0]
    return {"bool": bool, "int": int, "float": float, "str": str, "tuple": tuple}[declared]


def validate(config: TrainConfig[Any]) -> None:
    """Check every value that is set.

    Raises:
        ConfigError: a type, range, choice or combination is wrong; names the option.
    """
    check_stream(config.env, config.env_args, config.seed)
    for name, f in settings().items():
        value = getattr(config, name)
        if value is not None:
            given = checked(option(name), value, value_type(name), f.metadata)
            object.__setattr__(config, name, given)
    check_together(config)
