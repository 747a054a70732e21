"""Errors a user can act on, and the exit code each kind stands for."""

from __future__ import annotations


class A2CError(Exception):
    """The work failed for a reason that the user can act on.

    Args:
        message: what went wrong, one sentence, naming the place.
        hint: what to do about it, one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(A2CError):
    """A setting is unknown, out of range, or not usable together with another one."""

    exit_code = 2


class EnvError(A2CError):
    """The environment cannot be built, broke its own contract, or raised."""


class UnknownEnvError(EnvError):
    """The environment id named on the command line does not exist or is not supported."""

    exit_code = 2


class CheckpointError(A2CError):
    """A checkpoint is missing, damaged, foreign, or of another format version."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's bytes are not those that were written."""


class ObservationError(A2CError, ValueError):
    """An agent was given something that is no observation of its environment."""


class RunDirError(A2CError):
    """A run directory is in use, unwritable, full, or holds another run."""


class RunInUseError(RunDirError):
    """Another process has the run directory."""
