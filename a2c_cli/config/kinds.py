"""The kinds of environment: what an observation is, and what prepares it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of environment.

    Args:
        name: as settings and headers call it.
        pixels: whether an observation is (channels, height, width) uint8, else (features,) float32.
        wrappers: the settings of its preprocessing.
        networks: what to choose from, for an error's hint.
    """

    name: str
    pixels: bool
    wrappers: tuple[str, ...]
    networks: str

    @property
    def obs_dtype(self) -> str:
        """NumPy's name of an observation's type."""
        return "uint8" if self.pixels else "float32"

    @property
    def obs_dimensions(self) -> int:
        """Of an observation's shape."""
        return 3 if self.pixels else 1


KINDS = {
    kind.name: kind
    for kind in (
        Kind("atari", True, ("frame_skip", "screen_size", "frame_stack", "noop_max"),
             "a3c, nature, notebook, or layers that begin with a convolution"),
        Kind("image", True, ("frame_stack",),
             "a3c, nature, notebook, mlp, or layers of your own"),
        Kind("vector", False, (), "mlp, or units such as 64,64"),
    )
}  # fmt: skip
PIXELS = tuple(name for name, kind in KINDS.items() if kind.pixels)
