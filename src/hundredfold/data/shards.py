"""Several archives as one folder: the shards of a WebDataset, named as ``set-{000..041}.tar``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from hundredfold.data.archive import Archive
from hundredfold.data.supply import Ready, Supply
from hundredfold.errors import InputError
from hundredfold.url import Url

__all__ = ["Shards", "as_one", "shards_of"]

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST = 100_000
P = TypeVar("P", Path, Url, Path | Url)


def shards_of(source: P) -> list[P]:
    """The archives that a name with a range stands for; any other source stands for itself.

    Raises:
        InputError: the range is empty or very long.

    Examples:
        >>> [path.name for path in shards_of(Path("set-{08..10}.tar"))]
        ['set-08.tar', 'set-09.tar', 'set-10.tar']
        >>> shards_of(Path("cells"))
        [PosixPath('cells')]
    """
    found = RANGE.search(str(source))
    if found is None or (isinstance(source, Path) and source.exists()):
        return [source]
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + MOST:
        raise InputError(
            f"expected a range like {{000..041}} of at most {MOST:,} archives, found {found[0]}",
            where=source, remedy="Give the first and the last number.",
        )
    names = (f"{number:0{len(found[1])}d}" for number in range(first, last + 1))
    text, kind = str(source), type(source)
    return [kind(f"{text[: found.start()]}{name}{text[found.end() :]}") for name in names]


class Shards:
    """The members of several archives.

    Args:
        archives: in their order.
    """

    def __init__(self, archives: Sequence[Archive]) -> None:
        self.archives = {archive.origin.name: archive for archive in archives}

    def of(self, path: str) -> Archive:
        """The archive that holds what a table names so."""
        at = -1
        while (at := path.find("/", at + 1)) >= 0:
            if (archive := self.archives.get(path[:at])) is not None:
                return archive
        raise KeyError(path)

    def stamp(self, path: str) -> str:
        """What changes if the member does."""
        return self.of(path).stamp(path)

    def head(self, path: str, size: int) -> bytes | None:
        """The first bytes of a member."""
        return self.of(path).head(path, size)

    @contextmanager
    def ready(self, paths: Sequence[str], *, again: bool = False) -> Iterator[Ready]:
        """Get the members of each archive ready, in this order."""
        mine: dict[str, list[str]] = {}
        places = []
        for path in paths:
            name = self.of(path).origin.name
            some = mine.setdefault(name, [])
            places.append((name, len(some)))
            some.append(path)
        with ExitStack() as stack:
            ready = {
                name: stack.enter_context(self.archives[name].ready(some, again=again))
                for name, some in mine.items()
            }
            yield lambda place: ready[places[place][0]](places[place][1])


def as_one(archives: Sequence[Archive]) -> Supply:
    """One archive as itself, several as shards."""
    return archives[0] if len(archives) == 1 else Shards(archives)
