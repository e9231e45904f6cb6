"""Running statistics for the exported encoder, from images as it will meet them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from hundredfold.backbones.backbone import Backbone
from hundredfold.ssl.syncbatchnorm import localise_batchnorm

__all__ = ["has_batchnorm", "reestimate_batchnorm"]


def has_batchnorm(backbone: Backbone) -> bool:
    """Whether any layer keeps running statistics."""
    return any(isinstance(module, _BatchNorm) for module in backbone.modules())


@torch.no_grad()
def reestimate_batchnorm(backbone: Backbone, batches: Iterable[Tensor]) -> None:
    """Replace the running means and variances by those of ``batches``, each batch counting the same.

    Training sees crops of several sizes and colours; the encoder will see whole, plain images.

    Args:
        backbone: changed in place; left in evaluation mode.
        batches: uint8 images [b, h, w, 3] at the size the encoder works at, unaugmented.
    """
    localise_batchnorm(backbone)
    layers = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    backbone.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over the batches
        layer.train()
    for batch in batches:
        backbone(backbone.normalise(batch))
    backbone.eval()
