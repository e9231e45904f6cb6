"""A predictor of three colours, and servers of it: the real command, in a process of its own, on a socket."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.learn.calibrate import Calibration
from hundredfold.predict.predictor import Predictor

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
SIDE = 20
TOKEN = "a-token-of-the-tests-of-serve"


def pixels_of(kind: str, seed: int, side: int = SIDE) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 12, (side, side, 3))
    return (np.array(COLOURS[kind]) + noise).clip(0, 255).astype(np.uint8)


class Site:
    """A server, and what it said on its error stream."""

    token, classes = TOKEN, tuple(COLOURS)

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.address = ""
        for line in process.stderr:
            self.lines.append(line)
            if found := re.search(r"http://\S+:(\d+)/", line):
                self.port = int(found[1])
                self.address = f"http://127.0.0.1:{self.port}"
                break
        assert self.address, "".join(self.lines)
        self._reader = threading.Thread(target=lambda: self.lines.extend(process.stderr), daemon=True)
        self._reader.start()

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)

    def memory(self) -> int:
        """Resident bytes of the server."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(5)
        return code

    @staticmethod
    def image(kind: str, seed: int = 0, form: str = "PNG") -> bytes:
        """A picture of one of the classes."""
        buffer = io.BytesIO()
        Image.fromarray(pixels_of(kind, seed)).save(buffer, form)
        return buffer.getvalue()


@pytest.fixture(scope="session")
def served_predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "predictor"
    labels = [name for name in COLOURS for _ in range(8)]
    images = np.stack([pixels_of(name, seed) for seed, name in enumerate(labels)])
    table = ImageTable.of({"id": [f"{n}.png" for n in range(24)], "label": labels, "split": ["train"] * 24})
    encoder = ThumbnailEncoder()
    facts = {**encoder.facts, "hash": encoder.hash}
    embeddings = Embeddings(table.ids, encoder.encode(images), facts, table, pixel_size=SIDE)
    codes = np.repeat(np.arange(3), 8)
    scores = np.eye(3)[codes] + np.random.default_rng(0).normal(0, 0.3, (24, 3))
    predictor = Predictor.fit(encoder, embeddings, table, calibration=Calibration.fit(scores, codes))
    predictor.save(folder)
    return folder


@contextmanager
def served(predictor: Path, *more: str, **env: str) -> Iterator[Site]:
    command = [sys.executable, "-m", "hundredfold", "serve", str(predictor), "--port", "0", *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}) as process:
        try:
            yield Site(process)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[Site]]:
    """Serve a predictor: ``with serve(predictor, "--option", …, VARIABLE=…) as site``."""
    return served


@pytest.fixture(scope="session")
def site(served_predictor: Path) -> Iterator[Site]:
    """A server that asks for a token, for all tests that leave it as it is."""
    with served(served_predictor, HUNDREDFOLD_TOKEN=TOKEN) as found:
        yield found


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """Who has the token."""
    with site.client(authorization=f"Bearer {TOKEN}") as found:
        yield found
