"""How long a step takes, tried on copies: for ``--minutes``, and to choose an arrangement."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import cv2

from hundredfold.progress import say
from hundredfold.ssl.arrangement import Arrangement
from hundredfold.ssl.collectives import from_first
from hundredfold.ssl.optimiser import create_optimiser
from hundredfold.ssl.trainer import Trainer

__all__ = ["autotune", "seconds_a_step", "steps_in"]

#: Steps that are timed, after one that is not; fewer where a few seconds have gone by.
TIMED_STEPS = 4
TIMED_SECONDS = 4.0
#: Share of ``--minutes`` kept back for checkpoints, the monitor and the export.
RESERVE = 0.05


def seconds_a_step(trainer: Trainer, first: int = 0) -> float:
    """The median of a few real steps from ``first`` on, with copies of everything that a step changes.

    The drawing of views counts; where workers do it meanwhile, as the pace at which they can. All weights
    learn, as in most of a run. Of several ranks the first one's clock counts.
    """
    trial = copy.copy(trainer)
    trial.dino = copy.deepcopy(trainer.dino)
    optimiser = create_optimiser(trial.dino.student, trainer.settings.layer_decay)
    trial.forward, trial.optimiser = trainer.fabric.setup(trial.dino, optimiser)
    times: list[float] = []
    last = min(first + TIMED_STEPS + 1, trainer.plan.steps)
    values = replace(trainer.schedule.at(trainer.plan.steps // 2), backbone_frozen=False)
    workers = trainer.plan.workers
    with _as_a_worker() if workers else nullcontext():
        began = time.monotonic()
        for batch in trainer.batches.steps(min(first, last - 1), last, workers=0):
            drawn = time.monotonic()
            trial.step(batch, values).loss.item()  # waits for the device
            done = time.monotonic()
            times.append(max(done - drawn, (drawn - began) / workers) if workers else done - began)
            if from_first(lambda: len(times) > 2 and sum(times) > TIMED_SECONDS):
                break
            began = time.monotonic()
    timed = sorted(times[1:] or times)
    return from_first(lambda: timed[len(timed) // 2])


@contextmanager
def _as_a_worker() -> Iterator[None]:
    """Draw views on one core, as a worker does."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def steps_in(minutes: float, seconds: Callable[[bool], float], low: float) -> int:
    """How many steps fit into ``minutes``.

    Args:
        minutes: of wall clock, of which a twentieth is kept back for everything else.
        seconds: of a step; True asks for one at low resolution.
        low: share of the steps that are at low resolution.

    Examples:
        >>> steps_in(1, lambda low: 0.5 if low else 1.0, low=0.5)
        76
    """
    mean = (low * seconds(True) if low else 0) + (1 - low) * seconds(False)
    return max(1, int(minutes * 60 * (1 - RESERVE) / mean))


def autotune(
    tried: Sequence[Arrangement], seconds: Callable[[Arrangement], float]
) -> tuple[Arrangement, dict[str, float]]:
    """The fastest of several arrangements, and the seconds a step that each took; a tie goes to the first.

    Args:
        tried: the candidates.
        seconds: times a step of one.

    Examples:
        >>> plain, low = Arrangement("float32"), Arrangement("bfloat16")
        >>> autotune([plain, low], lambda one: 1.0 if one is low else 2.0)[0] is low
        True
    """
    times: dict[str, float] = {}
    for one in tried:
        times[str(one)] = round(seconds(one), 4)
        say(f"  {one}: {times[str(one)]:.2f} s a step")
    return min(tried, key=lambda one: times[str(one)]), times
