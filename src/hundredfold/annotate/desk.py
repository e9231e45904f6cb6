"""What lies before a reader next, in each of the three rounds and in the grid."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from hundredfold.annotate.events import Chain, Event, Round, chain_of
from hundredfold.annotate.leases import Leases
from hundredfold.annotate.order import drawn
from hundredfold.annotate.store import Store

__all__ = ["CHECK_EVERY", "Alike", "Desk", "Grid", "Item", "torn"]

#: Of so many images that come singly one is a check of a label given in a grid, while there are such.
CHECK_EVERY = 4

#: An image and its likes, nearest first: (image, among which) → images.
Alike = Callable[[str, Sequence[str]], list[str]]


class Item(NamedTuple):
    """An image to read.

    Args:
        image: its id.
        version: number of its last event in the round, and at the reader's seat.
        said: in the final round, what the readers said before.
    """

    image: str
    version: int
    said: tuple[Event, ...] = ()


class Grid(NamedTuple):
    """Images to read together.

    Args:
        items: the first is the one that the others are like.
        alike: whether they are like each other; else they only follow each other.
    """

    items: tuple[Item, ...]
    alike: bool


class Desk:
    """Hands out images that nobody else has before them.

    Args:
        store: the record.
        order: all images, in the order of the first round.
        leases: who has which image.
        audit: images of the audit set, which are read singly only.
        second_share: share of the images that a second reader reads too.
        alike: finds the likes of an image, where there are vectors.
    """

    def __init__(
        self, store: Store, order: Sequence[str], leases: Leases, *, audit: Collection[str] = (),
        second_share: float = 0.15, alike: Alike | None = None,
    ) -> None:
        self.store = store
        self.order = list(order)
        self.leases = leases
        self.audit = frozenset(audit)
        self.twice = drawn(store.key, "second", self.order, second_share)
        self._alike = alike
        self._turns: Counter[str] = Counter()
        self._told: defaultdict[str, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def next(
        self, reader: str, holder: str, read: Round, count: int, have: Collection[str] = ()
    ) -> list[Item]:
        """Up to ``count`` images to read, lent to a holder (a browser's page).

        Args:
            reader: a name.
            holder: of the leases.
            read: the round.
            count: how many.
            have: images that the holder has already.
        """
        with self._lock:
            waiting = (image for image in self._waiting(reader, holder, read) if image not in have)
            free = (image for image in waiting if self.leases.take(chain_of(image, read, reader), holder))
            return [self.item(reader, read, image) for image in islice(free, count)]

    def item(self, reader: str, read: Round, image: str) -> Item:
        """An image as it stands now."""
        said = tuple(self._said(image)) if read == "final" else ()
        if said:
            self.tell(reader, image)
        return Item(image, self.store.version(chain_of(image, read, reader)), said)

    def grid(self, reader: str, holder: str, count: int, passed: Collection[str] = ()) -> Grid:
        """Up to ``count`` images without an answer that are like each other; none of the audit set.

        Args:
            reader: a name.
            holder: of the leases; what it held before is free again.
            count: how many.
            passed: images that the reader has seen and left.
        """
        with self._lock:
            self.leases.give_back(holder)
            left_out = self.audit | self.store.aside() | set(passed)
            open_to_all = (image for image in self._unread() if image not in left_out)
            free = (image for image in open_to_all if self._take(image, holder))
            chosen = [*islice(free, 1)]
            if chosen and self._alike is not None:
                likes = self._alike(chosen[0], [*open_to_all])
                free = (image for image in likes if self._take(image, holder))
            chosen += islice(free, count - 1)
            items = tuple(self.item(reader, "first", image) for image in chosen)
            return Grid(items, self._alike is not None)

    def tell(self, reader: str, image: str) -> None:
        """Note that a reader sees what was said of an image, and so can no longer read it blindly."""
        self._told[reader].add(image)

    def left(self, reader: str) -> Mapping[str, int]:
        """How many images wait in each round."""
        return {
            "second": sum(1 for _ in self._second(reader)),
            "final": sum(1 for _ in self._waiting(reader, "", "final")),
        }

    def awaited(self, reader: str) -> set[str]:
        """Images whose second reader this one could be, while they have none: nothing is told of them yet.

        If doubtful images were looked at first and then no longer fit to be read blindly, agreement would be
        measured on the plain ones.
        """
        standing = self.store.all_standing().items()
        read = {chain.image for chain, event in standing if chain.round == "second" and event.how != "import"}
        return {image for image in self._second(reader) if image not in read}

    def likes(self, image: str, among: Sequence[str]) -> list[str]:
        """The likes of an image, nearest first; none without vectors."""
        return [] if self._alike is None else self._alike(image, among)

    @property
    def has_vectors(self) -> bool:
        """Whether a grid shows images that are alike."""
        return self._alike is not None

    def _take(self, image: str, holder: str) -> bool:
        return self.leases.take(Chain(image, "first", ""), holder)

    def _waiting(self, reader: str, holder: str, read: Round) -> Iterator[str]:
        if read == "second":
            yield from self._second(reader)
        elif read == "final":
            awaited = self.awaited(reader)
            yield from (image for image in torn(self.store) if image not in awaited)
        else:
            self._turns[holder] += 1
            checks = self.store.checks()
            if self._turns[holder] % CHECK_EVERY == 0:
                yield from checks
            yield from self._unread()
            yield from checks

    def _unread(self) -> Iterator[str]:
        return self.store.without(self.order, "first")

    def _second(self, reader: str) -> Iterator[str]:
        """Images drawn to be read twice that another has read; this reader neither has, nor knows of it."""
        told = self._told.get(reader, ())
        for image in self.store.without(self.twice, "second", reader):
            event = self.store.standing(Chain(image, "first", ""))
            if event is None or event.how == "import":
                continue
            if image not in told and not self.store.knows(reader, image):
                yield image

    def _said(self, image: str) -> Iterator[Event]:
        for chain, event in self.store.all_standing().items():
            if chain.image == image and chain.round != "final":
                yield event


def torn(store: Store) -> list[str]:
    """Images on which readers differ, or the first was unsure, and nobody has decided; the oldest first."""
    standing = store.all_standing()
    first = store.firsts()
    differ = {
        chain.image for chain, event in standing.items()
        if chain.round == "second" and chain.image in first and event.value != first[chain.image].value
    }
    differ |= {image for image, event in first.items() if event.says == "unsure"}
    waiting = (image for image in differ if Chain(image, "final", "") not in standing)
    return sorted(waiting, key=lambda image: first[image].number)
