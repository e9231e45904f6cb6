"""How many images cannot be used, and whether that is more than is allowed."""

from __future__ import annotations

import math
from pathlib import Path

from hundredfold.data.table import ImageTable
from hundredfold.errors import TooManyRejectsError
from hundredfold.url import Url

__all__ = ["NO_IMAGES", "check_rejects"]

#: Reasons of files that nothing is wrong with: reports, plans, presentation states were never images.
NO_IMAGES = ("no_pixels",)


def check_rejects(table: ImageTable, *, max_bad: float, images: Path | Url, listed: Path) -> None:
    """Make sure that not too many images are unusable, and that some can be used.

    Args:
        table: the images, each of them decoded.
        max_bad: the share of bad images that is allowed.
        images: where they lie.
        listed: the file in which the bad ones are named.

    Raises:
        TooManyRejectsError: it is not so.

    Examples:
        >>> table = ImageTable.of({"id": list("abc"), "problem": [None, "no_pixels", "no_pixels"]})
        >>> check_rejects(table, max_bad=0, images=Path("in"), listed=Path("rejects.csv"))
        >>> check_rejects(
        ...     table.assign(problem=[None, "no_pixels", "empty"]), max_bad=0.25, images=Path("in"),
        ...     listed=Path("rejects.csv"),
        ... )
        Traceback (most recent call last):
            ...
        hundredfold.errors.TooManyRejectsError: 1 of 2 images cannot be used (empty 1); allowed is ...
    """
    problems = table.frame["problem"]
    bad = problems[problems.notna() & ~problems.isin(NO_IMAGES)]
    total = len(table) - int(problems.isin(NO_IMAGES).sum())
    usable = int(problems.isna().sum())
    if usable and len(bad) / total <= max_bad:
        return
    counts = (bad if usable else problems).value_counts()
    causes = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
    found = f"none of the {len(table):,} images can be used ({causes})"
    remedy = f"Each is named in {listed}."
    if usable:
        allowed = f"allowed is a share of {max_bad:g}"
        found = f"{len(bad):,} of {total:,} images cannot be used ({causes}); {allowed}"
        share = math.ceil(100 * len(bad) / total) / 100
        remedy += f" Mend or remove them, or go on without them: --resume --max-bad {share:g}."
    raise TooManyRejectsError(found, where=images, remedy=remedy)
