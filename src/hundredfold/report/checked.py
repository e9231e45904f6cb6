"""What ``check`` found, and how it is said: a verdict in one sentence, and the same as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.predict.batch import CLASSES, LOOKS_KIND, Batch
from hundredfold.predict.drift import ALARM, FEWEST, Drift
from hundredfold.predict.looks import LOOKS
from hundredfold.predict.novelty import ALARM as UNUSUAL
from hundredfold.predict.novelty import NEIGHBOURS
from hundredfold.predict.shifts import SHIFTS
from hundredfold.report.words import probability
from hundredfold.rundir import software

__all__ = ["PICTURES", "WORDS", "Checked", "means_of"]

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
#: Words in the verdict, and images named as the most typical and the most unusual.
MOST_WORDS, PICTURES = 3, 6
#: What a predictor cannot tell that was fitted without pixels at hand, or by an earlier version.
UNSEEN = (
    " Brightness, contrast, colour and sharpness were not compared, as this predictor remembers none; fit "
    "it again, with the run's pixels at hand."
)
#: Images below which the verdict says how few they are.
FEW = 20
#: p-value from which on a shift that was looked for is named, as there are several.
NAMED = 0.005
#: Share of the greatest distance from which on another direction may as well be the shift.
NEARLY = 0.8


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
        """In which directions of those looked for the new images lie farthest, in words; or empty.

        A strong shift lies far in the directions of others, too: what is nearly as far is named beside it.
        """
        found = self.batch.drift
        named = [] if found is None else [one for one in found.towards if found.parts[one] <= NAMED]
        if found is None or not named:
            return ""
        named.sort(key=lambda one: -abs(found.towards[one]))
        near = [one for one in named if abs(found.towards[one]) >= NEARLY * abs(found.towards[named[0]])]
        return " or ".join(
            SHIFTS[one].forwards if found.towards[one] > 0 else SHIFTS[one].backwards for one in near
        )

    @property
    def verdict(self) -> str:
        """One plain sentence; where looks could not be compared, a second one says so."""
        found, count = self.batch.drift, f"{len(self.ids):,} images"
        if len(self.ids) == 1:
            return "One image cannot be compared as a batch: what predict says of it has its novelty."
        if found is None:
            return (
                f"Whether these {count} are like those that the predictor learned from cannot be told: "
                f"it takes at least {FEWEST} known patients and two new images."
            )
        p = f"p {probability(found.p)}"
        few = len(self.ids) < FEW
        if not found.alarm:
            return (
                f"Nothing was found that sets these {count} apart from those that the predictor learned "
                f"from ({p}).{' In so few only a gross change shows.' if few else ''}"
                f"{'' if LOOKS_KIND in found.known else UNSEEN}"
            )
        return (
            f"These {count} are unlike those that the predictor learned from{self._in_what(found)} ({p}): "
            "what the predictor says of them, and how often it is right, may not hold."
            + (" But they are few: images of one class or one patient alone are easily unlike all known ones "
               "together. Compare a hundred as they come." if few else "")
        )

    def _in_what(self, found: Drift) -> str:
        every = self.differences
        told = [one for one in every if one.removesuffix(BORDER) not in every or not one.endswith(BORDER)]
        told = told[:MOST_WORDS] or ([self.likest] if self.likest else [])
        if told:
            return f": they are {_listed(told)}"
        if found.parts[CLASSES] <= ALARM:
            return ": other classes are predicted, or in other shares"
        looked = ", not in brightness, colour or sharpness" if LOOKS_KIND in found.known else ""
        return f", in the encoder's features{looked}"

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
        **{name: means_of(found, kind, classes).round(6).to_dict("records")
           for name, kind in kinds.items() if kind in found.known},
    }


def means_of(found: Drift, kind: str, classes: Sequence[str]) -> pd.DataFrame:
    """Name, known, new, low, high of each number of a kind."""
    return pd.DataFrame({
        "name": LOOKS if kind == LOOKS_KIND else classes, "known": found.known[kind], "new": found.new[kind],
        "low": found.low[kind], "high": found.high[kind],
    })


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
