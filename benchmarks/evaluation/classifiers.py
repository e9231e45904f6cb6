"""Which settings of the classifiers do best, chosen on an inner split of the training side alone.

::

    python benchmarks/evaluation/classifiers.py LABELS.csv EMBEDDINGS … --names NAME …

Each folder holds embeddings of a labelled set, with its split. Of the training side 40 % of the groups
become an inner test set; the test side has no part in this. Prints balanced accuracy, mean of three draws,
and adds it to ``benchmarks/results/classifiers.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from hundredfold.config import CurveChoices
from hundredfold.data.labels import LabelSet
from hundredfold.data.splits import draw_splits
from hundredfold.encode.embed import Embeddings
from hundredfold.files import write_json
from hundredfold.learn.classifiers import CLASSIFIERS
from hundredfold.learn.curve import learning_curve
from hundredfold.learn.svm import RbfSVC
from hundredfold.progress import say
from hundredfold.rundir import software

RESULTS = Path(__file__).resolve().parents[1] / "results" / "classifiers.json"
BUDGETS, REPEATS, HELD_OUT, SEED = (5, 10, 25, 50, 100, 250), 3, 0.4, 7


def _logistic(price: float) -> LogisticRegression:
    return LogisticRegression(C=price, class_weight="balanced", max_iter=5000)


def register() -> tuple[str, ...]:
    """Add the settings that are compared under names of their own; gives all names."""
    for price in (1.0, 10.0, 100.0):
        CLASSIFIERS.add(f"svm, C {price:g}", lambda _samples, _classes, price=price: RbfSVC(C=price))
    for price in (0.01, 0.1, 0.5, 2.5):
        CLASSIFIERS.add(f"logistic, C {price:g}", lambda _samples, _classes, price=price: _logistic(price))
    ours = [name for name in CLASSIFIERS if name.startswith(("svm,", "logistic,"))]
    return (*ours, "knn", "lda", "prototype")


def measure(labels: Path, embeddings: Embeddings, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Classifier → labels per class → balanced accuracy on the inner test set."""
    table = LabelSet.read(labels, embeddings.images).apply(embeddings.images)
    inner = draw_splits(table.train.assign(split=None), test_size=HELD_OUT, seed=SEED)
    choices = CurveChoices.of(budgets=BUDGETS, classifiers=names, repeats=REPEATS, bootstrap=0)
    # One process: the others would not know the names that were added here.
    found = learning_curve({"encoder": embeddings}, inner, choices, jobs=1).table().round(4)
    say(found.to_string())
    return {name: {str(n): float(v) for n, v in row.items()} for (_, name), row in found.iterrows()}


def main() -> None:
    """Measure one encoder of one set, or several."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path)
    parser.add_argument("embeddings", type=Path, nargs="+", help="folders that hold embeddings.json")
    parser.add_argument("--names", nargs="+", required=True, help="what to call each of them")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    names = register()
    for folder, name in zip(given.embeddings, given.names, strict=True):
        say(name)
        known = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
        known[name] = measure(given.labels, Embeddings.read(folder), names)
        write_json(given.results, {**known, "software": software()})


if __name__ == "__main__":
    main()
