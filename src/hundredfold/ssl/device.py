"""Where to train: the device, and Lightning Fabric on it."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch

from hundredfold.process import cores
from hundredfold.ranks import local_ranks, ranks
from hundredfold.ssl.arrangement import Precision
from hundredfold.ssl.fabric import DDPStrategy, Fabric, LightningEnvironment

__all__ = ["create_fabric", "default_image_size", "describe_hardware", "device_type"]

FABRIC_PRECISION: Mapping[Precision, Literal["32-true", "bf16-mixed", "64-true"]] = {
    "float32": "32-true", "bfloat16": "bf16-mixed", "float64": "64-true",
}

#: Largest global crop that is trained by default, in px: what a CPU does in an hour, and the papers' size.
CPU_IMAGE_SIZE = 112
GPU_IMAGE_SIZE = 224


def create_fabric(precision: Precision) -> Fabric:
    """One process on the best device, or one rank of those that torchrun started."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells the precision, and so do we
    arithmetic = FABRIC_PRECISION[precision]
    if ranks() == 1:
        # Named, as Fabric else looks for Slurm's variables and refuses one process in a job of several tasks.
        return Fabric(accelerator="auto", devices=1, precision=arithmetic, plugins=LightningEnvironment())
    # The bfloat16 gradient of a kernel with one input channel has other strides than the kernel, but only in
    # the axes that are 1 long, on which no place in memory depends. DDP warns of a slow copy; it is none.
    warnings.filterwarnings("ignore", r"(?s)Grad strides do not match bucket view.*?sizes\(\) = \[[^]]*\b1\b")
    # Buffers need no broadcast: BatchNorm and centre are computed from the whole batch on every rank.
    shared = DDPStrategy(forward_sync_buffers=False, gradient_as_bucket_view=True)
    fabric = Fabric(
        accelerator=device_type(), devices=local_ranks(), num_nodes=ranks() // local_ranks(), strategy=shared,
        precision=arithmetic,
    )
    fabric.launch()
    return fabric


def device_type() -> str:
    """``cuda``, ``mps`` or ``cpu``: what Fabric will choose."""
    if torch.cuda.is_available():
        return "cuda"
    # The ranks of a Mac meet on its CPU: torch has no collectives for mps.
    return "mps" if torch.backends.mps.is_available() and ranks() == 1 else "cpu"


def describe_hardware() -> dict[str, str | int]:
    """What the training ran on, for reports: the device's name, how many processes, and a process's cores."""
    kind = device_type()
    name = torch.cuda.get_device_name() if kind == "cuda" else _processor()
    return {"kind": kind, "device": name, "processes": ranks(), "cores": cores()}


def _processor() -> str:
    """The processor as the system names it: Linux tells more than Python does."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def default_image_size(stored: int, device: str) -> int:
    """Side of a global crop where the user names none: the stored images', within what the device can do.

    A multiple of 16 px, so that patches of 8 and 16 px fit.

    Examples:
        >>> default_image_size(256, "cpu"), default_image_size(256, "cuda"), default_image_size(80, "cpu")
        (112, 224, 80)
    """
    limit = CPU_IMAGE_SIZE if device == "cpu" else GPU_IMAGE_SIZE
    return max(16, min(stored, limit) // 16 * 16)
