"""Many fits on several processes of one thread each, where the work is worth starting them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["in_processes"]

WORTH_A_PROCESS = 10_000_000  # numbers to transform; below, starting processes takes longer than the work

Key = TypeVar("Key")
Result = TypeVar("Result")


def in_processes(
    work: Iterable[tuple[Key, Callable[[], Result]]], *, count: int, numbers: int, jobs: int
) -> Iterator[tuple[Key, Result]]:
    """Do the work and yield each key with its result, in the order in which they come.

    Args:
        work: keys and calls, taken from it when a process is free; a call must be picklable.
        count: how many there are.
        numbers: how many numbers they transform in all.
        jobs: processes at most; 1 works in this one.

    Examples:
        >>> from functools import partial
        >>> work = ((text, partial(len, text)) for text in ("a", "bc"))
        >>> dict(in_processes(work, count=2, numbers=3, jobs=2))
        {'a': 1, 'bc': 2}
    """
    from joblib import Parallel, delayed, parallel_config

    jobs = max(1, min(jobs, count)) if numbers > WORTH_A_PROCESS else 1
    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1 if jobs > 1 else None):
        yield from Parallel(return_as="generator_unordered")(
            delayed(_keyed)(key, call) for key, call in work
        )


def _keyed(key: Key, call: Callable[[], Result]) -> tuple[Key, Result]:
    return key, call()
