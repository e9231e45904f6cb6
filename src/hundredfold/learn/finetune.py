"""Fine-tuning and the supervised baseline, in the state of their best epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hundredfold.backbones.backbone import Backbone
from hundredfold.encode.encoder import Symmetry, symmetric_views
from hundredfold.errors import SettingsError, SplitError, TableError
from hundredfold.learn.training import (
    LAYER,
    NETWORK,
    Load,
    Recipe,
    digests,
    evaluate,
    in_order,
    new_layer,
    ordered,
    train,
    validation_part,
)
from hundredfold.ssl.arrangement import arrange, choose_arrangement

__all__ = ["Augment", "FineTuned", "Images", "Network", "fine_tune"]

Pixels: TypeAlias = NDArray[np.uint8]


class Images(Protocol):
    """Images uint8 [n,h,w,3]: an array, or what reads them from a disk when they are asked for."""

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, 3)."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: NDArray[np.int64], /) -> Pixels: ...

    def __iter__(self) -> Iterator[Pixels]: ...


#: (pixels [h,w,3], key of the image, number of the pass) → a view of it [h',w',3]: a pure function.
Augment: TypeAlias = Callable[[Pixels, int, int], Pixels]


class Network(nn.Module):
    """A backbone and a linear head: normalised images float [b,3,h,w] → logits [b,c].

    Args:
        backbone: in the arithmetic of ``precision``, if that is bfloat16; its weights stay float32.
        head: in float32.
        precision: as :func:`~hundredfold.ssl.arrangement.choose_arrangement` gives it.
    """

    def __init__(self, backbone: Backbone, head: nn.Linear, precision: str = "float32") -> None:
        super().__init__()
        self.backbone, self.head, self.precision = backbone, head, precision

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [b,3,h,w] → logits [b,c]."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features: Tensor = self.backbone(images)  # [b,3,h,w] -> [b,d]
        logits: Tensor = self.head(features.float())  # [b,d] -> [b,c]
        return logits


@dataclass(frozen=True)
class FineTuned:
    """A network in the state of its best epoch, and how it came there.

    Attributes:
        network: in evaluation mode.
        classes_: ``[c]`` the class names, sorted.
        history: validation loss after each epoch; empty without a validation part.
        best_epoch: the epoch whose state this is, from 0.
        validation: ``[n]`` which of the given images chose the epoch; the others trained it.
        symmetry: the turned and mirrored views of an image whose values are averaged.
    """

    network: Network
    classes_: NDArray[Any]
    history: tuple[float, ...]
    best_epoch: int
    validation: NDArray[np.bool_]
    symmetry: Symmetry = "none"

    def decision_function(self, images: Images) -> NDArray[np.float32]:
        """Images uint8 ``[n,h,w,3]`` → one value a class ``[n, c]``, the mean over the views."""
        judged = _Averaged(self.network, self.symmetry)
        found = evaluate(judged, _normalised(self.network.backbone, images, None), len(images))
        return np.asarray(found.cpu().numpy())

    def predict(self, images: Images) -> NDArray[Any]:
        """The class with the greatest value for each image ``[n]``."""
        predicted: NDArray[Any] = self.classes_[np.argmax(self.decision_function(images), axis=1)]
        return predicted


class _Averaged(nn.Module):
    """A network's logits [b,c], averaged over the views of an image that its modality allows."""

    def __init__(self, network: Network, symmetry: Symmetry) -> None:
        super().__init__()
        self.network, self.symmetry = network, symmetry

    def forward(self, images: Tensor) -> Tensor:
        views = [self.network(view) for view in symmetric_views(images, self.symmetry)]
        return torch.stack(views).mean(0)  # [v,b,c] -> [b,c]


def fine_tune(
    backbone: Backbone, images: Images, labels: Sequence[str] | NDArray[np.object_], *,
    groups: Sequence[object] | None = None, linear_only: bool, recipe: Recipe | None = None,
    augment: Augment | None = None, symmetry: Symmetry = "none",
) -> FineTuned:
    """Train a copy of a backbone and a new linear head on labelled images, and return its best epoch.

    From self-supervised weights this is fine-tuning, from ImageNet's the supervised "DL baseline" of
    Nielsen et al. 2023 (section 2.3): AdamW, class-weighted cross entropy, 70 % of the labels train and
    30 % choose the epoch, normalisation statistics included. No other labels are used. With
    ``linear_only`` every value of the backbone stays as it is, and its features are computed once. A whole
    network is trained in the arithmetic of :func:`~hundredfold.ssl.arrangement.choose_arrangement`.

    Args:
        backbone: where to start; it is not changed. The work is done on its device.
        images: uint8 ``[n,h,w,3]``, at the size to train at; read batch by batch.
        labels: ``[n]`` their classes.
        groups: ``[n]`` their groups, missing where unknown; none is on both sides.
        linear_only: train the head alone.
        recipe: by default ``NETWORK``, or ``LAYER`` for the head alone.
        augment: makes the view of an image that is trained on; validation images are taken as they are.
        symmetry: the views that the result averages over when it judges an image.

    Raises:
        SplitError: the labels are of fewer than two classes.
        TableError: images, labels and groups are not equally many, or the images no uint8 [n,h,w,3].
        SettingsError: ``augment`` with ``linear_only``.
        TrainingError: the loss is not finite.

    Examples:
        >>> from hundredfold.backbones.backbone import create_backbone
        >>> pixels = np.repeat(np.array([20, 230], np.uint8), 2)[:, None, None, None] + np.zeros(
        ...     (1, 32, 32, 3), np.uint8)
        >>> backbone = create_backbone("resnet10t", weights="none")
        >>> tuned = fine_tune(backbone, pixels, ["dark", "dark", "light", "light"], linear_only=True)
        >>> tuned.decision_function(pixels).shape, int(tuned.validation.sum())
        ((4, 2), 2)
    """
    names = _check(images, labels, groups)
    if linear_only and augment is not None:
        raise SettingsError("augment and linear_only exclude each other: features are computed once")
    recipe = recipe or (LAYER if linear_only else NETWORK)
    classes, codes = np.unique(names, return_inverse=True)
    numbers = digests(images, names, recipe.seed)
    order = in_order(numbers)
    held = validation_part(codes[order], ordered(groups, order))
    generator = torch.Generator().manual_seed(recipe.seed)
    network = _new_network(backbone, len(classes), generator, whole=not linear_only)
    keys = [int.from_bytes(numbers[row][:8], "big") >> 1 for row in order]
    load = _normalised(network.backbone, images, augment, order, keys)
    device = network.head.weight.device
    # Dropout and stochastic depth know only torch's own generators.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        trained: nn.Module = network
        if linear_only:
            features = evaluate(network.backbone, load, len(images))
            trained, load = network.head, lambda rows, _: features[rows.to(device)]
        history, best = train(
            trained, load, codes[order], held, recipe=recipe, generator=generator, title="Training a network"
        )
    validation = np.zeros(len(order), dtype=bool)
    validation[order] = held
    return FineTuned(network.eval(), classes, tuple(history), best, validation, symmetry)


def _normalised(
    backbone: Backbone, images: Images, augment: Augment | None,
    order: NDArray[np.int64] | None = None, keys: Sequence[int] = (),
) -> Load:
    """Loads images in ``order`` as the backbone takes them, float32 [b,3,h,w] on its device."""

    def load(rows: Tensor, turn: int | None) -> Tensor:
        places = rows.numpy() if order is None else order[rows.numpy()]
        pixels = images[places]
        if augment is not None and turn is not None:
            views = (augment(one, keys[row], turn) for one, row in zip(pixels, rows.tolist(), strict=True))
            pixels = np.stack(list(views))
        return backbone.normalise(torch.from_numpy(pixels).to(backbone.mean_255.device))

    return load


def _new_network(
    backbone: Backbone, classes: int, generator: torch.Generator, *, whole: bool
) -> Network:
    """A copy of the backbone, however frozen it was, and a new head; to be trained as a ``whole``, or not."""
    own = copy.deepcopy(backbone).requires_grad_(requires_grad=True)
    device = backbone.mean_255.device
    arrangement = choose_arrangement(own, device.type, "auto" if whole else "float32")
    if whole:
        arrange(own, device.type, arrangement)
    head = new_layer(backbone.dimension, classes, generator)
    return Network(own, head.to(device), arrangement.precision)


def _check(
    images: Images, labels: Sequence[Any] | NDArray[Any], groups: Sequence[object] | None
) -> NDArray[Any]:
    """The labels as text, once everything fits together."""
    if images.dtype != np.uint8 or len(images.shape) != 4 or images.shape[-1] != 3:
        raise TableError(f"expected images uint8 [n,h,w,3], found {images.dtype} {list(images.shape)}")
    if len(labels) != len(images) or (groups is not None and len(groups) != len(images)):
        found = f"{len(labels):,} labels" + ("" if groups is None else f" and {len(groups):,} groups")
        raise TableError(f"expected a label (and group) for each of {len(images):,} images, found {found}")
    names = np.asarray(labels).astype(str)
    if len(np.unique(names)) < 2:
        raise SplitError(
            f"expected labelled images of two classes or more, found {len(np.unique(names))}",
            remedy="Label images of another class.",
        )
    return names
