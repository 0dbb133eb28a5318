"""Depthwise convolutions that train quickly on a CPU when the map is smaller than the kernel."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution of stride 1 whose weight gradient on a CPU is one product per kernel position.

    When the map is smaller than the kernel, as in a mobile network's last stages on small images, oneDNN computes
    the weight gradient channel by channel, which takes half of a training step at 64 px; the products are the same
    sums. Otherwise it behaves as `nn.Conv2d`.
    """

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> "DepthwiseConv2d":
        """A fast depthwise convolution that shares the weights of `conv`."""
        fast = cls(
            conv.in_channels,
            conv.out_channels,
            cast(tuple[int, int], conv.kernel_size),
            padding=cast(tuple[int, int], conv.padding),
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        fast.weight, fast.bias = conv.weight, conv.bias
        return fast.train(conv.training)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self._use_fast_gradient(input, weight):
            return super()._conv_forward(input, weight, bias)
        out = cast(Tensor, _DepthwiseConvFunction.apply(input, weight, self.padding))  # type: ignore[no-untyped-call]
        return out if bias is None else out + bias[:, None, None]

    def _use_fast_gradient(self, input: Tensor, weight: Tensor) -> bool:
        return (
            self.training
            and weight.requires_grad
            and torch.is_grad_enabled()
            and input.device.type == "cpu"
            and input.dtype == weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and all(side < kernel for side, kernel in zip(input.shape[2:], weight.shape[2:], strict=True))
        )


def replace_depthwise_convs(network: nn.Module) -> None:
    """Replaces each suitable depthwise convolution by a `DepthwiseConv2d` with the same weights."""
    for parent in list(network.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is nn.Conv2d and _is_replaceable_conv(part):
                setattr(parent, name, DepthwiseConv2d.from_conv(part))


def _is_replaceable_conv(conv: nn.Conv2d) -> bool:
    return (
        1 < conv.groups == conv.in_channels == conv.out_channels
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and all(kernel == 2 * pad + 1 for kernel, pad in zip(conv.kernel_size, conv.padding, strict=True))
    )


class _DepthwiseConvFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.padding = padding
        return functional.conv2d(image, weight, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (grad,), (image, weight) = grads, ctx.saved_tensors
        image_gradient = (
            conv2d_input(image.shape, weight, grad, padding=ctx.padding, groups=len(weight))
            if ctx.needs_input_grad[0]
            else None
        )
        return image_gradient, _weight_gradient(image, grad, weight.shape, ctx.padding), None


def _weight_gradient(image: Tensor, grad: Tensor, shape: torch.Size, padding: tuple[int, int]) -> Tensor:
    """[channels, 1, rows, columns]: at each kernel position, the sum over the overlap of image and gradient."""
    out = grad.new_zeros(shape)
    image, grad = image.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    for row in range(shape[2]):
        above, top = _overlapping_slices(row - padding[0], image.shape[1])
        for column in range(shape[3]):
            left, start = _overlapping_slices(column - padding[1], image.shape[2])
            out[:, 0, row, column] = (image[:, above, left] * grad[:, top, start]).sum((0, 1, 2))
    return out


def _overlapping_slices(shift: int, side: int) -> tuple[slice, slice]:
    """The overlapping parts of input and output if the kernel reads `shift` further on; empty without overlap."""
    return (
        slice(min(max(shift, 0), side), max(min(side, side + shift), 0)),
        slice(min(max(-shift, 0), side), max(min(side, side - shift), 0)),
    )
