"""The page of ``check``: a verdict in one sentence, what differs, and pictures of the new images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.files import write_json
from hundredfold.predict.batch import CLASSES, LOOKS_KIND, Batch
from hundredfold.predict.drift import ALARM, FEWEST, Drift
from hundredfold.predict.looks import LOOKS
from hundredfold.predict.novelty import ALARM as UNUSUAL
from hundredfold.predict.novelty import NEIGHBOURS
from hundredfold.predict.shifts import SHIFTS
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.page import save_items, write_page
from hundredfold.report.sheets import named_sheet
from hundredfold.report.tables import rows_of
from hundredfold.report.words import probability, share, shown
from hundredfold.rundir import software

__all__ = ["Checked", "write_check"]

SCHEMA_VERSION = 1
#: How images are called that have less of something than clean batches have, and more.
WORDS: Mapping[str, tuple[str, str]] = {
    "brightness": ("darker", "brighter"), "contrast": ("poorer in contrast", "richer in contrast"),
    "redness": ("less red", "redder"), "greenness": ("less green", "greener"),
    "blueness": ("less blue", "bluer"), "background": ("darker at the border", "brighter at the border"),
    "background redness": ("less red at the border", "redder at the border"),
    "background greenness": ("less green at the border", "greener at the border"),
    "background blueness": ("less blue at the border", "bluer at the border"),
    "saturation": ("paler in colour", "more colourful"),
    "grain": ("poorer in fine detail", "richer in fine detail"),
    "sharpness": ("blurrier", "sharper or noisier"),
}
BORDER = " at the border"
#: Words in the verdict, pictures a row, classes in the table.
MOST_WORDS, PICTURES, MOST_CLASSES = 3, 6, 30
#: p-value from which on a shift that was looked for is named, as there are several.
NAMED = 0.005
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
    "are "
    "compared with the known ones in the same way, and the p-value is the share of clean batches that lie "
    "at least as far off. It covers the encoder's features, the looks, the mix of predicted classes and each "
    "shift that was looked for, all together."
)


@dataclass(frozen=True)
class Checked:
    """What ``check`` found.

    Attributes:
        name: of the new images.
        ids: object ``[n]`` of those that were compared.
        there: how many usable ones there were.
        problems: why images could not be used → how many.
        grouped: how many patients the new ones come from, where that is known.
        batch: how they compare.
        classes: the predictor's.
        predictor: its hash.
    """

    name: str
    ids: NDArray[np.object_]
    there: int
    problems: Mapping[str, int]
    grouped: int | None
    batch: Batch
    classes: Sequence[str]
    predictor: str

    @property
    def alarm(self) -> bool | None:
        """Whether the new images are unlike the known ones; ``None`` where that cannot be told."""
        return None if self.batch.drift is None else self.batch.drift.alarm

    @property
    def differences(self) -> list[str]:
        """In what the new images differ from every clean batch (99 %), the greatest difference first."""
        found = self.batch.drift
        if found is None or LOOKS_KIND not in found.known:
            return []
        known, new, low, high = (part[LOOKS_KIND] for part in (found.known, found.new, found.low, found.high))
        far = np.maximum(new - high, low - new) / np.maximum(high - low, 1e-9)
        order = [place for place in np.argsort(-far) if far[place] > 0]
        return [WORDS[LOOKS[place]][int(new[place] > known[place])] for place in order]

    @property
    def likest(self) -> str:
        """In which direction of those looked for the new images lie farthest, in words; or empty."""
        found = self.batch.drift
        named = [] if found is None else [one for one in found.towards if found.parts[one] <= NAMED]
        if found is None or not named:
            return ""
        name = max(named, key=lambda one: abs(found.towards[one]))
        return SHIFTS[name].forwards if found.towards[name] > 0 else SHIFTS[name].backwards

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        found, count = self.batch.drift, f"{len(self.ids):,} images"
        if found is None:
            return (
                f"Whether these {count} are like those that the predictor learned from cannot be told: "
                f"it takes at least {FEWEST} known patients and two new images."
            )
        p = f"p {probability(found.p)}"
        if not found.alarm:
            return (
                f"Nothing was found that sets these {count} apart from those that the predictor learned "
                f"from ({p})."
            )
        return (
            f"These {count} are unlike those that the predictor learned from{self._in_what(found)} ({p}): "
            "what the predictor says of them, and how often it is right, may not hold."
        )

    def _in_what(self, found: Drift) -> str:
        every = self.differences
        told = [one for one in every if one.removesuffix(BORDER) not in every or not one.endswith(BORDER)]
        told = told[:MOST_WORDS] or ([self.likest] if self.likest else [])
        if told:
            return f": they are {_listed(told)}"
        if found.parts[CLASSES] <= ALARM:
            return ": other classes are predicted, or in other shares"
        return ", in the encoder's features, not in brightness, colour or sharpness"

    @property
    def unusual(self) -> float | None:
        """The share of them that is unusual by itself."""
        novelty = self.batch.answers.novelty
        return None if novelty is None else float((novelty >= UNUSUAL).mean())

    @property
    def order(self) -> NDArray[np.int64]:
        """Places of the new images, the most typical first."""
        memory = self.batch.known.predictor.memory
        assert memory is not None
        far = memory.neighbours.nearest(self.batch.answers.vectors, NEIGHBOURS)[0].mean(axis=1)
        return np.argsort(far, kind="stable")

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON."""
        found, order = self.batch.drift, self.order
        return {
            "schema_version": SCHEMA_VERSION, "verdict": self.verdict, "alarm": self.alarm, "level": ALARM,
            "images": len(self.ids), "usable": self.there, "problems": dict(self.problems),
            "patients": self.grouped, "known_images": len(self.batch.known),
            "known_patients": self.batch.known.groups or None, "unusual": self.unusual,
            "differences": self.differences, "most_like": self.likest, "predictor": self.predictor,
            **({} if found is None else _numbers(found, self.classes)),
            "most_typical": self.ids[order[:PICTURES]].tolist(),
            "most_unusual": self.ids[order[::-1][:PICTURES]].tolist(), "software": software(),
        }


def _numbers(found: Drift, classes: Sequence[str]) -> dict[str, Any]:
    kinds = {"looks": LOOKS_KIND, "classes": CLASSES}
    return {
        "p": found.p, "p_by_test": dict(found.parts), "towards": dict(found.towards),
        "compared": found.batch, "patients_in_a_clean_batch": found.groups,
        **{name: _table(found, kind, classes).round(6).to_dict("records")
           for name, kind in kinds.items() if kind in found.known},
    }


def _table(found: Drift, kind: str, classes: Sequence[str]) -> pd.DataFrame:
    """Name, known, new, low, high of each number of a kind."""
    return pd.DataFrame({
        "name": LOOKS if kind == LOOKS_KIND else classes, "known": found.known[kind], "new": found.new[kind],
        "low": found.low[kind], "high": found.high[kind],
    })


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
            "known "
            "ones .05 are."
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
            "(--group-pattern): from more, smaller shifts can be seen; from fewer, clean batches alarm too "
            "often.",
        ))
    if found is not None and not known.unlabelled:
        told.append(_Caution(
            "All known images have a label.",
            "If they were chosen class by class, new images alarm for coming in other shares alone.",
        ))
    if found is not None and LOOKS_KIND not in found.known:
        told.append(_Caution(
            "The predictor does not know what its images looked like.",
            "Fit it again in the run that holds the pixels, and brightness, colour and sharpness are "
            "compared.",
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
    table = _table(found, LOOKS_KIND, classes)
    return Listing(
        "looks", "What the images look like",
        "Means over images. Brightness, colours and background from 0 to 255 (redness: red above the mean "
        "of red, "
        "green and blue; background: the outermost sixteenth of each side); grain and sharpness as powers "
        "of two.",
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
        "lies in "
        "its direction (darker, more contrast, red to yellow, more colourful, warmer, blurrier, noisier), "
        "in standard "
        "deviations of clean batches. A strong shift shows in the directions of others, too: the largest "
        "counts.",
        ["test", "p", "distance"], rows, table,
    )


def _mix(found: Drift, classes: Sequence[str]) -> Listing:
    table = _table(found, CLASSES, classes)
    rows: list[list[Cell | str]] = [
        [shown(row.name), share(row.known), Cell(share(row.new), bar=float(row.new)),
         f"{share(max(0.0, row.low))}–{share(min(1.0, row.high))}"]
        for row in rows_of(table.head(MOST_CLASSES))
    ]
    return Listing(
        "mix", "Predicted classes", "Shares of images that the predictor gives each class.",
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
        table,
        photographic=True, wide=True,
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
