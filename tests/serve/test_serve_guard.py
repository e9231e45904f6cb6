"""Cases 45 to 47: paths, tokens, hosts and origins, bodies that are too large or too slow, many clients."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from hundredfold.errors import SettingsError
from hundredfold.web import listening
from hundredfold.workflows.serve import serve as serve_verb


def raw(site: Any, data: bytes, *, seconds: float = 5) -> bytes:
    """Everything that comes back on a bare connection."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


@pytest.mark.parametrize("path", [
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/predictor.json", "/a%00b", "/%00",
    "/predictor/encoder.json", "/..%2fpredictor", "/static/../predictor.json", "/predictor/", "C:/x", "*",
])
def test_no_address_is_a_path(site: Any, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.token}\r\n"
    found = raw(site, f"{head}Connection: close\r\n\r\n".encode())
    assert found.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert b"root:" not in found
    assert b"encoder" not in found
    if path[0] == "/":
        assert found.startswith(b"HTTP/1.1 404 ")


def test_without_the_token_nothing_of_the_predictor_is_told(site: Any) -> None:
    wrong = [{}, {"authorization": "Bearer"}, {"authorization": f"Basic {site.token}"},
             {"authorization": f"Bearer {site.token}x"}, {"authorization": f"Bearer {site.token[:-1]}"},
             {"authorization": "Bearer é".encode("latin-1")}, {"cookie": f"token={site.token}"}]
    checked = 0
    with site.client() as own:
        for headers in wrong:
            for method, path in [("POST", "/predict"), ("GET", "/predictor"), ("GET", "/metrics"),
                                 ("GET", "/nothing"), ("GET", f"/predictor?token={site.token}")]:
                answer = own.request(method, path, headers=headers, content=site.image("red"))
                assert answer.status_code == 401, (headers, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "red" not in answer.text
                checked += 1
        for path in ("/", "/openapi.json", "/health", "/ready"):
            answer = own.get(path)
            assert answer.status_code == 200
            assert "green" not in answer.text
    assert checked == 35


def test_foreign_hosts_and_origins_are_refused(site: Any, client: httpx.Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "evil.example:80"):
        answer = client.post("/predict", content=site.image("red"), headers={"host": host})
        assert answer.status_code in (400, 403)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"):
        answer = client.post("/predict", content=site.image("red"), headers={"origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    own = client.post("/predict", content=site.image("red"), headers={"origin": site.address})
    assert own.status_code == 200
    assert own.headers["x-content-type-options"] == "nosniff"
    assert own.headers["cache-control"] == "no-store"


def test_a_method_that_an_address_does_not_take_is_refused(client: httpx.Client) -> None:
    assert client.get("/predict").status_code == 405
    assert client.delete("/predictor").status_code == 405
    assert client.put("/", content=b"x").status_code == 405


def test_large_bodies_are_refused_and_those_of_100_clients_take_bounded_memory(
    served_predictor: Path, serve: Any
) -> None:
    """100 x 8 MB are 800 MB; at most four of the largest size are held, and others are told to wait."""
    with serve(served_predictor, "--most-mb", "8") as site:
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
        declared = raw(site, head + b"Content-Length: 8000001\r\n\r\n")
        assert declared.startswith(b"HTTP/1.1 413 ")
        chunks = (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * (8_000_000 // 0x10000 + 1)
        assert raw(site, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks).startswith(b"HTTP/1.1 413 ")
        before, most = site.memory(), [0]

        def ask(_: int) -> int:
            with site.client() as own:
                status = own.post("/predict", content=b"x" * 7_900_000).status_code
            most[0] = max(most[0], site.memory())
            return status

        with ThreadPoolExecutor(100) as pool:
            statuses = {*pool.map(ask, range(100))}
        assert 200 in statuses
        assert statuses <= {200, 503}
        assert most[0] - before < 250_000_000
        with site.client() as own:
            assert own.post("/predict", content=site.image("red")).json()["answers"][0]["label"] == "red"


@pytest.mark.slow
def test_slow_bodies_and_slow_heads_are_not_waited_for(served_predictor: Path, serve: Any) -> None:
    """Slow loris: 20 connections drip, and others are answered meanwhile; then the slow ones are gone."""
    with serve(served_predictor, "--body-seconds", "1") as site:
        found = raw(site, b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        assert found.startswith(b"HTTP/1.1 408 ")
        silent = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(20)]
        for number, connection in enumerate(silent):
            connection.settimeout(listening.HEAD_SECONDS + 5)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: loc" if number % 2 else b"")
        began = time.monotonic()
        with site.client() as own:
            assert own.post("/predict", content=site.image("red")).status_code == 200
        assert time.monotonic() - began < listening.HEAD_SECONDS
        time.sleep(1)
        silent[1].sendall(b"alh")  # a drop now and then does not help
        for connection in silent:
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""
            connection.close()
        assert listening.HEAD_SECONDS - 2 < time.monotonic() - began < listening.HEAD_SECONDS + 3


def test_beyond_this_machine_a_token_is_needed(served_predictor: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("HUNDREDFOLD_TOKEN", raising=False)
    with pytest.raises(SettingsError, match="a token is needed"):
        serve_verb(served_predictor, host="0.0.0.0", port=0)
    with pytest.raises(SettingsError, match="16 ASCII characters or more, found 5") as error:
        serve_verb(served_predictor, token="guess")
    assert "guess" not in str(error.value).replace("nobody can guess", "")


def test_under_names_of_its_own(served_predictor: Path, serve: Any) -> None:
    more = ("--host", "0.0.0.0", "--names", "Cells.example")
    hosts = {"cells.example": 200, "cells.example:443": 200, "other.example": 403}
    with (
        serve(served_predictor, *more, HUNDREDFOLD_TOKEN="x" * 16) as site,
        site.client(authorization=f"bearer {'x' * 16}") as own,
    ):
        for host, status in hosts.items():
            assert own.get("/predictor", headers={"host": host}).status_code == status
