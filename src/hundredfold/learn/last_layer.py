"""The trained last layer: one linear layer on frozen features, in the state of its best epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from hundredfold.learn.posterior import decide_by
from hundredfold.learn.samples import labelled_samples
from hundredfold.learn.training import (
    LAYER,
    Recipe,
    digests,
    in_order,
    new_layer,
    ordered,
    train,
    validation_part,
)

__all__ = ["LastLayer"]


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
        self.classes_: NDArray[Any]
        x, self.classes_, numbers = labelled_samples(self, X, y, np.float32)
        recipe = Recipe(**self.get_params())
        order = in_order(digests(x, self.classes_[numbers], recipe.seed))
        samples, codes = torch.from_numpy(x[order]), numbers[order]
        held = validation_part(codes, ordered(groups, order))
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
        logits = self._logits(X)
        predicted: NDArray[Any] = self.classes_[np.argmax(logits, axis=1)]
        return predicted

    def decide(self, X: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64]]:  # noqa: N803
        """The class with the greatest value ``[n]``, and scores; see :func:`~.posterior.decide_by`."""
        return decide_by(self.classes_, self._logits(X))

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        logits: NDArray[np.float64] = x @ self.coef_.T.astype(np.float64) + self.intercept_
        return logits
