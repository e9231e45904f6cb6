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
once. ``--modality`` is what the user of our program would say of the images, in both commands. Other
seeds of b and c (``train --seed 1``) are judged beside the first where they are trained.
What is done is kept in ``benchmarks/results/label_efficiency.json`` (what networks say of each image in
``networks/`` beside it), and a second call goes on. ``figure.py`` draws it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pretrain"))
from accuracy_scores import WAYS, encoder_of
from time_to_accuracy import BACKBONE, Contest, of_seed, run_name, weights_of

import hundredfold
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import open_encoder
from hundredfold.encode.protocol import EncoderLike
from hundredfold.files import write_json
from hundredfold.learn.compare import compare
from hundredfold.progress import say
from hundredfold.report.tables import curve_points
from hundredfold.rundir import RunDirectory, software
from hundredfold.ssl.adapt import adapted_encoder
from hundredfold.ssl.pool import Pool
from hundredfold.workflows.embed import embed_run

RESULTS = Path(__file__).resolve().parents[1] / "results"
BUDGETS = (1, 5, 10, 25, 50, 100, 250)
CLASSIFIERS = ("svm", "knn", "logistic", "lda")
NETWORK_BUDGETS = (25, 100)
RATES = (3e-5, 1e-4, 3e-4, 1e-3)
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
#: The encoder whose backbone a network starts from → the name of what is compared.
NETWORKS = {"initial": "d", "pretrained": "f"}
NETWORK = ("initial", "network")


def encoders(contest: Contest, minutes: int, seed: int) -> dict[str, EncoderLike]:
    """Name → encoder, as far as they are trained; with another seed than the first, those it changes."""
    found: dict[str, EncoderLike] = {}
    ours, theirs = (run_name(program, minutes, seed) for program in ("hundredfold", "lightly-train"))
    given = {} if seed else {"initial": contest.weights}
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


def embedded(contest: Contest, minutes: int, seed: int = 0) -> RunDirectory:
    """A run with the vectors of every encoder, and the encoders themselves."""
    run = RunDirectory.create(contest.folder / of_seed("efficiency", seed))
    split = contest.split()
    for name in ("images.parquet", "splits.csv"):
        (run / name).write_bytes((split / name).read_bytes())
    run.record(pixels=str(split.pixels.resolve()))
    for name, encoder in encoders(contest, minutes, seed).items():
        if not (run / "embeddings" / name / "embeddings.json").exists():
            encoder.save(run / {"pretrained": "encoder"}.get(name, name))
            embed_run(run, name, encoder, batch=64, resume=True)
    return run


def frozen(contest: Contest, run: RunDirectory, seed: int = 0) -> RunDirectory:
    """a, b and c: the curves of the classifiers on frozen vectors, up to all labels."""
    labels = contest.data / "labels.csv"
    every = int(pd.read_csv(labels)["label"].value_counts().max())  # more than any class has for training
    names = "-".join(sorted(path.name for path in (run / "embeddings").iterdir()))
    return hundredfold.curve(
        run.path, labels=labels, out=contest.folder / f"{of_seed('frozen', seed)}-{names}",
        budgets=(*BUDGETS, every), classifiers=CLASSIFIERS, resume=True,
    )


@dataclass(frozen=True)
class Told:
    """What a curve comes to: its table, what it says of each test image, and facts of how it came about."""

    curve: pd.DataFrame
    predictions: pd.DataFrame
    facts: dict[str, Any]

    @classmethod
    def of(cls, run: RunDirectory) -> Self:
        """That of a finished run."""
        found = run.state["curve"]
        facts = {"draws": found["draws"], "rates": found.get("network_rates")}
        return cls(*(pd.read_parquet(run / f"{name}.parquet") for name in ("curve", "predictions")), facts)

    @classmethod
    def kept(cls, folder: Path) -> Self:
        """What :meth:`keep` wrote."""
        tables = (pd.read_parquet(folder / f"{name}.parquet") for name in ("curve", "predictions"))
        return cls(*tables, json.loads((folder / "facts.json").read_text(encoding="utf-8")))

    def keep(self, folder: Path) -> None:
        """Write it, the facts last; without the labels, which are the data set's."""
        folder.mkdir(parents=True, exist_ok=True)
        self.curve.to_parquet(folder / "curve.parquet", compression="zstd")
        said = self.predictions.drop(columns="label")
        said.to_parquet(folder / "predictions.parquet", compression="zstd")
        write_json(folder / "facts.json", self.facts)


def trained(
    contest: Contest, run: RunDirectory, name: str, budgets: tuple[int, ...], kept: Path
) -> Told:
    """What is d and e, or fine-tuning: the network that starts from one encoder.

    It takes hours, so what it came to is kept with the results, and taken from there, if it was asked the
    same of the same encoder.
    """
    vectors = json.loads((run / "embeddings" / name / "embeddings.json").read_text(encoding="utf-8"))
    asked = {
        "encoder": vectors["encoder"]["hash"], "budgets": list(budgets), "tried": list(RATES),
        "modality": contest.modality,
    }
    if (kept / "facts.json").exists() and asked.items() <= (found := Told.kept(kept)).facts.items():
        return found
    found = Told.of(hundredfold.curve(
        run / "embeddings" / name, labels=contest.data / "labels.csv", out=contest.folder / f"network-{name}",
        budgets=budgets, classifiers=("network",), network_rates=RATES, modality=contest.modality,
        resume=True,
    ))
    found = replace(found, facts={**found.facts, **asked})
    found.keep(kept)
    return found


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


def answers(
    vectors: Told, networks: dict[str, Told], methods: dict[str, tuple[str, str]]
) -> pd.DataFrame:
    """What each of those that are compared says of the test images, with its name in the column ``what``."""
    parts, labels = [], vectors.predictions.drop_duplicates("id").astype(str).set_index("id")["label"]
    asked = [(vectors, methods)]
    asked += [(one, {NETWORKS[name]: (name, "network")}) for name, one in networks.items()]
    for curve, own in asked:
        told = curve.predictions.astype(
            {"encoder": str, "classifier": str, "id": str, "predicted": str, "n_per_class": int}
        )
        told = told.assign(label=told["id"].map(labels))
        for name, (encoder, classifier) in own.items():
            rows = told[(told["encoder"] == encoder) & (told["classifier"] == classifier)]
            parts.append(rows.assign(what=name, draws=curve.facts["draws"]))
    return pd.concat(parts, ignore_index=True)


def differences(told: pd.DataFrame, images: ImageTable) -> dict[str, Any]:
    """Our DINO at 100 labels per class less each of the others, and at 25 less the network at 100 and at 25.

    And the network that starts from it, less those that start from ImageNet's weights. The intervals are
    over test images and draws; p-values are corrected for the number of comparisons.
    """
    budgets = told["n_per_class"]
    most = budgets[told["what"] == "d"].max()
    asked = {name: (name, LABELS) for name in sorted(set(told["what"]))}
    asked |= {"b at 25": ("b", 25), "d at 25": ("d", 25), "e": ("d", most)}
    sides = {
        side: rows.assign(encoder=side, n_per_class=LABELS) for side, (name, n) in asked.items()
        if len(rows := told[(told["what"] == name) & (budgets == n)])
    }
    pairs = [("b", side) for side in sides if side not in ("b", "b at 25", "d at 25")]
    further = (("b at 25", "d"), ("b at 25", "d at 25"), ("f", "d"), ("f", "e"))
    pairs += [pair for pair in further if set(pair) <= sides.keys()]
    rows = pd.concat(sides.values()).assign(classifier="")
    groups = pd.Series(pieces_of(images.test), index=images.test.ids)
    draws = {name: part["draws"].iloc[0] for name, part in sides.items()}
    table = compare(
        rows, groups, [((one, ""), (other, "")) for one, other in pairs], n_per_class=LABELS, draws=draws
    )
    kept = ["difference", "low", "high", "p_holm"]
    return {
        f"{one} less {other}": {key: round(float(row[key]), 4) for key in kept}
        for (one, other), (_, row) in zip(pairs, table.iterrows(), strict=True)
    }


def points(table: pd.DataFrame, methods: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """The learning curves of those that are compared, as ``figure.py`` draws them."""
    found = curve_points(table)
    # "All labels" has one place: the classifiers on vectors were asked for more than any class has.
    found["n_per_class"] = found.groupby("n_labels")["n_per_class"].transform("min")
    kept = ["n_per_class", "n_labels", "value", "low", "high", "band", "capped"]
    rows: list[dict[str, Any]] = []
    trained = {name: (encoder, "network") for encoder, name in NETWORKS.items()}
    for name, (encoder, classifier) in {**methods, **trained}.items():
        own = found[(found["encoder"] == encoder) & (found["classifier"] == classifier)][kept]
        rows += [{"what": name, **row} for row in own.round(5).to_dict("records")]
    return rows


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
        "d at 100": network.get(str(LABELS)), "b at 25": at("b", 25), "d at 25": network.get("25"),
        "e": every,
        "f at 100": told.get("pretrained/network", {}).get(str(LABELS)),
        "b at 100 / e": None if ours is None or every is None else round(ours / every, 4),
        "logistic regression on all labels": frozen_all,
        "e beats it": None if every is None else every > frozen_all,
    }


def seeds(contest: Contest, minutes: int) -> list[int]:
    """The seeds besides the first that our program is trained with."""
    start = run_name("hundredfold", minutes) + "-seed"
    found = contest.folder.glob(f"{start}*.done")
    return sorted(int(path.stem.removeprefix(start)) for path in found)


def again(
    contest: Contest, minutes: int, seed: int, first: pd.DataFrame, every: float | None
) -> dict[str, Any]:
    """What another seed of b and c comes to, beside all else of the first seed's answers."""
    run = embedded(contest, minutes, seed)
    curve = frozen(contest, run, seed)
    vectors, methods = Told.of(curve), chosen(curve.state["curve"]["choice"]["accuracy"])
    told = values(vectors.curve)
    found: dict[str, Any] = {"methods": methods}
    for name, budget in (("b", LABELS), ("b", 25), ("c", LABELS)):
        found[f"{name} at {budget}"] = told["/".join(methods[name])][str(budget)]
    found["b at 100 / e"] = round(found["b at 100"] / every, 4) if every else None
    rows = [first[~first["what"].isin(methods)], answers(vectors, {}, methods)]
    every_answer = pd.concat(rows, ignore_index=True)
    found["differences"] = differences(every_answer, ImageTable.read(run / "images.parquet"))
    return found


def main() -> None:
    """Measure one set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--weights", type=Path, required=True, help="start weights of benchmarks/weights.py")
    parser.add_argument("--work", type=Path, default=Path("runs/time_to_accuracy"))
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=["initial"])
    parser.add_argument(
        "--network-budgets", nargs="+", type=int, default=NETWORK_BUDGETS, help="besides all labels"
    )
    parser.add_argument("--modality", default="microscopy")
    parser.add_argument(
        "--runs", type=Path, default=RESULTS / "time_to_accuracy.json", help="what the second command wrote"
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "label_efficiency.json")
    given = parser.parse_args()
    paths = (given.data, given.work, given.weights, Path(".peers"), given.runs)
    contest = Contest(*(path.absolute() for path in paths), modality=given.modality)
    run = embedded(contest, given.minutes)
    curve, budgets = frozen(contest, run), tuple(given.network_budgets)
    there = [name for name in given.networks if (run / "embeddings" / name).is_dir()]
    folders = {name: given.results.parent / "networks" / f"{contest.data.name}-{name}" for name in there}
    networks = {name: trained(contest, run, name, budgets, folder) for name, folder in folders.items()}
    vectors = Told.of(curve)
    table = pd.concat([one.curve for one in (vectors, *networks.values())], ignore_index=True)
    methods, told = chosen(curve.state["curve"]["choice"]["accuracy"]), values(table)
    known: dict[str, Any] = {
        "values": told, "methods": methods, "targets": targets(told, methods),
        "points": points(table, methods), "minutes": given.minutes, "test_images": int(table["n_test"].max()),
        "rates": RATES, "modality": given.modality, "cores": os.cpu_count(), "software": software(),
        "networks": {name: one.facts for name, one in networks.items()},
        "runs": {
            name: facts for name, facts in contest.known().get("runs", {}).items()
            if name.endswith(f"-{given.minutes}")
        },
    }
    if "b" in methods:
        said = answers(vectors, networks, methods)
        known["differences"] = differences(said, ImageTable.read(run / "images.parquet"))
        known["seeds"] = {
            str(seed): again(contest, given.minutes, seed, said, known["targets"]["e"])
            for seed in seeds(contest, given.minutes)
        }
    every = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
    write_json(given.results, {**every, contest.data.name: known})
    say(json.dumps({key: known.get(key) for key in ("targets", "differences", "seeds")}, indent=1))


if __name__ == "__main__":
    main()
