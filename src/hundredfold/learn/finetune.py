"""Last layer, fine-tuning and the supervised baseline, in the state of their best epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from hundredfold.backbones.backbone import Backbone
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
    train,
    validation_part,
)

__all__ = ["Augment", "FineTuned", "LastLayer", "Network", "fine_tune"]

Pixels: TypeAlias = NDArray[np.uint8]
#: (pixels [h,w,3], key of the image, number of the pass) → a view of it [h',w',3]: a pure function.
Augment: TypeAlias = Callable[[Pixels, int, int], Pixels]

class LastLayer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One linear layer on frozen features: AdamW, class-weighted cross entropy, the best epoch's state.

    "LL" of Nielsen et al. 2023 (section 2.3). Of the labels it is given, 30 % choose the epoch (see
    :func:`validation_part`) and the others train it; where a class has one label, all train it, for
    ``blind_epochs``. The result depends on the set of labelled samples and the seed, not on their order.

    Args:
        learning_rate, weight_decay, batch_size, epochs, patience, blind_epochs, least_steps, seed: see
            :class:`Recipe`.

    Attributes:
        classes_: ``[c]`` the class names, sorted.
        coef_: float32 ``[c, d]``.
        intercept_: float32 ``[c]``.
        history_: ``[e]`` validation loss after each epoch; empty without a validation part.
        best_epoch_: the epoch whose state this is, from 0.
        n_validation_: how many of the labels chose the epoch.

    Examples:
        >>> x = np.repeat([[-2.0, 0.0], [2.0, 1.0]], 10, axis=0)
        >>> layer = LastLayer().fit(x, ["cat"] * 10 + ["dog"] * 10)
        >>> layer.predict([[-1.0, 0.0], [3.0, 1.0]]).tolist(), layer.n_validation_
        (['cat', 'dog'], 6)
    """

    def __init__(
        self, *, learning_rate: float = LAYER.learning_rate, weight_decay: float = LAYER.weight_decay,
        batch_size: int = LAYER.batch_size, epochs: int = LAYER.epochs, patience: int = LAYER.patience,
        blind_epochs: int = LAYER.blind_epochs, least_steps: int = LAYER.least_steps, seed: int = LAYER.seed,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.blind_epochs = blind_epochs
        self.least_steps = least_steps
        self.seed = seed

    def fit(
        self, X: ArrayLike, y: ArrayLike, groups: Sequence[object] | None = None,  # noqa: N803
    ) -> Self:
        """Fit to the samples ``X`` [n, d], their classes ``y`` [n] and, where known, their groups [n]."""
        x, names = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(names)
        self.classes_: NDArray[Any] = np.unique(names)
        if len(self.classes_) < 2:
            raise ValueError(f"expected samples of two classes or more, found {len(self.classes_)} class")
        recipe = Recipe(**self.get_params())
        order = in_order(digests(x, names, recipe.seed))
        samples, codes = torch.from_numpy(x[order]), np.searchsorted(self.classes_, names[order])
        held = validation_part(codes, _ordered(groups, order))
        generator = torch.Generator().manual_seed(recipe.seed)
        layer = new_layer(x.shape[1], len(self.classes_), generator)
        history, self.best_epoch_ = train(
            layer, lambda rows, _: samples[rows], codes, held, recipe=recipe, generator=generator,
            title="Training a layer",
        )
        self.coef_, self.intercept_ = (part.detach().numpy() for part in (layer.weight, layer.bias))
        self.history_, self.n_validation_ = np.array(history), int(held.sum())
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """One value a class ``[n, c]``; for two classes that of the second over the first ``[n]``."""
        values = self._logits(X)
        return values[:, 1] - values[:, 0] if values.shape[1] == 2 else values

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class with the greatest value ``[n]``."""
        predicted: NDArray[Any] = self.classes_[np.argmax(self._logits(X), axis=1)]
        return predicted

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        logits: NDArray[np.float64] = x @ self.coef_.T.astype(np.float64) + self.intercept_
        return logits


class Network(nn.Module):
    """A backbone and a linear head: normalised images float [b,3,h,w] → logits [b,c]."""

    def __init__(self, backbone: Backbone, head: nn.Linear) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [b,3,h,w] → logits [b,c]."""
        logits: Tensor = self.head(self.backbone(images))  # [b,3,h,w] -> [b,d] -> [b,c]
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
    """

    network: Network
    classes_: NDArray[Any]
    history: tuple[float, ...]
    best_epoch: int
    validation: NDArray[np.bool_]

    def decision_function(self, images: Pixels) -> NDArray[np.float32]:
        """Images uint8 ``[n,h,w,3]`` → one value a class ``[n, c]``."""
        found = evaluate(self.network, _normalised(self.network.backbone, images, None), len(images))
        return np.asarray(found.cpu().numpy())

    def predict(self, images: Pixels) -> NDArray[Any]:
        """The class with the greatest value for each image ``[n]``."""
        predicted: NDArray[Any] = self.classes_[np.argmax(self.decision_function(images), axis=1)]
        return predicted


def fine_tune(
    backbone: Backbone, images: Pixels, labels: Sequence[str] | NDArray[np.object_], *,
    groups: Sequence[object] | None = None, linear_only: bool, recipe: Recipe | None = None,
    augment: Augment | None = None,
) -> FineTuned:
    """Train a copy of a backbone and a new linear head on labelled images, and return its best epoch.

    From self-supervised weights this is fine-tuning, from ImageNet's the supervised "DL baseline" of
    Nielsen et al. 2023 (section 2.3): AdamW, class-weighted cross entropy, 70 % of the labels train and
    30 % choose the epoch, normalisation statistics included. No other labels are used. With
    ``linear_only`` every value of the backbone stays as it is, and its features are computed once.

    Args:
        backbone: where to start; it is not changed. The work is done on its device.
        images: uint8 ``[n,h,w,3]``, at the size to train at.
        labels: ``[n]`` their classes.
        groups: ``[n]`` their groups, missing where unknown; none is on both sides.
        linear_only: train the head alone.
        recipe: by default ``NETWORK``, or ``LAYER`` for the head alone.
        augment: makes the view of an image that is trained on; validation images are taken as they are.

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
    held = validation_part(codes[order], _ordered(groups, order))
    generator = torch.Generator().manual_seed(recipe.seed)
    network = _new_network(backbone, len(classes), generator)
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
    return FineTuned(network.eval(), classes, tuple(history), best, validation)


def _normalised(
    backbone: Backbone, images: Pixels, augment: Augment | None,
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


def _new_network(backbone: Backbone, classes: int, generator: torch.Generator) -> Network:
    """A copy of the backbone, however frozen it was, and a new head."""
    own = copy.deepcopy(backbone).requires_grad_(requires_grad=True)
    head = new_layer(backbone.dimension, classes, generator)
    return Network(own, head.to(backbone.mean_255.device))


def _ordered(groups: Sequence[object] | None, order: NDArray[np.int64]) -> list[object] | None:
    return None if groups is None else list(np.asarray(groups, dtype=object)[order])


def _check(
    images: Pixels, labels: Sequence[Any] | NDArray[Any], groups: Sequence[object] | None
) -> NDArray[Any]:
    """The labels as text, once everything fits together."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
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
