"""From what was asked for to a running environment: the only place where one is assembled.

open_run: all settings of a run and its stream, from an environment that is built once.
make_env: the stream alone, where the settings are known.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import ale_py
import gymnasium

from a2c_cli.config.given import GIVE_AGAIN, Source, is_given, is_instance, takes
from a2c_cli.config.resolve import resolve, wrappers_of
from a2c_cli.config.settings import Settings, TrainConfig
from a2c_cli.envs.atari import AtariStream
from a2c_cli.envs.encoder import Encoder
from a2c_cli.envs.guest import Guest, announce_no_screen, close_env, describe, refuse
from a2c_cli.envs.gym import GymStream
from a2c_cli.envs.spaces import action_spec, observation_parts, picture_settings
from a2c_cli.errors import ConfigError, EnvError, UnknownEnvError
from a2c_cli.outside import import_module
from a2c_cli.rng import seed_globals

Stream = AtariStream | GymStream

gymnasium.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner


def known_ids() -> list[str]:
    """The ids that Gymnasium knows here, without those of versions that newer ones replace."""
    newest: dict[str, str] = {}
    for name, spec in gymnasium.registry.items():
        stem = name.rpartition("-v")[0] or name
        if stem not in newest or (gymnasium.registry[newest[stem]].version or 0) < (
            spec.version or 0
        ):
            newest[stem] = name
    return sorted(newest.values())


class Probe(NamedTuple):
    """What decides the default settings of a run.

    Args:
        kind: `atari`, or that of an `Encoder`.
        numbers: how many real numbers an action has; 0 where actions are discrete.
        pictures: settings that suit its pictures, where nobody has asked for others.
    """

    kind: str
    numbers: int
    pictures: Mapping[str, Any]

    def resolve(self, config: TrainConfig, asked: Collection[str] = ()) -> Settings:
        """The settings of a run; see `config.resolve.resolve`."""
        unasked = {n: value for n, value in self.pictures.items() if getattr(config, n) is None}
        config = dataclasses.replace(config, **unasked)
        return resolve(config, self.kind, numbers=self.numbers, asked=asked)


def probe(env_id: str, args: Mapping[str, Any]) -> Probe:
    """What decides the default settings; the environment is built for it.

    Raises:
        UnknownEnvError: no such environment (close names are suggested), or a space that is not
            supported.
        EnvError: it cannot be built.
    """
    _check_printable(env_id, args)
    if _is_atari(env_id, args):
        return Probe("atari", 0, {})
    env = _build(env_id, args, Guest(), 0, render=False)
    try:
        return _probe(env, env_id)
    finally:
        close_env(env)


def _probe(env: Any, env_id: str) -> Probe:
    parts = observation_parts(env.observation_space, env_id)
    numbers = action_spec(env.action_space, env_id).numbers
    return Probe(Encoder(parts, {}).kind, numbers, picture_settings(parts))


def run_settings(config: TrainConfig, asked: Collection[str] = ()) -> Settings:
    """The settings of a run: its environment is tried, and every default filled in.

    Args:
        config: what was asked for.
        asked: settings that somebody has named just now, so that they must change something.

    Raises:
        ConfigError: a setting does not fit the environment, see `resolve`.
        EnvError: as `probe`.
    """
    return probe(config.env, config.env_args).resolve(config, asked)


def open_run(config: TrainConfig, asked: Collection[str] = ()) -> tuple[Settings, Stream]:
    """As `run_settings`, with the stream. The environment is built once: some can be only once.

    Raises:
        A2CError: as there.
    """
    env_id, args, source = config.env, config.env_args, config.source
    _check_printable(env_id, args)
    if source is None and _is_atari(env_id, args):
        settings = Probe("atari", 0, {}).resolve(config, asked)
        return settings, open_env(settings)
    guest = Guest()
    env = _build(env_id, args, guest, config.seed, render=bool(config.video_every), source=source)
    with _closed_on_error(env, source):
        settings = _probe(env, env_id).resolve(config, asked)
        wrappers, lent = wrappers_of(settings), is_instance(source)
        return settings, GymStream(env, env_id, args, wrappers, settings.seed, guest, lent=lent)


def open_env(settings: Settings) -> Stream:
    """The stream of a run, with its preprocessing and its seed.

    Raises:
        EnvError: as `make_env`.
    """
    return make_env(
        settings.env,
        settings.env_args,
        wrappers_of(settings),
        seed=settings.seed,
        render=bool(settings.video_every),
        source=settings.source,
    )


def make_env(
    env_id: str,
    args: Mapping[str, Any],
    wrappers: Mapping[str, Any],
    *,
    seed: int,
    render: bool = False,
    source: Source | None = None,
) -> Stream:
    """Build one environment's stream.

    Args:
        env_id: a Gymnasium id, `module:Id` to import the module that registers it first.
        args: keyword arguments of `gymnasium.make`.
        wrappers: the preprocessing of its kind, by the names of its settings.
        seed: fixes all its randomness.
        render: whether `render()` must work.
        source: the object that the id stands for, if it does.

    Raises:
        UnknownEnvError: unknown id, or a space that is not supported.
        EnvError: it cannot be built.
    """
    _check_printable(env_id, args)
    if source is None and _is_atari(env_id, args):
        try:
            return AtariStream(env_id, args, wrappers, seed)
        except (TypeError, ValueError, RuntimeError, gymnasium.error.Error) as error:
            raise EnvError(f"{env_id} cannot be made: {error}", "check --env-arg") from error
    guest = Guest()
    env = _build(env_id, args, guest, seed, render=render, source=source)
    with _closed_on_error(env, source):
        return GymStream(env, env_id, args, wrappers, seed, guest, lent=is_instance(source))


@contextlib.contextmanager
def _closed_on_error(env: Any, source: Source | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if not is_instance(source):
            close_env(env)
        raise


def _check_printable(env_id: str, args: Mapping[str, Any]) -> None:
    """Libraries print names that they do not know: nothing in them may drive a terminal.

    Raises:
        UnknownEnvError: something could.
    """
    for text in _texts([env_id, args]):
        if not all(c.isprintable() or c in "\n\t" for c in text):
            raise UnknownEnvError(
                f"{env_id[:100]!a} has control characters in its name or arguments"
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_atari(env_id: str, args: Mapping[str, Any]) -> bool:
    return _find(env_id).entry_point == "ale_py.env:AtariEnv" and args.get("obs_type") != "ram"


def _find(env_id: str) -> Any:
    if is_given(env_id):
        raise UnknownEnvError(
            f"{env_id} stands for an object of Python's, which no id can make", GIVE_AGAIN
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.spec(_import_module(env_id))
    except gymnasium.error.Error:
        module, colon, name = env_id.rpartition(":")
        name = name.split("/")[-1]
        known = {i.split("/")[-1]: i for i in gymnasium.registry} | {
            i: i for i in gymnasium.registry
        }
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        raise UnknownEnvError(
            f"there is no environment {env_id!r}",
            f"did you mean {', '.join(dict.fromkeys(module + colon + known[c] for c in close))}?"
            if close
            else "see gymnasium.registry, or import yours with --env yourmodule:YourEnv-v0",
        ) from None


def _import_module(env_id: str) -> str:
    """Import the module of `module:Id`, as `python -m` would find it; returns the Id alone."""
    module, colon, name = env_id.rpartition(":")
    if not colon:
        return env_id
    try:
        announce_no_screen(render=False)
        with Guest().settling():
            import_module(module)
    except (Exception, SystemExit) as error:
        raise UnknownEnvError(
            f"the module {module!r} of {env_id!r} cannot be imported: {describe(error)}",
            "install it, or run from the directory that holds it",
        ) from error
    return name


def _build(
    env_id: str,
    args: Mapping[str, Any],
    guest: Guest,
    seed: int,
    *,
    render: bool,
    source: Source | None = None,
) -> Any:
    """The environment itself; some draw already when they are built."""
    if is_instance(source):
        if args:
            raise ConfigError(f"{env_id} is there already: it takes no arguments", "leave env_args"
                              " out, or give a function that makes it")  # fmt: skip
        return _checked(env_id, source)
    name = env_id if source is not None else _import_module(env_id)
    given = copy.deepcopy(dict(args)) | ({"render_mode": "rgb_array"} if render else {})
    announce_no_screen(render)
    seed_globals(seed)
    try:
        with warnings.catch_warnings(), guest.settling():
            warnings.simplefilter("ignore")
            if source is None:
                env = gymnasium.make(name, **given, disable_env_checker=True)
            else:
                env = source(**(given if takes(source, "render_mode") else args))
    except gymnasium.error.DependencyNotInstalled as error:
        raise EnvError(f"{env_id} needs a package: {error}", "install it, then try again") from None
    except (Exception, SystemExit) as error:
        if render and "render_mode" in str(error):  # it does not know the argument
            raise ConfigError(
                f"{env_id} draws no pictures, which a film needs", "leave --video-every out"
            ) from error
        raise refuse(f"{env_id} cannot be made", error, "check --env-arg") from error
    return _checked(env_id, env)


def _checked(env_id: str, env: Any) -> Any:
    if not isinstance(env, gymnasium.Env):
        raise UnknownEnvError(
            f"{env_id} is no gymnasium.Env but of type {type(env).__name__}",
            "a2c learns from one environment of Gymnasium's interface",
        )
    for space in ("observation_space", "action_space"):
        if getattr(env.unwrapped, space, None) is None:
            close_env(env)
            raise UnknownEnvError(
                f"{env_id} has no {space}", "every Gymnasium environment needs one"
            )
    return env
