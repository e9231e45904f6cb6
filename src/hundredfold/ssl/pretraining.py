"""From a backbone and a pool of images to an encoder: plan, train, export."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from hundredfold.backbones.backbone import Backbone
from hundredfold.backbones.stages import stages_of
from hundredfold.config import FittedChoices, PretrainChoices
from hundredfold.encode.encoder import Encoder, Symmetry
from hundredfold.encode.protocol import digest
from hundredfold.errors import InputError
from hundredfold.process import steady_process
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.arrangement import arrange, backbone_kind
from hundredfold.ssl.checkpoints import Checkpoints
from hundredfold.ssl.collectives import from_first
from hundredfold.ssl.curriculum import Curriculum, low_size
from hundredfold.ssl.defaults import warnings_of, without_effect
from hundredfold.ssl.device import create_fabric, describe_hardware, device_type
from hundredfold.ssl.dino import DINO
from hundredfold.ssl.logbook import Logbook
from hundredfold.ssl.monitor import Alarms
from hundredfold.ssl.plan import Plan
from hundredfold.ssl.planning import Planned, essential, make_plan, noted_plan
from hundredfold.ssl.pool import Pool
from hundredfold.ssl.recompute import recompute_activations
from hundredfold.ssl.trainer import Trainer
from hundredfold.ssl.watch import Watch, sample_size
from hundredfold.views.modalities import MODALITIES
from hundredfold.views.multicrop import MultiCrop

__all__ = ["Pool", "encoder_size", "encoder_stages", "encoder_symmetry", "pretrain_encoder"]

#: Local crops are of whole multiples of so many px where their size is lowered.
LOCAL_STEP = 8
#: Last stages that an encoder with convolutions takes in; what was measured (docs/beyond.md).
STAGES = 3
#: Most that an encoder's images may be larger than the crops it was trained on.
ENLARGED = 1.4


@steady_process()
def pretrain_encoder(
    backbone: Backbone, pool: Pool, settings: PretrainChoices, run: RunDirectory, *, seed: int, resume: bool,
    seen: frozenset[str] = frozenset(),
) -> Encoder:
    """Train DINO from ``backbone`` on ``pool`` and return the teacher as an encoder.

    The plan (steps, batch, precision …) is written to ``run.json`` before the first step, and a
    resume follows it. Of several ranks the first one makes it, and all return the same encoder. It has seen
    the images of ``pool`` and those that the backbone learned from before, which ``seen`` names.

    Raises:
        InputError: fewer than two images, or images and checkpoints that do not belong together.
        SettingsError: a resume with other settings than the run was begun with, or a batch that the
            ranks cannot share.
        TrainingError: the loss is not finite.
    """
    if len(pool) < 2:
        raise InputError(
            f"expected at least 2 images to pre-train on, found {len(pool)}", where=run.path,
            remedy="Check splits.csv: audit images are left out, and without --transductive test images.",
        )
    build = partial(_trainer, pool=pool, run=run, seed=seed)
    noted = from_first(lambda: run.state.get("pretrain") if resume else None)
    planned = noted_plan(noted, settings, run) if noted else make_plan(backbone, pool, settings, build)
    plan, fitted = planned.plan, planned.fitted
    trainer = build(backbone, fitted.settings, plan)
    facts = _facts(planned, settings, trainer)
    hardware = describe_hardware()
    warned = warnings_of(
        fitted.settings, steps=plan.steps, batch_size=plan.batch_size, images=len(pool),
        random=backbone.source == "random",
    )

    def note_alarms(new: str | None = None) -> None:
        told = [*warned, *trainer.alarms.raised.values()]
        run.record(pretrain={**facts, "hardware": hardware, "alarms": told})
        if new:
            run.log(f"Warning: {new}.")

    note_alarms()
    explained = [*fitted.lines(), *_followed(planned, settings, backbone)]
    run.explain("pretrain", explained)
    for line in _told(planned, facts, explained, [*without_effect(settings), *warned]):
        say(line)
        run.log(line)
    trainer.note_alarms = note_alarms
    if trainer.fabric.is_global_zero:
        trainer.book = partial(Logbook, settings.logger, run / "logs", facts)
    export = partial(_encoder, trainer.dino, pool, settings, facts, seen=seen)
    trainer.save_encoder = lambda step, folder: export(step=step).save(folder)
    trainer.fit(resume=resume)
    _tell_best(trainer.checkpoints, plan.steps)
    return export(step=plan.steps)


def encoder_size(image_size: int, stored: int) -> int:
    """Side in px at which the encoder looks at whole images.

    Random crops show objects larger than the whole image does, so an encoder does better on images
    larger than its crops: 112 in place of 80 px gave 2.4 points more on blood cells.

    Source:
        Touvron et al. 2019, "Fixing the train-test resolution discrepancy", arXiv 1906.06423.

    Examples:
        >>> encoder_size(80, stored=112), encoder_size(224, stored=256), encoder_size(80, stored=256)
        (112, 256, 112)
    """
    return max(image_size, min(stored, round(image_size * ENLARGED)))


def encoder_symmetry(settings: PretrainChoices) -> Symmetry:
    """The turned and mirrored views that the encoder averages over: those asked for, or the modality's."""
    return MODALITIES[settings.modality].symmetry if settings.symmetry == "auto" else settings.symmetry


def encoder_stages(settings: PretrainChoices, backbone: Backbone) -> int:
    """The last stages whose mean maps stand beside the features: as asked for, else by the kind of network.

    Three of EfficientNet-Lite0 gained in three data sets, before and after DINO; no transformer was measured.
    """
    if settings.stages is not None:
        return settings.stages
    if backbone_kind(backbone.model) == "transformer":
        return 0
    return min(STAGES, stages_of(backbone.model))


def _facts(planned: Planned, settings: PretrainChoices, trainer: Trainer) -> dict[str, Any]:
    """What ``run.json`` and the encoder keep of the training."""
    plan, fitted, backbone = planned.plan, planned.fitted.settings, trainer.dino.teacher.backbone
    return {
        **asdict(plan),
        **planned.measured,
        "epochs": round(plan.steps / trainer.order.steps_per_epoch, 2),
        "images": len(trainer.pool),
        "backbone": backbone.name,
        "weights": backbone.source,
        "local_crops": fitted.local_crops,
        "prototypes": fitted.prototypes,
        "momentum": trainer.schedule.momentum,
        "minutes": settings.minutes,
        "transductive": settings.transductive,
        "settings": essential(settings),
        "defaults": planned.fitted.note(),
    }


def _followed(planned: Planned, settings: PretrainChoices, backbone: Backbone) -> list[str]:
    """What follows the machine, the modality and the kind of network, where it was left open, and why."""
    told = [str(planned.measured["arranged"])] if "arranged" in planned.measured else []
    if settings.symmetry == "auto":
        told.append(f"symmetry {encoder_symmetry(settings)}: what {settings.modality} images allow")
    if settings.stages is None:
        stages = encoder_stages(settings, backbone)
        kind = "with convolutions" if stages else "without convolutions, or whose stages are not known"
        told.append(f"stages {stages}: for a network {kind}")
    return told


def _told(
    planned: Planned, facts: Mapping[str, Any], explained: Sequence[str], warned: Sequence[str]
) -> list[str]:
    """What is about to be done, on what, why so, and what to beware of, line by line."""
    plan, modality, crops = planned.plan, planned.fitted.settings.modality, facts["local_crops"]
    usual = modality == PretrainChoices.model_fields["modality"].default
    hint = "; --modality names another kind" if usual else ""
    sides = _sides(plan.image_size, plan.local_size, crops)
    return [
        (
            f"Pre-training {facts['backbone']} on {facts['images']:,} images: {plan.steps:,} steps "
            f"of {plan.batch_size} ({facts['epochs']:g} epochs), {sides}{_low(plan, crops)}, "
            f"{plan.arrangement}."
        ),
        f"Views for {modality} images{hint}.",
        *(["By images, network and machine:"] if explained else []),
        *(f"  {line}" for line in explained),
        *(f"Warning: {sentence}." for sentence in warned),
    ]


def _sides(image: int, local: int, crops: int) -> str:
    return f"{image}/{local} px" if crops else f"{image} px"


def _low(plan: Plan, crops: int) -> str:
    if not plan.low_steps:
        return ""
    low = _sides(low_size(plan.image_size), low_size(plan.local_size, LOCAL_STEP), crops)
    return f" (the first {plan.low_steps:,} steps {low})"


def _trainer(
    backbone: Backbone, settings: FittedChoices, plan: Plan, *, pool: Pool, run: RunDirectory, seed: int
) -> Trainer:
    arrange(backbone, device_type(), plan.arrangement)
    torch.manual_seed(seed)  # the head is drawn here, whatever was tried before
    dino = DINO(backbone, settings)
    if settings.gradient_checkpointing:
        recompute_activations(dino.student.backbone)

    def views(size: int, local: int) -> MultiCrop:
        return MultiCrop(
            MODALITIES[settings.modality], image_size=size, local_size=local, seed=seed,
            local_crops=settings.local_crops, global_scale=settings.global_scale,
            local_scale=settings.local_scale,
        )

    return Trainer(
        dino=dino,
        pool=pool,
        views=Curriculum(
            views(low_size(plan.image_size), low_size(plan.local_size, LOCAL_STEP)),
            views(plan.image_size, plan.local_size), switch=plan.low_steps,
        ),
        settings=settings,
        plan=plan,
        fabric=create_fabric(plan.precision),
        checkpoints=Checkpoints(run / "checkpoints", _identity(pool, settings, plan, seed)),
        metrics=run / "metrics.jsonl",
        watch=_watch(pool, plan, settings),
        alarms=Alarms(restart=plan.low_steps),
        seed=seed,
    )


def _identity(
    pool: Pool, settings: PretrainChoices, plan: Plan, seed: int
) -> Callable[[], dict[str, object]]:
    """What makes a run what it is; the pixels as they are on the disk whenever it is called."""
    fixed = {
        "seed": seed,
        "plan": digest(json.dumps({**asdict(plan), "workers": None})),
        "settings": digest(json.dumps(essential(settings))),
        "images": pool.fingerprint(),
    }
    return lambda: {**fixed, "pixels": pool.pixels.fingerprint(pool.rows)}


def _watch(pool: Pool, plan: Plan, settings: FittedChoices) -> Watch:
    size = encoder_size(plan.image_size, pool.pixels.size)
    count = sample_size(
        plan.steps, plan.batch_size, image_size=plan.image_size, local_size=plan.local_size,
        local_crops=settings.local_crops, watched_size=size,
    )
    return Watch.of(pool, size=size, count=count)


def _encoder(
    dino: DINO, pool: Pool, settings: PretrainChoices, facts: Mapping[str, Any], *,
    seen: frozenset[str], step: int,
) -> Encoder:
    """The teacher after ``step`` steps as an encoder.

    BatchNorm keeps the statistics that the teacher averaged over the training. Taken anew from plain training
    images they did worse: .778 in place of .790 for the SVM at 100 labels per class, .769 in place of .797
    for logistic regression (blood cells after 405 steps, inner split, one seed), .718 in place of .759
    for the SVM on the untrained weights of an ultrasound set.
    """
    return Encoder(
        dino.teacher.backbone,
        size=encoder_size(facts["image_size"], pool.pixels.size),
        value_range=pool.pixels.value_range,
        fit=pool.pixels.fit,
        window=pool.pixels.window,
        stain=pool.pixels.stain,
        provenance={"method": "DINO", **facts, "step": step},
        seen=pool.seen() | seen,
        symmetry=encoder_symmetry(settings),
        stages=encoder_stages(settings, dino.teacher.backbone),
    )


def _tell_best(checkpoints: Checkpoints, steps: int) -> None:
    best = checkpoints.best()
    if best is not None and best[0] < steps:
        say(
            f"By kNN balanced accuracy on training labels step {best[0]:,} was the best ({best[1]:.3f}); "
            f"--encoder {checkpoints.path(best[0])} takes its features. All these labels chose it, so "
            "a curve on fewer of them flatters it."
        )
