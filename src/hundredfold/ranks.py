"""Which of the processes of a job this one is, as torchrun tells it.

Every process of ``torchrun -m hundredfold pretrain`` runs the same program. The first one, rank 0,
does what only one may do: it scans, speaks, and writes the run directory.
"""

from __future__ import annotations

import os

__all__ = ["is_first", "local_ranks", "rank", "ranks"]


def ranks() -> int:
    """How many processes share the work, over all machines; 1 without torchrun."""
    return _told("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this process, from 0."""
    return _told("RANK", 0)


def local_ranks() -> int:
    """How many of the processes run on this machine."""
    return _told("LOCAL_WORLD_SIZE", 1)


def is_first() -> bool:
    """Whether this process is the one that speaks and writes.

    Examples:
        >>> is_first(), rank(), ranks(), local_ranks()
        (True, 0, 1, 1)
    """
    return rank() == 0


def _told(name: str, alone: int) -> int:
    # Other launchers set some of these names too, and start processes that do not know of each other.
    return int(os.environ.get(name, alone)) if "TORCHELASTIC_RUN_ID" in os.environ else alone
