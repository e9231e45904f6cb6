"""AdamW with the papers' parameter groups, and clipping by the size of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from timm.optim._param_groups import param_groups_layer_decay
from timm.utils.agc import adaptive_clip_grad
from torch import nn
from torch.optim import AdamW

from hundredfold.backbones.backbone import Backbone
from hundredfold.ssl.dino import DINO
from hundredfold.ssl.schedules import StepValues

__all__ = ["clip_gradients", "create_optimiser", "parameter_groups", "prepare_step"]


def parameter_groups(module: nn.Module, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Weights that decay, and biases and other 1-d parameters, which do not; a pair for each learning rate.

    Args:
        module: the student.
        layer_decay: the learning rate of each layer of a :class:`Backbone` in it as a share of the next
            one's; its last layer, and what is no backbone, learn at the full rate. 1: all do.

    Returns:
        groups for an optimiser; ``scale`` is the share of the learning rate.

    Source:
        Clark et al. 2020, arXiv 2003.10555, section 3.2; the layers are those of timm.

    Examples:
        >>> [len(group["params"]) for group in parameter_groups(nn.Linear(2, 3))]
        [1, 1]
    """
    scales = _layer_scales(module, layer_decay) if layer_decay < 1 else {}
    groups = {(1.0, True): _group(1.0, decays=True), (1.0, False): _group(1.0, decays=False)}
    for parameter in module.parameters():
        if parameter.requires_grad:
            scale, decays = scales.get(parameter, 1.0), parameter.ndim > 1
            groups.setdefault((scale, decays), _group(scale, decays=decays))["params"].append(parameter)
    return list(groups.values())


def create_optimiser(student: nn.Module, layer_decay: float = 1.0) -> AdamW:
    """Fused AdamW; learning rate and decay are set before every step by :func:`prepare_step`."""
    return AdamW(parameter_groups(student, layer_decay), lr=0.0, weight_decay=0.0, fused=True)


def prepare_step(optimiser: AdamW, values: StepValues) -> None:
    """Set learning rate and weight decay for the update that comes next."""
    for group in optimiser.param_groups:
        group["lr"] = values.learning_rate * group["scale"]
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


def _group(scale: float, *, decays: bool) -> dict[str, Any]:
    return {"params": [], "decays": decays, "scale": scale, "weight_decay": 0.0}


def _layer_scales(module: nn.Module, layer_decay: float) -> dict[nn.Parameter, float]:
    """Parameter of a backbone → its share of the learning rate."""
    backbones = [part.model for part in module.modules() if isinstance(part, Backbone)]
    return {
        parameter: float(group["lr_scale"])
        for model in backbones for group in param_groups_layer_decay(model, layer_decay=layer_decay)
        for parameter in group["params"]
    }
