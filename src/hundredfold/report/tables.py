"""The tidy tables behind every figure and every number of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.duplicates import exact_duplicates
from hundredfold.data.table import ImageTable
from hundredfold.learn.budgets import headline_budget
from hundredfold.metrics import TINY
from hundredfold.metrics import confusion as count
from hundredfold.metrics.averages import divide
from hundredfold.report.words import shown

__all__ = [
    "METRIC",
    "Headline",
    "Point",
    "at_point",
    "class_counts",
    "confusion",
    "counts",
    "curve_points",
    "headline",
    "labels_words",
    "listed",
    "of_one_site",
    "points_of",
    "recall_draws",
    "recall_points",
    "reject_counts",
    "rows_of",
    "stages_of",
    "without_tiny",
]

METRIC = "balanced_accuracy"
EXACT_COPIES = "images that are an exact copy of another"
NEAR_COPIES = "images with a copy or near-copy"
ASTRAY = "of these not learned from, as they show what an image held out shows (copies_across.csv)"


@dataclass(frozen=True)
class Headline:
    """The point of the learning curves that the report speaks of: fixed by rule, never by the test result."""

    encoder: str
    classifier: str
    n_per_class: int


@dataclass(frozen=True)
class Point:
    """A row of :func:`curve_points`."""

    encoder: str
    classifier: str
    n_per_class: int
    n_labels: float
    value: float
    low: float
    high: float
    band: str
    n_test: int
    capped: bool
    draws: int
    n_read: float = float("nan")


def labels_words(n_per_class: int, *, capped: bool) -> str:
    """How many labels, in words; ``capped``: a class has fewer.

    Examples:
        >>> labels_words(1, capped=False), labels_words(1000, capped=True)
        ('1 label per class', 'up to 1,000 labels per class')
    """
    labels = "1 label" if n_per_class == 1 else f"{n_per_class:,} labels"
    return f"{'up to ' if capped else ''}{labels} per class"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence, the first ``most`` of them.

    Examples:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    told = ", ".join(shown(name) for name in names[:most])
    return told + (f" and {len(names) - most} more" if len(names) > most else "")


def of_one_site(noted: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence on the classes that only one site has labels of, where each is left out in turn, or none.

    Examples:
        >>> of_one_site({"Kiel": ["a", "b"]})[0][-12:]
        'a, b (Kiel).'
    """
    told = "; ".join(f"{listed(names)} ({shown(site)})" for site, names in noted.items())
    zero = "which count as a recall of 0 where the labels of the site are left out"
    return [f"No other site has labels of these classes, {zero}: {told}."] if told else []


def stages_of(encoder: Mapping[str, Any]) -> int:
    """Of how many last stages of the network an encoder's vectors hold the mean maps, from its facts."""
    return int((encoder.get("parts") or [encoder])[0].get("stages") or 0)


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples."""
    yield from table.itertuples(index=False)


def points_of(table: pd.DataFrame) -> list[Point]:
    """The rows of :func:`curve_points`, typed."""
    return [Point(*row) for row in rows_of(table)]


def counts(
    images: ImageTable, rejects: pd.DataFrame | None, across: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What there is, as rows of ``item, count``; ``across``: pairs with a copy of an image held out."""
    usable = images.usable.frame
    grouped = usable["group"].notna()
    tested = grouped & (usable["split"] == images.judging)
    clusters = exact_duplicates(images)
    # The labels name them, and there is no such image.
    nameless = 0 if rejects is None else int((~rejects["image"].isin(images.ids)).sum())
    astray = 0 if across is None else int(np.isin(images.train.ids, across["first"]).sum())
    rows = [
        ("images found", len(images)),
        ("images left out", len(images) - len(usable)),
        ("images used", len(usable)),
        ("labelled training images", len(images.train)),
        *([(ASTRAY, astray)] if astray else []),
        (f"labelled {images.judging} images", len(images.test)),
        ("images without a label", int(usable["label"].isna().sum())),
        *([("labels that name no image", nameless)] if nameless else []),
        ("classes", int(usable["label"].nunique())),
        ("groups (patients, slides)", int(usable["group"].nunique())),
        (f"groups on the {images.judging} side", int(usable.loc[tested, "group"].nunique())),
        ("images without a group", int((~grouped).sum())),
        (EXACT_COPIES, len(clusters) - clusters["cluster"].nunique()),
        (NEAR_COPIES, int(usable["cluster"].notna().sum())),
    ]
    flags = usable["note"].dropna().str.split("; ").explode().value_counts()
    rows += [(f"images noted as {shown(flag)}", int(number)) for flag, number in flags.items()]
    return pd.DataFrame(rows, columns=["item", "count"])


def class_counts(images: ImageTable) -> pd.DataFrame:
    """Images of each class on both sides: ``label, train, test, groups``, the largest class first."""
    usable = images.usable.frame
    labelled = usable[usable["label"].notna()]
    table = (
        pd.DataFrame(
            {
                "train": images.train.frame.groupby("label", observed=True).size(),
                "test": images.test.frame.groupby("label", observed=True).size(),
                "groups": labelled.groupby("label", observed=True)["group"].nunique(),
            }
        )
        .fillna(0)
        .astype(int)
    )
    table = table.rename_axis("label").reset_index()
    order = (table["train"] + table["test"]).sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def reject_counts(rejects: pd.DataFrame) -> pd.DataFrame:
    """Images left out, by reason: ``reason, count, example``."""
    grouped = rejects.groupby("reason", sort=False)
    table = pd.DataFrame({"count": grouped.size(), "example": grouped["sentence"].first()}).reset_index()
    return table.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def headline(
    curve: pd.DataFrame, classifier: str | None = None, encoder: str | None = None
) -> Headline:
    """The point to speak of, at most 100 labels a class, and so many as every encoder was measured with.

    Runs that are compared may have been measured with other numbers of labels: where one has no point,
    it would silently be missing beside the others.

    Args:
        curve: rows of ``curve.csv``.
        classifier: the predictor's; where the curve has it not, the SVM.
        encoder: the predictor's; where the curve has it not, the pre-trained one.
    """
    encoders = list(curve["encoder"].unique())
    classifiers = list(curve["classifier"].unique())
    wanted = (encoder, "pretrained", "initial")
    encoder = next((name for name in wanted if name in encoders), encoders[0])
    chosen = next((name for name in (classifier, "svm") if name in classifiers), classifiers[0])
    rows = curve[(curve["encoder"] == encoder) & (curve["classifier"] == chosen)]
    each = curve.groupby("encoder", observed=True)["n_per_class"]
    shared = set.intersection(*(set(budgets) for _, budgets in each))
    common = rows[rows["n_per_class"].isin(shared)]
    labels = (rows if common.empty else common).groupby("n_per_class")["n_labels"].max()
    budget = headline_budget({int(str(n)): int(count) for n, count in labels.items()})
    return Headline(str(encoder), str(chosen), budget)


def curve_points(curve: pd.DataFrame, metric: str = METRIC) -> pd.DataFrame:
    """One row a point of a curve, from one row a draw.

    Returns:
        ``encoder, classifier, n_per_class, n_labels, value, low, high, band, n_test, capped, draws, n_read``:
        the mean over the draws; ``low`` and ``high`` are the 95 % interval (band "interval"), else the
        range of the draws (band "range"); ``n_read`` is missing in curves that were measured without it.
    """
    over_all = curve["class"].isna() | (curve["class"].astype(object) == "")
    rows = curve[over_all & (curve["metric"] == metric)]
    keys = ["encoder", "classifier", "n_per_class"]
    return _points(rows, keys)


def recall_points(curve: pd.DataFrame, predictions: pd.DataFrame, at: Headline) -> pd.DataFrame:
    """Recall of each class at one point: ``label, value, low, high, band, n_test``, the best first.

    The intervals are those of ``curve.csv``; the test images are counted in the predictions. Where some
    classes have an interval, those of too few groups have none: a range over draws is no interval.
    """
    chosen = at_point(predictions, at)
    per_draw = recall_draws(predictions, at)
    grouped = per_draw.groupby("label")["value"]
    table = pd.DataFrame({"value": grouped.mean(), "low": grouped.min(), "high": grouped.max()})
    table["band"] = "range" if chosen["repeat"].nunique() > 1 else ""
    known = _recall_intervals(curve, at).reindex(table.index)
    if (told := known["low"].notna()).any():
        table = table.assign(low=known["low"], high=known["high"], band=np.where(told, "interval", ""))
    table["n_test"] = chosen.groupby(chosen["label"].astype(str))["id"].nunique()
    table = table.rename_axis("label").reset_index()
    return table.sort_values(["value", "label"], ascending=[False, True], ignore_index=True)


def without_tiny(recall: pd.DataFrame) -> tuple[float, list[str]]:
    """Balanced accuracy over the classes with at least 10 test images, and the names of the others."""
    tiny = recall["n_test"] < TINY
    value = float(recall.loc[~tiny, "value"].mean()) if (~tiny).any() else float("nan")
    return value, sorted(recall.loc[tiny, "label"])


def confusion(predictions: pd.DataFrame, at: Headline) -> pd.DataFrame:
    """Who is taken for whom: ``label, predicted, count, share, sd, n_test``; every pair has a row.

    ``count`` sums over the draws; ``share`` is that of the true class, and ``sd`` its standard deviation
    over the draws (missing of a single one).
    """
    chosen = at_point(predictions, at)
    true, predicted = chosen["label"].astype(str), chosen["predicted"].astype(str)
    names = sorted(set(true) | set(predicted))
    table = pd.crosstab(true, predicted).reindex(index=names, columns=names, fill_value=0)
    tidy = table.rename_axis("label").reset_index().melt("label", var_name="predicted", value_name="count")
    total = tidy.groupby("label")["count"].transform("sum")
    tidy["share"] = tidy["count"] / total.where(total > 0)
    tidy["sd"] = _sd_over_draws(chosen, names, tidy)
    tidy["n_test"] = tidy["label"].map(chosen.groupby(true)["id"].nunique()).fillna(0).astype(int)
    return tidy


def _sd_over_draws(chosen: pd.DataFrame, names: list[str], pairs: pd.DataFrame) -> NDArray[np.float64]:
    """The standard deviation over the draws of each pair's share of the true class."""
    places = pd.Index(names)

    def codes(rows: pd.DataFrame, column: str) -> NDArray[np.int64]:
        return places.get_indexer(pd.Index(rows[column].astype(str))).astype(np.int64)

    draws = [
        count(codes(rows, "label"), codes(rows, "predicted"), len(names))
        for _, rows in chosen.groupby("repeat")
    ]
    shares = np.stack([divide(grid, grid.sum(axis=1, keepdims=True)) for grid in draws])  # [r, c, c]
    spread = shares.std(axis=0, ddof=1) if len(shares) > 1 else np.full(shares.shape[1:], np.nan)
    return spread[codes(pairs, "label"), codes(pairs, "predicted")]


def recall_draws(predictions: pd.DataFrame, at: Headline) -> pd.DataFrame:
    """Recall of each class in each draw of labels: ``label, repeat, value``."""
    chosen = at_point(predictions, at)
    return (
        pd.DataFrame(
            {
                "label": chosen["label"].astype(str),
                "repeat": chosen["repeat"],
                "value": (chosen["label"].astype(str) == chosen["predicted"].astype(str)).astype(float),
            }
        )
        .groupby(["label", "repeat"])["value"]
        .mean()
        .reset_index()
    )


def at_point(table: pd.DataFrame, at: Headline) -> pd.DataFrame:
    """The rows of one point, of the curve or of the predictions."""
    return table[
        (table["encoder"].astype(str) == at.encoder)
        & (table["classifier"].astype(str) == at.classifier)
        & (table["n_per_class"].astype(int) == at.n_per_class)
    ]


def _recall_intervals(curve: pd.DataFrame, at: Headline) -> pd.DataFrame:
    rows = at_point(curve, at)
    rows = rows[(rows["metric"] == "recall") & rows[["class", "low", "high"]].notna().all(axis=1)]
    return rows.groupby(rows["class"].astype(str))[["low", "high"]].mean()


def _points(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    rows = rows if "n_read" in rows else rows.assign(n_read=np.nan)
    grouped = rows.groupby(keys, sort=False, observed=True)
    table = grouped.agg(
        n_labels=("n_labels", "mean"),
        value=("value", "mean"),
        low=("low", "mean"),
        high=("high", "mean"),
        least=("value", "min"),
        most=("value", "max"),
        n_test=("n_test", "max"),
        capped=("capped", "any"),
        draws=("repeat", "nunique"),
        n_read=("n_read", "max"),
    ).reset_index()
    known = table["low"].notna() & table["high"].notna()
    table["band"] = np.where(known, "interval", np.where(table["draws"] > 1, "range", ""))
    ranged = table["band"] == "range"
    table["low"] = table["low"].where(~ranged, table["least"])
    table["high"] = table["high"].where(~ranged, table["most"])
    columns = [*keys, "n_labels", "value", "low", "high", "band", "n_test", "capped", "draws", "n_read"]
    return table[columns].sort_values(keys, kind="stable", ignore_index=True)
