"""Who is answered: with the token, under a name of ours, from no page elsewhere; and how much may come in.

A page from elsewhere may make a browser call us (cross-site requests), or give itself the address of this
machine (DNS rebinding); so the names of host and origin are checked even where no token is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hundredfold.serve.measures import Measures
from hundredfold.serve.room import FullError, Room
from hundredfold.web.asking import (
    HEADERS,
    LOOPBACK,
    READING,
    RefusedError,
    host_name,
    read_body,
    replayed,
    same,
    with_headers,
)

if TYPE_CHECKING:
    from hundredfold.serve.room import Held

__all__ = ["OPEN", "Guard", "Terms", "refusal"]

#: What says nothing of the predictor and of no image, and is there for who watches over the service.
OPEN = frozenset({"/", "/openapi.json", "/health", "/ready"})
#: Bodies of the largest size that may be in memory at once.
BODIES = 4


@dataclass(frozen=True)
class Terms:
    """On which terms requests are answered.

    Args:
        token: that a request must bring; ``None`` asks for none.
        names: under which the service is asked; ``None`` takes any.
        most_body: bytes of a request's body.
        body_seconds: until it must be there.
        answer_seconds: until it must be answered.
    """

    token: str | None = None
    names: frozenset[str] | None = LOOPBACK
    most_body: int = 32_000_000
    body_seconds: float = 30.0
    answer_seconds: float = 60.0


class Guard:
    """Checks every request before the application sees it, and counts what became of it.

    Args:
        app: the application.
        terms: on which it answers.
        measures: count requests.
        patience: after how many seconds who found no room may try again.
        policy: the content security policy of the page.
        paths: the addresses there are; others are counted as one.
        log: takes a line a request, which tells of no image and no person.
    """

    def __init__(
        self, app: ASGIApp, terms: Terms, measures: Measures, *, patience: Callable[[], int], policy: str,
        paths: frozenset[str], log: Callable[[str], None],
    ) -> None:
        self.app, self.terms, self.measures, self.patience = app, terms, measures, patience
        self.room = Room(BODIES * terms.most_body)
        self.headers = {**HEADERS, "content-security-policy": policy}
        self.paths, self.log = paths, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":  # no lifespan, no sockets
            return
        began, status = time.monotonic(), 499  # nobody was there to take an answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, with_headers(noting, self.headers))
        finally:
            self._note(scope, status, time.monotonic() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp
        try:
            self._check(scope)
            with self.room.hold(_declared(scope, self.terms.most_body)) as held:
                if scope["method"] not in READING:
                    coming = _counted(receive, held)
                    terms = self.terms
                    body = await read_body(scope, coming, most=terms.most_body, seconds=terms.body_seconds)
                    receive = replayed(body, receive)
                async with asyncio.timeout(self.terms.answer_seconds):
                    await self.app(scope, receive, send)
                return
        except RefusedError as refused:
            answer = refusal(refused.status, refused.sentence, **refused.headers)
        except FullError:
            answer = self._later("Too much waits to be answered.")
        except TimeoutError:
            answer = self._later("It took too long to answer.")
        except Exception as error:  # noqa: BLE001 - its message may tell of an image; its kind does not
            self.log(f"a fault of ours: {type(error).__name__}")
            answer = refusal(500, "A fault of ours.")
        await answer(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raises RefusedError."""
        headers, terms = Headers(scope=scope), self.terms
        host, origin = headers.get("host", ""), headers.get("origin")
        if terms.names is not None and host_name(host) not in terms.names:
            raise RefusedError(403, "The service is not asked under this name.")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise RefusedError(403, "This request comes from a page elsewhere.")
        if terms.token is not None and scope["path"] not in OPEN:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not same(given.strip(), terms.token):
                raise RefusedError(401, "Send the token: Authorization: Bearer …")

    def _later(self, sentence: str) -> Response:
        return refusal(503, sentence, **{"retry-after": str(self.patience()), "connection": "close"})

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else "other"
        self.measures.requests.labels(path, str(status)).inc()
        if path == "/predict":
            self.measures.seconds.labels(path).observe(seconds)
        if path not in OPEN:
            self.log(f"{scope['method']} {path} {status} {1000 * seconds:.0f} ms")


def refusal(status: int, sentence: str, **headers: str) -> Response:
    """An answer that says why there is none."""
    more = {"www-authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": sentence}, status, {**headers, **more})


def _declared(scope: Scope, most: int) -> int:
    """The bytes that a body says it has, as far as it may have them."""
    length = Headers(scope=scope).get("content-length", "0")
    return min(int(length), most) if length.isdecimal() else 0


def _counted(receive: Receive, held: Held) -> Receive:
    """Hold room for what comes beyond what was declared."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        held.grow(size)
        return message

    return counting
