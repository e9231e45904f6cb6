"""Who may come in: this machine only, with the token, from our own pages; and what no answer goes without.

A page from elsewhere may make the browser call us (cross-site requests), or give itself the address of this
machine (DNS rebinding). So the names of the host and of the origin are checked, and the token sits in a
cookie that scripts cannot read and other sites cannot use.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hundredfold.web import asking
from hundredfold.web.asking import (
    LOOPBACK,
    READING,
    RefusedError,
    host_name,
    read_body,
    replayed,
    same,
    with_headers,
)

__all__ = ["MOST_BODY", "Guard", "reader_of", "set_reader"]

#: Bytes that the body of a request may have, and seconds that it may take.
MOST_BODY, BODY_SECONDS = 256_000, 10.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {**asking.HEADERS, "content-security-policy": POLICY}
#: A redirect would not do: where a link on another site led here, the cookie would not be sent along.
ENTRANCE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>hundredfold</title>'
    '<link rel="icon" href="/static/mark.svg">'
    '<meta http-equiv="refresh" content="0;url=/"><p><a href="/">Open the page</a></p></html>'
)


class Guard:
    """Checks every request before the application sees it.

    Args:
        app: the application.
        token: what who comes in must know.
        cookie: name of the cookie it moves into.
        reader: name of the cookie of the reader, set at the entrance where ``name`` is given.
        name: who reads in a browser that comes in, as far as it is known.
        most_body: bytes of a request's body.
        body_seconds: until it must be there.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, cookie: str, reader: str = "", name: str | None = None,
        most_body: int = MOST_BODY, body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.app, self.token, self.cookie = app, token, cookie
        self.reader, self.name = reader, name
        self.most_body, self.body_seconds = most_body, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":  # no lifespan, no sockets
            return
        answer: ASGIApp = self._refusal(scope) or self._entrance(scope) or self.app
        if answer is self.app and scope["method"] not in READING:
            try:
                body = await read_body(scope, receive, most=self.most_body, seconds=self.body_seconds)
                receive = replayed(body, receive)
            except RefusedError as refused:
                answer = _told(refused.status, refused.sentence, refused.headers)
        await answer(scope, receive, with_headers(send, HEADERS))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host_name(host) not in LOOPBACK:
            return _told(403, "This page is served under the name of this machine only.")
        own = origin == f"http://{host}"
        if not own and (origin is not None or scope["method"] not in READING):
            return _told(403, "This request comes from another page.")
        if not self._known(headers) and not self._token_given(scope):
            return _told(401, "Open the address that the terminal shows: it holds the token.")
        return None

    def _known(self, headers: Headers) -> bool:
        return same(cookie_parser(headers.get("cookie", "")).get(self.cookie, ""), self.token)

    def _token_given(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return scope["path"] == "/" and same(given, self.token)

    def _entrance(self, scope: Scope) -> Response | None:
        """The token moves into the cookie, and out of the address."""
        if not self._token_given(scope):
            return None
        response = HTMLResponse(ENTRANCE)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
        if self.name:
            set_reader(response, self.reader, self.name)
        return response


def set_reader(response: Response, cookie: str, name: str) -> None:
    """Let the browser say from now on who reads; in hexadecimal, as cookies hold no letters but ASCII's."""
    response.set_cookie(cookie, name.encode().hex(), httponly=True, samesite="strict", path="/")


def reader_of(value: str) -> str | None:
    """Who reads, as the cookie says; ``None`` if it does not.

    Examples:
        >>> reader_of("Zoë".encode().hex()), reader_of("?"), reader_of("")
        ('Zoë', None, None)
    """
    try:
        return bytes.fromhex(value).decode() or None
    except ValueError:
        return None


def _told(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{sentence}\n", status, headers)
