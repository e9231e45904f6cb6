"""How long it takes to choose 100 of many images, and how much memory.

::

    python benchmarks/selection/speed.py 100000 1000000

The vectors (384 numbers) lie in 500 clusters of unequal sizes. Each count and strategy runs in a process of
its own; seconds are those of the processor. The result goes to ``benchmarks/results/selection_speed.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from hundredfold.files import write_json
from hundredfold.learn.select.strategies import select

RESULTS = Path(__file__).resolve().parents[1] / "results" / "selection_speed.json"
DIMENSION, CLUSTERS, BUDGET, LABELS = 384, 500, 100, 200
BLOCK = 10_000


def vectors_of(count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors ``[count, 384]`` and their clusters ``[count]``."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)
    of = random.choice(CLUSTERS, size=count, p=random.dirichlet(np.ones(CLUSTERS)))
    vectors = np.empty((count, DIMENSION), dtype=np.float32)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        noise = random.standard_normal((len(of[part]), DIMENSION), dtype=np.float32)
        vectors[part] = centres[of[part]] + 1.2 * noise
    return vectors, of


def one(count: int, strategy: str) -> dict[str, object]:
    """Seconds and gigabytes of one selection; ``margin`` and ``mixture`` know 200 labels of ten classes."""
    vectors, of = vectors_of(count)
    labels: list[str | None] | None = None
    if strategy in {"margin", "mixture"}:
        labels = [None] * count
        for row in range(LABELS):
            labels[row] = str(of[row] % 10)
    wall, begun = time.perf_counter(), time.process_time()
    chosen = select(vectors, BUDGET, labels=labels, strategy=strategy)
    seconds = round(time.process_time() - begun, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "images": count, "dimension": DIMENSION, "strategy": strategy, "threads": faiss.omp_get_max_threads(),
        "processor_seconds": seconds, "wall_seconds": round(time.perf_counter() - wall, 1),
        "peak_gb": round(peak, 2), "suggested": len(chosen.suggested.rows),
        "outliers": len(chosen.outliers.rows),
    }


def main() -> None:
    """Measure each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--strategies", nargs="*", default=["typiclust", "explore", "mixture"])
    parser.add_argument("--single", action="store_true", help="the one given, in this process")
    given = parser.parse_args()
    if given.single:
        print(json.dumps(one(given.counts[0], given.strategies[0])))
        return
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for count in given.counts:
        for strategy in given.strategies:
            command = [sys.executable, __file__, str(count), "--single", "--strategies", strategy]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            new = json.loads(done.stdout)
            same = {"images": count, "strategy": strategy}
            found = [*(old for old in found if not same.items() <= old.items()), new]
            print(new, flush=True)
            write_json(RESULTS, found)


if __name__ == "__main__":
    main()
