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

from a2c_cli.policies.layout import Layout


class TorsoGradient:
    """Back-propagation through a torso with convolutions, into its parameters' `grad`.

    Whatever is large is allocated once: memory that is new in every update costs more than what
    is done with it, because the system clears each of its pages first.

    Args:
        layout: a network with convolutions and one torso.
        parameters: weight and bias of every layer in order; their `grad` is allocated here.
        rows: the most observations in one update.
        precision: of the large products; sums and results are float32.
    """

    def __init__(
        self, layout: Layout, parameters: Sequence[Tensor], rows: int, precision: torch.dtype
    ) -> None:
        self._layout, self._parameters, self._precision = layout, list(parameters), precision
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)
        self._pixels = torch.empty(rows, *layout.conv_shapes[0], dtype=precision)
        self._hidden_weight = torch.empty(0, dtype=precision)
        if layout.hidden and precision != torch.float32:
            self._hidden_weight = torch.empty_like(self._parameters[-2], dtype=precision)

    @torch.no_grad()
    def write(self, obs: Tensor, memories: Sequence[Tensor], gradient: Tensor) -> None:
        """Overwrite the parameters' `grad`.

        Args:
            obs: (N, channels, height, width) uint8.
            memories: activations of every layer in order, (N, height, width, channels) of each
                convolution and (N, units) of the hidden layer; float32.
            gradient: (N, features) of the loss in the last activations; float32.
        """
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
            weight, stride = self._parameters[2 * i].to(precision), layout.convs[i].stride
            if i > 0:
                weight = weight.contiguous(memory_format=torch.channels_last)
                before = activations[i - 1].permute(0, 3, 1, 2)
                delta, grad = _conv_backward(delta, before, weight, stride, True)
                delta = delta.permute(0, 2, 3, 1).contiguous()
            else:
                # The pixels' scale is in the weights' gradient, not in a copy of the pixels.
                pixels = self._pixels[: len(obs)].copy_(obs)
                _, grad = _conv_backward(delta.contiguous(), pixels, weight, stride, False)
            self._set(2 * i, grad)
            if i == 0:
                self._grad(0).mul_(layout.scale)

    def _hidden(self, gradient: Tensor, output: Tensor, source: Tensor) -> Tensor:
        """Through the activation in float32, then (N, out) x (N, in) in `precision`."""
        delta = _through(self._layout.activation, gradient, output)
        self._set(-1, delta.sum(0))
        delta = delta.to(self._precision)
        self._set(-2, torch.mm(delta.t(), source))
        weight = self._parameters[-2]
        if self._precision != torch.float32:
            weight = self._hidden_weight.copy_(weight)
        return torch.mm(delta, weight)

    def _grad(self, index: int) -> Tensor:
        grad = self._parameters[index].grad
        assert grad is not None
        return grad

    def _set(self, index: int, value: Tensor) -> None:
        self._grad(index).copy_(value)


def _through(activation: str, gradient: Tensor, output: Tensor) -> Tensor:
    """The gradient before an activation from the one behind it and the activation's output."""
    aten = torch.ops.aten
    before: Tensor = (
        aten.threshold_backward(gradient, output, 0)
        if activation == "relu"
        else aten.tanh_backward(gradient, output)
    )
    return before


def _conv_backward(
    delta: Tensor, source: Tensor, weight: Tensor, stride: int, wants_source: bool
) -> tuple[Tensor, Tensor]:
    grad_source, grad_weight, _ = torch.ops.aten.convolution_backward(
        delta, source, weight, None, (stride, stride), (0, 0), (1, 1), False, (0, 0), 1,
        (wants_source, True, False),
    )  # fmt: skip
    return grad_source, grad_weight
