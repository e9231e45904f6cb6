"""Gradient checkpointing: activations are computed again in the backward pass, not kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hundredfold.backbones.backbone import Backbone
from hundredfold.errors import SettingsError

__all__ = ["kept_statistics", "recompute_activations"]


def recompute_activations(backbone: Backbone) -> None:
    """Let a backbone keep the activations between its blocks only; the same gradients, a third more work.

    Raises:
        SettingsError: timm cannot do so for this architecture.

    Source:
        Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174.

    Examples:
        >>> from hundredfold.backbones.backbone import create_backbone
        >>> backbone = create_backbone("test_vit.r160_in1k", weights="none")
        >>> recompute_activations(backbone)
        >>> backbone.model.grad_checkpointing
        True
    """
    switch = getattr(backbone.model, "set_grad_checkpointing", None)
    try:
        if switch is None:
            raise AssertionError("the architecture has no such switch")
        switch(True)
    except AssertionError as error:  # timm's way to say that an architecture cannot
        raise SettingsError(
            f"this backbone cannot compute its activations again: {error}", where=backbone.name,
            remedy="Leave out --gradient-checkpointing, and lower --batch-size or --image-size instead.",
        ) from error


@contextmanager
def kept_statistics(module: nn.Module) -> Iterator[None]:
    """Within the block BatchNorm keeps its running statistics as they are, whatever runs through it.

    For the backward pass, as what is computed again there was counted once, in the forward pass; and for a
    backbone that is frozen.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        # The layer still sees its buffers, as torch compares what both passes keep; it moves them by nothing.
        # A spare counter in place of none: SyncBatchNorm asks for one.
        layer.momentum, count = 0.0, layer.num_batches_tracked
        layer.num_batches_tracked = None if count is None else torch.empty_like(count)
    try:
        yield
    finally:
        for layer, (momentum, batches) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, batches
