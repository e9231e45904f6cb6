"""``predictions.html``: answers beside their images, the nearest labelled ones and maps."""

from __future__ import annotations

import base64
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from hundredfold.data.recipe import Recipe
from hundredfold.data.stream import Passing, passing
from hundredfold.data.supply import Supply
from hundredfold.encode.maps import Kind, place_maps
from hundredfold.errors import ImageError
from hundredfold.files import write_text
from hundredfold.predict.columns import BETWEEN, NEIGHBOURS, PROBABILITY, SETS, UNUSUAL
from hundredfold.predict.explain import Resemblance, overlay
from hundredfold.predict.predictor import Predictor

__all__ = ["FIRST", "MOST_DOUBTFUL", "chosen_rows", "write_page"]

#: Images on the page: the first of the table, and those that the predictor is least sure of.
FIRST, MOST_DOUBTFUL = 100, 100
SIDE = 160
TOGETHER = 16
LIKELIEST = 3
#: from here on two digits would say 1
CERTAIN = 0.995
MAPS: Mapping[Kind | None, str] = {
    "attention": "what the encoder's last layer attends to",
    "activation": "the places that set the image apart from the average training image",
    None: "this encoder has no map",
}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Shown:
    """One image on the page."""

    name: str
    label: str
    doubtful: bool
    unusual: bool
    likeliest: Sequence[tuple[str, str]]
    held: Sequence[str]
    neighbours: Sequence[Mapping[str, Any]]
    picture: str
    map: str | None


def chosen_rows(parts: Iterable[pd.DataFrame]) -> list[tuple[bool, dict[str, Any]]]:
    """The rows on the page, and of each whether it is there for its doubt: the first ones come first.

    Doubtful is an answer whose highest probability is low; without probabilities there are the first alone,
    of both numbers. Rows without an answer are left out.

    Args:
        parts: the table of predictions, in parts; one at a time is held.
    """
    first: list[tuple[bool, dict[str, Any]]] = []
    doubtful: list[tuple[float, int, dict[str, Any]]] = []
    seen = 0
    for rows in parts:
        sure = rows.filter(regex=f"^{PROBABILITY}").max(axis=1)
        most = FIRST if sure.notna().any() else FIRST + MOST_DOUBTFUL
        for row, highest in zip(rows.to_dict("records"), sure, strict=True):
            if pd.isna(row["label"]):
                continue
            seen += 1
            if len(first) < most:
                first.append((False, {str(key): value for key, value in row.items()}))
            elif pd.notna(highest):
                kept = (-float(highest), -seen, {str(key): value for key, value in row.items()})
                push = heapq.heappush if len(doubtful) < MOST_DOUBTFUL else heapq.heappushpop
                push(doubtful, kept)
    rest = [(True, row) for *_, row in sorted(doubtful, key=lambda one: one[:2])[::-1]]
    return [*first, *rest]


def write_page(
    path: Path, predictor: Predictor, known: Resemblance,
    rows: Sequence[tuple[bool, Mapping[str, Any]]], *, total: int,
    images: Iterable[Passing], supply: Supply, shares: NDArray[np.float64] | None = None, whose: str = "",
) -> None:
    """Write the page; it loads nothing from anywhere.

    Args:
        path: where.
        predictor: said what stands in the rows.
        known: what it remembers.
        rows: those to show, of :func:`chosen_rows`.
        total: how many rows the table has.
        images: all usable images, of which those to show are decoded once more.
        supply: where their bytes come from.
        shares: ``[c]`` of the classes that the answers are for; ``None`` where all counted alike.
        whose: a sentence on whether neighbours are of other patients.
    """
    wanted = {str(row["image"]) for _, row in rows}
    pixels = dict(_squares(predictor, [one for one in images if one.name in wanted], supply))
    told = [(doubtful, row) for doubtful, row in rows if str(row["image"]) in pixels]
    shown, kind = _shown(predictor, known, told, pixels)
    environment = Environment(
        loader=PackageLoader("hundredfold.predict", "pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    write_text(path, environment.get_template("predictions.html").render(
        shown=shown, total=total, map=MAPS[kind], has_map=kind is not None, hash=predictor.hash,
        encoder=predictor.encoder.name, prevalence=_prevalence(predictor, shares), whose=whose,
    ).encode("utf-8", "replace").decode("utf-8"))


def _prevalence(predictor: Predictor, shares: NDArray[np.float64] | None) -> str:
    """For whom the probabilities are, in a sentence; or that there are none."""
    if predictor.calibration is None:
        return "The predictor gives scores, which are no probabilities, and no sets."
    sets = predictor.sets_at(shares) is not None
    if shares is None:
        what = "Probabilities and sets" if sets else "Probabilities"
        return f"{what} are such as if all classes were equally common."
    told = ", ".join(
        f"{name} {_chance(float(share))}" for name, share in zip(predictor.classes, shares, strict=True)
    )
    what = "Probabilities, labels and sets" if sets else "Probabilities and labels"
    return f"{what} are for classes as common as this: {told}."


def _squares(
    predictor: Predictor, images: Sequence[Passing], supply: Supply
) -> Iterator[tuple[str, Pixels]]:
    recipe = Recipe.of(predictor.facts)
    with passing(list(images), recipe, supply, ahead=TOGETHER) as coming:
        for image, square in zip(images, coming, strict=True):
            if not isinstance(square, ImageError):
                yield image.name, recipe.batch([square])[0]


def _shown(
    predictor: Predictor, known: Resemblance, rows: Sequence[tuple[bool, Mapping[str, Any]]],
    pixels: Mapping[str, Pixels],
) -> tuple[list[_Shown], Kind | None]:
    found: list[_Shown] = []
    kind: Kind | None = None
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        batch = np.stack([pixels[str(row["image"])] for _, row in some])
        maps = place_maps(predictor.encoder, batch, known.mean)
        kind = None if maps is None else maps.kind
        for place, (doubtful, row) in enumerate(some):
            veiled = None if maps is None else _embedded(overlay(batch[place], maps.shares[place], SIDE))
            found.append(_one(predictor, doubtful, row, batch[place], veiled))
    return found, kind


def _one(
    predictor: Predictor, doubtful: bool, row: Mapping[str, Any], pixels: Pixels, veiled: str | None
) -> _Shown:
    chances = {name: row.get(f"{PROBABILITY}{name}") for name in predictor.classes}
    known = [(name, float(value)) for name, value in chances.items() if value is not None]
    best = sorted(known, key=lambda one: -one[1])[:LIKELIEST]
    held = row.get(SETS)
    side = cv2.INTER_AREA if len(pixels) > SIDE else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=side), dtype=np.uint8)
    return _Shown(
        name=str(row["image"]), label=str(row["label"]), doubtful=doubtful,
        unusual=row.get(UNUSUAL) == "yes", likeliest=[(name, _chance(value)) for name, value in best],
        held=held.split(BETWEEN) if isinstance(held, str) and held else (),
        neighbours=_pictured(predictor, json.loads(row[NEIGHBOURS])), picture=_embedded(picture), map=veiled,
    )


def _pictured(
    predictor: Predictor, neighbours: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The neighbours, each with its thumbnail where the predictor carries it."""
    carried = {} if predictor.thumbnails is None else predictor.thumbnails.jpegs
    return [
        {**near, "picture": None if (found := carried.get(near["id"])) is None else _address(found)}
        for near in neighbours
    ]


def _chance(value: float) -> str:
    """A probability with two digits, of which none says that anything is certain or impossible."""
    if value >= CERTAIN:
        return f"> {CERTAIN - 0.005:.2f}"
    return f"{value:.2f}" if value >= 1 - CERTAIN else f"< {1 - CERTAIN + 0.005:.2f}"


def _embedded(picture: Pixels) -> str:
    """A picture (RGB) as the address of a JPEG within the page."""
    turned = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", turned, (cv2.IMWRITE_JPEG_QUALITY, 88))[1]
    return _address(data.tobytes())


def _address(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
