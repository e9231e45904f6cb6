"""The page on this machine: a socket of the loopback, uvicorn on it, and the browser."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from urllib.parse import urlencode

from starlette.types import ASGIApp

from hundredfold.web.listening import configured, serve_until_stopped

__all__ = ["serve"]


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
    address = f"http://{listening.getsockname()[0]}:{port}/?{urlencode({'token': token})}"

    def tell() -> None:
        say(f"Labelling at {address}")
        say("Ctrl-C ends it; every answer is kept the moment it is given.")
        if browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()

    serve_until_stopped(configured(make(port)), listening, tell)
