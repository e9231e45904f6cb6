"""Does ``check`` keep quiet on clean batches, and see mild shifts? Batches of 100 images of unseen patients.

::

    hundredfold scan DATA/NAME/images --labels DATA/NAME/labels.csv --out RUNS/NAME      (for each set)
    python benchmarks/drift.py RUNS/NAME … --weights lite0.safetensors --out benchmarks/results/drift.json

The training side is split by patient, at random; two thirds are known, batches are made of the last third.
For false alarms that is done several times over; for shifts once, and the images of the last third go through
one of three shifts. Batches are made of whole patients, as ``check`` takes it where the new patients are not
known; where patients are known at all, also of two images each, and ``check`` is told so. The predictors are
those of ``predictors.py``; the directions of shifts are taken of 100 images of each kind.
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

from hundredfold.predict.batch import CLASSES, IMAGES, LOOKS_KIND, Known
from hundredfold.predict.drift import ALARM, Clean, clean_batches
from hundredfold.predict.looks import looks_of_images
from hundredfold.predict.memory import whole_pieces

COUNT, DRAWS, SPLITS, CLEAN, SHIFTED = 100, 299, 20, 6, 60
#: Images of no known patient that are shifted, as all images of unseen patients are; and those that are
#: shifted once more for the direction.
UNSEEN, DIRECTIONS = 400, 100
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


def halves(known: Known, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two thirds of the patients, and of the others."""
    names = np.random.default_rng(seed).permutation(np.unique(known.pieces))
    here = np.isin(known.pieces, names[: 2 * len(names) // 3])
    return np.flatnonzero(here), np.flatnonzero(~here)


def clean_of(known: Known, rows: NDArray[np.int64], sizes: list[int] | None, seed: int = 0) -> Clean:
    """Clean batches of some of the known images."""
    own = {kind: values[rows] for kind, values in known.numbers.items()}
    return Clean(own, known.pieces[rows], COUNT, sizes, draws=DRAWS, seed=seed)


def false_alarms(case: Case, known: Known, moves: Any) -> list[Row]:
    """The share of clean batches that alarm, by how they are made up."""
    rows = []
    for name, sizes in compositions(known).items():
        found = []
        for seed in range(1, SPLITS + 1):
            here, there = halves(known, seed)
            clean = clean_of(known, here, sizes, seed)
            found += [
                clean.compare({kind: values[there[batch]] for kind, values in known.numbers.items()}, moves).p
                for batch in batches(known.pieces[there], sizes, CLEAN, seed)
            ]
        rates = np.array(found).reshape(SPLITS, CLEAN) <= ALARM
        rows.append({
            "set": case.name, "batch": name, "shift": "none", "splits": SPLITS, "batches": len(found),
            "alarms": rates.mean(), "least": rates.mean(axis=1).min(), "most": rates.mean(axis=1).max(),
        })
        print(rows[-1], flush=True)
    return rows


def numbers_of(known: Known, pixels: NDArray[np.uint8]) -> tuple[Numbers, dict[str, Any]]:
    """New images as ``check`` sees them, and where shifts would move them."""
    vectors = looked(pixels, known.predictor.encoder.encode)
    new = known.of(vectors, looks_of_images(pixels), known.predictor.judge(vectors).scores)
    some = np.random.default_rng(2).permutation(len(pixels))[:DIRECTIONS]
    return new, {IMAGES: known.shifts(pixels[some], new[IMAGES][some])}


def seen(case: Case, known: Known) -> list[Row]:
    """The share of batches that alarm, without and with each shift."""
    here, there = halves(known, 0)
    most = len(there) if known.groups else UNSEEN
    chosen = there[whole_pieces(known.pieces[there], most, seed=1)]
    pixels, rows = case.pixels(known.ids[chosen]), []
    ready = {name: clean_of(known, here, sizes) for name, sizes in compositions(known).items()}
    for shift in ("none", *SHIFTS):
        changed = pixels if shift == "none" else np.stack([SHIFTS[shift](one) for one in pixels])
        far = float(np.abs(changed.astype(float) - pixels).mean())
        if shift != "none" and not far:  # grey has no hue to turn
            continue
        new, moves = numbers_of(known, changed)
        if shift == "none":
            rows += false_alarms(case, known, moves)
        for name, sizes in compositions(known).items() if shift != "none" else ():
            found = [
                ready[name].compare({kind: values[batch] for kind, values in new.items()}, moves)
                for batch in batches(known.pieces[chosen], sizes, SHIFTED, 7)
            ]
            rows.append({
                "set": case.name, "batch": name, "shift": shift, "splits": 1, "batches": len(found),
                "alarms": np.mean([one.alarm for one in found]),
                **{f"by {part}": np.mean([one.parts[part] <= ALARM for one in found])
                   for part in (IMAGES, LOOKS_KIND, CLASSES)},
                "levels_changed": far,
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
        if given.out:
            facts: Row = {"images_a_batch": COUNT, "clean_batches": DRAWS, "level": ALARM}
            facts["rows"] = json.loads(table.to_json(orient="records"))
            given.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
