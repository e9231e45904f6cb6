"""The addresses of the service, and what each of them answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from hundredfold.serve.description import POLICY, described, page
from hundredfold.serve.guard import Guard, Terms, refusal
from hundredfold.serve.service import Service
from hundredfold.serve.uploads import images_of
from hundredfold.web.asking import RefusedError

__all__ = ["make_app"]

T = TypeVar("T")


def make_app(service: Service, terms: Terms, *, most_images: int, log: Callable[[str], None]) -> ASGIApp:
    """The application, with its guard.

    Args:
        service: answers.
        terms: on which it does.
        most_images: of one request.
        log: takes a line a request.
    """
    addresses = _Addresses(service, terms, most_images)
    routes = [
        Route("/", addresses.home),
        Route("/openapi.json", addresses.description),
        Route("/health", addresses.health),
        Route("/ready", addresses.ready),
        Route("/metrics", addresses.metrics),
        Route("/predictor", addresses.predictor),
        Route("/predict", addresses.predict, methods=["POST"]),
    ]
    app = Router(routes, redirect_slashes=False, default=_nothing)
    paths = frozenset(route.path for route in routes)
    return Guard(
        app, terms, service.measures, patience=lambda: service.patience, policy=POLICY, paths=paths, log=log
    )


class _Addresses:
    """One method an address."""

    def __init__(self, service: Service, terms: Terms, most_images: int) -> None:
        self.service, self.most_images = service, most_images
        self.described = described(most_body=terms.most_body, most_images=most_images, token=terms.token)
        self.page = page(self.described)

    async def home(self, request: Request) -> Response:  # noqa: ARG002 - it is the same for all
        """The description as a page."""
        return HTMLResponse(self.page)

    async def description(self, request: Request) -> Response:  # noqa: ARG002
        """The description for programs."""
        return JSONResponse(self.described)

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """Whether the process lives."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        """Whether images would be answered."""
        ready = self.service.ready
        return JSONResponse({"status": "ok" if ready else "busy"}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        """What was done so far."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return PlainTextResponse(self.service.measures.text(), media_type=kind)

    async def predictor(self, request: Request) -> Response:  # noqa: ARG002
        """What answers."""
        predictor = self.service.predictor
        return JSONResponse({
            "hash": predictor.hash, "classes": predictor.classes, "classifier": predictor.facts["classifier"],
            "encoder": predictor.encoder.name, "labels": predictor.facts["labels"],
            "probabilities": predictor.calibration is not None, "prevalence": self.service.prevalence,
            "sets": None if predictor.sets is None else predictor.sets.told(predictor.classes),
        })

    async def predict(self, request: Request) -> Response:
        """What is said of the images of a request."""
        frame = _frame(request.query_params.get("frame"))
        images = await images_of(request, self.most_images)
        answers = await _unless_gone(self.service.answers(images, frame), request)
        return JSONResponse({"predictor": self.service.predictor.hash, "answers": answers})


def _frame(given: str | None) -> int | None:
    if given is None:
        return None
    if not given.isdecimal() or len(given) > 6:
        raise RefusedError(400, "frame is the number of a frame, from 0.")
    return int(given)


async def _unless_gone(work: Awaitable[T], request: Request) -> T:
    """Work for who asked; it is given up when nobody waits for it any more.

    Raises:
        RefusedError: who asked is gone.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RefusedError(499, "Nobody waits for an answer.")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """There is no such address; it is not repeated, for it may hold a name."""
    await refusal(404, "There is nothing here.")(scope, receive, send)
