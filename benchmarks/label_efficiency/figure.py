"""Draws the learning curves of ``measure.py``: a panel a data set.

::

    python benchmarks/label_efficiency/figure.py --out docs/images

A line ends where all labels are taken; there the network's is what it reaches with every label.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from measure import NETWORK, RESULTS

from hundredfold.report.figures import curve_panels
from hundredfold.report.style import PAGE, save_figure
from hundredfold.report.tables import curve_points

NAMES = {
    "b": "our DINO, frozen", "c": "LightlyTrain, frozen", "a": "ImageNet, frozen",
    "d": "network, end to end",
}
TITLES = {
    "pbc_blood_cells": "blood cells", "chula_rbc": "red cells, by smear",
    "busi_ultrasound": "breast ultrasound",
}


def lines(work: Path, methods: dict[str, list[str]]) -> pd.DataFrame:
    """The points of what is compared, with its name in the column ``what``."""
    points = curve_points(pd.read_parquet(work / "efficiency.parquet"))
    named = {tuple(method): name for name, method in methods.items()} | {NETWORK: "d"}
    # "All labels" has one place: the classifiers on vectors were asked for more than any class has.
    points["n_per_class"] = points.groupby("n_labels")["n_per_class"].transform("min")
    which = zip(points["encoder"].astype(str), points["classifier"].astype(str), strict=True)
    points["what"] = [named.get(method) for method in which]
    return points[points["what"].isin(NAMES.keys())]


def main() -> None:
    """Draw what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the figure")
    parser.add_argument("--work", type=Path, default=Path("runs/time_to_accuracy"))
    parser.add_argument("--results", type=Path, default=RESULTS / "label_efficiency.json")
    given = parser.parse_args()
    known = json.loads(given.results.read_text(encoding="utf-8"))
    there = [name for name in TITLES if name in known]
    panels = {TITLES[name]: lines(given.work / name, known[name]["methods"]) for name in there}
    drawn = {name for points in panels.values() for name in points["what"]}
    names = {name: words for name, words in NAMES.items() if name in drawn}
    figure = curve_panels(panels, by="what", names=names, ylabel="balanced accuracy", width=PAGE)
    save_figure(figure, given.out, "label_efficiency")


if __name__ == "__main__":
    main()
