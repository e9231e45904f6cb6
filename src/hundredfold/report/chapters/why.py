"""Chapter "Why": where the vectors of a few test images come from, and whom these images resemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.encode.embed import Embeddings
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import ENCODER_FILE, EncoderLike, read_facts
from hundredfold.report.chapters.base import Chapter, Exhibit
from hundredfold.report.examples import resembled, right_and_wrong
from hundredfold.report.material import Material
from hundredfold.report.sheets import TILE, why_sheet
from hundredfold.report.tables import Headline, rows_of
from hundredfold.report.words import features_words, shown

__all__ = ["why_chapter"]

EACH, NEIGHBOURS = 4, 3
#: Where a run keeps encoders.
FOLDERS = ("encoder", "adapted", "initial", "predictor/encoder")
NOT_EVIDENCE = (
    "Neither is evidence: the neighbours are those that the encoder sees as alike, and the classifier may "
    "have "
    "decided by something else."
)
MAPS = {
    "attention": "A map is bright where the class token of the encoder's last layer attends to",
    "activation": "A map is bright at the places that set the image apart from the average training image",
}
CAUTION = (
    "; no classifier has a part in it, and maps that look right may hardly depend on what was learned "
    "(Adebayo "
    "et al. 2018, arXiv 1810.03292; docs/explain.md says what was measured here)."
)
NO_MAP = "There is no map: the encoder has none, or is not in this run."

Pixels = NDArray[np.uint8]


def why_chapter(material: Material, at: Headline | None) -> Chapter | None:
    """A few right and a few wrong test images; ``None`` without their pixels, vectors or predictions."""
    if at is None or material.store is None or material.predictions is None:
        return None
    embeddings = material.embeddings.get(at.encoder)
    if embeddings is None:
        return None
    table = _table(material, at, embeddings, set(material.store.ids))
    if table.empty:
        return None
    kind, veiled = _veiled(material, embeddings, list(dict.fromkeys(table["image"])))
    about = f"A few test images of the first draw, right and wrong, on {features_words(at.encoder)}."
    told = NO_MAP if kind is None else f"{MAPS[kind]}{CAUTION}"
    exhibit = Exhibit(
        "why", "Whom they resemble, and where their vectors come from",
        "Blue: the neighbour has the image's class; orange: the class it was taken for. Neighbours are "
        "labelled "
        "images, never of the same group (patient, slide), and no copies. Maps are not evidence.",
        _alt(table), why_sheet(table, material.store, veiled), table, photographic=True, wide=True,
    )
    title = "Why: what it looks at, and whom it resembles"
    return Chapter("why", title, [about, NOT_EVIDENCE, told], [exhibit])


def _table(material: Material, at: Headline, embeddings: Embeddings, stored: set[str]) -> pd.DataFrame:
    """The images whose pixels are there, with their neighbours."""
    assert material.predictions is not None
    chosen = right_and_wrong(material.predictions, at, each=EACH, seed=0)
    table = resembled(
        chosen[chosen["id"].isin(stored)], embeddings, neighbours=NEIGHBOURS, turns=material.outer
    )
    return table[table["neighbour"].isin(stored)]


def _veiled(
    material: Material, embeddings: Embeddings, ids: list[str]
) -> tuple[str | None, list[Pixels]]:
    """The kind of the maps, and the images lit by them; nothing where the encoder is gone or has none."""
    from hundredfold.encode.maps import place_maps
    from hundredfold.predict.explain import overlay

    encoder = _encoder(material.folder, str(embeddings.encoder.get("hash")))
    if encoder is None or material.store is None:
        return None, []
    pixels = material.store[material.store.rows(ids)]
    training = (embeddings.images.frame["split"] == "train").to_numpy(bool)
    mean = embeddings.vectors[training if training.any() else slice(None)].mean(axis=0)
    maps = place_maps(encoder, pixels, mean)
    if maps is None:
        return None, []
    return maps.kind, [overlay(one, share, TILE) for one, share in zip(pixels, maps.shares, strict=True)]


def _encoder(run: Path | None, wanted: str) -> EncoderLike | None:
    """The encoder of a run with that hash; a few facts are read of each, and one is opened."""
    folders = [] if run is None else [run / name for name in FOLDERS]
    for folder in folders:
        if (folder / ENCODER_FILE).is_file() and read_facts(folder).get("hash") == wanted:
            return load_encoder(folder)
    return None


def _alt(table: pd.DataFrame) -> str:
    first = table[table["rank"] == 1]
    told = (f"{shown(row.label)} beside {shown(row.neighbour_label)}" for row in rows_of(first))
    return f"{len(first)} test images with the labelled images nearest to them: {'; '.join(told)}."
