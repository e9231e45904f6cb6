"""The loop: set the step's values, compare views, descend, average; log, watch, and never lose a run."""

from __future__ import annotations

import json
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from hundredfold.backbones.backbone import Backbone
from hundredfold.config import FittedChoices
from hundredfold.errors import TrainingError
from hundredfold.progress import Progress, bar
from hundredfold.rundir import write_text
from hundredfold.ssl.arrangement import Arrangement, MemoryFormat, Precision
from hundredfold.ssl.batches import Batch, BatchOrder, ViewBatches
from hundredfold.ssl.checkpoints import load_newest, save_checkpoint
from hundredfold.ssl.curriculum import Curriculum
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.monitor import Alarms, Vitals, look
from hundredfold.ssl.optimiser import clip_gradients, create_optimiser, prepare_step
from hundredfold.ssl.pool import Pool
from hundredfold.ssl.recompute import forward_statistics_only
from hundredfold.ssl.schedules import Schedule, StepValues

__all__ = ["Plan", "Trainer"]


@dataclass(frozen=True)
class Plan:
    """What is fixed before the first step, written to the run, and used again by a resume."""

    steps: int
    batch_size: int
    image_size: int
    local_size: int
    precision: Precision
    workers: int
    memory_format: MemoryFormat = "channels_last"
    fused_from: int = 0
    low_steps: int = 0  # at low resolution, before all others

    @property
    def arrangement(self) -> Arrangement:
        """How a step is computed."""
        return Arrangement(self.precision, self.memory_format, self.fused_from)


@dataclass
class Trainer:
    """Trains a :class:`DINO` on a pool of images.

    Args:
        dino: student, teacher and centre.
        pool: the images that may be seen.
        views: draws the crops of each step.
        settings: of the run.
        plan: what was fixed for it.
        fabric: device, precision, ranks.
        checkpoints: the folder for them.
        metrics: the file for one JSON line a step.
        watch: called with the teacher's backbone at an eighth, two eighths … of the run; what it returns
            is logged.
    """

    dino: DINO
    pool: Pool
    views: Curriculum
    settings: FittedChoices
    plan: Plan
    fabric: Fabric
    checkpoints: Path
    metrics: Path
    watch: Callable[[Backbone], dict[str, float]] | None = None
    alarms: Alarms = field(default_factory=Alarms)
    seed: int = 0

    def __post_init__(self) -> None:
        self.order = BatchOrder(len(self.pool), self.plan.batch_size, self.seed)
        self.schedule = Schedule(self.settings, self.plan.steps, self.plan.batch_size)
        self.batches = ViewBatches(
            self.pool, self.order, self.views,
            rank=self.fabric.global_rank, world_size=self.fabric.world_size,
        )
        optimiser = create_optimiser(self.dino.student, self.settings.layer_decay)
        self.forward, self.optimiser = self.fabric.setup(self.dino, optimiser)

    def fit(self, *, resume: bool) -> None:
        """Run all steps that are left.

        Raises:
            TrainingError: the loss is not finite; the last checkpoint holds the last good state.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the step is finished and a checkpoint written first.
        """
        start = self._restore() if resume else 0
        for row in self._keep_metrics(start):
            if (vitals := Vitals.of(row)) is not None:
                self.alarms.check(row["step"], vitals)
        saved = time.monotonic()
        with bar("Pre-training", self.plan.steps, "steps", start=start) as progress, _stop_signal() as stop:
            pinned = self.fabric.device.type == "cuda"
            workers = self.plan.workers
            for batch in self.batches.steps(start, self.plan.steps, workers=workers, pinned=pinned):
                began = time.monotonic()
                values = self.schedule.at(batch.step)
                outputs = self.step(batch, values)
                self._log(batch, values, outputs, time.monotonic() - began, progress)
                done = batch.step + 1
                due = time.monotonic() - saved > 60 * self.settings.checkpoint_minutes
                if due or stop.is_set() or done == self.plan.steps:
                    self._save(done)
                    saved = time.monotonic()
                if stop.is_set() and done < self.plan.steps:
                    raise KeyboardInterrupt

    def step(self, batch: Batch, values: StepValues) -> Outputs:
        """One update of student and teacher.

        Raises:
            TrainingError: the loss is not finite.
        """
        # Stochastic depth draws from torch's generator: it, too, must be a function of the step.
        torch.manual_seed(_mix(self.seed, batch.step, self.fabric.global_rank))
        prepare_step(self.optimiser, values)
        self.optimiser.zero_grad(set_to_none=True)
        outputs: Outputs = self.forward(
            self._move(batch.large), self._move(batch.small), values.teacher_temperature,
            # over several ranks DDP waits for the gradient of every weight; clip_gradients drops them
            values.backbone_frozen and self.fabric.world_size == 1,
        )
        if not torch.isfinite(outputs.loss):
            names = self.pool.take(batch.rows, "id")["id"]
            raise TrainingError(
                f"the loss is {outputs.loss.item()} at step {batch.step}", where=", ".join(names[:8]) + " …",
                remedy="The last checkpoint is good. Look at these images, or lower --learning-rate.",
            )
        with forward_statistics_only(self.dino.student):
            self.fabric.backward(outputs.loss)
        clip_gradients(self.dino, values, self.settings.clip)
        self.optimiser.step()
        self.dino.update_teacher(values.momentum)
        return outputs

    def _log(
        self, batch: Batch, values: StepValues, outputs: Outputs, seconds: float, progress: Progress
    ) -> None:
        step, steps = batch.step, self.plan.steps
        last = step == steps - 1
        row: dict[str, Any] = {
            "step": step,
            "epoch": self.order.epoch(step),
            "loss": outputs.loss.item(),
            "learning_rate": values.learning_rate,
            "weight_decay": values.weight_decay,
            "momentum": values.momentum,
            "teacher_temperature": values.teacher_temperature,
            "images_per_second": self.plan.batch_size / seconds,
            "seconds": seconds,
        }
        facts: dict[str, float | str] = {
            "loss": row["loss"], "images/s": f"{row['images_per_second']:.0f}",
        }
        if step % self.settings.monitor_every == 0 or last:
            vitals = look(outputs, self.settings.student_temperature)
            row |= vitals.row()
            self._teacher_entropy = f"{vitals.teacher_entropy:.2f} of {vitals.max_entropy:.2f}"
            if alarm := self.alarms.check(step, vitals):
                warnings.warn(alarm, stacklevel=2)
        if self.watch is not None and ((step + 1) * 8 % steps < 8 or last):
            row |= self.watch(self.dino.teacher.backbone)
            self.dino.train()
        facts["teacher entropy"] = self._teacher_entropy
        progress.advance(1, **facts)
        if self.fabric.is_global_zero:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")

    _teacher_entropy: str = ""

    def _move(self, views: Tensor) -> Tensor:
        return views.to(self.fabric.device, non_blocking=True)

    def _save(self, done: int) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(
                self.checkpoints, done,
                {"dino": self.dino.state_dict(), "optimiser": self.optimiser.state_dict()},
            )
        self.fabric.barrier()

    def _restore(self) -> int:
        found = load_newest(self.checkpoints)
        if found is None:
            return 0
        done, state = found
        self.dino.load_state_dict(state["dino"])
        self.optimiser.load_state_dict(state["optimiser"])
        return done

    def _keep_metrics(self, start: int) -> list[dict[str, Any]]:
        """Drop the lines of steps that are run again, and give the others."""
        if not self.metrics.exists():
            return []
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a line cut short by a kill
                continue
            if row["step"] < start:
                kept.append(row)
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        return kept


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

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
