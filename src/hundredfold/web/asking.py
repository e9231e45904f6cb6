"""What is looked at before an application sees a request: whom it was sent to, by whom, and its body."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

__all__ = [
    "HEADERS", "LOOPBACK", "READING", "RefusedError", "host_name", "read_body", "replayed", "same",
    "with_headers",
]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD"})
#: What no answer goes without.
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class RefusedError(Exception):
    """A request that is not answered, with the status and the sentence that say why."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence
        super().__init__(sentence)

    @property
    def headers(self) -> dict[str, str]:
        """Where the body was not read to its end, the connection is of no more use."""
        return {"connection": "close"} if self.status in (408, 413) else {}


def host_name(host: str) -> str:
    """The name in ``name:port``; a tunnel may have another port than ours.

    Examples:
        >>> host_name("127.0.0.1:80"), host_name("[::1]:8000"), host_name("me@evil"), host_name("a/b")
        ('127.0.0.1', '::1', '', '')
    """
    try:
        parts = urlsplit(f"//{host}")
        return "" if parts.path or parts.username is not None else parts.hostname or ""
    except ValueError:
        return ""


def same(given: str, token: str) -> bool:
    """Whether the token is known, in a time that tells nothing of it."""
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


async def read_body(scope: Scope, receive: Receive, *, most: int, seconds: float) -> bytes:
    """The body of a request.

    Args:
        scope: of the request.
        receive: gives its parts.
        most: bytes that it may have.
        seconds: until it must be there.

    Raises:
        RefusedError: it is too large (413), takes too long (408), or breaks off (499): half a body is none.
    """
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(499, "The request broke off.")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise RefusedError(408, "The request took too long.") from None
    return bytes(body)


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"A request may have {most:,} bytes.")


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read once more, and then what comes after it."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Send with these headers on every answer."""
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sent
