"""How much may wait at once; who comes beyond it is told when to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["FullError", "Room"]


class FullError(Exception):
    """There is no room now."""


class Room:
    """Room for so many things; used from one thread.

    Examples:
        >>> room = Room(3)
        >>> with room.hold(2):
        ...     room.taken
        2
        >>> room.taken
        0
        >>> with room.hold(4):
        ...     pass
        Traceback (most recent call last):
            ...
        hundredfold.serve.room.FullError
    """

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    @contextmanager
    def hold(self, count: int) -> Iterator[Held]:
        """Hold a part of the room for as long as the block lasts.

        Raises:
            FullError: there is not so much.
        """
        held = Held(self)
        try:
            held.grow(count)
            yield held
        finally:
            self.taken -= held.count


class Held:
    """A part of a room."""

    def __init__(self, room: Room) -> None:
        self.room, self.count = room, 0

    def grow(self, count: int) -> None:
        """Hold so much, if it is more than before.

        Raises:
            FullError: there is not so much.
        """
        more = max(0, count - self.count)
        if self.room.taken + more > self.room.most:
            raise FullError
        self.room.taken += more
        self.count += more
