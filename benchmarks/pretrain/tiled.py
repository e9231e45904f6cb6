"""A scanned run of any number of small images, made in seconds: a few hundred cells, again and again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hundredfold.config import ScanSettings
from hundredfold.data.pixels import fill
from hundredfold.data.smear import draw_smear
from hundredfold.data.source import find_images
from hundredfold.data.table import ImageTable
from hundredfold.files import write_json
from hundredfold.rundir import RunDirectory

DRAWN = 200


def tiled_run(folder: Path, *, images: int, size: int) -> RunDirectory:
    """A run whose scan is done, with ``images`` images of ``size`` px, each with its own id and hash."""
    draw_smear(folder / "smear", images=DRAWN, size=size, seed=0)
    table, store = fill(find_images(folder / "smear" / "images"), folder / "drawn", size=size, fit="pad")
    run = RunDirectory.create(folder / "run")
    settings = ScanSettings.of(images=folder / "smear" / "images", out=run.path)
    with run.stage("scan", settings=settings, resume=False):
        pixels = run / "pixels"
        pixels.mkdir()
        shape = (images, size, size, 3)
        array = np.lib.format.open_memmap(pixels / "pixels.npy", "w+", np.uint8, shape)
        for start in range(0, images, DRAWN):
            array[start : start + DRAWN] = store.array[: images - start]
        array.flush()
        ids = [f"slide_{number // 1000:04d}/cell_{number:07d}.png" for number in range(images)]
        frame = table.frame.iloc[np.arange(images) % DRAWN].reset_index(drop=True)
        paths = [str(folder / "smear" / "images" / name) for name in ids]
        hashes = [f"{number:064x}" for number in range(images)]
        tiled = ImageTable.of(frame.assign(id=ids, path=paths, sha256=hashes, split="train"))
        tiled.write(run / "images.parquet")
        tiled.write(pixels / "images.parquet")
        facts = json.loads((folder / "drawn" / "pixels.json").read_text(encoding="utf-8"))
        write_json(pixels / "pixels.json", {**facts, "count": images})
        run.record(pixels=None, scan={"images": images})
    return run
