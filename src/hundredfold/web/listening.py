"""A socket, and uvicorn on it, which waits for nobody: no connection is held without a request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from hundredfold.errors import InputError

__all__ = ["bound", "configured", "serve_until_stopped"]

#: Connections at once, each with at most one request of bounded size; further ones are told to wait (503).
MOST_CONNECTIONS = 400
#: Until the next request of a connection begins, and until its head is there.
IDLE_SECONDS, HEAD_SECONDS = 60, 10.0


def bound(port: int | None, host: str = "127.0.0.1") -> socket.socket:
    """A socket at the port, or at a free one.

    Raises:
        InputError: the port or the host cannot be had.
    """
    listening: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)  # from now on who comes waits, in place of being turned away
    except OSError as error:
        if listening is not None:
            listening.close()
        raise InputError(
            f"the port cannot be had: {error.strerror}", where=f"{host}:{port or 'any'}",
            remedy="Choose another --port (or --host, if it is not of this machine).",
        ) from None
    return listening


def configured(app: ASGIApp, **more: Any) -> uvicorn.Config:
    """How uvicorn serves an application of ours: quietly, and with limits."""
    settings: dict[str, Any] = {
        "log_level": "warning", "access_log": False, "server_header": False, "lifespan": "off", "ws": "none",
        "limit_concurrency": MOST_CONNECTIONS, "timeout_keep_alive": IDLE_SECONDS,
        "timeout_graceful_shutdown": 3, "h11_max_incomplete_event_size": 32_768, "http": Impatient, **more,
    }
    return uvicorn.Config(app, **settings)


def serve_until_stopped(config: uvicorn.Config, listening: socket.socket, tell: Callable[[], None]) -> None:
    """Serve until Ctrl-C, from the main thread; ``tell``, which says where, is called once that is heard."""
    with suppress(KeyboardInterrupt):
        _Server(config, tell).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells where it is once a Ctrl-C is its own: one before may end in an import or a finaliser, unheard."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and tell."""
        await super().startup(sockets=sockets)
        self._tell()


class Impatient(H11Protocol):
    """Uvicorn's protocol with a time for the head of a request, that of a connection's first one among them.

    By itself uvicorn waits for ever for one that was begun and is not ended (a slow loris).
    """

    head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on where the head of a request is not complete, and no longer where it is."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.head is None:
            self.head = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self.head is not None:
            self.head.cancel()
            self.head = None

    def _give_up(self) -> None:
        self.head = None
        self.transport.abort()
