"""The loop: set the step's values, compare views, descend, average; log, watch, and never lose a run."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hundredfold.backbones.backbone import Backbone
from hundredfold.config import FittedChoices
from hundredfold.errors import TrainingError
from hundredfold.progress import bar
from hundredfold.ranks import ranks
from hundredfold.ssl.batches import Batch, BatchOrder, ViewBatches
from hundredfold.ssl.checkpoints import Checkpoints
from hundredfold.ssl.collectives import Vote, from_first
from hundredfold.ssl.curriculum import Curriculum
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.fabric import Fabric
from hundredfold.ssl.ledger import Ledger
from hundredfold.ssl.logbook import Logbook
from hundredfold.ssl.monitor import Alarms, Pulse, look
from hundredfold.ssl.optimiser import clip_gradients, create_optimiser, prepare_step
from hundredfold.ssl.plan import Plan
from hundredfold.ssl.pool import Pool
from hundredfold.ssl.recompute import kept_statistics
from hundredfold.ssl.schedules import Schedule, StepValues
from hundredfold.ssl.syncbatchnorm import synchronise_batchnorm
from hundredfold.ssl.watch import is_watched

__all__ = ["Trainer"]

#: Steps between two looks of the host at a GPU.
LOG_EVERY = 20
#: What the best checkpoint is the best by.
SCORE = "knn_balanced_accuracy"


@dataclass
class Trainer:
    """Trains a :class:`DINO` on a pool of images, alone or as one of several ranks.

    Ranks share each batch, and all of them make the same update. Rank 0 alone logs, watches and saves.

    Args:
        dino: student, teacher and centre.
        pool: the images that may be seen.
        views: draws the crops of each step.
        settings: of the run.
        plan: what was fixed for it.
        fabric: device, precision, ranks.
        checkpoints: where states are saved.
        metrics: the file for one JSON line a step.
        watch: called with the teacher's backbone before the first step and at an eighth, two eighths … of
            the run; what it returns is logged.
        book: opens, once the state is restored, the loggers that get each row of ``metrics`` too.
        save_encoder: writes the encoder of a step into a folder; the teacher stays as it is.
        note_alarms: called when alarms were raised: with the new one, or with ``None`` where a resume has
            found them in the rows before.
    """

    dino: DINO
    pool: Pool
    views: Curriculum
    settings: FittedChoices
    plan: Plan
    fabric: Fabric
    checkpoints: Checkpoints
    metrics: Path
    watch: Callable[[Backbone], dict[str, float]] | None = None
    book: Callable[[], Logbook] | None = None
    save_encoder: Callable[[int, Path], None] | None = None
    note_alarms: Callable[[str | None], None] | None = None
    alarms: Alarms = field(default_factory=Alarms)
    pulse: Pulse = field(default_factory=Pulse)
    seed: int = 0

    def __post_init__(self) -> None:
        self.order = BatchOrder(len(self.pool), self.plan.batch_size, self.seed)
        self.schedule = Schedule(self.settings, self.plan.steps, self.plan.batch_size)
        self.batches = ViewBatches(
            self.pool, self.order, self.views,
            rank=self.fabric.global_rank, world_size=self.fabric.world_size,
        )
        if self.fabric.world_size > 1:
            synchronise_batchnorm(self.dino, self.fabric.device.type)
        optimiser = create_optimiser(self.dino.student, self.settings.layer_decay)
        self.forward, self.optimiser = self.fabric.setup(self.dino, optimiser)

    def fit(self, *, resume: bool) -> None:
        """Run all steps that are left.

        Raises:
            TrainingError: the loss or a weight is not finite; the message names the last good state.
            RunExistsError: there are checkpoints, and ``resume`` is not set.
            ModelFileError: no checkpoint can be read.
            InputError: the checkpoints are of another run, or the pixels changed.
            OSError: the disk is full.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the step is finished and a checkpoint written first.
        """
        with self.checkpoints.told_when_full():
            if not resume:
                self.checkpoints.check_none()
            self._fit(self._restore() if resume else 0)

    def _fit(self, start: int) -> None:
        saved = time.monotonic()
        pinned = self.fabric.device.type == "cuda"
        with (
            self._ledger(start) as ledger,
            bar("Pre-training", self.plan.steps, "steps", start=start) as progress,
            _stop_signal() as stop,
            Vote() as vote,
        ):
            for row in ledger.kept:
                self.pulse.take(row)
                self.alarms.check(row)
            if self.alarms.raised and self.note_alarms:
                self.note_alarms(None)
            initial = self._measured() if start == 0 else {}  # the backbone as it was given
            ledger.start_clock()
            workers = self.plan.workers
            for batch in self.batches.steps(start, self.plan.steps, workers=workers, pinned=pinned):
                values = self.schedule.at(batch.step)
                outputs = self.step(batch, values)
                ledger.note(self._row(batch.step, values, outputs) | initial)
                initial = {}
                done = batch.step + 1
                if due := time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    saved = time.monotonic()
                # One rank's wish is the others' a step later: they read, save and stop together.
                stopped, due = vote(stop.is_set(), due and self.fabric.is_global_zero)
                save, score = due or stopped or done == self.plan.steps, None
                if save or self._is_read(batch.step, len(ledger)):
                    score = self._read(ledger, batch.step)
                progress.advance(1, **self.pulse.facts())
                if self.fabric.is_global_zero and (save or self.checkpoints.is_better(score)):
                    self._save(ledger, done, score)
                    saved = time.monotonic()
                    ledger.start_clock()
                if stopped and done < self.plan.steps:
                    raise KeyboardInterrupt

    def step(self, batch: Batch, values: StepValues) -> Outputs:
        """One update of student and teacher. Nothing in it waits for the device."""
        # Stochastic depth draws from torch's generator: it, too, must be a function of the step.
        torch.manual_seed(_mix(self.seed, batch.step, self.fabric.global_rank))
        prepare_step(self.optimiser, values)
        self.optimiser.zero_grad(set_to_none=True)
        with kept_statistics(self.dino.student.backbone) if values.backbone_frozen else nullcontext():
            outputs: Outputs = self.forward(
                self._move(batch.large), self._move(batch.small), values.teacher_temperature,
                # over several ranks DDP waits for the gradient of every weight; clip_gradients drops them
                values.backbone_frozen and self.fabric.world_size == 1,
            )
        with kept_statistics(self.dino.student):
            self.fabric.backward(outputs.loss)
        clip_gradients(self.dino, values, self.settings.clip)
        self.optimiser.step()
        self.dino.update_teacher(values.momentum)
        return outputs

    def _row(self, step: int, values: StepValues, outputs: Outputs) -> dict[str, float | Tensor]:
        row: dict[str, float | Tensor] = {
            "step": step,
            "epoch": self.order.epoch(step),
            "loss": outputs.loss.detach(),
            "learning_rate": values.learning_rate,
            "weight_decay": values.weight_decay,
            "momentum": values.momentum,
            "teacher_temperature": values.teacher_temperature,
        }
        return row | look(outputs, self.settings.student_temperature) if self._is_monitored(step) else row

    def _is_monitored(self, step: int) -> bool:
        return step % self.settings.monitor_every == 0 or step == self.plan.steps - 1

    def _is_read(self, step: int, waiting: int) -> bool:
        """Whether the host looks at the device now: always on a CPU, where it costs nothing."""
        every = self.settings.log_every or (1 if self.fabric.device.type == "cpu" else LOG_EVERY)
        return waiting >= every or self._is_monitored(step) or is_watched(step, self.plan.steps)

    def _read(self, ledger: Ledger, step: int) -> float | None:
        """Write what is waiting; gives the teacher's score if it was measured after this step."""
        watched = step > 0 and is_watched(step, self.plan.steps)
        known = len(self.alarms.raised)
        rows = ledger.settle(self._measured if watched else None, self._judged)
        for alarm in list(self.alarms.raised.values())[known:] if self.fabric.is_global_zero else ():
            if self.note_alarms:
                self.note_alarms(alarm)
            warnings.warn(alarm, stacklevel=2)
        return rows[-1].get(SCORE) if watched else None

    def _judged(self, row: Mapping[str, float]) -> dict[str, float]:
        """How many alarms were raised up to a row; for those who watch the numbers from afar."""
        self.pulse.take(row)
        self.alarms.check(row)
        return {"alarms": len(self.alarms.raised)}

    def _measured(self) -> dict[str, float]:
        if self.watch is None or not self.fabric.is_global_zero:
            return {}
        return self.watch(self.dino.teacher.backbone)

    def _ledger(self, start: int) -> Ledger:
        return Ledger(
            self.metrics, start=start, batch_size=self.plan.batch_size,
            images=lambda step: list(self.pool.take(self.order.rows(step), "id")["id"]),
            reduce=lambda numbers: self.fabric.all_reduce(numbers, reduce_op="mean"),  # type: ignore[arg-type,return-value]
            book=self.book() if self.book else None, write=self.fabric.is_global_zero,
            note_fault=self.checkpoints.note_fault,
        )

    def _move(self, views: Tensor) -> Tensor:
        return views.to(self.fabric.device, non_blocking=True)

    def _save(self, ledger: Ledger, done: int, score: float | None) -> None:
        state = {"dino": self.dino.state_dict(), "optimiser": self.optimiser.state_dict()}
        if not _all_finite(state["dino"].values()):
            raise ledger.fault("a weight is not finite", done - 1)
        ledger.sync()
        encoder = partial(self.save_encoder, done) if self.save_encoder else None
        self.checkpoints.save(done, state, score=score, encoder=encoder)

    def _restore(self) -> int:
        found = self.checkpoints.load() if self.fabric.is_global_zero else None
        first = from_first(lambda: found[0] if found else 0)
        if not self.fabric.is_global_zero:  # after the first rank, which removes what is damaged
            found = self.checkpoints.load()
        done, state = found or (0, {})
        if done != first:
            raise TrainingError(
                f"this process found the checkpoint of step {done}, the first one that of step {first}",
                where=self.checkpoints.folder, remedy="All machines must see the same run directory.",
            )
        if found is None:
            return 0
        self.dino.load_state_dict(state["dino"])
        self.optimiser.load_state_dict(state["optimiser"])
        return done


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second one ends the program at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(_number: int, _frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    asked = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {number: signal.signal(number, ask) for number in asked}
    try:
        yield event
    except BaseException:
        if ranks() > 1:
            # It is ending already, and torchrun asks each rank to once another has ended: this one must come
            # to close its run and to say why. torchrun kills what takes longer than its --shutdown-timeout.
            before[signal.SIGTERM] = signal.SIG_IGN
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number is NaN or infinite; the device is waited for once."""
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
