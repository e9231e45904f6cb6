"""Chapter "The methods compared": the best one beside every other, with intervals and corrected p-values."""

from __future__ import annotations

import pandas as pd

from hundredfold.learn.compare import smallest_p
from hundredfold.metrics import MIN_GROUPS
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.contest import is_capped
from hundredfold.report.figures import differences
from hundredfold.report.material import Material
from hundredfold.report.tables import labels_words, rows_of
from hundredfold.report.words import encoder_label, interval, method_label, probability, share

__all__ = ["compared_chapter"]

MOST_DRAWN = 40


def compared_chapter(material: Material, compared: pd.DataFrame | None) -> Chapter | None:
    """The rows of :func:`~hundredfold.report.contest.contest` as a figure and a table; ``None`` without."""
    if compared is None:
        return None
    table = compared.sort_values("difference", ignore_index=True)
    first = table.iloc[0]
    name = _name(first["encoder"], first["classifier"])
    n_per_class = int(first["n_per_class"])
    budget = labels_words(n_per_class, capped=is_capped(material, n_per_class))
    many = f"{len(table)} comparison{'s' if len(table) > 1 else ''}"
    sentences = [
        (
            f"With {budget}, {name} has a balanced accuracy of {share(first['accuracy'])}; here it is beside "
            f"every other method, on the same {first['n_test']:,} test images."
        ),
        (
            "A difference is that of two methods on the same images and draws of labels, resampled together; "
            "so it is known better than either value."
        ),
        (
            f"P-values are two-sided and corrected for {many} (Holm): below .05, a difference is told from "
            "chance." if table["p_holm"].notna().any() else
            f"There are no intervals and p-values: the test images are of fewer than {MIN_GROUPS} groups."
        ),
    ]
    if len(table) > 1 and table["p_holm"].notna().any():
        sentences.append(
            "Intervals are not corrected: each is right for its difference alone, so one of many may leave "
            "out 0 by chance. The p-value says whether a difference is told from chance."
        )
    if not table["paired"].all():
        sentences.append("Methods marked † had other draws of labels, which makes the difference less sure.")
    items: list[Exhibit | Listing] = [_listing(table, name)]
    if table["low"].notna().any() and len(table) <= MOST_DRAWN:
        items.insert(0, _figure(table, name))
    return Chapter("compared", "The methods compared", sentences, items)


def _figure(table: pd.DataFrame, name: str) -> Exhibit:
    names = [_name(row.other_encoder, row.other_classifier) for row in rows_of(table)]
    told = "; ".join(
        f"{words} {share(row.difference)}" for words, row in zip(names, rows_of(table), strict=True)
    )
    return Exhibit(
        "compared",
        "How far it is ahead",
        f"{_capital(name)}, less the method named at the left: right of the line the former is better. Bars: "
        "95 % intervals, each for itself. Filled: told from chance after the correction; hollow: not.",
        f"Differences in balanced accuracy of {name} to other methods: {told}.",
        differences(table.assign(name=names)),
        table,
    )


def _listing(table: pd.DataFrame, name: str) -> Listing:
    smallest = smallest_p(len(table))
    least = "; ≤: so many resamples can tell no smaller one" if table["p_holm"].min() <= smallest else ""
    sure = f"; below, its 95 % interval, uncorrected. p: corrected{least}"
    rows: list[list[Cell | str]] = [
        [
            method_label(row.other_classifier),
            encoder_label(row.other_encoder) + ("" if row.paired else " †"),
            share(row.other_accuracy),
            Cell(share(row.difference, 3), note=interval(row.low, row.high)),
            probability(row.p_holm, smallest).removeprefix("= ") if pd.notna(row.p_holm) else "–",
        ]
        for row in rows_of(table)
    ]
    return Listing(
        "compared",
        "The same in numbers",
        f"Difference: {name}, less this method{sure if table['p_holm'].notna().any() else ''}.",
        ["classifier", "features", "reaches", "difference", "p"],
        rows,
        table,
        words=2,
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _name(encoder: str, classifier: str) -> str:
    return f"{method_label(classifier)} ({encoder_label(encoder)})"
