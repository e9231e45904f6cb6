"""How far a forecast can be trusted: the right end of real learning curves is hidden and forecast.

::

    python benchmarks/forecast.py ../shared/data/*

Curves of colour histograms and of small thumbnails, three classifiers, three test sets a data set. Of each
curve everything right of a point is hidden, up to four times its labels, and forecast from what is left of
it. Prints, by set (SVM and logistic regression) and by classifier, how often the interval holds the measured
gain, with the widening for what lies beyond the curve, without it, and with the one that the other sets ask
for. Writes ``benchmarks/results/forecast.json``.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hundredfold.config import CurveChoices
from hundredfold.data.splits import draw_splits
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.files import write_json
from hundredfold.learn import forecast as room
from hundredfold.learn.compare import resampled_curve
from hundredfold.learn.curve import learning_curve

RESULTS = Path(__file__).parent / "results" / "forecast.json"
BUDGETS = (1, 2, 5, 10, 15, 25, 40, 50, 75, 100, 150, 200)
ENCODERS = {"histogram": (1, 32), "thumbnail": (6, 16)}
CLASSIFIERS = ("svm", "knn", "logistic")
SIDE = 64
TAIL = 0.025


def embeddings(folder: Path, most: int) -> tuple[ImageTable, dict[str, Embeddings]]:
    """Features of at most ``most`` images of a set, drawn at random."""
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    labels = labels.sample(min(most, len(labels)), random_state=0).sort_values("image", ignore_index=True)
    pixels = np.stack([
        cv2.resize(cv2.imread(str(folder / "images" / name)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        for name in labels["image"]
    ])
    table = ImageTable.of({
        "id": labels["image"], "label": labels["label"], "group": labels.get("group"),
    })
    found = {}
    for name, (side, bins) in ENCODERS.items():
        encoder = ThumbnailEncoder(side=side, bins=bins)
        facts = {"name": name, "hash": encoder.hash, "dimension": encoder.dimension}
        found[name] = Embeddings(table.ids, encoder.encode(pixels), facts, table)
    return table, found


def curves(folder: Path, *, seeds: int, most: int) -> list[dict[str, Any]]:
    """The curves of one set: budgets, measured values and their resamples."""
    table, found = embeddings(folder, most)
    made = []
    for seed in range(seeds):
        split = draw_splits(table, test_size=0.34, seed=seed)
        choices = CurveChoices.of(budgets=BUDGETS, classifiers=CLASSIFIERS, repeats=5, bootstrap=0)
        curve = learning_curve(found, split, choices, seed=seed)
        groups = split.frame.set_index("id")["group"]
        over_all = curve.frame[curve.frame["metric"] == "balanced_accuracy"]
        capped = over_all.groupby("n_per_class")["capped"].any()
        for method in itertools.product(ENCODERS, CLASSIFIERS):
            budgets, values, samples = resampled_curve(curve.predictions, groups, method, seed=seed)
            made.append({
                "set": folder.name, "seed": seed, "encoder": method[0], "classifier": method[1],
                "budgets": budgets, "values": values, "samples": samples,
                "capped": capped.reindex(budgets).to_numpy(),
            })
    return made


def trials(curve: dict[str, Any]) -> list[dict[str, Any]]:
    """Hide what lies to the right of each point, forecast it, and set it beside what was measured."""
    free = ~curve["capped"]
    n, values, samples = curve["budgets"][free], curve["values"][free], curve["samples"][:, free]
    told = []
    for seen in range(room.FEWEST, len(n)):
        for hidden in range(seen, len(n)):
            found = room.forecast(
                n[:seen], samples[:, :seen], values[:seen], labels=int(n[hidden] - n[seen - 1])
            )
            if isinstance(found, room.Refusal):
                continue
            told.append({
                **{key: curve[key] for key in ("set", "seed", "encoder", "classifier")},
                "from": int(n[seen - 1]), "to": int(n[hidden]), "gain": found.gain, "low": found.low,
                "high": found.high, "measured": float(values[hidden] - values[seen - 1]),
            })
    return told


def outside(table: pd.DataFrame, below: float, above: float) -> tuple[float, float]:
    """Shares of measured gains under and over their intervals, had these been widened otherwise."""
    reach = np.log(table["to"] / table["from"])
    arms = zip((table["gain"] - table["low"], table["high"] - table["gain"]), room.BEYOND, strict=True)
    low, high = (np.sqrt(np.maximum(0, arm**2 - (used * reach) ** 2)) for arm, used in arms)
    under = table["measured"] < table["gain"] - np.hypot(low, below * reach)
    over = table["measured"] > table["gain"] + np.hypot(high, above * reach)
    return float(under.mean()), float(over.mean())


def needed(table: pd.DataFrame) -> list[float]:
    """The smallest widenings with which at most 2.5 % lie under, and at most 2.5 % over their intervals."""
    grid = np.arange(0, 0.2, 0.0025)
    under = next((one for one in grid if outside(table, one, 0)[0] <= TAIL), np.nan)
    over = next((one for one in grid if outside(table, 0, one)[1] <= TAIL), np.nan)
    return [round(float(under), 4), round(float(over), 4)]


def summary(table: pd.DataFrame, key: str) -> dict[str, Any]:
    """Coverage and error, in all and by ``key``."""
    return {
        name: {
            "forecasts": len(rows),
            "coverage": round(1 - sum(outside(rows, *room.BEYOND)), 3),
            "coverage_without_widening": round(1 - sum(outside(rows, 0, 0)), 3),
            "coverage_if_widened_by_the_others": _by_the_others(table, key, name),
            "widening_needed": needed(rows),
            "mean_error_points": round(100 * float((rows["gain"] - rows["measured"]).mean()), 2),
            "median_absolute_error_points": round(100 * float((rows["gain"] -
            rows["measured"]).abs().median()), 2),
            "median_width_points": round(100 * float((rows["high"] - rows["low"]).median()), 2),
        }
        for name, rows in {"all": table, **dict(tuple(table.groupby(key)))}.items()
    }


def _by_the_others(table: pd.DataFrame, key: str, name: str) -> float | None:
    """Coverage of a set with the widening that all other sets need: what a new set may expect."""
    if name == "all":
        return None
    return round(1 - sum(outside(table[table[key] == name], *needed(table[table[key] != name]))), 3)


def report(table: pd.DataFrame, *, seeds: int, most: int) -> None:
    """Print and keep how the forecasts of ``table`` did."""
    knn = table["classifier"] == "knn"
    found = {"sets": summary(table[~knn], "set"), "classifiers": summary(table, "classifier")}
    for part in found.values():
        print(pd.DataFrame(part).T.to_string())
    write_json(RESULTS, {
        "beyond": room.BEYOND, "budgets": BUDGETS, "seeds": seeds, "most_images": most,
        "encoders": list(ENCODERS), **found,
    })


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=4000, help="images of a set, at random")
    given = parser.parse_args()
    table = pd.DataFrame([
        row for folder in given.sets for curve in curves(folder, seeds=given.seeds, most=given.most)
        for row in trials(curve)
    ])
    report(table, seeds=given.seeds, most=given.most)


if __name__ == "__main__":
    main()
