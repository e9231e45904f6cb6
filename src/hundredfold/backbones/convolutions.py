"""Convolutions on a CPU where the library's gradients are slow, or wrong: the same values, found otherwise.

Slow: two kernels for depthwise layers were not made for what a multi-crop training ends in. The weight
gradient of 5x5 layers does the same work on maps of 3x3 or 2x2 positions as on large ones, most of it on
padding: written as one product a kernel offset over the positions where kernel and map overlap, it takes 1.6
to 4 ms in place of 8 to 15 (256 images, two cores). And the bfloat16 gradients of strided and of 5x5 layers
are five to ninety times slower than the float32 ones: they are taken in float32, which is more exact as well.

Wrong: where the map is smaller than the stride (1x1 positions, stride 2: what local crops of 32 px end in),
the bfloat16 weight gradient of torch 2.14.1 on processors with AMX holds what happened to lie in memory,
infinities and NaN among it. Such a layer is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DepthwiseConv2d", "StridedConv2d", "use_cpu_convolutions"]


#: stride and padding of a convolution
_Places = tuple[tuple[int, int], tuple[int, int]]


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise ``Conv2d`` with the same parameters and values, and a faster gradient on a CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Convolve [b, c, h, w]; gradients are those of ``nn.Conv2d`` up to float32 rounding."""
        if input.device.type != "cpu" or not self.weight.requires_grad:
            return super().forward(input)
        # Autocast does not reach into a Function, so what it would cast is cast here.
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        bias = None if self.bias is None else self.bias.to(kind)
        return _Depthwise.apply(  # type: ignore[no-any-return]
            input.to(kind), self.weight.to(kind), bias, (self.stride, self.padding)
        )


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, places: _Places
    ) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.places, ctx.has_bias = places, bias is not None
        return functional.conv2d(maps, weight, bias, *places, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        saved = ctx.saved_tensors
        exact = torch.promote_types(saved[0].dtype, torch.float32)
        gradient, maps, weight = (tensor.to(exact) for tensor in (gradient, *saved))
        # On maps smaller than the kernel most of the library's work is on padding.
        own = min(maps.shape[-2:]) < min(weight.shape[-2:])
        to_maps, to_weight, to_bias = torch.ops.aten.convolution_backward(
            gradient, maps, weight, weight.shape[:1] if ctx.has_bias else None, *ctx.places, (1, 1), False,
            (0, 0), weight.shape[0], (ctx.needs_input_grad[0], not own, ctx.has_bias),
        )
        if own:
            to_weight = _weight_gradient(maps, gradient, weight, ctx.places)
        kind = saved[0].dtype
        return (
            None if to_maps is None else to_maps.to(kind), to_weight.to(kind),
            to_bias.to(kind) if ctx.has_bias else None, None,
        )


def _weight_gradient(maps: Tensor, gradient: Tensor, weight: Tensor, places: _Places) -> Tensor:
    (stride, across), (padding, beside) = places
    inputs, errors = maps.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # [b, c, h, w] -> [b, h, w, c]
    result = torch.zeros_like(weight)  # [c, 1, k, l]
    for row in range(weight.shape[2]):
        into, out = _overlap(inputs.shape[1], errors.shape[1], stride, padding, row)
        for column in range(weight.shape[3]):
            into_, out_ = _overlap(inputs.shape[2], errors.shape[2], across, beside, column)
            result[:, 0, row, column] = (inputs[:, into, into_] * errors[:, out, out_]).sum((0, 1, 2))
    return result


def _overlap(length: int, positions: int, stride: int, padding: int, offset: int) -> tuple[slice, slice]:
    """Where a kernel's ``offset`` meets the map and not its padding: places in the map, and in the output.

    Output i looks at i * stride + offset - padding.
    """
    first = max(0, -((offset - padding) // stride))
    count = max(0, min(positions, (length - 1 + padding - offset) // stride + 1) - first)
    start = first * stride + offset - padding
    return slice(start, start + count * stride, stride), slice(first, first + count)


class StridedConv2d(nn.Conv2d):
    """A strided ``Conv2d`` with the same parameters, computed in float32 on maps smaller than its stride."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Convolve [b, c, h, w]."""
        smaller = any(size < step for size, step in zip(input.shape[-2:], self.stride, strict=True))
        if input.device.type != "cpu" or not smaller:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.to(self.weight.dtype))


def use_cpu_convolutions(module: nn.Module) -> int:
    """Let every plain depthwise or strided convolution in ``module`` be computed as above, in place.

    Names, parameters and outputs stay the same.

    Returns:
        how many layers were changed.

    Examples:
        >>> use_cpu_convolutions(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1, stride=2)))
        2
    """
    changed = 0
    for layer in module.modules():
        if type(layer) is not nn.Conv2d:
            continue
        if _is_plain_depthwise(layer):
            layer.__class__ = DepthwiseConv2d
        elif max(layer.stride) > 1:
            layer.__class__ = StridedConv2d
        else:
            continue
        changed += 1
    return changed


def _is_plain_depthwise(layer: nn.Conv2d) -> bool:
    return (
        layer.groups == layer.in_channels == layer.out_channels > 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and isinstance(layer.padding, tuple)
    )
