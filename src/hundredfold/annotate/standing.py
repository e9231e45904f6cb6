"""What stands after the events of a record: answers, classes, checks, and who knows of which answers."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from hundredfold.annotate.events import Chain, Event, Round

__all__ = ["Standing"]


class Standing:
    """What follows from events, kept up with each of them; nothing of it is on a disk.

    Threads may ask while another lets an event count.

    Examples:
        >>> standing = Standing()
        >>> standing.let(Event(1, "", "Anna", "answer", "a.png", "first", "", "label", "cat", stands=1))
        >>> standing.labels(), standing.readers
        ({'a.png': 'cat'}, ['Anna'])
        >>> standing.let(Event(2, "", "Anna", "undo", "a.png", "first", "", previous=1))
        >>> standing.labels(), standing.version(Chain("a.png", "first", ""))
        ({}, 2)
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._versions: dict[Chain, int] = {}
        self._answers: dict[int, Event] = {}
        self._standing: dict[Chain, Event] = {}
        self._classes: dict[str, dict[str, Any]] = {}
        self._aside: set[str] = set()
        self._checks: dict[int, str] = {}
        self._before: dict[int, int | None] = {}
        self._of_reader: defaultdict[str, set[int]] = defaultdict(set)
        self._knows: defaultdict[str, set[str]] = defaultdict(set)
        self._number = 0

    def version(self, chain: Chain) -> int:
        """The number of the last event of an image, round and seat; 0 if there is none."""
        with self._lock:
            return self._versions.get(chain, 0)

    def standing(self, chain: Chain) -> Event | None:
        """The answer that stands."""
        with self._lock:
            return self._standing.get(chain)

    def under(self, event: Event) -> Event | None:
        """The answer that stood when an answer was given, and stands again if it is taken back."""
        with self._lock:
            before = self._before.get(event.number)
            return None if before is None else self._answers[before]

    def without(self, images: Iterable[str], read: Round, seat: str = "") -> Iterator[str]:
        """Those of the images on which nothing stands, looked up one by one as they are asked for."""
        return (image for image in images if (image, read, seat) not in self._standing)

    def all_standing(self) -> dict[Chain, Event]:
        """All answers that stand."""
        with self._lock:
            return dict(self._standing)

    def firsts(self) -> dict[str, Event]:
        """Image → the answer of the first round that stands."""
        return {chain.image: event for chain, event in self.all_standing().items() if chain.round == "first"}

    def decided(self) -> dict[str, Event]:
        """Image → the answer that counts: the final one where readers differed, else the first."""
        with self._lock:
            return {
                image: self._standing.get(Chain(image, "final", ""), event)
                for image, event in self.firsts().items()
            }

    def labels(self) -> dict[str, str]:
        """Image → id of its class, of the images that have one."""
        return {image: event.label for image, event in self.decided().items() if event.label is not None}

    def classes(self) -> dict[str, dict[str, Any]]:
        """Id → what was last said of each class."""
        with self._lock:
            return {name: dict(facts) for name, facts in self._classes.items()}

    def label_given_once(self, image: str) -> str | None:
        """The label of an image that was read once, is not decided, and does not come singly anyway."""
        with self._lock:
            event = self._standing.get(Chain(image, "first", ""))
            if event is None or event.check_up or self._before.get(event.number) is not None:
                return None
            return None if Chain(image, "final", "") in self._standing else event.label

    def aside(self) -> frozenset[str]:
        """The images that were taken out of a grid."""
        with self._lock:
            return frozenset(self._aside)

    def checks(self) -> list[str]:
        """The images whose label was given in a grid and is to be checked singly, in their order."""
        with self._lock:
            return list(self._checks.values())

    def given_in_grids(self) -> list[tuple[Event, Event | None]]:
        """Labels given in grids and not taken back, each with the blind answer that checked it, if any.

        What was said later, in the light of other labels, takes nothing from a check.
        """
        with self._lock:
            found: list[tuple[Event, Event | None]] = []
            for standing in self.firsts().values():
                above: Event | None = None
                event: Event | None = standing
                while event is not None:
                    if event.how == "bulk":
                        found.append((event, above if event.check_up and _blind(above) else None))
                    above, event = event, self.under(event)
            return found

    def first_seen(self, image: str) -> Event | None:
        """The first round's answer that was given without knowing another; it may lie under later ones."""
        with self._lock:
            event = self._standing.get(Chain(image, "first", ""))
            while event is not None and event.shown is not None and (before := self.under(event)) is not None:
                event = before
            return event

    def knows(self, reader: str, image: str) -> bool:
        """Whether a reader answered an image in the first or final round, or tried to: no longer blind."""
        with self._lock:
            return reader in self._knows.get(image, ())

    @property
    def readers(self) -> list[str]:
        """Who gave an answer, in the order in which they came."""
        with self._lock:
            return list(self._of_reader)

    @property
    def count(self) -> int:
        """How many events there are."""
        return self._number

    def let(self, event: Event) -> None:
        """Let an event count."""
        with self._lock:
            self._number = event.number
            if event.kind == "class":
                assert event.label is not None
                self._classes[event.label] = json.loads(event.detail or "{}")
            elif event.kind == "aside":
                assert event.image is not None
                self._aside.add(event.image)
            elif event.round != "second":
                self._knows[event.chain.image].add(event.reader)
            if event.kind in ("answer", "undo"):
                self._stand(event)

    def _last_of(self, reader: str) -> list[Event]:
        """A reader's last answer that still stands, with what stands of its batch."""
        own = self._of_reader.get(reader)
        if not own:
            return []
        last = self._answers[max(own)]
        return [last] if last.batch is None else [
            event for event in map(self._answers.__getitem__, sorted(own)) if event.batch == last.batch
        ]

    def _stand(self, event: Event) -> None:
        chain = event.chain
        before = self._standing.pop(chain, None)
        if before is not None:
            self._of_reader[before.reader].discard(before.number)
            self._checks.pop(before.number, None)
        if event.kind == "answer":
            self._answers[event.number] = event
            self._before[event.number] = before.number if before else None
        self._versions[chain] = event.number
        if event.stands is not None:
            self._standing[chain] = now = self._answers[event.stands]
            self._of_reader[now.reader].add(now.number)
            if now.check_up:
                self._checks[now.number] = chain.image


def _blind(event: Event | None) -> bool:
    """Whether an answer was given to the image alone, and no proposal was in sight."""
    return event is not None and event.how == "single" and event.shown is None
