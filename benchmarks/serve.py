"""How fast does ``hundredfold serve`` answer: from its start, and 32 clients at once?

::

    python benchmarks/serve.py --out benchmarks/results/serve.json

A predictor of ViT-tiny at 224 px with random weights (the speed does not depend on them) is served by the
real command. ``start``: seconds from the start of the process to the first answer, with nothing loaded
before, and of those the processor's. ``held``: clients that ask one after the other, each for one JPEG of
250 px, in a process of their own on the same cores; images a second, and the time that an answer takes.
Beside it the rate of ``Encoder.encode`` alone, on as many squares in memory, before and after: that is what
is to be held.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder, EncoderLike, Precision, alter
from hundredfold.predict.predictor import Predictor
from hundredfold.process import cores

SIDE, LABELS = 224, 20
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
ADDRESS = re.compile(r"http://\S+:(\d+)/")
#: The clients, in a process that loads nothing else: port, clients, seconds, folder → milliseconds a request.
CLIENTS = """
import http.client, json, sys, threading, time
from pathlib import Path
port, clients, seconds, folder = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
images = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
begin, spent, wrong = threading.Barrier(clients), [], []
def ask(number):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    begin.wait()
    until = time.perf_counter() + seconds
    turn = number
    while (start := time.perf_counter()) < until:
        connection.request("POST", "/predict", images[turn % len(images)], {"content-type": "image/jpeg"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != 200 or told["answers"][0]["problem"]:
            wrong.append(answer.status)
        spent.append(time.perf_counter() - start)
        turn += 1
threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
start = time.perf_counter()
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({"seconds": time.perf_counter() - start, "spent": spent, "wrong": len(wrong)}))
"""


class Served:
    """A server, and when it was started."""

    def __init__(self, predictor: Path, *more: str) -> None:
        self.began = time.perf_counter()
        command = [sys.executable, "-m", "hundredfold", "serve", str(predictor), "--port", "0", *more]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        lines = iter(self.process.stderr)
        self.port = int(next(found[1] for line in lines if (found := ADDRESS.search(line))))
        threading.Thread(target=lambda: [*lines], daemon=True).start()

    def ask(self, image: bytes) -> dict[str, Any]:
        """The answer to a request with one image."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/predict", image)
        return dict(json.loads(connection.getresponse().read()))

    def processor_seconds(self) -> float:
        """What it has taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Tell it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def picture(seed: int) -> bytes:
    """A JPEG of 250 px with shapes of several sizes."""
    draw = np.random.default_rng(seed)
    pixels = np.full((250, 250, 3), 150, np.float32)
    for size, strength in ((4, 10), (16, 25), (64, 40)):
        coarse = draw.normal(size=(250 // size + 2, 250 // size + 2, 3)).astype(np.float32)
        pixels += strength * cv2.resize(coarse, (250, 250), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", np.clip(pixels, 0, 255).astype(np.uint8))[1].tobytes())


def fitted(precision: Precision, folder: Path) -> EncoderLike:
    """A predictor in ``folder``, and its encoder."""
    backbone = create_backbone("vit_tiny_patch16_224", weights="none")
    plain = Encoder(backbone, size=SIDE, value_range=None, fit="pad", provenance={}, seen=frozenset())
    encoder = alter(plain, precision=precision)
    squares = np.random.default_rng(0).integers(0, 256, (LABELS, SIDE, SIDE, 3), dtype=np.uint8)
    squares[::2] //= 2
    table = ImageTable.of({
        "id": [str(number) for number in range(LABELS)], "split": ["train"] * LABELS,
        "label": [("dark", "light")[number % 2] for number in range(LABELS)],
    })
    facts = {**encoder.facts, "name": encoder.name, "hash": encoder.hash, "dimension": encoder.dimension}
    vectors = encoder.encode(squares)
    made = Embeddings(table.ids, vectors, facts, table, pixel_size=SIDE)
    Predictor.fit(encoder, made, table).save(folder)
    return encoder


def started(predictor: Path, image: bytes, rounds: int) -> dict[str, float]:
    spent, processor = [], []
    for _ in range(rounds):
        served = Served(predictor)
        assert served.ask(image)["answers"][0]["problem"] is None
        spent.append(time.perf_counter() - served.began)
        processor.append(served.processor_seconds())
        served.end()
    return {
        "seconds": round(statistics.median(spent), 2), "longest": round(max(spent), 2),
        "processor_seconds": round(statistics.median(processor), 2),
    }


def rate(encoder: EncoderLike, squares: Any) -> float:
    start = time.perf_counter()
    encoder.encode(squares)
    return len(squares) / (time.perf_counter() - start)


def held(predictor: Path, encoder: EncoderLike, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    squares = np.random.default_rng(1).integers(0, 256, (given.images, SIDE, SIDE, 3), dtype=np.uint8)
    rates = [rate(encoder, squares) for _ in range(2)][1:]
    served = Served(predictor)
    arguments = [str(served.port), str(given.clients), str(given.seconds), str(folder)]
    with ThreadPoolExecutor(1) as pool:
        served.ask(next(folder.glob("*.jpg")).read_bytes())
        run = pool.submit(
            subprocess.run, [sys.executable, "-c", CLIENTS, *arguments], check=True, capture_output=True
        ).result()
    served.end()
    rates.append(rate(encoder, squares))
    found = json.loads(run.stdout)
    times = np.array(found["spent"]) * 1000
    served_rate, alone = len(times) / found["seconds"], statistics.mean(rates)
    quantiles = dict(zip(("p50_ms", "p95_ms", "p99_ms"), np.percentile(times, [50, 95, 99]), strict=True))
    return {
        "clients": given.clients, "requests": len(times), "wrong": found["wrong"],
        "images_per_second": round(served_rate, 1), "encode_per_second": round(alone, 1),
        "share": round(served_rate / alone, 3),
        **{name: round(float(value), 1) for name, value in quantiles.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--images", type=int, default=256, help="encoded alone, for the rate")
    parser.add_argument("--rounds", type=int, default=5, help="starts")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="*", default=PRECISIONS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    told: dict[str, Any] = {"cores": cores()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number in range(64):
            (folder / f"{number}.jpg").write_bytes(picture(number))
        for precision in given.precision:
            predictor = folder / precision
            encoder = fitted(precision, predictor)
            start = started(predictor, picture(0), given.rounds)
            told[precision] = {"start": start, "held": held(predictor, encoder, folder, given)}
            print(precision, json.dumps(told[precision], indent=2), flush=True)
    if given.out:
        given.out.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
