"""Which attention kernel runs, by the number of tokens it meets: the same values, one kernel or the other."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["fuse_attention_from", "has_attention"]


def fuse_attention_from(module: nn.Module, tokens: int) -> int:
    """Let timm's attention layers use torch's fused kernel from so many tokens on, plain products below.

    The global and the local crops of one step meet the same layer with different numbers of tokens, so the
    choice is made anew in every call. Names, parameters and values stay the same. A layer that timm itself
    does not fuse (its experimental ones, or all under ``TIMM_FUSED_ATTN=0``) is never fused here.

    Args:
        module: changed in place.
        tokens: the least number for the fused kernel; 0 fuses always.

    Returns:
        how many layers were changed.

    Examples:
        >>> from hundredfold.backbones.backbone import create_backbone
        >>> fuse_attention_from(create_backbone("test_vit.r160_in1k", weights="none"), tokens=100)
        6
    """
    layers = [layer for layer in module.modules() if _chooses(layer)]

    for layer in layers:
        if not hasattr(layer, "fused_from"):
            layer.register_forward_pre_hook(_choose)
        layer.fused_from = tokens  # type: ignore[assignment]
    return len(layers)


def has_attention(module: nn.Module) -> bool:
    """Whether any layer attends."""
    return any(
        hasattr(layer, "fused_attn") or isinstance(layer, nn.MultiheadAttention) or _of_transformers(layer)
        for layer in module.modules()
    )


def _of_transformers(layer: nn.Module) -> bool:
    """Whether it is an attention layer of that library, which has no class of its own for them."""
    kind = type(layer)
    return kind.__module__.startswith("transformers.") and kind.__name__.endswith("Attention")


def _chooses(layer: nn.Module) -> bool:
    return hasattr(layer, "fused_from") or getattr(layer, "fused_attn", None) is True


def _choose(layer: nn.Module, given: tuple[Any, ...]) -> None:
    layer.fused_attn = given[0].shape[-2] >= layer.fused_from
