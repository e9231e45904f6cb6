"""A name → a factory, with plug-ins by entry point and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from hundredfold.errors import SettingsError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What can be asked for by name: classifiers, strategies, modalities, data sets.

    Other packages add to it by the entry-point group ``hundredfold.<kind>``; they are loaded at
    the first look-up of a name that is not built in.

    Args:
        kind: what is registered, in the singular ("classifier"); used in messages.

    Raises:
        SettingsError: at a look-up of an unknown name; the message lists the nearest names.

    Examples:
        >>> colours: Registry[str] = Registry("colour")
        >>> colours.add("red", "#f00")
        '#f00'
        >>> colours["rde"]
        Traceback (most recent call last):
            ...
        hundredfold.errors.SettingsError: no colour named 'rde'. Did you mean 'red'? Known: red.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._plugins_loaded = False

    def add(self, name: str, entry: T) -> T:
        """Register ``entry`` under ``name`` and return it."""
        if name in self._entries:
            raise SettingsError(f"a {self.kind} named {name!r} is registered already")
        self._entries[name] = entry
        return entry

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            self._load_plugins()
        return name in self._entries

    def __getitem__(self, name: str) -> T:
        if name not in self:
            known = ", ".join(sorted(self._entries))
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise SettingsError(f"no {self.kind} named {name!r}", remedy=f"{hint}Known: {known}.")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load_plugins()
        return len(self._entries)

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for point in entry_points(group=f"hundredfold.{self.kind}"):
            self.add(point.name, point.load())
