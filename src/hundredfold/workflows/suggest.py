"""``suggest``: which images to label next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    are never suggested, nor is a second one of exact or near-copies, nor what was read on the run's page.

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
    page = _read_on_page(settings.embeddings)
    table = _table(settings, embeddings, page)
    unlabelled = set(table.ids[~table.labelled])
    unusable, unsure = page.unusable & unlabelled, page.unsure & unlabelled
    pool = _pool(table, unusable | unsure)
    asked = pool.select(~pool.frame["id"].isin(unsure))
    useless = settings.useless or (UNUSABLE if unusable else None)
    labels = asked.frame["label"].mask(asked.frame["id"].isin(unusable), useless)
    chosen = select(
        embeddings.of(asked), settings.budget, labels=labels.tolist(), useless=useless,
        strategy=settings.strategy, seed=settings.seed,
    )
    rows = chosen.frame(asked.ids)
    write_rows(settings.out, rows)
    _tell(settings, table, pool, rows, int(labels.isna().sum()))
    if unusable or unsure:
        say(f"Read on the page and without a class: {len(unusable):,} images that are unusable, whose kind "
            f"is not sought, and {len(unsure):,} that are to be decided. None is suggested again.")
    return settings.out


class OnPage(NamedTuple):
    """What was read on the page of a run.

    Args:
        labels: image → class.
        unusable: images that show nothing to be told.
        unsure: images that readers could not tell.
    """

    labels: Mapping[str, str]
    unusable: frozenset[str]
    unsure: frozenset[str]


def _read_on_page(path: Path) -> OnPage:
    from contextlib import closing

    from hundredfold.annotate.classes import ClassBook
    from hundredfold.annotate.store import FILE, Store
    from hundredfold.workflows.labelled import run_of

    run = run_of(path)
    if run is None or not (run / FILE).is_file():
        return OnPage({}, frozenset(), frozenset())
    with closing(Store.open(run / FILE)) as store:
        decided, names = store.decided(), ClassBook(store).names()
    labels = {image: names[event.label] for image, event in decided.items() if event.label is not None}
    unusable, unsure = (
        frozenset(image for image, event in decided.items() if event.says == says)
        for says in ("unusable", "unsure")
    )
    return OnPage(labels, unusable, unsure)


def _table(settings: SuggestSettings, embeddings: Embeddings, page: OnPage) -> ImageTable:
    """The images with the labels given; else with those of the run's page, or those of the scan."""
    import pandas as pd

    from hundredfold.data.labels import LabelSet
    from hundredfold.workflows.labelled import scanned

    images = scanned(settings.embeddings, embeddings).usable
    if settings.labels is not None:
        return LabelSet.read(settings.labels, images).apply(images)
    rows = pd.DataFrame(page.labels.items(), columns=["image", "label"], dtype="str")
    rows = rows[rows["image"].isin(images.ids)]
    if rows.empty:
        return images
    return LabelSet.of(rows, images, where=settings.embeddings).apply(images)


def _pool(table: ImageTable, read: Collection[str]) -> ImageTable:
    """What may be suggested, and what is labelled or was read of it: nothing held out, nor kin of that.

    Of exact and near-copies the labelled and read ones stay, else the first.
    """
    import numpy as np
    import pandas as pd

    from hundredfold.data.splits import HELD_OUT, pieces_of

    pieces = pieces_of(table)
    held = np.isin(pieces, pieces[table.frame["split"].isin(HELD_OUT).to_numpy(dtype=bool)])
    side = table.select(~held)
    side = side.by_id(sorted(side.ids))  # so that no result depends on the order of a table's rows
    alike = pd.Series(pieces_of(side.assign(group=None)))
    known = side.labelled | side.frame["id"].isin(read).to_numpy(dtype=bool)
    return side.select(known | ~(alike.duplicated() | alike.isin(alike[known])))


def _tell(
    settings: SuggestSettings, table: ImageTable, pool: ImageTable, rows: pd.DataFrame, left: int
) -> None:
    known = int(pool.labelled.sum())
    if settings.useless is not None and settings.useless not in pool.classes:
        say(f"No image is labelled {settings.useless!r} yet; if some are, check the word after --useless.")
    kinds = rows["kind"].value_counts()
    say(
        f"Suggested: {kinds.get('suggested', 0):,} of {left:,} images without a label, by "
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
