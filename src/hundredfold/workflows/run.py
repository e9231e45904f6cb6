"""``run``: from images and labels to a report and a predictor, in one run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import yaml

from hundredfold.config import (
    CurveSettings,
    EmbedChoices,
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
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

__all__ = ["ENCODERS", "run"]

#: The encoders that every run compares: name → its folder in the run, or none for one that learned nothing.
ENCODERS: Mapping[str, str | None] = {"pretrained": "encoder", "initial": "initial", "thumbnail": None}

#: Settings of the other stages, too, that a resume may change.
FREE = PRETRAIN_FREE | {"resume", "out", "max_bad", "embed_batch"}


@verb(RunSettings)
def run(settings: RunSettings) -> RunDirectory:
    """Go from a folder of images and a table of labels to a report and a predictor.

    Scans, pre-trains, embeds with three encoders (pre-trained, initial, thumbnail), draws the
    learning curves, fits a predictor and writes the report. With ``resume`` each finished stage is
    kept and the first unfinished one is continued.

    Raises:
        SettingsError: an unknown classifier or modality, or a resume with other settings than before.
        WeightsError: the initial weights cannot be had.
        RunExistsError: OUT holds a run already and ``resume`` is not set.
    """
    _check_before_anything_is_written(settings)
    stages = _stages(settings)
    worked = False
    for place, (name, (noted, work)) in enumerate(stages.items(), start=1):
        if settings.resume and _is_done(name, noted, settings):
            say(f"[{place}/{len(stages) + 1}] {name}: done before, kept.")
            continue
        say(f"[{place}/{len(stages) + 1}] {name}")
        work()
        worked = True
    directory = RunDirectory.open(settings.out)
    _report(settings, directory, anew=worked)
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
    fitting = settings.part(FitSettings, embeddings=settings.out)
    return {
        "scan": (scanning, lambda: scan(scanning)),
        # its images and labels are those of the scan, whatever they were called there
        "pretrain": (settings.part(PretrainChoices), lambda: pretrain(learning)),
        "embed": (settings.part(EmbedChoices), lambda: _embed(settings)),
        "curve": (measuring, lambda: curve(measuring)),
        "fit": (fitting, lambda: fit(fitting)),
    }


def _check_before_anything_is_written(settings: RunSettings) -> None:
    """Look up every name and load the weights once: an hour's training must not end in a typing error.

    What takes no time to look up comes first.
    """
    from hundredfold.data.rows import existing

    if not settings.resume:
        existing(settings.images, "a folder of images, or a table that lists them")
        existing(settings.labels, "a CSV or Parquet table")
        if RunDirectory.is_run(settings.out):
            RunDirectory.open(settings.out).check_not_begun("scan")

    from hundredfold.backbones.backbone import create_backbone
    from hundredfold.learn.classifiers import CLASSIFIERS
    from hundredfold.learn.curve import check_choices
    from hundredfold.ssl.logbook import check_loggers
    from hundredfold.views.modalities import MODALITIES

    check_choices(settings)
    if settings.classifier != "auto":
        CLASSIFIERS[settings.classifier]
    MODALITIES[settings.modality]
    check_loggers(settings.logger)
    create_backbone(settings.backbone, weights=settings.weights, download=settings.download)


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
    from hundredfold.encode.encoder import open_encoder
    from hundredfold.workflows.embed import embed_run

    directory = RunDirectory.open(settings.out)
    with directory.stage("embed", settings=settings.part(EmbedChoices), resume=settings.resume):
        for name, folder in ENCODERS.items():
            encoder = open_encoder(str(directory / folder) if folder else name)
            embed_run(directory, name, encoder, batch=settings.embed_batch, resume=settings.resume)


def _report(settings: RunSettings, directory: RunDirectory, *, anew: bool) -> None:
    from hundredfold.workflows.report import report

    if anew or settings.prevalence or not (directory / "report.html").exists():
        say("[6/6] report")
        report(settings.part(ReportSettings, run=settings.out))
    else:
        say(f"Report: {directory / 'report.html'}")
    say(f"Label new images: hundredfold predict IMAGES --predictor {directory.path} --out predictions.csv")
