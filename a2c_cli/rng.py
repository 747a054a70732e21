"""NumPy generators as plain arrays, and the generators that the whole process shares."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1


def make_generator(*entropy: int) -> np.random.Generator:
    """A generator seeded by the integers given, each ≥ 0; other integers, independent streams."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def pack_generator(generator: np.random.Generator) -> NDArray[np.uint64]:
    """The state of a PCG64 generator as six unsigned integers, shape (6,)."""
    state = generator.bit_generator.state
    value, increment = state["state"]["state"], state["state"]["inc"]
    words = [value & _MASK, value >> 64, increment & _MASK, increment >> 64]
    return np.array([*words, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def unpack_generator(generator: np.random.Generator, packed: NDArray[np.uint64]) -> None:
    """Put a PCG64 generator into a packed state.

    Raises:
        ValueError: not six unsigned integers.
    """
    if packed.shape != (6,) or packed.dtype != np.uint64:
        raise ValueError("a packed generator has six unsigned 64-bit integers")
    words = [int(word) for word in packed]
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": words[0] | words[1] << 64, "inc": words[2] | words[3] << 64},
        "has_uint32": words[4] & 1,
        "uinteger": words[5] & 0xFFFFFFFF,
    }


def seed_globals(seed: int) -> None:
    """Seed the generators that environments use beside their own: Python's, NumPy's, torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:  # else nobody can draw from it
        sys.modules["torch"].manual_seed(seed)


@contextlib.contextmanager
def kept_globals() -> Iterator[None]:
    """Inside, `seed_globals` may be called; afterwards those generators are as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    others = None if torch is None else torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            torch.set_rng_state(others)
