"""BatchNorm over the images of all ranks: with several, each sees the statistics of the whole batch.

torch's own ``SyncBatchNorm`` does this on GPUs and refuses the CPU; there it is done here.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hundredfold.errors import SettingsError
from hundredfold.ssl.collectives import group_size, sum_over_ranks

__all__ = ["CpuSyncBatchNorm", "synchronise_batchnorm"]


class CpuSyncBatchNorm(_BatchNorm):
    """``nn.SyncBatchNorm`` for the CPU: parameters, buffers and results are those of ``BatchNorm``."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Normalise [b, c, …] by the statistics of all ranks (training), or by the running ones."""
        if not self.training:
            return super().forward(input)
        normed, mean, variance = _Normalised.apply(input, self.eps)
        self._keep(mean, variance, input.numel() // input.shape[1] * group_size())
        if self.weight is not None:
            normed = normed * _across(self.weight, input) + _across(self.bias, input)
        return normed.to(input.dtype)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        unbiased = variance * (count / max(count - 1, 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 -- torch's name
        """Images, sequences and vectors alike."""


class CpuSyncBatchNormAct(CpuSyncBatchNorm):
    """The same with timm's activation behind it."""

    act: nn.Module
    drop: nn.Module

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- torch's name
        """Normalise [b, c, …], then activate."""
        result: Tensor = self.act(self.drop(super().forward(input)))
        return result


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) over all axes but the second, and over all ranks."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        values = maps.to(torch.promote_types(maps.dtype, torch.float32))
        axes = [0, *range(2, maps.ndim)]
        ctx.axes, ctx.count = axes, maps.numel() // maps.shape[1] * group_size()
        # Two passes: mean of squares less square of the mean would lose the digits of a small variance.
        mean = sum_over_ranks(values.sum(axes)) / ctx.count  # [c]
        centred = values - _across(mean, maps)
        variance = sum_over_ranks(centred.square().sum(axes)) / ctx.count  # [c]
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(maps, mean, scale)
        ctx.mark_non_differentiable(mean, variance)
        return centred * _across(scale, maps), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        maps, mean, scale = ctx.saved_tensors
        normed = (maps.to(mean.dtype) - _across(mean, maps)) * _across(scale, maps)
        own = torch.stack([gradient.sum(ctx.axes), (gradient * normed).sum(ctx.axes)])  # [2, c]
        plain, along = sum_over_ranks(own) / ctx.count
        result = (gradient - _across(plain, maps) - normed * _across(along, maps)) * _across(scale, maps)
        return result.to(maps.dtype), None


def synchronise_batchnorm(module: nn.Module, device: str) -> int:
    """Let every BatchNorm in ``module`` use the statistics of all ranks, in place.

    Names, parameters, buffers and modes stay the same.

    Returns:
        how many layers were changed.

    Raises:
        SettingsError: a layer of a kind that is not known.

    Examples:
        >>> synchronise_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), "cpu")
        1
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        kind = type(layer)
        if kind not in PLAIN:
            raise SettingsError(
                f"the statistics of a layer {kind.__name__} cannot be shared by several processes",
                where="backbone", remedy="Choose another --backbone, or train with one process.",
            )
        layer.process_group = None  # type: ignore[assignment]
        layer.__class__ = _synchronised(with_activation=kind is BatchNormAct2d, on_cpu=device == "cpu")
    return len(layers)


#: the layers that can be shared
PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)


def _synchronised(*, with_activation: bool, on_cpu: bool) -> type[_BatchNorm]:
    if with_activation:
        return CpuSyncBatchNormAct if on_cpu else SyncBatchNormAct
    return CpuSyncBatchNorm if on_cpu else nn.SyncBatchNorm


def _across(values: Tensor, maps: Tensor) -> Tensor:
    """[c] shaped so that it meets the channels of [b, c, …]."""
    return values.view(1, -1, *[1] * (maps.ndim - 2))
