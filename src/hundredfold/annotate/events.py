"""What can happen to a label: the events of the record, and the answer that stands after them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ["COLUMNS", "Answer", "Chain", "Event", "How", "Kind", "Proposal", "Round", "Says", "chain_of"]

Kind: TypeAlias = Literal["answer", "undo", "conflict", "aside", "class"]
Says: TypeAlias = Literal["label", "unsure", "unusable"]
How: TypeAlias = Literal["single", "bulk", "import"]
#: ``first``: the label itself; ``second``: blind reads of others; ``final``: a decision between them.
Round: TypeAlias = Literal["first", "second", "final"]

COLUMNS = (
    "number", "at", "reader", "kind", "image", "round", "seat", "says", "label", "key", "how", "batch",
    "check_up", "shown", "revealed", "model", "previous", "stands", "detail",
)


class Chain(NamedTuple):
    """What has one answer at a time: an image in a round, and in the second round at the seat of a reader."""

    image: str
    round: Round
    seat: str


def chain_of(image: str, read: Round, reader: str) -> Chain:
    """Where an answer goes: in the second round each reader has an answer of his own.

    Examples:
        >>> chain_of("a.png", "second", "Anna").seat, chain_of("a.png", "first", "Anna").seat
        ('Anna', '')
    """
    return Chain(image, read, reader if read == "second" else "")


@dataclass(frozen=True)
class Proposal:
    """What a classifier would call an image.

    Args:
        label: id of the class.
        probability: the classifier's own, from 0 to 1.
        model: hash of the classifier.
    """

    label: str
    probability: float
    model: str

    @property
    def text(self) -> str:
        """As JSON, for the record."""
        return json.dumps({"label": self.label, "probability": round(self.probability, 4)})


@dataclass(frozen=True)
class Answer:
    """What a reader says of an image.

    Args:
        image: its id.
        says: ``label``, ``unsure`` or ``unusable``.
        label: id of the class, with ``label`` only.
        version: number of the event that the reader saw as the last of the image; 0 if there was none.
        key: that was pressed.
        how: singly, as one of a grid, or by an import.
        check_up: one of a grid that shall come back singly.
        shown: the proposal in sight when the key was pressed.
        revealed: the proposal shown after it.
    """

    image: str
    says: Says
    label: str | None = None
    version: int = 0
    key: str = ""
    how: How = "single"
    check_up: bool = False
    shown: Proposal | None = None
    revealed: Proposal | None = None

    def __post_init__(self) -> None:
        if (self.label is not None) != (self.says == "label"):
            raise ValueError(f"an answer that says {self.says} with the label {self.label!r}")

    @property
    def value(self) -> tuple[Says, str | None]:
        """What is said, without how and when."""
        return self.says, self.label


@dataclass(frozen=True)
class Event:
    """A row of the record; see ``events.sql`` for the columns."""

    number: int
    at: str
    reader: str
    kind: Kind
    image: str | None = None
    round: Round | None = None
    seat: str | None = None
    says: Says | None = None
    label: str | None = None
    key: str | None = None
    how: How | None = None
    batch: str | None = None
    check_up: int | None = None
    shown: str | None = None
    revealed: str | None = None
    model: str | None = None
    previous: int | None = None
    stands: int | None = None
    detail: str | None = None

    @property
    def chain(self) -> Chain:
        """Of an answer or an undoing, what it belongs to."""
        assert self.image is not None
        assert self.round is not None
        return Chain(self.image, self.round, self.seat or "")

    @property
    def value(self) -> tuple[Says, str | None]:
        """What an answer says."""
        assert self.says is not None
        return self.says, self.label

    @property
    def row(self) -> tuple[Any, ...]:
        """The values of the columns, in their order."""
        return tuple(getattr(self, name) for name in COLUMNS)
