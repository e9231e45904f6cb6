"""Where and in which arithmetic to train: a table of measured rules, and Lightning Fabric."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from hundredfold.backbones.convolutions import use_cpu_convolutions

__all__ = [
    "RULES",
    "PrecisionRule",
    "arrange",
    "backbone_kind",
    "choose_precision",
    "create_fabric",
    "default_image_size",
    "device_type",
]

Precision = Literal["float32", "bfloat16"]
Kind = Literal["depthwise", "convolutional", "transformer"]

#: Largest global crop that is trained by default, in px: what a CPU does in an hour, and the papers' size.
CPU_IMAGE_SIZE = 112
GPU_IMAGE_SIZE = 224


@dataclass(frozen=True)
class PrecisionRule:
    """One line of the table: on this device, for this kind of backbone, this arithmetic."""

    device: str
    kind: Kind
    precision: Precision
    why: str


RULES = (
    PrecisionRule("cuda", "transformer", "bfloat16", "tensor cores"),
    PrecisionRule("cuda", "convolutional", "bfloat16", "tensor cores"),
    PrecisionRule("cuda", "depthwise", "bfloat16", "half the memory traffic, which limits depthwise layers"),
    PrecisionRule("cpu", "transformer", "bfloat16", "2.0x with AVX-512 bf16 or AMX"),
    PrecisionRule("cpu", "convolutional", "bfloat16", "2.4x for ResNet-18, channels last"),
    PrecisionRule("cpu", "depthwise", "bfloat16", "1.3x for EfficientNet-Lite0, gradients in float32"),
)


def backbone_kind(module: nn.Module) -> Kind:
    """Sort a backbone by the layers its time goes to.

    Examples:
        >>> backbone_kind(nn.Conv2d(4, 4, 3, groups=4)), backbone_kind(nn.Linear(2, 2))
        ('depthwise', 'transformer')
    """
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    if any(isinstance(m, nn.MultiheadAttention | nn.LayerNorm) for m in module.modules()) or not convolutions:
        return "transformer"
    return "depthwise" if any(m.groups > 1 for m in convolutions) else "convolutional"


def choose_precision(
    module: nn.Module, device: str, asked: Literal["auto", "float32", "bfloat16"]
) -> Precision:
    """The arithmetic for a backbone on a device: what was asked for, or the table's."""
    if asked != "auto":
        return asked
    if not _has_bfloat16(device):
        return "float32"
    kind = backbone_kind(module)
    found = [rule.precision for rule in RULES if (rule.device, rule.kind) == (device, kind)]
    return found[0] if found else "float32"


def create_fabric(precision: Precision) -> Fabric:
    """One process on the best device, or one rank of those that torchrun started."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells the precision, and so do we
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    return Fabric(
        accelerator="auto", devices="auto" if ranks > 1 else 1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )


def arrange(module: nn.Module, device: str) -> None:
    """Lay convolutional weights out channels-last, and take the faster and safer gradients on a CPU.

    Values stay the same; one core did the pointwise layers of EfficientNet-Lite0 1.6 times faster.
    """
    if backbone_kind(module) == "transformer":
        return
    module.to(memory_format=torch.channels_last)
    if device == "cpu":
        use_cpu_convolutions(module)


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


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without AVX-512 bf16 or AMX a CPU emulates bf16, several times slower than float32.
    return device == "cpu" and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    )
