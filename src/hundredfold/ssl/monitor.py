"""Is it learning? Entropies, agreement and spread of a batch, and the alarms that a run's rows raise."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from hundredfold.ssl.dino import Outputs
from hundredfold.ssl.loss import entropy

__all__ = ["Alarms", "Pulse", "look", "rankme"]

#: A teacher entropy above this share of log k means that every prototype is as likely as another.
UNIFORM = 0.97
#: The targets of all images are one and the same if their mean has less than this share of log k more entropy
#: than each has by itself, and is not near the uniform one, as at the start of a run. Healthy runs of the
#: smallest networks kept .18 and more; without centring it fell to .02, the mean's entropy to .65.
SAME, SPREAD_OUT = 0.1, 0.9
#: A spread below this means that all images have one feature vector.
POINT = 0.02
#: An effective rank below this, twice in a row: less than two directions tell any image from another. Healthy
#: runs of the smallest networks fell to 3.4, collapsed ones to 1.6 at the most.
DIRECTIONS = 2
#: A loss whose mean over so many steps is this share of log k above its lowest has risen for good.
WINDOW, RISE = 25, 0.1


@torch.no_grad()
def look(outputs: Outputs, student_temperature: float) -> dict[str, float | Tensor]:
    """Measure one batch; nothing waits for the device.

    Returns:
        a part of a row of ``metrics.jsonl``; the tensors hold one number each. Entropies are in nats, at most
        ``max_entropy`` = log k: ``teacher_entropy`` that of one image's target, ``marginal_entropy`` that
        of the batch's mean target (at most log of the batch's targets). ``agreement`` is the share of
        images whose most likely prototype is the same for the student, who saw one global view, and the
        teacher, who saw the other. ``spread`` is 1 for directions drawn at random and 0 for a single point.

    Source:
        entropies as signs of collapse: Caron et al. 2021, arXiv 2104.14294, section 5.3. Agreement is the
        student's accuracy at naming the teacher's cluster; the loss (there, equation 3) is its smooth form.
    """
    directions = functional.normalize(outputs.features.float(), dim=-1)  # [b, d]
    logits = outputs.student_logits[:2]  # [2, b, k]
    student = functional.softmax(logits.float() / student_temperature, dim=-1)
    agreed = logits.argmax(-1) == outputs.targets.flip(0).argmax(-1)  # [2, b]
    return {
        "teacher_entropy": entropy(outputs.targets).mean(),
        "student_entropy": entropy(student).mean(),
        "marginal_entropy": entropy(outputs.targets.mean((0, 1))),
        "max_entropy": math.log(outputs.targets.shape[-1]),
        "agreement": agreed.float().mean(),
        "spread": (1 - directions.mean(0).square().sum()).clamp_min(0).sqrt(),
    }


@torch.no_grad()
def rankme(features: Tensor, epsilon: float = 1e-7) -> float:
    """The effective rank of features [n, d]: from 1 to min(n, d); without labels, it goes with accuracy.

    Exponential of the entropy of the singular values as shares of their sum. The features are neither
    centred nor scaled. It depends on n, so compare it over the same images only.

    Source:
        Garrido et al. 2023, "RankMe", arXiv 2210.02885, equations 1 and 2, with their epsilon for float32.

    Examples:
        >>> round(rankme(torch.eye(5)), 3), round(rankme(torch.ones(5, 3)), 3)
        (5.0, 1.0)
    """
    values = torch.linalg.svdvals(features.float())
    share = values / values.sum().clamp_min(1e-12) + epsilon
    return float(entropy(share).exp())


class Alarms:
    """Turns the rows of ``metrics.jsonl`` into at most one warning of each kind.

    It depends on the rows alone, so that a resume that reads them again knows what was said.

    The spread is that of a batch: BatchNorm drives its features apart where the encoder, which normalises by
    running statistics, sees one and the same in all images. RankMe is measured on the encoder, so it shows
    this, though only at the eight moments of the watch (``ssl/watch.py``). It must also be under half of its
    value at the start, as so few images may be watched that it cannot be high.

    Args:
        restart: a step from which the loss is another one (the crops are larger): its lowest is sought anew.
        patience: steps for which a state must last. The start of every run is uniform; no healthy one has the
            same target for all images, so a third of it is enough for that.
    """

    def __init__(self, restart: int = 0, patience: int = 150) -> None:
        self.restart = restart
        self.patience = {"same": patience // 3, "uniform": patience, "point": patience, "diverging": patience}
        self.raised: dict[str, str] = {}
        self._since: dict[str, int] = {}
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._lowest = math.inf, 0.0  # loss, and the target's entropy then
        self._ranks: list[float] = []

    def check(self, row: Mapping[str, float]) -> str | None:
        """The sentence of an alarm that is raised by this row for the first time, or ``None``."""
        if row["step"] == self.restart:
            self._losses.clear()
            self._lowest = math.inf, 0.0
        self._losses.append(row["loss"])
        present = [*self._flat(row), *self._lasting(row)]
        for name in present:
            if name not in self.raised:
                self.raised[name] = _SENTENCES[name].format(**row)
                return self.raised[name]
        return None

    def _flat(self, row: Mapping[str, float]) -> list[str]:
        """Whether the encoder was measured now and the time before, and both times found flat."""
        if "rankme" not in row:
            return []
        self._ranks.append(row["rankme"])
        limit = min(DIRECTIONS, self._ranks[0] / 2)
        return ["flat"] if max(self._ranks[-2:]) < limit else []

    def _lasting(self, row: Mapping[str, float]) -> list[str]:
        """The states that are older than ``patience``, if the row is one of a look at the batch."""
        if not row.keys() >= _SIGNS:
            return []
        limit = row["max_entropy"]
        states = {
            "uniform": row["teacher_entropy"] > UNIFORM * limit,
            "same": (
                row["marginal_entropy"] - row["teacher_entropy"] < SAME * limit
                and row["marginal_entropy"] < SPREAD_OUT * limit
            ),
            "point": row["spread"] < POINT,
            "diverging": self._rise(row["teacher_entropy"]) > RISE * limit,
        }
        step = int(row["step"])
        self._since = {name: self._since.get(name, step) for name, present in states.items() if present}
        return [name for name, since in self._since.items() if step - since >= self.patience[name]]

    def _rise(self, entropy: float) -> float:
        """By how much the mean loss of late is above its lowest, less what the target's entropy has risen by.

        The loss is that entropy and the student's distance from the target; a rising temperature raises the
        first, and is no divergence.
        """
        late = statistics.fmean(self._losses)
        if len(self._losses) == WINDOW:
            self._lowest = min(self._lowest, (late, entropy))
        lowest, before = self._lowest
        return late - lowest - max(0.0, entropy - before)


#: What an alarm needs besides the loss; rows between two looks at the batch lack it.
_SIGNS = {"teacher_entropy", "marginal_entropy", "max_entropy", "spread"}
_SENTENCES = {
    "uniform": (
        "step {step}: the teacher says nothing (entropy {teacher_entropy:.2f} of {max_entropy:.2f}): uniform "
        "collapse. Lower --teacher-temperature-end or --learning-rate, or take fewer --prototypes"
    ),
    "same": (
        "step {step}: all images share the same prototypes (entropy of the mean target "
        "{marginal_entropy:.2f}, of one image's {teacher_entropy:.2f}, of {max_entropy:.2f}). Use "
        "--centring sinkhorn"
    ),
    "point": (
        "step {step}: all images have nearly the same features (spread {spread:.3f}). Lower --learning-rate, "
        "or add --koleo 0.1"
    ),
    "flat": (
        "step {step}: to the encoder all images look nearly the same (RankMe, the effective rank of its "
        "features, is {rankme:.1f}): collapse. Lower --learning-rate, or raise --warmup"
    ),
    "diverging": (
        "step {step}: the loss has risen for good, to {loss:.2f}: the training diverges. Lower "
        "--learning-rate, or raise --warmup"
    ),
}


class Pulse:
    """What the progress line says of the rows so far: the state now and, where it was measured, at the start.

    Examples:
        >>> pulse = Pulse()
        >>> pulse.take({"loss": 6.9, "rankme": 31.0, "images_per_second": 60.0})
        >>> pulse.take({"loss": 5.2, "rankme": 47.0, "images_per_second": 64.0})
        >>> pulse.facts()
        {'loss': '5.20', 'images/s': '64', 'RankMe': '47 (start 31)'}
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def take(self, row: Mapping[str, float]) -> None:
        """Look at one row."""
        self._first = {**row, **self._first}
        self._last |= row

    def facts(self) -> dict[str, str]:
        """Words and numbers, most telling first."""
        last, told = self._last, {}
        for key, (words, form) in _SHOWN.items():
            if key in last:
                told[words] = form.format(last[key], last.get("max_entropy"))
                if key in _COMPARED and last[key] != self._first[key]:
                    told[words] += f" (start {form.format(self._first[key])})"
        return told


_COMPARED = {"rankme", "knn_balanced_accuracy"}
_SHOWN = {
    "loss": ("loss", "{:.2f}"),
    "images_per_second": ("images/s", "{:.0f}"),
    "knn_balanced_accuracy": ("kNN", "{:.3f}"),
    "rankme": ("RankMe", "{:.0f}"),
    "teacher_entropy": ("teacher entropy", "{:.2f} of {:.2f}"),
    "agreement": ("agreement", "{:.2f}"),
    "spread": ("spread", "{:.2f}"),
}
