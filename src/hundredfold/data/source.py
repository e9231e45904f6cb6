"""A folder, an archive, a CSV or Parquet table, here or behind a URL → the images in it."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.bucket import Bucket
from hundredfold.data.candidates import ARCHIVES, HELPER_NAMES, NESTED, kind_of_name, suffix_of
from hundredfold.data.elsewhere import Listing, in_archives, in_bucket, opened_archives
from hundredfold.data.file import NEVER_DICOM, looks_like_dicom
from hundredfold.data.labels import LABEL_COLUMNS, LabelSet
from hundredfold.data.naming import Naming
from hundredfold.data.rows import TABLE_SUFFIXES, existing, read_rows
from hundredfold.data.sandbox import answers
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.data.table import ImageTable
from hundredfold.errors import ImageError, InputError, TableError
from hundredfold.url import Url, info_of, place, without_secrets

__all__ = ["Found", "find", "find_images"]

NO_GROUPS = Naming()
#: What is expected of a user.
IMAGES = "a folder of images, a zip or tar archive, or a CSV or Parquet table that lists them"
NO_HEADER: Mapping[str, Any] = {"frames": 1, "group": None, "number": None, "named": False}


@dataclass(frozen=True)
class Found:
    """The images of a source, and how much was passed over and why.

    Args:
        table: the images; those already known to be unusable have a ``problem``.
        ignored: kind of file → how many were passed over.
        named: how many files hold their patient's name or number in their own name.
        grouped: how many files told of their patient or study.
        supply: where the bytes of the images come from.
        naming: what the groups of DICOM files are.
    """

    table: ImageTable
    ignored: Mapping[str, int] = field(default_factory=dict)
    named: int = 0
    grouped: int = 0
    supply: Supply = LOCAL
    naming: Naming = NO_GROUPS


def find_images(source: Path | Url) -> ImageTable:
    """The images of a source; see :func:`find`."""
    return find(source).table


def find(source: Path | Url, naming: Naming = NO_GROUPS) -> Found:
    """List the images of a folder, an archive or a table, sorted by id, without decoding them.

    A folder is searched with all its sub-folders. Passed over: hidden files, files that are no
    images by their suffix (tables, texts, archives …), links to folders, links that leave the
    folder, and run directories. A zip or tar archive is the folder that was packed, read in place;
    ``images.zip/cells`` is the folder ``cells`` in it, and ``set-{000..041}.tar`` is 42 archives as one
    folder. A table (CSV or Parquet) has the column ``image``, a
    path relative to the table's folder, and may have ``label``, ``group``, ``site``, ``split``, and
    ``path``, where the file lies if ``image`` is only its name; an image that it lists but that is not
    there gets the problem ``no_file``. Each frame of a multi-frame DICOM file is an image of its own,
    ``path#n``. The group of a DICOM file is its patient or study, hashed, and where that is not asked for
    or known, the group of frames is their file.

    Args:
        source: the folder, the archive or the table, on this machine or behind a URL.
        naming: whether DICOM files tell who is whose, and what their numbers are hashed with.

    Raises:
        InputError: there is no such path, it is none of these, a damaged archive, or it has no images.
        TableError: the table cannot be read, or gives one image two paths.
    """
    if isinstance(source, Path) and source.is_dir():
        found = _in_folder(source, naming)
    elif packed := opened_archives(source):
        found = _elsewhere(in_archives(packed), naming)
    elif isinstance(source, Url) and (info_of(source) or {}).get("type") == "directory":
        found = _elsewhere(in_bucket(source), naming)
    elif existing(source, IMAGES).suffix.lower() in TABLE_SUFFIXES:
        found = _in_table(source, naming)
    else:
        raise _no_source(source)
    if not len(found.table):
        ignored = ", ".join(f"{count:,} {kind}" for kind, count in found.ignored.items())
        there = f"none but {ignored}" if ignored else "nothing: it is empty"
        remedy = "Give an archive itself, or unpack it." if NESTED in found.ignored else "Check the path."
        raise InputError(f"expected images, found {there}", where=source, remedy=remedy)
    return found


def _no_source(source: Path | Url) -> InputError:
    if source.suffix.lower() in ARCHIVES:
        return InputError(
            "expected an archive, found bytes that are none", where=source,
            remedy="Copy or download it again, or pack the images as .zip or .tar.",
        )
    return InputError(
        f"expected {IMAGES}, found another file", where=source,
        remedy="Give the folder that the images are in.",
    )


def _elsewhere(listing: Listing, naming: Naming) -> Found:
    return replace(_with_frames(listing.files, naming, listing.supply), ignored=listing.ignored)


def _in_folder(folder: Path, naming: Naming) -> Found:
    ignored: Counter[str] = Counter()
    root = os.path.realpath(folder)
    # An id stays what it is wherever the folder lies, so it never starts from the working directory.
    start = len(root.rstrip("/\\")) + 1
    paths = sorted(_walk(root, ignored), key=lambda path: path[start:].replace(os.sep, "/"))
    ids = [path[start:].replace(os.sep, "/") for path in paths]
    spelt = [_spelt(name) for name in ids]
    good = [name == other for name, other in zip(ids, spelt, strict=True)]
    columns = {
        "id": spelt,
        "path": [_spelt(path) for path in paths],
        "problem": [None if fine else "bad_name" for fine in good],
        "note": [None if fine else "the file's name is not UTF-8; rename it" for fine in good],
    }
    return replace(_with_frames(pd.DataFrame(columns), naming), ignored=dict(ignored))


def _walk(root: str, ignored: Counter[str]) -> Iterator[str]:
    """Yield the candidates below ``root``; each folder is entered once, so links cannot loop."""
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            raise InputError(
                f"cannot read a folder: {error.strerror}", where=folder,
                remedy="Give yourself the right to read it, or leave it out of the images.",
            ) from error
        if folder != root and any(entry.name == "run.json" for entry in entries):
            ignored["run directories"] += 1
            continue
        for entry in entries:
            kind = _kind(entry, root)
            if kind == "folder":
                pending.append(entry.path)
            elif kind == "image":
                yield entry.path
            else:
                ignored[kind] += 1


def _kind(entry: os.DirEntry[str], root: str) -> str:
    """``folder``, ``image``, or why the entry is passed over."""
    kind = kind_of_name(entry.name)
    if kind == "hidden files" or entry.name.lower() in HELPER_NAMES:
        pass
    elif entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not target.startswith(root.rstrip("/\\") + os.sep):
            kind = "links that leave the folder"
        elif not Path(target).is_file():
            kind = "links to folders or to nothing"
    elif entry.is_dir(follow_symlinks=False):
        kind = "folder"
    elif not entry.is_file(follow_symlinks=False):
        kind = "devices and pipes"
    return kind


def _spelt(name: str) -> str:
    """The name with bytes that are not UTF-8 written out; no table could hold them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _in_table(path: Path | Url, naming: Naming) -> Found:
    rows = read_rows(path, required=("image",), optional=("path", *LABEL_COLUMNS)).dropna(subset="image")
    named = "path" in rows
    places = rows["path"].fillna(rows["image"]) if named else rows["image"]
    supply: Supply = Bucket(path.parent) if isinstance(path, Url) else LOCAL
    base, mark = (path.parent, "/") if isinstance(path, Url) else (path.absolute().parent, os.sep)
    paths = pd.Series([_joined(base, str(name), path) for name in places], dtype="str")
    if not named:  # An image outside the table's folder keeps its whole path as its id.
        rows["image"] = paths.str.removeprefix(f"{base}{mark}").str.replace(mark, "/").to_numpy()
    listed = pd.DataFrame({"id": rows["image"].to_numpy(), "path": paths}).drop_duplicates()
    if (twice := listed["id"].duplicated()).any():
        raise TableError(
            "one image has two paths", where=f"{path}, {listed['id'][twice].iloc[0]!r}",
            remedy="Give each file a name of its own in the column 'image'.",
        )
    listed = listed.sort_values("id", ignore_index=True)
    there = supply.has if isinstance(supply, Bucket) else lambda name: Path(name).is_file()
    absent = ~listed["path"].map(there).to_numpy(dtype=bool)
    nothing = pd.Series(None, index=listed.index, dtype=object)
    listed["problem"] = nothing.mask(absent, "no_file")
    listed["note"] = nothing.mask(absent, "the table lists it, but there is no such file")
    found = _with_frames(listed, naming, supply)
    if not len(found.table) or not rows.columns.intersection(list(LABEL_COLUMNS)).size:
        return found
    return replace(found, table=LabelSet.of(rows, found.table, where=path).apply(found.table))


def _joined(base: Path | Url, name: str, table: Path | Url) -> str:
    """The path of what a table lists, relative to the table's folder."""
    if isinstance(base, Url):
        return base / posixpath.normpath(name.removeprefix(f"{base}/"))
    if isinstance(place(name), Url):
        raise TableError(
            "the table lists URLs, and lies on this machine", where=f"{table}, {without_secrets(name)!r}",
            remedy="Put the table beside the images and give its URL, or list paths.",
        )
    return os.path.normpath(base / name)


def _with_frames(files: pd.DataFrame, naming: Naming, supply: Supply = LOCAL) -> Found:
    """One row a frame where a file is a DICOM with several, and the groups that DICOM files tell of."""
    suspects = [
        row for row, (path, problem) in enumerate(zip(files["path"], files["problem"], strict=True))
        if pd.isna(problem) and _may_be_dicom(path, supply)
    ]
    counts, named = np.ones(len(files), dtype=int), 0
    groups, numbers = (np.full(len(files), None, dtype=object) for _ in range(2))
    for row, facts in zip(suspects, _headers(files.iloc[suspects], naming, supply), strict=True):
        counts[row], groups[row], numbers[row] = facts["frames"], facts["group"], facts["number"]
        named += facts["named"]
    groups = _linked(groups, numbers)
    frames = files.assign(group=groups)
    if (counts > 1).any():
        frames = frames.loc[files.index.repeat(counts)]
        several = np.repeat(counts > 1, counts)
        number = pd.Series([str(number) for count in counts for number in range(count)], frames.index)
        frames["group"] = frames["group"].fillna(frames["id"].where(several))
        frames["id"] = frames["id"].where(~several, frames["id"] + "#" + number)
        frames = frames.sort_values("id")
    grouped = int((groups != None).sum())  # noqa: E711 - elementwise
    return Found(ImageTable.of(frames), named=named, grouped=grouped, supply=supply, naming=naming)


def _linked(groups: NDArray[np.object_], numbers: NDArray[np.object_]) -> NDArray[np.object_]:
    """A number that stands in some file without its issuer may be any issuer's: all who have it are one."""
    without = {*groups} & {*numbers}
    return np.where([number in without for number in numbers], numbers, groups)


def _headers(files: pd.DataFrame, naming: Naming, supply: Supply) -> Iterator[Mapping[str, Any]]:
    """What each file's header says; a file that ends its decoder will do so again, and get its reason."""
    names, paths = files["id"].tolist(), files["path"].tolist()
    with supply.ready(paths, again=True) as ready:
        def task(row: int) -> dict[str, Any]:
            return {
                "do": "header", **ready(row), "name": names[row], "group_by": naming.group_by,
                "key": naming.key.hex(),
            }

        for answer in answers(range(len(names)), task):
            yield NO_HEADER if isinstance(answer, ImageError) else answer[0]


def _may_be_dicom(path: str, supply: Supply) -> bool:
    if suffix_of(path) in NEVER_DICOM:
        return False
    head = supply.head(path, 132)
    return head is None or looks_like_dicom(head)
