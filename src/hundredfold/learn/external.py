"""A fitted classifier on images of another source: the tables of a learning curve that has one point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.errors import SplitError
from hundredfold.learn.clinical import Clinical
from hundredfold.learn.curve import LearningCurve, measured, predictions_of
from hundredfold.learn.held_out import HeldOut
from hundredfold.learn.scores import Said, held_out_table, score_table
from hundredfold.learn.strata import by_stratum
from hundredfold.learn.study import Cell, Study
from hundredfold.learn.thresholds import thresholds
from hundredfold.learn.trial import Trial
from hundredfold.process import cores

__all__ = ["External", "Fitted", "external_curve"]


@dataclass(frozen=True)
class Fitted:
    """What classifiers that are fitted already say of the test images of a study."""

    study: Study
    answers: Mapping[Cell, Said]

    @property
    def studies(self) -> tuple[Study]:
        """The one there is."""
        return (self.study,)

    def said(self, cell: Cell) -> Said:
        """What one of them says."""
        return self.answers[cell]


@dataclass(frozen=True)
class External:
    """A fitted classifier, what it learned from, and the images that it is judged on.

    Attributes:
        trial: ``train`` are the labelled images that it learned from, ``test`` those of the other source.
        encoder, classifier: their names.
        said: what it says of the test images, in the order of their ids; one repeat.
        held: scores ``[m, c]`` of the training labels by fits that had not seen them; NaN where none did.
        calibration: the facts of what makes probabilities of the scores, if anything does.
    """

    trial: Trial
    encoder: str
    classifier: str
    said: Said
    held: NDArray[np.float32]
    calibration: Mapping[str, Any] | None

    @classmethod
    def trial_of(cls, known: ImageTable, new: ImageTable, classes: tuple[str, ...]) -> Trial:
        """The sides: what was learned from, and the new images whose label is a class of the classifier.

        Raises:
            SplitError: there is no such image.
        """
        usable = new.usable
        test = usable.select(usable.frame["label"].isin(classes)).assign(split="test")
        if not len(test):
            told = ", ".join(usable.classes) or "no label"
            raise SplitError(
                f"expected labels of the predictor's classes ({', '.join(classes)}), found {told}",
                remedy="Name the classes in the labels as the predictor does.",
            )
        return Trial(known.assign(split="train"), test.by_id(sorted(test.ids)), classes)

    def study(self, choices: CurveChoices, seed: int) -> Study:
        """The only cell: all labels that it learned from, once."""
        most = self.trial.largest_class
        asked = choices.model_copy(update={
            "budgets": (most,), "repeats": 1, "classifiers": (self.classifier,),
        })
        draws = {(most, 0): np.arange(len(self.trial.train), dtype=np.int64)}
        return Study(self.trial, asked, seed, draws, {self.encoder: ""}, None, most)


def external_curve(
    given: External, choices: CurveChoices, *, seed: int = 0, subgroups: pd.DataFrame | None = None
) -> LearningCurve:
    """Judge a fitted classifier on images of another source, as a learning curve judges its own.

    Thresholds and probabilities are those that the training labels gave, so that what is measured is what
    a user of the classifier meets; nothing is fitted to the new images.

    Args:
        given: the classifier and the images.
        choices: ``bootstrap`` and the operating point.
        seed: of the bootstrap.
        subgroups: ``[n, k]`` values by which the test images are judged apart.
    """
    study = given.study(choices, seed)
    cell = study.cells[0]
    answered = Fitted(study, {cell: given.said})
    held = {(given.encoder, 0): _held_out(given)}
    strata = by_stratum(study, answered.answers, subgroups)
    place = {
        "encoder": cell.encoder, "n_per_class": cell.budget, "repeat": 0, "classifier": cell.classifier,
    }
    clinical = Clinical(
        score_table(given.trial, answered.answers),
        None if study.choices.operating_point is None else thresholds(study, held),
        strata if len(strata) else None,
        () if given.calibration is None else ({**place, **given.calibration},),
        held_out_table(study, held),
    )
    return LearningCurve(
        measured(answered, cores()), predictions_of(answered), given.trial.facts(study.choices), clinical
    )


def _held_out(given: External) -> HeldOut:
    unseen = np.isnan(given.held).any(axis=1)
    best = np.where(unseen, -1, np.nan_to_num(given.held).argmax(axis=1))
    return HeldOut(given.trial.train_codes, best.astype(np.int32)[None], given.held[None])
