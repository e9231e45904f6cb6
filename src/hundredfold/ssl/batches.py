"""Which images and which views make up a step: a function of the step, never of what came before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hundredfold.data.store import PixelStore
from hundredfold.views.multicrop import MultiCrop, image_key

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
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, epoch))))
        order = generator.permutation(self.images)
        return order[place * self.batch_size : (place + 1) * self.batch_size]


@dataclass(frozen=True)
class Batch:
    """The views of one step, uint8."""

    step: int
    rows: np.ndarray  # [b]
    large: Tensor  # [2, b, g, g, 3]
    small: Tensor  # [l, b, m, m, 3]


class ViewBatches(Dataset[Batch]):
    """The batches of a run by their step.

    Args:
        pixels: the stored images.
        ids: the ids of the pool that is learned from; a view depends on the id, not on the row.
        order: which of them a step sees.
        views: draws the crops.
        rank: of this process.
        world_size: number of processes that share a batch.
    """

    def __init__(
        self, pixels: PixelStore, ids: Sequence[str], order: BatchOrder, views: MultiCrop,
        *, rank: int = 0, world_size: int = 1,
    ) -> None:
        self.pixels, self.order, self.views = pixels, order, views
        self.stored = pixels.rows(ids)
        self.keys = [image_key(name) for name in ids]
        self.rank, self.world_size = rank, world_size

    def __getitem__(self, step: int) -> Batch:
        rows = self.order.rows(step)[self.rank :: self.world_size]
        epoch = self.order.epoch(step)
        images = self.pixels[self.stored[rows]]
        drawn = [
            self.views(image, self.keys[row], epoch) for image, row in zip(images, rows, strict=True)
        ]
        large = np.stack([views[0] for views in drawn], axis=1)
        small = np.stack([views[1] for views in drawn], axis=1)
        return Batch(step, rows, torch.from_numpy(large), torch.from_numpy(small))

    def steps(self, start: int, stop: int, *, workers: int) -> Iterator[Batch]:
        """Yield the batches of the steps ``start`` … ``stop - 1``."""
        return iter(
            DataLoader(
                self, batch_size=None, sampler=range(start, stop), num_workers=workers,
                multiprocessing_context="spawn" if workers else None,
            )
        )
