"""Vectors in Parquet files of a fixed number of images, each of which says whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hundredfold.data.table import ImageTable
from hundredfold.encode.protocol import digest
from hundredfold.errors import ModelFileError
from hundredfold.files import atomic_write

__all__ = ["Shards"]

SIZE = 1024
TAG = b"hundredfold"


@dataclass(frozen=True)
class Shards:
    """The shards of one folder: each holds ``size`` images in the table's order.

    A shard carries a tag, the hash of the encoder, its number, and its images' ids and pixels; what carries
    another tag is never read, so the vectors of two encoders cannot be mixed.

    Args:
        folder: where they are.
        keys: what identifies each image, ``str`` [n].
        ids: the images' ids [n].
        encoder: the encoder's hash.
        dimension: the length of a vector.
        size: images a shard.
    """

    folder: Path
    keys: tuple[str, ...]
    ids: NDArray[np.object_]
    encoder: str
    dimension: int
    size: int

    @classmethod
    def of(
        cls, folder: Path, images: ImageTable, encoder: Mapping[str, Any], *, size: int | None = None
    ) -> Self:
        """The shards of ``images``, by the facts of an encoder."""
        pixels = images.frame["sha256"].fillna("").to_numpy(dtype=object)
        keys = tuple(f"{name} {sha256}" for name, sha256 in zip(images.ids, pixels, strict=True))
        return cls(folder, keys, images.ids, str(encoder["hash"]), int(encoder["dimension"]), size or SIZE)

    @property
    def count(self) -> int:
        """How many shards there are when all are written."""
        return -(-len(self.ids) // self.size)

    @property
    def digest(self) -> str:
        """SHA-256 over the ids and pixels of all images, in order."""
        return digest(*self.keys)

    def rows(self, number: int) -> slice:
        """Which images a shard holds."""
        return slice(number * self.size, (number + 1) * self.size)

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"part-{number:05d}.parquet"

    def write(self, number: int, vectors: NDArray[np.float32]) -> None:
        """Write a shard, whole or not at all: columns ``id`` and ``vector``."""
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
        columns = {
            "id": pa.array(self.ids[self.rows(number)], type=pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.dimension),
        }
        shard = pa.table(columns).replace_schema_metadata({TAG: self._tag(number)})
        with atomic_write(self.path(number)) as temporary:
            pq.write_table(shard, temporary)

    def read(self, number: int) -> NDArray[np.float32]:
        """The vectors of a shard [size,d].

        Raises:
            ModelFileError: it is missing, damaged, or of another encoder or other images.
        """
        path = self.path(number)
        try:
            shard = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ModelFileError(
                f"cannot read a shard of the embeddings: {reason}", where=path,
                remedy="Run `hundredfold embed --resume` again.",
            ) from error
        if (shard.schema.metadata or {}).get(TAG) != self._tag(number):
            raise ModelFileError(
                "the shard is of another encoder or of other images", where=path,
                remedy="Run `hundredfold embed` into an empty folder.",
            )
        flat = shard.column("vector").combine_chunks().flatten()
        vectors: NDArray[np.float32] = flat.to_numpy(zero_copy_only=False).reshape(-1, self.dimension)
        return vectors

    def valid(self, number: int) -> bool:
        """Whether the shard is there, whole, and of this encoder and these images."""
        try:
            self.read(number)
        except ModelFileError:
            return False
        return True

    def read_all(self) -> NDArray[np.float32]:
        """All vectors [n,d].

        Raises:
            ModelFileError: see :meth:`read`.
        """
        vectors = np.empty((len(self.ids), self.dimension), dtype=np.float32)
        for number in range(self.count):
            vectors[self.rows(number)] = self.read(number)
        return vectors

    def _tag(self, number: int) -> bytes:
        return digest(self.encoder, str(self.dimension), str(number), *self.keys[self.rows(number)]).encode()
