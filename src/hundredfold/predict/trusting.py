"""skops, loaded without a walk through all of scikit-learn, which takes as long as torch does.

When it is loaded, skops asks scikit-learn for the names of all its estimators, to trust them, and the answer
takes an import of every module there is. The estimators that are loaded are all that a file of ours can
hold, since a classifier imports what it is made of. So fewer types are trusted, too.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import cast

import sklearn.utils
from sklearn.base import BaseEstimator

__all__ = ["loaded_estimators", "skops_io"]


@lru_cache(maxsize=1)
def skops_io() -> ModuleType:
    """The module ``skops.io``, which trusts no estimator by itself unless it was loaded before."""
    walk = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    try:
        import skops.io

        return cast("ModuleType", skops.io)
    finally:
        sklearn.utils.all_estimators = walk


def loaded_estimators(kind: type = BaseEstimator) -> set[type]:
    """scikit-learn's estimators that are loaded, or those below one.

    Examples:
        >>> from sklearn.pipeline import Pipeline
        >>> Pipeline in loaded_estimators()
        True
    """
    below: list[type] = kind.__subclasses__()
    own = {one for one in below if one.__module__.startswith("sklearn.")}
    return own.union(*(loaded_estimators(one) for one in below))
