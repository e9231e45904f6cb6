"""AdamW with the papers' parameter groups, and clipping by the size of the weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from timm.utils.agc import adaptive_clip_grad
from torch import nn
from torch.optim import AdamW

from hundredfold.ssl.dino import DINO
from hundredfold.ssl.schedules import StepValues

__all__ = ["clip_gradients", "create_optimiser", "parameter_groups", "prepare_step"]


def parameter_groups(module: nn.Module) -> list[dict[str, object]]:
    """Weights that decay, and biases and other 1-d parameters, which do not.

    Examples:
        >>> [len(group["params"]) for group in parameter_groups(nn.Linear(2, 3))]
        [1, 1]
    """
    decayed = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": decayed, "decays": True}, {"params": others, "decays": False, "weight_decay": 0.0}]


def create_optimiser(student: nn.Module) -> AdamW:
    """Fused AdamW; learning rate and decay are set before every step by :func:`prepare_step`."""
    return AdamW(parameter_groups(student), lr=0.0, weight_decay=0.0, fused=True)


def prepare_step(optimiser: AdamW, values: StepValues) -> None:
    """Set learning rate and weight decay for the update that comes next."""
    for group in optimiser.param_groups:
        group["lr"] = values.learning_rate
        group["weight_decay"] = values.weight_decay if group["decays"] else 0.0


def clip_gradients(dino: DINO, values: StepValues, clip: float) -> None:
    """Clip, and drop the gradients of what is frozen in this step.

    Source:
        adaptive clipping: Brock et al. 2021, arXiv 2102.06171, section 4.1 (timm's implementation).
    """
    if clip:
        adaptive_clip_grad(  # type: ignore[no-untyped-call]
            _with_gradient(dino.student.parameters()), clip_factor=clip
        )
    if values.last_layer_frozen:
        dino.student.head.prototypes.grad = None
    if values.backbone_frozen:
        for parameter in dino.student.backbone.parameters():
            parameter.grad = None


def _with_gradient(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    return [p for p in parameters if p.grad is not None]
