"""The service on its socket, until it is told to end; what was asked until then is answered."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

from starlette.types import ASGIApp

from hundredfold.web.listening import configured, serve_until_stopped

__all__ = ["run"]

#: Until what was asked before the end must be answered, and until an idle connection is closed.
ENDING_SECONDS, IDLE_SECONDS = 15, 20


def run(app: ASGIApp, listening: socket.socket, tell: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, from the main thread; no further connection is taken then.

    ``tell`` is called once either is heard.
    """
    config = configured(
        app, timeout_graceful_shutdown=ENDING_SECONDS, timeout_keep_alive=IDLE_SECONDS, backlog=128
    )
    # uvicorn ends at either signal, and then raises it once more: we have still to clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve_until_stopped(config, listening, tell)
