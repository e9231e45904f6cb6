"""The gradients of a depthwise convolution on a CPU, found by the quickest way for the shape at hand.

Three of the library's kernels were not made for what a multi-crop training asks of them (torch 2.14.1, 128
images, two cores, channels last):

- the bfloat16 gradient of a *strided* layer with respect to its maps takes 30 to 150 ms: the same sum with
  zeros put between the gradient's places, so that the stride is 1, takes 2 to 12;
- the gradient of a kernel of 5 with respect to its weights takes 20 to 40 ms in bfloat16 and 6 to 15 in
  float32, the same on maps of 2x2 as on 14x14, most of it on padding. It is a sum over pairs of places: all
  pairs of a place of the input and one of the output are correlated over the images in one batched
  product, and those that belong to one place of the kernel are added: 1 to 12 ms;
- where the map is smaller than the kernel the same holds for kernels of 3, and in float32, where one product
  a place of the kernel, over the positions where kernel and map overlap, takes 2 to 4 ms.

All other shapes keep the library's kernels, in bfloat16 where that is what flows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DepthwiseConv2d"]

#: stride and padding of a convolution
_Places = tuple[tuple[int, int], tuple[int, int]]

#: Most pairs of places that are correlated in one product: beyond, the library's float32 kernel is quicker.
PAIRS = 196 * 196


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise ``Conv2d`` with the same parameters and values, and faster gradients on a CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Convolve [b, c, h, w]; gradients are those of ``nn.Conv2d`` up to rounding."""
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
        maps, weight = ctx.saved_tensors
        return (
            _to_maps(gradient, maps, weight, ctx.places) if ctx.needs_input_grad[0] else None,
            _to_weight(gradient, maps, weight, ctx.places),
            gradient.sum((0, 2, 3)) if ctx.has_bias else None,
            None,
        )


def _library(
    gradient: Tensor, maps: Tensor, weight: Tensor, places: _Places, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    found = torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, *places, (1, 1), False, (0, 0), weight.shape[0], (*wanted, False)
    )
    return found[0], found[1]


def _to_maps(gradient: Tensor, maps: Tensor, weight: Tensor, places: _Places) -> Tensor:
    (stride, across), padding = places
    if gradient.dtype == torch.bfloat16 and max(stride, across) > 1:
        height, width = (
            size + 2 * pad - kernel + 1
            for size, pad, kernel in zip(maps.shape[2:], padding, weight.shape[2:], strict=True)
        )
        apart = gradient.new_zeros(gradient.shape[0], height, width, gradient.shape[1])  # [b, h, w, c]
        apart[:, ::stride, ::across] = gradient.permute(0, 2, 3, 1)
        gradient, places = apart.permute(0, 3, 1, 2), ((1, 1), padding)
    return _library(gradient, maps, weight, places, (True, False))[0]


def _to_weight(gradient: Tensor, maps: Tensor, weight: Tensor, places: _Places) -> Tensor:
    # Below the stride the library's bfloat16 gradient is wrong as well, see convolutions.py.
    small = min(maps.shape[2:]) < max(min(weight.shape[2:]), *places[0])
    if gradient.dtype != torch.bfloat16:
        if small:
            return _by_offsets(maps, gradient, weight, places)
    elif small or max(weight.shape[2:]) > 3:
        if maps.shape[2:].numel() * gradient.shape[2:].numel() <= PAIRS:
            return _by_correlation(gradient, maps, weight, places)
        exact = _library(gradient.float(), maps.float(), weight.float(), places, (False, True))[1]
        return exact.to(weight.dtype)
    return _library(gradient, maps, weight, places, (False, True))[1]


def _by_correlation(gradient: Tensor, maps: Tensor, weight: Tensor, places: _Places) -> Tensor:
    inputs = maps.permute(1, 2, 3, 0).flatten(1, 2)  # [b, c, h, w] -> [c, i, b]
    outputs = gradient.permute(1, 0, 2, 3).flatten(2)  # [b, c, h, w] -> [c, b, o]
    pairs = torch.bmm(inputs, outputs).flatten(1)  # [c, i * o]
    sizes = (*maps.shape[2:], *gradient.shape[2:])
    kernel = (weight.shape[2], weight.shape[3])
    return (pairs @ _membership(sizes, kernel, places, pairs.dtype)).view_as(weight)


@lru_cache(maxsize=128)
def _membership(
    sizes: tuple[int, ...], kernel: tuple[int, int], places: _Places, kind: torch.dtype
) -> Tensor:
    """Which place of the kernel, if any, joins a place of the input and one of the output: [i * o, k * l]."""
    (stride, across), (padding, beside) = places
    height, width, high, wide = sizes
    rows = _place(height, high, kernel[0], stride, padding)  # [h, h', k]
    columns = _place(width, wide, kernel[1], across, beside)  # [w, w', l]
    both = torch.einsum("hik,wjl->hwijkl", rows, columns)
    return both.reshape(height * width * high * wide, kernel[0] * kernel[1]).to(kind)


def _place(length: int, positions: int, kernel: int, stride: int, padding: int) -> Tensor:
    """Along one axis: 1 where the kernel's place k joins input i and output o, else 0; [i, o, k]."""
    found = torch.arange(length)[:, None] - stride * torch.arange(positions) + padding
    return (found[..., None] == torch.arange(kernel)).float()


def _by_offsets(maps: Tensor, gradient: Tensor, weight: Tensor, places: _Places) -> Tensor:
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
