"""What a real server answers to real requests: the same as ``predict``, and a reason for what is no image."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from hundredfold.workflows.predict import predict

PLANTED = "Zzyzx^Planted"


def files(*images: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", (f"patient {PLANTED} {n}.jpg", data, "image/jpeg")) for n, data in enumerate(images)]


def dicom(name: str, **changes: Any) -> bytes:
    dataset = dcmread(get_testdata_file(name, download=False))
    for tag in ("PatientName", "PatientID", "InstitutionName", "StudyDescription"):
        setattr(dataset, tag, PLANTED)
    for tag, value in changes.items():
        setattr(dataset, tag, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_it_says_what_predict_says(
    site: Any, client: httpx.Client, served_predictor: Path, tmp_path: Path
) -> None:
    images = [site.image(site.classes[n % 3], 100 + n, ("PNG", "JPEG", "TIFF")[n % 3]) for n in range(9)]
    (tmp_path / "in").mkdir()
    for number, data in enumerate(images):
        (tmp_path / "in" / f"{number}.img").write_bytes(data)
    out = predict(tmp_path / "in", predictor=served_predictor, out=tmp_path / "p.jsonl")
    expected = [json.loads(line) for line in out.read_text().splitlines()]
    answer = client.post("/predict", files=files(*images))
    assert answer.status_code == 200
    told = answer.json()["answers"]
    assert told == [{name: value for name, value in row.items() if name != "image"} for row in expected]
    assert [row["label"] for row in told] == [site.classes[n % 3] for n in range(9)]
    single = client.post("/predict", content=images[4], headers={"content-type": "image/jpeg"})
    assert single.json()["answers"] == [told[4]]


def test_a_bad_image_is_an_answer_and_costs_no_other(site: Any, client: httpx.Client) -> None:
    good = site.image("red")
    large = io.BytesIO()
    Image.new("L", (20_000, 20_000)).save(large, "PNG")  # 400 megapixels in 400 kB
    jpeg = site.image("green", form="JPEG")
    deep = cv2.imencode(".png", np.full((SIDE := 20, SIDE), 30_000, np.uint16))[1].tobytes()
    bad = {
        "truncated": jpeg[: len(jpeg) // 2], "not_image": b"<html></html>", "too_large": large.getvalue(),
        "empty": b"", "no_range": deep, "multi_page": dicom("rtdose.dcm"), "no_pixels": dicom("rtplan.dcm"),
    }
    sent = [good, *bad.values(), good]
    answer = client.post("/predict", files=files(*sent))
    assert answer.status_code == 200
    told = answer.json()["answers"]
    assert [row["problem"] for row in told] == [None, *bad, None]
    assert told[0] == told[-1]
    assert told[0]["label"] == "red"
    assert all(set(row) == {"problem", "sentence"} and len(row["sentence"]) > 15 for row in told[1:-1])


def test_a_frame_of_a_dicom_file_is_asked_for_by_its_number(client: httpx.Client) -> None:
    data = dicom("examples_ybr_color.dcm")
    assert client.post("/predict", content=data).json()["answers"][0]["problem"] == "multi_page"
    told = client.post("/predict", content=data, params={"frame": 3}).json()["answers"][0]
    assert told["problem"] is None
    assert client.post("/predict", content=data, params={"frame": "../1"}).status_code == 400


def test_nothing_of_a_file_comes_back_or_is_logged(site: Any, client: httpx.Client) -> None:
    """Planted in tags, names of files, addresses and headers: in no answer and on no stream."""
    said = []
    for data in (dicom("CT_small.dcm"), dicom("rtplan.dcm"), dicom("examples_ybr_color.dcm"),
                 dicom("CT_small.dcm")[:-20_000], dicom("CT_small.dcm", Rows=60_000)):
        said.append(client.post("/predict", files=files(data), headers={"x-name": PLANTED}))
        said.append(client.post("/predict", content=data, params={"who": PLANTED}))
    said += [client.get(f"/{PLANTED}"), client.post("/predict", files=[], headers={"user-agent": PLANTED})]
    said += [client.get("/metrics"), client.get("/")]
    for answer in said:
        assert "Planted" not in answer.text + str(answer.headers)
    time.sleep(0.2)
    assert len(site.lines) > len(said) / 2
    assert "Planted" not in "".join(site.lines)
    assert "127.0.0.1 " not in "".join(site.lines[1:])


@pytest.mark.parametrize("body", [
    b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nabc",  # no end
    b"--y\r\n\r\n--y--", b"\0" * 100, b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n", b"",
    b"--x\r\n" + b"A" * 50_000 + b": b\r\n\r\n\r\n--x--\r\n",
    b"".join((  # the first of two images has no name of a file
        b"--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nGIF89a\r\n--x\r\n",
        b"Content-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nabc\r\n--x--\r\n",
    )),
])
def test_malformed_forms_are_refused(client: httpx.Client, body: bytes) -> None:
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/predict", content=body, headers=kind)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    without = client.post("/predict", content=body, headers={"content-type": "multipart/form-data"})
    assert without.status_code == 400


def test_32_clients_at_once_get_each_their_own_answers(site: Any) -> None:
    wrong: Counter[str] = Counter()

    def ask(number: int) -> None:
        kinds = [site.classes[(number + n) % 3] for n in range(3)]
        with site.client(authorization=f"Bearer {site.token}") as own:
            for turn in range(4):
                sent = [site.image(kind, 1000 * number + turn) for kind in kinds]
                sent.insert(turn % 3, b"no image")
                told = own.post("/predict", files=files(*sent)).json()["answers"]
                labels = [row.get("label") for row in told]
                expected = [*kinds]
                expected.insert(turn % 3, None)
                wrong[str(labels == expected)] += 1

    with ThreadPoolExecutor(32) as pool:
        [*pool.map(ask, range(32))]
    assert wrong == {"True": 128}
    with site.client(authorization=f"Bearer {site.token}") as own:
        text = own.get("/metrics").text
    batches = re.search(r"hundredfold_batch_images_count (\S+)", text)
    images = re.search(r"hundredfold_batch_images_sum (\S+)", text)
    assert float(images[1]) >= 384
    assert float(batches[1]) < float(images[1])  # some were answered together


def test_a_client_that_goes_away_leaves_nothing_behind(site: Any, client: httpx.Client) -> None:
    images = [site.image("blue", n) for n in range(60)]
    gone = 0
    for seconds in (0.001, 0.01, 0.03):  # the last may be long enough on a quick machine
        try:
            client.post("/predict", files=files(*images), timeout=httpx.Timeout(10, read=seconds))
        except httpx.TimeoutException:
            gone += 1
    assert gone
    until = time.monotonic() + 10
    while "hundredfold_images_waiting 0.0" not in client.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert client.post("/predict", files=files(images[0])).json()["answers"][0]["label"] == "blue"


def test_who_brings_too_much_is_told_when_to_come_again_and_what_was_asked_before_the_end_is_answered(
    served_predictor: Path, serve: Any
) -> None:
    """Two images may wait: of 16 that come at once some are answered, the others are told to wait."""
    with serve(served_predictor, "--queue", "2", "--most-images", "2", "--wait", "0.4") as site:
        begin = threading.Barrier(16)

        def ask(number: int) -> httpx.Response:
            with site.client() as own:
                begin.wait()
                return own.post("/predict", content=site.image("red", number))

        with ThreadPoolExecutor(16) as pool:
            found = [*pool.map(ask, range(16))]
        statuses = Counter(answer.status_code for answer in found)
        assert set(statuses) == {200, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in found if answer.status_code == 503)
        with ThreadPoolExecutor(1) as pool, site.client() as own:
            assert own.post("/predict", files=files(*[site.image("red")] * 3)).status_code == 413
            assert own.get("/ready").json() == {"status": "ok"}
            asked = pool.submit(own.post, "/predict", content=site.image("green"))
            time.sleep(0.2)
            code = site.end()
            assert asked.result().json()["answers"][0]["label"] == "green"
        assert code == 0
        assert "Ended" in site.lines[-1]


def test_a_decoder_that_crashes_costs_one_image(
    served_predictor: Path, serve: Any, tmp_path: Path
) -> None:
    hole = (
        "import os, simplejpeg\n"
        "decode = simplejpeg.decode_jpeg\n"
        "def harmed(data, *settings, **more):\n"
        "    if b'please crash' in bytes(data): os.abort()\n"
        "    return decode(data, *settings, **more)\n"
        "simplejpeg.decode_jpeg = harmed\n"
    )
    (tmp_path / "sitecustomize.py").write_text(hole)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with serve(served_predictor, PYTHONPATH=path) as site, site.client() as own:
        buffer = io.BytesIO()
        Image.new("RGB", (20, 20), (200, 40, 40)).save(buffer, "JPEG", comment=b"please crash")
        good = site.image("red", form="JPEG")
        for _ in range(3):
            told = own.post("/predict", files=files(good, buffer.getvalue(), good)).json()["answers"]
            assert [row["problem"] for row in told] == [None, "crashed", None]


def test_the_page_and_the_description_say_what_there_is(site: Any) -> None:
    with site.client() as own:
        described = own.get("/openapi.json").json()
        page = own.get("/")
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/predict", "/predictor", "/metrics", "/health", "/ready"}
    assert described["security"] == [{"token": []}]
    for path in described["paths"]:
        assert f" {path}</code>" in page.text
    assert not re.search(r"(?:src|href)=\"(?!/openapi.json|data:)", page.text)
    assert "<script" not in page.text
    assert site.token not in page.text


def test_counters_and_facts_need_the_token(site: Any, client: httpx.Client) -> None:
    told = client.get("/predictor").json()
    assert told["classes"] == list(site.classes)
    assert told["probabilities"]
    assert told["prevalence"] is told["sets"] is None
    before = client.get("/metrics").text
    client.post("/predict", content=site.image("red"))
    after = client.get("/metrics").text
    for name in ('hundredfold_images_total{outcome="answered"}',
                 'hundredfold_requests_total{path="/predict",status="200"}'):
        counts = [re.search(re.escape(name) + r" (\S+)", text) for text in (before, after)]
        assert float(counts[1][1]) == (float(counts[0][1]) if counts[0] else 0) + 1
