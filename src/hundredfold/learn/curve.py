"""Accuracy against the number of labels, as a tidy table."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import RunMissingError, SettingsError
from hundredfold.files import atomic_write
from hundredfold.learn.choose import choose
from hundredfold.learn.classifiers import CLASSIFIERS
from hundredfold.learn.clinical import Clinical
from hundredfold.learn.held_out import held_out_in
from hundredfold.learn.nested import chosen_by_split
from hundredfold.learn.outer import Judged, labels_drawn, sides_of
from hundredfold.learn.scores import Said
from hundredfold.learn.study import NETWORK, Cell, Study
from hundredfold.learn.trial import Trial
from hundredfold.metrics import Measure, measure
from hundredfold.process import cores
from hundredfold.progress import bar

if TYPE_CHECKING:
    from hundredfold.learn.networks import Networks

__all__ = [
    "COLUMNS", "Answered", "LearningCurve", "check_choices", "learning_curve", "measured", "predictions_of",
]

COLUMNS = (
    "encoder", "classifier", "preset", "class", "n_per_class", "n_labels", "n_groups", "repeat",
    "metric", "value", "low", "high", "n_test", "capped", "n_read",
)


@dataclass(frozen=True)
class LearningCurve:
    """The results of every encoder, classifier, budget and repeat.

    Attributes:
        frame: one row a metric and repeat, with the columns ``COLUMNS``. ``class`` is missing for figures
            over all classes; ``low`` and ``high`` are the 95 % interval of the mean over the repeats, so
            they are the same in all of its rows; ``capped`` says that a class (in a class's own row: this
            class) had fewer images than ``n_per_class``; ``n_read`` is how many images of the training side
            a reader reads, in random order, until each class has ``n_per_class``. Where test splits take
            turns, ``n_labels`` and ``n_groups`` are rounded means over them, ``n_read`` is that of the first.
        predictions: encoder, classifier, n_per_class, repeat, id, label, predicted.
        facts: what a reader must know of the evaluation; see :meth:`Trial.facts`.
        clinical: what a clinician reads, at one budget; ``None`` when read back.
    """

    frame: pd.DataFrame
    predictions: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)
    clinical: Clinical | None = None

    def table(self, metric: str = "balanced_accuracy") -> pd.DataFrame:
        """Mean over the repeats: a row an encoder and classifier, a column a budget."""
        rows = self.frame[(self.frame["metric"] == metric) & self.frame["class"].isna()]
        return rows.pivot_table(
            index=["encoder", "classifier"], columns="n_per_class", values="value", sort=False
        ).sort_index(axis=1)

    def beside(self, other: Self) -> Self:
        """This curve with the lines of another, on the same images: its numbers alone, for comparison."""
        return replace(self, frame=pd.concat([self.frame, other.frame], ignore_index=True))

    def write(self, folder: Path) -> None:
        """Write ``curve.csv``, ``curve.parquet``, ``predictions.parquet``, and what a clinician reads."""
        if self.clinical is not None:
            self.clinical.write(folder)
        with atomic_write(folder / "predictions.parquet") as path:
            self.predictions.to_parquet(path, index=False)
        with atomic_write(folder / "curve.parquet") as path:
            self.frame.to_parquet(path, index=False)
        with atomic_write(folder / "curve.csv") as path:
            self.frame.to_csv(path, index=False, lineterminator="\n", float_format="%.6f")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :meth:`write` wrote, without the facts.

        Raises:
            RunMissingError: there is no learning curve in ``folder``.
        """
        if not (folder / "curve.parquet").is_file():
            raise RunMissingError(
                "found no learning curve", where=folder, remedy="Run `hundredfold curve` first."
            )
        frame = pd.read_parquet(folder / "curve.parquet")
        return cls(frame, pd.read_parquet(folder / "predictions.parquet"))


def learning_curve(
    embeddings: Mapping[str, Embeddings], table: ImageTable | None = None,
    choices: CurveChoices | None = None, *, networks: Networks | None = None, seed: int = 0,
    jobs: int | None = None, parts: Path | None = None, subgroups: pd.DataFrame | None = None,
) -> LearningCurve:
    """Fit every classifier to n labels a class of every encoder's vectors, and judge the fixed test images.

    Every classifier and encoder gets the same labels: ``repeats`` random draws, nested over the budgets
    (Nielsen et al. 2023, section 2.4). The transform is fitted to the labelled images of the draw and
    shared by its classifiers; a set of labels that recurs (budgets beyond all there are) is solved once.

    Args:
        embeddings: encoder → vectors of the labelled images.
        table: the images with labels, groups and splits; by default those of the first embeddings.
        choices: budgets, classifiers, repeats, bootstrap, preset …
        networks: what the classifier ``network`` is trained with; encoders that it does not know have none.
        seed: of the draws and of the bootstrap.
        jobs: processes; by default one a core.
        parts: a folder for the outcome of each draw, from which a later call continues.
        subgroups: ``[n, k]`` values by which the test images, in the order of their ids, are judged apart.

    Raises:
        SettingsError: no encoder, a budget below 1, or an unknown classifier.
        SplitError: a side has no labelled image, or one class only.
        LeakError: an image or a group is on both sides.
        TableError: a labelled image has no vector.
    """
    choices = choices or CurveChoices()
    check_choices(choices)
    if not embeddings:
        raise SettingsError(
            "expected embeddings of one encoder or more, found none", remedy="Embed the images."
        )
    table = next(iter(embeddings.values())).images if table is None else table
    sides, jobs = sides_of(table, choices, seed=seed), jobs or cores()
    hashes = {name: str(found.encoder.get("hash", "")) for name, found in embeddings.items()}
    studies = sides.studies(choices, seed, hashes, networks)
    solved, held = [], {}
    for study in studies:
        vectors = {name: study.trial.vectors(found) for name, found in embeddings.items()}
        solved.append(study.solve(vectors, jobs=jobs, parts=parts))
    judged = Judged.of(sides, studies, solved)
    frame = measured(judged, jobs)
    if len(studies) == 1:
        held = held_out_in(studies[0], vectors, judged.headline, jobs=jobs)
    facts = {
        **sides.facts(choices), "draws": f"{sides.whole.identity[:16]}-{seed}",
        "transductive": sides.whole.transductive(embeddings),
        "unconverged": _unconverged(judged),
        "supervised": None if networks is None else networks.supervised,
        "modality": None if networks is None else networks.modality,
        "network_rates": _network_rates(judged),
    }
    study = judged.study
    said = {cell: judged.said(cell) for cell in study.cells if cell.budget == judged.headline}
    clinical = Clinical.of(study, said, vectors, held, jobs=jobs, subgroups=subgroups)
    if held:
        facts["choice"] = choose(held, study.shallow)._asdict() | {"n_per_class": study.headline}
    if len(studies) > 1:  # labels of one split are test images of another: each chooses for itself
        facts["chosen_by_split"] = chosen_by_split(judged, embeddings, jobs=jobs)
    curve = LearningCurve(frame, predictions_of(judged), facts, clinical)
    if parts is not None:
        shutil.rmtree(parts, ignore_errors=True)
    return curve


def check_choices(choices: CurveChoices) -> None:
    """Make sure that budgets and classifiers are usable, before anything is computed.

    Raises:
        SettingsError: there is none, a budget is below 1, or a classifier is unknown or named twice.
    """
    for name in choices.classifiers:
        if name != NETWORK:
            CLASSIFIERS[name]
    if not choices.budgets or min(choices.budgets) < 1:
        raise SettingsError(
            f"expected budgets of at least one label a class, found {list(choices.budgets)}", where="budgets",
            remedy="For example --budgets 1,10,100.",
        )
    if not choices.network_rates or min(choices.network_rates) <= 0:
        raise SettingsError(
            f"expected learning rates above 0, found {list(choices.network_rates)}", where="network_rates",
            remedy="For example --network-rates 1e-4,1e-3.",
        )
    if not choices.classifiers or len(set(choices.classifiers)) < len(choices.classifiers):
        raise SettingsError(
            f"expected classifiers, each once, found {list(choices.classifiers)}", where="classifiers",
            remedy="For example svm,knn.",
        )


class Answered(Protocol):
    """A study, and what its classifiers say of the test images."""

    @property
    def study(self) -> Study:
        """Its cells."""

    @property
    def studies(self) -> Sequence[Study]:
        """One a test split."""

    def said(self, cell: Cell) -> Said:
        """What one of them says in all repeats, in the order of the test images."""


def measured(judged: Answered, jobs: int) -> pd.DataFrame:
    """The rows ``COLUMNS`` of every cell: its measures, and their intervals over test groups and draws."""
    study = judged.study
    trial, resamples = study.trial, study.resamples
    truth, cells = trial.test_codes, study.cells

    work = (delayed(measure)(truth, *judged.said(cell), resamples) for cell in cells)
    rows: list[dict[str, Any]] = []
    with bar("Measuring", len(cells), "points") as progress:
        results = Parallel(n_jobs=min(jobs, len(cells)), prefer="threads", return_as="generator")(work)
        for cell, measures in zip(cells, results, strict=True):
            rows += [row for one in measures for row in _rows(judged, cell, one)]
            progress.advance()
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["n_read"] = frame["n_per_class"].map(trial.reads(frame["n_per_class"]))
    return frame.astype({"class": "str", "n_groups": "Int64", "value": float, "low": float, "high": float})


def _rows(judged: Answered, cell: Cell, one: Measure) -> list[dict[str, Any]]:
    study, number = judged.study, one.class_number
    fewest = min(_fewest(part.trial, number) for part in judged.studies)
    rows = []
    for repeat, value in enumerate(one.values):
        rows.append({
            "encoder": cell.encoder, "classifier": cell.classifier, "preset": study.choices.preset,
            "class": None if number is None else study.trial.classes[number],
            "n_per_class": cell.budget, "n_labels": labels_drawn(judged.studies, cell.budget, repeat),
            "n_groups": _groups_drawn(judged.studies, cell.budget, repeat),
            "repeat": repeat, "metric": one.metric, "value": value, "low": one.low, "high": one.high,
            "n_test": one.n_test, "capped": fewest < cell.budget,
        })
    return rows


def _fewest(trial: Trial, number: int | None) -> int:
    """Training images of a class; without a number those of the smallest class that has any."""
    sizes = np.bincount(trial.train_codes, minlength=len(trial.classes))
    return int(sizes[sizes > 0].min() if number is None else sizes[number])


def _groups_drawn(studies: Sequence[Study], budget: int, repeat: int) -> int | None:
    found = [study.trial.groups_among(study.draws[budget, repeat]) for study in studies]
    known = [count for count in found if count is not None]
    return round(float(np.mean(known))) if known else None


def predictions_of(judged: Answered) -> pd.DataFrame:
    """encoder, classifier, n_per_class, repeat, id, label, predicted: a row an answer."""
    study = judged.study
    ids, truth = pd.Index(study.trial.test.ids), study.trial.test_codes
    cells = [(cell, repeat) for cell in study.cells for repeat in range(study.choices.repeats)]
    predicted = [judged.said(cell).predicted.ravel() for cell in study.cells]
    of = np.repeat(np.arange(len(cells)), len(ids))
    encoders, classes = list(study.encoders), pd.Index(study.trial.classes)
    classifiers = list(study.choices.classifiers)

    def column(part: Sequence[str], names: list[str]) -> Any:
        numbers = np.array([names.index(name) for name in part])
        return pd.Categorical.from_codes(numbers[of], pd.Index(names, dtype="str"))

    return pd.DataFrame({
        "encoder": column([cell.encoder for cell, _ in cells], encoders),
        "classifier": column([cell.classifier for cell, _ in cells], classifiers),
        "n_per_class": np.array([cell.budget for cell, _ in cells], dtype=np.int32)[of],
        "repeat": np.array([repeat for _, repeat in cells], dtype=np.int32)[of],
        "id": pd.Categorical.from_codes(np.tile(np.arange(len(ids)), len(cells)), ids),
        "label": pd.Categorical.from_codes(np.tile(truth, len(cells)), classes),
        "predicted": pd.Categorical.from_codes(np.concatenate(predicted), classes),
    })


def _network_rates(judged: Judged) -> list[list[Any]]:
    """Encoder, number of labels, learning rate: how many networks kept that rate."""
    counts: Counter[tuple[str, int, float]] = Counter()
    for study, solved in zip(judged.studies, judged.solved, strict=True):
        for key, task in study.tasks().items():
            if not isnan(rate := solved[key].rate):
                counts[task.encoder, len(task.rows), rate] += 1
    return [[*which, count] for which, count in sorted(counts.items())]


def _unconverged(judged: Judged) -> dict[str, int]:
    """Classifier → in how many fits its optimiser stopped early, where in any."""
    counts: Counter[str] = Counter()
    for study, solved in zip(judged.studies, judged.solved, strict=True):
        for key, task in study.tasks().items():
            counts.update(dict(zip(task.classifiers, map(int, solved[key].unconverged), strict=True)))
    return {name: count for name, count in counts.items() if count}
