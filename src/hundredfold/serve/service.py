"""The predictor at work: bytes of images → what is said of each, or why nothing can be said of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.channel import Limits
from hundredfold.data.decoders import Decoders
from hundredfold.data.recipe import Recipe
from hundredfold.errors import ImageError
from hundredfold.predict.columns import columns
from hundredfold.predict.predictor import Predictor
from hundredfold.predict.records import records
from hundredfold.serve.batches import Batches
from hundredfold.serve.measures import Measures
from hundredfold.serve.room import Room

__all__ = ["Record", "Service"]

Record: TypeAlias = dict[str, Any]
#: Processor time that decoding one image may take; no image that is decoded in a scan takes a tenth of it.
LIMITS = Limits(seconds=10.0)
#: Weight of the last batch in what an image is expected to take.
WEIGHT = 0.2


class Service:
    """A predictor, the processes that decode for it, and the thread in which it answers.

    Args:
        predictor: says what images are.
        shares: how common the classes are where the images come from; by default all alike.
        measures: count what is done.
        batch: images encoded at once.
        wait: seconds that an image waits for others, so that they are encoded together.
        queue: images that may wait at once.
    """

    def __init__(
        self, predictor: Predictor, measures: Measures, *, shares: NDArray[np.float64] | None = None,
        batch: int = 32, wait: float = 0.005, queue: int = 256,
    ) -> None:
        self.predictor, self.measures, self._shares = predictor, measures, shares
        self.recipe, self.room = Recipe.of(predictor.facts), Room(queue)
        measures.waiting.set_function(lambda: self.room.taken)
        self._seconds = 0.0  # an image has taken of late
        # The first answer would otherwise wait for what is made at the first call.
        self._said(np.zeros((1, self.recipe.size, self.recipe.size, 3), np.uint8))
        self._decoders = Decoders(LIMITS)
        self._batches = Batches(self._answered, most=batch, seconds=wait)

    @property
    def prevalence(self) -> dict[str, float] | None:
        """The shares of the classes for which answers are; ``None`` for all alike."""
        if self._shares is None:
            return None
        return dict(zip(self.predictor.classes, self._shares.round(6).tolist(), strict=True))

    @property
    def ready(self) -> bool:
        """Whether images would be answered now."""
        return self._batches.alive and self.room.taken < self.room.most

    @property
    def patience(self) -> int:
        """Seconds after which those that wait now are probably answered."""
        return max(1, math.ceil(self.room.taken * self._seconds))

    async def answers(self, images: Sequence[bytes], frame: int | None = None) -> list[Record]:
        """What is said of each image; one that cannot be used has its reason in ``problem``.

        Args:
            images: the bytes of their files.
            frame: which frame of a multi-frame DICOM.

        Raises:
            FullError: too many images wait.
        """
        with self.room.hold(len(images)):
            return [*await asyncio.gather(*(self._answer(image, frame) for image in images))]

    async def _answer(self, image: bytes, frame: int | None) -> Record:
        try:
            square = await self._square(image, frame)
        except ImageError as error:
            self.measures.images.labels(error.reason).inc()
            return {"problem": error.reason, "sentence": f"{error.sentence.rstrip('.')}."}
        record = await asyncio.wrap_future(self._batches.submit(square))
        self.measures.images.labels("answered").inc()
        return record

    async def _square(self, image: bytes, frame: int | None) -> NDArray[np.uint8]:
        answer = await asyncio.wrap_future(self._decoders.submit(image, {**self.recipe.task, "frame": frame}))
        if isinstance(answer, ImageError):
            raise answer
        assert answer[1] is not None  # that is what was asked for
        return self.recipe.checked(answer[1])

    def _answered(self, squares: Sequence[NDArray[np.uint8]]) -> list[Record]:
        began = time.monotonic()
        found = self._said(self.recipe.batch(squares))
        each = (time.monotonic() - began) / len(squares)
        self._seconds = each if not self._seconds else (1 - WEIGHT) * self._seconds + WEIGHT * each
        self.measures.batches.observe(len(squares))
        return found

    def _said(self, batch: NDArray[np.uint8]) -> list[Record]:
        said = columns(self.predictor, self.predictor.answer(batch, self._shares))
        return [*records(said.assign(problem=None))]

    def close(self) -> None:
        """End the thread and the processes; what waits is answered."""
        self._decoders.close()
        self._batches.close()
