"""The torso's gradient from activations that acting has already computed.

Within a segment the parameters stand still, so the forward pass of an update would repeat, step
for step, what acting did. Autograd therefore starts at the remembered features, and
`TorsoGradient` takes the gradient on from there by hand, in reduced precision if asked. It is held
equal to autograd through the plain module by tests/test_learner.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from a2c_cli.policies.layout import Layout


class TorsoGradient:
    """Back-propagation through a torso with convolutions, into its parameters' `grad`.

    Whatever is large is allocated once: memory that is new in every update costs more than what
    is done with it, because the system clears each of its pages first.

    Args:
        layout: a network with convolutions and one torso.
        parameters: weight and bias of every layer in order.
        mean: (channels, height, width) the mean picture, whole numbers.
        rows: the most observations in one update.
        precision: of the large products; sums and results are float32.
    """

    def __init__(
        self,
        layout: Layout,
        parameters: Sequence[Tensor],
        mean: Tensor,
        rows: int,
        precision: torch.dtype,
    ) -> None:
        self._layout, self._parameters, self._precision = layout, list(parameters), precision
        self._exact_mean = mean
        self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._pixels = torch.empty(rows, *layout.conv_shapes[0], dtype=precision)
        self._weights = [_reduced(weight, precision) for weight in self._parameters[::2]]
        self.sync()

    @torch.no_grad()
    def sync(self) -> None:
        """Take over the weights and the mean after they have changed."""
        self._mean = self._exact_mean.to(self._precision)
        if self._precision != torch.float32:
            torch._foreach_copy_(self._weights, self._parameters[::2])

    @torch.no_grad()
    def features(self, count: int, rows: slice) -> Tensor:
        """(N, features) float32 of some rows of the last `write`'s `count` observations.

        The torch module's result for less: pixels and weights are at hand in `precision`.
        """
        layout, precision = self._layout, self._precision
        biases = [bias.to(precision) for bias in self._parameters[1::2]]
        activate = torch.relu_ if layout.activation == "relu" else torch.tanh_
        x = self._pixels[:count][rows] * layout.scale
        for weight, bias, conv in zip(self._weights, biases, layout.convs, strict=False):
            x = activate(functional.conv2d(x, weight, bias, conv.stride))
        x = x.permute(0, 2, 3, 1).flatten(1)
        if layout.hidden:
            x = activate(functional.linear(x, self._weights[-1], biases[-1]))
        return x.float()

    @torch.no_grad()
    def write(self, obs: Tensor, memories: Sequence[Tensor], gradient: Tensor) -> None:
        """Set the parameters' `grad`, which stays good until the next call.

        Args:
            obs: (N, channels, height, width) uint8.
            memories: activations of every layer in order, (N, height, width, channels) of each
                convolution and (N, units) of the hidden layer; float32.
            gradient: (N, features) of the loss in the last activations; float32.
        """
        for parameter, grad in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = grad
        layout, precision = self._layout, self._precision
        count = len(layout.convs)
        activations = [memory.to(precision) for memory in memories[:count]]
        delta = gradient
        if layout.hidden:
            delta = self._hidden(gradient, memories[-1], activations[-1].flatten(1))
        for i in reversed(range(count)):
            after = activations[i]
            delta = _through(layout.activation, delta.to(precision).view(after.shape), after)
            self._set(2 * i + 1, delta.reshape(-1, after.shape[-1]).sum(0))
            delta = delta.permute(0, 3, 1, 2)
            weight, stride = self._weights[i], layout.convs[i].stride
            if i > 0:
                before = activations[i - 1]
                self._set(
                    2 * i, _weight_gradient(delta, before.permute(0, 3, 1, 2), weight, stride)
                )
                delta = source_gradient(delta, weight, stride, before.shape[1:3])
            else:
                # The pixels' scale is in the weights' gradient, not in a copy of the pixels.
                pixels = self._pixels[: len(obs)].copy_(obs).sub_(self._mean)
                grad = _weight_gradient(delta.contiguous(), pixels, weight.contiguous(), stride)
                self._set(0, grad)
                self._gradients[0].mul_(layout.scale)

    def _hidden(self, gradient: Tensor, output: Tensor, source: Tensor) -> Tensor:
        """Through the activation in float32, then (N, out) x (N, in) in `precision`."""
        delta = _through(self._layout.activation, gradient, output)
        self._set(-1, delta.sum(0))
        delta = delta.to(self._precision)
        self._set(-2, torch.mm(delta.t(), source))
        return torch.mm(delta, self._weights[-1])

    def _set(self, index: int, value: Tensor) -> None:
        self._gradients[index].copy_(value)


def _reduced(weight: Tensor, precision: torch.dtype) -> Tensor:
    """Room for a copy, channels last; the very weight where none is needed."""
    if precision == torch.float32:
        return weight.detach()
    layout = torch.channels_last if weight.dim() == 4 else torch.contiguous_format
    return torch.empty_like(weight, dtype=precision, memory_format=layout)


def _through(activation: str, gradient: Tensor, output: Tensor) -> Tensor:
    """The gradient before an activation from the one behind it and the activation's output."""
    aten = torch.ops.aten
    before: Tensor = (
        aten.threshold_backward(gradient, output, 0)
        if activation == "relu"
        else aten.tanh_backward(gradient, output)
    )
    return before


def _weight_gradient(delta: Tensor, source: Tensor, weight: Tensor, stride: int) -> Tensor:
    gradient: Tensor = torch.ops.aten.convolution_backward(
        delta, source, weight, None, (stride, stride), (0, 0), (1, 1), False, (0, 0), 1,
        (False, True, False),
    )[1]  # fmt: skip
    return gradient


def source_gradient(
    delta: Tensor, weight: Tensor, stride: int, size: tuple[int, int] | torch.Size
) -> Tensor:
    """The gradient in a convolution's input from the one in its output.

    A plain convolution gives it in blocks of stride x stride pixels, each with as many channels:
    pixel s·b + p gets δ[b - d] · W[s·d + p] over all d, for every p < s alike. oneDNN takes a
    third of the time for that of what it takes for the strided one's own backward pass.

    Args:
        delta: (N, out, rows, columns), channels last.
        weight: (out, in, kernel, kernel).
        stride: s.
        size: (height, width) of the input.

    Returns:
        (N, height, width, in), contiguous.
    """
    out, channels, kernel, _ = weight.shape
    reach = -(-kernel // stride)  # blocks that a window spans
    rest = reach * stride - kernel
    if rest:
        weight = functional.pad(weight, (0, rest, 0, rest))
    weight = weight.reshape(out, channels, reach, stride, reach, stride).flip(2, 4)
    weight = weight.permute(3, 5, 1, 0, 2, 4).reshape(-1, out, reach, reach)
    weight = weight.contiguous(memory_format=torch.channels_last)
    blocks = functional.conv2d(delta, weight, padding=reach - 1).permute(0, 2, 3, 1)
    count, rows, columns, _ = blocks.shape
    image = blocks.reshape(count, rows, columns, stride, stride, channels).transpose(2, 3)
    image = image.reshape(count, rows * stride, columns * stride, channels)
    missing = (size[0] - image.shape[1], size[1] - image.shape[2])
    # Pixels that no window reaches, or too many where the kernel is no multiple of the stride.
    return (
        image if missing == (0, 0) else functional.pad(image, (0, 0, 0, missing[1], 0, missing[0]))
    )
