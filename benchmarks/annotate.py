"""How quick the labelling page is: from a key to the next image in a browser, and twenty annotators at once.

    python benchmarks/annotate.py --images 400 --keys 200 --minutes 1

Writes a run of noise images, serves it by the verb in a process of its own, and prints a table.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from hundredfold.data.pixels import fill
from hundredfold.data.table import ImageTable
from hundredfold.files import write_json
from hundredfold.rundir import RunDirectory

CLASSES = ("red", "green", "blue")
#: In the page: press a key as the browser sends it, and wait until the next image is painted.
PRESS = """(key) => new Promise((resolve) => {
  const canvas = document.getElementById("canvas");
  const before = canvas.dataset.shown, began = performance.now();
  new MutationObserver((_, watching) => {
    if (canvas.dataset.shown === before) return;
    watching.disconnect();
    resolve(performance.now() - began);
  }).observe(canvas, { attributes: true, attributeFilter: ["data-shown"] });
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
})"""


def write_run(folder: Path, count: int, side: int) -> RunDirectory:
    """A run of ``count`` JPEGs of ``side`` px."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = [folder / "images" / f"{number:05d}.jpg" for number in range(count)]
    for path in paths:
        coarse = rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (side, side)))
    run = RunDirectory.create(folder / "run")
    table = ImageTable.of(pd.DataFrame({"id": [p.name for p in paths], "path": [str(p) for p in paths]}))
    table, _ = fill(table.assign(split="train"), run / "pixels", size=128, fit="pad")
    table.assign(label=None).write(run / "images.parquet")
    return run


class Server:
    """The verb in a process of its own."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "hundredfold", "annotate", str(run), "--no-browser"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                self.port, self.token, self.address = int(found[1]), found[2], found[0]
                return
        raise SystemExit("the page was not served")

    def cookies(self, reader: str) -> str:
        """What a browser of the reader brings."""
        own = f"hundredfold-{self.port}={self.token}"
        return f"{own}; hundredfold-reader-{self.port}={reader.encode().hex()}"

    def ask(self, connection: http.client.HTTPConnection, reader: str, name: str, **asked: Any) -> Any:
        """A question in JSON, through a connection that stays open, as browsers do."""
        body = json.dumps({"holder": f"holder-of-{reader}", **asked})
        headers = {"origin": f"http://127.0.0.1:{self.port}", "cookie": self.cookies(reader)}
        connection.request("POST", f"/api/{name}", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def fetch(self, connection: http.client.HTTPConnection, image: str) -> int:
        """A picture; gives its bytes."""
        connection.request("GET", f"/image/{image}", headers={"cookie": self.cookies("")})
        return len(connection.getresponse().read())


def keys_to_images(server: Server, count: int, pause: float) -> list[float]:
    """Milliseconds from each key to the next image, with a pause between keys as a quick reader makes."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server.address)
        page.wait_for_url("**/hello")
        page.fill("#name", "Anna")
        page.keyboard.press("Enter")
        page.wait_for_url("**/read")
        for name in CLASSES:
            page.fill("#new-class", name)
            page.keyboard.press("Enter")
            page.wait_for_timeout(200)
        page.wait_for_timeout(2000)
        taken = []
        for number in range(count):
            taken.append(float(page.evaluate(PRESS, str(number % 3 + 1))))
            time.sleep(pause)
        browser.close()
    return taken


def together(server: Server, readers: int, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of each answer while many read at once, pictures and all; and how many clashed."""
    waits: list[float] = []
    clashes: list[Any] = []
    end = time.monotonic() + seconds

    def read(reader: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        while time.monotonic() < end:
            _, body = server.ask(connection, reader, "next", round="first", count=1)
            for item in body["items"]:
                server.fetch(connection, item["image"])
                began = time.monotonic()
                status, told = server.ask(
                    connection, reader, "answer", round="first", says="label", label="red",
                    image=item["image"], version=item["version"],
                )
                waits.append(1000 * (time.monotonic() - began))
                if status != 200:
                    clashes.append(told)
            if not body["items"]:
                return
            time.sleep(0.3)

    threads = [threading.Thread(target=read, args=(f"reader{number}",)) for number in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits, len(clashes)


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between keys")
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder), given.images, given.side)
        server = Server(run.path)
        try:
            keys = keys_to_images(server, given.keys, given.pause)
            waits, clashes = together(server, given.readers, given.seconds)
        finally:
            server.process.terminate()
            server.process.wait()
            assert server.process.stderr is not None
            server.process.stderr.close()
    rows = {
        "key to next image, ms": keys, f"answer, {given.readers} readers at once, ms": waits,
    }
    print(f"{'':40}{'n':>7}{'median':>9}{'p95':>9}{'most':>9}")
    found: dict[str, Any] = {"images": given.images, "side": given.side, "clashes": clashes}
    for name, times in rows.items():
        median, p95, most = np.percentile(times, [50, 95, 100])
        print(f"{name:40}{len(times):>7}{median:>9.1f}{p95:>9.1f}{most:>9.1f}")
        found[name] = {"n": len(times), "median": median, "p95": p95, "most": most}
    print(f"answers that another had given before: {clashes}")
    if given.out:
        write_json(given.out, found)


if __name__ == "__main__":
    main()
