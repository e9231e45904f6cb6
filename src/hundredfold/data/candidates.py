"""Which names are never those of images, wherever they stand: in a folder, an archive or a bucket."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["ARCHIVES", "HELPER_NAMES", "NESTED", "candidates", "kind_of_name", "suffix_of", "tidy"]

#: Suffixes of files that are never images; everything else is judged by its content.
HELPERS = frozenset(
    f".{suffix}"
    for kind in (
        "csv tsv txt md rst json jsonl yaml yml toml ini cfg xml html htm tex bib log url lnk sha256 md5",
        "pdf doc docx xls xlsx ods ppt pptx rtf db sqlite parquet pq feather npy npz mat h5 hdf5 pkl",
        "pt pth ckpt onnx safetensors py ipynb r m sh bat exe dll js css",
        "mp4 avi mov mkv mpg mp3 wav",
        "cls cls2 pyd cbor msg",  # beside the images of a WebDataset
    )
    for suffix in kind.split()
)
ARCHIVES = frozenset(
    f".{suffix}" for suffix in ("zip", "tar", "gz", "tgz", "bz2", "tbz2", "xz", "txz", "zst", "7z", "rar")
)
NESTED = "archives (not opened)"
HELPER_NAMES = frozenset(
    {"thumbs.db", "desktop.ini", "dicomdir", "license", "readme", "makefile", "__macosx"}
)
DRIVE = re.compile(r"[A-Za-z]:")


def kind_of_name(name: str) -> str:
    """``image``, if the name of a file or folder may be that of one, or as what it is passed over.

    Examples:
        >>> kind_of_name("a.png"), kind_of_name(".a.png"), kind_of_name("labels.csv"), kind_of_name("b.zip")
        ('image', 'hidden files', 'other files', 'archives (not opened)')
    """
    if name.startswith("."):
        return "hidden files"
    if name.lower() in HELPER_NAMES or suffix_of(name) in HELPERS:
        return "other files"
    return NESTED if suffix_of(name) in ARCHIVES else "image"


def suffix_of(name: str) -> str:
    """The last suffix of a name or path, with its dot and in small letters."""
    _, dot, suffix = name.rpartition(".")
    return dot + suffix.lower()


def candidates(names: Iterable[str], ignored: Counter[str]) -> list[str]:
    """Those of the paths that may be images: the same as in a folder of such files.

    Args:
        names: paths with ``/``, relative to where the search begins.
        ignored: where those that are passed over are counted, by their kind.

    Examples:
        >>> ignored = Counter()
        >>> candidates(["a.png", "__MACOSX/._a.png", "run/run.json", "run/figures/curve.png"], ignored)
        ['a.png']
        >>> dict(ignored)
        {'run directories': 1, 'other files': 1}
    """
    listed = list(names)
    ends = (name.rpartition("/") for name in listed)
    runs = {folder for folder, _, last in ends if folder and last == "run.json"}
    ignored.update({"run directories": len(runs)} if runs else {})
    kind_of_folder = lru_cache(_kind_of_folder)
    kept = []
    for name in listed:
        folder, _, last = name.rpartition("/")
        if any(folder == run or folder.startswith(f"{run}/") for run in runs):
            continue
        kind = kind_of_folder(folder)
        kind = kind_of_name(last) if kind == "image" else kind
        if kind == "image":
            kept.append(name)
        else:
            ignored[kind] += 1
    return kept


def tidy(name: str) -> str | None:
    """A path as an id has it, or ``None`` where it leaves the place it is relative to, or cannot be one.

    Examples:
        >>> tidy("./a//b.png"), tidy("../b.png"), tidy("/b.png"), tidy("C:/b.png")
        ('a/b.png', None, None, None)
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or DRIVE.fullmatch(parts[0]):
        return None
    return "/".join(parts)


def _kind_of_folder(folder: str) -> str:
    """``image``, or as what all that is in a folder is passed over; a folder may have any suffix."""
    for part in folder.split("/"):
        if part.startswith(".") and part != "..":  # which is rejected, not passed over
            return "hidden files"
        if part.lower() in HELPER_NAMES:
            return "other files"
    return "image"
