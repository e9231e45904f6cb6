"""What every encoder is, whatever it is made of, and several of them side by side. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.resize import Fit
from hundredfold.data.resize import resize as resize_image
from hundredfold.data.stain import Stain
from hundredfold.data.value_range import CtWindow, ValueRange
from hundredfold.encode.sealed import read_sealed, sealed
from hundredfold.errors import InputError, SettingsError
from hundredfold.files import write_json

__all__ = [
    "ENCODER_FILE", "ConcatenatedEncoder", "EncoderLike", "digest", "expected_pixels", "read_facts", "resize",
    "write_facts",
]

ENCODER_FILE = "encoder.json"
#: The hash of that file in itself; that of the encoder, of what its vectors depend on, is another.
SEAL = "seal"


@runtime_checkable
class EncoderLike(Protocol):
    """Square uint8 images [b,h,w,3] → vectors float32 [b,d].

    ``hash`` is that of everything the vectors depend on, and of the images seen; ``value_range``, ``window``,
    ``stain`` and ``fit`` say how the pixels it expects were made; ``seen`` holds the sha256 of the images it
    was trained on.
    """

    @property
    def name(self) -> str:
        """A short name for figures and tables."""

    @property
    def dimension(self) -> int:
        """The length d of a vector."""

    @property
    def hash(self) -> str:
        """SHA-256 as hexadecimal digits."""

    @property
    def fit(self) -> Fit:
        """How images that are not square were made so: pad, crop or squash."""

    @property
    def value_range(self) -> ValueRange | None:
        """The range that deep images are scaled by, if the encoder was trained on such."""

    @property
    def window(self) -> CtWindow | None:
        """The window through which CT is shown, if the encoder was trained on such."""

    @property
    def stain(self) -> Stain | None:
        """How the colours of the images were normalised that the encoder was trained on."""

    @property
    def seen(self) -> frozenset[str]:
        """SHA-256 of the pixels of every image it was trained on."""

    @property
    def facts(self) -> dict[str, Any]:
        """What reports say of it; JSON can hold it."""

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images [b,h,w,3] → vectors [b,d]."""

    def save(self, folder: Path) -> None:
        """Write it to ``folder``, with ``encoder.json``."""


class ConcatenatedEncoder:
    """Several encoders of the same images, their vectors side by side.

    ``fit`` is that of the first part; ``value_range``, ``window`` and ``stain`` those of the parts that have
    one.

    Args:
        parts: at least one encoder.

    Raises:
        SettingsError: no part, or parts that were trained on pixels of different ranges or colours.

    Examples:
        >>> from hundredfold.encode.thumbnail import ThumbnailEncoder
        >>> both = ConcatenatedEncoder([ThumbnailEncoder(), ThumbnailEncoder(side=8)])
        >>> both.encode(np.zeros((2, 20, 20, 3), dtype=np.uint8)).shape == (2, both.dimension)
        True
    """

    def __init__(self, parts: Sequence[EncoderLike]) -> None:
        ranges = {part.value_range for part in parts} - {None}
        windows = {part.window for part in parts} - {None}
        stains = {part.stain for part in parts if part.stain is not None or part.seen}
        if not parts or max(len(ranges), len(windows), len(stains)) > 1:
            raise SettingsError(
                "encoders can be joined only if their pixels are scaled alike; found "
                + (", ".join(f"{part.name}: {_pixels(part)}" for part in parts) or "none"),
                remedy="Join encoders that were trained on the same images.",
            )
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)
        self.dimension = sum(part.dimension for part in parts)
        self.hash = digest("concatenated", *(part.hash for part in parts))
        self.fit: Fit = parts[0].fit
        self.value_range = ranges.pop() if ranges else None
        self.window = windows.pop() if windows else None
        self.stain = stains.pop() if stains else None
        self.seen = frozenset[str]().union(*(part.seen for part in parts))

    @property
    def facts(self) -> dict[str, Any]:
        """What reports say of it; JSON can hold it."""
        return {
            "kind": "concatenated", "name": self.name, "hash": self.hash, "dimension": self.dimension,
            "seen_count": len(self.seen), "parts": [part.facts for part in self.parts],
        }

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images [b,h,w,3] → the parts' vectors, side by side [b,d1+d2+…]."""
        return np.concatenate([part.encode(batch) for part in self.parts], axis=1)

    def save(self, folder: Path) -> None:
        """Write each part to ``folder/part-N``, and ``encoder.json``."""
        for number, part in enumerate(self.parts):
            part.save(folder / f"part-{number}")
        write_facts(folder, self.facts)


def _pixels(encoder: EncoderLike) -> ValueRange | CtWindow | Stain | None:
    return encoder.value_range or encoder.window or encoder.stain


def expected_pixels(encoder: EncoderLike) -> dict[str, Any]:
    """The pixels that an encoder expects, as ``PixelStore.recipe`` says it."""
    limits, window, stain = encoder.value_range, encoder.window, encoder.stain
    return {
        "fit": encoder.fit, "value_range": None if limits is None else [limits.low, limits.high],
        "window": None if window is None else list(window), "stain": None if stain is None else stain.facts,
    }


def resize(batch: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Square images [b,h,h,3] → [b,size,size,3], antialiased.

    Raises:
        InputError: the batch is not uint8 [b,h,h,3]; a PixelStore gives such.

    Examples:
        >>> resize(np.array([[[[0] * 3, [2] * 3], [[4] * 3, [6] * 3]]], dtype=np.uint8), 1).tolist()
        [[[[3, 3, 3]]]]
    """
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.shape[1] != batch.shape[2] or batch.dtype != np.uint8:
        raise InputError(
            f"expected square images uint8 [b,h,h,3], found {batch.dtype} {list(batch.shape)}",
            remedy="Take the images from a PixelStore, which makes them so.",
        )
    if batch.shape[1] == size:
        return batch
    resized = np.empty((len(batch), size, size, 3), dtype=np.uint8)
    for image, target in zip(batch, resized, strict=True):
        target[...] = resize_image(image, size, size)
    return resized


def digest(*parts: str) -> str:
    """SHA-256 over texts, kept apart from each other."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``encoder.json``, with the version of its layout and a hash of itself."""
    write_json(folder / ENCODER_FILE, sealed(facts, SEAL))


def read_facts(folder: Path) -> dict[str, Any]:
    """The contents of ``encoder.json``.

    Raises:
        ModelFileError: it is missing, no JSON object, of another version, or was edited.
    """
    return read_sealed(
        folder / ENCODER_FILE, SEAL, kind="encoder", made_by="pretrain", required=False,
    )
