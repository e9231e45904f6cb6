"""This process: how many cores it may use, and what it is told before long work so that nothing holds it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["cores", "one_thread", "steady_process"]

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
#: Freed memory is kept for the next step. A step frees and takes tensors of 30 to 150 MB again and again; by
#: itself glibc gives each of them back to the system, which then hands it out page by page, filled with
#: zeros: a fifth of a bfloat16 step of EfficientNet-Lite0, a third of a float32 one (batch 64, 112/56 px).
KEPT = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20}
#: Afterwards: where glibc's own moving thresholds end up in a process that has freed a large tensor.
USUAL = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 64 * 2**20, M_TOP_PAD: 0}

_depth = 0
_limiting = threading.RLock()


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def steady_process() -> Iterator[None]:
    """Keep freed memory, and leave what lives as long as the run out of the search for garbage.

    A full search through the objects of torch and timm took .25 s, every few steps. What the user set in the
    environment (``MALLOC_…``) stays. At the end of the outermost block freed memory goes back.
    """
    global _depth  # noqa: PLW0603 -- it is the process's own, as the allocator is
    allocator = _glibc()
    _depth += 1
    if _depth == 1:
        _tell(allocator, KEPT)
        gc.collect()
        gc.freeze()
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            gc.unfreeze()
            _tell(allocator, USUAL)
            if allocator is not None:
                allocator.malloc_trim(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS work on one thread; for many small products, whose threads would mostly wait for each other.

    A logistic regression of 21 classes, 384 features and 2,100 samples took .19 s on one thread and .8 s on
    two; an SVM and linear discriminants took as long on either. The limit is that of the process, so another
    thread's block waits.
    """
    with _limiting, _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc and the user has not set its allocator."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None


def _tell(allocator: ctypes.CDLL | None, values: dict[int, int]) -> None:
    if allocator is not None:
        for option, value in values.items():
            allocator.mallopt(option, value)
