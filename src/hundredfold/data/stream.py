"""Images that pass by: decoded ahead of whoever takes them, in their order, and kept nowhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.file import frame_of
from hundredfold.data.recipe import Recipe
from hundredfold.data.sandbox import Answer, answers
from hundredfold.data.supply import Supply
from hundredfold.errors import ImageError

__all__ = ["Passing", "Square", "passing"]

T = TypeVar("T")
END = object()
#: An image as a predictor takes it, or why there is none.
Square: TypeAlias = NDArray[np.uint8] | ImageError


class Passing(NamedTuple):
    """An image that is to pass: its id, its path, and the fingerprint of its file when it was listed."""

    name: str
    path: str
    stamp: str


@contextmanager
def passing(
    images: Sequence[Passing], recipe: Recipe, supply: Supply, *, ahead: int
) -> Iterator[Iterator[Square]]:
    """The squares of images, in their order; decoders go on while whoever takes them is busy.

    Args:
        images: what is to be decoded.
        recipe: how.
        supply: where the bytes come from.
        ahead: how many squares may lie ready; no more are ever in memory, but for a few in the decoders.
    """
    def task(place: int) -> dict[str, Any]:
        image = images[place]
        asked = {"do": "prepare", **recipe.task, "known": image.stamp}
        return {**asked, "frame": frame_of(image.name, image.path), **ready(place)}

    with (
        supply.ready([image.path for image in images]) as ready,
        _ahead(answers(range(len(images)), task), ahead) as coming,
    ):
        yield (_square(answer, recipe) for answer in coming)


def _square(answer: Answer, recipe: Recipe) -> Square:
    if isinstance(answer, ImageError):
        return answer
    assert answer[1] is not None  # that is what was asked for
    try:
        return recipe.checked(answer[1])
    except ImageError as error:
        return error


@contextmanager
def _ahead(items: Generator[T], most: int) -> Iterator[Iterator[T]]:
    """The items of a generator that runs in a thread of its own, ``most`` of them ahead."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, END) for _ in range(most))

        def taken() -> Iterator[T]:
            while (item := waiting.popleft().result()) is not END:
                waiting.append(pool.submit(next, items, END))
                yield cast("T", item)

        try:
            yield taken()
        finally:
            pool.shutdown(cancel_futures=True)
            items.close()
