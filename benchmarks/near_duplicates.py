"""Near-copies that were planted, and how many of them are found, on real sets.

::

    python benchmarks/near_duplicates.py ../shared/data/* [--images 3000] [--sheets FOLDER]

Of some images a copy is planted: saved again as JPEG of quality 60, turned by a quarter, mirrored, cut to
95 % of each side at a place of chance, or made 10 % brighter or darker; one copy an image. ``recall`` is
the share of the copies that are found with their original (directly or through another copy). Pairs that
were not planted are written to ``--sheets`` as pictures for a person to judge: many are true, since the
sets hold copies of their own. What was judged is in ``JUDGED``, and ``precision`` counts planted and judged
pairs. With ``--weights`` (of EfficientNet-Lite0) a third of the groups is held out, and the pairs across that
the encoder finds beyond those that thumbnails find are counted and shown, too (``across``).
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.near_duplicates import clusters_of, laid, near_duplicates
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.store import PixelStore
from hundredfold.encode.copies import copies_across
from hundredfold.encode.embed import embed
from hundredfold.encode.encoder import Encoder
from hundredfold.files import write_json
from hundredfold.rundir import software

RESULTS = Path(__file__).resolve().parent / "results"
KINDS = ("jpeg", "turned", "mirrored", "cut", "brightness")
EACH = 60
#: set → of the pairs that were found and not planted, how many a person held for the same picture, and how
#: many were looked at: all, of the ultrasound set the 120 that are least alike.
#: The same of the pairs that the encoder alone finds across a split by group.
ACROSS = {"busi_ultrasound": (1, 1), "chula_rbc": (9, 9)}
JUDGED = {"busi_ultrasound": (120, 120), "chula_rbc": (45, 70), "pbc_blood_cells": (1, 1)}


def planted(image: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    """A copy of an image."""
    if kind == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=60)
        return Image.open(buffer).convert("RGB")
    if kind == "turned":
        return image.transpose(Image.Transpose.ROTATE_90)
    if kind == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "cut":
        width, height = (round(0.95 * side) for side in image.size)
        left, top = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
        return image.crop((left, top, left + width, top + height))
    factor = rng.choice([0.9, 1.1])
    return Image.fromarray(np.clip(np.asarray(image, dtype=float) * factor, 0, 255).astype(np.uint8))


def plant(data: Path, folder: Path, most: int) -> dict[str, str]:
    """Fill a folder with images and copies; gives the name of each copy's original."""
    rng, files = np.random.default_rng(0), sorted((data / "images").iterdir())
    files = [files[place] for place in sorted(rng.permutation(len(files))[:most])]
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    copies = {}
    for place, number in enumerate(rng.permutation(len(files))[: EACH * len(KINDS)]):
        file, kind = files[number], KINDS[place % len(KINDS)]
        name = f"{file.stem}__{kind}.png"
        planted(Image.open(file).convert("RGB"), kind, rng).save(folder / name)
        copies[name] = file.name
    return copies


def sheet(pairs: pd.DataFrame, store: PixelStore, path: Path) -> None:
    """The pairs side by side, those of least likeness first."""
    rows, gap = [], np.full((96, 8, 3), 255, np.uint8)
    for pair in pairs.sort_values("likeness").head(120).itertuples():
        both = store[store.rows([pair.first, pair.second])]
        first, second = (cv2.resize(image, (96, 96)) for image in both)
        rows.append(np.hstack([laid(first, pair.turns, mirrored=pair.mirrored), second, gap]))
    if rows:
        rows += [np.full_like(rows[0], 255)] * (-len(rows) % 8)
        grid = np.vstack([np.hstack(rows[start : start + 8]) for start in range(0, len(rows), 8)])
        Image.fromarray(np.ascontiguousarray(grid)).save(path)


def measure(data: Path, most: int, sheets: Path | None) -> dict[str, Any]:
    """Plant, look, and count."""
    with tempfile.TemporaryDirectory() as work:
        copies = plant(data, Path(work) / "images", most)
        store = fill(find_images(Path(work) / "images"), Path(work) / "pixels", size=None, fit="pad")[1]
        began = time.monotonic()
        pairs = near_duplicates(store)
        seconds = time.monotonic() - began
        found = clusters_of(pairs, store.ids).set_axis(store.ids)
        original = pd.Series(copies)
        hit = found[original.index].to_numpy() == found[original].to_numpy()
        kinds = original.index.str.extract("__(.*)[.]png")[0]
        source = {**{name: name for name in store.ids}, **copies}
        other = pairs[pairs["first"].map(source) != pairs["second"].map(source)]
        if sheets is not None:
            sheets.mkdir(parents=True, exist_ok=True)
            sheet(other, store, sheets / f"{data.name}.png")
            other.to_csv(sheets / f"{data.name}.csv", index=False)
    true, judged = JUDGED.get(data.name, (0, 0))
    certain = judged or not len(other)
    return {
        "images": len(store), "seconds": round(seconds, 1), "recall": round(float(hit.mean()), 4),
        "recall_by_kind": pd.Series(hit).groupby(kinds.to_numpy()).mean().round(4).to_dict(),
        "planted_found": int(hit.sum()), "others_found": len(other), "others_judged": judged,
        "others_true": true,
        "precision": round((hit.sum() + true) / (hit.sum() + judged), 4) if certain else None,
        "largest_cluster": int(found.value_counts().max()),
    }


def across(data: Path, weights: Path, sheets: Path | None) -> dict[str, Any]:
    """Pairs across a split by group that an encoder's neighbours find, and thumbnails do not."""
    labels = pd.read_csv(data / "labels.csv")
    groups = labels["group"] if "group" in labels else labels["image"]
    names = np.random.default_rng(0).permutation(groups.unique())
    held = dict(zip(labels["image"], groups.isin(names[: len(names) // 3]), strict=True))
    encoder = Encoder(
        create_backbone("efficientnet_lite0", weights=str(weights)), size=80, value_range=None, fit="pad",
        provenance={}, seen=frozenset(), symmetry="mirror",
    )
    with tempfile.TemporaryDirectory() as work:
        table, store = fill(find_images(data / "images"), Path(work) / "pixels", size=None, fit="pad")
        known = clusters_of(near_duplicates(store), table.ids)
        sides = ["test" if held.get(name) else "train" for name in table.ids]
        table = table.assign(split=sides, cluster=known)
        vectors = embed(encoder, store, table, Path(work) / "vectors", batch=64, resume=False)
        pairs = copies_across(vectors, table, store)
        if sheets is not None:
            sheet(pairs, store, sheets / f"{data.name}_across.png")
    true, judged = ACROSS.get(data.name, (0, 0))
    return {
        "held_out": int(sum(side == "test" for side in sides)), "found": len(pairs), "judged": judged,
        "true": true,
    }


def main() -> None:
    """Measure the sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+", help="folders with images/")
    parser.add_argument("--images", type=int, default=3000, help="at most so many of a set")
    parser.add_argument("--sheets", type=Path, help="where pictures of the pairs that were not planted go")
    parser.add_argument("--weights", type=Path, help="of EfficientNet-Lite0, for pairs across a split")
    parser.add_argument("--results", type=Path, default=RESULTS / "near_duplicates.json")
    given = parser.parse_args()
    for data in given.data:
        known = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
        known[data.name] = measure(data, given.images, given.sheets)
        if given.weights is not None:
            known[data.name]["across"] = across(data, given.weights, given.sheets)
        write_json(given.results, {**known, "software": software()})
        print(data.name, json.dumps(known[data.name], indent=1), flush=True)


if __name__ == "__main__":
    main()
