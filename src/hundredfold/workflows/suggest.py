"""``suggest``: which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hundredfold.config import SuggestSettings, verb
from hundredfold.errors import RunExistsError
from hundredfold.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings

__all__ = ["suggest"]

#: What images are taken for that were found unusable on the page; it is no name that a user would write.
UNUSABLE = "\0unusable"


@verb(SuggestSettings)
def suggest(settings: SuggestSettings) -> Path:
    """Choose the images to label next, with a reason each.

    Writes a CSV: ``image, rank, kind, reason``. First come ``suggested`` images, as many as the budget, in
    the order in which to read them; then, beyond the budget, every ``outlier``, the strangest first: an image
    far from all its neighbours is a rare finding, another kind of image, or a fault. Test and audit images
    are never suggested, nor is a second one of exact or near-copies.

    Raises:
        SettingsError: an unknown strategy, or margin without labels of two classes.
        RunMissingError: there are no embeddings.
        InputError: the labels cannot be used.
        RunExistsError: the file is there already and ``resume`` is not set.
    """
    from hundredfold.data.rows import write_rows
    from hundredfold.encode.embed import Embeddings
    from hundredfold.learn.select.strategies import STRATEGIES, select
    from hundredfold.workflows.labelled import embedding_folders

    if settings.out.exists():
        if settings.resume and settings.out.is_file():
            say(f"{settings.out} is there already; it is written whole or not at all.")
            return settings.out
        raise RunExistsError(
            "the output exists", where=settings.out,
            remedy="Keep it with --resume, or choose another --out; nothing was changed.",
        )
    STRATEGIES[settings.strategy]
    embeddings = Embeddings.read(embedding_folders(settings.embeddings)[0])
    table = _table(settings, embeddings)
    unusable, unsure = _without_class(settings.embeddings)
    pool = _pool(table.select(~table.frame["id"].isin(unsure)))
    useless = settings.useless or (UNUSABLE if unusable else None)
    labels = pool.frame["label"].mask(pool.frame["id"].isin(unusable), useless)
    chosen = select(
        embeddings.of(pool), settings.budget, labels=labels.tolist(), useless=useless,
        strategy=settings.strategy, seed=settings.seed,
    )
    rows = chosen.frame(pool.ids)
    write_rows(settings.out, rows)
    _tell(settings, table, pool, rows)
    if unusable or unsure:
        say(f"Read on the page and without a class: {len(unusable):,} images that are unusable, whose kind "
            f"is not sought, and {len(unsure):,} that are to be decided. None is suggested again.")
    return settings.out


def _table(settings: SuggestSettings, embeddings: Embeddings) -> ImageTable:
    """The images with the labels given, or else those of the scan."""
    from hundredfold.data.labels import LabelSet
    from hundredfold.workflows.labelled import scanned

    images = scanned(settings.embeddings, embeddings).usable
    if settings.labels is None:
        return images
    return LabelSet.read(settings.labels, images).apply(images)


def _without_class(path: Path) -> tuple[set[str], set[str]]:
    """Images that readers on the page found unusable, and those that they were unsure of."""
    from contextlib import closing

    from hundredfold.annotate.store import FILE, Store
    from hundredfold.workflows.labelled import run_of

    run = run_of(path)
    if run is None or not (run / FILE).is_file():
        return set(), set()
    with closing(Store.open(run / FILE)) as store:
        decided = store.decided().items()
        unusable = {image for image, event in decided if event.says == "unusable"}
        return unusable, {image for image, event in decided if event.says == "unsure"}


def _pool(table: ImageTable) -> ImageTable:
    """What may be suggested, and what is labelled of it: nothing held out, nor kin of that.

    Of exact and near-copies the labelled ones stay, else the first.
    """
    import numpy as np
    import pandas as pd

    from hundredfold.data.splits import HELD_OUT, pieces_of

    pieces = pieces_of(table)
    held = np.isin(pieces, pieces[table.frame["split"].isin(HELD_OUT).to_numpy(dtype=bool)])
    side = table.select(~held)
    side = side.by_id(sorted(side.ids))  # so that no result depends on the order of a table's rows
    alike = pd.Series(pieces_of(side.assign(group=None)))
    return side.select(side.labelled | ~(alike.duplicated() | alike.isin(alike[side.labelled])))


def _tell(settings: SuggestSettings, table: ImageTable, pool: ImageTable, rows: pd.DataFrame) -> None:
    known = int(pool.labelled.sum())
    if settings.useless is not None and settings.useless not in pool.classes:
        say(f"No image is labelled {settings.useless!r} yet; if some are, check the word after --useless.")
    kinds = rows["kind"].value_counts()
    say(
        f"Suggested: {kinds.get('suggested', 0):,} of {len(pool) - known:,} images without a label, by "
        f"{settings.strategy}{f', {known:,} are labelled' if known else ''}; in {settings.out}"
    )
    if outliers := kinds.get("outlier", 0):
        say(f"Beside them {outliers:,} outliers to look at: the last rows of the file.")
    held = int(table.frame["split"].isin(["test", "audit"]).sum())
    rest = len(table) - held - len(pool)
    say(
        f"Left out: {held:,} test and audit images, and {rest:,} of one group with them, or copies of others."
    )
    if not held:
        say(
            "Warning: no image is held out, and a test set drawn from labels that were chosen is no fair "
            "sample. Scan with --audit N before you begin, and label those images as well."
        )
