"""How many images must be read for the accuracy of random reading at 100 labels per class?

::

    python benchmarks/weights.py --out lite0.safetensors
    for set in pbc_blood_cells chula_rbc busi_ultrasound; do
      data=../shared/data/$set; run=runs/$set
      hundredfold scan $data/images --labels $data/labels.csv --out $run
      hundredfold embed $run --encoder timm:efficientnet_lite0 --weights lite0.safetensors --out $run
    done
    nice python benchmarks/selection/measure.py runs
    nice python benchmarks/selection/measure.py runs --outer --strategies random mixture
    python benchmarks/selection/tables.py

A reader reads what a strategy suggests, round by round, and a classifier learns from all that were read:
linear discriminant analysis, one of the four of ``curve``, on 128 principal components of the pool. Junk
costs a read and gives no label; the strategy is told that it is junk. The test images are fixed: two thirds
of the training side are the pool, a third judges (``--outer``: the training side is the pool, and the test
set judges; that is done once, at the end). Each seed sees four fifths of the pool, the same for every
strategy. A line a task, strategy and seed goes to ``benchmarks/results/selection.jsonl``; one that is there
is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from tasks import JUNK, SETS, TASKS, Task, load

from hundredfold.learn.means import SharedCovariance
from hundredfold.learn.select.clusters import typiclust
from hundredfold.learn.select.margin import margin
from hundredfold.learn.select.pool import Pool
from hundredfold.learn.select.strategies import STRATEGIES, Strategy
from hundredfold.metrics import balanced_accuracy
from hundredfold.progress import say

RESULTS = Path(__file__).resolve().parent.parent / "results" / "selection.jsonl"
#: Reads after each round, for each class that there is.
ROUNDS = (5, 10, 20, 30, 40, 60, 80, 100)
COMPONENTS = 128


class Reader:
    """Reads what is suggested, and learns from it."""

    def __init__(self, task: Task, seed: int) -> None:
        rows = task.part(seed)
        self.truth = task.labels[rows]
        self.pool = Pool.of(task.vectors[rows], seed=seed)
        turn = PCA(COMPONENTS, svd_solver="covariance_eigh").fit(task.vectors[rows])
        self.vectors, self.test = turn.transform(task.vectors[rows]), turn.transform(task.test_vectors)
        self.classes = task.classes
        self.test_codes = np.searchsorted(self.classes, task.test_labels)

    def read(self, strategy: Strategy) -> Iterator[dict[str, Any]]:
        """After every round what is known and how good that is."""
        first = typiclust if strategy is margin else strategy
        known = np.zeros(len(self.truth), dtype=bool)
        for each in ROUNDS:
            wanted = min(each * len(self.classes), len(known)) - int(known.sum())
            if wanted <= 0:
                return
            labels = np.where(known, self.truth, None).tolist()
            picks = (strategy if known.any() else first)(self.pool.labelled(labels, useless=JUNK), wanted)
            known[picks.rows] = True
            yield {"n_read": int(known.sum()), **self.judged(known)}

    def judged(self, known: NDArray[np.bool_]) -> dict[str, Any]:
        """Balanced accuracy from these labels, and what was found."""
        good = known & (self.truth != JUNK)
        told = self.truth[good].astype(str)
        found = set(told)
        value = 1 / len(self.classes)
        if len(found) > 1:
            said = SharedCovariance().fit(self.vectors[good], told).predict(self.test)
            value = balanced_accuracy(self.test_codes, np.searchsorted(self.classes, said), len(self.classes))
        return {"value": round(value, 5), "classes": len(found), "junk": int((known & ~good).sum())}


def measure(task: Task, seed: int, strategies: Mapping[str, Strategy]) -> Iterator[dict[str, Any]]:
    """A line a strategy."""
    reader = Reader(task, seed)
    for name, strategy in strategies.items():
        begun = time.process_time()
        rounds = list(reader.read(strategy))
        columns = {key: [one[key] for one in rounds] for key in rounds[0]}
        seconds = round(time.process_time() - begun, 2)
        yield {"task": task.name, "strategy": name, "seed": seed, **columns, "seconds": seconds}


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of runs or embeddings named as the sets")
    parser.add_argument("--outer", action="store_true")
    parser.add_argument("--tasks", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    side = "test" if given.outer else "inner"
    lines = given.results.read_text(encoding="utf-8").splitlines() if given.results.exists() else []
    done = {tuple(json.loads(line)[key] for key in ("side", "task", "strategy", "seed")) for line in lines}
    folders = {name: _embeddings(given.runs / name) for name in SETS}
    for name in given.tasks:
        task = load(name, folders, inner=not given.outer)
        for seed in range(given.seeds):
            names = [one for one in given.strategies if (side, name, one, seed) not in done]
            if not names:
                continue
            for line in measure(task, seed, {one: STRATEGIES[one] for one in names}):
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"side": side, **line}) + "\n")
            say(f"{side}, {name}, seed {seed}: {', '.join(names)}")


def _embeddings(folder: Path) -> Path:
    """The folder itself, or the embeddings of ImageNet's features in a run."""
    inside = folder / "embeddings" / "timm-efficientnet_lite0"
    return inside if inside.is_dir() else folder


if __name__ == "__main__":
    main()
