"""In which order images come, and which of them are read twice: functions of a key, not of the moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from hundredfold.data.table import ImageTable

__all__ = ["chance", "drawn", "few", "reading_order"]

#: Images that come with each one of the audit set.
OTHERS = 2


def chance(key: bytes, purpose: str, image: str) -> float:
    """A number from 0 to 1 that is an image's for a purpose, and that nobody can guess without the key."""
    digest = blake2b(f"{purpose}\0{image}".encode(), key=key[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def drawn(key: bytes, purpose: str, images: Sequence[str], share: float) -> list[str]:
    """The images drawn for a purpose, each with the probability ``share``.

    Examples:
        >>> names = [f"{number}.png" for number in range(1000)]
        >>> 100 < len(drawn(b"key", "second", names, 0.15)) < 200
        True
    """
    return [image for image in images if chance(key, purpose, image) < share]


def few(key: bytes, purpose: str, images: Sequence[str], share: float) -> set[str]:
    """A share of the images, but at least one.

    Examples:
        >>> len(few(b"key", "check", [*"abc"], 0.05)), len(few(b"key", "check", [*"abcdefgh"], 0.5))
        (1, 4)
    """
    many = math.ceil(share * len(images))
    return set(sorted(images, key=lambda image: chance(key, purpose, image))[:many])


def reading_order(table: ImageTable, key: bytes, first: Sequence[str] = ()) -> list[str]:
    """The usable images in the order in which they are to be read.

    Those of the audit set are among the others, one of three until all are read, in a place of chance: read
    under the same eyes on the same day, early enough that results can be told, and by who cannot tell which
    they are.

    Args:
        table: the images.
        key: orders by chance what nothing else orders.
        first: ids that come before the others, in their order.

    Examples:
        >>> table = ImageTable.of({"id": ["a", "b", "c", "d"], "split": ["audit", None, None, None]})
        >>> reading_order(table, b"key", first=["d", "b"])
        ['d', 'b', 'a', 'c']
    """
    frame = table.usable.frame
    audit = set(frame.loc[frame["split"] == "audit", "id"])
    place = {image: number for number, image in enumerate(dict.fromkeys(first))}
    by_chance = sorted((str(image) for image in frame["id"]), key=lambda image: chance(key, "order", image))
    others = sorted(
        (image for image in by_chance if image not in audit),
        key=lambda image: place.get(image, len(place)),
    )
    held = [image for image in by_chance if image in audit]
    among = OTHERS * len(held)
    places = [chance(key, "place", image) for image in held]
    return [*_spread(held, others[:among], places), *others[among:]]


def _spread(few: Sequence[str], many: Sequence[str], places: Sequence[float]) -> list[str]:
    """Both in their order, mixed evenly; each of the few at its place (0 to 1) in its share of the many."""
    at = [(number + place) / len(few) for number, place in enumerate(places)]
    at += [(number + 0.5) / len(many) for number in range(len(many))]
    both = [*few, *many]
    return [both[number] for number in sorted(range(len(both)), key=at.__getitem__)]
