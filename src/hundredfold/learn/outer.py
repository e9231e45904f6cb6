"""Several test splits in place of one: for sets too small for a test set that says much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hundredfold.config import CurveChoices
from hundredfold.data.splits import pieces_of
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError, SplitError
from hundredfold.learn.budgets import group_folds, headline_budget
from hundredfold.learn.draws import Outcome
from hundredfold.learn.scores import Said
from hundredfold.learn.study import Cell, Study
from hundredfold.learn.trial import Trial

if TYPE_CHECKING:
    from hundredfold.learn.networks import Networks

__all__ = ["Judged", "Sides", "labels_drawn", "sides_of"]


@dataclass(frozen=True)
class Sides:
    """The sides of an evaluation: one split, or several that take turns.

    Attributes:
        trials: a trial a split.
        whole: what is reported on: the only trial; of several, the training side of the first, and the
            test images of all.
    """

    trials: tuple[Trial, ...]
    whole: Trial

    def studies(
        self, choices: CurveChoices, seed: int, encoders: Mapping[str, str], networks: Networks | None
    ) -> list[Study]:
        """What is to be fitted in each split; "all labels" of a network is the same number in each."""
        most = max(trial.largest_class for trial in self.trials)
        return [Study.of(trial, choices, seed, encoders, networks, every=most) for trial in self.trials]

    def facts(self, choices: CurveChoices | None = None) -> dict[str, Any]:
        """What a reader must know of them; JSON can hold it."""
        splits = len(self.trials) if len(self.trials) > 1 else None
        return {**self.whole.facts(choices), "outer_splits": splits}

    def sentences(self, choices: CurveChoices | None = None) -> list[str]:
        """The facts that a user should read, in sentences."""
        told = self.whole.sentences(choices)
        if len(self.trials) > 1:
            told.append(
                f"Each labelled image is a test image once, in one of {len(self.trials)} splits by group; "
                "the classifiers that judge it learned from the others."
            )
        return told


def sides_of(table: ImageTable, choices: CurveChoices, *, seed: int) -> Sides:
    """The sides from a table with labels and splits, or with ``outer_splits`` from its labels and groups.

    With K outer splits every labelled image, audit images apart, is a test image in one of K parts; no group
    is in two.

    Args:
        table: the images.
        choices: ``outer_splits``; ``min_class_size``, of the training side of every split; ``allow_leak``.
        seed: of the parts.

    Raises:
        SettingsError: outer splits with an operating point, or with each site left out.
        SplitError: fewer groups than parts, or fewer than two classes; see also :meth:`Trial.of`.
        LeakError: see :meth:`Trial.of`.
    """
    if choices.outer_splits == 1:
        only = Trial.of(table, min_class_size=choices.min_class_size, allow_leak=choices.allow_leak)
        return Sides((only,), only)
    if choices.operating_point is not None or choices.leave_one_site_out:
        raise SettingsError(
            "expected one test split, found several", where=f"outer_splits={choices.outer_splits}",
            remedy="Leave out --outer-splits, or --sensitivity, --specificity and --leave-one-site-out.",
        )
    labelled = table.usable.select(table.usable.labelled & (table.usable.frame["split"] != "audit"))
    labelled = labelled.by_id(sorted(labelled.ids))
    pieces = pieces_of(labelled)
    _check_parts(labelled, pieces, choices.outer_splits)
    names, codes = np.unique(labelled.frame["label"].astype(str), return_inverse=True)
    part = group_folds(labelled.ids, codes, pieces.tolist(), folds=choices.outer_splits, seed=seed)
    # What is left out is known by how the images are dealt, so that all of them are dealt.
    sizes = np.bincount(codes)
    tested = [np.bincount(codes[part == number], minlength=len(names)) for number in range(part.max() + 1)]
    small = sizes - np.max(tested, axis=0) < choices.min_class_size
    kept = ~small[codes]
    labelled, part = labelled.select(kept), part[kept]
    _check_parts(labelled, pieces[kept], choices.outer_splits)
    splits = [np.where(part == number, "test", "train") for number in range(choices.outer_splits)]
    trials = tuple(
        Trial.of(labelled.assign(split=split), allow_leak=choices.allow_leak) for split in splits
    )
    audit = int((table.usable.labelled & (table.usable.frame["split"] == "audit")).sum())
    untaught = {name for one in trials for name in set(one.test.classes) - set(one.train.classes)}
    beside = round(int(sizes[small].sum()) * (1 - 1 / choices.outer_splits))  # a training side's share
    whole = replace(
        trials[0], test=labelled, small=tuple(names[small].tolist()), spared=audit,
        untaught=tuple(sorted(untaught)), left_out=beside,
    )
    return Sides(trials, whole)


def _check_parts(labelled: ImageTable, pieces: NDArray[np.int64], splits: int) -> None:
    classes, groups = len(labelled.classes), len(np.unique(pieces))
    if classes < 2 or groups < splits:
        raise SplitError(
            f"expected labels of two classes or more in {splits} groups or more, found {classes} in {groups}",
            where=f"outer_splits={splits}",
            remedy="Images of an audit set and classes below --min-class-size do not count. Label more "
            "images, or lower --outer-splits.",
        )


@dataclass(frozen=True)
class Judged:
    """What was said of every test image.

    Attributes:
        study: choices and draws; of several splits those of the first, with the test images of all.
        studies: one a split.
        solved: the outcomes, one mapping a split.
    """

    study: Study
    studies: Sequence[Study]
    solved: Sequence[Mapping[str, Outcome]]

    @classmethod
    def of(cls, sides: Sides, studies: Sequence[Study], solved: Sequence[Mapping[str, Outcome]]) -> Judged:
        """Put the splits together."""
        return cls(replace(studies[0], trial=sides.whole), studies, solved)

    @property
    def headline(self) -> int:
        """The budget that a report speaks of, which counts the labels in the table of the curve."""
        return headline_budget({
            budget: labels_drawn(self.studies, budget, 0) for budget in self.study.choices.budgets
        })

    def said(self, cell: Cell) -> Said:
        """What one point of the curve says in all repeats, of the test images in their order."""
        return self.said_by([cell] * len(self.studies))

    def said_by(self, cells: Sequence[Cell]) -> Said:
        """The same, where each split has its own point ``cells``."""
        order = self._order
        predicted, scores = [], []
        for repeat in range(self.study.choices.repeats):
            answers = [
                study.answer(solved, cell, repeat)
                for study, solved, cell in zip(self.studies, self.solved, cells, strict=True)
            ]
            predicted.append(np.concatenate([one.predicted for one in answers])[order])
            said = np.concatenate([one.scores for one in answers])
            scores.append(np.where(self._taught, said, said.min(axis=0))[order])
        return Said(np.stack(predicted), np.stack(scores))

    @cached_property
    def _taught(self) -> NDArray[np.bool_]:
        """Which classes each test image's split has labels of ``[n, c]``, split by split.

        What a split says of another class is no higher than any other of its scores; among those of all
        splits it may be, and would put the class's images above others, though nothing recognises them.
        """
        classes = range(len(self.study.trial.classes))
        known = [np.isin(classes, one.trial.train_codes) for one in self.studies]
        return np.repeat(known, [len(one.trial.test) for one in self.studies], axis=0)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The place of each test image among those of all splits, one after the other."""
        ids = np.concatenate([study.trial.test.ids for study in self.studies])
        return np.argsort(ids.astype(str), kind="stable")


def labels_drawn(studies: Sequence[Study], budget: int, repeat: int) -> int:
    """How many labels a classifier learned from; of several splits the rounded mean."""
    return round(float(np.mean([len(study.draws[budget, repeat]) for study in studies])))
