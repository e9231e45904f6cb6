"""Images in an archive or behind a URL, as the rows that a folder of the same files would give."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hundredfold.data.archive import Archive, Origin, archive_in
from hundredfold.data.bucket import Bucket, archive_behind, origin_behind
from hundredfold.data.candidates import ARCHIVES, candidates, tidy
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.errors import InputError
from hundredfold.progress import say
from hundredfold.url import Url, place

__all__ = ["Listing", "in_archive", "in_bucket", "opened_archive", "supply_of"]


@dataclass(frozen=True)
class Listing:
    """What may be images, and where they lie.

    Args:
        files: ``id``, ``path``, ``problem`` and ``note``, sorted by id.
        ignored: kind of file → how many were passed over.
        supply: where the bytes come from.
    """

    files: pd.DataFrame
    ignored: Mapping[str, int]
    supply: Supply


def opened_archive(source: Path | Url) -> tuple[Archive, str] | None:
    """The archive that a source is or leads into, and the folder in it; ``None`` where it is something else.

    Raises:
        InputError: the archive is damaged, cut short, or of a kind that is not read.
    """
    if isinstance(source, Url):
        far = archive_behind(source, ARCHIVES)
        return None if far is None else (Archive(origin_behind(far[0])), far[1])
    near = archive_in(source)
    return None if near is None else (Archive(Origin.of(near[0])), near[1])


def supply_of(paths: Sequence[str]) -> Supply:
    """Where the files are that a table names: on this machine, in one archive, or behind one URL.

    Raises:
        InputError: the storage does not answer, or the archive is damaged by now.
    """
    if not paths:
        return LOCAL
    first = place(paths[0])
    if packed := opened_archive(first):
        return packed[0]
    if isinstance(first, Url):
        folders = [path.partition("://")[2].rpartition("/")[0] for path in paths]
        return Bucket(Url(f"{first.protocol}://{posixpath.commonpath(folders)}"))
    return LOCAL


def in_archive(archive: Archive, inside: str) -> Listing:
    """The members of an archive, or of a folder in it.

    Raises:
        InputError: it has no such folder.
    """
    members, top = archive.members, f"{inside}/" if inside else ""
    names = sorted(name[len(top) :] for name in members.named if name.startswith(top))
    if inside and not names:
        raise InputError(
            f"the archive has no folder {inside!r}", where=archive.origin.name,
            remedy=f"Its images lie in {_folders(members.named)}.",
        )
    ignored = Counter(members.ignored)
    names = candidates(names, ignored)
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if not inside and len(tops) == 1 and "" not in tops:
        say(f"All images lie in the folder {min(tops)!r} of the archive, with which their ids begin. "
            f"{archive.origin.name}/{min(tops)} in place of the archive gives them the ids of that folder.")
    listed = [members.named[top + name] for name in names]
    files = pd.DataFrame({
        "id": names, "path": [archive.named(top + name) for name in names],
        "problem": [member.problem for member in listed], "note": [member.note for member in listed],
    })
    return Listing(files, dict(ignored), archive)


def in_bucket(url: Url) -> Listing:
    """The files below a URL."""
    bucket, ignored = Bucket(url), Counter[str]()
    names = candidates(sorted(bucket.listed), ignored)
    good = [tidy(name) == name for name in names]
    files = pd.DataFrame({
        "id": names, "path": [bucket.named(name) for name in names],
        "problem": [None if fine else "bad_name" for fine in good],
        "note": [None if fine else "its name is no path ('..', '//'); rename it" for fine in good],
    })
    return Listing(files, dict(ignored), bucket)


def _folders(names: Iterable[str]) -> str:
    """The folders at the top of an archive, in words."""
    tops = sorted({name.partition("/")[0] for name in names if "/" in name})
    return ", ".join(map(repr, tops[:5])) or "no folder"
