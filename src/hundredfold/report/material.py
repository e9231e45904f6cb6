"""What a run holds, read into tables; what it does not hold is missing, not an error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hundredfold.data.labels import LabelSet
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import InputError
from hundredfold.learn.scores import read_scores
from hundredfold.report.tables import Headline, headline
from hundredfold.rundir import RunDirectory
from hundredfold.url import place

__all__ = [
    "Material", "as_evaluated", "evaluated_images", "gather", "headline_of", "read_metrics",
    "settings_of", "without_repeats",
]


@dataclass(frozen=True)
class Material:
    """The parts of a run that a report is made from.

    Attributes:
        name: the run's folder name.
        state: ``run.json``.
        settings: ``config.yaml``: verb → setting → value.
        images, rejects, metrics, curve, predictions: tables; ``None`` where their stage was not run.
        large_classes: the curve of the large classes alone, which ``reproduce`` draws.
        store: the decoded images.
        embeddings: encoder name → vectors.
        predictor: ``predictor/predictor.json``.
        scores: the file of the scores at the headline's budget, which is large.
        held_out: that of the scores of labels held out, from which calibrations and sets are made.
        thresholds, strata: what ``curve`` found for clinicians.
        calibrations: what made probabilities of each method's scores, draw by draw.
        prevalence: class → share, as the reader of the report stated it.
        near_copies: pairs of images, as ``scan`` wrote them.
        copies_across: training images that show what an image held out shows, as the encoder sees it.
        adaptation, adaptation_compared: of ``evaluate``: the curve over labels of the new source, and its
            ways beside the predictor as it is.
        folder: the run's.
    """

    name: str
    state: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    images: ImageTable | None = None
    rejects: pd.DataFrame | None = None
    metrics: pd.DataFrame | None = None
    curve: pd.DataFrame | None = None
    large_classes: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    store: PixelStore | None = None
    embeddings: Mapping[str, Embeddings] = field(default_factory=dict)
    predictor: Mapping[str, Any] | None = None
    scores: Path | None = None
    held_out: Path | None = None
    thresholds: pd.DataFrame | None = None
    strata: pd.DataFrame | None = None
    calibrations: Sequence[Mapping[str, Any]] = ()
    prevalence: Mapping[str, float] = field(default_factory=dict)
    near_copies: pd.DataFrame | None = None
    copies_across: pd.DataFrame | None = None
    adaptation: pd.DataFrame | None = None
    adaptation_compared: pd.DataFrame | None = None
    folder: Path | None = None

    @cached_property
    def test_pieces(self) -> pd.Series:
        """Id of a test image → the number of its piece: its group, or its near-copies; else it is its own.

        Test images are those that were judged: where test splits took turns, images of what the scan called
        the training side are among them.
        """
        test = ImageTable.of({"id": []}) if self.images is None else self.images.test
        if self.images is not None and self.predictions is not None:
            judged = self.predictions["id"].unique().astype(str)  # few, where the answers are millions
            test = self.images.select(self.images.frame["id"].isin(judged))
        return pd.Series(pieces_of(test), index=test.ids)

    def scores_at(self, at: Headline) -> pd.DataFrame | None:
        """The rows of one point in ``scores.parquet``, draw by draw; read once, for several chapters."""
        if self.scores is None:
            return None
        if at not in self._read:
            rows = read_scores(self.scores, at.encoder, at.classifier)
            rows = rows[rows["n_per_class"] == at.n_per_class]
            self._read[at] = rows.sort_values("repeat", kind="stable")
        return self._read[at]

    @cached_property
    def _read(self) -> dict[Headline, pd.DataFrame]:
        return {}

    def was_judged(self, encoder: str | None, classifier: str | None) -> bool:
        """Whether the curve has points of a method."""
        if self.curve is None:
            return False
        return bool(((self.curve["encoder"] == encoder) & (self.curve["classifier"] == classifier)).any())

    @property
    def outer(self) -> bool:
        """Whether several test splits took turns."""
        return bool(self.evaluation.get("outer_splits"))

    def chosen_on_test(self, at: Headline) -> bool:
        """Whether labels of test images chose the method that is spoken of.

        It is the predictor's, which may be the best in cross-validation on the scan's training side; where
        test splits took turns, those images are test images, too.
        """
        facts = self.predictor or {}
        several = len(facts.get("cross_validation") or {}) > 1
        own = (facts.get("embeddings"), facts.get("classifier")) == (at.encoder, at.classifier)
        return self.outer and several and own

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """What ``curve`` noted in ``run.json``."""
        return dict(self.state.get("curve") or {})

    @property
    def pretraining(self) -> Mapping[str, Any]:
        """What ``pretrain`` noted in ``run.json``."""
        return dict(self.state.get("pretrain") or {})


def gather(
    run: RunDirectory, prevalence: Mapping[str, float] | None = None, *, vectors: bool = True
) -> Material:
    """Read every part that exists in ``run``.

    Args:
        run: the run.
        prevalence: what its reader states.
        vectors: also those of the images, which are large.
    """
    predictor = run / "predictor" / "predictor.json"
    settings = settings_of(run)
    predictions = _parquet(run / "predictions.parquet")
    images = ImageTable.read(path) if (path := run / "images.parquet").exists() else None
    embeddings = _embeddings(run / "embeddings") if vectors else {}
    if predictions is not None:
        images = None if images is None else as_evaluated(images, settings, predictions)
        embeddings = {
            name: replace(found, images=as_evaluated(found.images, settings, predictions))
            for name, found in embeddings.items()
        }
    return Material(
        name=run.path.resolve().name,
        state=run.state,
        settings=settings,
        images=images,
        rejects=_rejects(run / "rejects.csv"),
        metrics=read_metrics(path) if (path := run / "metrics.jsonl").exists() else None,
        curve=_curve(run / "curve.parquet"),
        large_classes=_curve(run / "large_classes" / "curve.parquet"),
        predictions=predictions,
        store=PixelStore.open(run.pixels) if (run.pixels / "pixels.json").exists() else None,
        embeddings=embeddings,
        predictor=json.loads(predictor.read_text(encoding="utf-8")) if predictor.exists() else None,
        scores=path if (path := run / "scores.parquet").exists() else None,
        held_out=path if (path := run / "held_out.parquet").exists() else None,
        thresholds=_names(run / "thresholds.csv", "encoder", "classifier", "class"),
        strata=_names(run / "strata.csv", "encoder", "classifier", "class", "by", "stratum"),
        calibrations=json.loads(path.read_text("utf-8"))
        if (path := run / "calibrations.json").exists() else (),
        prevalence=prevalence or {},
        folder=run.path,
        near_copies=_names(run / "near_copies.csv", "first", "second", "first_label", "second_label"),
        copies_across=_names(run / "copies_across.csv", "first", "second"),
        adaptation=_curve(run / "adaptation" / "curve.parquet"),
        adaptation_compared=_names(run / "adaptation" / "comparison.csv", "encoder", "classifier"),
    )


def headline_of(material: Material) -> Headline | None:
    """The point that the report speaks of: the predictor's method, else the chosen one, if it was judged."""
    if material.curve is None or material.curve.empty:
        return None
    chosen, fitted = material.evaluation.get("choice") or {}, material.predictor or {}
    methods = [
        (fitted.get("embeddings"), fitted.get("classifier")),
        (chosen.get("encoder"), chosen.get("classifier")),
    ]
    encoder, classifier = next((method for method in methods if material.was_judged(*method)), methods[0])
    return headline(material.curve, classifier, encoder)


def evaluated_images(run: RunDirectory) -> ImageTable | None:
    """The images of a curve with its labels and test set, from the run or from what its curve was made of."""
    settings, predictions = settings_of(run), _parquet(run / "predictions.parquet")
    made_of = Path(settings.get("curve", {}).get("embeddings") or run.path)
    places = [run.path, made_of, made_of.absolute().parent.parent, *sorted(made_of.glob("embeddings/*"))]
    found = [place / "images.parquet" for place in places if (place / "images.parquet").is_file()]
    if not found or predictions is None:
        return None
    return as_evaluated(ImageTable.read(found[0]), settings, predictions)


def without_repeats(curve: pd.DataFrame) -> pd.DataFrame:
    """Each method's curve up to its first budget that takes every label there is; those beyond repeat it."""
    method = [curve["encoder"], curve["classifier"]]
    most = curve.groupby(method, observed=True)["n_labels"].transform("max")
    every = curve["n_per_class"].where(curve["n_labels"] == most)
    return curve.loc[curve["n_per_class"] <= every.groupby(method, observed=True).transform("min")]


def as_evaluated(
    images: ImageTable, settings: Mapping[str, Mapping[str, Any]], predictions: pd.DataFrame
) -> ImageTable:
    """The images with the labels and the test set of the curve, where those came after the scan.

    Labels that cannot be read any more leave the table as it is.
    """
    given = settings.get("curve", {}).get("labels")
    if given is None or (given == settings.get("scan", {}).get("labels") and images.labelled.any()):
        return images
    try:
        labelled = LabelSet.read(place(given), images).apply(images)
    except InputError:
        return images
    tested = labelled.frame["id"].isin(predictions["id"].unique().astype(str))
    split = labelled.frame["split"]
    split = split.where(~tested | (split == "audit"), "test").fillna("train")
    return labelled.assign(split=split)


def read_metrics(path: Path) -> pd.DataFrame | None:
    """The rows of ``metrics.jsonl``, one a step: of a step repeated after a resume, the last.

    A line that a kill cut short is left out.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [row for line in lines if (row := _parsed(line)) is not None]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    return table.drop_duplicates("step", keep="last").sort_values("step", ignore_index=True)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def settings_of(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """``config.yaml``: verb → setting → value; empty where there is none."""
    path = run / "config.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def _parquet(path: Path) -> pd.DataFrame | None:
    return pd.read_parquet(path) if path.exists() else None


def _names(path: Path, *names: str) -> pd.DataFrame | None:
    """A CSV in which these columns hold names, whatever they look like; an empty one is missing."""
    if not path.exists():
        return None
    return pd.read_csv(path, dtype=dict.fromkeys(names, "str"), keep_default_na=False, na_values={
        name: [""] for name in pd.read_csv(path, nrows=0).columns
    })


def _curve(path: Path) -> pd.DataFrame | None:
    return None if (curve := _parquet(path)) is None else without_repeats(curve)


def _rejects(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else None


def _embeddings(folder: Path) -> dict[str, Embeddings]:
    if not folder.is_dir():
        return {}
    finished = sorted(path.parent for path in folder.glob("*/embeddings.json"))
    return {path.name: Embeddings.read(path) for path in finished}
