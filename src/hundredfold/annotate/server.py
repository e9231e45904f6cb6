"""The page on this machine: a socket of the loopback, uvicorn, and the browser."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlencode

import uvicorn
from starlette.types import ASGIApp

from hundredfold.errors import InputError

__all__ = ["bound", "serve"]

HOST = "127.0.0.1"
#: Connections at once, each with at most one request of bounded size; further ones are told to wait (503).
MOST_CONNECTIONS = 400
IDLE_SECONDS = 60


def bound(port: int | None) -> socket.socket:
    """A socket of the loopback at the port, or at a free one.

    Raises:
        InputError: another program has the port.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port or 0))
        listening.listen(128)  # from now on who comes waits, in place of being turned away
    except OSError as error:
        listening.close()
        raise InputError(
            f"the port cannot be had: {error.strerror}", where=port,
            remedy="Choose another --port, or none: then a free one is taken.",
        ) from None
    return listening


def serve(
    make: Callable[[int], ASGIApp], token: str, *, listening: socket.socket, browser: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the page until Ctrl-C; what was answered until then is on the disk.

    Args:
        make: port → the application.
        token: that the address must hold.
        listening: the socket.
        browser: whether to open the page in a browser.
        say: tells the user where the page is.
    """
    port = listening.getsockname()[1]
    address = f"http://{HOST}:{port}/?{urlencode({'token': token})}"
    config = uvicorn.Config(
        make(port), log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none",
        limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=IDLE_SECONDS, timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=32_768,
    )
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        say(f"Labelling at {address}")
        say("Ctrl-C ends it; every answer is kept the moment it is given.")
        if browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        server.run(sockets=[listening])
