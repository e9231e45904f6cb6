"""The classes of a run: names, keys, descriptions and examples, which may change while people label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hundredfold.annotate.store import Store
from hundredfold.errors import SettingsError

__all__ = ["KEYS", "ClassBook", "LabelClass"]

KEYS = "123456789"
MOST_NAME, MOST_DESCRIPTION, MOST_EXAMPLES = 80, 600, 12


@dataclass(frozen=True)
class LabelClass:
    """A class that images may be given.

    Args:
        id: what the record calls it; it stays when the name is mended.
        name: as people see it, and as it stands in the labels.
        key: one of 1 to 9, or none.
        description: what a reader should know.
        examples: ids of images that show it well.
        place: in the list.
        removed: it can no longer be given.
    """

    id: str
    name: str
    key: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()
    place: int = 0
    removed: bool = False


class ClassBook:
    """The classes as they are now; every change is an event of the record.

    Examples:
        >>> book = ClassBook(Store.memory())
        >>> cat = book.add("Anna", "cat")
        >>> book.change("Anna", cat.id, name="Cat").name, [known.key for known in book.all()]
        ('Cat', ['1'])
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def all(self) -> list[LabelClass]:
        """Those that can be given, in their order."""
        known = [known for known in self._every().values() if not known.removed]
        return sorted(known, key=lambda known: (known.place, known.name))

    def names(self) -> dict[str, str]:
        """Id → name, also of classes that were removed."""
        return {name: known.name for name, known in self._every().items()}

    def by_name(self) -> dict[str, LabelClass]:
        """Name → class, of those that can be given."""
        return {known.name: known for known in self.all()}

    def add(self, reader: str, name: str, description: str = "") -> LabelClass:
        """Add a class, with the first key that is free.

        Raises:
            SettingsError: there is one of that name, or it is no name.
        """
        name, every = self._checked(name), self._every()
        taken = {known.key for known in self.all()}
        key = next((key for key in KEYS if key not in taken), "")
        number = max((known.place for known in every.values()), default=0) + 1
        ident = name
        while ident in every:
            ident = f"{ident} #{number}"
        return self._write(reader, LabelClass(ident, name, key, _text(description), (), number))

    def ensure(self, reader: str, names: Iterable[str]) -> dict[str, str]:
        """Name → id of classes, of which those that are missing are added: all of them or none.

        Raises:
            SettingsError: a name is none, or differs from another in case only.
        """
        known, asked = self.by_name(), [*names]
        new = dict.fromkeys(_name(name) for name in asked if _name(name) not in known)
        folded: dict[str, str] = {}
        for name in new:
            self._checked(name)
            if (other := folded.setdefault(name.casefold(), name)) != name:
                raise SettingsError(
                    f"expected names that differ in more than case, found {other!r} and {name!r}",
                    where=reader, remedy="Call both the same in the table, and scan or import it again.",
                )
        made = known | {name: self.add(reader, name) for name in new}
        return {name: made[_name(name)].id for name in asked}

    def change(
        self, reader: str, ident: str, *, name: str | None = None, key: str | None = None,
        description: str | None = None, examples: Iterable[str] | None = None,
    ) -> LabelClass:
        """Change what is given; who has the key before loses it.

        Raises:
            SettingsError: no such class or key, or the name is another's.
        """
        known = self._one(ident)
        if name is not None:
            known = replace(known, name=self._checked(name, but=ident))
        if key is not None and key != known.key:
            known = replace(known, key=self._freed(reader, key))
        if description is not None:
            known = replace(known, description=_text(description))
        if examples is not None:
            known = replace(known, examples=tuple(dict.fromkeys(examples))[:MOST_EXAMPLES])
        return self._write(reader, known)

    def remove(self, reader: str, ident: str) -> None:
        """Take a class off the list.

        Raises:
            SettingsError: there is no such class, or images carry it.
        """
        known = self._one(ident)
        carried = Counter(event.label for event in self.store.all_standing().values())[ident]
        if carried:
            raise SettingsError(
                f"{carried:,} answers name the class {known.name!r}",
                remedy="Give those images another class first, or mend its name instead.",
            )
        self._write(reader, replace(known, removed=True, key=""))

    def _every(self) -> dict[str, LabelClass]:
        return {name: _read(name, facts) for name, facts in self.store.classes().items()}

    def _one(self, ident: str) -> LabelClass:
        known = self._every().get(ident)
        if known is None or known.removed:
            raise SettingsError("there is no such class", remedy="Load the page again.")
        return known

    def _checked(self, name: str, but: str | None = None) -> str:
        name = _name(name)
        if not name or len(name) > MOST_NAME:
            raise SettingsError(
                f"expected a name of 1 to {MOST_NAME} characters, found {len(name)}",
                remedy="Use the field's short term, and the description for the rest.",
            )
        for known in self.all():
            if known.name.casefold() == name.casefold() and known.id != but:
                raise _taken(known.name, name)
        return name

    def _freed(self, reader: str, key: str) -> str:
        if key and (len(key) != 1 or key not in KEYS):
            raise SettingsError(f"expected a key from 1 to 9, found {key!r}", remedy="Choose another key.")
        for known in self.all():
            if key and known.key == key:
                self._write(reader, replace(known, key=""))
        return key

    def _write(self, reader: str, known: LabelClass) -> LabelClass:
        facts = asdict(known)
        del facts["id"]
        self.store.describe(reader, known.id, facts)
        return known


def _taken(known: str, name: str) -> SettingsError:
    found = f"there is a class {known!r} already" + (f", and now {name!r}" if name != known else "")
    return SettingsError(found, remedy="Choose another name; in a table, call both the same.")


def _read(name: str, facts: Mapping[str, Any]) -> LabelClass:
    return LabelClass(name, **{**facts, "examples": tuple(facts["examples"])})


def _name(text: str) -> str:
    return " ".join(text.split())


def _text(text: str) -> str:
    return text.strip()[:MOST_DESCRIPTION]
