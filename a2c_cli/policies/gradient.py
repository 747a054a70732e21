"""The torso's gradient from activations that acting has already computed.

Within a segment the parameters stand still, so the forward pass of an update would repeat, step
for step, what acting did. `remembered_features` hands autograd the remembered features instead
and computes the gradient of the torso's parameters by hand, in reduced precision if asked. It is
held equal to autograd through the plain module by tests/test_gradient.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from a2c_cli.policies.layout import Layout


def remembered_features(
    layout: Layout,
    obs: Tensor,
    memories: list[Tensor],
    parameters: Sequence[Tensor],
    precision: torch.dtype,
) -> Tensor:
    """The torso's output as autograd sees it: a function of the torso's parameters.

    Args:
        layout: a network with convolutions.
        obs: (N, channels, height, width) uint8.
        memories: activations of every layer in order, (N, height, width, channels) of each
            convolution and (N, units) of the hidden layer; float32.
        parameters: weight and bias of every layer in order.
        precision: of the large products in the gradient; sums and results are float32.

    Returns:
        (N, features) float32, equal to the last memory.
    """
    features: Tensor = _Remembered.apply(  # type: ignore[no-untyped-call]
        layout, obs, memories, precision, *parameters
    )
    return features


class _Remembered(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layout: Layout,
        obs: Tensor,
        memories: list[Tensor],
        precision: torch.dtype,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.inputs = layout, obs, memories, precision, parameters
        return memories[-1].flatten(1).clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layout, obs, memories, precision, parameters = ctx.inputs
        activations = [memory.to(precision) for memory in memories[:-1]]
        activations.append(memories[-1] if layout.hidden else memories[-1].to(precision))
        slots: list[Tensor | None] = [None] * len(parameters)
        count = len(layout.convs)
        delta = gradient
        if layout.hidden:
            # Through the activation in float32, then (N, out) x (N, in) in `precision`.
            delta = _through(layout.activation, delta, activations[-1])
            slots[-1] = delta.sum(0)
            delta = delta.to(precision)
            slots[-2] = torch.mm(delta.t(), activations[count - 1].flatten(1)).float()
            delta = torch.mm(delta, parameters[-2].to(precision))
        for i in reversed(range(count)):
            after = activations[i]
            delta = _through(layout.activation, delta.to(precision).view(after.shape), after)
            slots[2 * i + 1] = delta.reshape(-1, after.shape[-1]).sum(0).float()
            delta = delta.permute(0, 3, 1, 2)
            weight, stride = parameters[2 * i].to(precision), layout.convs[i].stride
            if i > 0:
                weight = weight.contiguous(memory_format=torch.channels_last)
                before = activations[i - 1].permute(0, 3, 1, 2)
                delta, slots[2 * i] = _conv_backward(delta, before, weight, stride, True)
                delta = delta.permute(0, 2, 3, 1).contiguous()
            else:
                # The pixels' scale is in the weights' gradient, not in a copy of the pixels.
                pixels = obs.to(precision)
                _, grad = _conv_backward(delta.contiguous(), pixels, weight, stride, False)
                slots[0] = grad * layout.scale
        return (None, None, None, None, *slots)


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
    return grad_source, grad_weight.float().contiguous()
