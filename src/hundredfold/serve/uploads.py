"""The body of a request → the bytes of its images. Nothing is written to a disk, and no name is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from hundredfold.web.asking import RefusedError

__all__ = ["images_of"]

FORM = "multipart/form-data"
#: Bytes of what is no file in a form.
MOST_FIELD = 1_000


class _InMemory(MultiPartParser):
    """A parser that spools nothing to a disk."""

    spool_max_size = 0  # which is to say: never


async def images_of(request: Request, most: int) -> list[bytes]:
    """The images: the files of a form in their order, or the whole body.

    Raises:
        RefusedError: it is no form that can be read, or holds what is no file (400), or it holds none or too
            many images (400, 413).
    """
    body = await request.body()
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        found = [body] if body else []
    else:
        found = await _files(request, body, most)
    if not found:
        raise RefusedError(400, "The request holds no image: send files of a form, or one as the body.")
    return found


async def _files(request: Request, body: bytes, most: int) -> list[bytes]:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(
        request.headers, whole(), max_files=most, max_fields=most, max_part_size=MOST_FIELD
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        many = error.message.startswith("Too many files")
        what = f"A request may hold {most:,} images." if many else "The form cannot be read: it is malformed."
        raise RefusedError(413 if many else 400, what) from None
    try:
        found = [part for _, part in form.multi_items()]
        if not all(isinstance(part, UploadFile) for part in found):  # without it answers would shift
            raise RefusedError(400, "A part of the form is no file: give each image the name of a file.")
        return [await part.read() for part in found if isinstance(part, UploadFile)]
    finally:
        await form.close()
