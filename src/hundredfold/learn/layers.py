"""Fitted transforms and classifiers as torch modules: the same arithmetic, in a graph that can be exported.

A module's numbers are those of the fitted estimator, in its own precision. A classifier's module gives what
:func:`~hundredfold.learn.classifiers.judge` gives: the class decided for, as a number, and the scores.
"""

from __future__ import annotations

from functools import singledispatch
from itertools import combinations
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from hundredfold.errors import SettingsError
from hundredfold.learn.last_layer import LastLayer
from hundredfold.learn.means import Prototype, SharedCovariance
from hundredfold.learn.svm import RbfSVC
from hundredfold.learn.transforms import SAFE_LOG, YeoJohnson

__all__ = ["as_layers"]


@singledispatch
def as_layers(fitted: Any) -> nn.Module:
    """A fitted transform, classifier or pipeline of both as a torch module.

    Features float64 ``[b, d]`` → features, or for a classifier the number of the class decided for ``[b]``
    and the scores ``[b, c]``, both in the order of ``classes_``. A plug-in registers the form of its own
    classifier: ``as_layers.register(Mine)``.

    Raises:
        SettingsError: no form of this type is registered.

    Examples:
        >>> machine = RbfSVC().fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])
        >>> decided, scores = as_layers(machine)(torch.tensor([[0.1], [2.2]], dtype=torch.float64))
        >>> decided.tolist(), scores.shape
        ([0, 2], torch.Size([2, 3]))
    """
    raise SettingsError(
        "this classifier has no form that can be exported", where=type(fitted).__name__,
        remedy="Export the encoder alone (give PREDICTOR/encoder), or fit a predictor with "
        "--classifier svm, knn, logistic, lda, prototype or last_layer.",
    )


@as_layers.register
def _(fitted: Pipeline) -> nn.Module:
    return nn.Sequential(*(as_layers(step) for _, step in fitted.steps))


@as_layers.register
def _(fitted: YeoJohnson) -> nn.Module:
    return _Power(exponent=fitted.lambdas_, mean=fitted.mean_, scale=fitted.scale_)


@as_layers.register
def _(fitted: PCA) -> nn.Module:
    scale = np.sqrt(fitted.explained_variance_) if fitted.whiten else np.ones(len(fitted.components_))
    return _Rotation(mean=fitted.mean_, components=fitted.components_.T / scale)


@as_layers.register
def _(fitted: RbfSVC) -> nn.Module:
    return _Pairs(fitted)


@as_layers.register
def _(fitted: KNeighborsClassifier) -> nn.Module:
    return _Neighbours(fitted)


@as_layers.register
def _(fitted: LogisticRegression) -> nn.Module:
    return nn.Sequential(_Line(fitted.coef_, fitted.intercept_), _Shares(binary=len(fitted.classes_) == 2))


@as_layers.register
def _(fitted: SharedCovariance | LastLayer) -> nn.Module:
    scores = _Greatest() if len(fitted.classes_) == 2 else _LogPosterior()
    return nn.Sequential(_Line(fitted.coef_, fitted.intercept_), scores)


@as_layers.register
def _(fitted: Prototype) -> nn.Module:
    return nn.Sequential(_Directions(), _Line(fitted.coef_, fitted.intercept_), _Greatest())


class _Constants(nn.Module):
    """Numbers of an estimator, in its own precision."""

    def __init__(self, **numbers: Any) -> None:
        super().__init__()
        for name, value in numbers.items():
            self.register_buffer(name, torch.from_numpy(np.array(value)))


class _Power(_Constants):
    """Yeo-Johnson, standardised; as :class:`~hundredfold.learn.transforms.YeoJohnson`."""

    exponent: Tensor
    mean: Tensor
    scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        log = torch.log1p(x.abs())
        power = torch.where(x < 0, 2 - self.exponent, self.exponent)
        flat = power.abs() < 1e-8
        safe = torch.where(flat, torch.ones_like(power), power)
        size = torch.where(flat, log, torch.expm1(torch.clamp(safe * log, max=SAFE_LOG)) / safe)
        return (torch.where(x < 0, -size, size) - self.mean) / self.scale


class _Rotation(_Constants):
    mean: Tensor
    components: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.components


class _Directions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return x / torch.where(length == 0, torch.ones_like(length), length)


class _Line(_Constants):
    """A value a class that is linear in the features; of two classes those of the second over the first."""

    weights: Tensor
    offsets: Tensor

    def __init__(self, coefficients: Any, intercept: Any) -> None:
        weights, offsets = (np.asarray(part, dtype=np.float64) for part in (coefficients, intercept))
        if len(weights) == 2:
            weights, offsets = np.diff(weights, axis=0), np.diff(offsets)
        if len(weights) == 1:
            weights, offsets = np.concatenate([-weights, weights]), np.concatenate([-offsets, offsets])
        super().__init__(weights=weights.T, offsets=offsets)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights + self.offsets


class _Greatest(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return values.argmax(1), values


class _LogPosterior(nn.Module):
    """As :func:`~hundredfold.learn.posterior.log_posterior`."""

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        best = values.argmax(1, keepdim=True)
        below = values - values.gather(1, best)
        others = below.exp().scatter(1, best, 0.0).sum(1, keepdim=True)
        return best.squeeze(1), below - torch.log1p(others)


class _Shares(nn.Module):
    """Logistic regression's probabilities; of two classes each by the logistic function of its value."""

    def __init__(self, *, binary: bool) -> None:
        super().__init__()
        self.binary = binary

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return values.argmax(1), torch.sigmoid(values) if self.binary else torch.softmax(values, 1)


class _Pairs(_Constants):
    """The machines of all pairs of classes; as :class:`~hundredfold.learn.svm.RbfSVC`."""

    centre: Tensor
    vectors: Tensor
    lengths: Tensor
    dual: Tensor
    intercept: Tensor
    first: Tensor
    second: Tensor
    rivals: Tensor
    signs: Tensor

    def __init__(self, fitted: RbfSVC) -> None:
        count = len(fitted.classes_)
        pairs = list(combinations(range(count), 2))
        first, second = (np.eye(count)[[pair[place] for pair in pairs]] for place in (0, 1))
        own = [[place for place, pair in enumerate(pairs) if name in pair] for name in range(count)]
        signs = [[2.0 if pairs[place][0] == name else -2.0 for place in own[name]] for name in range(count)]
        super().__init__(
            centre=fitted.centre_, vectors=fitted.vectors_.T, lengths=(fitted.vectors_**2).sum(axis=1),
            dual=fitted.dual_, intercept=fitted.intercept_, first=first, second=second,
            rivals=np.array(own), signs=np.array(signs),
        )
        self.gamma, self.posterior = float(fitted.gamma_), _LogPosterior()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = (x - self.centre).float()
        distance = (x * x).sum(1, keepdim=True) - 2 * (x @ self.vectors) + self.lengths  # [b,m]
        kernel = torch.exp(-self.gamma * torch.clamp(distance, min=0))
        values = (kernel @ self.dual).double() + self.intercept  # [b,pairs]
        sums = values @ (self.second - self.first)  # [b,c]
        if values.shape[1] == 1:
            return sums.argmax(1), sums
        votes = (values <= 0).double() @ self.first + (values > 0).double() @ self.second
        decided = (votes + sums / (3 * (sums.abs() + 1))).argmax(1)
        return decided, self.posterior(self._coupled(values))[1]

    def _coupled(self, values: Tensor) -> Tensor:
        against = values[:, self.rivals] * self.signs  # [b,c,c-1]
        most = torch.clamp(against.amax(2), min=0)
        return -most - torch.log(torch.exp(-most) + torch.exp(against - most[:, :, None]).sum(2))


class _Neighbours(_Constants):
    """The votes of the nearest samples; as scikit-learn's ``KNeighborsClassifier``."""

    samples: Tensor
    lengths: Tensor
    labels: Tensor

    def __init__(self, fitted: KNeighborsClassifier) -> None:
        if fitted.effective_metric_ != "euclidean" or fitted.weights not in {"uniform", "distance"}:
            raise SettingsError(
                f"expected Euclidean neighbours, found {fitted.effective_metric_}, {fitted.weights}",
                where=type(fitted).__name__, remedy="Export the encoder alone (give PREDICTOR/encoder).",
            )
        samples = np.asarray(fitted._fit_X, dtype=np.float64)  # noqa: SLF001 - the samples have no public name
        labels = np.eye(len(fitted.classes_))[fitted._y]  # noqa: SLF001
        super().__init__(samples=samples.T, lengths=(samples**2).sum(axis=1), labels=labels)
        self.count, self.by_distance = int(fitted.n_neighbors), fitted.weights == "distance"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        squares = (x * x).sum(1, keepdim=True) - 2 * (x @ self.samples) + self.lengths  # [b,m]
        nearest, places = torch.topk(squares, self.count, dim=1, largest=False)  # [b,k]
        weights = _weights(nearest) if self.by_distance else torch.ones_like(nearest)
        votes = (weights.unsqueeze(2) * self.labels[places]).sum(1)  # [b,k,c] -> [b,c]
        shares = votes / votes.sum(1, keepdim=True)
        return shares.argmax(1), shares


def _weights(squares: Tensor) -> Tensor:
    """One by distance; where a sample is met exactly it alone counts."""
    met = squares <= 0
    inverse = torch.rsqrt(torch.where(met, torch.ones_like(squares), squares))
    return torch.where(met.any(1, keepdim=True), met.double(), inverse)
