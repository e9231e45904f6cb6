"""The method: a student learns to say of every crop what its own moving average says of another."""

from __future__ import annotations

import copy
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hundredfold.backbones.backbone import Backbone
from hundredfold.config import FittedChoices
from hundredfold.ssl.head import ProjectionHead
from hundredfold.ssl.loss import Centre, dino_loss, koleo, sinkhorn

__all__ = ["DINO", "Branch", "Outputs"]


class Branch(nn.Module):
    """A backbone with its projection head: the student, or the teacher."""

    def __init__(self, backbone: Backbone, head: ProjectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, crops: Tensor, *, frozen: bool = False) -> tuple[Tensor, Tensor]:
        """Uint8 crops [n, h, w, 3] → features [n, d] and logits [n, k]; ``frozen``: no gradient below."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            features = self.backbone(self.backbone.normalise(crops))
        return features, self.head(features)


class Outputs(NamedTuple):
    """What one batch gave: the loss to descend, and what the monitor looks at."""

    loss: Tensor
    student_logits: Tensor  # [s, b, k]
    teacher_logits: Tensor  # [2, b, k]
    targets: Tensor  # [2, b, k]
    features: Tensor  # [b, d], the teacher's, of the first global view


class DINO(nn.Module):
    """Student, teacher and centre; equal at the start, head included.

    BatchNorm: the teacher normalises its crops with the statistics of the batch, as the student
    does, or with its running ones (``teacher_batchnorm``). In either case its running statistics are the
    moving average of the *student's*, never its own.

    Args:
        backbone: the initial weights; becomes the student's.
        settings: the head, the temperatures, the centring.

    Source:
        Caron et al. 2021, arXiv 2104.14294, algorithm 1.
    """

    def __init__(self, backbone: Backbone, settings: FittedChoices) -> None:
        super().__init__()
        self.settings = settings
        head = ProjectionHead(
            backbone.dimension,
            prototypes=settings.prototypes,
            hidden=settings.head_hidden,
            bottleneck=settings.head_bottleneck,
            layers=settings.head_layers,
        )
        self.student = Branch(backbone, head)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.centre = Centre(settings.prototypes, settings.centre_momentum)
        self.train()

    def train(self, mode: bool = True) -> DINO:
        """Set the mode; the teacher never drops paths, and never updates its running statistics."""
        super().train(mode)
        _set_teacher_mode(self.teacher, self.settings.teacher_batchnorm if mode else "running")
        return self

    def forward(
        self, large: Tensor, small: Tensor, teacher_temperature: float, backbone_frozen: bool = False
    ) -> Outputs:
        """Compare the views of a batch.

        Args:
            large: uint8 global crops [2, b, g, g, 3].
            small: uint8 local crops [l, b, m, m, 3]; l may be 0.
            teacher_temperature: of this step.
            backbone_frozen: leave out the student's backward pass below the head.
        """
        images = large.shape[1]
        with torch.no_grad():
            teacher_features, teacher_logits = self.teacher(large.flatten(0, 1))
            teacher_logits = teacher_logits.unflatten(0, (2, images))  # [2, b, k]
            if self.settings.centring == "sinkhorn":
                targets = sinkhorn(teacher_logits, teacher_temperature)
            else:
                targets = self.centre.targets(teacher_logits, teacher_temperature)
                self.centre.update(teacher_logits)
        features, logits = self.student(large.flatten(0, 1), frozen=backbone_frozen)
        parts = [logits.unflatten(0, (2, images))]
        if len(small):
            local = self.student(small.flatten(0, 1), frozen=backbone_frozen)[1]
            parts.append(local.unflatten(0, (len(small), images)))
        student_logits = torch.cat(parts)  # [2 + l, b, k]
        loss = dino_loss(student_logits, targets, self.settings.student_temperature)
        if self.settings.koleo:
            spread = [koleo(view) for view in features.unflatten(0, (2, images))]
            loss = loss + self.settings.koleo * torch.stack(spread).sum()
        return Outputs(loss, student_logits.detach(), teacher_logits, targets, teacher_features[:images])

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move every weight *and buffer* of the teacher towards the student's: t ← m·t + (1 - m)·s."""
        pairs = [
            *zip(self.teacher.parameters(), self.student.parameters(), strict=True),
            *zip(self.teacher.buffers(), self.student.buffers(), strict=True),
        ]
        floating = [(t.data, s.data) for t, s in pairs if t.is_floating_point()]
        torch._foreach_lerp_([t for t, _ in floating], [s for _, s in floating], 1 - momentum)
        for teacher, student in pairs:
            if not teacher.is_floating_point():
                teacher.copy_(student)


def _set_teacher_mode(teacher: nn.Module, statistics: Literal["batch", "running"]) -> None:
    teacher.eval()
    for module in teacher.modules():
        if isinstance(module, _BatchNorm):
            # Momentum 0 keeps the running statistics as they are while the batch's are used.
            module.momentum = 0.0
            module.train(statistics == "batch")
