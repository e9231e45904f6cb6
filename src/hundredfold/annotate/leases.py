"""Who has which image before them, so that two do not read the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable

__all__ = ["Leases"]


class Leases:
    """Things lent for some seconds at a time; a heartbeat prolongs that, and who falls silent loses them.

    Args:
        seconds: how long a lease holds after the last heartbeat.
        clock: gives seconds.

    Examples:
        >>> now = [0.0]
        >>> leases = Leases(60, clock=lambda: now[0])
        >>> leases.take("a.png", "Anna"), leases.take("a.png", "Ben")
        (True, False)
        >>> now[0] = 61.0
        >>> leases.take("a.png", "Ben"), leases.keep(["a.png"], "Anna")
        (True, ['a.png'])
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lent: dict[Hashable, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def take(self, thing: Hashable, holder: str) -> bool:
        """Lend a thing, or go on lending it to who has it; false if another has it."""
        with self._lock:
            now = self._clock()
            other, until = self._lent.get(thing, (holder, now))
            if other != holder and until > now:
                return False
            self._lent[thing] = holder, now + self.seconds
            return True

    def keep(self, things: Iterable[Hashable], holder: str) -> list[Hashable]:
        """Go on lending; gives the things that another has meanwhile."""
        return [thing for thing in things if not self.take(thing, holder)]

    def give_back(self, holder: str, things: Iterable[Hashable] | None = None) -> None:
        """End the leases of a holder: of some things, or of all."""
        with self._lock:
            for thing in list(self._lent) if things is None else things:
                if self._lent.get(thing, ("", 0))[0] == holder:
                    del self._lent[thing]
