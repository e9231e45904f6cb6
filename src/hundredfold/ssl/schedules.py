"""What changes over a run, as pure functions of the step.

Warm-ups are fractions of the steps, so that a run of twenty minutes and one of two days follow
the same curve (DESIGN decision 6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hundredfold.config import PretrainChoices

__all__ = [
    "Schedule",
    "StepValues",
    "cosine",
    "default_momentum",
    "default_warmup",
    "linear",
    "warmup_cosine",
]


def linear(step: int, steps: int, start: float, end: float) -> float:
    """``start`` at step 0, ``end`` from step ``steps`` on, a straight line between.

    Examples:
        >>> linear(0, 4, 1.0, 3.0), linear(2, 4, 1.0, 3.0), linear(9, 4, 1.0, 3.0)
        (1.0, 2.0, 3.0)
    """
    return end if step >= steps else start + (end - start) * step / steps


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """``start`` at step 0, ``end`` at the last step (``steps - 1``), half a cosine between.

    Examples:
        >>> cosine(0, 5, 1.0, 0.0), round(cosine(2, 5, 1.0, 0.0), 3), cosine(4, 5, 1.0, 0.0)
        (1.0, 0.5, 0.0)
    """
    last = max(steps - 1, 1)
    return end + (start - end) * (1 + math.cos(math.pi * min(step, last) / last)) / 2


def warmup_cosine(step: int, steps: int, warmup: int, peak: float, end: float) -> float:
    """Rise in a line from ``peak / warmup`` at step 0 to ``peak``, then fall as a cosine to ``end``.

    Examples:
        >>> [round(warmup_cosine(s, 6, 2, 1.0, 0.0), 2) for s in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.25, 0.0]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return cosine(step - warmup, steps - warmup, peak, end)


def default_momentum(steps: int) -> float:
    """The teacher's momentum at the start of a run of ``steps`` steps.

    The average reaches back 1/(1 - m) steps. A fixed .9995 reaches back 2,000, more than a short
    run has; a twentieth of the run, bounded to [.99, .9995], lets the teacher leave its start.

    Examples:
        >>> default_momentum(750), default_momentum(10_000), default_momentum(1_000_000)
        (0.99, 0.998, 0.9995)
    """
    return min(0.9995, max(0.99, 1 - 20 / steps))


def default_warmup(steps: int) -> float:
    """The share of a run of ``steps`` steps over which the learning rate rises.

    A twentieth, which was 49 of the 985 steps measured on blood cells; a shorter run keeps the 50 steps,
    up to a fifth of it. AdamW knows the size of the gradients only after some steps (Ma and Yarats 2019,
    arXiv 1910.04209), and until then a new head must not pull good weights astray.

    Examples:
        >>> default_warmup(100), default_warmup(500), default_warmup(9600)
        (0.2, 0.1, 0.05)
    """
    return min(0.2, max(0.05, 50 / steps))


@dataclass(frozen=True)
class StepValues:
    """Everything that holds for one step."""

    learning_rate: float
    weight_decay: float
    momentum: float
    teacher_temperature: float
    last_layer_frozen: bool
    backbone_frozen: bool


@dataclass(frozen=True)
class Schedule:
    """The schedules of a run of a known length.

    Args:
        settings: the peaks, ends and fractions.
        steps: the number of steps of the whole run.
        batch_size: images a step, over all ranks. The peak learning rate is ``learning_rate · batch/256``
            (Goyal et al. 2017, arXiv 1706.02677), or with the rule ``sqrt`` times the root of that (Malladi
            et al. 2022, arXiv 2205.10287, for Adam).
    """

    settings: PretrainChoices
    steps: int
    batch_size: int

    @property
    def momentum(self) -> float:
        """The teacher's momentum at step 0."""
        given = self.settings.momentum
        return default_momentum(self.steps) if given is None else given

    @property
    def warmup(self) -> int:
        """Steps over which the learning rate rises."""
        given = self.settings.warmup
        return round((default_warmup(self.steps) if given is None else given) * self.steps)

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        scale = self.batch_size / 256
        if self.settings.learning_rate_rule == "sqrt":
            scale = math.sqrt(scale)
        return self.settings.learning_rate * scale

    def at(self, step: int) -> StepValues:
        """The values for ``step``, to be set *before* its update."""
        s, steps = self.settings, self.steps
        return StepValues(
            learning_rate=warmup_cosine(
                step, steps, self.warmup, self.peak, min(s.learning_rate_end, self.peak)
            ),
            weight_decay=cosine(step, steps, s.weight_decay, s.weight_decay_end),
            momentum=cosine(step, steps, self.momentum, 1.0),
            teacher_temperature=linear(
                step, round(s.teacher_temperature_warmup * steps),
                s.teacher_temperature, s.teacher_temperature_end,
            ),
            last_layer_frozen=step < s.freeze_last_layer * steps,
            backbone_frozen=step < s.freeze_backbone * steps,
        )
