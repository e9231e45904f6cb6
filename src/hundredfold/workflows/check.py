"""``check``: has something changed between the images that a predictor learned from and these?"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from hundredfold.config import CheckSettings, verb
from hundredfold.errors import InputError, RunExistsError
from hundredfold.progress import bar, say

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hundredfold.data.source import Found
    from hundredfold.data.table import ImageTable
    from hundredfold.predict.predictor import Predictor

__all__ = ["check"]

AHEAD = 128


@verb(CheckSettings)
def check(settings: CheckSettings) -> Path:
    """Compare a batch of new images with those that a predictor learned from.

    Writes ``check.html``, a page with a verdict in one sentence, what differs and the most typical and most
    unusual of the new images, ``check.json`` with the numbers, and ``figures/``. The comparison allows for
    what patients differ in: clean batches are made of whole patients of the known images. One clean batch in
    33 alarms. It finds shifts of a whole batch; a single odd image shows in the column ``novelty`` of
    ``predict``. Returns the path of ``check.json``.

    Raises:
        SettingsError: ``group_pattern`` is none, or matches nothing; the check that is to be kept was made
            with another predictor.
        InputError: there are no images, or none can be used.
        ModelFileError: the predictor is damaged, or of a version that remembers nothing.
        RunExistsError: OUT holds files and ``resume`` is not set.
    """
    from hundredfold.data.groups import find_grouped, told_by_dicom
    from hundredfold.data.rows import existing
    from hundredfold.predict.batch import Known, compared
    from hundredfold.predict.made import check_maker
    from hundredfold.predict.predictor import Predictor
    from hundredfold.report.checked import Checked
    from hundredfold.report.drifted import write_check

    there = _is_there(settings)
    predictor = Predictor.load(existing(settings.predictor, "a predictor folder, or a run that holds one"))
    if there:
        path = settings.out / "check.json"
        maker = json.loads(path.read_text(encoding="utf-8")).get("predictor")
        check_maker(maker, predictor, what="the check here was made with", where=path)
        say(f"{settings.out} has a check with this predictor already, kept as it is, whatever images it was "
            "of; nothing was compared now. Choose another --out for a new one.")
        return path
    known = Known(predictor, seed=settings.seed)
    found = find_grouped(settings.images, settings)
    for line in told_by_dicom(found):
        say(line)
    table = found.table
    chosen, pixels, problems = _pixels(table, found, predictor, settings)
    groups = _groups(chosen)
    batch = compared(known, pixels, groups, draws=settings.draws, seed=settings.seed)
    checked = Checked(
        settings.images.name, chosen.ids, len(table.usable), problems,
        None if groups is None else len(set(groups.tolist())), batch, predictor.classes, predictor.hash,
    )
    page = write_check(checked, pixels, settings.out)
    say(checked.verdict)
    say(f"Page: {page}")
    return settings.out / "check.json"


def _is_there(settings: CheckSettings) -> bool:
    """Whether the check was made before, and may be kept.

    Raises:
        RunExistsError: it may not.
    """
    out = settings.out
    there = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if there and not settings.resume:
        raise RunExistsError(
            "the output exists", where=out,
            remedy="Choose another --out, or keep it with --resume; nothing was changed.",
        )
    return there and (out / "check.json").is_file()


def _pixels(
    table: ImageTable, found: Found, predictor: Predictor, settings: CheckSettings
) -> tuple[ImageTable, NDArray[np.uint8], dict[str, int]]:
    """The images that can be used, at most so many random ones, and why others cannot.

    Raises:
        InputError: none can.
    """
    import numpy as np

    from hundredfold.data.recipe import Recipe
    from hundredfold.data.stream import passing
    from hundredfold.errors import ImageError
    from hundredfold.predict.rows import listed

    usable = table.usable
    places = np.sort(np.random.default_rng(settings.seed).permutation(len(usable))[: settings.most])
    some = usable.select(np.isin(np.arange(len(usable)), places))
    recipe, squares, good = Recipe.of(predictor.facts), [], []
    problems = Counter(table.frame["problem"].dropna())
    with (
        passing(listed(some, found.supply), recipe, found.supply, ahead=AHEAD) as coming,
        bar("Reading the new images", len(some)) as progress,
    ):
        for square in coming:
            good.append(not isinstance(square, ImageError))
            if isinstance(square, ImageError):
                problems[square.reason] += 1
            else:
                squares.append(square)
            progress.advance(1)
    if not squares:
        raise InputError(
            f"none of {len(table):,} images can be used ({dict(problems)})", where=settings.images,
            remedy="Give images of the kind that the predictor learned from.",
        )
    return some.select(np.array(good)), recipe.batch(squares), dict(problems)


def _groups(images: ImageTable) -> NDArray[np.int64] | None:
    """A number a patient ``[n]``; an image without one is a patient of its own. ``None`` if none is known."""
    import numpy as np
    import pandas as pd

    names = images.frame["group"]
    if names.isna().all():
        return None
    codes = pd.factorize(names)[0].astype(np.int64)
    own = np.flatnonzero(codes < 0)
    codes[own] = codes.max() + 1 + np.arange(len(own))
    return codes
