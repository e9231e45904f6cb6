"""The page of ``check``: a verdict in one sentence, what differs, and pictures of the new images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.files import write_json
from hundredfold.predict.batch import CLASSES, LOOKS_KIND
from hundredfold.predict.drift import ALARM, Drift
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.checked import PICTURES, WORDS, Checked, means_of
from hundredfold.report.page import save_items, write_page
from hundredfold.report.sheets import named_sheet
from hundredfold.report.tables import rows_of
from hundredfold.report.words import probability, share, shown
from hundredfold.rundir import software

__all__ = ["write_check"]

#: Classes in the table.
MOST_CLASSES = 30
#: Grey has no colour, and no line for it: what is less than this rounds to nothing.
SHOWN = 0.05
WORKS = (
    ("S. Rabanser, S. Günnemann, Z. C. Lipton. Failing Loudly. NeurIPS 2019.",
     "https://arxiv.org/abs/1810.11953"),
    ("Y. Sun, Y. Ming, X. Zhu, Y. Li. Out-of-Distribution Detection with Deep Nearest Neighbors. ICML 2022.",
     "https://arxiv.org/abs/2204.06507"),
)
HOW = (
    "A clean batch is as many known images, patient by patient, against all other patients; the new images "
    "are compared with the known ones in the same way, and the p-value is the share of clean batches that "
    "lie at least as far off. It covers the encoder's features, the looks, the mix of predicted classes and "
    "each shift that was looked for, all together."
)


def write_check(checked: Checked, pixels: NDArray[np.uint8], folder: Path) -> Path:
    """Write ``check.html``, ``figures/`` and, last, ``check.json`` to ``folder``; returns the page's path.

    Args:
        checked: what was found.
        pixels: the new images ``[n, s, s, 3]``, in the order of ``checked.ids``.
        folder: where to write.
    """
    chapters = _chapters(checked, pixels)
    save_items((item for chapter in chapters for item in chapter.items), folder / "figures")
    page = write_page(
        folder / "check.html", folder / "figures",
        name=shown(checked.name, 80), kind="check of new images", version=software().get("hundredfold", ""),
        finding=[checked.verdict, *_more(checked)], cautions=_cautions(checked), first=None,
        chapters=chapters, texts=[], citations=WORKS,
    )
    write_json(folder / "check.json", checked.facts)
    return page


def _more(checked: Checked) -> list[str]:
    told = []
    if checked.alarm and checked.likest:
        told.append(f"Of the shifts that were looked for, they lie farthest towards this: {checked.likest}.")
    if checked.unusual is not None:
        told.append(
            f"{share(checked.unusual)} of the new images are unusual each by itself; of images like the "
            "known ones .05 are."
        )
    told.append(f"An alarm is given from p = {share(ALARM)} down: by chance in one clean batch of 33.")
    return told


@dataclass(frozen=True)
class _Caution:
    title: str
    sentence: str


def _cautions(checked: Checked) -> list[_Caution]:
    found, known = checked.batch.drift, checked.batch.known
    told = []
    if found is not None and not known.groups:
        told.append(_Caution(
            "No patient is known among the images that the predictor learned from.",
            "Each image counted as a patient of its own. If there were several of each, or the new ones come "
            "from few, a clean batch alarms more often than one time in 33.",
        ))
    elif found is not None and checked.grouped is None:
        told.append(_Caution(
            "No patient is known among the new images.",
            f"They were compared with clean batches of {found.groups:,.0f} patients. Name the patients "
            "(--group-pattern): if they are more, smaller shifts can be seen; if fewer, clean batches alarm "
            "too often.",
        ))
    if found is not None and not known.unlabelled:
        told.append(_Caution(
            "All known images have a label.",
            "If they were chosen class by class, new images alarm for coming in other shares alone.",
        ))
    if found is not None and LOOKS_KIND not in found.known:
        told.append(_Caution(
            "The predictor does not know what its images looked like.",
            "Fit it again in the run that holds the pixels, to compare brightness, colour and sharpness.",
        ))
    if checked.problems:
        counts = ", ".join(f"{reason} {number:,}" for reason, number in checked.problems.items())
        told.append(_Caution(f"{sum(checked.problems.values()):,} images cannot be used.", f"{counts}."))
    return told


def _chapters(checked: Checked, pixels: NDArray[np.uint8]) -> list[Chapter]:
    found, made = checked.batch.drift, []
    if found is not None:
        looks = [_looks(found, checked.classes)] if LOOKS_KIND in found.known else []
        items = [*looks, _tests(found), _mix(found, checked.classes)]
        made.append(Chapter("differs", "What differs", [HOW], items))
    made.append(Chapter("pictures", "New images", [], [_pictures(checked, pixels)]))
    return made


def _looks(found: Drift, classes: Sequence[str]) -> Listing:
    table = means_of(found, LOOKS_KIND, classes)
    return Listing(
        "looks", "What the images look like",
        "Means over images. Brightness, colours and background from 0 to 255 (redness: red above the mean "
        "of red, green and blue; background: the outermost sixteenth of each side); grain and sharpness as "
        "powers of two.",
        ["", "known", "new", "clean batches, 99 %", ""],
        [[row.name, _tenth(row.known), _tenth(row.new), f"{_tenth(row.low)} to {_tenth(row.high)}",
          _word(row)]
         for row in rows_of(table) if max(abs(row.low), abs(row.high), abs(row.new)) >= SHOWN],
        table, wide=True,
    )


def _tenth(value: float) -> str:
    return f"{round(value, 1) + 0.0:,.1f}".replace("-", "−")


def _word(row: Any) -> str:
    return WORDS[row.name][int(row.new > row.known)] if not row.low <= row.new <= row.high else ""


def _tests(found: Drift) -> Listing:
    names = {"images": "features and looks", "looks": "looks", "classes": "mix of predicted classes"}
    table = pd.DataFrame({
        "test": list(found.parts), "p": list(found.parts.values()),
        "towards": [found.towards.get(name) for name in found.parts],
    })
    rows = [
        [names.get(row.test, f"towards {row.test}"), probability(row.p).removeprefix("= "),
         "" if pd.isna(row.towards) else f"{row.towards:+.1f}".replace("-", "−")]
        for row in rows_of(table)
    ]
    return Listing(
        "tests", "Tests",
        "Each p-value by itself; the verdict's allows for their number. Towards a shift: how far the batch "
        "lies in its direction (darker, more contrast, red to yellow, more colourful, warmer, blurrier, "
        "noisier), in standard deviations of clean batches. A strong shift shows in the directions of "
        "others, too: the largest counts.",
        ["test", "p", "distance"], rows, table,
    )


def _mix(found: Drift, classes: Sequence[str]) -> Listing:
    table = means_of(found, CLASSES, classes)
    rows: list[list[Cell | str]] = [
        [shown(row.name), share(row.known), Cell(share(row.new), bar=float(row.new)),
         f"{share(max(0.0, row.low))}–{share(min(1.0, row.high))}"]
        for row in rows_of(table.head(MOST_CLASSES))
    ]
    more = len(table) > MOST_CLASSES
    some = f" The first {MOST_CLASSES} of {len(table)} classes; mix.csv has all." if more else ""
    return Listing(
        "mix", "Predicted classes", f"Shares of images that the predictor gives each class.{some}",
        ["class", "known", "new", "clean batches, 99 %"], rows, table,
    )


def _pictures(checked: Checked, pixels: NDArray[np.uint8]) -> Exhibit:
    order = checked.order
    rows = {"most typical": order[:PICTURES], "most unusual": order[::-1][:PICTURES]}
    table = pd.DataFrame(
        [(name, checked.ids[place]) for name, places in rows.items() for place in places],
        columns=["row", "image"],
    )
    return Exhibit(
        "new_images", "The most typical and the most unusual new images",
        "By the distance of their features from the five nearest known images.",
        "Two rows of images.", named_sheet({name: list(pixels[places]) for name, places in rows.items()}),
        table, photographic=True, wide=True,
    )
