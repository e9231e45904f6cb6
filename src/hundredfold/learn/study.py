"""The cells of an evaluation – encoder, classifier, number of labels, draw – and what fills each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hundredfold.config import CurveChoices
from hundredfold.learn.budgets import draw_labels, headline_budget
from hundredfold.learn.draws import Outcome, Task, outcomes
from hundredfold.learn.trial import Trial
from hundredfold.metrics import Resamples, group_codes
from hundredfold.progress import bar

if TYPE_CHECKING:
    from hundredfold.learn.networks import Networks  # torch, for those who ask for it

__all__ = ["NETWORK", "Answer", "Cell", "Study"]

#: Changes when a classifier on frozen vectors gives other scores than before: outcomes that were kept are not
#: taken then. Networks, which take hours, have their own identity.
SCORES = "coupled machines, kernels in float32, two of more classes as more"

#: The classifier that is trained end to end on the images themselves.
NETWORK = "network"

Vectors: TypeAlias = NDArray[np.float32]


class Cell(NamedTuple):
    """A point of a learning curve."""

    encoder: str
    classifier: str
    budget: int


class Answer(NamedTuple):
    """What one fit says of the test images: classes ``[n]``, scores ``[n, c]``; whether it stopped early."""

    predicted: NDArray[np.int32]
    scores: NDArray[np.float32]
    unconverged: bool


@dataclass(frozen=True)
class Study:
    """What is to be fitted, and what each outcome depends on.

    Attributes:
        trial: the fixed sides.
        choices: budgets, classifiers, repeats.
        seed: of the draws.
        draws: (budget, repeat) → labelled rows of the training side.
        encoders: name → hash.
        networks: what the classifier ``network`` is trained with, if it is asked for.
        every: so many labels a class are all there are.
    """

    trial: Trial
    choices: CurveChoices
    seed: int
    draws: Mapping[tuple[int, int], NDArray[np.int64]]
    encoders: Mapping[str, str]
    networks: Networks | None = None
    every: int = 0

    @classmethod
    def of(
        cls, trial: Trial, choices: CurveChoices, seed: int, encoders: Mapping[str, str],
        networks: Networks | None = None, *, every: int | None = None,
    ) -> Study:
        """Draw the labels of every budget and repeat; for networks those of all labels too.

        ``every`` is so many labels a class that they are all there are; by default as many as the largest
        class has.
        """
        every = every or trial.largest_class
        budgets = {*choices.budgets, *([every] if networks is not None else [])}
        ids, codes = trial.train.ids, trial.train_codes
        draws = {
            (budget, repeat): draw_labels(ids, codes, budget, repeat=repeat, seed=seed)
            for budget in sorted(budgets) for repeat in range(choices.repeats)
        }
        return cls(trial, choices, seed, draws, encoders, networks, every)

    @property
    def shallow(self) -> tuple[str, ...]:
        """The classifiers on frozen vectors."""
        return tuple(name for name in self.choices.classifiers if name != NETWORK)

    @property
    def cells(self) -> list[Cell]:
        """Every point: encoder by encoder, classifier by classifier, along the budgets."""
        return [
            Cell(encoder, classifier, budget)
            for encoder in self.encoders for classifier in self.choices.classifiers
            for budget in self._budgets(encoder, classifier)
        ]

    @property
    def resamples(self) -> Resamples | None:
        """The bootstrap resamples of test groups and draws, always the same; ``None`` for no intervals."""
        if not self.choices.bootstrap:
            return None
        return Resamples.draw(
            self.trial.test_groups, self.choices.repeats, self.choices.bootstrap, self.seed
        )

    @property
    def headline(self) -> int:
        """The budget that a report speaks of."""
        return headline_budget({budget: len(self.draws[budget, 0]) for budget in self.choices.budgets})

    def _budgets(self, encoder: str, classifier: str) -> list[int]:
        asked = set(self.choices.budgets)
        if classifier == NETWORK:
            if self.networks is None or encoder not in self.networks.encoders:
                return []  # an encoder without a backbone
            if encoder == self.networks.supervised and max(asked) < self.every:
                asked.add(self.every)
        return sorted(asked)

    def task(self, cell: Cell, repeat: int) -> Task:
        """What has to be solved for one draw; cells that are solved together have the task in common."""
        rows = self.draws[cell.budget, repeat]
        names = (NETWORK,) if cell.classifier == NETWORK else self.shallow
        # Some classifiers hold labels out by group.
        groups = group_codes(self.trial.train_groups[rows].tolist(), len(rows)).tolist()
        facts: list[object] = [
            self.encoders[cell.encoder], self.choices.preset, names, self.trial.identity, groups,
        ]
        if cell.classifier != NETWORK:
            facts.append(SCORES)
        elif self.networks is not None:
            facts.append(self.networks.identity)
        return Task.of(cell.encoder, rows, names, *facts)

    def tasks(self) -> dict[str, Task]:
        """Key → task, each once."""
        every = [self.task(cell, repeat) for cell in self.cells for repeat in range(self.choices.repeats)]
        return {task.key: task for task in every}

    def solve(
        self, vectors: Mapping[str, tuple[Vectors, Vectors]], *, jobs: int, parts: Path | None
    ) -> dict[str, Outcome]:
        """Solve each distinct task once; what ``parts`` holds is taken from there, and kept there."""
        tasks = self.tasks()
        solved = {
            key: Outcome.read(path) for key in tasks if parts and (path := parts / f"{key}.npz").is_file()
        }
        todo = [task for key, task in tasks.items() if key not in solved]
        with bar("Fitting classifiers", len(tasks), "draws", start=len(solved)) as progress:
            for key, outcome in self._outcomes(todo, vectors, jobs):
                solved[key] = outcome
                if parts is not None:
                    outcome.write(parts / f"{key}.npz")
                progress.advance()
        return solved

    def _outcomes(
        self, todo: list[Task], vectors: Mapping[str, tuple[Vectors, Vectors]], jobs: int
    ) -> Iterator[tuple[str, Outcome]]:
        trial, on_vectors = self.trial, [task for task in todo if task.classifiers != (NETWORK,)]
        yield from outcomes(
            on_vectors, vectors, trial.train_codes, len(trial.classes), groups=trial.train_groups,
            preset=self.choices.preset, jobs=jobs,
        )
        for task in todo:
            if task.classifiers == (NETWORK,) and self.networks is not None:
                train = trial.train.by_id(trial.train.ids[task.rows])
                yield task.key, self.networks.solve(
                    task.encoder, train, trial.train_codes[task.rows], trial.test, len(trial.classes)
                )

    def answer(self, solved: Mapping[str, Outcome], cell: Cell, repeat: int) -> Answer:
        """What the cell's classifier says in one draw."""
        task = self.task(cell, repeat)
        outcome, place = solved[task.key], task.classifiers.index(cell.classifier)
        return Answer(outcome.predicted[place], outcome.scores[place], bool(outcome.unconverged[place]))
