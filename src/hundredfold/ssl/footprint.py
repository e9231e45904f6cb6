"""How much memory there is, and how much of it a step keeps for the gradient of one image."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from hundredfold.backbones.backbone import Backbone
from hundredfold.ranks import local_ranks, ranks

__all__ = ["bytes_an_image", "device_memory", "shared_memory"]

CGROUP = Path("/sys/fs/cgroup/memory.max")


def bytes_an_image(backbone: Backbone, image_size: int, local_size: int, local_crops: int) -> int:
    """Bytes of float32 activations that autograd keeps for two global crops and the local ones.

    Counted, not estimated: a forward pass over two crops of each size tells which tensors it saves. The
    weights are not among them, and bfloat16 needs about half.

    Examples:
        >>> from hundredfold.backbones.backbone import create_backbone
        >>> backbone = create_backbone("test_efficientnet.r160_in1k", weights="none")
        >>> bytes_an_image(backbone, 64, 32, 0) < bytes_an_image(backbone, 64, 32, 4)
        True
    """
    large = _saved_bytes(backbone, image_size)
    return large + (_saved_bytes(backbone, local_size) * local_crops // 2 if local_crops else 0)


def device_memory(device: str) -> int | None:
    """Bytes of the GPU, or of the machine (or what its container may use of it); ``None`` if unknown.

    The whole memory, not what is free at the moment: two calls, and two ranks, get the same answer.
    """
    if device == "cuda":
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    limit = CGROUP.read_text(encoding="ascii").strip() if CGROUP.is_file() else "max"
    return min(whole, int(limit)) if limit.isdecimal() else whole


def shared_memory(device: str) -> int | None:
    """Bytes of all devices that share a batch: those of each rank's GPU, or of each machine."""
    one = device_memory(device)
    devices = ranks() // local_ranks() if device == "cpu" else ranks()
    return None if one is None else one * devices


def _saved_bytes(backbone: Backbone, size: int) -> int:
    """Of two crops of ``size`` px; in evaluation mode, so that no statistics move and nothing is drawn."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    training = backbone.training
    backbone.eval()
    crops = torch.zeros(2, size, size, 3, dtype=torch.uint8, device=backbone.mean_255.device)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            backbone(backbone.normalise(crops))
    finally:
        backbone.train(training)
    return sum(saved.values())
