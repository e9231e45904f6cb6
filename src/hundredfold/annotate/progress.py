"""How far the work is: what was read, by whom, of which class, and how well readers agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from hundredfold.annotate.classes import ClassBook
from hundredfold.annotate.desk import torn
from hundredfold.annotate.events import Event
from hundredfold.annotate.store import Store
from hundredfold.data.table import ImageTable
from hundredfold.metrics import Estimate, Resamples, cohen_kappa, group_codes, krippendorff_alpha

__all__ = ["Agreement", "ClassCount", "Progress", "agreement", "progress"]

RESAMPLES, SEED = 1000, 0
#: How an answer came about.
KINDS = ("single", "bulk", "import", "second", "final")


@dataclass(frozen=True)
class ClassCount:
    """Images of a class.

    Args:
        name: of the class.
        count: of all images with it.
        audit: of those of the audit set.
    """

    name: str
    count: int
    audit: int


@dataclass(frozen=True)
class Agreement:
    """How far readers agree on images that were read blindly a second time.

    Args:
        measure: ``Cohen's kappa`` of two readers, ``Krippendorff's alpha`` of more.
        images: how many.
        readers: how many.
        same: of the second answers, how many are the first one's.
        answers: how many second answers there are.
        estimate: the measure with its interval.
    """

    measure: str
    images: int
    readers: int
    same: int
    answers: int
    estimate: Estimate


@dataclass(frozen=True)
class Progress:
    """The state of the work.

    Args:
        images: usable ones.
        read: those with an answer.
        unsure: those whose reader could not tell.
        unusable: those that show nothing to be told.
        audit: images of the audit set.
        audit_read: those with an answer.
        audit_open: of these, those without a class.
        classes: the images of each class.
        readers: reader → answers that stand, single, in grids, and as second or deciding reader.
        bulk: labels given in grids.
        to_check: those that are still to come back singly.
        checked: those that came back.
        wrong: of these, those that got another label.
        wrong_interval: 95 % interval of their share (Clopper–Pearson).
        agreement: of second readers; ``None`` without them.
        open: images on which readers differ, or the first was unsure, and that nobody has decided.
    """

    images: int
    read: int
    unsure: int
    unusable: int
    audit: int
    audit_read: int
    audit_open: int
    classes: tuple[ClassCount, ...]
    readers: Mapping[str, Mapping[str, int]]
    bulk: int
    to_check: int
    checked: int
    wrong: int
    wrong_interval: tuple[float, float]
    agreement: Agreement | None
    open: int


def progress(store: Store, table: ImageTable) -> Progress:
    """What the record says of the images of a table."""
    frame = table.usable.frame
    known, audit = set(frame["id"]), set(frame.loc[frame["split"] == "audit", "id"])
    decided = {image: event for image, event in store.decided().items() if image in known}
    says = Counter(event.says for event in decided.values())
    grids = store.given_in_grids()
    pairs = [(before, check) for before, check in grids if check is not None]
    wrong = sum(before.value != check.value for before, check in pairs)
    return Progress(
        images=len(known), read=len(decided), unsure=says["unsure"], unusable=says["unusable"],
        audit=len(audit), audit_read=len(audit & decided.keys()),
        audit_open=sum(decided[image].label is None for image in audit & decided.keys()),
        classes=_classes(store, decided, audit), readers=_readers(store.all_standing().values()),
        bulk=len(grids), to_check=len(store.checks()), checked=len(pairs), wrong=wrong,
        wrong_interval=_share_interval(wrong, len(pairs)), agreement=agreement(store, table),
        open=len(torn(store)),
    )


def agreement(store: Store, table: ImageTable) -> Agreement | None:
    """How far second readers agree with the first; imports are no blind readers, and left out.

    A label that was looked at again counts as it was read first. Unsure and unusable are like classes.
    """
    reads = _reads(store)
    readers = sorted({reader for of in reads.values() for reader in of})
    if len(readers) < 2:
        return None
    groups = dict(zip(table.frame["id"], table.frame["group"], strict=True))
    images = sorted(reads)
    resamples = Resamples.draw(
        group_codes([groups.get(image) for image in images], len(images)), 1, RESAMPLES, SEED
    )
    values = sorted({value for of in reads.values() for value in of.values()})
    codes = np.full((len(readers), len(images)), -1)
    for column, image in enumerate(images):
        for reader, value in reads[image].items():
            codes[readers.index(reader), column] = values.index(value)
    if len(readers) == 2:
        measure, estimate = "Cohen’s kappa", cohen_kappa(codes[0], codes[1], resamples)
    else:
        measure, estimate = "Krippendorff’s alpha", krippendorff_alpha(codes, resamples)
    firsts = {image: _first_reader(store, image) for image in images}
    pairs = [
        (of.get(firsts[image] or ""), value) for image, of in reads.items() for reader, value in of.items()
        if firsts[image] in of and reader != firsts[image]
    ]
    same = sum(one == other for one, other in pairs)
    return Agreement(measure, len(images), len(readers), same, len(pairs), estimate)


def _reads(store: Store) -> dict[str, dict[str, str]]:
    """Image → reader → what was said, of images that were read blindly more than once."""
    reads: dict[str, dict[str, str]] = {}
    for chain, standing in store.all_standing().items():
        event = store.first_seen(chain.image) if chain.round == "first" else standing
        if chain.round != "final" and event is not None and event.how != "import":
            reads.setdefault(chain.image, {})[event.reader] = _value(event)
    return {image: of for image, of in reads.items() if len(of) > 1}


def _first_reader(store: Store, image: str) -> str | None:
    event = store.first_seen(image)
    return None if event is None or event.how == "import" else event.reader


def _value(event: Event) -> str:
    """What is said, as one word; a class cannot be called so."""
    return f"label {event.label}" if event.says == "label" else str(event.says)


def _classes(store: Store, decided: Mapping[str, Event], audit: set[str]) -> tuple[ClassCount, ...]:
    counts = Counter(event.label for event in decided.values())
    held = Counter(event.label for image, event in decided.items() if image in audit)
    book = ClassBook(store)
    names, given = book.names(), [known.id for known in book.all()]
    # An undoing may have brought back a label of a class that was removed since.
    back = [ident for ident in names if counts[ident] and ident not in given]
    return tuple(
        ClassCount(f"{names[ident]}{' (removed)' if ident in back else ''}", counts[ident], held[ident])
        for ident in [*given, *back]
    )


def _readers(events: Iterable[Event]) -> dict[str, dict[str, int]]:
    told: dict[str, dict[str, int]] = {}
    for event in events:
        kind = str(event.how if event.round == "first" else event.round)
        counts = told.setdefault(event.reader, dict.fromkeys(KINDS, 0))
        counts[kind] += 1
    return dict(sorted(told.items(), key=lambda pair: -sum(pair[1].values())))


def _share_interval(hits: int, trials: int) -> tuple[float, float]:
    if not trials:
        return float("nan"), float("nan")
    found = binomtest(hits, trials).proportion_ci()
    return float(found.low), float(found.high)
