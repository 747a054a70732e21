"""The convolutions of one observation at a time, in NumPy; images are (height, width, channels).

Each layer writes its activations into a row of a memory that the update reads again, so that
nothing is computed twice with the same parameters (see gradient.py). The result depends on the
observation and the weights alone: what is kept from the step before is only ever reused where
recomputing it would give the same bits. That is why products are taken row by row of the output,
also where all rows have changed: BLAS gives the same bits for the same shapes only.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from a2c_cli.config.networks import Conv

Floats = NDArray[np.float32]
Activation = Callable[[Floats, Floats], object]  # from one array to another, or in place


def _windows(image: NDArray[Any], kernel: int, stride: int, out: tuple[int, int]) -> NDArray[Any]:
    """The kernel x kernel windows of (height, width, channels), as (rows, columns, k, k * c)."""
    y, x, _ = image.strides
    shape = (*out, kernel, kernel * image.shape[2])
    return as_strided(image, shape, (y * stride, x * stride, y, image.itemsize))


def touched(changed: int, kernel: int, stride: int, rows: int) -> int:
    """The output rows whose windows hold a changed input row; rows are bits of an integer."""
    window = (1 << kernel) - 1
    found = 0
    for row in range(rows):
        if changed >> row * stride & window:
            found |= 1 << row
    return found


def runs(rows: int) -> list[slice]:
    """The rows of a bit set as slices of neighbours, lowest first."""
    slices, start = [], 0
    while rows:
        gap = (rows & -rows).bit_length() - 1
        rows >>= gap
        length = (~rows & rows + 1).bit_length() - 1
        rows >>= length
        slices.append(slice(start + gap, start + gap + length))
        start += gap + length
    return slices


class PatchConv:
    """A convolution as matrix products over its patches, one product for each output row.

    Args:
        conv: the layer.
        out: (rows, columns) of its output.
        source: (rows of memory, height, width, channels), what it reads; the layer before's
            memory.
        activate: the activation, from one array to another.
    """

    def __init__(
        self, conv: Conv, out: tuple[int, int], source: NDArray[Any], activate: Activation
    ) -> None:
        k, channels = conv.kernel, source.shape[3]
        self._conv, self._rows, self._activate = conv, out[0], activate
        self.memory = np.zeros((len(source), *out, conv.channels), np.float32)
        self._patches = np.empty((*out, k * k * channels), np.float32)
        self._weight = np.empty((self._patches.shape[2], conv.channels), np.float32)
        self._bias = np.empty((*out, conv.channels), np.float32)
        self._products = np.empty_like(self._bias)
        # Making a view costs more than using it, so every row's are made once.
        self._target = self._patches.reshape(*out, k, k * channels)
        self._sources = [_windows(image, k, conv.stride, out) for image in source]
        self._outputs = list(self.memory)

    def sync(self, weight: Floats, bias: Floats) -> None:
        """Take over (out, in, k, k) weights; all rows must be told changed after that."""
        self._weight[...] = weight.transpose(2, 3, 1, 0).reshape(self._weight.shape)
        self._bias[...] = bias

    def forward(self, row: int, changed: int) -> int:
        """Fill a row of the memory; takes and returns the rows that differ from the last call."""
        mine = touched(changed, self._conv.kernel, self._conv.stride, self._rows)
        source, output = self._sources[row], self._outputs[row]
        for rows in runs(mine):
            self._target[rows] = source[rows]
            np.matmul(self._patches[rows], self._weight, out=self._products[rows])
        np.add(self._products, self._bias, out=output)
        self._activate(output, output)
        return mine


class StackConv:
    """The first convolution, over a stack of gray frames of which one is new at each step.

    The layer is linear in the frames: a frame f at place p of the stack adds P_p(f) to the
    output. So each frame meets the weights once, for all the places it will hold, and the
    outputs of the next stacks are under way at the same time:

        sums[0] = bias,   sums[p+1] ← sums[p] + P_p(f),   output = sums[depth].

    And P(f) is computed anew only in the rows where f differs from the frame before.

    Args:
        conv: the layer.
        out: (rows, columns) of its output.
        rows: of the memory.
        stack: (depth, height, width) of an observation.
        activate: the activation, from one array to another.
    """

    def __init__(
        self,
        conv: Conv,
        out: tuple[int, int],
        rows: int,
        stack: tuple[int, int, int],
        activate: Activation,
    ) -> None:
        depth, height, width = stack
        k = conv.kernel
        self._out, self._activate = out, activate
        self.memory = np.zeros((rows, *out, conv.channels), np.float32)
        self._outputs = list(self.memory)
        self._patches = np.empty((*out, k * k), np.float32)
        self._weight = np.empty((depth, 1, k * k, conv.channels), np.float32)
        self._products = np.empty((depth, *out, conv.channels), np.float32)
        self._sums = np.zeros((depth + 1, *out, conv.channels), np.float32)
        self._next_sums = np.zeros_like(self._sums)
        # Rows of pixels that windows begin and end with, compared as one.
        together = math.gcd(k, conv.stride) if height % math.gcd(k, conv.stride) == 0 else 1
        self._bands = (height // together, together * width)
        self._window = (k // together, conv.stride // together, out[0])
        self._kept: bytes | None = None  # the pixels of the last stack but its oldest frame
        self._frame = np.zeros((height, width), np.uint8)  # whose products are at hand
        self._last_bands = self._frame.reshape(self._bands)
        # Output rows in which each of the last frames differed from the one before it.
        self._changes = [0] * depth
        # Frames in blocks of 4x4 pixels can be moved as 32-bit words, 16 pixels in a row.
        self._blocked = (k, conv.stride) == (8, 4) and height % 4 == 0 and width % 4 == 0
        if self._blocked:
            blocks = np.empty((height // 4, width // 4, 16), np.uint8)
            self._words = blocks.view(np.uint32).transpose(0, 2, 1)
            self._pixels = self._frame.view(np.uint32).reshape(height // 4, 4, width // 4)
            self._windows = _windows(blocks, 2, 1, out)
        else:
            self._windows = _windows(self._frame[:, :, None], k, conv.stride, out)
        self._target = self._patches.reshape(self._windows.shape)

    def sync(self, weight: Floats, bias: Floats, scale: float, mean: Floats) -> None:
        """Take over (out, depth, k, k) weights, with the factor on the pixels and their mean μ.

        W * (x - μ) + b = W * x + (b - W * μ): centring costs nothing per step.
        """
        out, depth = weight.shape[:2]
        if self._blocked:
            weight = weight.reshape(out, depth, 2, 4, 2, 4).transpose(1, 2, 4, 3, 5, 0)
        else:
            weight = weight.transpose(1, 2, 3, 0)
        np.multiply(weight.reshape(self._weight.shape), np.float32(scale), out=self._weight)
        start = np.broadcast_to(bias, self._sums[0].shape)
        for place, picture in enumerate(mean.astype(np.uint8)) if mean.any() else ():
            self._load(picture)
            self._target[...] = self._windows
            start = start - self._patches @ self._weight[place, 0]
        self._sums[0] = self._next_sums[0] = start
        self._kept = None

    def forward(self, stack: NDArray[np.uint8], row: int) -> int:
        """Fill a row of the memory; returns the rows that differ from the last call's."""
        everything = (1 << self._out[0]) - 1
        if stack[:-1].tobytes() == self._kept:
            self._push(stack[-1], self._differing(stack[-1]))
            changed = functools.reduce(operator.or_, self._changes)
        else:
            # After new weights, the products at hand are those of no frame.
            known = self._kept is not None
            for frame in stack:
                self._push(frame, self._differing(frame) if known else everything)
                known = True
            changed = everything
        self._kept = stack[1:].tobytes()
        self._activate(self._sums[-1], self._outputs[row])
        return changed

    def _differing(self, frame: NDArray[np.uint8]) -> int:
        """The output rows in which a frame does not look like the one at hand."""
        differs = (frame.reshape(self._bands) != self._last_bands).any(axis=1)
        bits = np.packbits(differs, bitorder="little").tobytes()
        return touched(int.from_bytes(bits, "little"), *self._window)

    def _load(self, frame: NDArray[np.uint8]) -> None:
        """Put a frame where its windows are read from."""
        self._frame[...] = frame
        if self._blocked:
            self._words[...] = self._pixels

    def _push(self, frame: NDArray[np.uint8], changed: int) -> None:
        """Let a frame into the stack: add its products to all sums under way."""
        if changed:
            self._load(frame)
        for rows in runs(changed):
            self._target[rows] = self._windows[rows]
            np.matmul(self._patches[rows], self._weight, out=self._products[:, rows])
        np.add(self._sums[:-1], self._products, out=self._next_sums[1:])
        self._sums, self._next_sums = self._next_sums, self._sums
        self._changes = [*self._changes[1:], changed]


class ConvTorso:
    """All convolutions of a network for one observation, remembering their activations.

    Args:
        convs: the layers.
        shapes: (channels, height, width) of the input and of every layer's output.
        stacked: whether the input is a stack of gray frames, one of them new at each step.
        rows: observations to remember the activations of.
        activate: the activation, from one array to another.
    """

    def __init__(
        self,
        convs: tuple[Conv, ...],
        shapes: tuple[tuple[int, int, int], ...],
        stacked: bool,
        rows: int,
        activate: Activation,
    ) -> None:
        self._first: StackConv | None = None
        self._layers: list[PatchConv] = []
        out = [shape[1:] for shape in shapes[1:]]
        if stacked:
            self._first = StackConv(convs[0], out[0], rows, shapes[0], activate)
            memory = self._first.memory
            self._input: NDArray[Any] = np.zeros((0,), np.uint8)
        else:
            channels, height, width = shapes[0]
            self._input = memory = np.zeros((rows, height, width, channels), np.float32)
        for conv, size in list(zip(convs, out, strict=True))[1 if stacked else 0 :]:
            self._layers.append(PatchConv(conv, size, memory, activate))
            memory = self._layers[-1].memory
        self._scale, self._mean = 1.0, np.zeros((1, 1, 1), np.float32)
        self.features = list(memory.reshape(rows, -1))  # of every row of the memory

    @property
    def memories(self) -> list[Floats]:
        """Activations of every layer, (rows, height, width, channels) each."""
        first = [] if self._first is None else [self._first.memory]
        return first + [layer.memory for layer in self._layers]

    def sync(self, weights: list[tuple[Floats, Floats]], scale: float, mean: Floats) -> None:
        """Take over every layer's (weight, bias); pixels are taken as scale · (x - mean)."""
        self._scale, self._mean = scale, mean.transpose(1, 2, 0)
        if self._first is not None:
            self._first.sync(*weights[0], scale, mean)
            weights = weights[1:]
        for layer, (weight, bias) in zip(self._layers, weights, strict=True):
            layer.sync(weight, bias)

    def forward(self, obs: NDArray[np.uint8], row: int) -> int:
        """Fill a row of the memories; returns the features' rows that differ from the last call."""
        if self._first is not None:
            changed = self._first.forward(obs, row)
        else:
            image = self._input[row]
            np.subtract(obs.transpose(1, 2, 0), self._mean, out=image)
            np.multiply(image, np.float32(self._scale), out=image)
            changed = (1 << obs.shape[1]) - 1
        for layer in self._layers:
            changed = layer.forward(row, changed)
        return changed
