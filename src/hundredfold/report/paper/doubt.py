"""What a card says of a predictor's doubt: sets of classes that cannot be ruled out, and unusual images."""

from __future__ import annotations

from hundredfold.predict.conformal import Sets
from hundredfold.report.paper.document import Block, Table
from hundredfold.report.paper.performance import ended, shares_words
from hundredfold.report.paper.telling import Telling
from hundredfold.report.paper.trace import Place, percent, share
from hundredfold.report.tables import listed
from hundredfold.report.words import shown

__all__ = ["doubt_blocks"]

FILE = "coverage.csv"
NO_SETS = "The predictor makes no sets of classes that cannot be ruled out."
NO_NOVELTY = "It cannot tell unusual images: too few are known."


def doubt_blocks(t: Telling) -> list[Block]:
    """What sets promise and what they held on the test images, and how many of these it calls unusual."""
    if t.material.predictor is None:
        return []
    return [_promise(t), *_covered(t), _unusual(t)]


def _promise(t: Telling) -> str:
    facts = t.material.predictor or {}
    if not facts.get("sets"):
        return NO_SETS
    sets = Sets.of(facts["sets"])
    number = t.trace.number("coverage of the sets", Place(t.predictor, "/sets/coverage"), percent)
    told = (
        "Beside each answer stands the set of the classes that cannot be ruled out. It is to hold the true "
        f"class in {number} of the images"
    )
    if sets.kind == "marginal":
        return f"{told}, all classes being equally common; some of them may be missed more often."
    few = [shown(name) for name, own in zip(facts["classes"], sets.promised, strict=True) if not own]
    lacking = f"; not enough labels for such a promise: {listed(few)}" if few else ""
    return f"{told} of each class{lacking}."


def _covered(t: Telling) -> list[Block]:
    if FILE not in t.fresh or t.at is None:
        return []
    rows = [_row(t, None)]
    rows += [_row(t, str(name)) for name in t.material.evaluation.get("classes", ())]
    told = f"On the test images, of the classifiers that the figures above are of, {shares_words(t)}:"
    head = ["sets of images of", "with the true class", "of one class alone", "test images"]
    return [told, Table(head, [row for row in rows if row[1] != "–"])]


def _row(t: Telling, name: str | None) -> list[str]:
    file, rows = f"figures/{FILE}", {"class": name}
    words = "all classes" if name is None else shown(name)
    return [
        words, ended(t, file, rows, "covered", f"true class in the set, {words}"),
        ended(t, file, rows, "one", f"sets of one class, {words}"),
        t.trace.number(f"test images of sets, {words}", Place(file, "n_test", rows=rows)),
    ]


def _unusual(t: Telling) -> str:
    facts = t.material.predictor or {}
    if not facts.get("novelty"):
        return NO_NOVELTY
    told = (
        "An image that is more unusual than nineteen in twenty of those it learned from is called so: a "
        "person should look."
    )
    if not facts.get("unusual"):
        return told
    own = t.trace.number("test images called unusual", Place(t.predictor, "/unusual/share"), share)
    number = t.trace.number("test images of novelty", Place(t.predictor, "/unusual/images"))
    return f"{told} Of the {number} test images it calls {own} unusual; one in twenty is to be expected."
