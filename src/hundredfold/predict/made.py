"""What a table of predictions was made of: a claim while it grows, and a file beside it when it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.stream import Passing
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError
from hundredfold.predict.predictor import Predictor
from hundredfold.rundir import software
from hundredfold.url import Url, info_of, read_bytes

__all__ = ["beside", "check_maker", "check_same", "claimed", "read_made", "told"]

P = TypeVar("P", Path, Url, Path | Url)


def beside(out: P) -> P:
    """The file beside a table that says what it was made of.

    Examples:
        >>> beside(Path("far/predictions.csv")).as_posix()
        'far/predictions.csv.json'
    """
    return out.parent / f"{out.name}.json"


def claimed(
    predictor: Predictor, table: ImageTable, images: Sequence[Passing], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the rows depend on; JSON can hold it.

    Args:
        predictor: says what the images are.
        table: the images; where neighbours are named, the groups decide which.
        images: the usable ones, with the fingerprints of their files.
        settings: those on which a cell depends.
    """
    digest = hashlib.sha256()
    groups = ("" if pd.isna(group) else str(group) for group in table.frame["group"])
    for line in (*table.ids, *groups, *(image.stamp for image in images)):
        digest.update(f"{len(line)} {line}".encode("utf-8", "surrogatepass"))
    return {
        "list of images": digest.hexdigest(), "predictor": predictor.hash, "set of settings": dict(settings),
    }


def check_same(found: Mapping[str, Any], claim: Mapping[str, Any], *, where: Path | Url) -> None:
    """Make sure that what lies somewhere was made of what is claimed now.

    Raises:
        SettingsError: it was made of something else; the message says of what.
    """
    if other := [_told_apart(name, found.get(name), claim[name]) for name in claim
                 if found.get(name) != claim[name]]:
        raise SettingsError(
            f"the table begun here is of another {' and another '.join(other)}", where=where,
            remedy="Give what it was begun with, delete it, or choose another --out; nothing was changed.",
        )


def check_maker(maker: object, predictor: Predictor, *, what: str, where: Path) -> None:
    """Make sure that what is to be kept was made by this predictor.

    Args:
        maker: the hash of the predictor that made it.
        predictor: that of now.
        what: was made, as the start of a sentence.
        where: it lies.

    Raises:
        SettingsError: it was another one.
    """
    if maker != predictor.hash:
        raise SettingsError(
            f"{what} another predictor, {str(maker)[:12]}, not {predictor.hash[:12]}", where=where,
            remedy="Choose another --out; nothing was changed.",
        )


def _told_apart(name: str, before: object, now: object) -> str:
    """The part of a claim; of settings those that differ, too."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return name
    other = [f"{key}: {before.get(key)}, now {now.get(key)}" for key in {**before, **now}
             if before.get(key) != now.get(key)]
    return f"{name} ({'; '.join(other)})"


def told(
    claim: Mapping[str, Any], predictor: Predictor, shares: NDArray[Any] | None, count: int
) -> dict[str, Any]:
    """The claim, and in plain words what whoever finds the table must know.

    Args:
        claim: of :func:`claimed`.
        predictor: made the table.
        shares: of the classes that were taken; ``None`` where all counted alike.
        count: rows of the table.
    """
    named = None if shares is None else dict(zip(predictor.classes, shares.round(6).tolist(), strict=True))
    return {
        **claim, "images": count, "classes": list(predictor.classes),
        "numbers": "scores" if predictor.calibration is None else "probabilities",
        "prevalence": named, "software": software(),
        "sets": None if predictor.sets is None else predictor.sets.told(predictor.classes),
    }


def read_made(out: Path | Url) -> dict[str, Any] | None:
    """What :func:`beside` says of a table; ``None`` where it says nothing that can be read."""
    place = beside(out)
    try:
        if isinstance(place, Url):
            found = json.loads(read_bytes(place)) if info_of(place) is not None else None
        else:
            found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
