"""What the page asks in JSON, and what it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hundredfold.annotate.events import Answer, Event, Proposal, Round, Says, chain_of
from hundredfold.annotate.order import few
from hundredfold.annotate.store import Conflict
from hundredfold.annotate.studio import Studio, said, told
from hundredfold.errors import HundredfoldError, InputError

__all__ = ["routes"]

#: Share of the labels given in a grid that come back singly.
CHECKED = 0.05
MOST_TILES = 48

Name = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Opaque = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
Holder = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{8,64}$")]


class Body(BaseModel):
    """What a request says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    holder: Holder


class Next(Body):
    """The next images to read, please."""

    round: Round
    have: list[Opaque] = Field(default=[], max_length=64)
    count: int = Field(1, ge=1, le=8)
    proposals: bool = False


class Shown(BaseModel):
    """The proposal that was in sight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Name
    probability: float = Field(ge=0, le=1)
    model: Name


class Say(Body):
    """What a reader says of an image."""

    round: Round
    image: Opaque
    version: int = Field(ge=0)
    says: Says
    label: Name | None = None
    key: Annotated[str, StringConstraints(max_length=20)] = ""
    shown: Shown | None = None


class Seen(BaseModel):
    """An image and the version that was seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Opaque
    version: int = Field(ge=0)


class Confirm(Body):
    """The rest of a grid is of one class, and some are not."""

    label: Name
    key: Annotated[str, StringConstraints(max_length=20)] = ""
    images: list[Seen] = Field(min_length=1, max_length=MOST_TILES)
    aside: list[Opaque] = Field(default=[], max_length=MOST_TILES)


class Tiles(Body):
    """A grid, please."""

    count: int = Field(24, ge=2, le=MOST_TILES)
    passed: list[Opaque] = Field(default=[], max_length=500)


class Beat(Body):
    """Still here, with these images."""

    round: Round
    have: list[Opaque] = Field(default=[], max_length=64)


class Again(Body):
    """Images to look at again, please."""

    have: list[Opaque] = Field(default=[], max_length=64)
    count: int = Field(1, ge=1, le=8)


class Back(Body):
    """Take back what I said last."""

    proposals: bool = False
    ticket: Annotated[str, StringConstraints(max_length=64)] = ""


class Change(Body):
    """Something about a class."""

    do: Literal["add", "change", "remove"]
    id: Name | None = None
    name: str | None = Field(None, max_length=200)
    key: str | None = Field(None, max_length=1)
    description: str | None = Field(None, max_length=2000)
    examples: list[Opaque] | None = Field(None, max_length=24)


B = TypeVar("B", bound=Body)
Handler = Callable[[Studio, str, Any], tuple[int, Any]]


def routes(studio: Studio, reader: Callable[[Request], str | None]) -> list[Route]:
    """The addresses below ``/api``; ``reader`` says who asks."""
    table: dict[str, tuple[type[Body], Handler]] = {
        "next": (Next, give), "again": (Again, give_again), "answer": (Say, take), "grid": (Tiles, give_grid),
        "confirm": (Confirm, take_grid), "undo": (Back, take_back), "beat": (Beat, keep),
        "leave": (Body, leave), "classes": (Change, change),
    }
    return [
        Route(f"/api/{name}", _endpoint(studio, reader, body, handler), methods=["POST"])
        for name, (body, handler) in table.items()
    ]


def _endpoint(
    studio: Studio, reader: Callable[[Request], str | None], body: type[Body], handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        name = reader(request)
        if name is None:
            return JSONResponse({"error": "Say first who you are."}, 403)
        try:
            asked = body.model_validate_json(await request.body())
            status, answer = await run_in_threadpool(handler, studio, name, asked)
        except ValidationError as error:
            return JSONResponse({"error": f"The request makes no sense: {error.errors()[0]['msg']}"}, 400)
        except HundredfoldError as error:
            return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 500)
        return JSONResponse(answer, status)

    return answered


def give(studio: Studio, reader: str, asked: Next) -> tuple[int, Any]:
    """The next images."""
    have = studio.images(asked.have)
    items = studio.desk.next(reader, asked.holder, asked.round, asked.count, have)
    proposals = asked.proposals and asked.round == "first" and not studio.audit_open
    return 200, {"items": [studio.shown(item, proposals=proposals) for item in items]}


def give_again(studio: Studio, reader: str, asked: Again) -> tuple[int, Any]:
    """The next images whose label is hard to believe."""
    have = set(studio.images(asked.have))
    items: list[dict[str, Any]] = []
    for suspect in studio.suspects(reader):
        chain = chain_of(suspect.image, "first", reader)
        if len(items) == asked.count:
            break
        if suspect.image not in have and studio.desk.leases.take(chain, asked.holder):
            items.append(studio.doubted(reader, suspect))
    return 200, {"items": items}


def take(studio: Studio, reader: str, asked: Say) -> tuple[int, Any]:
    """An answer, or 409 where another came first."""
    image = studio.gallery.image(asked.image)
    if image is None:
        return 404, {"error": "There is no such image."}
    if (asked.says == "label") != (asked.label is not None) or asked.label not in (None, *_ids(studio)):
        return 400, {"error": "There is no such class any more. Load the page again."}
    first = asked.round == "first"
    shown = Proposal(**asked.shown.model_dump()) if asked.shown and first else None
    if first and shown is None:  # it may have been seen before an answer was taken back
        shown = studio.store.revealed(reader, image)
    revealed = studio.proposal(image) if first and shown is None else None
    answer = Answer(
        image, asked.says, asked.label, asked.version, asked.key, shown=shown, revealed=revealed
    )
    (outcome,) = studio.store.answer(reader, asked.round, [answer])
    if isinstance(outcome, Conflict):
        return 409, _conflict(studio, outcome)
    studio.desk.leases.give_back(asked.holder, [chain_of(image, asked.round, reader)])
    studio.labelled()
    return 200, {
        "version": outcome.number, "revealed": told(revealed) if revealed else None,
        "why": studio.reason(image) if first else None,
    }


def give_grid(studio: Studio, reader: str, asked: Tiles) -> tuple[int, Any]:
    """Images that are like each other."""
    grid = studio.desk.grid(reader, asked.holder, asked.count, studio.images(asked.passed))
    return 200, {"alike": grid.alike, "items": [studio.shown(item, proposals=False) for item in grid.items]}


def take_grid(studio: Studio, reader: str, asked: Confirm) -> tuple[int, Any]:
    """One class for many images; 409 where others came first with some, while the rest is taken."""
    if asked.label not in _ids(studio):
        return 400, {"error": "There is no such class any more. Load the page again."}
    seen = {image: one.version for one in asked.images for image in studio.images([one.image])}
    seen = {image: version for image, version in seen.items() if image not in studio.desk.audit}
    checked = few(studio.store.key, "check", list(seen), CHECKED)
    answers = [
        Answer(image, "label", asked.label, version, asked.key, how="bulk", check_up=image in checked)
        for image, version in seen.items()
    ]
    batch = f"grid {studio.store.count + 1}"
    outcomes = studio.store.answer(reader, "first", answers, batch=batch)
    studio.store.set_aside(reader, studio.images(asked.aside), batch)
    studio.desk.leases.give_back(asked.holder)
    studio.labelled()
    late = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    told = {"taken": len(outcomes) - len(late), "late": [_conflict(studio, outcome) for outcome in late]}
    return (409 if late else 200), told


def take_back(studio: Studio, reader: str, asked: Back) -> tuple[int, Any]:
    """The last answer of the reader taken back, and its image once more.

    A page that heard nothing asks again, with the same ticket, and is told the same: no other answer goes.
    """
    with studio.undoing:
        ticket, reply = studio.undone.get(asked.holder, ("", {}))
        if not asked.ticket or asked.ticket != ticket:
            reply = _taken_back(studio, reader, asked)
            studio.undone[asked.holder] = asked.ticket, reply
    return 200, reply


def _taken_back(studio: Studio, reader: str, asked: Back) -> dict[str, Any]:
    undone, items = studio.store.undo(reader), []
    for event in undone:
        chain = event.chain
        if studio.desk.leases.take(chain, asked.holder):
            item = studio.desk.item(reader, chain.round, chain.image)
            proposals = asked.proposals and chain.round == "first" and not studio.audit_open
            items.append(studio.shown(item, proposals=proposals))
    return {"undone": len(undone), "round": undone[0].round if undone else None, "items": items}


def keep(studio: Studio, reader: str, asked: Beat) -> tuple[int, Any]:
    """A sign of life; says which images another has meanwhile."""
    chains = {chain_of(image, asked.round, reader): image for image in studio.images(asked.have)}
    lost = studio.desk.leases.keep(chains, asked.holder)
    return 200, {"lost": [studio.gallery.name(chains[chain]) for chain in chains if chain in lost]}


def leave(studio: Studio, _reader: str, asked: Body) -> tuple[int, Any]:
    """Give back whatever was lent."""
    studio.desk.leases.give_back(asked.holder)
    return 200, {}


def change(studio: Studio, reader: str, asked: Change) -> tuple[int, Any]:
    """Add, change or remove a class; gives all of them."""
    book = studio.book
    if asked.do == "add":
        book.add(reader, asked.name or "", asked.description or "")
    elif asked.do == "remove":
        book.remove(reader, asked.id or "")
    else:
        examples = None if asked.examples is None else studio.images(asked.examples)
        book.change(
            reader, asked.id or "", name=asked.name, key=asked.key, description=asked.description,
            examples=examples,
        )
    return 200, {"classes": studio.classes()}


def _ids(studio: Studio) -> set[str]:
    return {known.id for known in studio.book.all()}


def _conflict(studio: Studio, late: Conflict) -> dict[str, Any]:
    now: Event | None = late.now
    names = studio.book.names()
    return {
        "image": studio.gallery.name(late.image), "version": late.version,
        "now": None if now is None else said(now, names),
    }
