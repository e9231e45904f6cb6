"""In which arithmetic, memory format and with which attention kernel to train: a table of measured rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from hundredfold.backbones.attention import fuse_attention_from, has_attention
from hundredfold.backbones.backbone import Backbone
from hundredfold.backbones.convolutions import use_cpu_convolutions

__all__ = [
    "RULES", "Arrangement", "Rule", "arrange", "backbone_kind", "candidates", "choose_arrangement",
    "why_arranged",
]

Precision = Literal["float32", "bfloat16", "float64"]
Asked = Literal["auto", "float32", "bfloat16", "float64"]
Kind = Literal["depthwise", "convolutional", "transformer"]
MemoryFormat = Literal["channels_last", "contiguous"]

#: Tokens that no image has: plain products always.
NEVER = 10**9


@dataclass(frozen=True)
class Arrangement:
    """How a step is computed; what is computed stays the same but for rounding.

    Args:
        precision: of the backbone and the head's layers; weights, loss and centre are float32 always.
        memory_format: of images, maps and convolutional weights.
        fused_from: tokens from which attention takes the fused kernel; below, plain products.
    """

    precision: Precision
    memory_format: MemoryFormat = "channels_last"
    fused_from: int = 0

    def __str__(self) -> str:
        kernel = {0: "fused attention", NEVER: "plain attention"}
        attention = kernel.get(self.fused_from, f"attention fused from {self.fused_from} tokens")
        return f"{self.precision}, {self.memory_format.replace('_', ' ')}, {attention}"


class Rule(NamedTuple):
    """One line of the table: on this device, for this kind of backbone, at best this arrangement."""

    device: str
    kind: Kind
    arrangement: Arrangement
    why: str


# Ratios on a CPU: whole steps on two cores with AVX-512 bf16 (benchmarks/pretrain, torch 2.14.1).
RULES = (
    Rule("cuda", "transformer", Arrangement("bfloat16"), "tensor cores, flash attention"),
    Rule("cuda", "convolutional", Arrangement("bfloat16"), "tensor cores"),
    Rule("cuda", "depthwise", Arrangement("bfloat16"), "half the traffic to memory"),
    Rule("cpu", "transformer", Arrangement("bfloat16", fused_from=NEVER),
         "2.9x float32 (ViT-tiny, 224/96 px); the fused kernel is 2 to 8 times slower up to 400 tokens"),
    Rule("cpu", "convolutional", Arrangement("bfloat16"), "1.9x float32 (ResNet-18, 224/96 px)"),
    Rule("cpu", "depthwise", Arrangement("bfloat16"), "1.6x float32 (EfficientNet-Lite0, 112/56 px)"),
)
#: Where the table says nothing, or the device has no bfloat16 of its own.
PLAIN = Arrangement("float32")
#: float32 attention on a CPU: plain products are 1.3 to 2 times quicker up to here, the fused kernel beyond.
FLOAT32_FUSED_FROM = 128


def backbone_kind(module: nn.Module) -> Kind:
    """Sort a backbone by the layers its time goes to.

    Examples:
        >>> backbone_kind(nn.Conv2d(4, 4, 3, groups=4)), backbone_kind(nn.Linear(2, 2))
        ('depthwise', 'transformer')
    """
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    if has_attention(module) or not convolutions:
        return "transformer"
    return "depthwise" if any(m.groups > 1 for m in convolutions) else "convolutional"


def choose_arrangement(module: nn.Module, device: str, asked: Asked) -> Arrangement:
    """The table's arrangement for a backbone on a device, in the arithmetic that was asked for."""
    kind = backbone_kind(module)
    found = next((rule.arrangement for rule in RULES if (rule.device, rule.kind) == (device, kind)), PLAIN)
    if asked == "auto":
        asked = found.precision if has_bfloat16(device) else "float32"
    if asked == "float32" and device == "cpu" and kind == "transformer":
        return Arrangement("float32", fused_from=FLOAT32_FUSED_FROM)
    return Arrangement(asked, found.memory_format, found.fused_from)


def why_arranged(module: nn.Module, device: str, asked: Asked) -> str:
    """Why :func:`choose_arrangement` chose as it did, in a few words.

    Examples:
        >>> why_arranged(nn.Linear(2, 2), "cpu", "float32")
        'as asked'
    """
    if asked != "auto":
        return "as asked"
    kind = backbone_kind(module)
    why = next((rule.why for rule in RULES if (rule.device, rule.kind) == (device, kind)), "")
    return why if why and has_bfloat16(device) else "this device has no bfloat16 of its own"


def candidates(module: nn.Module, device: str, asked: Asked) -> list[Arrangement]:
    """All arrangements that ``--autotune`` times for a backbone, the table's own first."""
    first = choose_arrangement(module, device, asked)
    precisions: list[Precision] = [asked] if asked != "auto" else ["float32", "bfloat16"]
    if asked == "auto" and not has_bfloat16(device):
        precisions = ["float32"]
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    kernels = [0, NEVER] if has_attention(module) else [0]
    others = [Arrangement(p, f, k) for p in precisions for f in formats for k in kernels]
    return [first, *(one for one in others if one != first)]


def arrange(backbone: Backbone, device: str, arrangement: Arrangement) -> None:
    """Lay the weights out, and take the faster and safer kernels, in place."""
    last = arrangement.memory_format == "channels_last"
    backbone.memory_format = torch.channels_last if last else torch.contiguous_format
    backbone.to(memory_format=backbone.memory_format)
    fuse_attention_from(backbone, arrangement.fused_from)
    if device == "cpu":
        use_cpu_convolutions(backbone)


def has_bfloat16(device: str) -> bool:
    """Whether the device computes in bfloat16 itself: one that emulates it is slower than in float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    )
