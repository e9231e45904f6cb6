"""Does ``check`` keep quiet on clean batches, and see mild shifts? Batches of 100 images of unseen patients.

::

    hundredfold scan DATA/NAME/images --labels DATA/NAME/labels.csv --out RUNS/NAME      (for each set)
    python benchmarks/drift.py RUNS/NAME … --weights lite0.safetensors --out benchmarks/results/drift.json

False alarms: the training side is split by patient, at random; two thirds are known, batches are made of the
last third. Shifts: batches of the test side, whose images went through one of three shifts, against the whole
training side. Batches are made of whole patients, as ``check`` takes it where the new patients are not known;
where patients are known at all, also of two images each, and ``check`` is told so. The predictors are those
of ``predictors.py``, the directions of shifts are taken of 30 images of each kind.
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

sys.path.insert(0, str(Path(__file__).resolve().parent))
from corruptions import SHIFTS
from predictors import Case, case_of, looked

from hundredfold.data.splits import pieces_of
from hundredfold.predict.batch import CLASSES, IMAGES, LOOKS_KIND, Known
from hundredfold.predict.drift import ALARM, Clean, clean_batches
from hundredfold.predict.looks import looks_of_images

COUNT, DRAWS, SPLITS, CLEAN, SHIFTED = 100, 299, 6, 40, 60
UNSEEN, DIRECTIONS = 600, 30
Row = dict[str, Any]
Numbers = dict[str, NDArray[np.float64]]


def batches(pieces: NDArray[np.int64], sizes: list[int] | None, count: int, seed: int) -> list[Any]:
    """Batches of new images, made as clean ones are."""
    own = np.unique(pieces, return_inverse=True)[1].astype(np.int64)
    return clean_batches(own, COUNT, sizes, count, np.random.default_rng(seed))


def compositions(known: Known) -> dict[str, list[int] | None]:
    """How batches are made up: name → images of each patient."""
    pairs: dict[str, list[int] | None] = {"2 images each of 50 patients": [2] * 50} if known.groups else {}
    return {"whole patients" if known.groups else "images of no known patient": None, **pairs}


def false_alarms(case: Case, known: Known, moves: Any) -> list[Row]:
    """The share of clean batches that alarm, with patients left out of the training side."""
    rows = []
    for name, sizes in compositions(known).items():
        found = []
        for seed in range(SPLITS):
            random = np.random.default_rng(seed)
            names = random.permutation(np.unique(known.pieces))
            here = np.isin(known.pieces, names[: 2 * len(names) // 3])
            own = {kind: values[here] for kind, values in known.numbers.items()}
            clean = Clean(own, known.pieces[here], COUNT, sizes, draws=DRAWS, seed=seed)
            other = {kind: values[~here] for kind, values in known.numbers.items()}
            found += [
                clean.compare({kind: values[batch] for kind, values in other.items()}, moves).p
                for batch in batches(known.pieces[~here], sizes, CLEAN, seed)
            ]
        rates = np.array(found).reshape(SPLITS, CLEAN) <= ALARM
        rows.append({
            "set": case.name, "batch": name, "shift": "none", "side": "training", "batches": len(found),
            "alarms": rates.mean(), "least": rates.mean(axis=1).min(), "most": rates.mean(axis=1).max(),
            "at_p_.05": (np.array(found) <= 0.05).mean(),
        })
    return rows


def unseen(case: Case) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Test images of whole patients, about 600: pixels and pieces."""
    table = case.images.select((case.images.frame["split"] == "test").to_numpy(dtype=bool))
    pieces = pieces_of(table)
    names, sizes = np.unique(pieces, return_counts=True)
    order = np.random.default_rng(1).permutation(len(names))
    chosen = np.isin(pieces, names[order[np.cumsum(sizes[order]) <= UNSEEN]])
    return case.pixels(table.ids[chosen]), pieces[chosen]


def numbers_of(known: Known, pixels: NDArray[np.uint8]) -> tuple[Numbers, dict[str, Any]]:
    """New images as ``check`` sees them, and where shifts would move them."""
    vectors = looked(pixels, known.predictor.encoder.encode)
    new = known.of(vectors, looks_of_images(pixels), known.predictor.judge(vectors).scores)
    some = np.random.default_rng(2).permutation(len(pixels))[:DIRECTIONS]
    return new, {IMAGES: known.shifts(pixels[some], new[IMAGES][some])}


def seen(case: Case, known: Known) -> list[Row]:
    """The share of batches of the test side that alarm, with and without a shift; first, false alarms."""
    pixels, pieces = unseen(case)
    rows: list[Row] = []
    ready = {name: Clean(known.numbers, known.pieces, COUNT, sizes, draws=DRAWS)
             for name, sizes in compositions(known).items()}
    for shift in ("none", *SHIFTS):
        changed = pixels if shift == "none" else np.stack([SHIFTS[shift](one) for one in pixels])
        new, moves = numbers_of(known, changed)
        if shift == "none":
            rows += false_alarms(case, known, moves)
        for name, sizes in compositions(known).items():
            found = [
                ready[name].compare({kind: values[batch] for kind, values in new.items()}, moves)
                for batch in batches(pieces, sizes, SHIFTED, 7)
            ]
            rows.append({
                "set": case.name, "batch": name, "shift": shift, "side": "test", "batches": len(found),
                "alarms": np.mean([one.alarm for one in found]),
                **{f"by {part}": np.mean([one.parts[part] <= ALARM for one in found])
                   for part in (IMAGES, LOOKS_KIND, CLASSES)},
                "changed_pixels": float(np.abs(changed.astype(float) - pixels).mean()),
            })
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="scanned runs, each named as its set")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, help="vectors of label_efficiency/vectors.py, a folder a set")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows: list[Row] = []
    for folder in given.runs:
        case = case_of(folder, given.weights, given.vectors)
        rows += seen(case, Known(case.predictor))
    table = pd.DataFrame(rows).round(3)
    print(table.to_string(index=False))
    if given.out:
        facts: Row = {"images_a_batch": COUNT, "clean_batches": DRAWS, "level": ALARM}
        facts["rows"] = json.loads(table.to_json(orient="records"))
        given.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
