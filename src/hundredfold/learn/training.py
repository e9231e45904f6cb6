"""Training on few labels: which of them choose the epoch, and a loop that ends in its state."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hundredfold.errors import SettingsError, TrainingError
from hundredfold.metrics import group_codes
from hundredfold.progress import bar

__all__ = [
    "LAYER", "NETWORK", "Load", "Recipe", "digests", "evaluate", "in_order", "new_layer", "ordered", "train",
    "validation_part",
]

#: (rows, number of the pass; none to judge) → what the module takes.
Load: TypeAlias = Callable[[Tensor, int | None], Tensor]

VALIDATION = 0.3
JUDGED_AT_ONCE = 256


@dataclass(frozen=True)
class Recipe:
    """How to train on few labels, and when to stop.

    An epoch is a pass over the training part, repeated until it has ``least_steps`` updates, so that a
    handful of labels is not judged after every single one.

    Attributes:
        learning_rate: of AdamW; constant.
        weight_decay: of all parameters.
        batch_size: the most samples in an update.
        epochs: the most epochs.
        patience: epochs without a lower validation loss after which to stop.
        blind_epochs: epochs where there is no validation part.
        least_steps: the fewest updates in an epoch.
        seed: of everything random; 0 is a seed like any other.

    Raises:
        SettingsError: a number is not positive.
    """

    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    batch_size: int = 64
    epochs: int = 100
    patience: int = 10
    blind_epochs: int = 10
    least_steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "patience", "blind_epochs", "least_steps"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"expected {name} above 0, found {getattr(self, name)}", where=name)


#: A whole network, as the "DL baseline" of Nielsen et al. 2023 (section 2.3).
NETWORK = Recipe()
#: A single layer, which alone would hardly move at the network's rate.
LAYER = Recipe(learning_rate=1e-3, batch_size=256, blind_epochs=20)


def validation_part(codes: NDArray[np.int64], groups: Sequence[object] | None = None) -> NDArray[np.bool_]:
    """Which of few labelled samples choose the epoch: 30 % of each class, at least one, by whole groups.

    The first in the order of rows are taken; more than half of a class never are, so the labels of a
    class that lie in one group all train. Where a class has a single label, there is no such part.

    Args:
        codes: ``[n]`` class numbers, each class with a label.
        groups: ``[n]`` group names, missing where unknown.

    Examples:
        >>> validation_part(np.array([0, 0, 0, 1, 1])).tolist()
        [True, False, False, True, False]
        >>> validation_part(np.array([0, 0, 1])).any()
        np.False_
    """
    count = np.bincount(codes)
    if count.min() < 2:
        return np.zeros(len(codes), dtype=bool)
    group = group_codes(groups, len(codes))
    table = np.zeros((int(group.max()) + 1, len(count)), dtype=np.int64)
    np.add.at(table, (group, codes), 1)
    wanted = np.maximum(1, np.round(VALIDATION * count))
    held, taken = np.zeros_like(count), np.zeros(len(table), dtype=bool)
    for code in np.argsort(count, kind="stable"):  # the rarest chooses first
        for number in np.flatnonzero(table[:, code]):
            after = held + table[number]
            if held[code] < wanted[code] and not taken[number] and (2 * after <= count).all():
                taken[number], held = True, after
    return taken[group]


def train(
    module: nn.Module, load: Load, codes: NDArray[np.int64], held: NDArray[np.bool_], *, recipe: Recipe,
    generator: torch.Generator, title: str,
) -> tuple[list[float], int]:
    """Train ``module`` and leave it in the state of its best epoch, buffers included.

    The loss is the cross entropy with weights by which every class of the training part counts alike;
    the best epoch is that of the lowest such loss on the validation part, or else the last.

    Args:
        module: gives logits ``[b, c]``.
        load: gives what the module takes.
        codes: ``[n]`` class numbers.
        held: ``[n]`` the validation part.
        recipe: how to train.
        generator: of the order of samples.
        title: for the progress bar.

    Returns:
        The validation loss after each epoch, and the number of the best.

    Raises:
        TrainingError: a loss is not finite.
    """
    device = next(module.parameters()).device
    training, judged = (torch.from_numpy(np.flatnonzero(part)) for part in (~held, held))
    truth = torch.from_numpy(codes)
    counts = torch.bincount(truth[training]).double()
    truth, weight = truth.to(device), (len(training) / (len(counts) * counts)).float().to(device)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    epochs = recipe.epochs if len(judged) else recipe.blind_epochs
    history: list[float] = []
    best, state = epochs - 1, None
    with bar(title, epochs, "epochs") as progress:
        for epoch in range(epochs):
            module.train()
            for rows, turn in _batches(training, epoch, recipe, generator):
                loss = F.cross_entropy(module(load(rows, turn)), truth[rows.to(device)], weight)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            progress.advance(loss=_finite(loss, epoch))
            if not len(judged):
                continue
            logits = evaluate(module, lambda rows, _: load(judged[rows], None), len(judged))
            history.append(_finite(F.cross_entropy(logits, truth[judged.to(device)], weight), epoch))
            if state is None or history[-1] < history[best]:
                best, state = epoch, copy.deepcopy(module.state_dict())
            elif epoch - best >= recipe.patience:
                break
    if state is not None:
        module.load_state_dict(state)
    module.eval()
    return history, best


def _batches(
    training: Tensor, epoch: int, recipe: Recipe, generator: torch.Generator
) -> Iterator[tuple[Tensor, int]]:
    """The rows of each update of an epoch, and the number of the pass, whose batches are equally large."""
    parts = -(-len(training) // recipe.batch_size)
    passes = -(-recipe.least_steps // parts)
    for turn in range(epoch * passes, (epoch + 1) * passes):
        shuffled = training[torch.randperm(len(training), generator=generator)]
        for rows in shuffled.tensor_split(parts):
            yield rows, turn


def evaluate(module: nn.Module, load: Load, count: int) -> Tensor:
    """The module's output for ``count`` rows, in evaluation mode and without gradients: [n, ...]."""
    module.eval()
    with torch.no_grad():
        parts = torch.arange(count).tensor_split(-(-count // JUDGED_AT_ONCE))
        return torch.cat([module(load(rows, None)) for rows in parts])


def _finite(loss: Tensor, epoch: int) -> float:
    value = loss.item()
    if not np.isfinite(value):
        raise TrainingError(
            f"the loss is {value}", where=f"epoch {epoch}", remedy="Lower the learning rate."
        )
    return value


def new_layer(features: int, classes: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with small random weights; torch's own generator is not touched."""
    layer = cast("nn.Linear", nn.utils.skip_init(nn.Linear, features, classes))  # type: ignore[no-untyped-call]
    nn.init.normal_(layer.weight, std=0.01, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def digests(samples: Iterable[NDArray[Any]], names: NDArray[Any], seed: int) -> list[bytes]:
    """A random number for each sample, a function of seed, class and content alone."""
    return [
        hashlib.sha256(f"{seed}/{name}/".encode() + sample.tobytes()).digest()
        for sample, name in zip(samples, names, strict=True)
    ]


def in_order(numbers: Sequence[bytes]) -> NDArray[np.int64]:
    """The rows in the order of their random numbers, which is that of no table."""
    return np.array(sorted(range(len(numbers)), key=numbers.__getitem__), dtype=np.int64)


def ordered(groups: Sequence[object] | None, order: NDArray[np.int64]) -> list[object] | None:
    """The groups of the samples in another order; ``None`` stays ``None``."""
    return None if groups is None else list(np.asarray(groups, dtype=object)[order])
