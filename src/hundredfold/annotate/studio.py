"""All that the page stands on: the record, the images, who has which, the classes and the proposals."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hundredfold.annotate.background import Background
from hundredfold.annotate.classes import ClassBook, LabelClass
from hundredfold.annotate.desk import Desk, Item
from hundredfold.annotate.events import Chain, Event, Proposal, chain_of
from hundredfold.annotate.gallery import Gallery
from hundredfold.annotate.leases import Leases
from hundredfold.annotate.likes import Likes
from hundredfold.annotate.order import reading_order
from hundredfold.annotate.outlook import Watcher
from hundredfold.annotate.proposals import Proposer, Suspect
from hundredfold.annotate.store import Store
from hundredfold.data.store import PixelStore
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.data.table import ImageTable

__all__ = ["Studio", "opened"]

#: Seconds that an image is lent for after the last sign of life.
LEASE_SECONDS = 60.0
#: Images of a class that are offered as its examples.
SAMPLES = 10
#: Labelled images that stand beside one that is looked at again.
LIKES = 8


class Proposes(Protocol):
    """Says what the present classifier would call an image."""

    def __call__(self, image: str) -> Proposal | None:
        """The proposal, if there is one."""
        ...

    def suspects(self) -> list[Suspect]:
        """Images whose label is hard to believe."""
        ...

    def refresh(self) -> None:
        """Let what was labelled since count; returns at once."""
        ...


@dataclass
class Studio:
    """What the handlers of requests share.

    Args:
        store: the record.
        table: the images.
        gallery: their pictures.
        desk: hands them out.
        propose: what the present classifier would call an image.
        watcher: keeps the learning curve fresh.
        reasons: image → why it was suggested, where it was.
    """

    store: Store
    table: ImageTable
    gallery: Gallery
    desk: Desk
    propose: Proposes | None = None
    watcher: Watcher | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    book: ClassBook = field(init=False)
    #: Page → the ticket of its last undoing, and what it was told; one undoing at a time.
    undone: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict, init=False)
    undoing: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.book = ClassBook(self.store)
        frame = self.table.frame
        self.held_out = frozenset(frame.loc[frame["split"].isin(["audit", "test"]), "id"])

    @property
    def unspoken(self) -> frozenset[str]:
        """Images whose label stands beside no other image.

        Nothing is chosen by those that results are measured on; those that are read twice are read blindly.
        """
        return self.held_out.union(self.desk.twice)

    @property
    def audit_open(self) -> bool:
        """Whether images of the audit set are unread; so long nothing tells them from others."""
        return any(True for _ in self.store.without(self.desk.audit, "first"))

    def spelt(self, reader: str) -> str:
        """A reader's name as it stands in the record: "anna" is no second reader of what Anna has read."""
        name = unicodedata.normalize("NFC", " ".join(reader.split()))
        known = {one.casefold(): one for one in self.store.readers}
        return known.get(name.casefold(), name)

    def named_labels(self) -> dict[str, str]:
        """Image → name of its class, of the images that have one."""
        names = self.book.names()
        return {image: names[label] for image, label in self.store.labels().items()}

    @property
    def proposes(self) -> bool:
        """Whether there can be proposals."""
        return self.propose is not None

    def proposal(self, image: str) -> Proposal | None:
        """What the classifier would call an image.

        Nothing of one that results are measured on, and nothing of one that has an answer: the classifier
        has learned that answer, and a check of it would be none.
        """
        answered = self.store.standing(Chain(image, "first", "")) is not None
        return None if self.propose is None or answered or image in self.held_out else self.propose(image)

    def suspects(self, reader: str) -> list[Suspect]:
        """Images to look at again: their one label is hard to believe for who learned from the others."""
        found = [] if self.propose is None else self.propose.suspects()
        awaited = self.desk.awaited(reader) if found else set()
        return [
            suspect for suspect in found
            if self.store.label_given_once(suspect.image) == suspect.label and suspect.image not in awaited
        ]

    def reason(self, image: str) -> str | None:
        """Why an image was suggested: told with its answer, as an image of the audit set has no reason."""
        return self.reasons.get(image) or None

    def doubted(self, reader: str, suspect: Suspect) -> dict[str, Any]:
        """An image to look at again, as the page is told of it: as a question, beside its likes."""
        item = self.desk.item(reader, "first", suspect.image)
        chain = chain_of(suspect.image, "first", reader)
        standing, names, labels = self.store.standing(chain), self.book.names(), self.store.labels()
        hidden = self.unspoken | {suspect.image}
        likes = self.desk.likes(suspect.image, [image for image in labels if image not in hidden])
        self.desk.tell(reader, suspect.image)
        return {
            **self.shown(item, proposals=False), "proposal": told(suspect.rather),
            "said": [] if standing is None else [{**said(standing, names), "reader": None}],
            "likes": [
                {"image": self.gallery.name(image), "name": names[labels[image]]} for image in likes[:LIKES]
            ],
        }

    def labelled(self) -> None:
        """Something was labelled: the classifier may learn from it."""
        if self.propose is not None:
            self.propose.refresh()
        if self.watcher is not None:
            self.watcher.refresh()

    def shown(self, item: Item, *, proposals: bool) -> dict[str, Any]:
        """An image to read, as the page is told of it: by names that tell nothing."""
        proposal = self.proposal(item.image) if proposals else None
        names = self.book.names()
        return {
            "image": self.gallery.name(item.image), "version": item.version,
            "proposal": None if proposal is None else told(proposal),
            "said": [{**said(event, names), "reader": None} for event in item.said],  # decided blindly
        }

    def classes(self) -> list[dict[str, Any]]:
        """The classes, as the page is told of them."""
        hidden = self.unspoken
        return [self._class(known, hidden) for known in self.book.all()]

    def _class(self, known: LabelClass, hidden: Collection[str]) -> dict[str, Any]:
        examples = [self.gallery.name(image) for image in known.examples if image not in hidden]
        return {
            "id": known.id, "name": known.name, "key": known.key, "description": known.description,
            "examples": examples,
        }

    def samples(self) -> dict[str, list[str]]:
        """Class → the first images that got it, of those that may stand beside others."""
        found: dict[str, list[str]] = {}
        hidden = self.unspoken
        for image, label in self.store.labels().items():
            of_class = found.setdefault(label, [])
            if len(of_class) < SAMPLES and image not in hidden and self.gallery.has(image):
                of_class.append(self.gallery.name(image))
        return found

    def images(self, names: Iterable[str]) -> list[str]:
        """The images of names; those that are no image's are left out."""
        return [image for image in map(self.gallery.image, names) if image is not None]


def opened(
    store: Store, table: ImageTable, pixels: PixelStore, *, first: Mapping[str, str] | None = None,
    second_share: float = 0.15, vectors: Path | None = None, images: Path | None = None,
    background: Background | None = None, lease_seconds: float = LEASE_SECONDS, supply: Supply = LOCAL,
    near_copies: bool = False,
) -> Studio:
    """Everything on its place.

    Args:
        store: the record.
        table: the images of the run.
        pixels: their stored squares.
        first: ids to read first, in their order, each with the reason why it was suggested.
        second_share: share of the images that are read twice.
        vectors: folder of the embeddings, if there are any: grids then show what is alike.
        images: file of ``table``.
        background: where a classifier learns and the curve is measured; without it there are neither.
        lease_seconds: how long a browser may be silent before others get its images.
        supply: where the original files are.
        near_copies: what only the encoder sees as a copy of an audit image is not learned from for the curve.
    """
    frame = table.usable.frame
    alike = None if vectors is None else Likes.read(vectors)
    desk = Desk(
        store, reading_order(table, store.key, list(first or {})), Leases(lease_seconds),
        audit=frame.loc[frame["split"] == "audit", "id"], second_share=second_share, alike=alike,
    )
    studio = Studio(store, table, Gallery(table, pixels, store.key, supply), desk, reasons=first or {})
    if alike is not None and vectors is not None and background is not None:
        studio.propose = Proposer(
            vectors, alike.ids, held_out=studio.held_out, labels=store.labels, background=background
        )
        if desk.audit and images is not None:
            studio.watcher = Watcher(
                vectors, images, studio.named_labels, background, pixels.folder if near_copies else None
            )
    studio.labelled()
    return studio


def told(proposal: Proposal) -> dict[str, Any]:
    """A proposal, as the page is told of it."""
    return {
        "label": proposal.label, "probability": round(proposal.probability, 4), "model": proposal.model,
    }


def said(event: Event, names: Mapping[str, str]) -> dict[str, Any]:
    """An answer, as the page is told of it."""
    name = names.get(event.label or "")
    return {
        "says": event.says, "label": event.label, "name": name, "reader": event.reader, "round": event.round,
    }
