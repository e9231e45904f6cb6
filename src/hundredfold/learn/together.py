"""Learning curves of several runs as one, where they were judged on the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pandas as pd

from hundredfold.errors import SplitError
from hundredfold.learn.choose import Choice
from hundredfold.learn.curve import LearningCurve

__all__ = ["Measured", "together"]

NAMED = 3
TEXT = ("encoder", "classifier", "id", "label", "predicted")


@dataclass(frozen=True)
class Measured:
    """The learning curve of one run.

    Attributes:
        name: of the run, for messages, and for its encoders where two runs have one of the same name.
        curve: its curve and predictions.
        draws: a name of its draws of labels, equal for runs that gave their classifiers the same labels;
            ``None`` where a run does not tell.
        transductive: encoder → how many test images it was trained on, where any.
        choice: what cross-validation on its draws came to; see :class:`~hundredfold.learn.choose.Choice`.
        supervised: the encoder whose network, trained on all labels, is the line to reach.
    """

    name: str
    curve: LearningCurve
    draws: str | None
    transductive: Mapping[str, int] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=dict)
    supervised: str | None = None

    @property
    def encoders(self) -> list[str]:
        """Its encoders, in their order."""
        return [str(name) for name in self.curve.frame["encoder"].unique()]

    @property
    def tested(self) -> pd.Series:
        """Id of each test image → its label."""
        rows = self.curve.predictions.drop_duplicates("id").astype({"id": str, "label": str})
        return rows.set_index("id")["label"].sort_index()

    def renamed(self, names: dict[str, str]) -> Self:
        """With other names for its encoders; one without a new name is left out."""
        tables = (self.curve.frame, self.curve.predictions)
        frame, predictions = (
            table[table["encoder"].isin(names)].assign(encoder=lambda t: t["encoder"].astype(str).map(names))
            for table in tables
        )
        return replace(self, curve=replace(self.curve, frame=frame, predictions=predictions))


def together(runs: Sequence[Measured]) -> tuple[LearningCurve, dict[str, str]]:
    """Join the curves of runs; an encoder that two of them have, with equal predictions, is taken once.

    Encoders of the same name that are not equal are named ``RUN/ENCODER``.

    Returns:
        the curve, with the facts ``transductive``, ``choice`` and ``supervised`` under the encoders' new
        names, and encoder → the name of its draws: equal where labels were equal. There is a choice only
        where all were given the same labels, of which then the same were held out.

    Raises:
        SplitError: two runs were judged on other test images, or with other labels of them; some are named.
            Or there is no number of labels per class with which all were measured.
    """
    first = runs[0]
    for other in runs[1:]:
        _check_same_test(first, other)
    _check_budgets(runs)
    joined: list[Measured] = []
    draws: dict[str, str] = {}
    seen: dict[str, int] = {}
    named = list(zip(runs, _names(runs), strict=True))
    for place, (run, names) in enumerate(named):
        if names:
            joined.append(run.renamed(names))
            unknown = f"not known ({place})"  # never equal to another run's
            draws |= dict.fromkeys(names.values(), run.draws or unknown)
        seen |= {names[name]: count for name, count in run.transductive.items() if name in names}
    frame = pd.concat([run.curve.frame for run in joined], ignore_index=True)
    predictions = pd.concat(
        [run.curve.predictions.astype(dict.fromkeys(TEXT, str)) for run in joined], ignore_index=True
    )
    predictions = predictions.astype(dict.fromkeys(TEXT, "category"))
    supervised = next((name for run, names in named if (name := names.get(run.supervised or ""))), None)
    facts = {"transductive": seen, "choice": _choice(named), "supervised": supervised}
    return LearningCurve(frame, predictions, facts), draws


def _choice(named: Sequence[tuple[Measured, Mapping[str, str]]]) -> dict[str, Any] | None:
    """The best of all by cross-validation on the training labels; the first of equal ones."""
    parts = [(run, names) for run, names in named if names]
    held = {(run.draws, run.choice.get("n_per_class")) for run, _ in parts}
    if len(held) > 1 or any(None in one for one in held):
        return None
    accuracy: dict[tuple[str, str], float] = {}
    for run, names in parts:
        for method, value in run.choice["accuracy"].items():
            encoder, _, classifier = method.rpartition("/")
            if encoder in names:
                accuracy[names[encoder], classifier] = value
    if not accuracy:
        return None
    best = max(accuracy, key=accuracy.__getitem__)
    told = {"/".join(method): value for method, value in accuracy.items()}
    return Choice(*best, told)._asdict() | {"n_per_class": parts[0][0].choice["n_per_class"]}


def _check_same_test(first: Measured, other: Measured) -> None:
    mine, theirs = first.tested, other.tested
    lacking, extra = mine.index.difference(theirs.index), theirs.index.difference(mine.index)
    told = [
        f"{len(ids):,} test images of {has} are none of {lacks} ({_some(list(ids))})"
        for ids, has, lacks in ((lacking, first.name, other.name), (extra, other.name, first.name))
        if len(ids)
    ]
    common = mine.index.intersection(theirs.index)
    otherwise = common[(mine[common] != theirs[common]).to_numpy()]
    if len(otherwise):
        pairs = [f"{name}: {mine[name]} and {theirs[name]}" for name in otherwise]
        told.append(f"{len(otherwise):,} have other labels in {first.name} and {other.name} ({_some(pairs)})")
    if told:
        raise SplitError(
            f"the runs were not judged on the same test: {'; '.join(told)}",
            where=f"{first.name}, {other.name}",
            remedy="Run `hundredfold curve` for both with the same labels, split and --min-class-size.",
        )


def _check_budgets(runs: Sequence[Measured]) -> None:
    budgets = [sorted(set(run.curve.predictions["n_per_class"].astype(int))) for run in runs]
    if not set.intersection(*map(set, budgets)):
        told = "; ".join(
            f"{run.name}: {', '.join(map(str, own))}" for run, own in zip(runs, budgets, strict=True)
        )
        raise SplitError(
            f"expected a number of labels per class with which all runs were measured, found none ({told})",
            remedy="Run `hundredfold curve` for all with the same --budgets.",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _names(runs: Sequence[Measured]) -> list[dict[str, str]]:
    """For each run: encoder → its name among all; without those that an earlier run has already."""
    kept: list[dict[str, str]] = []
    every = [name for run in runs for name in run.encoders]
    for place, run in enumerate(runs):
        own = {}
        for name in run.encoders:
            if any(_equal(run, earlier, name) for earlier in runs[:place] if name in earlier.encoders):
                continue
            own[name] = f"{_run_name(runs, place)}/{name}" if every.count(name) > 1 else name
        kept.append(own)
    # A name that only one run has kept needs no run before it.
    plain = [name for own in kept for name in own]
    return [{name: name if plain.count(name) == 1 else new for name, new in own.items()} for own in kept]


def _run_name(runs: Sequence[Measured], place: int) -> str:
    alike = [number for number, run in enumerate(runs) if run.name == runs[place].name]
    return runs[place].name if len(alike) == 1 else f"{runs[place].name} ({alike.index(place) + 1})"


def _equal(run: Measured, other: Measured, encoder: str) -> bool:
    keys = ["classifier", "n_per_class", "repeat", "id"]
    mine, theirs = (
        one.curve.predictions[one.curve.predictions["encoder"] == encoder]
        .astype(dict.fromkeys(TEXT, str)).set_index(keys)["predicted"].sort_index()
        for one in (run, other)
    )
    return mine.equals(theirs)
