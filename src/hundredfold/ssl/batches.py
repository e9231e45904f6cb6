"""Which images and which views make up a step: a function of the step, never of what came before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hundredfold.errors import HundredfoldError
from hundredfold.ssl.curriculum import Curriculum
from hundredfold.ssl.pool import Pool

__all__ = ["Batch", "BatchOrder", "ViewBatches"]


@dataclass(frozen=True)
class BatchOrder:
    """The order in which images are seen: permutation(seed, epoch), cut into batches.

    The remainder of an epoch that fills no batch is left out; another epoch leaves out others.

    Args:
        images: how many there are.
        batch_size: images a step, over all ranks; at most ``images``.
        seed: of the run.

    Examples:
        >>> order = BatchOrder(images=10, batch_size=4, seed=0)
        >>> order.steps_per_epoch, order.epoch(5), len(order.rows(5))
        (2, 2, 4)
    """

    images: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the images."""
        return self.images // self.batch_size

    def epoch(self, step: int) -> int:
        """The epoch that ``step`` belongs to."""
        return step // self.steps_per_epoch

    def rows(self, step: int) -> np.ndarray:
        """The positions of the images of ``step``, int64 [batch_size]."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _permutation(self.images, self.seed, epoch)
        return order[place * self.batch_size : (place + 1) * self.batch_size]


@dataclass(frozen=True)
class Batch:
    """The views of one step, uint8."""

    step: int
    rows: np.ndarray  # [b]
    large: Tensor  # [2, b, g, g, 3]
    small: Tensor  # [l, b, m, m, 3]

    def pin_memory(self) -> Self:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return replace(self, large=self.large.pin_memory(), small=self.small.pin_memory())


class ViewBatches(Dataset["Batch | HundredfoldError"]):
    """The batches of a run by their step.

    Args:
        pool: the images that are learned from; a view depends on the image's id, not on its row.
        order: which of them a step sees.
        views: draws the crops of each step.
        rank: of this process.
        world_size: number of processes that share a batch.
    """

    def __init__(
        self, pool: Pool, order: BatchOrder, views: Curriculum, *, rank: int = 0, world_size: int = 1
    ) -> None:
        # Of the pool only these: a worker process gets a copy of what is here.
        self.pixels, self.stored, self.keys = pool.pixels, pool.rows, pool.keys
        self.order, self.views = order, views
        self.rank, self.world_size = rank, world_size

    def __getitem__(self, step: int) -> Batch | HundredfoldError:
        """The batch of a step; a fault is given, not raised, as torch makes a traceback of a worker's."""
        try:
            return self._drawn(step)
        except HundredfoldError as error:
            return error

    def _drawn(self, step: int) -> Batch:
        rows = self.order.rows(step)[self.rank :: self.world_size]
        epoch = self.order.epoch(step)
        images = self.pixels[self.stored[rows]]
        draw = self.views.at(step)
        drawn = [draw(image, int(self.keys[row]), epoch) for image, row in zip(images, rows, strict=True)]
        large = np.stack([views[0] for views in drawn], axis=1)
        small = np.stack([views[1] for views in drawn], axis=1)
        return Batch(step, rows, torch.from_numpy(large), torch.from_numpy(small))

    def steps(self, start: int, stop: int, *, workers: int, pinned: bool = False) -> Iterator[Batch]:
        """Yield the batches of the steps ``start`` … ``stop - 1``.

        Args:
            start: the first step.
            stop: the one behind the last.
            workers: processes that draw views ahead of the step, two batches each; 0: this process does.
            pinned: bring the batches to page-locked memory, for a GPU.

        Raises:
            InputError: the file of the pixels was cut short or deleted.
        """
        loader: DataLoader[Batch | HundredfoldError] = DataLoader(
            self, batch_size=None, sampler=range(start, stop), num_workers=workers, pin_memory=pinned,
            multiprocessing_context="spawn" if workers else None, worker_init_fn=_begin_worker,
        )
        for batch in loader:
            if isinstance(batch, HundredfoldError):
                raise batch
            yield batch


def _begin_worker(_worker: int) -> None:
    """A worker keeps to one core; torch does so by itself."""
    cv2.setNumThreads(1)
    # Ctrl-C, torchrun and Slurm signal a whole process group. A worker that died of it would end the run
    # before its checkpoint; in a session of its own it lives until its parent ends it, or is gone.
    if hasattr(os, "setsid"):
        os.setsid()


@lru_cache(maxsize=1)
def _permutation(images: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch; drawn once, as its steps follow each other."""
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch)))).permutation(images)
    order.setflags(write=False)
    return order
