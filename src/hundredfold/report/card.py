"""The model card: what a predictor is, what it was measured to do, and what its author must add.

The form follows Mitchell et al. 2019, "Model Cards for Model Reporting" (doi 10.1145/3287560.3287596).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hundredfold.report.cautions import cautions
from hundredfold.report.material import Material
from hundredfold.report.paper.author import AUTHOR, MISSING, read_author
from hundredfold.report.paper.checklists import CLAIM, TRIPOD, Asked, key_of
from hundredfold.report.paper.document import Block, Document, Item, Items, Section, Table, sources
from hundredfold.report.paper.doubt import doubt_blocks
from hundredfold.report.paper.performance import (
    calibration_blocks,
    data_blocks,
    figure_blocks,
    subgroup_blocks,
)
from hundredfold.report.paper.telling import Telling
from hundredfold.report.paper.trace import Place, Trace, count, share
from hundredfold.report.paper.works import Citations
from hundredfold.report.tables import Headline
from hundredfold.report.words import features_words, method_words, shown

__all__ = ["card"]

LEAD = (
    "What the model is, how it was made and what it was measured to do. Every number comes from a file of "
    "the "
    "run; a table at the end names file and place, and the hash of the file. What a run cannot know is "
    "marked "
    f"“{MISSING}”: write it into {AUTHOR} in the run, a line a key (intended_use: words; CLAIM 7: words; "
    "TRIPOD+AI 3b: words), and make the report again."
)
ALONE = (
    "What the model is and what it learned from. It was fitted outside of a run, so nothing here tells how "
    "it was made or how good it is: curve, fit and report in one run directory do. Its author writes what is "
    f"marked “{MISSING}” into this file, which is none of those with a hash; another file in this folder "
    "would keep the predictor from being opened."
)
NOT_A_DEVICE = "For research. Not a medical device: no diagnosis may rest on it."
#: key → what the author is asked
ASKED = {
    "intended_use": "Intended use", "intended_users": "Users, and what they must know",
    "not_for": "What it must not be used for", "population": "Patients and setting it is meant for",
    "labels_from": "Who gave the labels, and by which definition",
}
NO_SUBGROUPS = "No subgroup was looked at apart (hundredfold curve --subgroups)."
NO_FIGURES = "This model has not been tested: the verb curve does that, and report then fills in this card."
UNTESTED = (
    "This model has not been tested: fit it in a run that curve has measured, or judge it on other images "
    "(hundredfold evaluate)."
)
NOTHING_MEASURED = "Nothing was measured yet, so nothing that was measured warns of anything."


def card(
    material: Material, at: Headline | None, trace: Trace, fresh: frozenset[str] = frozenset()
) -> Document:
    """The card of a run, or of a predictor.

    Args:
        material: what the run holds.
        at: the point of the learning curves that the report speaks of.
        trace: reads the numbers from the run, in whose folder ``author.yaml`` may lie.
        fresh: files below ``figures/`` that were just written, and may be read.

    Raises:
        InputError: ``author.yaml`` cannot be read, or a key in it is unknown.
    """
    cite = Citations()
    t = Telling(material, at, trace, cite, fresh)
    lists = {"CLAIM": CLAIM, "TRIPOD+AI": TRIPOD}
    known = [*ASKED, *(key_of(name, item) for name, items in lists.items() for item in items)]
    author = read_author(trace.folder, known)
    parts: dict[str, Sequence[Block]] = {
        "Model": _model(t),
        "Intended use": [_asked(author, alone=t.alone), NOT_A_DEVICE],
        "Data": data_blocks(t),
        "Figures": figure_blocks(t) if at is not None and material.curve is not None else [_untested(t)],
        "Calibration": calibration_blocks(t),
        "Sets and unusual images": doubt_blocks(t),
        "Subgroups": subgroup_blocks(t) or [NO_SUBGROUPS],
        "Limits": _limits(t),
        f"Checklist CLAIM 2024 {cite('claim')}": [_checklist(t, "CLAIM", CLAIM, author)],
        f"Checklist TRIPOD+AI {cite('tripod')}": [_checklist(t, "TRIPOD+AI", TRIPOD, author)],
        "References": [Items([Item(*work) for work in cite.works], numbered=True)],
    }
    sections = [Section(title, blocks) for title, blocks in parts.items() if blocks]
    title = f"Model card: {shown(material.name, 80)}"
    return Document("model_card", title, ALONE if t.alone else LEAD, [*sections, *sources(trace)])


def _model(t: Telling) -> list[Block]:
    facts, software = t.material.predictor, t.material.state.get("software") or {}
    if facts is None:
        return ["No predictor has been fitted yet (hundredfold fit)."]
    encoder = facts["encoder"]
    rows = [
        ["classifier", method_words(str(facts["classifier"]))],
        ["features", features_words(str(facts["embeddings"])) if facts["embeddings"] else "–"],
        ["encoder", shown(encoder.get("name", "–"), 120)],
        ["weights it began with", shown((encoder.get("parts") or [encoder])[0].get("source") or "–", 120)],
        ["classes", ", ".join(shown(name) for name in facts["classes"])],
        ["input", "an image, decoded and resized as for training; the predictor does it"],
        ["output", _output(facts)],
        ["hundredfold", shown((facts.get("software") or software).get("hundredfold", "–"))],
        ["SHA-256 of encoder and its images", shown(encoder.get("hash", "–"), 64)],
        ["SHA-256 of the predictor", shown(facts.get("hash") or "–", 64)],
    ]
    return [Table(["", ""], rows, words=2), *([] if t.alone else ["How it was made: methods.md."])]


def _untested(t: Telling) -> str:
    return UNTESTED if t.alone else NO_FIGURES


def _output(facts: Mapping[str, Any]) -> str:
    scores = "a score of each class, which is no probability"
    parts = [
        "a class", "a probability of each class" if facts.get("calibration") else scores,
        *(["the set of classes that cannot be ruled out"] if facts.get("sets") else []),
        *(["how unusual the image is"] if facts.get("novelty") else []),
    ]
    return "; ".join(parts)


def _asked(author: Mapping[str, str], *, alone: bool) -> Table:
    if alone:
        return Table(["", ""], [[words, MISSING] for words in ASKED.values()], words=2)
    rows = [[words, author.get(key, MISSING), key] for key, words in ASKED.items()]
    return Table(["", "", f"key in {AUTHOR}"], rows, words=3)


def _limits(t: Telling) -> list[Block]:
    found = cautions(t.material, t.at)
    if not found and t.at is None:
        return [NOTHING_MEASURED]
    if not found:
        return ["The run found nothing to warn of. That is no proof that there is nothing."]
    for caution in found:
        for words, place in caution.numbers:
            _note(t, words, place, f"{caution.title} {caution.sentence}")
    return [Items([Item(f"{caution.title} {caution.sentence}") for caution in found])]


def _note(t: Telling, words: str, place: Place, told: str) -> None:
    """Remember where a number of a sentence stands, if it is there as it was told.

    Labels given after the scan are in no file of the run; a number that was counted with them has no place.
    """
    if isinstance(value := t.trace.get(place), str):
        t.trace.number(words, place, lambda found: shown(found, 300))
    elif value is not None:
        write = share if isinstance(value, float) else count
        if write(value) in told:
            t.trace.number(words, place, write)


def _checklist(t: Telling, name: str, items: Sequence[Asked], author: Mapping[str, str]) -> Table:
    answers = (author.get(key_of(name, item)) or item.answer(t) or MISSING for item in items)
    rows = [[item.number, item.asks, told] for item, told in zip(items, answers, strict=True)]
    return Table(["item", "what it asks for (in our words)", "where"], rows, words=3)
