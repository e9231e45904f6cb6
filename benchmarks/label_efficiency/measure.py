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
weights, e. that on all labels, and fine-tuning from b. Each network keeps the best of several learning rates
on the labels that choose its epoch. The method of a, b and c is chosen by cross-validation on the training
labels; the test set is read once. Every part is kept in ``benchmarks/results/label_efficiency.json``, and a
second call goes on.
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
from hundredfold.encode.encoder import open_encoder
from hundredfold.encode.protocol import EncoderLike
from hundredfold.files import write_json
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory, software
from hundredfold.workflows.embed import embed_run

RESULTS = Path(__file__).resolve().parents[1] / "results"
BUDGETS = (1, 5, 10, 25, 50, 100, 250)
CLASSIFIERS = ("svm", "knn", "logistic", "lda")
NETWORK_BUDGETS = (25, 100)
RATES = (1e-4, 3e-4, 1e-3)
METRIC = "balanced_accuracy"


def encoders(contest: Contest, minutes: int) -> dict[str, EncoderLike]:
    """Name → encoder, as far as they are trained."""
    split, found = contest.split(), {}
    found["initial"] = encoder_of(contest.weights, WAYS[1], split, BACKBONE, contest.weights)
    ours, theirs = (f"{program}-{minutes}" for program in ("hundredfold", "lightly-train"))
    if contest.done(ours).exists():
        found["pretrained"] = open_encoder(str(weights_of(contest, ours)))
    if contest.done(theirs).exists():
        weights = weights_of(contest, theirs)
        found["lightly-train"] = encoder_of(weights, WAYS[1], split, BACKBONE, contest.weights)
    return found


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
    return hundredfold.curve(
        run.path, labels=labels, out=contest.folder / "frozen", budgets=(*BUDGETS, every),
        classifiers=CLASSIFIERS, resume=True,
    )


def trained(contest: Contest, run: RunDirectory, name: str) -> RunDirectory:
    """What is d and e, or fine-tuning: the network that starts from one encoder."""
    return hundredfold.curve(
        run / "embeddings" / name, labels=contest.data / "labels.csv", out=contest.folder / f"network-{name}",
        budgets=NETWORK_BUDGETS, classifiers=("network",), network_rates=RATES, resume=True,
    )


def values(run: RunDirectory) -> dict[str, dict[str, float]]:
    """"encoder/classifier" → labels per class → balanced accuracy, the mean of the draws."""
    rows = pd.read_parquet(run / "curve.parquet")
    rows = rows[(rows["metric"] == METRIC) & rows["class"].isna()]
    found: dict[str, dict[str, float]] = {}
    keys = ["encoder", "classifier", "n_per_class"]
    for (encoder, classifier, n), part in rows.groupby(keys, observed=True):
        found.setdefault(f"{encoder}/{classifier}", {})[str(n)] = round(float(part["value"].mean()), 5)
    return found


def targets(known: dict[str, Any]) -> dict[str, Any]:
    """The questions of the benchmark, as far as they can be answered."""
    told = known["values"]
    best = known["classifier"]  # chosen on the training labels

    def at(encoder: str, n: int, classifier: str = best) -> float | None:
        return told.get(f"{encoder}/{classifier}", {}).get(str(n))

    network = told.get("initial/network", {})
    every = network.get(max(network, key=int)) if network else None
    ours = at("pretrained", 100)
    linear = told["initial/logistic"]
    frozen_all = linear[max(linear, key=int)]
    return {
        "b at 100": ours, "a at 100": at("initial", 100), "c at 100": at("lightly-train", 100),
        "d at 100": network.get("100"), "b at 25": at("pretrained", 25), "e": every,
        "b at 100 / e": None if ours is None or every is None else round(ours / every, 4),
        "e beats logistic regression on all labels": None if every is None else every > frozen_all,
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
    parser.add_argument("--networks", nargs="*", default=["initial", "pretrained"])
    parser.add_argument("--results", type=Path, default=RESULTS / "label_efficiency.json")
    given = parser.parse_args()
    paths = (given.data, given.work, given.weights, Path(".peers"), given.results)
    contest = Contest(*(path.absolute() for path in paths))
    run = embedded(contest, given.minutes)
    curve = frozen(contest, run)
    known: dict[str, Any] = {
        "values": values(curve), "classifier": curve.state["curve"]["choice"]["classifier"],
        "minutes": given.minutes, "rates": RATES, "cores": os.cpu_count(), "software": software(),
    }
    for name in given.networks:
        if (run / "embeddings" / name).is_dir():
            known["values"] |= values(trained(contest, run, name))
        known["targets"] = targets(known)
        every = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
        write_json(given.results, {**every, contest.data.name: known})
    say(json.dumps(known["targets"], indent=1))


if __name__ == "__main__":
    main()
