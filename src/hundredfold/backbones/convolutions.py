"""Convolutions on a CPU where the library's gradients are slow, or wrong: the same values, found otherwise.

Slow: see :mod:`hundredfold.backbones.depthwise`.

Wrong: where the map is smaller than the stride (1x1 positions, stride 2: what local crops of 32 px end in),
the bfloat16 weight gradient of torch 2.14.1 on processors with AMX holds what happened to lie in memory,
infinities and NaN among it. Such a layer is computed in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hundredfold.backbones.depthwise import DepthwiseConv2d

__all__ = ["StridedConv2d", "use_cpu_convolutions"]


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
