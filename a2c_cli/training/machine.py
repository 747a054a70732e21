"""The machine: where the updates run, in which precision, how much memory is in use."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import statistics
import sys
import time
from collections.abc import Iterator

import torch

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.segment import Segment
from a2c_cli.config.settings import Settings
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.errors import A2CError
from a2c_cli.policies.trainable import settled_torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def make_learner(config: Settings, spec: EnvSpec) -> tuple[Learner, str]:
    """The learner of a run, and in words where and in which precision its updates run.

    Raises:
        A2CError: see `choose_device`.
        ConfigError: the network does not fit the observations.
    """
    torch.set_num_threads(config.threads)
    with settled_torch():
        device, why = choose_device(config, spec)
        precision = choose_precision(config, device)
        where = f"{device.type} ({why}), {str(precision).removeprefix('torch.')} updates"
        return Learner(config, spec, device, precision), where


@contextlib.contextmanager
def same_threads() -> Iterator[None]:
    """Give torch back the number of threads that it had before: it is the caller's too."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(config: Settings, spec: EnvSpec) -> tuple[torch.device, str]:
    """The device of a resolved config's updates, and why in one phrase.

    `auto` times a few updates on both where there is a choice.

    Raises:
        A2CError: cuda is asked for and not there: never a silent fallback.
    """
    if config.device == "cpu":
        return torch.device("cpu"), "as asked"
    if not torch.cuda.is_available():
        if config.device == "cuda":
            raise A2CError("--device cuda: this machine has no CUDA device", "use --device cpu")
        return torch.device("cpu"), "no CUDA device here"
    cuda = torch.device("cuda")
    if config.device == "cuda":
        return cuda, f"as asked, {torch.cuda.get_device_name()}"
    cost = {d: _update_cost(config, spec, d) for d in (torch.device("cpu"), cuda)}
    chosen = min(cost, key=lambda d: cost[d])
    times = ", ".join(f"{d.type} {1e3 * seconds:.1f} ms" for d, seconds in cost.items())
    return chosen, f"measured: an update takes {times}"


def choose_precision(config: Settings, device: torch.device) -> torch.dtype:
    """Precision of the torso in an update: bfloat16 only for pixels where the device has it."""
    if config.precision == "float32" or (config.precision == "auto" and config.network == "mlp"):
        return torch.float32
    if config.precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    # Emulated bfloat16 is slower than float32, so only the instruction itself counts.
    native = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return torch.bfloat16 if native else torch.float32


def keep_freed_memory() -> None:
    """Let glibc keep the memory that an update frees until the next one wants it.

    Left to itself it hands some back, or does not, as the heap happens to lie in this process:
    then the same update takes 2 of 9 ms longer, for the system to clear the pages again. With
    another C library nothing is done.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # the most that glibc takes
        mallopt(_TRIM_THRESHOLD, 128 * 2**20)


def peak_memory_mb() -> float:
    """The most memory that this process has had resident so far, in MB of 2²⁰ bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _update_cost(config: Settings, spec: EnvSpec, device: torch.device) -> float:
    learner = Learner(config, spec, device, choose_precision(config, device))
    segment = Segment(spec, config.n_steps or 128)
    for _ in range(config.n_steps or 128):
        segment.begin(segment.observations[0] * 0, 0)
        segment.end(0.0, terminated=False)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        learner.update([segment], progress=0.0)  # ends with a copy to the CPU: synchronous
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
