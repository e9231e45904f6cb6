"""What a clinician reads, at the number of labels that a report speaks of: scores, thresholds, strata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from hundredfold.files import atomic_write, write_json
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.held_out import HeldOut
from hundredfold.learn.scores import Said, held_out_table, score_table
from hundredfold.learn.strata import by_stratum, without_site
from hundredfold.learn.study import Cell, Study, Vectors
from hundredfold.learn.thresholds import thresholds

__all__ = ["Clinical"]


@dataclass(frozen=True)
class Clinical:
    """The tables, of every encoder and classifier.

    Attributes:
        scores: what is said of each test image; see :func:`~hundredfold.learn.scores.score_table`.
        thresholds: if an operating point is asked for; see
            :func:`~hundredfold.learn.thresholds.thresholds`. A classifier that is trained end to end has
            none: it would have to be trained five times more for every draw.
        strata: by site and subgroup, and each site without its labels; see
            :func:`~hundredfold.learn.strata.by_stratum`. ``None`` where there is neither.
        calibrations: encoder, classifier, n_per_class and repeat, with the
            :attr:`~hundredfold.learn.calibrate.Calibration.facts` of what makes probabilities of the scores;
            those of too few labels have none.
        held: what is said of the labels themselves, held out in turn; see
            :func:`~hundredfold.learn.scores.held_out_table`.
    """

    scores: pd.DataFrame
    thresholds: pd.DataFrame | None = None
    strata: pd.DataFrame | None = None
    calibrations: tuple[dict[str, Any], ...] = ()
    held: pd.DataFrame | None = None

    @classmethod
    def of(
        cls, study: Study, said: Mapping[Cell, Said], vectors: Mapping[str, tuple[Vectors, Vectors]],
        held: Mapping[tuple[str, int], HeldOut], *, jobs: int, subgroups: pd.DataFrame | None = None,
    ) -> Self:
        """Gather what was said at the headline's budget, and fit what else was asked for.

        Args:
            study: sides, draws and choices.
            said: what the curve's classifiers say of the test images, at ``study.headline``.
            vectors: encoder → vectors of both sides.
            held: (encoder, repeat) → what is said of the labels themselves, held out in turn.
            jobs: processes.
            subgroups: ``[n, k]`` values of the test images.
        """
        chosen = None if study.choices.operating_point is None else thresholds(study, held)
        strata = by_stratum(study, said, subgroups)
        if study.choices.leave_one_site_out:
            alone = without_site(study, vectors, jobs=jobs)
            strata = pd.concat([strata, alone], ignore_index=True) if len(strata) else alone
        scores, calibrations = score_table(study.trial, said), _calibrations(study, held)
        told = held_out_table(study, held)
        return cls(scores, chosen, strata if len(strata) else None, calibrations, told)

    def write(self, folder: Path) -> None:
        """Write ``scores.parquet``, and of the others what there is; that of an earlier call is removed."""
        (folder / "calibrations.json").unlink(missing_ok=True)
        if self.calibrations:
            write_json(folder / "calibrations.json", list(self.calibrations))
        (folder / "held_out.parquet").unlink(missing_ok=True)
        for name, table in (("scores", self.scores), ("held_out", self.held)):
            if table is not None:
                with atomic_write(folder / f"{name}.parquet") as path:
                    table.to_parquet(path, index=False, row_group_size=1 << 16)
        for name, table in (("thresholds.csv", self.thresholds), ("strata.csv", self.strata)):
            (folder / name).unlink(missing_ok=True)
            if table is not None:
                with atomic_write(folder / name) as path:
                    table.to_csv(path, index=False, lineterminator="\n")


def _calibrations(study: Study, held: Mapping[tuple[str, int], HeldOut]) -> tuple[dict[str, Any], ...]:
    """Of every encoder, classifier and draw, from what is said of the draw's own labels."""
    found = []
    for (encoder, repeat), one in held.items():
        place = {"encoder": encoder, "n_per_class": study.headline, "repeat": repeat}
        for name, scores in zip(study.shallow, one.scores, strict=True):
            if (calibration := Calibration.fit(scores, one.codes)) is not None:
                found.append({**place, "classifier": name, **calibration.facts})
    return tuple(found)
