"""What n labels per class reach: ImageNet's features, our DINO, LightlyTrain's, and the supervised network.

::

    python benchmarks/weights.py --out lite0.safetensors
    for part in begin train; do
      python benchmarks/pretrain/time_to_accuracy.py $part DATA --weights lite0.safetensors --minutes 60
    done
    python benchmarks/label_efficiency/measure.py DATA --weights lite0.safetensors

The second command trains what is compared here, each from the same weights in the same hour of two cores
(see there): a. the start weights, b. our DINO, c. LightlyTrain's DINO, each frozen, with the same
classifiers on the same draws of labels; d. the network trained end to end on these labels from the start
weights, e. that on all labels, and with ``--networks initial pretrained`` fine-tuning from b. Each network
keeps the best of several learning rates on the labels that choose its epoch. Of a, b and c each has the
classifier that cross-validation on the training labels chose for it. What our encoder has without training is
held against none: LightlyTrain's is looked at as it came and with each of that (``LOOKS``), whichever
cross-validation finds better, and so are the start weights, as "a minute's work on a". The test set is read
once. ``--modality`` is what the user of our program would say of the images, in both commands.
What is done is kept in ``benchmarks/results/label_efficiency.json``, and a second call goes on. ``figure.py``
draws it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pretrain"))
from accuracy_scores import WAYS, encoder_of
from time_to_accuracy import BACKBONE, Contest, weights_of

import hundredfold
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import open_encoder
from hundredfold.encode.protocol import EncoderLike
from hundredfold.files import write_json
from hundredfold.learn.compare import compare
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory, software
from hundredfold.ssl.adapt import adapted_encoder
from hundredfold.ssl.pool import Pool
from hundredfold.workflows.embed import embed_run

RESULTS = Path(__file__).resolve().parents[1] / "results"
BUDGETS = (1, 5, 10, 25, 50, 100, 250)
CLASSIFIERS = ("svm", "knn", "logistic", "lda")
NETWORK_BUDGETS = (25, 100)
RATES = (1e-4, 3e-4, 1e-3)
METRIC = "balanced_accuracy"
LABELS = 100
#: Our encoder's protocol, and with what needs no training: BatchNorm's statistics anew, or the maps of the
#: last stages; and as our ``adapted``, these maps and both statistics side by side.
LOOKS, ADAPTED = {"": WAYS[1], "-statistics": WAYS[2], "-stages": WAYS[3]}, "-adapted"
#: What is compared, by the names of the encoders that may stand for it; cross-validation chooses among them.
FROZEN = {
    "a": ("initial",), "b": ("pretrained",),
    "c": tuple(f"lightly-train{look}" for look in (*LOOKS, ADAPTED)),
    "a minute's work on a": tuple(f"initial{look}" for look in (*LOOKS, ADAPTED) if look),
}
NETWORK, END_TO_END = ("initial", "network"), ", end to end"


def encoders(contest: Contest, minutes: int) -> dict[str, EncoderLike]:
    """Name → encoder, as far as they are trained."""
    found: dict[str, EncoderLike] = {}
    ours, theirs = (f"{program}-{minutes}" for program in ("hundredfold", "lightly-train"))
    given = {"initial": contest.weights}
    if contest.done(theirs).exists():
        given["lightly-train"] = weights_of(contest, theirs)
    for name, weights in given.items():
        found |= looks(contest, name, weights)
    if contest.done(ours).exists():
        found["pretrained"] = open_encoder(str(weights_of(contest, ours)))
    return found


def looks(contest: Contest, name: str, weights: Path) -> dict[str, EncoderLike]:
    """Weights by our encoder's protocol, and with all that it has without training."""
    split = contest.split()
    made = {
        look: encoder_of(weights, way, split, BACKBONE, contest.weights, modality=contest.modality)
        for look, way in LOOKS.items()
    }
    pool = Pool(ImageTable.read(split / "images.parquet").pool, PixelStore.open(split.pixels))
    both = adapted_encoder(made[""], pool, seed=0, stages=made["-stages"].stages)
    assert both is not None  # it has BatchNorm
    return {f"{name}{look}": encoder for look, encoder in {**made, ADAPTED: both}.items()}


def embedded(contest: Contest, minutes: int) -> RunDirectory:
    """A run with the vectors of every encoder, and the encoders themselves."""
    run = RunDirectory.create(contest.folder / "efficiency")
    split = contest.split()
    for name in ("images.parquet", "splits.csv"):
        (run / name).write_bytes((split / name).read_bytes())
    run.record(pixels=str(split.pixels.resolve()))
    for name, encoder in encoders(contest, minutes).items():
        if not (run / "embeddings" / name / "embeddings.json").exists():
            encoder.save(run / {"pretrained": "encoder"}.get(name, name))
            embed_run(run, name, encoder, batch=64, resume=True)
    return run


def frozen(contest: Contest, run: RunDirectory) -> RunDirectory:
    """a, b and c: the curves of the classifiers on frozen vectors, up to all labels."""
    labels = contest.data / "labels.csv"
    every = int(pd.read_csv(labels)["label"].value_counts().max())  # more than any class has for training
    names = "-".join(sorted(path.name for path in (run / "embeddings").iterdir()))
    return hundredfold.curve(
        run.path, labels=labels, out=contest.folder / f"frozen-{names}", budgets=(*BUDGETS, every),
        classifiers=CLASSIFIERS, resume=True,
    )


def trained(contest: Contest, run: RunDirectory, name: str) -> RunDirectory:
    """What is d and e, or fine-tuning: the network that starts from one encoder."""
    return hundredfold.curve(
        run / "embeddings" / name, labels=contest.data / "labels.csv", out=contest.folder / f"network-{name}",
        budgets=NETWORK_BUDGETS, classifiers=("network",), network_rates=RATES, modality=contest.modality,
        resume=True,
    )


def values(curve: pd.DataFrame) -> dict[str, dict[str, float]]:
    """"encoder/classifier" → labels per class → balanced accuracy, the mean of the draws."""
    rows = curve[(curve["metric"] == METRIC) & curve["class"].isna()]
    found: dict[str, dict[str, float]] = {}
    keys = ["encoder", "classifier", "n_per_class"]
    for (encoder, classifier, n), part in rows.groupby(keys, observed=True):
        found.setdefault(f"{encoder}/{classifier}", {})[str(n)] = round(float(part["value"].mean()), 5)
    return found


def chosen(accuracy: dict[str, float]) -> dict[str, tuple[str, str]]:
    """What is compared → its encoder and classifier, the best in cross-validation on the training labels."""
    found = {}
    for name, those in FROZEN.items():
        if own := {key: value for key, value in accuracy.items() if key.split("/")[0] in those}:
            encoder, classifier = max(own, key=own.__getitem__).split("/")
            found[name] = (encoder, classifier)
    return found


def differences(
    curves: list[RunDirectory], images: ImageTable, methods: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    """Our DINO less each of the others at 100 labels per class, with intervals over test images and draws."""
    answers, draws = [], {}
    for number, run in enumerate(curves):
        part = pd.read_parquet(run / "predictions.parquet")
        part = part[part["n_per_class"].astype(int) == LABELS].astype(
            {"encoder": str, "classifier": str, "label": str, "predicted": str}
        )
        part["encoder"] += END_TO_END if number else ""
        answers.append(part)
        draws |= dict.fromkeys(part["encoder"].unique(), run.state["curve"]["draws"])
    told = pd.concat(answers, ignore_index=True)
    there = set(zip(told["encoder"], told["classifier"], strict=True))
    network = (NETWORK[0] + END_TO_END, NETWORK[1])
    others = {name: method for name, method in {**methods, "d": network}.items() if name != "b"}
    pairs = {name: (methods["b"], method) for name, method in others.items() if method in there}
    groups = pd.Series(pieces_of(images.test), index=images.test.ids)
    table = compare(told, groups, list(pairs.values()), n_per_class=LABELS, draws=draws)
    kept = ["difference", "low", "high", "p_holm"]
    return {
        f"b less {name}": {key: round(float(row[key]), 4) for key in kept}
        for name, (_, row) in zip(pairs, table.iterrows(), strict=True)
    }


def targets(told: dict[str, dict[str, float]], methods: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """The questions of the benchmark, as far as they can be answered."""

    def at(name: str, n: int) -> float | None:
        return told.get("/".join(methods[name]), {}).get(str(n)) if name in methods else None

    network = told.get("/".join(NETWORK), {})
    every = network.get(max(network, key=int)) if network else None
    linear = told["initial/logistic"]
    frozen_all = linear[max(linear, key=int)]
    ours = at("b", LABELS)
    return {
        **{f"{name} at {LABELS}": at(name, LABELS) for name in methods},
        "d at 100": network.get(str(LABELS)), "b at 25": at("b", 25), "e": every,
        "b at 100 / e": None if ours is None or every is None else round(ours / every, 4),
        "logistic regression on all labels": frozen_all,
        "e beats it": None if every is None else every > frozen_all,
    }


def main() -> None:
    """Measure one set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--weights", type=Path, required=True, help="start weights of benchmarks/weights.py")
    parser.add_argument("--work", type=Path, default=Path("runs/time_to_accuracy"))
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--networks", nargs="*", default=["initial"])
    parser.add_argument("--modality", default="microscopy")
    parser.add_argument("--results", type=Path, default=RESULTS / "label_efficiency.json")
    given = parser.parse_args()
    paths = (given.data, given.work, given.weights, Path(".peers"), given.results)
    contest = Contest(*(path.absolute() for path in paths), modality=given.modality)
    run = embedded(contest, given.minutes)
    curves = [frozen(contest, run)]
    curves += [trained(contest, run, name) for name in given.networks if (run / "embeddings" / name).is_dir()]
    table = pd.concat([pd.read_parquet(curve / "curve.parquet") for curve in curves], ignore_index=True)
    methods, told = chosen(curves[0].state["curve"]["choice"]["accuracy"]), values(table)
    known: dict[str, Any] = {
        "values": told, "methods": methods, "targets": targets(told, methods), "minutes": given.minutes,
        "rates": RATES, "modality": given.modality, "cores": os.cpu_count(), "software": software(),
        "network_minutes": {
            curve.path.name: round(curve.state["stages"]["curve"]["seconds"] / 60, 1) for curve in curves[1:]
        },
        "network_rates": [curve.state["curve"].get("network_rates") for curve in curves[1:]],
    }
    if "b" in methods:
        known["differences"] = differences(curves, ImageTable.read(run / "images.parquet"), methods)
    every = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
    write_json(given.results, {**every, contest.data.name: known})
    table.to_parquet(contest.folder / "efficiency.parquet")
    say(json.dumps({key: known.get(key) for key in ("targets", "differences")}, indent=1))


if __name__ == "__main__":
    main()
