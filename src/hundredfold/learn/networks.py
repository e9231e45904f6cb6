"""The classifier ``network``: an encoder's backbone and a new layer, trained end to end on a draw's labels.

From the backbone before pre-training this is the supervised "DL baseline" of Nielsen et al. 2023, from the
self-supervised one fine-tuning. It gets exactly the labels that the classifiers on frozen vectors get.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.protocol import resize
from hundredfold.learn.draws import Outcome
from hundredfold.learn.finetune import FineTuned, fine_tune
from hundredfold.learn.training import NETWORK, Recipe
from hundredfold.process import steady_process
from hundredfold.views.multicrop import MultiCrop

__all__ = ["Networks", "StoredImages"]

#: Share of the image in a training view: a supervised network must see what the label is for.
SCALE = (0.5, 1.0)


class StoredImages:
    """Images of a pixel store at one size, read when they are asked for.

    Args:
        store: holds them.
        ids: ``[n]`` which of them.
        size: the side in px to which they are resized.

    Raises:
        TableError: an image is not in the store.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, store: PixelStore, ids: Sequence[str] | NDArray[np.object_], size: int) -> None:
        self._store, self._rows, self._size = store, store.rows(ids), size

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, size, size, 3)."""
        return (len(self), self._size, self._size, 3)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images [k,size,size,3] at ``places`` [k]."""
        return resize(self._store[self._rows[places]], self._size)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for place in range(len(self)):
            yield self[np.array([place])][0]


@dataclass(frozen=True)
class Networks:
    """Everything that end-to-end training needs beyond labels.

    Attributes:
        store: the pixels.
        encoders: name → encoder whose backbone is trained; one without a backbone is not among them.
        modality: whose views are trained on.
        supervised: the encoder that knows nothing of these images; on all labels it is the line to reach.
        recipe: how to train; the paper's.
        rates: learning rates to try; of several, each fit keeps the one of the lowest validation loss.
    """

    store: PixelStore
    encoders: Mapping[str, Encoder]
    modality: str
    supervised: str | None = None
    recipe: Recipe = NETWORK
    rates: tuple[float, ...] = (NETWORK.learning_rate,)

    @property
    def identity(self) -> str:
        """Everything that an outcome depends on but encoder and labels."""
        return f"{self.modality} {self.recipe} {self.rates} {SCALE} {self._pixels}"

    @cached_property
    def _pixels(self) -> str:
        return self.store.fingerprint(np.arange(len(self.store)))

    @steady_process()
    def solve(
        self, name: str, train: ImageTable, labels: NDArray[np.int64], test: ImageTable, classes: int
    ) -> Outcome:
        """Train the backbone of the encoder ``name`` on the images of ``train``, and judge those of ``test``.

        Args:
            name: of the encoder.
            train: the labelled images of the draw; 30 % of the labels choose the epoch, by whole groups and
                near-copies.
            labels: ``[m]`` their class numbers.
            test: the test images.
            classes: c, the number of classes.
        """
        encoder = self.encoders[name]
        rate, tuned = self._best(encoder, train, labels)
        told = tuned.decision_function(StoredImages(self.store, test.ids, encoder.size))
        numbers = tuned.classes_.astype(np.int64)
        scores = np.zeros((1, len(test), classes), dtype=np.float32)
        scores[0][:, numbers] = softmax(told, axis=1)
        predicted = numbers[np.argmax(told, axis=1)][None].astype(np.int32)
        stopped = bool(tuned.history) and len(tuned.history) == self.recipe.epochs
        return Outcome(predicted, scores, np.array([stopped]), rate if tuned.history else nan)

    def _best(
        self, encoder: Encoder, train: ImageTable, labels: NDArray[np.int64]
    ) -> tuple[float, FineTuned]:
        """The rate of the lowest validation loss, and its network; without a validation part the first."""
        views = MultiCrop(
            self.modality, image_size=encoder.size, local_size=encoder.size, local_crops=0,
            global_scale=SCALE, seed=self.recipe.seed,
        )
        images = StoredImages(self.store, train.ids, encoder.size)
        best: tuple[float, FineTuned] | None = None
        for rate in self.rates:
            tuned = fine_tune(
                encoder.backbone, images, labels.astype(str), groups=pieces_of(train).tolist(),
                linear_only=False, recipe=replace(self.recipe, learning_rate=rate), augment=views.first,
                symmetry=encoder.symmetry,
            )
            if best is None or (tuned.history and min(tuned.history) < min(best[1].history)):
                best = rate, tuned
            if not tuned.history:
                break
        assert best is not None  # the settings ask for a rate
        return best
