"""Settle a run before its first step, by the data, the machine and the clock; or as it was begun."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from hundredfold.backbones.backbone import Backbone
from hundredfold.config import FittedChoices, PretrainChoices, check_unchanged
from hundredfold.config.pretrain import FREE
from hundredfold.errors import SettingsError
from hundredfold.process import cores
from hundredfold.progress import say
from hundredfold.ranks import local_ranks, ranks
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.arrangement import candidates, choose_arrangement, why_arranged
from hundredfold.ssl.batches import BatchOrder
from hundredfold.ssl.collectives import from_first
from hundredfold.ssl.defaults import Circumstances, Fitted, fit_settings, fit_to_steps
from hundredfold.ssl.device import device_type
from hundredfold.ssl.footprint import bytes_an_image, shared_memory
from hundredfold.ssl.plan import Plan
from hundredfold.ssl.pool import Pool
from hundredfold.ssl.timing import autotune, seconds_a_step, steps_in
from hundredfold.ssl.trainer import Trainer

__all__ = ["Planned", "essential", "make_plan", "noted_plan"]

#: Each draws views of two batches ahead, so sixty-three of them would hold over ten gigabytes.
MOST_WORKERS = 16


@dataclass(frozen=True)
class Planned:
    """A run as it is about to begin.

    Args:
        plan: what is fixed.
        fitted: the settings, with the defaults that depend on the data.
        measured: what was timed to decide, and why it is computed as it is, for ``run.json``.
    """

    plan: Plan
    fitted: Fitted
    measured: Mapping[str, object] = field(default_factory=dict)


def make_plan(
    backbone: Backbone, pool: Pool, settings: PretrainChoices,
    trial: Callable[[Backbone, FittedChoices, Plan], Trainer],
) -> Planned:
    """Fit the defaults, and time what has to be timed: the arrangement if asked for, the steps of minutes.

    Args:
        backbone: to be trained; it is not changed.
        pool: the images.
        settings: as given.
        trial: makes a trainer of a copy of the backbone, to be timed.

    Raises:
        SettingsError: a batch that the ranks cannot share.
    """
    # What the first rank finds by its memory and its kind of processor holds for all.
    fitted = Fitted.of_note(settings, from_first(lambda: _fit(backbone, pool, settings).note()))
    plan = Plan(**from_first(lambda: asdict(_drafted(backbone, pool, fitted.settings))))
    _check_shares(plan)
    plan, measured = _timed(plan, fitted.settings, partial(_on_a_copy, trial, backbone, fitted.settings))
    why = "the fastest that was timed" if settings.autotune else from_first(
        lambda: why_arranged(backbone, device_type(), settings.precision)
    )
    measured["arranged"] = f"precision {plan.arrangement}: {why}"
    return Planned(plan, fit_to_steps(fitted, plan.steps), measured)


def noted_plan(noted: Mapping[str, Any], settings: PretrainChoices, run: RunDirectory) -> Planned:
    """The plan that a run was begun with.

    Raises:
        SettingsError: the run was begun with other settings, or with a batch that the ranks cannot share.
    """
    if isinstance(before := noted["settings"], dict):
        check_unchanged("this run was begun", before, essential(settings), where=run.path)
    plan = Plan(**{name: noted[name] for name in Plan.__dataclass_fields__})
    plan = replace(plan, workers=_workers(settings))
    _check_shares(plan)
    measured = {name: noted[name] for name in ("autotuned", "arranged") if name in noted}
    return Planned(plan, Fitted.of_note(settings, noted["defaults"]), measured)


def essential(settings: PretrainChoices) -> dict[str, object]:
    """The settings that a resume may not change."""
    return settings.model_dump(mode="json", include=PretrainChoices.model_fields.keys() - FREE)


def _fit(backbone: Backbone, pool: Pool, settings: PretrainChoices) -> Fitted:
    """The settings with their defaults; the footprint is counted only where the batch was left open."""
    device = device_type()
    found = Circumstances(
        images=len(pool), stored_size=pool.pixels.size, device=device, memory=shared_memory(device),
        footprint=partial(bytes_an_image, backbone),
    )
    return fit_settings(settings, found)


def _drafted(backbone: Backbone, pool: Pool, settings: FittedChoices) -> Plan:
    batch_size = min(settings.batch_size, len(pool))
    steps = max(1, round((settings.epochs or 1) * BatchOrder(len(pool), batch_size, 0).steps_per_epoch))
    arrangement = choose_arrangement(backbone, device_type(), settings.precision)
    return Plan(
        steps=steps,
        batch_size=batch_size,
        image_size=settings.image_size,
        local_size=settings.local_size,
        workers=_workers(settings),
        low_steps=round(settings.curriculum * steps),
        **asdict(arrangement),
    )


def _on_a_copy(
    trial: Callable[[Backbone, FittedChoices, Plan], Trainer], backbone: Backbone, settings: FittedChoices,
    plan: Plan,
) -> Trainer:
    return trial(copy.deepcopy(backbone), settings, plan)


def _timed(
    plan: Plan, settings: FittedChoices, trial: Callable[[Plan], Trainer]
) -> tuple[Plan, dict[str, object]]:
    noted: dict[str, object] = {}
    if settings.autotune:
        say("Timing the ways to compute a step …")
        backbone = trial(plan).dino.student.backbone
        best, times = autotune(
            candidates(backbone, device_type(), settings.precision),
            lambda one: seconds_a_step(trial(replace(plan, **asdict(one)))),
        )
        plan, noted["autotuned"] = replace(plan, **asdict(best)), times
    if settings.minutes is not None:
        say("Timing a few steps …")
        timed = trial(replace(plan, steps=100, low_steps=50))
        steps = steps_in(
            settings.minutes, lambda low: seconds_a_step(timed, 0 if low else 50), low=settings.curriculum
        )
        plan = replace(plan, steps=steps, low_steps=round(settings.curriculum * steps))
    return plan, noted


def _workers(settings: PretrainChoices) -> int:
    """Processes that draw views; they change nothing but the pace, so a resume decides anew."""
    if settings.workers is not None:
        return settings.workers
    return 0 if device_type() == "cpu" else min(max(1, _cores() - 1), MOST_WORKERS)


def _cores() -> int:
    """Cores for this process: torchrun sets the threads of each to 1, so they are counted there."""
    if ranks() == 1:
        return torch.get_num_threads()
    return cores() // local_ranks()


def _check_shares(plan: Plan) -> None:
    if plan.batch_size % ranks():
        raise SettingsError(
            f"expected a batch that {ranks()} processes can share evenly, found {plan.batch_size} images",
            where="batch_size",
            remedy=f"Give --batch-size {max(1, plan.batch_size // ranks()) * ranks()}, or start another "
            "number of processes; a resume keeps the batch of its run.",
        )
