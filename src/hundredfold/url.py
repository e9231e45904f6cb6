"""Places behind a URL: what is one, that it holds no secret, and the files there.

A URL is used only where the user named it. Who may read is known to the storage's own library, from the
environment or its own files (``AWS_…``, ``GOOGLE_…``, ``AZURE_…``); a URL never holds a key.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import core_schema

from hundredfold.errors import HundredfoldError, InputError, SettingsError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = [
    "PROTOCOLS", "Url", "fetched_folder", "info_of", "place", "put", "read_bytes", "speaking", "storage",
    "tag_of", "without_secrets",
]

#: protocol → the package that speaks it, and the extra of ours that installs it; memory is for tests.
PROTOCOLS: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "gcs": ("gcsfs", "gs"),
    "az": ("adlfs", "az"), "abfs": ("adlfs", "az"), "abfss": ("adlfs", "az"), "memory": ("fsspec", ""),
}
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
#: What is left of a URL that went through a path.
PATH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSW|SAS|CREDENTIAL|CONNECTION", re.IGNORECASE)
SHORTEST_SECRET = 8
#: What tells whether a file is another than before, in the words of the storages; the first that is known.
TAGS = ("ETag", "etag", "md5Hash", "generation", "content_md5", "LastModified", "last_modified", "updated",
        "mtime", "created")


class Url(str):
    """A folder or file behind a URL, without its last slash.

    Examples:
        >>> place = Url("s3://bucket/cells")
        >>> place / "a.png", place.name, (place / "a.png").suffix
        ('s3://bucket/cells/a.png', 'cells', '.png')
    """

    __slots__ = ()

    def __truediv__(self, name: str) -> Self:
        return type(self)(f"{self}/{name}")

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.partition("://")[0]

    @property
    def parent(self) -> Url:
        """The folder it is in; a bucket is in itself."""
        head, _, _ = self.partition("://")[2].rpartition("/")
        return Url(f"{self.protocol}://{head}") if head else self

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot and in small letters."""
        _, dot, suffix = self.name.rpartition(".")
        return dot + suffix.lower() if dot else ""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        """A setting of this type is written as text."""
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


def place(given: object) -> Path | Url:
    """What a user named, as a path of this machine or as a URL.

    Raises:
        SettingsError: the URL is of a kind that is not read, or holds a key.

    Examples:
        >>> place("cells"), place("s3://bucket/cells/")
        (PosixPath('cells'), 's3://bucket/cells')
        >>> place("https://host/a.zip?token=1234567890")
        Traceback (most recent call last):
            ...
        hundredfold.errors.SettingsError: expected a path, or a URL that begins with s3://, gs:// or az://;
        found https:// (https://host/a.zip). Download it, and give the file.
    """
    if isinstance(given, Url):
        return given
    text = PATH.sub(r"\1://", str(given), count=1) if isinstance(given, Path) else str(given)
    found = URL.fullmatch(text)
    if found is None:
        return Path(text)
    protocol, rest = found[1].lower(), found[2].rstrip("/")
    if protocol == "file":
        return Path(rest)
    shown = without_secrets(text)
    if protocol not in PROTOCOLS:
        raise SettingsError(
            f"expected a path, or a URL that begins with s3://, gs:// or az://; found {protocol}://",
            where=shown, remedy="Download it, and give the file.",
        )
    if "?" in rest or re.match(r"[^/]*:[^/]*@", rest):
        raise SettingsError(
            "the URL holds a key, a token or a query, and a run would keep it", where=shown,
            remedy="Give the URL without it, and the key in the environment (docs/files.md says how).",
        )
    return Url(f"{protocol}://{rest}")


def without_secrets(text: str) -> str:
    """A text without queries of URLs, names and passwords before a host, and values of secret variables.

    Examples:
        >>> without_secrets("Cannot read https://me:1234@host/a.png?sig=abc, try again")
        'Cannot read https://host/a.png try again'
    """
    text = re.sub(r"(://)[^/\s@]*:[^/\s@]*@", r"\1", text)
    text = re.sub(r"(://[^\s?]*)\?\S*", r"\1", text)
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, "…")
    return text


@lru_cache
def storage(protocol: str) -> AbstractFileSystem:
    """What speaks a protocol.

    Raises:
        InputError: its package is not installed.
    """
    import fsspec

    package, extra = PROTOCOLS[protocol]
    try:
        # What is listed is asked for anew: a file may have changed since.
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError:
        raise InputError(
            f"{protocol}:// needs the package {package}, which is not installed",
            remedy=f"pip install 'hundredfold[{extra}]'",
        ) from None


@contextmanager
def speaking(url: Url) -> Iterator[AbstractFileSystem]:
    """The storage behind a URL; what goes wrong there is told without secrets.

    A file that is not there stays a :class:`FileNotFoundError`.

    Raises:
        InputError: it may not be read, there is no such place, or the connection failed.
    """
    try:
        yield storage(url.protocol)
    except (HundredfoldError, FileNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - each storage has its own errors, not all of them OSErrors
        said = without_secrets((str(error).splitlines() or [""])[0])[:200].rstrip(". ")
        raise InputError(
            f"the storage does not answer as it should: {said or type(error).__name__}", where=url,
            remedy="Check the URL, the connection and the keys in the environment; --resume goes on.",
        ) from None


def info_of(url: Url) -> dict[str, Any] | None:
    """What the storage says of a file or folder (``type``, ``size`` …); ``None`` where there is none."""
    with speaking(url) as files:
        try:
            return dict(files.info(url))
        except FileNotFoundError:
            return None


def tag_of(info: Mapping[str, Any]) -> str:
    """What changes if a file does, by the words of its storage; empty where it says nothing."""
    for name in TAGS:
        if value := info.get(name):
            when = getattr(value, "timestamp", None)
            return f"{when() if when else value}".strip('"')
    return ""


def read_bytes(url: Url) -> bytes:
    """All bytes of a file.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    with speaking(url) as files:
        try:
            return bytes(files.cat_file(url))
        except FileNotFoundError:
            raise InputError(
                "expected a file, found nothing there", where=url, remedy="Check the URL."
            ) from None


@contextmanager
def fetched_folder(url: Url, marker: str, *inner: str) -> Iterator[Path]:
    """A copy on this machine, for a while, of a small folder behind a URL.

    Args:
        url: of the folder, or of one that has it as ``inner``.
        marker: a file that the folder holds.
        inner: names under which it may lie in the one that was named.

    Raises:
        InputError: there is no such folder, or it cannot be read.
    """
    places = [url, *(url / name for name in inner)]
    found = next((folder for folder in places if info_of(folder / marker) is not None), None)
    if found is None:
        raise InputError(f"expected a folder with {marker}, found none", where=url, remedy="Check the URL.")
    with tempfile.TemporaryDirectory(prefix="hundredfold-") as folder:
        with speaking(found) as files:
            root = str(files._strip_protocol(found)).rstrip("/")  # noqa: SLF001 - nothing else tells
            for name in files.find(found):
                relative = str(name)[len(root) + 1 :]
                if not {"", ".", ".."} & set(relative.split("/")):  # no name leads out of the folder
                    (Path(folder) / relative).parent.mkdir(parents=True, exist_ok=True)
                    files.get_file(name, str(Path(folder) / relative))
        yield Path(folder)


def put(source: Path, target: Url, *, last: str = "") -> None:
    """Write a file, or all files of a folder, behind a URL.

    Args:
        source: the file or folder.
        target: what it is to be.
        last: the file of the folder without which it is nothing, so that none is ever half there.

    Raises:
        InputError: it cannot be written.
    """
    with speaking(target) as files:
        if source.is_file():
            files.put_file(str(source), str(target))
            return
        every = [path for path in source.rglob("*") if path.is_file()]
        for path in sorted(every, key=lambda path: (path.name == last and path.parent == source, path)):
            files.put_file(str(path), target / path.relative_to(source).as_posix())
