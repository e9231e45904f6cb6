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
from measure import RESULTS

from hundredfold.report.figures import curve_panels
from hundredfold.report.style import PAGE, save_figure

NAMES = {
    "b": "our DINO, frozen", "c": "LightlyTrain, frozen", "a": "ImageNet, frozen",
    "d": "network, end to end",
}
TITLES = {
    "pbc_blood_cells": "blood cells", "chula_rbc": "red cells, by smear",
    "busi_ultrasound": "breast ultrasound",
}


def main() -> None:
    """Draw what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the figure")
    parser.add_argument("--results", type=Path, default=RESULTS / "label_efficiency.json")
    given = parser.parse_args()
    known = json.loads(given.results.read_text(encoding="utf-8"))
    every = {TITLES[name]: pd.DataFrame(known[name]["points"]) for name in TITLES if name in known}
    panels = {title: points[points["what"].isin(NAMES.keys())] for title, points in every.items()}
    drawn = {name for points in panels.values() for name in points["what"]}
    names = {name: words for name, words in NAMES.items() if name in drawn}
    figure = curve_panels(panels, by="what", names=names, ylabel="balanced accuracy", width=PAGE)
    save_figure(figure, given.out, "label_efficiency")


if __name__ == "__main__":
    main()
