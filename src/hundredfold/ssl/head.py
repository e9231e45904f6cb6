"""The projection head, in which student and teacher are compared."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from hundredfold.ssl.loss import at_least_float32

__all__ = ["ProjectionHead"]


class ProjectionHead(nn.Module):
    """An MLP, a unit-length bottleneck, and cosines to the prototypes.

    The last layer is weight-normed with every gain fixed to 1 (``norm_last_layer`` of the original),
    so its logits are cosines. Everything from the norm on is computed in float32 or wider, whatever the
    autocast, because logits are divided by temperatures of .02.

    Args:
        dimension: length of the backbone's feature vector.
        prototypes: number of outputs (65,536 in the papers; about a thousand for small sets).
        hidden: width of the MLP.
        bottleneck: length of the vector before the last layer.
        layers: linear layers before the last one (3 in DINO, 4 in Nielsen et al. 2023).

    Source:
        Caron et al. 2021, arXiv 2104.14294, section 3.1 and appendix C.

    Examples:
        >>> head = ProjectionHead(8, prototypes=16, hidden=32, bottleneck=4, layers=3)
        >>> head(torch.randn(5, 8)).shape
        torch.Size([5, 16])
    """

    def __init__(
        self, dimension: int, *, prototypes: int, hidden: int = 2048, bottleneck: int = 256, layers: int = 3
    ) -> None:
        super().__init__()
        widths = [dimension, *[hidden] * (layers - 1), bottleneck]
        steps: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            linear = nn.Linear(before, after)
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            steps += [linear, nn.GELU()]
        self.mlp = nn.Sequential(*steps[:-1])
        self.prototypes = nn.Parameter(functional.normalize(torch.randn(prototypes, bottleneck), dim=-1))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [b, d] to cosines [b, k]."""
        points = self.mlp(features)  # [b, bottleneck]
        with torch.autocast(points.device.type, enabled=False):
            points = functional.normalize(at_least_float32(points), dim=-1)
            directions = functional.normalize(at_least_float32(self.prototypes), dim=-1)
            return functional.linear(points, directions)  # [b, k]
