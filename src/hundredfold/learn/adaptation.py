"""Adaptation: what a few labels of another source are worth, if the classifier alone is fitted again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.config import CurveChoices
from hundredfold.data.splits import draw_splits
from hundredfold.errors import SplitError
from hundredfold.learn.classifiers import judge, make_pipeline
from hundredfold.learn.compare import compare
from hundredfold.learn.curve import LearningCurve, measured, predictions_of
from hundredfold.learn.draws import fit_and_tell, for_every_class
from hundredfold.learn.external import External, Fitted
from hundredfold.learn.scores import Said
from hundredfold.learn.study import Cell, Study
from hundredfold.learn.trial import Trial
from hundredfold.process import cores
from hundredfold.progress import bar

__all__ = ["ADAPTED", "ALONE", "AS_IT_IS", "WAYS", "Pool", "adaptation", "adaptation_compared"]

#: The ways: as it came; fitted to its own labels and the new ones; fitted to the new ones alone.
AS_IT_IS, ADAPTED, ALONE = WAYS = ("as it is", "refitted", "new labels alone")
#: Share of the new images that judge; the others give labels.
JUDGING = 0.5

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """Vectors of both sources.

    Attributes:
        known: ``[m, d]`` of the images that the classifier learned from, in the order of ``trial.train``.
        new: ``[n, d]`` of the images of the other source, in the order of ``trial.test``.
        preset: whose settings the classifier has.
    """

    known: Vectors
    new: Vectors
    preset: str = "default"


def adaptation(
    given: External, pool: Pool, choices: CurveChoices, *, seed: int = 0
) -> LearningCurve:
    """Three ways beside each other, on the same half of the new images, with labels of the other half.

    The halves are drawn by group. The encoder stays as it is: only the classifier is fitted again, so it
    takes seconds. The classes of the classifier that have no new image stay known from its own labels.

    Args:
        given: the classifier as it came.
        pool: vectors.
        choices: ``budgets`` (new labels a class), ``repeats``, ``bootstrap``.
        seed: of the halves, the draws and the bootstrap.

    Returns:
        a learning curve whose classifiers are ``WAYS``, over new labels a class.

    Raises:
        SplitError: the new images cannot be halved by group.
    """
    trial = _halves(given.trial, seed)
    rows = {name: place for place, name in enumerate(given.trial.test.ids)}
    judging = np.array([rows[name] for name in trial.test.ids])
    giving = pool.new[[rows[name] for name in trial.train.ids]]
    asked = choices.model_copy(update={
        "classifiers": WAYS, "budgets": _budgets(choices, trial),
    })
    study = Study.of(trial, asked, seed, {given.encoder: ""})
    before = Said(given.said.predicted[:, judging], given.said.scores[:, judging])
    answers: dict[Cell, Said] = {}
    with bar("Adapting", len(study.cells) * asked.repeats, "fits") as progress:
        for cell in study.cells:
            said = []
            for repeat in range(asked.repeats):
                drawn = study.draws[cell.budget, repeat]
                vectors, codes = giving[drawn], trial.train_codes[drawn]
                if cell.classifier == ADAPTED:
                    vectors = np.concatenate([pool.known, vectors])
                    codes = np.concatenate([given.trial.train_codes, codes])
                said.append(
                    before if cell.classifier == AS_IT_IS
                    else _refitted(given, pool.preset, (vectors, codes), pool.new[judging])
                )
                progress.advance()
            answers[cell] = Said(
                np.concatenate([one.predicted for one in said]), np.concatenate([one.scores for one in said])
            )
    answered = Fitted(study, answers)
    return LearningCurve(measured(answered, cores()), predictions_of(answered), trial.facts(asked))


def adaptation_compared(found: LearningCurve, pieces: pd.Series) -> pd.DataFrame:
    """Each way beside the classifier as it is, at every number of new labels.

    Args:
        found: of :func:`adaptation`.
        pieces: image id → the number of what is resampled together.

    Returns:
        the rows of :func:`~hundredfold.learn.compare.compare`, corrected within a number of labels.
    """
    encoder = str(found.frame["encoder"].iloc[0])
    pairs = [((encoder, way), (encoder, AS_IT_IS)) for way in (ADAPTED, ALONE)]
    return pd.concat([
        compare(found.predictions, pieces, pairs, n_per_class=int(budget))
        for budget in sorted(found.frame["n_per_class"].unique())
    ], ignore_index=True)


def _halves(trial: Trial, seed: int) -> Trial:
    drawn = draw_splits(trial.test.assign(split=None), test_size=JUDGING, seed=seed)
    giving, judging = (drawn.select(drawn.frame["split"] == side) for side in ("train", "test"))
    if not len(giving.classes) or len(judging.classes) < 2:
        raise SplitError(
            "the new images cannot be halved by group with two classes in either half",
            remedy="Adaptation needs labelled images of more patients.",
        )
    return Trial(
        giving.by_id(sorted(giving.ids)), judging.by_id(sorted(judging.ids)), trial.classes
    )


def _budgets(choices: CurveChoices, trial: Trial) -> tuple[int, ...]:
    """Those asked for up to the first that takes all there is."""
    budgets = sorted(set(choices.budgets))
    return tuple(
        budget for place, budget in enumerate(budgets)
        if place == 0 or budgets[place - 1] < trial.largest_class
    )


def _refitted(
    given: External, preset: str, labelled: tuple[Vectors, NDArray[np.int64]], asked: Vectors
) -> Said:
    """What the same kind of classifier says of vectors ``[n, d]``, fitted to these labelled ones."""
    vectors, codes = labelled
    known, classes = np.unique(codes), len(given.trial.classes)
    if len(known) == 1:  # there is nothing to tell it from
        scores = for_every_class(np.ones((len(asked), 1)), known, classes)
        return Said(np.full((1, len(asked)), known[0], dtype=np.int32), scores[None])
    machine = make_pipeline(
        given.classifier, samples=len(vectors), features=vectors.shape[1], classes=len(known), preset=preset
    )
    fit_and_tell(machine, vectors, codes)
    predicted, own = judge(machine, asked)
    return Said(predicted.astype(np.int32)[None], for_every_class(own, known, classes)[None])
