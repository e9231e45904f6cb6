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
from hundredfold.data.shards import as_one, shards_of
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.errors import InputError
from hundredfold.progress import say
from hundredfold.url import Url, place

__all__ = ["Listing", "in_archives", "in_bucket", "opened_archives", "supply_of"]


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


def opened_archives(source: Path | Url) -> list[tuple[Archive, str]]:
    """The archives that a source is or leads into, with the folder in each; none where it is something else.

    Raises:
        InputError: an archive is damaged, cut short, of a kind that is not read, or missing among others.
    """
    shards = shards_of(source)
    found = [opened for shard in shards if (opened := _opened(shard)) is not None]
    if len(shards) > 1 and len(found) < len(shards):
        there = {archive.origin.name for archive, _ in found}
        absent = next(shard for shard in shards if _whole(shard) not in there)
        raise InputError(
            f"expected {len(shards):,} archives, found {len(found):,}", where=absent,
            remedy="Give the range of those that are there.",
        )
    return found


def _whole(shard: Path | Url) -> str:
    return str(shard if isinstance(shard, Url) else shard.resolve())


def _opened(source: Path | Url) -> tuple[Archive, str] | None:
    if isinstance(source, Url):
        far = archive_behind(source, ARCHIVES)
        return None if far is None else (Archive(origin_behind(far[0])), far[1])
    near = archive_in(source)
    return None if near is None else (Archive(Origin.of(near[0])), near[1])


def supply_of(paths: Sequence[str]) -> Supply:
    """Where the files are that a table names: on this machine, in archives, or behind one URL.

    Raises:
        InputError: the storage does not answer, or the archive is damaged by now.
    """
    archives, left = list[Archive](), list(paths)
    while left and (packed := _opened(place(left[0]))) is not None:
        archives.append(packed[0])
        left = [path for path in left if not path.startswith(f"{packed[0].origin.name}/")]
    if archives:
        return as_one(archives)
    first = place(paths[0]) if paths else None
    if isinstance(first, Url):
        folders = [path.partition("://")[2].rpartition("/")[0] for path in paths]
        return Bucket(Url(f"{first.protocol}://{posixpath.commonpath(folders)}"))
    return LOCAL


def in_archives(opened: Sequence[tuple[Archive, str]]) -> Listing:
    """The members of archives, or of a folder in each; a name that two have is no image's.

    Raises:
        InputError: one has no such folder.
    """
    listings = [_in_archive(archive, inside) for archive, inside in opened]
    files = pd.concat([listing.files for listing in listings], ignore_index=True)
    twice = files["id"].duplicated(keep=False)
    files.loc[twice, ["problem", "note"]] = "bad_name", "several archives have a member of this name"
    files = files.drop_duplicates("id").sort_values("id", ignore_index=True)
    ignored = sum((Counter(listing.ignored) for listing in listings), Counter[str]())
    return Listing(files, dict(ignored), as_one([archive for archive, _ in opened]))


def _in_archive(archive: Archive, inside: str) -> Listing:
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
