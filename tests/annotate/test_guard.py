"""Who comes in, what an answer carries, and that nothing of a patient is on a page."""

from __future__ import annotations

import json
import re
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from hundredfold.annotate.guard import MOST_BODY
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.rundir import RunDirectory


@pytest.fixture(scope="module")
def site(drawn: RunDirectory, serve: Callable[..., Any]) -> Iterator[Any]:
    """One page for all that change nothing."""
    with serve(drawn) as found:
        found.studio.book.ensure("Anna", found.kinds)
        yield found


PAGES = ("/read", "/grid", "/second", "/decide", "/again", "/progress", "/classes", "/hello")


def test_every_view_and_file_is_there_for_who_has_the_token(site: Any) -> None:
    for path in (*PAGES, "/static/page.css", "/static/read.js", "/static/mark.svg"):
        status, body, headers = site.call("GET", path)
        assert status == 200, path
        assert body
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_without_the_token_nothing_is_told(site: Any) -> None:
    cookie = site.cookies("Anna")
    for forged in ("none", cookie.replace(site.token, "another"), cookie.replace(site.token, "")):
        for method, path in [("GET", "/read"), ("GET", "/static/page.css"), ("POST", "/api/next")]:
            status, body, headers = site.call(method, path, cookie=forged)
            assert (status, headers["cache-control"]) == (401, "no-store")
            assert b"secretname" not in body
    assert site.call("GET", "/?token=guess", cookie="none")[0] == 401
    assert site.call("GET", f"/read?token={site.token}", cookie="none")[0] == 401


def test_the_token_moves_into_a_cookie_that_scripts_and_other_sites_cannot_use(site: Any) -> None:
    status, body, headers = site.call("GET", f"/?token={site.token}", cookie="none", origin="none")
    assert status == 200
    assert site.token.encode() not in body
    kept = headers["set-cookie"].lower()
    wanted = (f"hundredfold-{site.port}={site.token}", "httponly", "samesite=strict")
    assert all(word in kept for word in wanted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "evil.example"), ("host", "evil.example:{port}"), ("host", "127.0.0.1.evil.example"),
        ("host", "user@localhost"), ("host", ""), ("origin", "http://evil.example"), ("origin", "null"),
        ("origin", "https://127.0.0.1:{port}"), ("origin", "http://127.0.0.1:1"),
    ],
)
def test_a_foreign_host_or_origin_is_refused_before_all_else(site: Any, name: str, value: str) -> None:
    told = {name: value.format(port=site.port)}
    for method, path in [("GET", "/read"), ("POST", "/api/leave")]:
        assert site.call(method, path, json.dumps({"holder": site.holder}).encode(), **told)[0] == 403
        assert site.call(method, path, cookie="none", **told)[0] == 403


def test_a_change_needs_an_origin(site: Any) -> None:
    body = json.dumps({"holder": site.holder}).encode()
    assert site.call("POST", "/api/leave", body, origin="none")[0] == 403
    assert site.call("POST", "/api/leave", body)[0] == 200


def test_a_tunnel_with_another_port_is_let_in(site: Any) -> None:
    assert site.call("GET", "/read", host="localhost:1234", origin="none")[0] == 200


TRAVELS = (
    "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
    "/static/%2fetc%2fpasswd", "/static/page.css%00", "/static/%00", "/image/../../run.json", "/image/%2e%2e",
    "/image/%00", "/tile/%2fetc%2fpasswd", "/image/secretname%20000.png", "/tile/secretname%20000.png",
    "/../../../etc/passwd", "/etc/passwd", "/annotations.sqlite", "/run.json",
)


@pytest.mark.parametrize("path", TRAVELS)
def test_no_address_is_a_path(site: Any, path: str) -> None:
    """Sent as it stands, for a client might tidy it."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{site.port}", f"Cookie: {site.cookies('Anna')}"]
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert len(answer.partition(b"\r\n\r\n")[2]) < 100


def test_a_body_over_the_limit_is_refused(site: Any) -> None:
    status, _, _ = site.call("POST", "/api/leave", b" " * (MOST_BODY + 1))
    assert status == 413
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        head = [
            "POST /api/leave HTTP/1.1", f"Host: 127.0.0.1:{site.port}", f"Origin: {site.address}",
            f"Cookie: {site.cookies('Anna')}", "Transfer-Encoding: chunked", "", "",
        ]
        connection.sendall("\r\n".join(head).encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(20):
                connection.sendall(chunk)
        except OSError:
            pass  # it was told and cut off
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")


def slow_request(site: Any, seconds: float) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        head = [
            "POST /api/leave HTTP/1.1", f"Host: 127.0.0.1:{site.port}", f"Origin: {site.address}",
            f"Cookie: {site.cookies('Anna')}", "Content-Length: 60", "", "{",
        ]
        connection.sendall("\r\n".join(head).encode())
        time.sleep(seconds)
        return connection.recv(65536)


def test_a_slow_body_is_given_up(run: RunDirectory, serve: Callable[..., Any]) -> None:
    with serve(run, body_seconds=0.3) as site:
        assert slow_request(site, 0.8).startswith(b"HTTP/1.1 408 ")
        assert site.call("GET", "/read")[0] == 200


def test_a_hundred_clients_are_served_in_little_memory(site: Any) -> None:
    site.call("GET", "/read")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told: Counter[int] = Counter()

    def ask() -> None:
        body = json.dumps({"holder": site.holder}).encode().ljust(MOST_BODY - 1000)
        told[site.call("POST", "/api/leave", body)[0]] += 1

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert told == {200: 100}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 150  # MB; a body at most for each client, here and there


@pytest.mark.parametrize(
    "asked",
    [
        b"", b"[]", b"{", b'{"holder": "x"}', b'{"holder": "abcdefgh", "more": 1}',
        b'{"holder": "abcdefgh", "round": "third"}',
        b'{"holder": "abcdefgh", "round": "first", "count": 9000}',
        b'{"holder": "abcdefgh", "round": "first", "have": ["../x"]}', b"\xff\xfe",
    ],
)
def test_what_makes_no_sense_is_told_so(site: Any, asked: bytes) -> None:
    status, body, _ = site.call("POST", "/api/next", asked)
    assert status == 400
    assert "makes no sense" in json.loads(body)["error"]


def test_who_has_not_said_who_he_is_cannot_answer(site: Any) -> None:
    status, body, _ = site.call("POST", "/api/leave", b'{"holder": "abcdefgh"}', reader=None)
    assert (status, json.loads(body)["error"]) == (403, "Say first who you are.")
    assert site.call("GET", "/read", reader=None)[2]["location"] == "/hello"


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\x07b"])
def test_a_name_is_a_name(site: Any, name: str) -> None:
    from urllib.parse import urlencode

    status, body, _ = site.call("POST", "/hello", urlencode({"name": name}).encode(), reader=None)
    assert status == 400
    assert b"Please give a name" in body


def test_names_cannot_become_markup(site: Any) -> None:
    hostile = "</script><script>alert(1)</script>"
    site.studio.book.add("Anna", hostile, hostile)
    for path in PAGES:
        _, body, _ = site.call("GET", path, reader=hostile[:30])
        assert b"<script>alert" not in body, path
        assert len(re.findall(rb"<script", body)) == (2 if b"application/json" in body else 0), path


PLANTED = ("plantedname", "planted-4711", "19470811", "plantedhospital", "plantedcomment", "plantedfile")


def test_no_name_of_a_file_or_patient_is_on_a_page(tmp_path: Path, serve: Callable[..., Any]) -> None:
    """Real DICOM files with planted tags, in a folder and files with planted names."""
    (tmp_path / "plantedfile folder").mkdir()
    for number in range(6):
        dataset = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
        dataset.PatientName, dataset.PatientID = "Plantedname^Anna", "PLANTED-4711"
        dataset.PatientBirthDate, dataset.InstitutionName = "19470811", "Plantedhospital"
        dataset.PatientComments = "plantedcomment"
        dataset.PixelData = (dataset.pixel_array + 40 * number).astype("<i2").tobytes()
        dcmwrite(tmp_path / "plantedfile folder" / f"plantedfile {number}.dcm", dataset)
    run = RunDirectory.create(tmp_path / "run")
    table, _ = fill(find_images(tmp_path / "plantedfile folder"), run / "pixels", size=64, fit="pad")
    table.assign(split="train").write(run / "images.parquet")
    looked = 0
    with serve(run) as site:
        site.studio.book.ensure("Anna", ["lung"])
        _, given = site.api("next", round="first", count=4)
        names = [item["image"] for item in given["items"]]
        asked = [("GET", path, b"") for path in PAGES]
        asked += [("GET", f"/{kind}/{name}", b"") for kind in ("image", "tile") for name in names]
        for item in given["items"][:2]:
            said = {"holder": site.holder, "round": "first", "says": "label", "label": "lung", **item}
            said = {key: said[key] for key in ("holder", "round", "says", "label", "image", "version")}
            asked.append(("POST", "/api/answer", json.dumps(said).encode()))
        asked.append(("POST", "/api/grid", json.dumps({"holder": site.holder}).encode()))
        asked += [("GET", path, b"") for path in PAGES]
        for method, path, body in asked:
            status, answer, headers = site.call(method, path, body or None)
            assert status == 200, (path, answer)
            assert not headers.get("x-note")  # the originals are decoded, not the scan's copies
            text = answer.lower() + repr(headers).lower().encode()
            assert not [word for word in PLANTED if word.encode() in text], path
            looked += 1
    assert looked >= 25
    assert names


def test_pictures_come_from_the_original_and_are_what_was_scanned(site: Any) -> None:
    import cv2
    import numpy as np

    image = "secretname 007.png"
    name = site.studio.gallery.name(image)
    status, data, headers = site.call("GET", f"/image/{name}")
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert (status, headers["content-type"], headers["x-note"]) == (200, "image/png", "")
    assert shown.shape == (24, 32, 3)  # its own proportions; the tile is a square
    assert site.image_of(shown[12, 16, ::-1].tolist()) == image
    tile = cv2.imdecode(np.frombuffer(site.call("GET", f"/tile/{name}")[1], np.uint8), cv2.IMREAD_COLOR)
    assert tile.shape == (24, 24, 3)


def test_an_original_that_is_gone_or_changed_is_never_shown_as_another(
    tmp_path: Path, new_run: Callable[..., RunDirectory], serve: Callable[..., Any]
) -> None:
    import cv2
    import numpy as np

    run = new_run(tmp_path, 4, vectors=False)
    (tmp_path / "images" / "secretname 000.png").unlink()
    path = tmp_path / "images" / "secretname 001.png"
    cv2.imwrite(str(path), np.zeros((48, 48, 3), np.uint8))
    with serve(run) as site:
        for image, word in [("secretname 000.png", "gone"), ("secretname 001.png", "changed")]:
            _, data, headers = site.call("GET", f"/image/{site.studio.gallery.name(image)}")
            shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            assert site.image_of(shown[12, 12, ::-1].tolist()) == image
            assert word in headers["x-note"]
            assert "copy of 24 px" in headers["x-note"]
