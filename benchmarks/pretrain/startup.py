"""From the start of the process to the end of the first training step, and where that time goes.

::

    python benchmarks/pretrain/startup.py --out benchmarks/results/pretrain_startup.json [--images 20000]

The run's scan is done before (a store made by tiling); the time is that of ``hundredfold pretrain RUN --out
RUN`` with its defaults, random weights apart. Parts that lie in others are shown within them. Then 400 images
are scanned twice into one pixel store: the second scan must decode none.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE = 80


class StartedError(Exception):
    """The first step is done."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="file for the result (JSON)")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    result = {"images": given.images, "image_size": SIZE, "second_scan": second_scan()}
    for name, more in {"epochs": ["--epochs", "1"], "minutes": ["--minutes", "1"]}.items():
        rounds = [started(given.images, more) for _ in range(given.rounds)]
        result[name] = {
            key: round(statistics.median(r.get(key, 0.0) for r in rounds), 2) for key in rounds[0]
        }
        print(f"--{name}: " + ", ".join(f"{key} {value:.2f} s" for key, value in result[name].items()))
    print(f"second scan of 400 images into the same store: {result['second_scan']}")
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def started(images: int, options: list[str]) -> dict[str, float]:
    """Seconds from the start of a process to its first step, and of the parts."""
    from tiled import tiled_run

    with tempfile.TemporaryDirectory() as folder:
        run = tiled_run(Path(folder), images=images, size=SIZE).path
        result = Path(folder, "seconds.json")
        command = [sys.executable, __file__, "--child", str(time.time()), str(result), "pretrain", run,
                   "--out", run, "--weights", "none", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
        if not result.exists():
            raise RuntimeError(done.stderr[-3000:])
        seconds: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
        return seconds


def child(launched: float, result: Path, options: list[str]) -> None:
    """Be ``hundredfold pretrain`` up to its first step."""
    seconds = {"start of Python": time.time() - launched}

    began = time.monotonic()
    from parts import timed

    from hundredfold import cli
    from hundredfold.backbones import backbone
    from hundredfold.data.store import PixelStore
    from hundredfold.encode.encoder import Encoder
    from hundredfold.ssl import pool, pretraining
    from hundredfold.ssl.batches import ViewBatches
    from hundredfold.ssl.trainer import Trainer

    seconds["imports"] = time.monotonic() - began
    for owner, name, part in (
        (PixelStore, "open", "pixel store"), (pool.Pool, "__init__", "table"),
        (backbone, "create_backbone", "backbone"), (Encoder, "save", "initial encoder"),
        (pretraining, "create_fabric", "Fabric"), (pretraining, "_watch", "labels of the monitor"),
        (pretraining, "seconds_a_step", "timing of --minutes"),
    ):
        timed(seconds, owner, name, part)
    fit = Trainer.fit

    def first_step(self: Trainer, **named: Any) -> None:
        timed(seconds, ViewBatches, "__getitem__", "first batch")
        step = self.step

        def stepped(*given: Any) -> None:
            began = time.monotonic()
            step(*given)
            seconds["first step"] = time.monotonic() - began
            seconds["all"] = time.time() - launched
            raise StartedError

        self.step = stepped  # type: ignore[method-assign,assignment]
        fit(self, **named)

    Trainer.fit = first_step  # type: ignore[method-assign]
    try:
        cli._application(options)(options)  # noqa: SLF001 - main() would take our signal for a fault
    except StartedError:
        result.write_text(json.dumps(seconds), encoding="utf-8")


def second_scan() -> dict[str, int]:
    """What the second of two scans of the same images into one store decoded."""
    import hundredfold
    from hundredfold.data.smear import draw_smear

    with tempfile.TemporaryDirectory() as folder:
        images = draw_smear(Path(folder, "smear"), images=400, size=SIZE) / "images"
        for name in ("first", "second"):
            run = hundredfold.scan(images, out=Path(folder, name), pixels=Path(folder, "pixels"))
        found: dict[str, int] = run.state["decoding"]
        return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        main()
