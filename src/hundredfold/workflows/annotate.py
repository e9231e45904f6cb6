"""``hundredfold annotate``: label the images of a run in the browser."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hundredfold.config import AnnotateSettings, verb
from hundredfold.errors import InputError
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.annotate.store import Store
    from hundredfold.data.supply import Supply
    from hundredfold.data.table import ImageTable

__all__ = ["annotate"]

#: Whom the labels that a scan read are told of.
SCANNED = "labels of the scan"


@verb(AnnotateSettings)
def annotate(settings: AnnotateSettings) -> Path:
    """Label the images of a run on a page in the browser.

    Nothing but ``RUN/annotations.sqlite`` is written, or with ``export`` the table of labels.

    Returns:
        The path of the record, or of the exported table.

    Raises:
        RunMissingError: there is no run, or it was not scanned.
        RunBusyError: another process has the record open.
        InputError: the record is damaged, a port or a table cannot be had.
    """
    from hundredfold.annotate.store import FILE, Store
    from hundredfold.data.table import ImageTable
    from hundredfold.lock import alone

    run = RunDirectory.open(settings.run)
    table = ImageTable.read(run.require("images.parquet", "scan"))
    only_read = settings.export is not None and settings.labels is None and (run / FILE).is_file()
    held = nullcontext() if only_read else alone(run / ".annotate.lock", "annotate")
    with held, closing(Store.open(run / FILE)) as store:
        _take_in(settings, store, table)
        if settings.export is not None:
            return _export(settings.export, store, table)
        _serve(settings, run, store, table)
    return run / FILE


def _take_in(settings: AnnotateSettings, store: Store, table: ImageTable) -> None:
    """The labels of the scan, once, and those that the user names."""
    from hundredfold.annotate.exchange import import_labels, take_in

    if SCANNED not in store.readers and table.labelled.any():
        rows = table.usable.select(table.usable.labelled).frame
        take_in(store, dict(zip(rows["id"], rows["label"], strict=True)), SCANNED)
    if settings.labels is not None:
        told = import_labels(store, table, settings.labels)
        say(f"{settings.labels}: {told.new:,} labels are new, {told.same:,} are as here, {told.other:,} are "
            f"other than here and wait under Decide, {len(told.unmatched):,} name no image of the run")


def _export(path: Path, store: Store, table: ImageTable) -> Path:
    from hundredfold.annotate.desk import torn
    from hundredfold.annotate.exchange import export_labels

    say(f"{export_labels(store, table, path):,} labels in {path}")
    if waiting := len(torn(store)):
        say(f"Readers differ or were unsure on {waiting:,} images: the first label was taken. Decide "
            "them on the page.")
    return path


def _serve(settings: AnnotateSettings, run: RunDirectory, store: Store, table: ImageTable) -> None:
    from hundredfold.annotate.app import make_app, new_token
    from hundredfold.annotate.background import Background
    from hundredfold.annotate.server import serve
    from hundredfold.annotate.studio import opened
    from hundredfold.data.store import PixelStore
    from hundredfold.web.listening import bound
    from hundredfold.workflows.labelled import noted_settings

    pixels, order = PixelStore.open(run.pixels), settings.order
    first = {} if order is None else _suggested(order, table)
    token, background = new_token(), Background()
    listening = bound(settings.port)
    studio = opened(
        store, table, pixels, first=first, second_share=settings.second_share,
        vectors=_vectors(run), images=run / "images.parquet", background=background, supply=_supply(table),
        near_copies=bool(noted_settings(run).get("scan", {}).get("near_copies")),
    )
    try:
        serve(
            lambda port: make_app(studio, token=token, port=port, name=settings.reader), token,
            listening=listening, browser=settings.browser, say=say,
        )
    finally:
        background.close()
    say(f"{len(store.labels()):,} images are labelled. Write them as a table: "
        f"hundredfold annotate {run.path} --export labels.csv")


def _suggested(path: Path, table: ImageTable) -> dict[str, str]:
    """The images of a table in their order, each with its reason, where there is one.

    Raises:
        TableError: it cannot be read, or names no image of the run.
    """
    from hundredfold.data.rows import read_rows
    from hundredfold.errors import TableError

    rows = read_rows(path, required=("image",), optional=("reason",)).dropna(subset="image")
    known = rows["image"].isin(table.usable.ids)
    if not known.any():
        raise TableError(
            f"none of the {len(rows):,} rows names an image of the run: the first names "
            f"{rows['image'].iloc[0]!r}" if len(rows) else "no row names an image",
            where=path, remedy="Give the table that `hundredfold suggest` wrote for this run.",
        )
    if not known.all():
        say(f"{path}: {int((~known).sum()):,} of {len(rows):,} rows name no usable image of the run")
    rows = rows[known]
    reasons = rows["reason"].fillna("") if "reason" in rows else [""] * len(rows)
    return dict(zip(rows["image"], reasons, strict=True))


def _vectors(run: RunDirectory) -> Path | None:
    """The folder of the run's vectors that are to be fitted on first, if it has any."""
    from hundredfold.errors import RunMissingError
    from hundredfold.workflows.labelled import embedding_folders

    try:
        return embedding_folders(run.path)[0]
    except RunMissingError:
        return None


def _supply(table: ImageTable) -> Supply:
    """Where the originals are; without them the page shows the copies that the scan made."""
    from hundredfold.data.elsewhere import supply_of
    from hundredfold.data.supply import LOCAL

    try:
        return supply_of(table.usable.frame["path"].dropna().astype(str).tolist())
    except InputError as error:
        say(f"Warning: {error} The page shows the copies that the scan made.")
        return LOCAL
