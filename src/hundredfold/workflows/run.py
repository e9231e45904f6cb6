"""``run``: from images and labels to a report and a predictor, in one run directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hundredfold.config import (
    CurveChoices,
    CurveSettings,
    EmbedChoices,
    EmbedSettings,
    FitSettings,
    PretrainChoices,
    PretrainSettings,
    ReportSettings,
    RunSettings,
    ScanSettings,
    Settings,
    check_unchanged,
    verb,
)
from hundredfold.config.pretrain import FREE as PRETRAIN_FREE
from hundredfold.errors import SettingsError
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory
from hundredfold.url import put

if TYPE_CHECKING:
    from hundredfold.encode.protocol import EncoderLike

__all__ = ["ENCODERS", "carry_out", "check_choices", "run"]

#: What a run that pre-trains compares: encoder → its folder in the run, or none for one that learned nothing.
ENCODERS: Mapping[str, str | None] = {
    "pretrained": "encoder", "adapted": "adapted", "initial": "initial", "thumbnail": None,
}

#: Settings of the other stages, too, that a resume may change.
FREE = PRETRAIN_FREE | {"resume", "out", "max_bad", "embed_batch"}


@verb(RunSettings)
def run(settings: RunSettings) -> RunDirectory:
    """Go from a folder of images and a table of labels to a report and a predictor.

    Scans, pre-trains, embeds with four encoders (pre-trained, adapted, initial, thumbnail), draws the
    learning curves, fits a predictor and writes the report. With ``encoder`` nothing is pre-trained, and
    that encoder is compared with thumbnails. With ``resume`` each finished stage is kept and the first
    unfinished one is continued.

    Raises:
        SettingsError: an unknown classifier or modality, or a resume with other settings than before.
        WeightsError: the initial weights cannot be had.
        RunExistsError: OUT holds a run already and ``resume`` is not set.
    """
    _check_places(settings)
    check_choices(settings)
    return carry_out(settings)


def carry_out(settings: RunSettings) -> RunDirectory:
    """Do what ``run`` does, with settings that were checked."""
    stages = _stages(settings)
    worked = False
    for place, (name, (noted, work)) in enumerate(stages.items(), start=1):
        if settings.resume and _is_done(name, noted, settings):
            say(f"[{place}/{len(stages) + 1}] {name}: done before, kept.")
            continue
        if place == 2:  # an hour's training must not end in a side without labels
            _check_sides(settings)
        say(f"[{place}/{len(stages) + 1}] {name}")
        work()
        worked = True
    directory = RunDirectory.open(settings.out)
    _report(settings, directory, anew=worked, place=len(stages) + 1)
    if settings.copy_to is not None:
        put(directory / "predictor", settings.copy_to / "predictor", last="predictor.json")
        put(directory / "report.html", settings.copy_to / "report.html")
        say(f"Copied to {settings.copy_to}")
    return directory


def _stages(settings: RunSettings) -> dict[str, tuple[Settings, Callable[[], object]]]:
    """Stage → the settings it is given, and its work."""
    from hundredfold.workflows.curve import curve
    from hundredfold.workflows.fit import fit
    from hundredfold.workflows.pretrain import pretrain
    from hundredfold.workflows.scan import scan

    scanning = settings.part(ScanSettings)
    learning = settings.part(PretrainSettings, images=settings.out)
    measuring = settings.part(CurveSettings, embeddings=settings.out)
    fitting = settings.part(FitSettings, embeddings=settings.out, copy_to=None)  # done at the end, with all
    # its images and labels are those of the scan, whatever they were called there
    pretraining = {"pretrain": (settings.part(PretrainChoices), lambda: pretrain(learning))}
    return {
        "scan": (scanning, lambda: scan(scanning)),
        **({} if settings.encoder else pretraining),
        "embed": (_embedding(settings), lambda: _embed(settings)),
        "curve": (measuring, lambda: curve(measuring)),
        "fit": (fitting, lambda: fit(fitting)),
    }


def _check_sides(settings: RunSettings) -> None:
    """Make sure that the scan's labels can be learned from and judged by.

    Raises:
        SplitError: one of the two sides has no labelled image, or the first one class only.
        LeakError: an image or a group is on both sides.
    """
    from hundredfold.data.table import ImageTable
    from hundredfold.learn.outer import sides_of

    table = ImageTable.read(settings.out / "images.parquet")
    sides_of(table, settings.part(CurveChoices), seed=settings.seed)


def _embedding(settings: RunSettings) -> Settings:
    """What the stage notes: with an encoder of the user's also its name, by which ``fit`` finds it again."""
    if settings.encoder:
        return settings.part(EmbedSettings, images=settings.out)
    return settings.part(EmbedChoices)


def _check_places(settings: RunSettings) -> None:
    """What takes no time to look up."""
    from hundredfold.data.archive import archive_in
    from hundredfold.data.rows import existing
    from hundredfold.data.shards import shards_of
    from hundredfold.data.source import IMAGES
    from hundredfold.workflows.fit import check_free

    if not settings.resume:
        for path, what in ((settings.images, IMAGES), (settings.labels, "a CSV or Parquet table")):
            for shard in shards_of(path) if isinstance(path, Path) else ():
                if archive_in(shard) is None:
                    existing(shard, what)
        if settings.copy_to is not None:
            check_free(settings.copy_to)
        if RunDirectory.is_run(settings.out):
            RunDirectory.open(settings.out).check_not_begun("scan")


def check_choices(settings: RunSettings) -> None:
    """Look up every name and load the weights once: an hour's training must not end in a typing error.

    Raises:
        SettingsError: an unknown classifier, modality, logger or encoder.
        WeightsError: the weights cannot be had.
    """
    from hundredfold.encode.opening import open_encoder
    from hundredfold.learn.classifiers import CLASSIFIERS
    from hundredfold.learn.curve import check_choices
    from hundredfold.ssl.logbook import check_loggers
    from hundredfold.views.modalities import MODALITIES
    from hundredfold.workflows.pretrain import start_backbone

    check_choices(settings)
    if settings.classifier != "auto":
        CLASSIFIERS[settings.classifier]
    MODALITIES[settings.modality].check_stain(settings.stain)
    check_loggers(settings.logger)
    if settings.encoder:
        _check_repeatable(settings.encoder, settings.weights)
        open_encoder(settings.encoder, weights=settings.weights, download=settings.download)
    else:
        start_backbone(settings.part(PretrainSettings, images=settings.out))


def _check_repeatable(encoder: str, weights: str) -> None:
    """An encoder is opened more than once, and must be the same each time."""
    if weights == "none" and any(part.startswith(("timm:", "hf:")) for part in encoder.split("+")):
        raise SettingsError(
            "an encoder with random weights is another one each time it is opened", where=encoder,
            remedy="Name its weights with --weights: auto, or a file.",
        )


def _is_done(stage: str, settings: Settings, of: RunSettings) -> bool:
    """Whether the stage is finished in OUT, with these settings.

    Raises:
        SettingsError: it is finished with others.
    """
    if not RunDirectory.is_run(of.out):
        return False
    directory = RunDirectory.open(of.out)
    if not directory.done(stage):
        return False
    noted = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8")).get(stage, {})
    asked = settings.model_dump(mode="json", include=noted.keys() - FREE)
    check_unchanged(f"{stage} was done", noted, asked, where=of.out)
    return True


def _embed(settings: RunSettings) -> None:
    from hundredfold.workflows.embed import as_asked, embed_run

    directory = RunDirectory.open(settings.out)
    with directory.stage("embed", settings=_embedding(settings), resume=settings.resume):
        for name, opened in _encoders(settings, directory):
            encoder = as_asked(opened, settings)
            embed_run(directory, name, encoder, batch=settings.embed_batch, resume=settings.resume)


def _encoders(settings: RunSettings, directory: RunDirectory) -> Iterator[tuple[str, EncoderLike]]:
    """The encoders that are compared, opened one after the other."""
    from hundredfold.encode.opening import open_encoder
    from hundredfold.workflows.embed import encoder_name

    if settings.encoder is None:
        for name, folder in ENCODERS.items():
            if folder is None or (directory / folder).is_dir():  # without BatchNorm nothing is adapted
                yield name, open_encoder(str(directory / folder) if folder else name)
        return
    encoder = open_encoder(settings.encoder, weights=settings.weights, download=settings.download)
    named = {encoder_name(settings.encoder, encoder.facts): encoder}
    yield from (named | {"thumbnail": open_encoder("thumbnail")}).items()


def _report(settings: RunSettings, directory: RunDirectory, *, anew: bool, place: int) -> None:
    from hundredfold.workflows.report import report

    if anew or settings.prevalence or not (directory / "report.html").exists():
        say(f"[{place}/{place}] report")
        report(settings.part(ReportSettings, run=settings.out, copy_to=None))
    else:
        say(f"Report: {directory / 'report.html'}")
    say(f"Label new images: hundredfold predict IMAGES --predictor {directory.path} --out predictions.csv")
