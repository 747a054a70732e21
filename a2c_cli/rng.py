"""NumPy generators as plain arrays: random streams that survive in a checkpoint."""

from __future__ import annotations

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
