"""Does a predictor tell what it does not know? False alarms, other modalities, new classes, bad images.

::

    hundredfold scan DATA/NAME/images --labels DATA/NAME/labels.csv --out RUNS/NAME      (for each set)
    python benchmarks/novelty.py RUNS/NAME … --weights lite0.safetensors --photographs DIR \
        [--encoder NAME=FOLDER …] --out benchmarks/results/novelty.json

The predictors are those of ``predictors.py``: 100 labels a class, the rest of the training side without
labels. Test images are looked at once, as new ones; what is measured by leaving groups out is measured on
the training side alone. ``DIR`` holds photographs of everyday things, of which random squares are taken.

An encoder that was pre-trained has seen the images that are remembered, and not the new ones. How many false
alarms that costs is asked of encoders whose pre-training left whole groups out, such as those that
``recipes/screen.py confirm`` keeps: what they saw is remembered, what they did not is new.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parent))
from corruptions import CORRUPTIONS, GRADES, corrupted
from predictors import BATCH, Case, case_of, looked

from hundredfold.encode.opening import load_encoder
from hundredfold.predict.answers import Answers
from hundredfold.predict.memory import Memory
from hundredfold.predict.novelty import ALARM, Novelty

SPLITS, MEMORIES = 30, (100, 300, 1000, 10_000)
OTHERS, CORRUPTED = 300, 200
#: Images of the training side that are looked at with an encoder that was pre-trained: known ones, and new.
SEEN, NEW = 2_000, 1_000
Row = dict[str, Any]


def memory_of(case: Case, rows: NDArray[np.int64]) -> Memory:
    """Some images of the training side, as a predictor would remember them."""
    ids = case.embeddings.ids[rows]
    return memory_with(ids, case.pieces_of(ids), case.embeddings.vectors[rows])


def memory_with(
    ids: NDArray[np.object_], pieces: NDArray[np.int64], vectors: NDArray[np.float32]
) -> Memory:
    """Images without labels, as a predictor would remember them."""
    count = len(ids)
    return Memory(
        ids, np.full(count, -1, dtype=np.int64), np.full(count, None, dtype=object),
        pieces, vectors, np.full((count, 2), np.nan, np.float32),
    )


def alarms(found: Novelty, memory: Memory, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which images are called unusual."""
    return found.share(found.distance(vectors, memory)) >= ALARM


def halves(case: Case, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two thirds of the training side's patients and the others, as rows of the embeddings, shuffled."""
    random = np.random.default_rng(seed)
    own = memory_of(case, np.arange(len(case.embeddings))).pieces
    names = random.permutation(np.unique(own))
    known = np.isin(own, names[: 2 * len(names) // 3])
    return random.permutation(np.flatnonzero(known)), random.permutation(np.flatnonzero(~known))


def false_alarms(case: Case) -> list[Row]:
    """The share of images of unseen patients that is called unusual, by how many images are remembered."""
    rows = []
    for size in MEMORIES:
        rates = []
        for seed in range(SPLITS):
            known, new = halves(case, seed)
            memory = memory_of(case, known[:size])
            found = Novelty.fit(memory)
            assert found is not None
            rates.append(alarms(found, memory, case.embeddings.vectors[new]).mean())
        rows.append({
            "set": case.name, "remembered": min(size, len(known)), "splits": SPLITS,
            "mean": np.mean(rates), "sd": np.std(rates), "least": min(rates), "most": max(rates),
        })
    return rows


def new_classes(case: Case) -> list[Row]:
    """Each class left out of the memory in turn: is it more unusual than new images of the others?"""
    labels = case.embeddings.images.frame["label"].to_numpy(dtype=object)
    rows = []
    for name in sorted(set(labels)):
        known, new = halves(case, 0)
        memory = memory_of(case, known[labels[known] != name])
        found = Novelty.fit(memory)
        assert found is not None
        vectors, strange = case.embeddings.vectors[new], labels[new] == name
        rows.append({
            "set": case.name, "left_out": name, "images": int(strange.sum()),
            "auroc": roc_auc_score(strange, found.distance(vectors, memory)),
            "alarms": alarms(found, memory, vectors)[strange].mean(),
            "alarms_others": alarms(found, memory, vectors)[~strange].mean(),
        })
    return rows


def photographs(folder: Path, size: int, count: int) -> NDArray[np.uint8]:
    """Random squares of photographs, of a third of their shorter side to the whole [n,s,s,3]."""
    random = np.random.default_rng(0)
    pictures = [cv2.imread(str(path))[..., ::-1] for path in sorted(folder.iterdir())]
    squares = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = int(min(picture.shape[:2]) * random.uniform(1 / 3, 1))
        top, left = (int(random.integers(0, length - side + 1)) for length in picture.shape[:2])
        square = np.ascontiguousarray(picture[top : top + side, left : left + side])
        squares.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    return np.stack(squares)


def other_modalities(case: Case, others: Sequence[Case], folder: Path) -> list[Row]:
    """Against unseen images of the own set: images of the other sets, and photographs."""
    predictor, size = case.predictor, case.store.size
    assert predictor.novelty is not None
    assert predictor.memory is not None

    def distances(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        return predictor.novelty.distance(looked(pixels, predictor.encoder.encode), predictor.memory)

    own = distances(case.pixels(case.unseen(OTHERS).ids))
    rows = []
    for name, pixels in foreign_images(size, others, folder).items():
        found = distances(pixels)
        rows.append({
            "set": case.name, "against": name, "images": len(found), "auroc": told_apart(own, found),
            "alarms": (predictor.novelty.share(found) >= ALARM).mean(),
            "alarms_own": (predictor.novelty.share(own) >= ALARM).mean(),
        })
    return rows


def foreign_images(size: int, others: Sequence[Case], folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Photographs, and unseen images of the other sets, all of one size."""
    foreign = {"photographs": photographs(folder, size, OTHERS)}
    for other in others:
        pixels = other.pixels(other.unseen(OTHERS).ids)
        foreign[other.name] = np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA)
                                        for one in pixels])
    return foreign


def told_apart(own: NDArray[np.float64], foreign: NDArray[np.float64]) -> float:
    """AUROC of foreign images against own ones."""
    truth = np.repeat([0, 1], [len(own), len(foreign)])
    return float(roc_auc_score(truth, np.concatenate([own, foreign])))


def pretrained(case: Case, others: Sequence[Case], folder: Path, encoder_folder: Path) -> list[Row]:
    """With an encoder that saw some groups: alarms on those that it did not, and on other kinds of image."""
    encoder, random = load_encoder(encoder_folder), np.random.default_rng(0)
    ids, pieces = case.images.ids, case.pieces
    seen = case.images.frame["sha256"].isin(encoder.seen).to_numpy(dtype=bool)
    new = ~np.isin(pieces, pieces[seen])  # nor near-copies of what it saw
    known = random.permutation(np.flatnonzero(seen))[:SEEN]
    memory = memory_with(ids[known], pieces[known], looked(case.pixels(ids[known]), encoder.encode))
    found = Novelty.fit(memory)
    assert found is not None
    asked = {
        "new groups": case.pixels(random.permutation(ids[new])[:NEW]),
        **foreign_images(case.store.size, others, folder),
    }
    distances = {
        name: found.distance(looked(pixels, encoder.encode), memory) for name, pixels in asked.items()
    }
    return [
        {
            "set": case.name, "encoder": encoder_folder.name, "remembered": len(known), "asked": name,
            "images": len(far), "alarms": (found.share(far) >= ALARM).mean(),
            "auroc": told_apart(distances["new groups"], far),
        } for name, far in distances.items()
    ]


def answered(case: Case, pixels: NDArray[np.uint8]) -> list[Answers]:
    """What the predictor says, batch by batch."""
    return [case.predictor.answer(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]


def joined(parts: Sequence[Answers], name: str) -> NDArray[Any]:
    """One field of all answers."""
    return np.concatenate([getattr(part, name) for part in parts])


def bad_images(case: Case) -> list[Row]:
    """Accuracy, coverage of the sets and alarms on unseen images, in every grade of every corruption."""
    table = case.unseen(CORRUPTED)
    pixels, truth = case.pixels(table.ids), table.frame["label"].to_numpy(dtype=object)
    classes = np.array(case.predictor.classes)
    rows = []
    for kind in ("none", *CORRUPTIONS):
        for grade in range(1, GRADES + 1) if kind != "none" else (0,):
            parts = answered(case, corrupted(pixels, kind, grade) if grade else pixels)
            row = {
                "set": case.name, "kind": kind, "grade": grade, "images": len(pixels),
                "accuracy": (joined(parts, "labels") == truth).mean(),
                "alarms": (joined(parts, "novelty") >= ALARM).mean(),
            }
            if parts[0].probabilities is not None:
                row["sure"] = joined(parts, "probabilities").max(axis=1).mean()
            if getattr(parts[0], "sets", None) is not None:
                held = joined(parts, "sets")
                row["coverage"] = held[truth[:, None] == classes].mean()
                row["set_size"] = held.sum(axis=1).mean()
            rows.append(row)
    return rows


def rounded(rows: list[Row]) -> list[Row]:
    """Numbers with four decimals, as JSON can hold them."""
    return [
        {key: round(float(value), 4) if isinstance(value, float | np.floating) else value
         for key, value in row.items()} for row in rows
    ]


def report(found: Mapping[str, list[Row]]) -> None:
    """Print the tables."""
    with pd.option_context("display.width", 200, "display.max_rows", 200, "display.max_columns", 20):
        for name, rows in found.items():
            print(f"\n{name}\n{pd.DataFrame(rows).to_string(index=False)}")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="scanned runs, each named as its set")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, help="vectors of label_efficiency/vectors.py, a folder a set")
    parser.add_argument("--encoder", nargs="*", default=[], metavar="NAME=FOLDER",
                        help="of the set NAME, pre-trained on some of its groups")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cases = [case_of(folder, given.weights, given.vectors) for folder in given.runs]
    found: dict[str, list[Row]] = {
        "false_alarms": [], "other_modalities": [], "new_classes": [], "bad_images": [], "pretrained": []
    }
    for case in cases:
        others = [other for other in cases if other is not case]
        found["false_alarms"] += rounded(false_alarms(case))
        found["other_modalities"] += rounded(other_modalities(case, others, given.photographs))
        found["new_classes"] += rounded(new_classes(case))
        found["bad_images"] += rounded(bad_images(case))
        for name, encoder in (one.split("=", 1) for one in given.encoder):
            if name == case.name:
                found["pretrained"] += rounded(pretrained(case, others, given.photographs, Path(encoder)))
        report({name: [row for row in rows if row["set"] == case.name] for name, rows in found.items()})
        if given.out:
            facts = {"photographs": sorted(path.name for path in given.photographs.iterdir())}
            given.out.write_text(json.dumps({**facts, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
