"""Servers of a predictor of three colours: the real command, in a process of its own, on a socket."""

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
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

TOKEN = "a-token-of-the-tests-of-serve"


class Site:
    """A server, and what it said on its error stream."""

    token = TOKEN

    def __init__(self, process: subprocess.Popen[str], coloured: Any) -> None:
        self.process, self.coloured, self.classes = process, coloured, coloured.classes
        self.lines: list[str] = []
        self.address = ""
        for line in process.stderr:
            self.lines.append(line)
            if found := re.search(r"http://\S+:(\d+)/", line):
                self.port = int(found[1])
                self.address = f"http://127.0.0.1:{self.port}"
                break
        assert self.address, "".join(self.lines)
        self.reader = threading.Thread(target=lambda: self.lines.extend(process.stderr), daemon=True)
        self.reader.start()

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)

    def memory(self) -> int:
        """Resident bytes of the server."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.reader.join(5)
        return code

    def image(self, kind: str, seed: int = 0, form: str = "PNG") -> bytes:
        """A picture of one of the classes."""
        buffer = io.BytesIO()
        Image.fromarray(self.coloured.picture(kind, seed)).save(buffer, form)
        return buffer.getvalue()


@pytest.fixture(scope="session")
def served_predictor(coloured: Any) -> Path:
    return coloured.predictor


@contextmanager
def served(coloured: Any, predictor: Path, *more: str, **env: str) -> Iterator[Site]:
    command = [sys.executable, "-m", "hundredfold", "serve", str(predictor), "--port", "0", *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}) as process:
        try:
            site = Site(process, coloured)
            try:
                yield site
            finally:
                process.kill()
                site.reader.join(20)  # it reads to the end of what is closed next
        finally:
            process.kill()


@pytest.fixture(scope="session")
def serve(coloured: Any) -> Callable[..., AbstractContextManager[Site]]:
    """Serve a predictor: ``with serve(predictor, "--option", …, VARIABLE=…) as site``."""
    return partial(served, coloured)


@pytest.fixture(scope="session")
def site(serve: Callable[..., AbstractContextManager[Site]], served_predictor: Path) -> Iterator[Site]:
    """A server that asks for a token, for all tests that leave it as it is."""
    with serve(served_predictor, HUNDREDFOLD_TOKEN=TOKEN) as found:
        yield found


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """Who has the token."""
    with site.client(authorization=f"Bearer {TOKEN}") as found:
        yield found
