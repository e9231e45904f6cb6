"""What a finished pixel store knows already: images whose files are as they were need no second decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

from hundredfold.data.store import PixelStore, stored_facts
from hundredfold.errors import RunExistsError

__all__ = ["KNOWN", "Kept", "Waiting"]

#: What a store's ``images.parquet`` says of an image, in the order in which they were decoded.
KNOWN = ("id", "stamp", "width", "height", "sha256", "problem", "note")


#: Problems of the moment and not of the file: it is tried again, though its fingerprint is the same.
PASSING = ("changed", "no_file", "unreadable")


class Waiting(NamedTuple):
    """An image that is to be in the store."""

    place: int  # in its table
    name: str
    path: str
    stamp: str


@dataclass(frozen=True)
class Kept:
    """A finished store, as far as a filling can go on from it; an empty one where there is none.

    A store only grows: rows that another run may look at stay where they are.

    Args:
        folder: of the store.
        facts: of ``pixels.json``; empty where there is no store.
        records: the columns ``KNOWN``, one row a decoded image.
    """

    folder: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    records: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*KNOWN]))

    @classmethod
    def found(cls, folder: Path, head: Mapping[str, Any]) -> Self:
        """The store in ``folder``, if there is one.

        Raises:
            RunExistsError: it was made with other settings than ``head``; its size may be its images' own in
                one of them and named in the other.
            InputError: its pixels are cut short or gone.
        """
        facts = stored_facts(folder)
        if facts is None:
            return cls(folder)
        if head not in (facts["head"], {**facts["head"], "size": facts["size"]}):
            raise cls(folder).other()
        PixelStore.open(folder, unsettled=True)  # what is cut short would be filled up, with black
        # A kill between two files may have left more records than the store speaks of.
        records = pd.read_parquet(folder / "images.parquet", columns=[*KNOWN]).head(facts["images"])
        return cls(folder, facts, records)

    @property
    def rows(self) -> int:
        """How many images have pixels."""
        return int(self.facts.get("count", 0))

    def lacking(self, waiting: Sequence[Waiting]) -> list[Waiting]:
        """Those that the store does not hold, or rejected when their file was another.

        Raises:
            RunExistsError: the file of a stored image was changed, or the store cannot take more.
        """
        last = self.records.drop_duplicates("id", keep="last")
        rejected = dict(zip(last["id"], last["problem"].notna(), strict=True))
        stamps = dict(zip(last["id"], last["stamp"], strict=True))
        once = set() if self.facts.get("pool") else set(last.loc[last["problem"].isin(PASSING), "id"])
        todo = [image for image in waiting if stamps.get(image.name) != image.stamp or image.name in once]
        if changed := [image.name for image in todo if rejected.get(image.name) is False]:
            raise self.other(f": {len(changed):,} changed since, {changed[0]} among them")
        if todo and self.facts.get("pool") is not None:
            raise self.other("; deep (16-bit, float) images share one range, so none can be added")
        return todo

    def of(self, names: Sequence[str]) -> pd.DataFrame:
        """What is known of these images, in their order."""
        return self.records.drop_duplicates("id", keep="last").set_index("id").loc[list(names)]

    def other(
        self, why: str = "", remedy: str = "Choose another folder with --pixels, or delete this one."
    ) -> RunExistsError:
        """The error of a store that cannot be used."""
        return RunExistsError(
            f"the folder holds the pixels of other images, or made with other settings{why}",
            where=self.folder, remedy=remedy,
        )
