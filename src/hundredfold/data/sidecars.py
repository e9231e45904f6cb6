"""What stands beside the images of an archive, as in a WebDataset: ``.cls``, ``.json``, ``.txt``.

Members whose names agree up to the first dot belong together (the convention of Aizman et al., *High
Performance I/O For Large Scale Deep Learning*, 2020): ``a/007.jpg``, ``a/007.cls``, ``a/007.json``.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from hundredfold.data.archive import Archive
from hundredfold.data.candidates import candidates, suffix_of
from hundredfold.errors import ImageError, TableError
from hundredfold.url import Url

__all__ = ["rows_beside", "stem_of"]

KINDS = (".cls", ".json", ".txt")
#: A longer text is a caption or a report, and no name of a class.
LONGEST_LABEL = 100
LARGEST = 1_000_000


def stem_of(name: str) -> str:
    """What members that belong together have in common.

    Examples:
        >>> stem_of("a.b/007.jpg"), stem_of("a.b/007.left.json")
        ('a.b/007', 'a.b/007')
    """
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def rows_beside(archive: Archive, inside: str, where: Path | Url) -> pd.DataFrame:
    """One row an image with something beside it: ``image``, ``label``, and the keys of its JSON.

    The label is that of the ``.cls``, else ``label`` in the ``.json``, else the ``.txt``.

    Args:
        archive: with its images.
        inside: the folder of the archive that names begin at; empty for all of it.
        where: the archive, as errors name it.

    Raises:
        TableError: nothing stands beside any image, or something is no text, no JSON object, or too long; or
            of one kind two belong to an image.
    """
    top = f"{inside}/" if inside else ""
    names = [name[len(top) :] for name in archive.members.named if name.startswith(top)]
    beside: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if suffix_of(name) in KINDS:
            beside[stem_of(name)].append(name)
    images = [name for name in sorted(candidates(names, Counter())) if stem_of(name) in beside]
    if not images:
        raise TableError(
            "the archive has no .cls, .json or .txt beside its images", where=where,
            remedy="Give the labels as a CSV or Parquet table with the columns image,label.",
        )
    _check_one_each(images, beside, where)
    wanted = [name for stem in dict.fromkeys(map(stem_of, images)) for name in beside[stem]]
    told = dict(zip(wanted, _texts(archive, top, wanted, where), strict=True))
    read = {
        stem: _row({suffix_of(name): told[name] for name in beside[stem]}, beside[stem][0], where)
        for stem in dict.fromkeys(map(stem_of, images))
    }
    return pd.DataFrame([{"image": name, **read[stem_of(name)]} for name in images])


def _check_one_each(images: list[str], beside: Mapping[str, list[str]], where: Path | Url) -> None:
    """Names with dots, as those of DICOM have, may agree up to the first: what is whose is not known then."""
    for image in images:
        names = beside[stem_of(image)]
        for kind in KINDS:
            mine = [name for name in names if suffix_of(name) == kind]
            if len(mine) > 1:
                raise TableError(
                    f"expected one {kind} beside an image, found {len(mine):,} whose names agree with it "
                    f"up to the first dot, {mine[0]!r} and {mine[1]!r} among them",
                    where=f"{where}, {image!r}",
                    remedy="Rename them without dots before the suffix, or give the labels as a CSV or "
                    "Parquet table.",
                )


def _texts(archive: Archive, top: str, names: list[str], where: Path | Url) -> Iterable[str]:
    members = [archive.members.named[top + name] for name in names]
    for name, member in zip(names, members, strict=True):
        if member.problem is not None:
            raise _unread(f"what cannot be read: {member.note}", name, where)
        if member.part.size > LARGEST:
            raise _unread(f"{member.part.size:,} bytes, more than a label has", name, where)
    for name, data in zip(names, archive.contents([member.part for member in members]), strict=True):
        if isinstance(data, ImageError):
            raise _unread(data.sentence, name, where)
        try:
            yield data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise _unread("no UTF-8 text", name, where) from None


def _row(texts: Mapping[str, str], name: str, where: Path | Url) -> dict[str, str]:
    row = _flat(texts[".json"], name, where) if ".json" in texts else {}
    if texts.get(".cls"):
        row["label"] = texts[".cls"]
    elif not row.get("label") and ".txt" in texts:
        if len(texts[".txt"]) > LONGEST_LABEL or "\n" in texts[".txt"]:
            raise _unread("a text that is no name of a class in the .txt", name, where)
        row["label"] = texts[".txt"]
    return row


def _flat(text: str, name: str, where: Path | Url) -> dict[str, str]:
    """The words and numbers of a JSON object; what is nested is left out."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unread("no JSON object in the .json", name, where)
    plain = {str(key).strip().lower(): value for key, value in found.items()}
    plain.pop("image", None)
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in plain.items() if isinstance(value, str | int | float)
    }


def _unread(what: str, name: str, where: Path | Url) -> TableError:
    return TableError(
        f"expected a label beside the image, found {what}", where=f"{where}, {name!r}",
        remedy="Mend it, or give the labels as a CSV or Parquet table.",
    )
