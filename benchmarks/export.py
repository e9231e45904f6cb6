r"""Does an exported predictor say the same? ONNX Runtime against hundredfold, on every image of a set.

::

    python benchmarks/weights.py --out lite0.safetensors
    python benchmarks/export.py ../shared/data/{busi_ultrasound,chula_rbc,pbc_blood_cells} \
        --weights lite0.safetensors

Each set is scanned as a user's run is. For each registered classifier a predictor is fitted to at most 100
labels per class of the training side and calibrated on 100 others, and written as one ONNX file. The whole
file of the first classifier is run on every image; of the others' files the part behind the encoder, which is
the same in all, is run on the vectors that this gave. ``score`` and ``probability`` are the greatest
differences over all images and classes; those of the images that the classifier learned from stand apart
(``learned``), because a kNN finds them at a distance that is nothing but rounding. ``itself`` is what
hundredfold differs from itself when images are encoded one at a time in place of 64 together: features that
hardly vary are stretched to the spread of the others, and the rounding in them with it. Prints the
numbers, and writes them to ``benchmarks/results/export.json``, where other sets' numbers stay.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.protocol import resize
from hundredfold.files import write_json
from hundredfold.learn.budgets import draw_labels
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.classifiers import CLASSIFIERS, judge, make_pipeline
from hundredfold.predict.onnx import save_onnx
from hundredfold.predict.predictor import Predictor
from hundredfold.rundir import software

RESULTS = Path(__file__).resolve().parent / "results" / "export.json"
LABELS, BATCH, SEED = 100, 64, 0
#: Images that are encoded once more, one at a time.
ALONE = 300
SYMMETRIES = {"busi_ultrasound": "mirror"}

Said = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Set:
    """A set's images as the encoder takes them, and which of them are learned and calibrated from."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.object_]
    learned: NDArray[np.int64]
    held: NDArray[np.int64]

    @classmethod
    def of(cls, data: Path, work: Path, size: int, limit: int | None) -> Set:
        """Scan a set, and draw what is learned from."""
        out = work / data.name
        run = hundredfold.scan(
            data / "images", labels=data / "labels.csv", out=out, pixel_size=size, resume=out.exists()
        )
        table = ImageTable.read(run / "images.parquet").usable
        table = table.by_id(np.random.default_rng(SEED).permutation(table.ids)[:limit])
        store = PixelStore.open(run.pixels)
        frame = table.frame
        side = np.flatnonzero((frame["split"] == "train") & frame["label"].notna())
        labels = frame["label"].to_numpy(dtype=object)
        drawn = side[draw_labels(table.ids[side], labels[side], 2 * LABELS, seed=SEED)]
        drawn = drawn[np.argsort(labels[drawn].astype(str), kind="stable")]
        images = resize(store[store.rows(table.ids)], size)
        return cls(data.name, images, labels, drawn[::2], drawn[1::2])


def by_us(predictor: Predictor, vectors: NDArray[np.float32]) -> Said:
    answers = predictor.judge(vectors)
    label = np.searchsorted(predictor.classes, answers.labels)
    assert answers.probabilities is not None
    return {"label": label, "scores": answers.scores, "probabilities": answers.probabilities}


def ask(path: Path, name: str, batch: NDArray[Any]) -> Said:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    parts = [session.run(outputs, {name: batch[at : at + BATCH]}) for at in range(0, len(batch), BATCH)]
    return {key: np.concatenate(some) for key, some in zip(outputs, zip(*parts, strict=True), strict=True)}


def fitted(given: Set, encoder: Encoder, vectors: NDArray[np.float32], name: str) -> Predictor:
    labels = given.labels.astype(str)
    known = vectors[given.learned]
    classes, counts = np.unique(labels[given.learned], return_counts=True)
    pipeline = make_pipeline(name, samples=len(known), features=known.shape[1], classes=len(classes))
    pipeline.fit(known, labels[given.learned])
    calibration = Calibration.fit(
        judge(pipeline, vectors[given.held])[1], np.searchsorted(classes, labels[given.held])
    )
    assert calibration is not None
    return Predictor(encoder, pipeline, {
        "classifier": name, "calibration": calibration.facts,
        "labels": dict(zip(classes.tolist(), counts.tolist(), strict=True)), "pixel_size": encoder.size,
    })


def compared(given: Set, ours: Said, theirs: Said) -> dict[str, Any]:
    learned = np.isin(np.arange(len(given.images)), given.learned)
    found: dict[str, Any] = {"other_classes": int((ours["label"] != theirs["label"]).sum())}
    for key, name in (("scores", "score"), ("probabilities", "probability")):
        gaps = np.abs(ours[key] - theirs[key]).max(axis=1)
        found |= {name: float(gaps[~learned].max()), f"{name}_learned": float(gaps[learned].max())}
    return found | {"greatest_score": float(np.abs(ours["scores"]).max())}


def itself(ours: Said, alone: Said) -> dict[str, Any]:
    gaps = {key: np.abs(alone[key] - ours[key][: len(alone[key])]) for key in ("scores", "probabilities")}
    return {
        "itself": {
            "other_classes": int((alone["label"] != ours["label"][: len(alone["label"])]).sum()),
            "score": float(gaps["scores"].max()), "probability": float(gaps["probabilities"].max()),
        },
    }


def measured(given: Set, weights: Path, work: Path, size: int) -> dict[str, Any]:
    encoder = Encoder(
        create_backbone("efficientnet_lite0", weights=str(weights)), size=size, value_range=None, fit="pad",
        provenance={}, seen=frozenset(), symmetry=SYMMETRIES.get(given.name, "dihedral"), stages=3,
    )
    parts = [encoder.encode(given.images[at : at + BATCH]) for at in range(0, len(given.images), BATCH)]
    vectors = np.concatenate(parts)
    found: dict[str, Any] = {"images": len(vectors), "dimension": encoder.dimension, "classifiers": {}}
    alone = np.concatenate([encoder.encode(image[None]) for image in given.images[:ALONE]])
    theirs: Said = {}
    for name in CLASSIFIERS:
        predictor, path = fitted(given, encoder, vectors, name), work / f"{given.name}-{name}.onnx"
        save_onnx(predictor, path)
        if not theirs:
            theirs = ask(path, "images", given.images)
            gap = np.abs(theirs["embedding"] - vectors)
            found["embedding"] = {"greatest": float(gap.max()), "spread": float(vectors.std(axis=0).mean())}
            said = theirs
        else:
            behind = path.with_suffix(".behind.onnx")
            outputs = ["label", "scores", "probabilities"]
            onnx.utils.extract_model(path, behind, ["embedding"], outputs)
            said = ask(behind, "embedding", theirs["embedding"])
        ours = by_us(predictor, vectors)
        found["classifiers"][name] = compared(given, ours, said) | itself(ours, by_us(predictor, alone))
        print(given.name, name, found["classifiers"][name], flush=True)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/export"))
    parser.add_argument("--size", type=int, default=64, help="side of the images in px")
    parser.add_argument("--limit", type=int, help="so many images of a set, for a trial")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    found = json.loads(given.out.read_text(encoding="utf-8"))["sets"] if given.out.exists() else {}
    for data in given.sets:
        one = Set.of(data, given.work, given.size, given.limit)
        found[one.name] = {"limit": given.limit, **measured(one, given.weights, given.work, given.size)}
        versions = {**software(), "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
        write_json(given.out, {"size": given.size, "sets": found, "software": versions})


if __name__ == "__main__":
    main()
