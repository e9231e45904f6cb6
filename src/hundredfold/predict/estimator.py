"""What scikit-learn asks of a fitted classifier of images: its metrics and pipelines take a predictor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags

__all__ = ["FittedClassifier"]


class FittedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of uint8 images ``[b, h, h, 3]`` that is fitted once and for all.

    ``score(X, y)`` is scikit-learn's: the share of right labels. In a ``Pipeline`` it stands as
    ``FrozenEstimator(predictor)`` where ``fit`` of the whole is called, which then leaves it as it is; a
    clone is the predictor itself.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        raise NotImplementedError

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The class names ``[c]``, as scikit-learn asks for them."""
        return np.array(self.classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_tags__(self) -> Tags:
        tags: Any = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags
