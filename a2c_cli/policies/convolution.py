"""The convolutions of one observation at a time, in NumPy; images are (height, width, channels).

Each layer writes its activations into a row of a memory that the update reads again, so that
nothing is computed twice with the same parameters (see gradient.py). The result depends on the
observation and the weights alone: what is kept from the step before is only ever reused where
recomputing it would give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from a2c_cli.policies.layout import Conv

Floats = NDArray[np.float32]


def _windows(image: NDArray[Any], kernel: int, stride: int, out: tuple[int, int]) -> NDArray[Any]:
    """The kernel x kernel windows of (height, width, channels), as (rows, columns, k, k * c)."""
    y, x, _ = image.strides
    shape = (*out, kernel, kernel * image.shape[2])
    return as_strided(image, shape, (y * stride, x * stride, y, image.itemsize))


class PatchConv:
    """A convolution as one matrix product over its patches.

    Args:
        conv: the layer.
        out: (rows, columns) of its output.
        source: (rows of memory, height, width, channels), what it reads; the layer before's
            memory.
    """

    def __init__(self, conv: Conv, out: tuple[int, int], source: NDArray[Any]) -> None:
        k, channels = conv.kernel, source.shape[3]
        positions = out[0] * out[1]
        self.memory = np.zeros((len(source), *out, conv.channels), np.float32)
        self._patches = np.empty((positions, k * k * channels), np.float32)
        self._weight = np.empty((self._patches.shape[1], conv.channels), np.float32)
        self._bias = np.empty((positions, conv.channels), np.float32)
        # Making a view costs more than using it, so every row's are made once.
        self._target = self._patches.reshape(*out, k, k * channels)
        self._sources = [_windows(image, k, conv.stride, out) for image in source]
        self._outputs = list(self.memory.reshape(len(source), positions, conv.channels))

    def sync(self, weight: Floats, bias: Floats) -> None:
        """Take over (out, in, k, k) weights."""
        self._weight[...] = weight.transpose(2, 3, 1, 0).reshape(self._weight.shape)
        self._bias[...] = bias

    def forward(self, row: int) -> Floats:
        """Fill a row of the memory before the activation; returns it as (positions, channels)."""
        output = self._outputs[row]
        self._target[...] = self._sources[row]
        np.matmul(self._patches, self._weight, out=output)
        np.add(output, self._bias, out=output)
        return output


class StackConv:
    """The first convolution, over a stack of gray frames of which one is new at each step.

    The layer is linear in the frames, so each frame meets the weights once, for all the places
    it will hold in the stack; the products are kept as long as the frame stays.

    Args:
        conv: the layer.
        out: (rows, columns) of its output.
        rows: of the memory.
        stack: (depth, height, width) of an observation.
    """

    def __init__(
        self, conv: Conv, out: tuple[int, int], rows: int, stack: tuple[int, int, int]
    ) -> None:
        depth, height, width = stack
        k, positions = conv.kernel, out[0] * out[1]
        self._conv, self._out, self._depth = conv, out, depth
        self.memory = np.zeros((rows, *out, conv.channels), np.float32)
        self._outputs = list(self.memory.reshape(rows, positions, conv.channels))
        self._patches = np.empty((positions, k * k), np.float32)
        self._weight = np.empty((depth, k * k, conv.channels), np.float32)
        self._bias = np.empty((positions, conv.channels), np.float32)
        # One slot a frame: its product for every place in the stack.
        self._products = np.empty((depth, depth, positions, conv.channels), np.float32)
        self._slots = list(range(depth))  # slot of each place, oldest first
        self._kept: bytes | None = None  # the pixels that the products of all but one place show
        # Frames in blocks of 4x4 pixels can be moved as 32-bit words, 16 pixels in a row.
        self._blocked = (k, conv.stride) == (8, 4) and height % 4 == 0 and width % 4 == 0
        if self._blocked:
            blocks = np.empty((height // 4, width // 4, 16), np.uint8)
            self._words = blocks.view(np.uint32).transpose(0, 2, 1)
            self._windows = _windows(blocks, 2, 1, out)
            self._target = self._patches.reshape(*out, 2, 32)

    def sync(self, weight: Floats, bias: Floats, scale: float) -> None:
        """Take over (out, depth, k, k) weights, with the factor on the pixels."""
        out, depth, k, _ = weight.shape
        if self._blocked:
            weight = weight.reshape(out, depth, 2, 4, 2, 4).transpose(1, 2, 4, 3, 5, 0)
        else:
            weight = weight.transpose(1, 2, 3, 0)
        np.multiply(weight.reshape(depth, k * k, out), np.float32(scale), out=self._weight)
        self._bias[...] = bias
        self._kept = None

    def forward(self, stack: NDArray[np.uint8], row: int) -> Floats:
        """Fill a row of the memory before the activation; returns it as (positions, channels)."""
        if stack[:-1].tobytes() == self._kept:
            self._slots.append(self._slots.pop(0))
            self._multiply(stack[-1], self._slots[-1])
        else:
            for frame, slot in zip(stack, self._slots, strict=True):
                self._multiply(frame, slot)
        self._kept = stack[1:].tobytes()
        output = self._outputs[row]
        np.add(self._bias, self._products[self._slots[0], 0], out=output)
        for place in range(1, self._depth):
            np.add(output, self._products[self._slots[place], place], out=output)
        return output

    def _multiply(self, frame: NDArray[np.uint8], slot: int) -> None:
        if self._blocked:
            rows, columns = frame.shape[0] // 4, frame.shape[1] // 4
            self._words[...] = frame.view(np.uint32).reshape(rows, 4, columns)
            self._target[...] = self._windows
        else:
            windows = _windows(frame[:, :, None], self._conv.kernel, self._conv.stride, self._out)
            self._patches.reshape(windows.shape)[...] = windows
        np.matmul(self._patches, self._weight, out=self._products[slot])


class ConvTorso:
    """All convolutions of a network for one observation, remembering their activations.

    Args:
        convs: the layers.
        shapes: (channels, height, width) of the input and of every layer's output.
        stacked: whether the input is a stack of gray frames, one of them new at each step.
        rows: observations to remember the activations of.
        activate: the activation, in place.
    """

    def __init__(
        self,
        convs: tuple[Conv, ...],
        shapes: tuple[tuple[int, int, int], ...],
        stacked: bool,
        rows: int,
        activate: Callable[[Floats], None],
    ) -> None:
        self._activate = activate
        self._first: StackConv | None = None
        self._layers: list[PatchConv] = []
        out = [shape[1:] for shape in shapes[1:]]
        if stacked:
            self._first = StackConv(convs[0], out[0], rows, shapes[0])
            memory = self._first.memory
            self._input: NDArray[Any] = np.zeros((0,), np.uint8)
        else:
            channels, height, width = shapes[0]
            self._input = memory = np.zeros((rows, height, width, channels), np.float32)
        for conv, size in list(zip(convs, out, strict=True))[1 if stacked else 0 :]:
            self._layers.append(PatchConv(conv, size, memory))
            memory = self._layers[-1].memory
        self._scale = 1.0
        self._features = list(memory.reshape(rows, -1))

    @property
    def memories(self) -> list[Floats]:
        """Activations of every layer, (rows, height, width, channels) each."""
        first = [] if self._first is None else [self._first.memory]
        return first + [layer.memory for layer in self._layers]

    def sync(self, weights: list[tuple[Floats, Floats]], scale: float) -> None:
        """Take over every layer's (weight, bias); `scale` multiplies the pixels."""
        self._scale = scale
        if self._first is not None:
            self._first.sync(*weights[0], scale)
            weights = weights[1:]
        for layer, (weight, bias) in zip(self._layers, weights, strict=True):
            layer.sync(weight, bias)

    def forward(self, obs: NDArray[np.uint8], row: int) -> Floats:
        """The features (height * width * channels,) of one observation, kept in a row."""
        if self._first is not None:
            self._activate(self._first.forward(obs, row))
        else:
            np.multiply(obs.transpose(1, 2, 0), np.float32(self._scale), out=self._input[row])
        for layer in self._layers:
            self._activate(layer.forward(row))
        return self._features[row]
