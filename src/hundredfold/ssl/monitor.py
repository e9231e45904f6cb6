"""Is it learning? Entropies, spread and rank of a batch, and the alarms they raise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from hundredfold.ssl.dino import Outputs
from hundredfold.ssl.loss import entropy

__all__ = ["Alarms", "Vitals", "look"]

#: A teacher entropy above this share of log k means that every prototype is as likely as another.
UNIFORM = 0.97
#: A marginal entropy below this share of log k means that all images share one prototype.
SINGLE = 0.05
#: A spread below this means that all images have one feature vector.
POINT = 0.02


@dataclass(frozen=True)
class Vitals:
    """What the monitor saw in one batch. Entropies are in nats, at most ``max_entropy`` = log k.

    ``teacher_entropy`` is that of one image's target, ``marginal_entropy`` that of the batch's mean
    target (at most log of the batch's targets); ``spread`` is 1 for directions drawn at random and 0 for
    a single point; ``rank`` is the effective rank of the features.
    """

    teacher_entropy: float
    student_entropy: float
    marginal_entropy: float
    max_entropy: float
    spread: float
    rank: float

    def row(self) -> dict[str, float]:
        """As a part of a line of ``metrics.jsonl``."""
        return asdict(self)

    @classmethod
    def of(cls, row: Mapping[str, float]) -> Self | None:
        """Those of a line of ``metrics.jsonl``, or ``None`` where nothing was measured."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: row[name] for name in names}) if names[0] in row else None


@torch.no_grad()
def look(outputs: Outputs, student_temperature: float) -> Vitals:
    """Measure one batch.

    Source:
        effective rank: Roy and Vetterli 2007, "The effective rank", EUSIPCO.
    """
    features = functional.normalize(outputs.features.float(), dim=-1)  # [b, d]
    values = torch.linalg.svdvals(features - features.mean(0))
    share = values / values.sum().clamp_min(1e-12)
    student = functional.softmax(outputs.student_logits[:2].float() / student_temperature, dim=-1)
    return Vitals(
        teacher_entropy=entropy(outputs.targets).mean().item(),
        student_entropy=entropy(student).mean().item(),
        marginal_entropy=entropy(outputs.targets.mean((0, 1))).item(),
        max_entropy=math.log(outputs.targets.shape[-1]),
        spread=_spread(features),
        rank=entropy(share).exp().item(),
    )


def _spread(directions: Tensor) -> float:
    """Square root of one minus the squared length of the mean direction."""
    return (1 - directions.mean(0).square().sum()).clamp_min(0).sqrt().item()


class Alarms:
    """Turns a series of :class:`Vitals` into at most one warning of each kind.

    Args:
        patience: steps for which a state must last. The start of every run is uniform.
    """

    def __init__(self, patience: int = 150) -> None:
        self.patience = patience
        self.raised: dict[str, str] = {}
        self._since: dict[str, int] = {}

    def check(self, step: int, vitals: Vitals) -> str | None:
        """The sentence of an alarm that is raised at this step for the first time, or ``None``."""
        states = {
            "uniform": vitals.teacher_entropy > UNIFORM * vitals.max_entropy,
            "single": vitals.marginal_entropy < SINGLE * vitals.max_entropy,
            "point": vitals.spread < POINT,
        }
        for name, present in states.items():
            if not present:
                self._since.pop(name, None)
                continue
            since = self._since.setdefault(name, step)
            if step - since >= self.patience and name not in self.raised:
                self.raised[name] = _SENTENCES[name].format(step=step, **vitals.row())
                return self.raised[name]
        return None


_SENTENCES = {
    "uniform": (
        "step {step}: the teacher says nothing (entropy {teacher_entropy:.2f} of {max_entropy:.2f}): uniform "
        "collapse. Lower --teacher-temperature-end, or take fewer --prototypes"
    ),
    "single": (
        "step {step}: all images share one prototype (entropy of the mean target {marginal_entropy:.2f} of "
        "{max_entropy:.2f}). Use --centring sinkhorn, or raise --teacher-temperature-end"
    ),
    "point": (
        "step {step}: all images have nearly the same features (spread {spread:.3f}). Lower --learning-rate, "
        "or add --koleo 0.1"
    ),
}
