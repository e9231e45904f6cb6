"""Work beside the page, in a process of its own: the page stays as quick as it is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

__all__ = ["Background", "changed"]


class Background:
    """One process that does one thing after the other, started when it is first needed."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a function of a module called there; where the process was killed, in a new one."""
        with self._lock:
            try:
                return self._begun().submit(function, *arguments)
            except BrokenProcessPool:
                self._pool = None
                return self._begun().submit(function, *arguments)

    def _begun(self) -> ProcessPoolExecutor:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, spawn, initializer=_begin)
        return self._pool

    def close(self) -> None:
        """End the process; what it is at is given up."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):  # noqa: SLF001 - there is no other way before 3.14
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> int:
    """Of how many images the label is new, another, or gone.

    Examples:
        >>> changed({"a": "cat", "b": "dog"}, {"a": "dog", "c": "dog"})
        3
    """
    return sum(now.get(image) != before.get(image) for image in now.keys() | before.keys())


def _begin() -> None:
    """Give way to the page, leave Ctrl-C to it, and go when it goes, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its bars would stand among our lines
    if hasattr(os, "nice"):
        os.nice(10)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
