"""One self-contained HTML file, and every figure and table beside it as PNG, SVG and CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hundredfold.report.cautions import cautions
from hundredfold.report.chapters.base import Chapter
from hundredfold.report.chapters.classes import classes_chapter, errors_chapter, map_chapter
from hundredfold.report.chapters.clinical import clinical_chapter
from hundredfold.report.chapters.compared import compared_chapter
from hundredfold.report.chapters.curves import curve_exhibit, curves_chapter
from hundredfold.report.chapters.data import data_chapter
from hundredfold.report.chapters.external import adaptation_chapter, external_finding, measures_chapter
from hundredfold.report.chapters.probabilities import probabilities_chapter
from hundredfold.report.chapters.published import published_chapter
from hundredfold.report.chapters.record import record_chapter
from hundredfold.report.chapters.sets import sets_chapter
from hundredfold.report.chapters.shortcuts import shortcuts_chapter
from hundredfold.report.chapters.training import training_chapter
from hundredfold.report.chapters.why import why_chapter
from hundredfold.report.contest import contest
from hundredfold.report.finding import finding
from hundredfold.report.material import Material, gather, headline_of
from hundredfold.report.methods import cited
from hundredfold.report.page import save_items, write_page
from hundredfold.report.tables import Headline
from hundredfold.report.texts import write_texts
from hundredfold.report.words import shown
from hundredfold.rundir import RunDirectory

__all__ = ["write_report"]


def write_report(run: RunDirectory, prevalence: Mapping[str, float] | None = None) -> Path:
    """Write ``report.html``, ``figures/``, ``model_card.md`` and ``methods.md``; returns the page's path.

    They are made from whatever stages ``run`` has. The page loads nothing from anywhere: style, figures and
    pictures are inside it.

    Args:
        run: the run.
        prevalence: class → share, for the predictive values; by default those of the test set.

    Raises:
        SettingsError: a prevalence is of no class with test images, or they do not make 1.
    """
    material = gather(run, prevalence)
    at = headline_of(material)
    first = None
    external = "external" in material.evaluation
    if material.curve is not None and at is not None and not external:
        first = curve_exhibit(material.curve, at, material.evaluation.get("supervised"))
    compared = contest(material, at)
    chapters = _chapters(material, at, compared)
    items = [*([first] if first else []), *(item for chapter in chapters for item in chapter.items)]
    save_items(items, run / "figures")
    texts = write_texts(run, material, at, frozenset(f"{item.name}.csv" for item in items))
    return write_page(
        run / "report.html", run / "figures",
        name=shown(material.name, 80),
        kind="report on the run",
        version=material.state["software"].get("hundredfold", ""),
        finding=external_finding(material, at) if external and at else finding(material, at, compared),
        cautions=cautions(material, at),
        first=first,
        chapters=chapters,
        texts=texts,
        citations=cited(texts[0]),
    )


def _chapters(material: Material, at: Headline | None, compared: pd.DataFrame | None) -> list[Chapter]:
    made, external = [data_chapter(material)], "external" in material.evaluation
    if at is not None and material.curve is not None:
        made += [
            measures_chapter(material, at) if external
            else curves_chapter(material.curve, at, material.evaluation),
            adaptation_chapter(material),
            compared_chapter(material, compared),
            classes_chapter(material, at),
            clinical_chapter(material, at),
            probabilities_chapter(material, at),
            sets_chapter(material, at),
            errors_chapter(material, at),
        ]
    made += [why_chapter(material, at), shortcuts_chapter(material, at)]
    made += [published_chapter(material, at), map_chapter(material, at)]
    made += [training_chapter(material), record_chapter(material)]
    return [chapter for chapter in made if chapter is not None]
