"""Tables of the sites and subgroups, for the chapter on clinical terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from hundredfold.metrics import TINY, WITHOUT_TINY
from hundredfold.report.chapters.base import Cell, Listing
from hundredfold.report.tables import Headline, at_point, of_one_site
from hundredfold.report.words import file_name, interval, share, shown

__all__ = ["OTHERS", "strata_listings"]

MOST_COLUMNS = 6
OWN, OTHERS = "as in the curve", "of the other sites"
SITES = (
    "The test images of each site, judged by classifiers that learned from the whole training side; where "
    "labels of the site are there, too, its numbers do not tell how it does at a hospital that gave no label."
)
LEFT_OUT = (
    "Without its labels: the same test images, judged by classifiers that learned from labels of the other "
    "sites only, as at a hospital that gave none (its unlabelled images may have been part of pre-training)."
)
MISSING = "A dash stands where the other sites have no labels of two classes."
BRACKETS = f"In brackets: without the classes of fewer than {TINY} test images there."
ABOUT = "The balanced accuracy is over the classes that have test images there, so compare it with care."


def strata_listings(
    strata: pd.DataFrame | None, at: Headline, alone: Mapping[str, Sequence[str]]
) -> list[Listing]:
    """For the sites and each subgroup: balanced accuracy, and recall by class where there are few strata.

    Args:
        strata: what ``curve`` found of them.
        at: the point that the report speaks of.
        alone: site → classes that no other site has labels of.
    """
    if strata is None or (own := at_point(strata, at)).empty:
        return []
    made = []
    for by in dict.fromkeys(own["by"]):
        rows = own[own["by"] == by]
        made.append(_overall(rows, str(by), alone))
        if rows["stratum"].nunique() <= MOST_COLUMNS:
            made.append(_by_class(rows, str(by)))
    return made


def _overall(rows: pd.DataFrame, by: str, alone: Mapping[str, Sequence[str]]) -> Listing:
    table = rows[rows["metric"] == "balanced_accuracy"].drop(columns="class")
    larger = rows[rows["metric"] == WITHOUT_TINY].drop(columns="class")
    kinds = [kind for kind in (OWN, OTHERS) if (table["labels"] == kind).any()]
    told = {OWN: "balanced accuracy", OTHERS: "without its labels"}
    lines: list[list[Cell | str]] = []
    for stratum, same in table.groupby("stratum", sort=False):
        first = same.iloc[0]
        counts = [f"{first['n_test']:,}", f"{first['n_groups']:,}", f"{first['n_classes']:,}"]
        other = larger[larger["stratum"] == stratum]
        lines.append([
            shown(stratum), *counts,
            *(_cell(same[same["labels"] == kind], larger=other[other["labels"] == kind]) for kind in kinds),
        ])
    judged = set(table.loc[table["labels"] == OTHERS, "stratum"])
    left_out = [LEFT_OUT, *of_one_site(alone)] if judged else []
    left_out += [MISSING] if judged and judged < set(table["stratum"]) else []
    notes = [*([SITES] if by == "site" else []), *left_out, ABOUT]
    notes += [BRACKETS] if len(larger) else []
    head = [shown(by), "test images", "groups", "classes", *(told[kind] for kind in kinds)]
    name = file_name("strata", by)
    return Listing(name, f"By {shown(by)}", " ".join(notes), head, lines, pd.concat([table, larger]))


def _by_class(rows: pd.DataFrame, by: str) -> Listing:
    table = rows[(rows["metric"] == "recall") & (rows["labels"] == OWN)]
    strata: Sequence[str] = list(dict.fromkeys(table["stratum"]))
    lines: list[list[Cell | str]] = []
    for name in sorted(table["class"].unique()):
        own = table[table["class"] == name]
        lines.append([shown(name), *(_cell(own[own["stratum"] == s], counted=True) for s in strata)])
    caption = (
        "The share of a class's test images that are found. Below: their number, and the 95 % interval where "
        f"they come from 10 groups or more. Under {TINY} images a share says little."
    )
    head = ["class", *(shown(stratum, 24) for stratum in strata)]
    return Listing(file_name("recall", by), f"Recall by {shown(by)}", caption, head, lines, table)


def _cell(rows: pd.DataFrame, *, counted: bool = False, larger: pd.DataFrame | None = None) -> Cell:
    if rows.empty:
        return Cell("–")
    row = rows.iloc[0]
    ends = interval(row["low"], row["high"])
    without = "" if larger is None or larger.empty else f"[{share(larger.iloc[0]['value'])}]"
    note = "; ".join(part for part in (f"{row['n_test']:,}" if counted else "", ends, without) if part)
    return Cell(share(row["value"]), note=note)
