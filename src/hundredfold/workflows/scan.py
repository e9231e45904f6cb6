"""``scan``: what images there are, who is whose, which cannot be used, and who is held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hundredfold.config import ScanSettings, check_unchanged, verb
from hundredfold.errors import LeakError, RunExistsError, SettingsError
from hundredfold.files import remove_folder
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    from hundredfold.data.labels import LabelSet
    from hundredfold.data.source import Found
    from hundredfold.data.stain import Reference
    from hundredfold.data.store import PixelStore
    from hundredfold.data.supply import Supply
    from hundredfold.data.table import ImageTable

__all__ = ["scan"]

#: Settings that change what an image looks like; those of a finished scan stay.
AS_MADE = ("fit", "window", "stain")
#: Settings that change nothing of a finished scan.
FREE = {"out", "resume", "max_bad", "pixels", "pixel_size"}


@verb(ScanSettings)
def scan(settings: ScanSettings) -> RunDirectory:
    """Find the images, read the labels, decode every image once, and draw the split.

    Writes ``images.parquet``, ``splits.csv``, ``rejects.csv`` and the pixel store. Faults of the
    labels are found before anything is written.

    Raises:
        InputError: there is no such path, or no image.
        TableError: the labels cannot be read; LabelConflictError: one image has two labels.
        SettingsError: ``group_pattern`` matches no image; a finished scan is resumed with other pixels.
        SplitError: one class only, one group holds a whole class, or too few images for ``audit``.
        LeakError: a given split has a group on both sides, and ``allow_leak`` is not set.
        TooManyRejectsError: more images are unusable than ``max_bad`` allows.
        InputError: the stain was to be normalised, and the training images have no colour.
        RunExistsError: OUT was scanned before and ``resume`` is not set.
    """
    from hundredfold.data.groups import find_grouped, told_by_dicom
    from hundredfold.data.near_duplicates import clusters_of
    from hundredfold.data.rejects import check_rejects

    if RunDirectory.is_run(settings.images):
        raise SettingsError(
            "expected a folder of images, found a run directory", where=settings.images,
            remedy="Give the folder that was scanned.",
        )
    if settings.resume and RunDirectory.is_run(settings.out) and _is_whole(RunDirectory.open(settings.out)):
        return _kept(settings, RunDirectory.open(settings.out))
    found = find_grouped(settings.images, settings)
    table, labels = _labelled(found.table, settings)
    _split(table, settings)  # what is wrong with classes and groups shows before an image is decoded
    run = RunDirectory.create(settings.out)
    with run.stage("scan", settings=settings, resume=settings.resume):
        filled, store = _fill(table, found.supply, run, settings)
        _write_rejects(run, filled, labels)
        check_rejects(
            filled, max_bad=settings.max_bad, images=settings.images, listed=run / "rejects.csv"
        )
        pairs = _near_copies(store, settings)
        clusters = clusters_of(pairs, filled.ids).to_numpy()
        if store.value_range is not None and settings.pixels is None:
            # A near-copy of a test image is one by now, and must not tell what is black and what is white.
            filled, store = _fill(table.assign(cluster=clusters), found.supply, run, settings)
        done = _split(filled.assign(cluster=clusters), settings, complain=True)
        reference = _settle(store, done, settings)
        _write(run, done, store, settings, reference, given=int(table.frame["split"].notna().sum()))
        run.record(group_key=found.naming.fingerprint if found.grouped else None)
        _write_near_copies(run, done, pairs)
        lines = _lines(done, settings, found, labels, pairs)
        _tell(run, [*told_by_dicom(found), *lines, *_beside_given(table, done), *_stain_lines(reference)])
    return run


def _is_whole(run: RunDirectory) -> bool:
    """Whether the scan was finished, and its pixels are there still."""
    return run.done("scan") and (run.pixels / "pixels.json").is_file()


def _kept(settings: ScanSettings, run: RunDirectory) -> RunDirectory:
    """A finished scan, whose pixels must have been made as is asked now; what else differs is told."""
    from hundredfold.workflows.labelled import noted_settings

    noted = noted_settings(run).get("scan", {})
    asked = settings.model_dump(mode="json", include=noted.keys() - FREE)
    made = {name: asked[name] for name in AS_MADE if name in asked}
    if settings.pixel_size is not None:
        made["pixel_size"], noted["pixel_size"] = settings.pixel_size, run.state["scan"]["pixel_size"]
    check_unchanged("the images were scanned", noted, made, where=settings.out)
    others = [f"{name} = {noted[name]}" for name, value in asked.items() if noted[name] != value]
    told = f", with {', '.join(others)}; it is kept as it is. Choose another --out for a new scan"
    say(f"{settings.out} was scanned before{told if others else ''}.")
    return run


def _labelled(table: ImageTable, settings: ScanSettings) -> tuple[ImageTable, LabelSet | None]:
    from hundredfold.data.labels import LabelSet

    if settings.keep_splits is not None:
        table = _as_before(table, settings.keep_splits)
    if settings.labels is None:
        return table, None
    labels = LabelSet.read(settings.labels, table)
    return labels.apply(table), labels


def _as_before(table: ImageTable, splits: Path) -> ImageTable:
    """The images with the sides and groups of an earlier scan."""
    from hundredfold.data.labels import LabelSet
    from hundredfold.data.naming import hashed
    from hundredfold.data.rows import read_rows

    path = splits / "splits.csv" if RunDirectory.is_run(splits) else splits
    rows = read_rows(path, required=("image", "split"), optional=("group",))
    earlier = LabelSet.of(rows, table, where=path)
    if gone := len(earlier.unmatched):
        say(
            f"Warning: {gone:,} of the {len(rows):,} images of the earlier split are not among these, such "
            f"as {earlier.unmatched[0]!r}. If they only have other names now, they are split anew."
        )
    kept, own = earlier.apply(table).frame, table.frame
    # The same patients by the key of then; the key of now names those of the new images, too.
    groups = kept["group"].mask(hashed(kept["group"]) & hashed(own["group"]), own["group"])
    return table.assign(split=kept["split"], group=groups, site=kept["site"])  # it says nothing of labels


def _split(table: ImageTable, settings: ScanSettings, *, complain: bool = False) -> ImageTable:
    """The table with its split: a function of the table alone, so it may be drawn more than once."""
    from hundredfold.data.duplicates import withdraw_contradictions
    from hundredfold.data.splits import check_disjoint, draw_audit, draw_splits

    table = withdraw_contradictions(table)
    if settings.audit is not None:
        table = draw_audit(table, settings.audit, seed=settings.seed)
    drawn = draw_splits(table, test_size=settings.test_size, seed=settings.seed)
    try:
        check_disjoint(drawn)
    except LeakError as error:
        if not settings.allow_leak:
            raise
        if complain:
            say(f"Warning: {error.found}; you insisted, so results will be too good.")
    return drawn


def _fill(
    table: ImageTable, supply: Supply, run: RunDirectory, settings: ScanSettings
) -> tuple[ImageTable, PixelStore]:
    """Decode every image; what an unfinished scan of other images left in the run is thrown away."""
    from hundredfold.data.pixels import fill

    folder = settings.pixels or run / "pixels"

    def tell(decoded: int, reused: int) -> None:
        run.record(decoding={"decoded": decoded, "reused": reused})
        run.log(f"Pixels: decoded {decoded:,}, reused {reused:,}.")

    def filled() -> tuple[ImageTable, PixelStore]:
        return fill(
            table, folder, size=settings.pixel_size, fit=settings.fit, window=settings.ct_window, tell=tell,
            stain=None if settings.stain == "none" else settings.stain, supply=supply,
            # Only now are all pixels known, and with them the copies that belong to the test side.
            pool=lambda known: (
                known.frame["problem"].isna() & (_split(known, settings).frame["split"] == "train")
            ).to_numpy(dtype=bool),
        )

    try:
        return filled()
    except RunExistsError:
        if settings.pixels is not None:
            raise
        remove_folder(folder)  # whole: near-copies that are noted in it are of its pixels
        return filled()


def _settle(store: PixelStore, table: ImageTable, settings: ScanSettings) -> Reference | None:
    """The colours of the training side, which only now is known; near-copies are found by those that came."""
    from hundredfold.data.settling import settle_stain

    if settings.stain == "none":
        return None
    return settle_stain(store, settings.stain, table, anew=settings.pixels is None)[1]


def _near_copies(store: PixelStore, settings: ScanSettings) -> pd.DataFrame | None:
    """The pairs in the store, ``None`` where they are not looked for."""
    from hundredfold.data.near_duplicates import MOST_IMAGES, near_duplicates

    return near_duplicates(store) if settings.near_copies and len(store) <= MOST_IMAGES else None


def _write_near_copies(run: RunDirectory, table: ImageTable, pairs: pd.DataFrame | None) -> None:
    """Write ``near_copies.csv``, with labels and sides."""
    from hundredfold.data.near_duplicates import described
    from hundredfold.data.rows import write_rows

    (run / "near_copies.csv").unlink(missing_ok=True)
    if pairs is not None:
        write_rows(run / "near_copies.csv", described(pairs, table))


def _write_rejects(run: RunDirectory, table: ImageTable, labels: LabelSet | None) -> None:
    import pandas as pd

    from hundredfold.data.rows import write_rows

    absent = list(labels.unmatched) if labels else []
    nameless = pd.DataFrame({"image": pd.Series(absent, dtype="str")}).assign(
        reason="no_file", sentence="the labels name it, but there is no such image"
    )
    write_rows(run / "rejects.csv", pd.concat([table.rejects, nameless]).sort_values("image"))


def _write(
    run: RunDirectory, table: ImageTable, store: PixelStore, settings: ScanSettings,
    reference: Reference | None, *, given: int,
) -> None:
    """The table, its sides, and the facts of the scan; of ``given`` images the side came with the labels."""
    from hundredfold.data.rows import write_rows
    from hundredfold.data.summary import facts

    table.write(run / "images.parquet")
    splits = table.usable.frame[["id", "split", "group"]].rename(columns={"id": "image"})
    write_rows(run / "splits.csv", splits)
    run.record(
        pixels=str(settings.pixels.absolute()) if settings.pixels else None,
        scan={
            **facts(table), "pixel_size": store.size, "allow_leak": settings.allow_leak,
            "sides_given": given,
            "stain": None if reference is None else reference.stain.facts,
        },
    )


def _beside_given(before: ImageTable, after: ImageTable) -> Iterator[str]:
    """Who names test images may mean these and no others."""
    from hundredfold.data.splits import HELD_OUT

    given = before.frame["split"]
    held = (after.frame["problem"].isna() & after.frame["split"].isin(HELD_OUT)).to_numpy(dtype=bool)
    if given.isin(HELD_OUT).any() and (more := int((held & given.isna().to_numpy(dtype=bool)).sum())):
        yield (
            f"  {more:,} of the images held out had no side in the labels: they were drawn, or belong to one "
            "that was held out there. To have none drawn, call the others train."
        )


def _stain_lines(reference: Reference | None) -> Iterator[str]:
    if reference is not None:
        yield (
            f"Stain: colours are brought to those of the training side ({reference.stain.method}, the median "
            f"of {reference.measured:,} images)."
        )
        if plain := reference.looked - reference.measured:
            yield (
                f"Warning: {plain:,} of the {reference.looked:,} training images looked at have no colour, "
                "light or contrast to measure; such images keep the colours they have."
            )


def _lines(
    table: ImageTable, settings: ScanSettings, found: Found, labels: LabelSet | None,
    near_copies: pd.DataFrame | None,
) -> list[str]:
    from hundredfold.data.summary import sentences

    return sentences(
        table, settings.images, ignored=found.ignored, unmatched=labels.unmatched if labels else (),
        look_alikes=labels.look_alikes if labels else (), near_copies=near_copies is not None,
    )


def _tell(run: RunDirectory, lines: Iterable[str]) -> None:
    for line in lines:
        say(line)
        run.log(line)
