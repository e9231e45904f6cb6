"""What ``measure.py`` found: reads needed, differences from random reading with intervals, and the figure.

::

    python benchmarks/selection/tables.py

Reads ``benchmarks/results/selection.jsonl``; writes ``selection.json`` beside it and
``docs/images/selection.svg``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from hundredfold.files import write_json
from hundredfold.learn.select.strategies import DEFAULT

RESULTS = Path(__file__).resolve().parents[1] / "results"
FIGURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "selection.svg"
LEVEL, BASE = 0.05, "random"
#: task → the share of the reads of random that is aimed at.
TARGETS = {"pbc_blood_cells 30:1": 0.4}
TARGET = 0.6
TITLES = {
    "pbc_blood_cells": "blood cells", "chula_rbc": "red cells", "busi_ultrasound": "ultrasound",
    "pbc_blood_cells 30:1": "blood cells, 30:1", "chula_rbc 5 % junk": "red cells, 5 % junk",
}
GREY, BLUE = "#777777", "#0b6e99"

Values = NDArray[np.float64]


def reads_for(accuracy: float, reads: Sequence[int], means: Values) -> float | None:
    """Reads at which the mean curve first comes to an accuracy, between two rounds by a straight line.

    Examples:
        >>> reads_for(0.75, [10, 20, 40], np.array([0.5, 0.7, 0.8])), reads_for(0.9, [10, 20], np.zeros(2))
        (30.0, None)
    """
    above = np.flatnonzero(means >= accuracy)
    if not len(above):
        return None
    place = int(above[0])
    if place == 0:
        return float(reads[0])
    return float(np.interp(accuracy, means[place - 1 : place + 1], reads[place - 1 : place + 1]))


def holm(differences: Sequence[Values]) -> list[tuple[float, float]]:
    """95 % intervals of mean paired differences, at the levels that Holm's procedure gives to their p-values.

    The smallest p-value of m is held against 5 % / m, and so is its interval's level; the next against
    5 % / (m − 1), and so on.
    """
    tests = [stats.ttest_1samp(one, 0) if np.ptp(one) else None for one in differences]
    order = np.argsort([1.0 if test is None else test.pvalue for test in tests], kind="stable")
    found = [(float(one.mean()),) * 2 for one in differences]
    for rank, place in enumerate(order):
        if (test := tests[place]) is not None:
            low, high = test.confidence_interval(1 - LEVEL / (len(tests) - rank))
            found[place] = (float(low), float(high))
    return found


def summary(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a side, strategy and task."""
    entries: list[dict[str, Any]] = []
    others = rows[rows["strategy"] != BASE]
    for (side, strategy), part in others.groupby(["side", "strategy"], sort=False):
        mine = [entry for task, lines in part.groupby("task", sort=False)
                if (entry := _entry(rows, side, task, strategy, lines)) is not None]
        intervals = holm([difference for entry in mine for difference in entry.pop("differences").T])
        for entry in mine:
            entry["intervals"] = [[round(end, 4) for end in intervals.pop(0)] for _ in entry["n_read"]]
        entries += mine
    return entries


def _entry(
    rows: pd.DataFrame, side: str, task: str, strategy: str, lines: pd.DataFrame
) -> dict[str, Any] | None:
    same = rows[(rows["side"] == side) & (rows["task"] == task) & (rows["strategy"] == BASE)]
    pairs = lines.merge(same, on="seed", suffixes=("", "_random"))
    if pairs.empty:
        return None
    mine, base = (np.stack(pairs[name]) for name in ("value", "value_random"))
    count = min(mine.shape[1], base.shape[1])
    mine, base, reads = mine[:, :count], base[:, :count], pairs["n_read"].iloc[0][:count]
    needed = reads_for(base[:, -1].mean(), reads, mine.mean(axis=0))
    return {
        "side": side, "task": task, "strategy": strategy, "seeds": len(pairs), "n_read": list(reads),
        "value": mine.mean(axis=0).round(4).tolist(), "random": base.mean(axis=0).round(4).tolist(),
        "reads_for_random_at_the_end": None if needed is None else round(needed),
        "share": None if needed is None else round(needed / reads[-1], 3),
        "target": TARGETS.get(task, TARGET), "differences": mine - base,
    }


def show(entries: Sequence[Mapping[str, Any]]) -> None:
    """Print a line an entry."""
    for entry in entries:
        gains = [
            f"{100 * (value - base):+.1f} [{100 * low:+.1f} {100 * high:+.1f}]" for value, base, (low, high)
            in zip(entry["value"], entry["random"], entry["intervals"], strict=True)
        ]
        worse = sum(high < 0 for _, high in entry["intervals"])
        print(
            f"{entry['side']:5} {entry['task']:21} {entry['strategy']:9} {entry['seeds']} seeds, share "
            f"{entry['share']} (target {entry['target']}), worse at {worse}: {'  '.join(gains)}"
        )


def draw(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Balanced accuracy against images read, a panel a task; the band is the interval of the difference."""
    figure, axes = plt.subplots(
        1, len(entries), figsize=(2.6 * len(entries), 2.9), layout="constrained", sharey=True, squeeze=False
    )
    for axis, entry in zip(axes[0], entries, strict=True):
        reads, base = entry["n_read"], np.array(entry["random"])
        low, high = np.array(entry["intervals"]).T
        axis.fill_between(reads, base + low, base + high, color=BLUE, alpha=0.15, lw=0)
        axis.plot(reads, base, "o-", ms=3, color=GREY, label="random")
        axis.plot(reads, entry["value"], "o-", ms=3, color=BLUE, label=entry["strategy"])
        axis.axhline(base[-1], color=GREY, lw=0.8, ls=":")
        axis.set(title=TITLES[entry["task"]], xlabel="images read", xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("balanced accuracy")
    axes[0, 0].legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Tables, summary and figure."""
    lines = (RESULTS / "selection.jsonl").read_text(encoding="utf-8").splitlines()
    entries = summary(pd.DataFrame([json.loads(line) for line in lines]))
    show(entries)
    write_json(RESULTS / "selection.json", entries)
    drawn = [entry for entry in entries if entry["strategy"] == DEFAULT]
    draw([entry for entry in drawn if entry["side"] == "test"] or drawn, FIGURE)


if __name__ == "__main__":
    main()
