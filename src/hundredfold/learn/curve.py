"""Accuracy against the number of labels, as a tidy table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import RunMissingError, SettingsError
from hundredfold.learn.budgets import draw_labels
from hundredfold.learn.classifiers import CLASSIFIERS
from hundredfold.learn.draws import Outcome, Task, outcomes
from hundredfold.learn.trial import Trial
from hundredfold.metrics import Measure, Resamples, measure
from hundredfold.progress import bar
from hundredfold.rundir import atomic_write

__all__ = ["COLUMNS", "LearningCurve", "check_choices", "learning_curve"]

COLUMNS = (
    "encoder", "classifier", "preset", "class", "n_per_class", "n_labels", "n_groups", "repeat",
    "metric", "value", "low", "high", "n_test", "capped",
)


WORTH_A_PROCESS = 10_000_000  # numbers to transform; below, starting processes takes longer than the work

Vectors: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class LearningCurve:
    """The results of every encoder, classifier, budget and repeat.

    Attributes:
        frame: one row a metric and repeat, with the columns ``COLUMNS``. ``class`` is missing for figures
            over all classes; ``low`` and ``high`` are the 95 % interval of the mean over the repeats, so
            they are the same in all of its rows; ``capped`` says that a class (in a class's own row: this
            class) had fewer images than ``n_per_class``.
        predictions: encoder, classifier, n_per_class, repeat, id, label, predicted.
        facts: what a reader must know of the evaluation; see :meth:`Trial.facts`.
    """

    frame: pd.DataFrame
    predictions: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)

    def table(self, metric: str = "balanced_accuracy") -> pd.DataFrame:
        """Mean over the repeats: a row an encoder and classifier, a column a budget."""
        rows = self.frame[(self.frame["metric"] == metric) & self.frame["class"].isna()]
        return rows.pivot_table(
            index=["encoder", "classifier"], columns="n_per_class", values="value", sort=False
        ).sort_index(axis=1)

    def write(self, folder: Path) -> None:
        """Write ``curve.csv``, ``curve.parquet`` and ``predictions.parquet``."""
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
    choices: CurveChoices | None = None, *, seed: int = 0, jobs: int | None = None, parts: Path | None = None,
) -> LearningCurve:
    """Fit every classifier to n labels a class of every encoder's vectors, and judge the fixed test images.

    Every classifier and encoder gets the same labels: ``repeats`` random draws, nested over the budgets
    (Nielsen et al. 2023, section 2.4). The transform is fitted to the labelled images of the draw and
    shared by its classifiers; a set of labels that recurs (budgets beyond all there are) is solved once.

    Args:
        embeddings: encoder → vectors of the labelled images.
        table: the images with labels, groups and splits; by default those of the first embeddings.
        choices: budgets, classifiers, repeats, bootstrap, preset …
        seed: of the draws and of the bootstrap.
        jobs: processes; by default one a core.
        parts: a folder for the outcome of each draw, from which a later call continues.

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
    trial = Trial.of(table, min_class_size=choices.min_class_size, allow_leak=choices.allow_leak)
    jobs = jobs or _cores()
    draws = {
        (budget, repeat): draw_labels(trial.train.ids, trial.train_codes, budget, repeat=repeat, seed=seed)
        for budget in sorted(set(choices.budgets)) for repeat in range(choices.repeats)
    }
    hashes = {name: str(found.encoder.get("hash", "")) for name, found in embeddings.items()}
    study = _Study(trial, choices, seed, draws, hashes, trial.identity)
    vectors = {name: trial.vectors(name, found) for name, found in embeddings.items()}
    solved = _solve(study, vectors, jobs, parts)
    frame = _measured(study, solved, jobs)
    facts = {
        **trial.facts(), "transductive": trial.transductive(embeddings),
        "unconverged": _unconverged(study, solved),
    }
    curve = LearningCurve(frame, _predictions(study, solved), facts)
    if parts is not None:
        shutil.rmtree(parts, ignore_errors=True)
    return curve


def check_choices(choices: CurveChoices) -> None:
    """Make sure that budgets and classifiers are usable, before anything is computed.

    Raises:
        SettingsError: there is none, a budget is below 1, or a classifier is unknown.
    """
    for name in choices.classifiers:
        CLASSIFIERS[name]
    if not choices.budgets or min(choices.budgets) < 1:
        raise SettingsError(
            f"expected budgets of at least one label a class, found {list(choices.budgets)}", where="budgets",
            remedy="For example --budgets 1,10,100.",
        )
    if not choices.classifiers:
        raise SettingsError(
            "expected a classifier, found none", where="classifiers", remedy="For example svm,knn."
        )


@dataclass(frozen=True)
class _Study:
    """Everything the outcomes depend on but the vectors themselves."""

    trial: Trial
    choices: CurveChoices
    seed: int
    draws: Mapping[tuple[int, int], NDArray[np.int64]]
    encoders: Mapping[str, str]
    identity: str

    def task(self, encoder: str, draw: tuple[int, int]) -> Task:
        """The task of one draw; draws with equal labels have the task in common."""
        facts = (self.encoders[encoder], self.choices.preset, self.choices.classifiers, self.identity)
        return Task.of(encoder, self.draws[draw], *facts)


def _solve(
    study: _Study, vectors: Mapping[str, tuple[Vectors, Vectors]], jobs: int, parts: Path | None
) -> dict[str, Outcome]:
    """Solve each distinct task once; what ``parts`` holds is taken from there."""
    every = [study.task(name, draw) for name in study.encoders for draw in study.draws]
    tasks = {task.key: task for task in every}
    solved = {key: Outcome.read(path) for key in tasks if parts and (path := parts / f"{key}.npz").is_file()}
    todo = [task for key, task in tasks.items() if key not in solved]
    asked = len(study.trial.test)
    numbers = sum((len(task.rows) + asked) * vectors[task.encoder][0].shape[1] for task in todo)
    jobs = jobs if numbers > WORTH_A_PROCESS else 1
    with bar("Fitting classifiers", len(tasks), "draws", start=len(solved)) as progress:
        found = outcomes(
            todo, vectors, study.trial.train_codes, study.choices.classifiers, len(study.trial.classes),
            jobs=jobs,
        )
        for key, outcome in found:
            solved[key] = outcome
            if parts is not None:
                outcome.write(parts / f"{key}.npz")
            progress.advance()
    return solved


def _measured(study: _Study, solved: Mapping[str, Outcome], jobs: int) -> pd.DataFrame:
    trial, repeats = study.trial, study.choices.repeats
    resamples = None
    if study.choices.bootstrap:
        resamples = Resamples.draw(trial.test_groups, repeats, study.choices.bootstrap, study.seed)
    truth = trial.test_codes
    cells = [
        (encoder, place, name, budget)
        for encoder in study.encoders for place, name in enumerate(study.choices.classifiers)
        for budget in sorted({budget for budget, _ in study.draws})
    ]

    def stacked(encoder: str, place: int, budget: int) -> tuple[NDArray[Any], NDArray[Any]]:
        found = [solved[study.task(encoder, (budget, repeat)).key] for repeat in range(repeats)]
        predicted, scores = ([getattr(one, part)[place] for one in found] for part in ("predicted", "scores"))
        return np.stack(predicted), np.stack(scores)

    work = (delayed(measure)(truth, *stacked(e, place, b), resamples) for e, place, _, b in cells)
    rows: list[dict[str, Any]] = []
    with bar("Measuring", len(cells), "points") as progress:
        results = Parallel(n_jobs=min(jobs, len(cells)), prefer="threads", return_as="generator")(work)
        for (encoder, _, name, budget), measures in zip(cells, results, strict=True):
            rows += [row for one in measures for row in _rows(study, encoder, name, budget, one)]
            progress.advance()
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"class": "str", "n_groups": "Int64", "value": float, "low": float, "high": float})


def _rows(study: _Study, encoder: str, classifier: str, budget: int, one: Measure) -> list[dict[str, Any]]:
    number, sizes = one.class_number, np.bincount(study.trial.train_codes, minlength=len(study.trial.classes))
    fewest = sizes[sizes > 0].min() if number is None else sizes[number]
    rows = []
    for repeat, value in enumerate(one.values):
        drawn = study.draws[budget, repeat]
        rows.append({
            "encoder": encoder, "classifier": classifier, "preset": study.choices.preset,
            "class": None if number is None else study.trial.classes[number],
            "n_per_class": budget, "n_labels": len(drawn), "n_groups": study.trial.groups_among(drawn),
            "repeat": repeat, "metric": one.metric, "value": value, "low": one.low, "high": one.high,
            "n_test": one.n_test, "capped": bool(fewest < budget),
        })
    return rows


def _predictions(study: _Study, solved: Mapping[str, Outcome]) -> pd.DataFrame:
    ids, truth = pd.Index(study.trial.test.ids), study.trial.test_codes
    cells = [
        (encoder, place, budget, repeat)
        for encoder in study.encoders for place in range(len(study.choices.classifiers))
        for budget, repeat in study.draws
    ]
    predicted = [
        solved[study.task(encoder, (budget, repeat)).key].predicted[place]
        for encoder, place, budget, repeat in cells
    ]
    of = np.repeat(np.arange(len(cells)), len(ids))
    encoders, classes = list(study.encoders), pd.Index(study.trial.classes)
    classifiers = pd.Index(study.choices.classifiers)
    return pd.DataFrame({
        "encoder": pd.Categorical.from_codes(
            np.array([encoders.index(cell[0]) for cell in cells])[of], pd.Index(encoders)
        ),
        "classifier": pd.Categorical.from_codes(np.array([cell[1] for cell in cells])[of], classifiers),
        "n_per_class": np.array([cell[2] for cell in cells], dtype=np.int32)[of],
        "repeat": np.array([cell[3] for cell in cells], dtype=np.int32)[of],
        "id": pd.Categorical.from_codes(np.tile(np.arange(len(ids)), len(cells)), ids),
        "label": pd.Categorical.from_codes(np.tile(truth, len(cells)), classes),
        "predicted": pd.Categorical.from_codes(np.concatenate(predicted), classes),
    })


def _unconverged(study: _Study, solved: Mapping[str, Outcome]) -> dict[str, int]:
    """Classifier → in how many fits its optimiser stopped early, where in any."""
    counts = np.sum([one.unconverged for one in solved.values()], axis=0)
    return {name: int(count) for name, count in zip(study.choices.classifiers, counts, strict=True) if count}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
