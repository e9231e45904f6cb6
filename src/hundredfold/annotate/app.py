"""The page: addresses → what they show. All of it is in this package; nothing comes from elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hundredfold.annotate import api
from hundredfold.annotate.chart import draw_curve
from hundredfold.annotate.gallery import Picture
from hundredfold.annotate.guard import Guard, reader_of, set_reader
from hundredfold.annotate.progress import progress
from hundredfold.annotate.studio import Studio

__all__ = ["make_app", "new_token"]

MOST_NAME = 40
#: address → the round that is read there, and its template.
ROUNDS = {"/read": "first", "/second": "second", "/decide": "final"}


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)


def make_app(studio: Studio, *, token: str, port: int = 0, name: str | None = None) -> ASGIApp:
    """The application, with its guard.

    Args:
        studio: what it shows and writes to.
        token: what a browser must bring to come in.
        port: it is served at; cookies are named after it, since they do not know ports.
        name: who reads in a browser that has not said so.
    """
    cookie, reader_cookie = f"hundredfold-{port}", f"hundredfold-reader-{port}"
    pages = _Pages(studio, reader_cookie)
    app = Starlette(routes=[
        Route("/", pages.home),
        Route("/hello", pages.hello),
        Route("/hello", pages.greet, methods=["POST"]),
        *(Route(address, pages.page("read.html", round=read, view=read)) for address, read in ROUNDS.items()),
        Route("/again", pages.page("read.html", round="first", view="again")),
        Route("/grid", pages.page("grid.html")),
        Route("/classes", pages.classes),
        Route("/progress", pages.progress),
        Route("/image/{name}", pages.picture(studio.gallery.picture)),
        Route("/tile/{name}", pages.picture(studio.gallery.tile)),
        Route("/static/{name}", static),
        *api.routes(studio, pages.reader),
    ])
    spelt = None if name is None else studio.spelt(name)
    return Guard(app, token=token, cookie=cookie, reader=reader_cookie, name=spelt)


class _Pages:
    """The pages, each rendered for who reads."""

    def __init__(self, studio: Studio, cookie: str) -> None:
        self.studio, self.cookie = studio, cookie
        self.templates = Environment(
            loader=PackageLoader("hundredfold.annotate", "pages"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )

    def reader(self, request: Request) -> str | None:
        """Who asks."""
        return reader_of(request.cookies.get(self.cookie, ""))

    async def home(self, request: Request) -> Response:
        """Where reading begins."""
        return RedirectResponse("/read" if self.reader(request) else "/hello", 303)

    async def hello(self, request: Request) -> Response:
        """Who are you?"""
        return self._rendered("hello.html", request, problem="")

    async def greet(self, request: Request) -> Response:
        """Keep the name that was given."""
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("name", [""])[0]
        name = " ".join(given.split())
        if not name or len(name) > MOST_NAME or not name.isprintable():
            problem = f"Please give a name of 1 to {MOST_NAME} characters."
            return self._rendered("hello.html", request, problem=problem, status=400)
        response = RedirectResponse("/read", 303)
        set_reader(response, self.cookie, self.studio.spelt(name))
        return response

    def page(self, template: str, **facts: Any) -> Callable[[Request], Awaitable[Response]]:
        """A page that is filled by its script."""

        async def shown(request: Request) -> Response:
            if self.reader(request) is None:
                return RedirectResponse("/hello", 303)
            return self._rendered(template, request, **facts)

        return shown

    async def classes(self, request: Request) -> Response:
        """The classes, and images that could be their examples."""
        if self.reader(request) is None:
            return RedirectResponse("/hello", 303)
        samples = await run_in_threadpool(self.studio.samples)
        return self._rendered("classes.html", request, samples=samples)

    async def progress(self, request: Request) -> Response:
        """How far the work is, and how well readers agree."""
        if self.reader(request) is None:
            return RedirectResponse("/hello", 303)
        found = await run_in_threadpool(progress, self.studio.store, self.studio.table)
        watcher = self.studio.watcher
        outlook = None if watcher is None else watcher.found
        chart = draw_curve(outlook.points) if outlook and outlook.points else None
        return self._rendered(
            "progress.html", request, found=found, outlook=outlook, chart=chart, watched=watcher is not None
        )

    def picture(self, of: Callable[[str], Picture]) -> Callable[[Request], Awaitable[Response]]:
        """A picture of the image that the address names."""

        async def sent(request: Request) -> Response:
            image = self.studio.gallery.image(request.path_params["name"])
            if image is None:
                return PlainTextResponse("There is no such image.\n", 404)
            found = await run_in_threadpool(of, image)
            return Response(found.data, media_type=found.kind, headers={"x-note": found.note})

        return sent

    def _rendered(self, template: str, request: Request, *, status: int = 200, **facts: Any) -> Response:
        reader = self.reader(request)
        studio, left = self.studio, {}
        if reader:
            left = {**studio.desk.left(reader), "again": len(studio.suspects(reader))}
        page = self.templates.get_template(template).render(
            reader=reader, path=request.url.path, classes=studio.classes(), left=left,
            lease=studio.desk.leases.seconds, vectors=studio.desk.has_vectors,
            proposes=studio.proposes, audit_open=studio.audit_open, **facts,
        )
        return HTMLResponse(page, status)


def _read_static() -> Mapping[str, tuple[bytes, str]]:
    """File → bytes and media type; read once, so that no address is ever a path."""
    folder = files("hundredfold.annotate") / "static"
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    return {
        path.name: (path.read_bytes(), kinds.get(f".{path.name.rpartition('.')[2]}", ""))
        for path in folder.iterdir() if path.is_file()
    }


STATIC = _read_static()


async def static(request: Request) -> Response:
    """A script or the style."""
    found = STATIC.get(request.path_params["name"])
    return Response(found[0], media_type=found[1]) if found else PlainTextResponse("Not found.\n", 404)
