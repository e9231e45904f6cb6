"""Runs the reference's ``fit_classifier`` for one number of labels, and tells how long it took.

::

    python reference_loop.py '{"reference": "SPARSAM_FOLDER", "features": "features.npz", "budget": 100, …}'

``compare.py`` calls it in the peers' environment. The loop is the reference's own, unmodified but for two
crashes: at one label a class it asks its kNN for 105 neighbours among 21 samples, and from its second draw on
it asks the function ``random.random`` for a generator, which the module has.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.neighbors import KNeighborsClassifier


class CappedNeighbours(KNeighborsClassifier):
    """A kNN that asks for no more neighbours than there are samples."""

    def fit(self, x, y):
        """Fit, and lower the number of neighbours where it has to be."""
        super().fit(x, y)
        self.n_neighbors = min(self.n_neighbors, len(x))
        return self


def main() -> None:
    """Fit and judge ``repeats`` draws, and print the seconds, reading included."""
    warnings.simplefilter("ignore")
    given = json.loads(sys.argv[1])
    folder = Path(given["reference"])
    sys.path[:0] = [str(folder), str(folder / "reproducability")]
    import reproduce_results as reference  # type: ignore[import-not-found]
    from sparsam import helper  # type: ignore[import-not-found]

    helper.random = random

    machines = reference.CLASSIFIERS
    for place, machine in enumerate(machines):
        if isinstance(machine, KNeighborsClassifier):
            machines[place] = CappedNeighbours(n_jobs=machine.n_jobs, weights=machine.weights)
    began = time.monotonic()
    with np.load(given["features"], allow_pickle=False) as stored:
        read = {name: stored[name] for name in stored.files}
    names = [f"class_{number:02d}" for number in range(int(read["test_labels"].max()) + 1)]
    found = reference.fit_classifier(
        read["train"], read["train_labels"], read["test"], read["test_labels"], [given["budget"]], names,
        n_iterations=given["repeats"],
    )[given["budget"]]
    recall = {
        name: [one["report"]["macro avg"]["recall"] for one in runs.values()] for name, runs in found.items()
    }
    print(json.dumps({
        "seconds": round(time.monotonic() - began, 2), "balanced_accuracy": recall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))


if __name__ == "__main__":
    main()
