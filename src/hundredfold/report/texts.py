"""The texts beside a report: the methods section and the model card, written into run and predictor."""

from __future__ import annotations

import json
from pathlib import Path

from hundredfold.files import write_text
from hundredfold.report.card import card
from hundredfold.report.material import Material, gather, headline_of
from hundredfold.report.methods import methods
from hundredfold.report.paper.document import Document
from hundredfold.report.paper.telling import begin
from hundredfold.report.paper.trace import Trace
from hundredfold.report.tables import Headline
from hundredfold.rundir import RunDirectory

__all__ = ["write_card", "write_texts"]

PREDICTOR = "predictor"
FACTS = "predictor.json"


def write_texts(
    run: RunDirectory, material: Material, at: Headline | None, fresh: frozenset[str] = frozenset()
) -> list[Document]:
    """Write ``methods.md`` and ``model_card.md`` into the run, and the card into its predictor.

    A run of ``evaluate`` has no card: that of the predictor stays.

    Args:
        run: the run.
        material: what it holds.
        at: the point of the learning curves that is spoken of.
        fresh: files below ``figures/`` that were just written.

    Raises:
        InputError: ``author.yaml`` cannot be read, or a key in it is unknown.
    """
    begin(run.path, material.state)
    told = [methods(material, at, Trace(run.path))]
    if "external" not in material.evaluation:  # the predictor has its card, from the run that made it
        told.append(card(material, at, Trace(run.path), fresh))
        _copy(told[-1], run / PREDICTOR)
    for text in told:
        write_text(run / f"{text.name}.md", text.markdown())
    return told


def write_card(folder: Path) -> None:
    """Write ``model_card.md`` of a run, and into its predictor; or of a predictor alone.

    It is not among the hashed files of a predictor, because its author adds to it.
    """
    if not RunDirectory.is_run(folder):
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        alone = Material(folder.resolve().name, {}, {}, predictor=facts)
        write_text(folder / "model_card.md", card(alone, None, Trace(folder)).markdown())
        return
    run = RunDirectory.open(folder)
    material = gather(run, vectors=False)
    made = card(material, headline_of(material), begin(run.path, material.state))
    write_text(run / f"{made.name}.md", made.markdown())
    _copy(made, run / PREDICTOR)


def _copy(made: Document, predictor: Path) -> None:
    if (predictor / FACTS).is_file():
        write_text(predictor / f"{made.name}.md", made.markdown())
