"""Where to train: the device, and Lightning Fabric on it."""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric

from hundredfold.ssl.arrangement import Precision

__all__ = ["create_fabric", "default_image_size", "device_type"]

#: Largest global crop that is trained by default, in px: what a CPU does in an hour, and the papers' size.
CPU_IMAGE_SIZE = 112
GPU_IMAGE_SIZE = 224


def create_fabric(precision: Precision) -> Fabric:
    """One process on the best device, or one rank of those that torchrun started."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells the precision, and so do we
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    return Fabric(
        accelerator="auto", devices="auto" if ranks > 1 else 1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )


def device_type() -> str:
    """``cuda``, ``mps`` or ``cpu``: what Fabric will choose."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def default_image_size(stored: int, device: str) -> int:
    """Side of a global crop where the user names none: the stored images', within what the device can do.

    A multiple of 16 px, so that patches of 8 and 16 px fit.

    Examples:
        >>> default_image_size(256, "cpu"), default_image_size(256, "cuda"), default_image_size(80, "cpu")
        (112, 224, 80)
    """
    limit = CPU_IMAGE_SIZE if device == "cpu" else GPU_IMAGE_SIZE
    return max(16, min(stored, limit) // 16 * 16)
