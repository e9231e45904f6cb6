"""Messages between a decoder's process and ours: JSON, and pixels as they lie in memory. Never a pickle."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hundredfold.data.image import Pixels

__all__ = ["FORK", "NUMBER", "Limits", "receive", "send"]

HEAD = struct.Struct("<II")
#: a square of 2,048 px of three ``float32``, the most that is ever asked for.
LARGEST = 2048 * 2048 * 3 * 4
#: what the nursery is asked and answers: the number of a process, or the limits of one to be forked.
NUMBER, FORK = struct.Struct("<q"), struct.Struct("<qd")


class Limits(NamedTuple):
    """What a worker may take.

    ``memory`` in bytes, beyond what it has from the start: enough for 100 megapixels of three 16-bit
    channels. ``seconds`` of processor time for one image.
    """

    memory: int = 3_000_000_000
    seconds: float = 60.0


def send(channel: socket.socket, facts: Mapping[str, Any], pixels: Pixels | None = None) -> None:
    """Send what JSON can hold, and pixels of any shape beside it."""
    shape = {} if pixels is None else {"shape": pixels.shape, "dtype": pixels.dtype.str}
    text = json.dumps({**facts, **shape}).encode()
    body = b"" if pixels is None else np.ascontiguousarray(pixels).data.cast("B")
    # In one piece: each further one would wake the other end once more.
    channel.sendall(b"".join((HEAD.pack(len(text), len(body)), text, body)))


def receive(channel: socket.socket) -> tuple[dict[str, Any], Pixels | None]:
    """What :func:`send` sent at the other end, checked as what comes from damaged bytes must be.

    Raises:
        ConnectionError: the other end is closed, or what came is no such message.
    """
    length, size = HEAD.unpack(_exactly(channel, HEAD.size))
    if max(length, size) > LARGEST:
        raise ConnectionError("the message is damaged")
    data = _exactly(channel, length + size)
    facts = json.loads(data[:length])
    if not size:
        return facts, None
    shape, dtype = facts.pop("shape"), np.dtype(facts.pop("dtype"))
    if dtype.hasobject or size != int(np.prod(shape)) * dtype.itemsize:
        raise ConnectionError("the message is damaged")
    return facts, np.frombuffer(data, dtype, offset=length).reshape(shape)


def _exactly(channel: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = channel.recv_into(rest, 0, socket.MSG_WAITALL)
        if not count:
            raise ConnectionError("the other end was closed")
        rest = rest[count:]
    return data
