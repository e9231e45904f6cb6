"""A run of small images in colours that tell them apart, its page on a socket, and a real browser."""

from __future__ import annotations

import colorsys
import http.client
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hundredfold.annotate.app import make_app
from hundredfold.annotate.store import FILE, Store
from hundredfold.annotate.studio import Studio, opened
from hundredfold.data.pixels import fill
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.rundir import RunDirectory
from hundredfold.web.listening import bound

expect.set_options(timeout=20_000)  # in ms: a busy machine is no fault of the page
TOKEN = "a-token-of-the-tests"
HOLDER = "holder-of-the-tests"
KINDS = ("red", "green", "blue")


def colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for each image: a hue of its kind, and its number in the lowest bits."""
    red, green, blue = colorsys.hsv_to_rgb((number % 3) / 3, 0.6, 0.8)
    base = [int(200 * part) // 16 * 16 for part in (red, green, blue)]
    return base[0] + number % 16, base[1] + number // 16 % 16, base[2] + number // 256


def write_run(folder: Path, count: int, *, audit: int = 0, vectors: bool = True) -> RunDirectory:
    """A scanned run of ``count`` images of one colour each; the last ``audit`` are the audit set."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(count):
        path = folder / "images" / f"secretname {number:03d}.png"
        cv2.imwrite(str(path), np.full((24, 32, 3), colour(number)[::-1], np.uint8))
        split = "audit" if number >= count - audit else "train"
        rows.append((path.name, str(path), f"patient {number // 2}", split))
    run = RunDirectory.create(folder / "run")
    table = ImageTable.of(pd.DataFrame(rows, columns=["id", "path", "group", "split"]))
    table, _ = fill(table, run / "pixels", size=24, fit="pad")
    table.write(run / "images.parquet")
    if vectors:
        rng = np.random.default_rng(0)
        kinds = np.eye(3)[np.arange(count) % 3] + 0.02 * rng.standard_normal((count, 3))
        facts = {"name": "kinds", "hash": "0" * 64, "dimension": 3}
        embeddings = Embeddings(table.ids, kinds.astype(np.float32), facts, table)
        embeddings.write(run / "embeddings" / "kinds")
    return run


class Site:
    """A running page, and the record behind it."""

    token, holder, kinds = TOKEN, HOLDER, KINDS

    def __init__(self, studio: Studio, port: int) -> None:
        self.studio, self.port = studio, port

    @staticmethod
    def image_of(pixel: list[int]) -> str:
        """The image whose colour a pixel has."""
        return f"secretname {pixel[0] % 16 + 16 * (pixel[1] % 16) + 256 * (pixel[2] % 16):03d}.png"

    @staticmethod
    def kind(image: str) -> int:
        """Which of the kinds an image is: 0, 1 or 2."""
        return int(image[11:14]) % 3

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def entrance(self) -> str:
        return f"{self.address}/?token={TOKEN}"

    def cookies(self, reader: str | None) -> str:
        own = f"hundredfold-{self.port}={TOKEN}"
        return own if reader is None else f"{own}; hundredfold-reader-{self.port}={reader.encode().hex()}"

    def call(
        self, method: str, path: str, body: bytes | None = None, *, reader: str | None = "Anna",
        **headers: str,
    ) -> tuple[int, bytes, dict[str, str]]:
        """A request as a browser of ``reader`` makes it, but for the headers given (``_`` is ``-``)."""
        sent = {"cookie": self.cookies(reader), "origin": self.address}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection):
            given = {name: told for name, told in sent.items() if told != "none"}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read(), found

    def api(self, name: str, *, reader: str = "Anna", holder: str = HOLDER, **asked: Any) -> tuple[int, Any]:
        """A question in JSON."""
        body = json.dumps({"holder": holder, **asked}).encode()
        status, answer, _ = self.call("POST", f"/api/{name}", body, reader=reader)
        return status, json.loads(answer)


@contextmanager
def served(run: RunDirectory, **more: Any) -> Iterator[Site]:
    """The page of a run, in a thread."""
    guard = {name: more.pop(name) for name in ("body_seconds", "most_body") if name in more}
    store = Store.open(run / FILE)
    table = ImageTable.read(run / "images.parquet")
    vectors = run / "embeddings" / "kinds"
    studio = opened(
        store, table, PixelStore.open(run.pixels),
        vectors=vectors if vectors.is_dir() else None, images=run / "images.parquet", **more,
    )
    listening = bound(None)
    port = listening.getsockname()[1]
    app = make_app(studio, token=TOKEN, port=port)
    for name, value in guard.items():
        setattr(app, name, value)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Site(studio, port)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        store.close()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of 60 images, 6 of them the audit set; only to be copied."""
    return write_run(tmp_path_factory.mktemp("annotate"), 60, audit=6)


@pytest.fixture
def run(drawn: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A run that nobody has labelled."""
    return RunDirectory(Path(shutil.copytree(drawn.path, tmp_path / "run")))


@pytest.fixture
def site(run: RunDirectory) -> Iterator[Site]:
    """Its page, with three classes."""
    with served(run) as found:
        found.studio.book.ensure("Anna", KINDS)
        yield found


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[Site]]:
    """Serve the page of any run: ``with serve(run, …) as site``."""
    return served


@pytest.fixture(scope="session")
def new_run() -> Callable[..., RunDirectory]:
    """Write a run of so many images: ``new_run(folder, count, audit=…, vectors=…)``."""
    return write_run


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium: Debian's, or the one that playwright installed."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("needs a Chromium: apt-get install chromium")
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the page as a reader; nothing may be asked of another machine, and no script may fail."""
    faults: list[str] = []
    asked: list[str] = []
    contexts = []

    def opened_page(site: Site, reader: str = "Anna", view: str = "read", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 900, "height": 640}} | settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if "Content Security" in told.text else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(site.entrance)
        page.wait_for_url("**/hello")
        page.fill("#name", reader)
        page.keyboard.press("Enter")
        page.wait_for_url("**/read")
        if view != "read":
            page.goto(f"{site.address}/{view}")
        return page

    yield opened_page
    for context in contexts:
        context.close()
    assert faults == []
    assert asked
    foreign = [url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:"))]
    assert foreign == []
