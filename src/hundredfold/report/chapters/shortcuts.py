"""Chapter "Shortcuts": what the classes differ in besides what is to be seen, and how far that alone gets."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hundredfold.data.profile import MEASURED, folder_means_class, profile
from hundredfold.learn.shortcuts import SHORTCUT
from hundredfold.report.chapters.base import Cell, Chapter, Listing
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline, Point, class_counts, curve_points, labels_words, points_of
from hundredfold.report.words import interval, share, shown

__all__ = ["reached_by_shortcuts", "shortcuts_chapter"]

#: Images of each class that are looked at.
MOST_IMAGES = 500
MOST_CLASSES = 30
NUMBERS = (*MEASURED, "width", "height", "aspect")
COLOURS = ("red", "green", "blue")
BORDER = "the colour of the border"
WORDS = dict.fromkeys(COLOURS, "colour") | {f"border_{name}": BORDER for name in COLOURS}
ABOUT = (
    "A classifier may learn the scanner, the stain or the source in place of the disease. This is what the "
    "classes differ in besides shape and texture."
)
SORTED = "Folders are called like their class and are left out of this: labels were sorted by them."
#: Columns of the table; one in which all images are the same is left out.
HEADS = ("brightness", "contrast", "colour", "border", "width", "height", "kind", "folder")
PREFIXES = {"colour": "", "border": "border_"}
EXPLAINED = "explained by the class"
CAPTION = (
    "Means of up to 500 images a class, grey values and colours from 0 to 255. Border: the outermost "
    "sixteenth of each side, mostly background. Last line: the share of a number's variance that the class "
    "explains (η²), of colours the largest of red, green and blue."
)


def shortcuts_chapter(material: Material, at: Headline | None) -> Chapter | None:
    """What the classes differ in besides shape and texture; ``None`` without labels or pixels."""
    if material.images is None or material.store is None or not material.images.usable.labelled.any():
        return None
    facts = _facts(material)
    if facts.empty:
        return None
    listing = _listing(facts, list(class_counts(material.images)["label"]))
    return Chapter("shortcuts", "Shortcuts", _sentences(material, at, facts), [listing])


def reached_by_shortcuts(material: Material, at: Headline | None) -> tuple[Point, Point] | None:
    """The shortcut baseline and the point that the report speaks of; ``None`` where it was not measured."""
    if at is None or material.curve is None:
        return None
    points = {p.encoder: p for p in points_of(curve_points(material.curve))
              if (p.classifier, p.n_per_class) == (at.classifier, at.n_per_class)}
    return (points[SHORTCUT], points[at.encoder]) if SHORTCUT in points else None


def _facts(material: Material) -> pd.DataFrame:
    """The profile of some labelled images of each class."""
    assert material.images is not None
    assert material.store is not None
    images = material.images.usable
    images = images.select(images.labelled & images.frame["id"].isin(list(material.store.ids)))
    shuffled = images.frame.sort_values("id").sample(frac=1, random_state=0)
    chosen = shuffled.groupby("label", sort=False).head(MOST_IMAGES)["id"]
    return profile(images.by_id(sorted(chosen)), material.store)


def _sentences(material: Material, at: Headline | None, facts: pd.DataFrame) -> list[str]:
    told = [ABOUT]
    if (found := reached_by_shortcuts(material, at)) is not None:
        alone, whole = found
        ends = f" ({interval(alone.low, alone.high)})" if alone.band else ""
        told.append(
            "From brightness, contrast, colour, size, kind of file and folder alone the same classifier "
            f"reaches {share(alone.value)}{ends} with "
            f"{labels_words(alone.n_per_class, capped=alone.capped)}, from the features {share(whole.value)}."
        )
    told.append(_most_telling(facts))
    if folder_means_class(facts["folder"].tolist(), facts["label"].tolist()):
        told.append(SORTED)
    return told


def _most_telling(facts: pd.DataFrame) -> str:
    """The three kinds of numbers that differ most between the classes."""
    explained = _explained(facts)
    kinds = explained.groupby(lambda name: WORDS.get(name, name)).max().sort_values(ascending=False)
    parts = [f"{name} (η² {share(value)})" for name, value in kinds.head(3).items()]
    return f"The classes differ most in {', '.join(parts)}."


def _explained(facts: pd.DataFrame) -> pd.Series:
    """η² of each number: the variance between the classes over all variance; 0 where nothing varies."""
    numbers = facts[list(NUMBERS)].astype(float)
    means = numbers.groupby(facts["label"]).transform("mean")
    whole = numbers.var(ddof=0)
    return (means.var(ddof=0) / whole.where(whole > 0)).fillna(0.0)


def _listing(facts: pd.DataFrame, classes: Sequence[str]) -> Listing:
    grouped = facts.groupby("label")
    table = grouped[list(NUMBERS)].mean().astype(float)
    table["kind"], table["folder"] = grouped["kind"].agg(_values), grouped["folder"].agg(_values)
    known = [name for name in classes if name in table.index]
    table = table.loc[known[:MOST_CLASSES]]
    some = f" The {MOST_CLASSES} largest of {len(known)} classes." if len(known) > MOST_CLASSES else ""
    varying = [name for name in HEADS if name not in facts or facts[name].nunique() > 1]
    rows: list[list[Cell | str]] = [
        [Cell(shown(name)), *(_cell(row, column) for column in varying)] for name, row in table.iterrows()
    ]
    explained = _explained(facts)
    rows.append([EXPLAINED, *(_share(explained, column) for column in varying)])
    table = table.rename_axis("label").reset_index()
    title, head = "What the classes differ in", ["class", *varying]
    return Listing("shortcuts", title, f"{CAPTION}{some}", head, rows, table, wide=True)


def _cell(row: pd.Series, column: str) -> Cell | str:
    if column in ("kind", "folder"):
        return str(row[column])
    return _colour(row, column) if column in PREFIXES else f"{row[column]:,.0f}"


def _share(explained: pd.Series, column: str) -> str:
    if column in PREFIXES:
        return share(float(explained[[f"{PREFIXES[column]}{name}" for name in COLOURS]].max()))
    return share(float(explained[column])) if column in explained else ""


def _colour(row: pd.Series, column: str) -> Cell:
    values = [round(float(row[f"{PREFIXES[column]}{name}"])) for name in COLOURS]
    return Cell(" ".join(str(value) for value in values), swatch="#{:02x}{:02x}{:02x}".format(*values))


def _values(values: pd.Series) -> str:
    """The most frequent value, and how many others there are."""
    numbers = values.value_counts()
    first, more = shown(numbers.index[0], 24), len(numbers) - 1
    return f"{first} and {more:,} more" if more else first
