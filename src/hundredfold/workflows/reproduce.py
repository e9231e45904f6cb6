"""``reproduce``: the paper's experiment on one of its data sets, beside what the paper reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from hundredfold.config import (
    CurveSettings,
    DatasetSettings,
    ReportSettings,
    ReproduceSettings,
    RunSettings,
    check_unchanged,
    verb,
)
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.data.datasets.base import Reading

__all__ = ["LARGE", "reproduce"]

#: Labelled training images of the classes of the paper's second figure.
LARGE = 250
TABLE = "dataset.csv"
#: what the report draws of that curve
SECOND = "figures/published_250.csv"


@verb(ReproduceSettings)
def reproduce(settings: ReproduceSettings) -> RunDirectory:
    """Run the paper's experiment on a published data set, beside the published figures.

    Reads the data set as it is published, compares it with the published counts, and does what ``run`` does;
    then the curve of the classes with 250 labelled training images or more. Writes ``dataset.csv``, and
    ``missing.csv`` where images are missing.

    Raises:
        InputError: another layout than the published one, or more images than were published.
        TooManyRejectsError: a larger share than ``max_bad`` of the published images is missing.
        LeakError: the published split leaks and ``allow_leak`` is not set.
        RunExistsError: OUT holds a run already and ``resume`` is not set.
    """
    from hundredfold.workflows.run import carry_out, check_choices

    asked = settings.part(DatasetSettings, unlabelled=settings.unlabelled and settings.encoder is None)
    reading = None if _is_prepared(asked, settings) else _read(asked, settings)
    modality = reading.modality if reading else RunDirectory.open(settings.out).state["dataset"]["modality"]
    chosen = _for_run(settings, modality)
    check_choices(chosen)
    if reading is not None:
        _prepare(reading, asked, settings)
    run = carry_out(chosen)
    _large_classes(run, chosen, asked.dataset)
    return run


def _is_prepared(asked: DatasetSettings, settings: ReproduceSettings) -> bool:
    """Whether OUT holds the data set's table already, made with these settings.

    Raises:
        RunExistsError: it does, and this is no resume.
        SettingsError: it was made with others.
    """
    if not RunDirectory.is_run(settings.out):
        return False
    run = RunDirectory.open(settings.out)
    if not settings.resume:
        run.check_not_begun("dataset")
    if not run.done("dataset"):
        return False
    noted = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["dataset"]
    check_unchanged("dataset was done", noted, asked.model_dump(mode="json"), where=run.path)
    return True


def _read(asked: DatasetSettings, settings: ReproduceSettings) -> Reading:
    """Read the data set and compare it with the published counts; nothing is written."""
    from hundredfold.data.datasets.base import check_whole
    from hundredfold.data.datasets.catalogue import DATASETS

    dataset = DATASETS[asked.dataset]
    reading = dataset.read(asked.images, asked)
    partial = check_whole(reading, images=asked.images, source=dataset.source, max_bad=settings.max_bad)
    whole = f"All {reading.published:,} published images are there."
    for line in (f"{dataset.title}: {partial or whole}", f"Split: {reading.split}", *reading.notes):
        say(line)
    return reading


def _prepare(reading: Reading, asked: DatasetSettings, settings: ReproduceSettings) -> None:
    """Write the table that ``run`` is given, the names of missing images, and the images of an archive."""
    import pandas as pd

    from hundredfold.data.datasets.catalogue import DATASETS
    from hundredfold.data.rows import write_rows

    run = RunDirectory.create(settings.out)
    with run.stage("dataset", settings=asked, resume=settings.resume):
        reading.write(run.path)
        columns = reading.table.frame[["id", "path", "label", "group", "split"]]
        write_rows(run / TABLE, columns.rename(columns={"id": "image"}))
        if reading.missing:
            write_rows(run / "missing.csv", pd.DataFrame({"image": reading.missing}))
        run.record(dataset={
            "name": asked.dataset, "title": DATASETS[asked.dataset].title, "modality": reading.modality,
            "published": reading.published, "missing": reading.lacking,
            "split": reading.split, "notes": list(reading.notes),
        })
        run.log(f"Split: {reading.split}")


def _for_run(settings: ReproduceSettings, modality: str) -> RunSettings:
    """The settings of ``run``: the data set's modality stands in for the default, never for a choice."""
    table = settings.out / TABLE
    fitting = {} if "modality" in settings.model_fields_set else {"modality": modality}
    return settings.part(RunSettings, images=table, labels=table, **fitting)


def _large_classes(run: RunDirectory, settings: RunSettings, dataset: str) -> None:
    """The curve of the classes with 250 labelled training images or more, as in the paper's second figure."""
    from hundredfold.data.datasets.published import published_figures
    from hundredfold.data.table import ImageTable
    from hundredfold.workflows.curve import curve
    from hundredfold.workflows.report import report

    place = run / "large_classes"
    if settings.min_class_size or published_figures(dataset).empty:
        return
    if RunDirectory.is_run(place) and RunDirectory.open(place).done("curve"):
        if not (run / SECOND).exists():  # stopped between this curve and the report
            report(settings.part(ReportSettings, run=run.path))
        return
    sizes = ImageTable.read(run / "images.parquet").train.frame["label"].value_counts()
    if (sizes >= LARGE).sum() < 2:
        say(f"No second figure: fewer than two classes have {LARGE:,} labelled training images.")
        return
    say(f"Once more with the classes of {LARGE:,} labelled training images or more:")
    chosen = {"embeddings": run.path, "out": place, "min_class_size": LARGE}
    curve(settings.part(CurveSettings, **chosen))
    report(settings.part(ReportSettings, run=run.path))
