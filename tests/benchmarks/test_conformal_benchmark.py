"""``benchmarks/conformal.py``: its results are those that were asked for, and its page tells them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

SETS = {"ultrasound": "busi_ultrasound", "blood cells": "pbc_blood_cells", "red cells": "chula_rbc"}


@pytest.fixture(scope="module")
def found(repo_root: Path) -> pd.DataFrame:
    return pd.DataFrame(json.loads((repo_root / "benchmarks" / "results" / "conformal.json").read_text()))


def test_split_conformal_sets_cover_what_theory_says(found: pd.DataFrame) -> None:
    rows = found[(found["way"] == "split") & (found["splits"] == "image") & (found["labels"] == "random")]
    rows = rows[rows["measure"] == "ratio"]
    assert len(rows) == 3 * 2 * 3  # sets, classifiers, coverages
    assert (rows["done"] == 200).all()
    assert (rows["covered"] - rows["expected"]).abs().max() <= 0.01
    assert rows["outside"].max() <= 6


def test_sets_as_fit_makes_them_keep_the_promise_within_a_point_or_two(found: pd.DataFrame) -> None:
    rows = found[(found["way"] == "fit") & (found["calibration"] == "temperature")]
    rows = rows[(rows["measure"] == "ratio") & rows["labels"].isin(["random", "balanced"])]
    assert len(rows) >= 2 * 4 * 3  # kinds of labels, sets (one by group too), coverages
    assert (rows["written"] - rows["promise"]).min() > -0.02
    stairs = found[(found["way"] == "fit") & (found["calibration"] == "isotonic")]
    assert (stairs["covered"] - stairs["promise"]).mean() < -0.02  # hence no sets from these


def test_the_page_tells_the_numbers_of_the_results(found: pd.DataFrame, repo_root: Path) -> None:
    page = (repo_root / "docs" / "sets.md").read_text(encoding="utf-8")
    known = found[(found["promise"] == 0.9) & (found["classifier"] == "logistic")]
    known = known[(known["calibration"] == "temperature") & (known["measure"] == "ratio")]
    checked = 0
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 7 or cells[0] not in SETS:
            continue
        rows = known[(known["set"] == SETS[cells[0]]) & (known["splits"] == cells[1])]
        as_fit = [("fit", labels) for labels in ("random", "balanced", "balanced, unweighted")]
        for (way, labels), cell in zip([("split", "random"), *as_fit], cells[2:6], strict=True):
            row = rows[(rows["way"] == way) & (rows["labels"] == labels)].iloc[0]
            assert cell.split()[0] == f"{row['covered']:.3f}".removeprefix("0")
            checked += 1
    assert checked == 4 * 4
