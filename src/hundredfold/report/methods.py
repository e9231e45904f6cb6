"""The methods section of a paper, in the past tense, from the run's own settings and facts."""

from __future__ import annotations

from hundredfold.report.material import Material
from hundredfold.report.paper.document import Document, Item, Items, Section, sources
from hundredfold.report.paper.evaluation import (
    classifiers_paragraph,
    figures_paragraph,
    intervals_paragraph,
    predictor_paragraph,
    software_paragraph,
)
from hundredfold.report.paper.external import (
    adaptation_paragraph,
    applied_paragraph,
    external_figures_paragraph,
)
from hundredfold.report.paper.images import images_paragraph, pixels_paragraph, split_paragraph
from hundredfold.report.paper.learning import features_paragraph, pretraining_paragraph
from hundredfold.report.paper.telling import Telling
from hundredfold.report.paper.trace import Trace
from hundredfold.report.paper.works import WORKS, Citations, Work
from hundredfold.report.tables import Headline

__all__ = ["cited", "methods"]

LEAD = (
    "A text for a paper, made from the settings and facts of the run. Check it, shorten it, and add what a "
    "run cannot know; that is listed at its end."
)
REFERENCES = "References"
UNKNOWN = (
    ("where, when and how the images were acquired, from which patients, and who may use them (ethics, "
    "consent)"),
    "who gave the labels, by which definition, with which experience, and how far two readers agree",
    "why the data set is as large as it is, and whether it is like the patients the model is meant for",
    "the intended use, and who would act on an answer",
)


def methods(material: Material, at: Headline | None, trace: Trace) -> Document:
    """The text with numbered references, and a table of where each number stands.

    Args:
        material: what the run holds.
        at: the point of the learning curves that the report speaks of.
        trace: reads the numbers from the run.
    """
    cite = Citations()
    t = Telling(material, at, trace, cite)
    parts = _external(t) if "external" in material.evaluation else {
        "Images and labels": [images_paragraph(t), pixels_paragraph(t)],
        "Training and test images": [split_paragraph(t)],
        "Encoder": [pretraining_paragraph(t)],
        "Features and classifiers": [features_paragraph(t), classifiers_paragraph(t), predictor_paragraph(t)],
        "Evaluation": [figures_paragraph(t), intervals_paragraph(t)],
        "Software": [software_paragraph(t)],
    }
    sections = [
        Section(title, told) for title, paragraphs in parts.items()
        if (told := [one for one in paragraphs if one])
    ]
    works = [Item(*work) for work in cite.works]
    return Document("methods", "Methods", LEAD, [
        *sections,
        *([Section(REFERENCES, [Items(works, numbered=True)])] if works else []),
        Section("Author must supply", [Items([Item(f"{words}.") for words in UNKNOWN])]),
        *sources(trace),
    ])


def cited(text: Document) -> list[Work]:
    """The paper whose method this is, and the other works that the text names."""
    blocks = [block for section in text.sections if section.title == REFERENCES for block in section.blocks]
    items = [item for block in blocks if isinstance(block, Items) for item in block.items]
    return list(dict.fromkeys([WORKS["nielsen"], *(Work(item.text, item.address) for item in items)]))


def _external(t: Telling) -> dict[str, list[str]]:
    """Of a predictor on images of another source; how it was made, the text of its own run tells."""
    return {
        "External validation": [
            applied_paragraph(t), external_figures_paragraph(t), adaptation_paragraph(t)
        ],
        "Software": [software_paragraph(t)],
    }
