"""The maps of a network's last stages beside its features."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from hundredfold.errors import SettingsError

__all__ = ["WithStages", "dimension_with_stages", "stages_of"]

PROBE = (1, 3, 64, 64)


class WithStages(nn.Module):
    """The features of a network, and beside them the mean over each map of its last stages.

    What the last layers throw away for the sake of the classes they were trained on, earlier ones still
    have; a last map whose mean the features are is not taken twice (docs/beyond.md).

    Args:
        model: a timm model [b,3,h,w] → [b,d].
        stages: how many of the last ones.

    Raises:
        SettingsError: the model has fewer stages, or does not tell them apart.

    Examples:
        >>> import timm
        >>> model = WithStages(timm.create_model("resnet10t", num_classes=0), stages=3).eval()
        >>> model(torch.zeros(2, 3, 64, 64)).shape  # 512 + 128 + 256
        torch.Size([2, 896])
    """

    def __init__(self, model: nn.Module, stages: int) -> None:
        super().__init__()
        there = stages_of(model)
        if there < stages:
            raise SettingsError(
                f"expected a backbone of {stages} stages or more, found {there} in {type(model).__name__}",
                where="stages", remedy="Ask for fewer, or --stages 0 for the features alone.",
            )
        self.model, self.stages = model, stages

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [b,3,h,w] → [b,d + the channels of the stages]."""
        model = cast("Any", self.model)
        last, maps = model.forward_intermediates(images, indices=self.stages)
        features = model.forward_head(last, pre_logits=True)
        own = [one for one in maps if one.shape != last.shape]
        return torch.cat([features, *(one.mean((2, 3)) for one in own)], dim=1)


def stages_of(model: nn.Module) -> int:
    """How many stages a model tells apart; none if it does not give their maps.

    Examples:
        >>> stages_of(nn.Linear(1, 1))
        0
    """
    if not hasattr(model, "forward_intermediates"):
        return 0
    return len(cast("list[Any]", getattr(model, "feature_info", [])))


@torch.inference_mode()
def dimension_with_stages(model: nn.Module, stages: int) -> int:
    """The length of a vector that :class:`WithStages` gives; the model is left as it was, layer by layer.

    A teacher that is being trained has layers in either mode.
    """
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        return int(WithStages(model.eval(), stages)(next(model.parameters()).new_zeros(PROBE)).shape[1])
    finally:
        for layer, mode in modes:
            layer.training = mode
