"""``pretrain``: learn an encoder from the user's own unlabelled images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hundredfold.config import PretrainChoices, PretrainSettings, ScanSettings, check_unchanged, verb
from hundredfold.config.pretrain import FREE
from hundredfold.config.scan import PixelChoices
from hundredfold.errors import InputError, SettingsError
from hundredfold.progress import say
from hundredfold.ranks import is_first
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.backbones.backbone import Backbone
    from hundredfold.data.store import PixelStore

__all__ = ["pretrain", "start_backbone"]


@verb(PretrainSettings)
def pretrain(settings: PretrainSettings) -> RunDirectory:
    """Pre-train a backbone with DINO on unlabelled images; test and audit images are left out.

    IMAGES is scanned into OUT first, unless OUT (or IMAGES) is a run that was scanned already. Writes
    ``encoder/`` (the teacher), ``initial/`` (the backbone before) and ``adapted/`` (the same with BatchNorm's
    statistics of these images beside its own), ``metrics.jsonl`` and ``checkpoints/``.
    Under ``torchrun`` the processes share each batch, and the first one does all else (docs/devices.md).

    Raises:
        RunExistsError: OUT holds a pre-training already and ``resume`` is not set.
        WeightsError: the initial weights cannot be had.
        TrainingError: the loss is not finite.
    """
    from hundredfold.ssl.collectives import from_first, joined

    begun = settings.resume and RunDirectory.is_run(settings.out)
    if begun and (before := RunDirectory.open(settings.out)).done("pretrain"):
        _check_done(settings, before)
        return _scanned(settings)
    with joined():
        backbone = start_backbone(settings) if is_first() else None
        run = RunDirectory.open(Path(from_first(lambda: str(_scanned(settings).path))))
        with run.stage("pretrain", settings=settings, resume=settings.resume):
            _pretrain(backbone or start_backbone(settings), settings, run)
    return run


def _check_done(settings: PretrainSettings, run: RunDirectory) -> None:
    """Make sure that what a finished run is asked for is what it did."""
    from hundredfold.workflows.labelled import noted_settings

    noted = noted_settings(run).get("pretrain", {})
    lasting = {"seed", *PretrainChoices.model_fields} - FREE
    asked = settings.model_dump(mode="json", include=lasting & noted.keys())
    check_unchanged("this run was pre-trained", noted, asked, where=run.path)


def start_backbone(settings: PretrainSettings) -> Backbone:
    """The backbone to start from; built first, as a wrong setting must not be found after an hour's scan."""
    import torch

    from hundredfold.backbones.backbone import create_backbone
    from hundredfold.backbones.stages import dimension_with_stages
    from hundredfold.ssl.logbook import check_loggers
    from hundredfold.ssl.recompute import recompute_activations
    from hundredfold.views.modalities import MODALITIES

    MODALITIES[settings.modality].check_stain(settings.stain)
    check_loggers(settings.logger)
    torch.manual_seed(settings.seed)
    backbone = create_backbone(
        settings.backbone, weights=settings.weights, download=settings.download, drop_path=settings.drop_path
    )
    if settings.stages:
        dimension_with_stages(backbone.model, settings.stages)
    if settings.gradient_checkpointing:
        recompute_activations(copy.deepcopy(backbone))  # the copy alone, to see whether it can
    return backbone


def _scanned(settings: PretrainSettings) -> RunDirectory:
    from hundredfold.workflows.scan import scan

    if RunDirectory.is_run(settings.images):
        if settings.images.resolve() != settings.out.resolve():
            raise InputError(
                f"IMAGES is a run, and OUT is another folder ({settings.out})", where=settings.images,
                remedy=f"Write into the run itself: --out {settings.images}.",
            )
        run = RunDirectory.open(settings.images)
    else:
        run = scan(settings.part(ScanSettings))  # which keeps a finished one as it is
    _check_as_scanned(settings, run)
    return run


def _check_as_scanned(settings: PretrainSettings, run: RunDirectory) -> None:
    """Make sure that nothing is asked for which only a scan could do, and it did otherwise.

    Raises:
        SettingsError: labels that hold out no image, as they were not read, or other pixels.
    """
    from hundredfold.workflows.labelled import noted_settings

    noted = noted_settings(run).get("scan", {})
    noted = {**noted, "pixel_size": (run.state.get("scan") or noted).get("pixel_size")}
    # Of the stain the pixels themselves tell.
    names = ({"labels", *PixelChoices.model_fields} - {"stain"}) & noted.keys()
    asked = settings.model_dump(mode="json", include=names, exclude_defaults=True)
    for name, value in asked.items():
        if not _same(value, noted[name]):
            raise SettingsError(
                f"{name} {value} was asked for, and the images were scanned with {noted[name] or 'none'}",
                where=run.path, remedy="Leave it out, or scan them so into another OUT.",
            )


def _same(asked: object, noted: object) -> bool:
    """Whether two values, or two ways to name a file, are the same."""
    both = [Path(value).resolve() if isinstance(value, str) else value for value in (asked, noted)]
    return both[0] == both[1]


def _pretrain(backbone: Backbone, settings: PretrainSettings, run: RunDirectory) -> None:
    from hundredfold.data.store import PixelStore
    from hundredfold.data.table import TableFile
    from hundredfold.encode.encoder import Encoder
    from hundredfold.encode.opening import encoder_folders, load_encoder, seen_before
    from hundredfold.ssl.adapt import adapted_encoder
    from hundredfold.ssl.device import default_image_size, device_type
    from hundredfold.ssl.pool import Pool
    from hundredfold.ssl.pretraining import (
        encoder_size,
        encoder_stages,
        encoder_symmetry,
        pretrain_encoder,
    )

    table = TableFile(run.require("images.parquet", made_by="scan"), settings.transductive)
    pixels = PixelStore.open(run.pixels)
    _check_stain(settings, pixels)
    pool = Pool(table, pixels)
    noted = run.state.get("pretrain", {}) if settings.resume else {}  # another device may have begun it
    size = noted.get("image_size") or settings.image_size or default_image_size(pixels.size, device_type())
    initial = Encoder(
        backbone, size=encoder_size(size, pixels.size), value_range=pixels.value_range, fit=pixels.fit,
        window=pixels.window, stain=pixels.stain,
        provenance={"method": "none", "weights": backbone.source}, seen=seen_before(settings.weights),
        symmetry=encoder_symmetry(settings),
    )
    seen = initial.seen
    if encoder_folders(run) and (run / "initial").is_dir():  # the start weights' file may hold others by now
        seen = seen_before(str(run / "initial"))
    elif is_first():
        initial.save(run / "initial")
    encoder = pretrain_encoder(
        backbone, pool, settings, run, seed=settings.seed, resume=settings.resume, seen=seen
    )
    if is_first():
        encoder.save(run / "encoder")
        start = cast("Encoder", load_encoder(run / "initial"))  # the backbone above is trained by now
        stages = encoder_stages(settings, start.backbone)
        if (adapted := adapted_encoder(start, pool, seed=settings.seed, stages=stages)) is not None:
            adapted.save(run / "adapted")
    say(f"Encoder: {run / 'encoder'}")


def _check_stain(settings: PretrainSettings, pixels: PixelStore) -> None:
    """Make sure that the colours of a run scanned before are normalised as is asked, and may be.

    Raises:
        SettingsError: they are not.
    """
    from hundredfold.views.modalities import MODALITIES

    method = "none" if pixels.stain is None else pixels.stain.method
    MODALITIES[settings.modality].check_stain(method)
    if settings.stain not in ("none", method):
        raise SettingsError(
            f"--stain {settings.stain} was asked for, and the images were scanned with --stain {method}",
            where=settings.images, remedy="Scan them again into another OUT, with that setting.",
        )
