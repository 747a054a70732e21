"""From what was asked for to a running environment: the only place where one is assembled.

probe: its kind -> run_settings: all settings of a run on it -> open_env: the stream itself.
"""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from ctypes.util import find_library
from typing import Any

import ale_py
import gymnasium

from a2c_cli.config.resolve import resolve, wrappers_of
from a2c_cli.config.settings import Settings, TrainConfig
from a2c_cli.envs.atari import AtariStream
from a2c_cli.envs.gym import GymStream, close_env
from a2c_cli.errors import EnvError, UnknownEnvError
from a2c_cli.outside import import_module
from a2c_cli.text import error_text

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


def probe(env_id: str, args: Mapping[str, Any]) -> tuple[str, int]:
    """What decides the default settings: the kind of environment and of its actions.

    Returns:
        `atari`, `image` or `vector`; how many real numbers an action has, 0 if it is discrete.

    Raises:
        UnknownEnvError: no such environment (close names are suggested), or a space that is not
            supported.
        EnvError: it cannot be built.
    """
    _check_printable(env_id, args)
    if _is_atari(env_id, args):
        return "atari", 0
    env = _make(env_id, args, None)
    try:
        stream = GymStream(env, env_id, args, {"frame_stack": 1}, seed=0)
        return stream.spec.kind, stream.spec.numbers
    finally:
        close_env(env)


def run_settings(config: TrainConfig, asked: Collection[str] = ()) -> Settings:
    """The settings of a run: its environment is tried, and every default filled in.

    Args:
        config: what was asked for.
        asked: settings that somebody has named just now, so that they must change something.

    Raises:
        ConfigError: a setting does not fit the environment, see `resolve`.
        EnvError: as `probe`.
    """
    kind, numbers = probe(config.env, config.env_args)
    return resolve(config, kind, numbers=numbers, asked=asked)


def open_env(settings: Settings, *, render: bool = False) -> Stream:
    """The stream of a run, with its preprocessing and its seed.

    Raises:
        EnvError: as `make_env`.
    """
    return make_env(
        settings.env, settings.env_args, wrappers_of(settings), seed=settings.seed, render=render
    )


def make_env(
    env_id: str,
    args: Mapping[str, Any],
    wrappers: Mapping[str, Any],
    *,
    seed: int,
    render: bool = False,
) -> Stream:
    """Build one environment's stream.

    Args:
        env_id: a Gymnasium id, `module:Id` to import the module that registers it first.
        args: keyword arguments of `gymnasium.make`.
        wrappers: the preprocessing of its kind, by the names of its settings.
        seed: fixes all its randomness.
        render: whether `render()` must work.

    Raises:
        UnknownEnvError: unknown id, or a space that is not supported.
        EnvError: it cannot be built.
    """
    _check_printable(env_id, args)
    if _is_atari(env_id, args):
        try:
            return AtariStream(env_id, args, wrappers, seed)
        except (TypeError, ValueError, RuntimeError, gymnasium.error.Error) as error:
            raise EnvError(f"{env_id} cannot be made: {error}", "check --env-arg") from error
    env = _make(env_id, args, "rgb_array" if render else None)
    try:
        return GymStream(env, env_id, args, wrappers, seed)
    except BaseException:
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.spec(_import_module(env_id))
    except gymnasium.error.Error:
        name = env_id.split("/")[-1]
        known = {i.split("/")[-1]: i for i in gymnasium.registry} | {
            i: i for i in gymnasium.registry
        }
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        raise UnknownEnvError(
            f"there is no environment {env_id!r}",
            f"did you mean {', '.join(dict.fromkeys(known[c] for c in close))}?"
            if close
            else "see gymnasium.registry, or import yours with --env yourmodule:YourEnv-v0",
        ) from None


def _import_module(env_id: str) -> str:
    """Import the module of `module:Id`, as `python -m` would find it; returns the Id alone."""
    module, colon, name = env_id.rpartition(":")
    if not colon:
        return env_id
    try:
        import_module(module)
    except (Exception, SystemExit) as error:
        raise UnknownEnvError(
            f"the module {module!r} of {env_id!r} cannot be imported: {error_text(error)}",
            "install it, or run from the directory that holds it",
        ) from error
    return name


def _make(env_id: str, args: Mapping[str, Any], render_mode: str | None) -> Any:
    extra = {} if render_mode is None else {"render_mode": render_mode}
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        _draw_without_screen(render=bool(extra))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.make(
                _import_module(env_id), **{**args, **extra}, disable_env_checker=True
            )
    except gymnasium.error.DependencyNotInstalled as error:
        raise EnvError(f"{env_id} needs a package: {error}", "install it, then try again") from None
    except (Exception, SystemExit) as error:
        raise EnvError(
            f"{env_id} cannot be made: {error_text(error)}", "check --env-arg"
        ) from error


def _draw_without_screen(render: bool) -> None:
    """Choose drivers that draw into memory, where the user has chosen none.

    SDL's for every environment, filmed or not: some observe what they draw. MuJoCo's only for
    films: it makes the import of MuJoCo fail where the driver does not work.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "offscreen")
    if render and "MUJOCO_GL" not in os.environ:
        for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
            if find_library(library):
                os.environ["MUJOCO_GL"] = name
                return
