"""The steps that ``beyond.py`` measures, each in a few lines; all but their vectors is the package's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, QuantileTransformer, StandardScaler
from sklearn.semi_supervised import LabelSpreading

from hundredfold.learn.classifiers import judge, make_classifier
from hundredfold.learn.draws import fit_and_tell, solve
from hundredfold.learn.transforms import YeoJohnson

__all__ = ["STEPS", "VECTOR_STEPS", "Case", "Made", "solved"]

Vectors: TypeAlias = NDArray[np.float32]
Predicted: TypeAlias = NDArray[np.int32]  # [k, n], a row a classifier

NEIGHBOURS = 10
#: Directions that the graph is built in, and those that are kept where few are.
DIRECTIONS = 128
#: Pseudo-labels: at most so many a class, each at least so sure.
PSEUDO, SURE = 100, 0.8


@dataclass(frozen=True)
class Case:
    """One draw: vectors and class numbers to learn from, vectors that are asked, and the unlabelled pool."""

    known: Vectors
    labels: NDArray[np.int64]
    asked: Vectors
    pool: Vectors
    classes: int
    classifiers: Sequence[str]
    key: tuple[Any, ...]


def solved(case: Case) -> Predicted:
    """The package's own way: the transform is fitted to the labelled samples."""
    return solve(case.known, case.labels, case.asked, case.classifiers, case.classes).predicted


# Transforms fitted to the pool

_FITTED: dict[tuple[Any, ...], Any] = {}


def _once(name: str, case: Case, make: Callable[[], Any]) -> Any:
    """What is fitted to the pool once a repetition."""
    key = (name, *case.key)
    if key not in _FITTED:
        for old in [one for one in _FITTED if one[1:] != case.key]:
            del _FITTED[old]
        _FITTED[key] = make()
    return _FITTED[key]


TRANSFORMS: Mapping[str, Callable[[int], Any]] = {
    "standardised": lambda _: StandardScaler(),
    "Yeo-Johnson": lambda _: YeoJohnson(),
    "quantiles": lambda size: QuantileTransformer(
        n_quantiles=min(1000, size), output_distribution="normal", subsample=None
    ),
}


def _pooled(
    transform: str, directions: int | None = None, *, whiten: bool = False
) -> Callable[[Case], Predicted]:
    """Transform and principal components of the pool in place of those of the labelled samples."""

    def step(case: Case) -> Predicted:
        fitted = _once(transform, case, lambda: make_pipeline(
            TRANSFORMS[transform](len(case.pool)), PCA()
        ).fit(case.pool))
        scale = np.sqrt(fitted[-1].explained_variance_)[:directions] if whiten else 1.0
        known, asked = (fitted.transform(one)[:, :directions] / scale for one in (case.known, case.asked))
        rows = []
        for classifier in case.classifiers:
            machine = make_classifier(classifier, samples=len(known), classes=case.classes)
            fit_and_tell(machine, known, case.labels)
            rows.append(judge(machine, asked)[0])
        return np.array(rows, dtype=np.int32)

    return step


# The neighbour graph of the pool


def _graph_space(case: Case) -> Any:
    """Where images are near each other: the map there, the pool's places, and a search for the nearest."""

    def make() -> Any:
        space = make_pipeline(StandardScaler(), PCA(min(DIRECTIONS, len(case.pool))), Normalizer())
        places = space.fit_transform(case.pool)
        return space, places, NearestNeighbors(n_neighbors=NEIGHBOURS).fit(places)

    return _once("graph", case, make)


def smoothed(case: Case) -> Predicted:
    """Each vector becomes the mean of itself and its nearest ones in the pool."""
    space, _, near = _graph_space(case)

    def mean(vectors: Vectors) -> Vectors:
        found = near.kneighbors(space.transform(vectors), return_distance=False)
        others = case.pool[found].mean(axis=1)  # the labelled find themselves, too
        return np.asarray((vectors + others) / 2, dtype=np.float32)

    return solve(mean(case.known), case.labels, mean(case.asked), case.classifiers, case.classes).predicted


def _spread(case: Case) -> tuple[LabelSpreading, Any, Any]:
    space, places, _ = _graph_space(case)
    graph = LabelSpreading(kernel="knn", n_neighbors=NEIGHBOURS, alpha=0.5, max_iter=100, tol=1e-3)
    points = np.concatenate([space.transform(case.known), places])
    graph.fit(points, np.concatenate([case.labels, np.full(len(places), -1)]))
    return graph, space, places


def propagated(case: Case) -> Predicted:
    """Label spreading over the graph, which then judges by itself: the same answer for each classifier."""
    graph, space, _ = _spread(case)
    return np.tile(graph.predict(space.transform(case.asked)).astype(np.int32), (len(case.classifiers), 1))


def _with_pseudo_labels(case: Case, sure: NDArray[np.float64]) -> Predicted:
    """Learn from the surest of the pool, too; ``sure`` [p, c] are a teacher's probabilities."""
    said, how = sure.argmax(axis=1), sure.max(axis=1)
    taken = np.concatenate([
        own[np.argsort(-how[own], kind="stable")][:PSEUDO]
        for own in (np.flatnonzero((said == one) & (how >= SURE)) for one in range(case.classes))
    ])
    known = np.concatenate([case.known, case.pool[taken]])
    labels = np.concatenate([case.labels, said[taken]])
    return solve(known, labels, case.asked, case.classifiers, case.classes).predicted


def taught_by_graph(case: Case) -> Predicted:
    """Self-training with the labels that spread over the graph."""
    graph, _, _ = _spread(case)
    return _with_pseudo_labels(case, graph.label_distributions_[len(case.known) :])


def taught_by_itself(case: Case) -> Predicted:
    """Self-training with what logistic regression on the labels says of the pool."""
    said = solve(case.known, case.labels, case.pool, ["logistic"], case.classes)
    return _with_pseudo_labels(case, said.scores[0].astype(np.float64))


def together(case: Case) -> Predicted:
    """The mean of the classifiers' probabilities: the same answer for each of them."""
    said = solve(case.known, case.labels, case.asked, case.classifiers, case.classes).scores
    shares = [
        one / one.sum(axis=1, keepdims=True) if one.min() >= 0 else softmax(one, axis=1) for one in said
    ]
    answer = np.mean(shares, axis=0).argmax(axis=1).astype(np.int32)
    return np.tile(answer, (len(case.classifiers), 1))


STEPS: Mapping[str, Callable[[Case], Predicted]] = {
    "classifiers together": together,
    "pool: standardised": _pooled("standardised"),
    "pool: Yeo-Johnson": _pooled("Yeo-Johnson"),
    "pool: Yeo-Johnson, 128 directions": _pooled("Yeo-Johnson", DIRECTIONS),
    "pool: Yeo-Johnson, whitened 128": _pooled("Yeo-Johnson", DIRECTIONS, whiten=True),
    "pool: quantiles": _pooled("quantiles"),
    "graph: mean with 10 neighbours": smoothed,
    "graph: label spreading": propagated,
    "graph: self-training": taught_by_graph,
    "self-training": taught_by_itself,
}


# Other vectors of the same images

PROPER = 1280  # numbers of the features proper in a file of layers


def _mean(parts: Sequence[Vectors]) -> Vectors:
    return np.asarray(np.mean([_proper(part) for part in parts], axis=0), dtype=np.float32)


def _side_by_side(parts: Sequence[Vectors]) -> Vectors:
    return np.concatenate([_proper(part) for part in parts], axis=1)


def _proper(vectors: Vectors) -> Vectors:
    return vectors[:, :PROPER]


def _all_layers(parts: Sequence[Vectors]) -> Vectors:
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Made:
    """Files of vectors, joined; ``beside``: the step that it is compared with.

    ``files`` names them by what follows the encoder's name, or in full, as ``initial-plain``.
    """

    join: Callable[[Sequence[Vectors]], Vectors]
    files: tuple[str, ...]
    beside: str = "plain"
    only: str | None = None

    def sources(self, encoder: str) -> tuple[str, ...]:
        """The files of vectors; none where the step means nothing."""
        if self.only not in (None, encoder):
            return ()
        return tuple(one if "-" in one else f"{encoder}-{one}" for one in self.files)


TWO = "two views"
VECTOR_STEPS: Mapping[str, Made] = {
    "statistics anew": Made(_side_by_side, ("adapted",)),
    "statistics as they are + anew": Made(_side_by_side, ("plain", "adapted")),
    "last stages too, all views": Made(_all_layers, ("whole_layers",)),
    "both statistics, last stages too": Made(_all_layers, ("whole_layers", "adapted_layers")),
    "+ thumbnail": Made(_side_by_side, ("plain", "thumbnail-plain")),
    "+ initial": Made(_side_by_side, ("plain", "initial-plain"), only="pretrained"),
    "+ initial, statistics anew": Made(_side_by_side, ("plain", "initial-adapted"), only="pretrained"),
    TWO: Made(_side_by_side, ("layers",)),
    "last stages too": Made(_all_layers, ("layers",), TWO),
    "smaller": Made(_side_by_side, ("smaller",), TWO),
    "larger": Made(_side_by_side, ("larger",), TWO),
    "two scales, mean": Made(_mean, ("smaller", "layers"), TWO),
    "two scales, side by side": Made(_side_by_side, ("smaller", "layers"), TWO),
    "three scales, mean": Made(_mean, ("smaller", "layers", "larger"), TWO),
    "centre too, mean": Made(_mean, ("layers", "centre"), TWO),
    "centre too, side by side": Made(_side_by_side, ("layers", "centre"), TWO),
}
