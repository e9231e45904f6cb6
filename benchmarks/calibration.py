"""Are probabilities better after calibration than before? Log loss and calibration error on three data sets.

::

    python benchmarks/label_efficiency/vectors.py RUN --weights lite0.safetensors --out runs/beyond/NAME
    python benchmarks/calibration.py runs/beyond/NAME … --out benchmarks/results/calibration.json

NAME holds vectors of a training side (``initial-plain``), so no test image has a part in this. Its labelled
images are split five times, by group; labels are drawn from two thirds, scores of these are held out in turn
as ``fit`` does it, and the last third judges. "Before" are the classifier's own probabilities, or the softmax
of its decision values. Classes count alike. The calibration error is that of the highest probability, in 15
bins of equally many images; the AUROC the mean over the classes, each against the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

sys.path.extend(str(Path(__file__).resolve().parent / name) for name in ("label_efficiency", "recipes"))
from beyond import Bench

from hundredfold.learn.calibrate import METHODS, Calibration, log_loss
from hundredfold.learn.classifiers import judge, make_pipeline
from hundredfold.learn.draws import fit_and_tell
from hundredfold.learn.held_out import held_out_parts

CLASSIFIERS = ("svm", "logistic", "lda", "knn")
BUDGETS, REPEATS, BINS = (5, 25, 100), 5, 15


def scores_of(name: str, known: NDArray[Any], labels: NDArray[Any], asked: NDArray[Any]) -> NDArray[Any]:
    """The scores that a classifier gives after a fit."""
    pipeline = make_pipeline(
        name, samples=len(known), features=known.shape[1], classes=len(np.unique(labels))
    )
    fit_and_tell(pipeline, known, labels)
    return judge(pipeline, asked)[1]


def error(probabilities: NDArray[Any], truth: NDArray[Any]) -> float:
    """Expected calibration error of the highest probability, in bins of equally many images."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    parts = np.array_split(np.argsort(sure, kind="stable"), BINS)
    return float(sum(len(part) * abs(sure[part].mean() - right[part].mean()) for part in parts) / len(truth))


def measured(bench: Bench, budget: int, repeat: int) -> list[dict[str, Any]]:
    """A row a classifier and way of calibration."""
    split = bench.split(repeat)
    case = bench.case(split, bench.vectors("plain"), budget, repeat)
    truth, groups = bench.codes[split.judged], bench.few.frame["group"]
    ids = np.array([f"{number}" for number in range(len(case.labels))], dtype=object)
    whose = dict(zip(map(bytes, bench.vectors("plain")), groups, strict=True))
    own = [whose[bytes(vector)] for vector in case.known]
    parts = held_out_parts(ids, case.labels, None if pd.isna(own).all() else own, seed=0)
    weights = 1 / np.bincount(truth, minlength=case.classes)[truth]
    rows = []
    for name in CLASSIFIERS:
        held = np.full((len(case.labels), case.classes), np.nan)
        for part in parts:
            held[part] = scores_of(name, case.known[~part], case.labels[~part], case.known[part])
        asked = scores_of(name, case.known, case.labels, case.asked)
        ways = {method: Calibration.fit(held, case.labels, method) for method in METHODS}
        sums = np.allclose(asked.sum(axis=1), 1, atol=1e-3) and (asked >= 0).all()
        found = {"before": asked if sums else softmax(asked, axis=1)}
        found |= {way: one.probabilities(asked) for way, one in ways.items() if one is not None}
        rows += [
            {
                "set": bench.folder.name, "classifier": name, "budget": budget, "repeat": repeat, "way": way,
                "log_loss": log_loss(p, truth, weights), "calibration_error": error(p, truth),
                "auroc": float(roc_auc_score(np.eye(case.classes)[truth], p)),
            } for way, p in found.items()
        ]
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="of label_efficiency/vectors.py")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [
        row for folder in given.folders for budget in BUDGETS for repeat in range(given.repeats)
        for row in measured(Bench(folder, "initial"), budget, repeat)
    ]
    table = pd.DataFrame(rows).groupby(["set", "classifier", "budget", "way"], sort=False)
    means = table[["log_loss", "calibration_error", "auroc"]].mean().round(4)
    print(means.unstack("way").to_string())
    if given.out:
        found = means.reset_index().to_dict("records")
        given.out.write_text(json.dumps({"repeats": given.repeats, "means": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
