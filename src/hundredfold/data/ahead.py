"""Files fetched ahead of their decoding, in a few threads: the next ones come while others are decoded."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from hundredfold.data.supply import Ready
from hundredfold.errors import ImageError

__all__ = ["Fetch", "Scratch", "ahead"]

#: The place of an image → its name, its bytes, and what else a decoder is told of them.
Fetch: TypeAlias = Callable[[int], tuple[str, bytes, Mapping[str, Any]]]
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")
#: Files that are fetched at once, and that lie ready at most.
THREADS, AHEAD = 16, 48
#: Bytes of fetched files that are kept for being wanted again.
MOST_KEPT = 2_000_000_000


class Scratch:
    """Fetched files that will be wanted again: a header is looked at first, and pixels are decoded later.

    They lie in a temporary folder, which goes with this object.
    """

    def __init__(self) -> None:
        self._room, self._lock = MOST_KEPT, threading.Lock()

    @cached_property
    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="hundredfold-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def get(self, name: str, fetch: Callable[[], bytes], *, again: bool, shared: bool = False) -> bytes:
        """The bytes of a file, fetched if it is not here.

        Args:
            name: of the file.
            fetch: gets its bytes.
            again: whether it will be wanted later.
            shared: whether others may want it at the same time, as the frames of one file do.
        """
        with self._lock if shared else nullcontext():
            file = self._folder / hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
            if file.exists():
                data = file.read_bytes()
                if not (again or shared):
                    file.unlink()
                return data
            data = fetch()
            if (again or shared) and len(data) <= self._room:
                self._room -= len(data)
                file.write_bytes(data)
            return data


@contextmanager
def ahead(count: int, fetch: Fetch) -> Iterator[Ready]:
    """Fetch ``count`` files in their order, into a folder from which a decoder reads each once.

    Raises:
        HundredfoldError: whatever ``fetch`` raises but an :class:`ImageError`, which costs one image.
    """
    waiting: dict[int, Future[Mapping[str, Any]]] = {}
    begun = 0

    def keep(place: int) -> Mapping[str, Any]:
        try:
            name, data, told = fetch(place)
        except ImageError as error:
            return {"do": "refuse", "reason": error.reason, "sentence": error.sentence}
        suffix = SUFFIX.search(name)
        path = Path(folder) / f"{place}{suffix[0] if suffix else ''}"
        path.write_bytes(data)
        return {**told, "path": str(path), "once": True}

    def ready(place: int) -> Mapping[str, Any]:
        nonlocal begun
        while begun < min(count, place + AHEAD):
            waiting[begun] = pool.submit(keep, begun)
            begun += 1
        found = waiting.pop(place, None)  # none at a second try, when a decoder died of the first
        return keep(place) if found is None else found.result()

    with tempfile.TemporaryDirectory(prefix="hundredfold-") as folder, ThreadPoolExecutor(THREADS) as pool:
        try:
            yield ready
        finally:
            pool.shutdown(cancel_futures=True)
