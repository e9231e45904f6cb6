"""Is the true class in the set as often as promised? Coverage over 200 re-splits of three data sets.

::

    python benchmarks/label_efficiency/vectors.py RUN --weights lite0.safetensors --out runs/beyond/NAME
    python benchmarks/conformal.py runs/beyond/NAME …

NAME holds vectors of a training side (``initial-plain``), so no test image has a part in this; to save time
their first 128 principal components are taken. What is in ``benchmarks/results/conformal.json`` is not
measured again. Two ways:

``split``: a third of the images, by group, teaches the classifiers and calibrates them. The others are split
anew 200 times, image by image, into labels that the bars are fitted to and images that are judged. Then the
coverage of each re-split follows a beta-binomial distribution exactly, of mean ⌈(n+1)·coverage⌉/(n+1) (Vovk
2012, "Conditional validity of inductive conformal predictors"), and that is what is looked for.

``fit``: as ``fit`` does it. In each of 200 re-splits other labels are drawn, which serve for both: each is
scored by a classifier that learned from four fifths of the others, by group; calibration and bars are fitted
to these scores, and a classifier that learned from all of the labels judges the other images.

Labels are drawn at random (``random``: the bars are weighted by the labels' own shares), or as many of each
class (``balanced``: weighted by the shares of the set; ``balanced, unweighted``: as if the classes were
equally common, which they are not; ``balanced, class-wise``: sets made class by class, of which the mean of
the classes' coverages is told). Re-splits go by image, groups being ignored, and by group, where there
are any: then nothing is exact. ``covered`` is of the bars as the theory has them, and so are ``size``, the
mean number of classes in a set, ``none``, ``one`` (the share of sets of no and of one class) and ``several``
(how many classes there are in the others); ``written`` is the coverage of sets that are never empty, as
``predict`` writes them. ``outside`` counts the re-splits outside the 99 % interval of that beta-binomial
distribution; of 200, two are expected, where it holds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import betabinom
from sklearn.decomposition import PCA

sys.path.insert(0, str(Path(__file__).resolve().parent / "label_efficiency"))
from vectors import read_vectors

from hundredfold.data.table import ImageTable
from hundredfold.learn.budgets import group_folds
from hundredfold.learn.calibrate import METHODS, Calibration
from hundredfold.learn.draws import solve
from hundredfold.learn.held_out import held_out_parts
from hundredfold.metrics import group_codes
from hundredfold.predict.conformal import Sets, bars, strangeness
from hundredfold.progress import say

CLASSIFIERS = ("logistic", "svm")
RESULTS = Path(__file__).resolve().parent / "results" / "conformal.json"
COVERAGES = (0.8, 0.9, 0.95)
REPEATS, LABELS, EACH, JUDGED = 200, 275, 25, 1000
COMPONENTS = 128
KEYS = ["set", "way", "splits", "classifier", "labels", "calibration", "measure", "promise"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """The vectors, classes and groups of one set's training side."""

    name: str
    x: NDArray[np.float32]
    codes: Rows
    group: Rows
    grouped: bool

    @classmethod
    def read(cls, folder: Path) -> World:
        """What ``vectors.py`` wrote."""
        side = ImageTable.read(folder / "side.parquet")
        found = read_vectors(folder, "initial-plain")
        codes = pd.factorize(side.frame["label"], sort=True)[0].astype(np.int64)
        groups, x = side.frame["group"], np.stack([found[one] for one in side.ids])
        x = PCA(COMPONENTS, random_state=0).fit_transform(x).astype(np.float32)
        return cls(folder.name, x, codes, group_codes(groups.tolist(), len(x)), bool(groups.notna().any()))

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.codes.max()) + 1

    @property
    def shares(self) -> NDArray[np.float64]:
        """How common each class is ``[c]``."""
        return np.bincount(self.codes) / len(self.codes)

    def own(self, splits: str) -> Rows:
        """The groups that count: where splits go by image, each image is one."""
        return self.group if splits == "group" else np.arange(len(self.codes))

    def said(self, name: str, rows: Rows, asked: Rows, splits: str) -> NDArray[np.float32]:
        """Scores ``[m, c]`` of a classifier that learned from ``rows``."""
        return solve(
            self.x[rows], self.codes[rows], self.x[asked], [name], self.classes,
            groups=self.own(splits)[rows], preset="default",
        ).scores[0]

    def held(self, name: str, rows: Rows, splits: str) -> NDArray[np.float64]:
        """Scores ``[n, c]`` of the labels themselves, held out in turn as ``fit`` does it."""
        ids = np.array([f"{row}" for row in rows], dtype=object)
        parts = held_out_parts(ids, self.codes[rows], self.own(splits)[rows].tolist(), seed=0)
        found = np.full((len(rows), self.classes), np.nan)
        for part in parts:
            found[part] = self.said(name, rows[~part], rows[part], splits)
        return found


def drawn(world: World, among: Rows, labels: str, count: int, random: np.random.Generator) -> Rows:
    """Which images get labels."""
    order = random.permutation(among)
    if labels == "random":
        return order[:count]
    return np.concatenate([order[world.codes[order] == number][:EACH] for number in range(world.classes)])


def apart(world: World, pool: Rows, splits: str, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Images to label, and those to judge: all of the pool in both, or none of a group on both sides."""
    if splits == "image":
        return pool, pool
    names = random.permutation(np.unique(world.group[pool]))
    mine = np.isin(world.group[pool], names[: len(names) // 2])
    return pool[mine], pool[~mine]


def difference(said: NDArray[Any]) -> NDArray[Any]:
    """By how much the most probable other class exceeds each."""
    second, first = np.sort(said, axis=1)[:, -2:, None].transpose(1, 0, 2)
    return np.where(said < first, first, second) - said


#: Measures of strangeness: ours, the difference of probabilities, and the probability alone.
MEASURES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "ratio": strangeness, "difference": difference, "probability": np.negative,
}


@cache
def usual(labels: int, judged: int, promise: float) -> tuple[int, float, float]:
    """Which of the labels makes the bar, and the 99 % interval of how many judged images are covered."""
    rank = int(np.ceil(promise * (labels + 1) - 1e-9))
    low, high = betabinom(judged, rank, labels + 1 - rank).ppf([0.005, 0.995])
    return rank, float(low), float(high)


def rows_of(
    fitted: Calibration, held: NDArray[Any], codes: Rows, asked: NDArray[Any], truth: Rows, *,
    labels: str, shares: NDArray[Any],
) -> Iterator[dict[str, Any]]:
    """What is measured in one re-split, a row a weighting, promise and measure of strangeness."""
    size, count = len(codes), held.shape[1]
    ways = {"random": np.bincount(codes, minlength=count) / size}
    if labels == "balanced":
        ways = {"balanced": shares, "balanced, unweighted": np.full(count, 1 / count)}
    for way, there in ways.items():
        known, new = fitted.probabilities(held, there), fitted.probabilities(asked, there)
        measures = MEASURES if way == "random" else {"ratio": strangeness}
        for (measure, strange), promise in product(measures.items(), COVERAGES):
            found = bars(strange(known)[np.arange(size), codes], codes, there, promise)
            members = strange(new) <= found
            covered, many = members[np.arange(len(truth)), truth], members.sum(axis=1)
            rank, low, high = usual(size, len(truth), promise)
            sets = Sets.fit(known, codes, promise, shares=there)
            written = sets.members(new)[np.arange(len(truth)), truth] if sets else covered
            yield {
                "labels": way, "calibration": fitted.method, "measure": measure, "promise": promise,
                "expected": rank / (size + 1), "covered": covered.mean(),
                "outside": not low <= covered.sum() <= high, "size": many.mean(), "none": (many == 0).mean(),
                "one": (many == 1).mean(), "several": many[many > 1].mean() if (many > 1).any() else np.nan,
                "written": written.mean() if measure == "ratio" else np.nan, "n_labels": size,
                "n_judged": len(truth),
            }


def class_wise(
    known: NDArray[Any], new: NDArray[Any], codes: Rows, truth: Rows
) -> Iterator[dict[str, Any]]:
    """The mean over the classes of how many of their images are covered by sets made class by class."""
    for promise in COVERAGES:
        sets = Sets.fit(known, codes, promise, "class-wise")
        assert sets is not None
        assert sets.promised.all()
        members = sets.members(new)
        many, written = members.sum(axis=1), members[np.arange(len(truth)), truth]
        each = pd.Series(written).groupby(truth).mean()
        yield {
            "labels": "balanced, class-wise", "calibration": "temperature", "measure": "ratio",
            "promise": promise, "expected": usual(EACH, EACH, promise)[0] / (EACH + 1),
            "written": each.mean(), "size": many.mean(), "one": (many == 1).mean(),
            "several": many[many > 1].mean() if (many > 1).any() else np.nan, "n_labels": len(codes),
            "n_judged": len(truth),
        }


def split_way(world: World, splits: str, name: str, repeats: int) -> Iterator[dict[str, Any]]:
    """Classifiers that learned from other images; only the bars are fitted anew."""
    ids = np.array([f"{row}" for row in range(len(world.codes))], dtype=object)
    learn = group_folds(ids, world.codes, world.group.tolist(), folds=3) == 0
    teachers, pool = np.flatnonzero(learn), np.flatnonzero(~learn)
    whole = np.full((len(world.codes), world.classes), np.nan)
    whole[pool] = world.said(name, teachers, pool, "group")
    fitted = Calibration.fit(world.held(name, teachers, "group"), world.codes[teachers])
    assert fitted is not None
    count = min(LABELS, len(pool) // 2)
    for repeat in range(repeats):
        for labels in ("random", "balanced"):
            random = np.random.default_rng(repeat)
            mine, others = apart(world, pool, splits, random)
            rows = drawn(world, mine, labels, count, random)
            asked = np.setdiff1d(others, rows)
            known, said = whole[rows], whole[asked]
            yield from rows_of(
                fitted, known, world.codes[rows], said, world.codes[asked], labels=labels, shares=world.shares
            )
            if labels == "balanced":
                alike = fitted.probabilities(known), fitted.probabilities(said)
                yield from class_wise(*alike, world.codes[rows], world.codes[asked])


def fit_way(world: World, splits: str, name: str, repeats: int) -> Iterator[dict[str, Any]]:
    """Labels that serve for both, as in ``fit``."""
    every, count = np.arange(len(world.codes)), min(LABELS, EACH * world.classes)
    for repeat in range(repeats):
        for labels in ("random", "balanced"):
            random = np.random.default_rng(repeat)
            mine, others = apart(world, every, splits, random)
            rows = drawn(world, mine, labels, count, random)
            asked = random.permutation(np.setdiff1d(others, rows))[:JUDGED]
            held, said = world.held(name, rows, splits), world.said(name, rows, asked, splits)
            known = ~np.isnan(held).any(axis=1)
            for method in METHODS:
                fitted = Calibration.fit(held, world.codes[rows], method)
                if fitted is not None:  # else a class has fewer than five labels
                    yield from rows_of(
                        fitted, held[known], world.codes[rows][known], said, world.codes[asked],
                        labels=labels, shares=world.shares,
                    )


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the re-splits, and how many are outside."""
    by = rows.groupby(KEYS, sort=False)
    found = by[["expected", "covered", "written", "size", "none", "one", "several"]].mean()
    found["spread"] = by["covered"].std()
    found["outside"] = by["outside"].sum()
    found["done"] = by.size()
    found[["n_labels", "n_judged"]] = by[["n_labels", "n_judged"]].mean().round(1)
    return found.round(4).reset_index()


def main() -> None:
    """Measure what is not in the results yet, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="of label_efficiency/vectors.py")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    worlds = [World.read(folder) for folder in given.folders]
    found = pd.DataFrame(json.loads(given.out.read_text())) if given.out.is_file() else pd.DataFrame()
    ways = {"split": split_way, "fit": fit_way}
    for way, name in product(ways, CLASSIFIERS):
        for splits, world in product(("image", "group"), worlds):
            key = {"set": world.name, "way": way, "splits": splits, "classifier": name}
            known = len(found) and (found[list(key)] == list(key.values())).all(axis=1).any()
            if known or (splits == "group" and not world.grouped):
                continue
            say(", ".join(key.values()))
            rows = [{**key, **row} for row in ways[way](world, splits, name, given.repeats)]
            found = pd.concat([found, summary(pd.DataFrame(rows))], ignore_index=True)
            told = found.astype(object).where(found.notna(), None).to_dict("records")
            given.out.write_text(json.dumps(told, indent=1) + "\n")
    pd.set_option("display.width", 220, "display.max_rows", None)
    shown = (found["promise"] == 0.9) & (found["calibration"] == "temperature")
    print(found[shown].drop(columns=["promise", "calibration"]).to_string(index=False))


if __name__ == "__main__":
    main()
