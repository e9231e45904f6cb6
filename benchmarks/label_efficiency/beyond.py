"""Steps beyond the paper, each beside the plain features: what do they gain at few labels per class?

::

    python benchmarks/label_efficiency/vectors.py RUN --weights lite0.safetensors --out runs/beyond/NAME
    python benchmarks/label_efficiency/beyond.py runs/beyond/NAME …

NAME is the set; its folder holds vectors of the training side alone (see there), so no test image has a part
in this. In each repetition the side is split anew, by group, and other labels are drawn: a third of the
labelled images judges, labels are drawn from the others, and whatever is not of the judging groups, with a
label or without, is the unlabelled pool (2,048 images of it). Every step and every classifier gets the same
labels. One line a repetition goes to ``benchmarks/results/beyond.jsonl``, and what is there is not done
again. Prints the differences with 95 % intervals, corrected for the overlap of the splits (Nadeau & Bengio
2003, "Inference for the generalization error", Machine Learning 52).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))
from steps import STEPS, VECTOR_STEPS, Case, solved
from tables import append, lines
from vectors import labelled, read_vectors

from hundredfold.data.splits import draw_splits
from hundredfold.data.table import ImageTable
from hundredfold.learn.budgets import draw_labels
from hundredfold.metrics import balanced_accuracy
from hundredfold.progress import say

RESULTS = Path(__file__).resolve().parents[1] / "results" / "beyond.jsonl"
BUDGETS, REPEATS, JUDGED = (5, 25, 100), 5, 1 / 3
CLASSIFIERS = ("svm", "logistic", "lda")
PLAIN = "plain"
KEYS = ("set", "encoder", "step", "budget", "repeat")
POOL = 2048  # images of it, at most


@dataclass(frozen=True)
class Split:
    """One repetition: rows of the labelled images to learn from and to be judged by, and the pool's ids."""

    train: NDArray[np.int64]
    judged: NDArray[np.int64]
    pool: NDArray[np.object_]


class Bench:
    """The vectors of one set by one encoder, and the splits of its training side."""

    def __init__(self, folder: Path, encoder: str) -> None:
        self.folder, self.encoder = folder, encoder
        self.side = ImageTable.read(folder / "side.parquet")
        self.few = labelled(self.side)
        self.codes, names = pd.factorize(self.few.frame["label"], sort=True)
        self.classes = len(names)

    @cached_property
    def plain(self) -> Mapping[str, NDArray[np.float32]]:
        """Image → vector, of the whole training side."""
        return read_vectors(self.folder, f"{self.encoder}-{PLAIN}")

    def rows(self, name: str, ids: NDArray[np.object_]) -> NDArray[np.float32]:
        """The vectors of some images, by ``ENCODER-WAY``."""
        found = read_vectors(self.folder, name)
        return np.stack([found[one] for one in ids])

    def has(self, names: tuple[str, ...]) -> bool:
        """Whether all these vectors are there."""
        return all((self.folder / f"{name}.npz").exists() for name in names)

    def split(self, repeat: int) -> Split:
        """The repetition's split of the training side, by group."""
        chosen = self.side.frame["id"].isin(self.few.ids)
        table = self.side.assign(split=None, label=self.side.frame["label"].where(chosen))
        sides = draw_splits(table, test_size=JUDGED, seed=repeat).frame.set_index("id")["split"]
        own = sides[self.few.ids].to_numpy()
        return Split(
            np.flatnonzero(own == "train"), np.flatnonzero(own == "test"),
            np.random.default_rng(repeat).permutation(sides.index[sides == "train"].to_numpy(dtype=object)),
        )

    def case(self, split: Split, vectors: NDArray[np.float32], budget: int, repeat: int) -> Case:
        """What there is to learn from, and what is asked."""
        places = draw_labels(self.few.ids[split.train], self.codes[split.train], budget, repeat=repeat)
        drawn = split.train[places]
        pool = np.stack([self.plain[one] for one in split.pool[:POOL]])
        return Case(
            vectors[drawn], self.codes[drawn], vectors[split.judged], pool, self.classes, CLASSIFIERS,
            key=(str(self.folder), self.encoder, repeat),
        )

    def names(self) -> list[str]:
        """The steps whose vectors are there."""
        wanted = {name: made.sources(self.encoder) for name, made in VECTOR_STEPS.items()}
        return [PLAIN, *(name for name, files in wanted.items() if files and self.has(files)), *STEPS]

    def vectors(self, step: str) -> NDArray[np.float32]:
        """The labelled images' vectors in this step."""
        ids = self.few.ids
        if step in VECTOR_STEPS:
            made = VECTOR_STEPS[step]
            return made.join([self.rows(name, ids) for name in made.sources(self.encoder)])
        return np.stack([self.plain[one] for one in ids])

    def measure(self, step: str, budget: int, repeat: int) -> dict[str, object]:
        """The line to keep: the balanced accuracy of each classifier."""
        began, split = time.process_time(), self.split(repeat)
        case = self.case(split, self.vectors(step), budget, repeat)
        found = [
            round(balanced_accuracy(self.codes[split.judged], row, self.classes), 4)
            for row in STEPS.get(step, solved)(case)
        ]
        return {
            "set": self.folder.name, "encoder": self.encoder, "step": step, "budget": budget,
            "repeat": repeat, **dict(zip(CLASSIFIERS, found, strict=True)),
            "seconds": round(time.process_time() - began, 1),
        }


def run(bench: Bench, given: argparse.Namespace) -> None:
    """Every step and repetition that is not in the results yet."""
    steps = [one for one in bench.names() if not given.steps or one in (*given.steps, PLAIN)]
    for repeat, budget, step in product(range(given.repeats), given.budgets, steps):
        key = (bench.folder.name, bench.encoder, step, budget, repeat)
        if key not in {tuple(one[name] for name in KEYS) for one in lines(given.results)}:
            append(given.results, line := bench.measure(step, budget, repeat))
            say(" ".join(map(str, line.values())))


def differences(found: pd.DataFrame) -> pd.DataFrame:
    """Step minus what it is beside, of the same repetition: a row a step, budget and classifier."""
    long = found.melt([*KEYS], CLASSIFIERS, var_name="classifier")
    keys = ["set", "encoder", "budget", "repeat", "classifier"]
    before = long.set_index([*keys, "step"])["value"].rename("before")
    beside = [VECTOR_STEPS[one].beside if one in VECTOR_STEPS else PLAIN for one in long["step"]]
    joined = long.assign(beside=beside).join(before, on=[*keys, "beside"], how="inner")
    joined = joined[joined["step"] != PLAIN]
    return joined.assign(gain=joined["value"] - joined["before"])


def interval(gains: NDArray[np.float64]) -> float:
    """Half the 95 % interval of the mean gain of overlapping splits (Nadeau & Bengio 2003)."""
    count = len(gains)
    if count < 2:
        return float("nan")
    spread = gains.std(ddof=1) * np.sqrt(1 / count + JUDGED / (1 - JUDGED))
    return float(spread * t.ppf(0.975, count - 1))


def show(results: Path, classifier: str | None) -> None:
    """Mean gain ± half the interval, in points, of one classifier or of the mean over all."""
    rows = differences(pd.DataFrame(lines(results)))
    if classifier:
        rows = rows[rows["classifier"] == classifier]
    mean = rows.groupby([*KEYS], sort=False)["gain"].mean()
    by = mean.groupby(["step", "set", "encoder", "budget"], sort=False)
    cells = by.agg(lambda one: f"{100 * one.mean():+.1f} ±{100 * interval(one.to_numpy()):.1f}")
    for budget, part in cells.groupby("budget"):
        say(f"\n{classifier or 'mean of the classifiers'}, {budget} labels per class: gain in points")
        say(part.droplevel("budget").unstack(["set", "encoder"]).fillna("").to_string())


def main() -> None:
    """Measure what is not measured yet, and show everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="of vectors.py; none: show the results")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--steps", nargs="+", help="these only")
    parser.add_argument("--classifier", choices=CLASSIFIERS, help="show this one in place of the mean")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    for folder in given.folders:
        for encoder in ("initial", "pretrained"):
            if (folder / f"{encoder}-{PLAIN}.npz").exists():
                run(Bench(folder, encoder), given)
    show(given.results, given.classifier)


if __name__ == "__main__":
    main()
