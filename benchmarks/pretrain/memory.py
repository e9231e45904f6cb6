"""The memory that pre-training takes: by the number of images, and with gradient checkpointing.

::

    python benchmarks/pretrain/memory.py --out benchmarks/results/pretrain_memory.json

``RssAnon`` of the training process (Linux), read every 10 ms: what it has of its own. The images lie in a
memory-mapped file, whose pages the system takes back when it likes; they are not counted. The stores are made
by tiling (up to 2.5 GB on disk) and deleted. Figures: the peak up to the last step, and that of the whole
process with the export, which lists the images seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tiled import tiled_run

SIZE = 64
COUNTS = (2_000, 20_000, 200_000)
STEPS = 6
BATCH = 32
TINY = {
    "backbone": "test_efficientnet.r160_in1k", "image-size": 32, "local-crops": 1, "prototypes": 16,
    "head-hidden": 16, "head-bottleneck": 8,
}
VIT = {
    "backbone": "vit_tiny_patch16_224", "image-size": 224, "local-crops": 0, "prototypes": 1024,
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="file for the result (JSON)")
    out = parser.parse_args().out
    by_count = {count: trained(count, TINY, BATCH) for count in COUNTS}
    few, many = by_count[min(COUNTS)], by_count[max(COUNTS)]
    span = max(COUNTS) - min(COUNTS)
    growth = {key: round((many[key] - few[key]) * 1e6 / span) for key in few}
    print(f"{'images':>10} {'in the steps':>14} {'with the export':>16}   MB of RssAnon, peak")
    for count, peak in by_count.items():
        print(f"{count:>10,} {peak['steps_mb']:>14.1f} {peak['all_mb']:>16.1f}")
    print(f"bytes an image: {growth['steps_mb']} in the steps, {growth['all_mb']} with the export")
    plain, again = (trained(200, {**VIT, **more}, 8) for more in ({}, {"gradient-checkpointing": True}))
    print(f"ViT-tiny/16, batch 8, 2x224 px, float32: {plain['steps_mb']:.0f} MB, "
          f"with --gradient-checkpointing {again['steps_mb']:.0f} MB")
    result = {
        "images": {str(count): peak for count, peak in by_count.items()}, "bytes_an_image": growth,
        "vit_tiny_2x224_batch_8": {"plain": plain, "gradient_checkpointing": again},
        "image_size": SIZE, "backbone": TINY["backbone"], "steps": STEPS,
    }
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def trained(images: int, settings: dict[str, Any], batch: int) -> dict[str, float]:
    """Train a few steps on that many images in a process of its own; its peaks in MB."""
    with tempfile.TemporaryDirectory() as folder:
        run = tiled_run(Path(folder), images=images, size=SIZE).path
        given = {"weights": "none", "precision": "float32", "monitor-every": 1000, "batch-size": batch,
                 "epochs": (STEPS + 0.01) / (images // batch), **settings}
        options = [part for key, value in given.items() for part in _option(key, value)]
        command = [sys.executable, "-m", "hundredfold", "pretrain", run, "--out", run, *options]
        return watched(command, run / "metrics.jsonl")


def watched(command: list[Any], metrics: Path) -> dict[str, float]:
    """Peaks of RssAnon: until all steps are in the metrics, and until the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    steps, whole = 0, 0
    while process.poll() is None:
        whole = max(whole, anonymous(process.pid))
        if not metrics.exists() or metrics.read_bytes().count(b"\n") < STEPS:
            steps = whole
        time.sleep(0.01)
    if process.returncode:
        raise RuntimeError(process.stderr.read() if process.stderr else "")
    return {"steps_mb": steps / 1e6, "all_mb": whole / 1e6}


def anonymous(pid: int) -> int:
    """RssAnon in bytes; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def _option(name: str, value: object) -> list[str]:
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


if __name__ == "__main__":
    main()
