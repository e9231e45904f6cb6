"""Colours brought to a reference: what it gains on smears like those learned from, and on others.

::

    python benchmarks/weights.py --out lite0.safetensors
    pip install --no-deps torchstain  # for Macenko's method
    python benchmarks/stain.py ../shared/data/{chula_rbc,pbc_blood_cells} --weights lite0.safetensors

Each set is scanned and split as a user's run is, and its test images are left alone. A third of the groups of
the training side gives the reference, and the BatchNorm statistics of ``adapted``; it takes no other part. Of
the others at most ``LABELLED`` images a class are looked at, by ImageNet's features (``initial``) and by
``adapted``.

*Like smears*: these are split by group, a third judges, labels are drawn from the others; each of the five
repetitions splits anew. Differences to the colours as they came have 95 % intervals that are corrected for
the overlap of the splits (Nadeau & Bengio 2003). *Other smears* (where groups are known): the groups are
parted in two by the colour of their glass (k-means); labels come from one kind and the other judges. The
intervals resample the judging groups. The reference and the statistics come from smears of both kinds.

``by group`` measures the colours of the whole smear in place of each image's. Prints a table; the numbers go
to ``benchmarks/results/stain.json``. What is in ``--work`` is not computed again. The results that are kept
there are of ``--ways none white reinhard``; ``trial`` is of a draft of this script with up to 200 images a
class, and has the other ways.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans

sys.path.insert(0, str(Path(__file__).resolve().parent / "recipes"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "label_efficiency"))
from beyond import JUDGED, interval
from vectors import BATCH, start_encoder

import hundredfold
from hundredfold.data.splits import draw_splits
from hundredfold.data.stain import METHODS, Reference, StainMethod, colours
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.protocol import resize
from hundredfold.files import write_json
from hundredfold.learn.budgets import draw_labels
from hundredfold.learn.draws import solve
from hundredfold.metrics import balanced_accuracy
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory, software
from hundredfold.ssl.adapt import take_statistics

RESULTS = Path(__file__).resolve().parent / "results" / "stain.json"
BUDGETS, REPEATS, CLASSIFIERS = (25, 100), 5, ("svm", "logistic")
LABELLED, STATISTICS, REFERENCE_SEED = 160, 1024, 77
RESAMPLES = 1000
NONE = "none"
#: What is shown in points of balanced accuracy.
POINTS = {"gain", "half", "low", "high"}

Images = NDArray[np.uint8]
#: images of the reference, images looked at and the set → both, with other colours.
Way = Callable[["Set"], tuple[Images, Images]]


@dataclass(frozen=True)
class Set:
    """The training side of one set: where the reference comes from, and what is looked at."""

    name: str
    run: RunDirectory
    store: PixelStore
    side: ImageTable
    reference: ImageTable
    few: ImageTable

    @classmethod
    def of(cls, data: Path, work: Path) -> Set:
        """Scan a set and part its training side."""
        out = work / data.name / "scan"
        run = hundredfold.scan(data / "images", labels=data / "labels.csv", out=out, resume=out.exists())
        side = ImageTable.read(run / "images.parquet").train.assign(split=None)
        parted = draw_splits(side, test_size=1 / 3, seed=REFERENCE_SEED).frame["split"] == "test"
        rest = side.select(~parted)
        places = draw_labels(rest.ids, rest.frame["label"], LABELLED, seed=REFERENCE_SEED)
        few = rest.by_id(rest.ids[places])
        return cls(data.name, run, PixelStore.open(run.pixels), side, side.select(parted), few)

    def pixels(self, table: ImageTable) -> Images:
        """As they came."""
        return self.store[self.store.rows(table.ids)]

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """The class of each image looked at."""
        return pd.factorize(self.few.frame["label"], sort=True)[0]

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.codes.max()) + 1

    @property
    def grouped(self) -> bool:
        """Whether smears are known."""
        return bool(self.few.frame["group"].notna().all())


def as_they_came(given: Set) -> tuple[Images, Images]:
    return given.pixels(given.reference), given.pixels(given.few)


def by_image(method: StainMethod) -> Way:
    """The package's own way."""

    def way(given: Set) -> tuple[Images, Images]:
        reference, few = as_they_came(given)
        stain = Reference.of(method, reference).stain
        return stain.apply(reference), stain.apply(few)

    return way


def by_group(method: StainMethod) -> Way:
    """The measures of a smear, the means over all of its images, in place of those of an image."""

    def way(given: Set) -> tuple[Images, Images]:
        every = [colours(method, image) for image in given.pixels(given.side)]
        known = [(group, *own) for group, own in zip(given.side.frame["group"], every, strict=True)
                 if own is not None]
        smears = pd.DataFrame(known).groupby(0).mean()
        wanted = smears.loc[smears.index.isin(given.reference.frame["group"])].median().to_numpy()

        def bring(table: ImageTable) -> Images:
            return np.stack([
                METHODS[method].bring(image, smears.loc[group].to_numpy(), wanted)
                if group in smears.index else image
                for image, group in zip(given.pixels(table), table.frame["group"], strict=True)
            ])

        return bring(given.reference), bring(given.few)

    return way


def macenko(given: Set) -> tuple[Images, Images]:
    """Macenko et al. 2009 as torchstain has it, by image; what it cannot do stays as it is."""
    from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer

    reference, few = as_they_came(given)
    machine = NumpyMacenkoNormalizer()
    machine.fit(np.concatenate(list(reference[:200])))

    def bring(image: Images) -> Images:
        try:
            with np.errstate(all="ignore"):
                return np.asarray(machine.normalize(image, stains=False)[0])
        except (ValueError, np.linalg.LinAlgError):
            return image

    return np.stack([bring(one) for one in reference]), np.stack([bring(one) for one in few])


WAYS: Mapping[str, Way] = {
    NONE: as_they_came, "white": by_image("white"), "reinhard": by_image("reinhard"),
    "white by group": by_group("white"), "reinhard by group": by_group("reinhard"), "macenko": macenko,
}


def vectors(given: Set, way: str, encoder: Encoder, work: Path) -> dict[str, NDArray[np.float32]]:
    """Encoder → the vectors [n,d] of the images looked at."""
    path = work / given.name / f"{way.replace(' ', '_')}.npz"
    if not path.exists():
        reference, few = WAYS[way](given)
        other = copy.copy(encoder)
        other.backbone = copy.deepcopy(encoder.backbone)
        other.__dict__.pop("lean", None)  # made of the statistics before
        order = np.random.default_rng(0).permutation(len(reference))[:STATISTICS]
        parts = np.array_split(order, max(1, len(order) // BATCH))
        take_statistics(other.backbone, (resize(reference[part], encoder.size) for part in parts))
        plain, anew = (
            np.concatenate([one.encode(few[k : k + BATCH]) for k in range(0, len(few), BATCH)])
            for one in (encoder, other)
        )
        part = path.with_suffix(".part.npz")
        np.savez(part, initial=plain, adapted=np.concatenate([plain, anew], axis=1))
        part.rename(path)
        say(f"{given.name}: looked at {len(few):,} images, {way}")
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in ("initial", "adapted")}


def right(
    given: Set, found: NDArray[np.float32], sides: tuple[NDArray[np.int64], NDArray[np.int64]], budget: int,
    repeat: int,
) -> NDArray[np.int32]:
    """What each classifier says of the judging images [k,n]."""
    train, judged = sides
    drawn = train[draw_labels(given.few.ids[train], given.codes[train], budget, repeat=repeat)]
    solved = solve(found[drawn], given.codes[drawn], found[judged], CLASSIFIERS, given.classes)
    return np.asarray(solved.predicted)


def like_smears(given: Set, ways: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> pd.DataFrame:
    """A row a way, encoder, budget, classifier and repetition."""
    rows = []
    for repeat in range(REPEATS):
        sides = draw_splits(given.few.assign(split=None), test_size=JUDGED, seed=repeat).frame["split"]
        train, judged = (np.flatnonzero(sides == side) for side in ("train", "test"))
        for way, encoders in ways.items():
            for encoder, found in encoders.items():
                for budget in BUDGETS:
                    told = right(given, found, (train, judged), budget, repeat)
                    for classifier, row in zip(CLASSIFIERS, told, strict=True):
                        value = balanced_accuracy(given.codes[judged], row, given.classes)
                        rows.append((way, encoder, budget, classifier, repeat, value))
    return pd.DataFrame(rows, columns=["way", "encoder", "budget", "classifier", "repeat", "value"])


def like_summary(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Means, and differences to the colours as they came with half the interval, in balanced accuracy."""
    keys = ["encoder", "budget", "classifier"]
    plain = rows[rows["way"] == NONE].set_index([*keys, "repeat"])["value"]
    told = []
    for (way, *key), part in rows.groupby(["way", *keys], sort=False):
        gain = part.set_index([*keys, "repeat"])["value"] - plain
        gains = gain.dropna().to_numpy()
        told.append({
            "way": way, **dict(zip(keys, key, strict=True)), "value": round(float(part["value"].mean()), 4),
            "gain": round(float(gains.mean()), 4), "half": round(interval(gains), 4),
        })
    return told


def kinds_of_smears(given: Set) -> NDArray[np.int64]:
    """The kind, 0 or 1, of each image looked at: by the colour of the glass of its smear."""
    glass = [colours("white", image) for image in given.pixels(given.few)]
    known = pd.DataFrame([np.full(3, np.nan) if own is None else np.log(own) for own in glass])
    smears = known.groupby(given.few.frame["group"].to_numpy()).mean().fillna(known.mean())
    machine = KMeans(2, n_init=10, random_state=0).fit(smears.to_numpy())
    return pd.Series(machine.labels_, index=smears.index)[given.few.frame["group"]].to_numpy()


def described(given: Set) -> list[dict[str, Any]]:
    """The two kinds of smears: how many, how many images, and the median colour of their glass."""
    kinds, told = kinds_of_smears(given), []
    for kind in (0, 1):
        own = given.few.select(kinds == kind)
        glass = Reference.of("white", given.pixels(own)).stain.reference
        told.append({"smears": int(own.frame["group"].nunique()), "images": len(own), "glass": list(glass)})
    return told


def other_smears(given: Set, ways: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> list[dict[str, Any]]:
    """Labels from smears of one kind, judged on those of the other."""
    kinds, told = kinds_of_smears(given), []
    for kind in (0, 1):
        train, judged = np.flatnonzero(kinds == kind), np.flatnonzero(kinds != kind)
        smears = given.few.frame["group"].to_numpy()[judged]
        weights = _resampled(smears)
        for encoder in next(iter(ways.values())):
            hits = {way: _hits(given, found[encoder], train, judged) for way, found in ways.items()}
            for place, classifier in enumerate(CLASSIFIERS):
                plain = _accuracies(given.codes[judged], hits[NONE][place], weights)
                for way, found in hits.items():
                    values = _accuracies(given.codes[judged], found[place], weights)
                    low, high = np.percentile(values[1:] - plain[1:], (2.5, 97.5))
                    told.append({
                        "way": way, "encoder": encoder, "budget": BUDGETS[0], "classifier": classifier,
                        "labels from": kind, "judging smears": len(set(smears)),
                        "value": round(float(values[0]), 4), "gain": round(float(values[0] - plain[0]), 4),
                        "low": round(float(low), 4), "high": round(float(high), 4),
                    })
    return told


def _hits(
    given: Set, found: NDArray[np.float32], train: NDArray[np.int64], judged: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How often each classifier is right about each judging image, over the draws of labels [k,n]."""
    told = [right(given, found, (train, judged), BUDGETS[0], repeat) for repeat in range(REPEATS)]
    return np.mean([one == given.codes[judged] for one in told], axis=0)


def _resampled(groups: NDArray[np.object_]) -> NDArray[np.float64]:
    """How often each image counts [1 + RESAMPLES, n]: once, then by groups drawn anew."""
    codes = pd.factorize(groups)[0]
    rng, count = np.random.default_rng(0), int(codes.max()) + 1
    drawn = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(RESAMPLES)]
    return np.array([np.ones(count), *drawn], dtype=np.float64)[:, codes]


def _accuracies(
    codes: NDArray[np.int64], hits: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Balanced accuracy of each resample, over the classes that are in it."""
    classes = np.eye(int(codes.max()) + 1)[codes]
    with np.errstate(invalid="ignore"):
        recall = ((weights * hits) @ classes) / (weights @ classes)
    return np.asarray(np.nanmean(recall, axis=1))


def measure(data: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Everything of one set."""
    chosen = Set.of(data, given.work)
    encoder = start_encoder(chosen.run, given.weights, "microscopy")
    names = [way for way in given.ways if chosen.grouped or "group" not in way]
    ways = {way: vectors(chosen, way, encoder, given.work) for way in names}
    return {
        "reference_images": len(chosen.reference), "images": len(chosen.few), "classes": chosen.classes,
        "groups": int(chosen.few.frame["group"].nunique()), "labelled": LABELLED,
        "like": like_summary(like_smears(chosen, ways)),
        "kinds": described(chosen) if chosen.grouped else [],
        "other": other_smears(chosen, ways) if chosen.grouped else [],
    }


def show(told: Mapping[str, Any]) -> None:
    for name, found in told["sets"].items():
        for part in ("like", "other"):
            for row in found[part]:
                points = {key: f"{100 * row[key]:+.1f}" for key in POINTS & row.keys()}
                say(f"{name} {part}: {' '.join(map(str, {**row, **points}.values()))}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+", help="folders with images/ and labels.csv")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--work", type=Path, default=Path("runs/stain"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    told: dict[str, Any] = {"repeats": REPEATS, "software": software(), "sets": {}}
    for data in given.data:
        told["sets"][data.name] = measure(data, given)
        write_json(given.results, told)
    show(told)


if __name__ == "__main__":
    main()
