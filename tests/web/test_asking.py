"""The body of a request: whole, in time, not too large; or none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hundredfold.web.asking import RefusedError, read_body

SCOPE: dict[str, Any] = {"type": "http", "headers": []}


def part(text: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": text, "more_body": more}


def read(messages: Sequence[dict[str, Any]], most: int = 100) -> bytes:
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(coming)

    def run() -> bytes:
        return asyncio.run(read_body(SCOPE, receive, most=most, seconds=5))

    with ThreadPoolExecutor(1) as another:  # a browser of other tests has a loop in this thread
        return another.submit(run).result()


def test_a_body_is_all_of_its_parts() -> None:
    assert read([part(b"ab", more=True), part(b"", more=True), part(b"c", more=False)]) == b"abc"


def test_a_body_that_breaks_off_is_no_body() -> None:
    """The first half of a table would be a table, too."""
    with pytest.raises(RefusedError, match="broke off") as error:
        read([part(b"image,label\na.png,x\n", more=True), {"type": "http.disconnect"}])
    assert error.value.status == 499


def test_one_byte_too_many_is_refused() -> None:
    assert read([part(b"x" * 100, more=False)]) == b"x" * 100
    with pytest.raises(RefusedError, match="100 bytes"):
        read([part(b"x" * 60, more=True), part(b"x" * 41, more=True)])
