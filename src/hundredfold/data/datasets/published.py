"""What the paper reports of its data sets, for standing beside our own figures."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

__all__ = ["published_figures"]

FILE = files("hundredfold.data.datasets") / "published.csv"


def published_figures(dataset: str) -> pd.DataFrame:
    """The figures of Nielsen et al. 2023 for a data set: ``variant, classifier, class, n_per_class, value``.

    Read off the plots, to within .005. ``variant`` is ``all`` (classes) or ``250+`` (those with 250 labelled
    training images or more), where ``value`` is the balanced accuracy, or ``recall``, that of the class.
    Without ``n_per_class`` it is a level on all labels: the best of the literature, or the network trained
    end to end. Empty for a data set that is not in the paper.

    Examples:
        >>> table = published_figures("isic").query("variant == 'all' and classifier == 'svm'")
        >>> table.set_index("n_per_class")["value"][100].item()
        0.617
    """
    with FILE.open(encoding="utf-8") as file:
        table = pd.read_csv(file, comment="#", dtype={"class": "str", "n_per_class": "Int64"})
    return table[table["dataset"] == dataset].drop(columns="dataset").reset_index(drop=True)
