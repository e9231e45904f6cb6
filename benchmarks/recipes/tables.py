"""The file of the trials, a line each, and what it says of every recipe beside the default."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from recipes import DEFAULT

__all__ = ["LABELS", "MEASURES", "append", "compared", "lines", "show", "winners"]

LABELS = 100
MEASURES = ("svm", "logistic", "knn")
#: Recipes that are worth more seeds.
CONFIRMED = 3


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The trials that are done; a last line cut short by a kill is none."""
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            yield json.loads(text)
        except ValueError:
            continue


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add one line and make sure that it is on the disk; what a kill cut short before stays apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def compared(trials: pd.DataFrame) -> pd.DataFrame:
    """Difference to the default: a row a recipe, a column a set and classifier, and the mean over the sets.

    Pairs of one set, one seed and one budget are compared. ``pairs`` counts them. Best first, by the mean
    over sets of SVM and logistic regression.
    """
    keys = ["set", "seed", "budget"]
    default = trials[trials["recipe"] == DEFAULT].set_index(keys)[list(MEASURES)]
    joined = trials.set_index(keys).join(default, suffixes=("", "_default"), how="inner").reset_index()
    for name in MEASURES:
        joined[name] -= joined[f"{name}_default"]
    means = joined.groupby(["recipe", "set"])[list(MEASURES)].mean()
    table = means.unstack("set").swaplevel(axis=1).sort_index(axis=1)
    table["mean", ""] = means[["svm", "logistic"]].mean(axis=1).groupby("recipe").mean()
    table["pairs", ""] = joined.groupby("recipe").size()
    return table.sort_values(("mean", ""), ascending=False)


def winners(trials: pd.DataFrame, most: int = CONFIRMED) -> list[str]:
    """The recipes that beat the default on every screened set, by SVM and logistic regression together.

    Screened are the sets with the most recipes, by their first seed: what ``confirm`` adds changes nothing.
    """
    first = trials[trials["seed"] == trials["seed"].min()]
    tried = first.groupby("set")["recipe"].nunique()
    sets = list(tried.index[tried == tried.max()])
    table = compared(first[first["set"].isin(sets)]).drop(index=DEFAULT)
    gains = pd.DataFrame({name: table[name][["svm", "logistic"]].mean(axis=1) for name in sets})
    return list(table.index[(gains > 0).all(axis=1)][:most])


def show(path: Path) -> None:
    """Print the table of each budget: points of balanced accuracy against the default."""
    trials = pd.DataFrame(lines(path))
    for budget, part in trials.groupby("budget"):
        print(f"\n{budget}: points of balanced accuracy at {LABELS} labels per class, against the default")
        table = compared(part)
        points = (100 * table.drop(columns=[("pairs", "")])).round(1)
        points["pairs", ""] = table["pairs", ""]
        print(points.to_string())
        own = part[part["recipe"] == DEFAULT].groupby("set")[list(MEASURES)].mean()
        before = part.groupby("set")["initial"].first().apply(pd.Series)[list(MEASURES)]
        print(own.join(before, suffixes=("", " before")).round(3).to_string())
