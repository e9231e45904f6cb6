"""How fast are vectors taken? Against the bare forward pass, and as a whole process against lightly-train's.

::

    python benchmarks/embed.py kernel  --out benchmarks/results/embed.json
    python benchmarks/embed.py process --out benchmarks/results/embed.json [--peer PYTHON]

``kernel`` runs ``Encoder.encode`` on squares in memory, and the backbone alone on tensors of the same
images at the best of three batch sizes, in both precisions. They take turns; told are the medians and their
ratio: what resizing, normalising and splitting cost. ``process`` writes JPEGs of 250 px and takes their
vectors at 224 px, ViT-tiny with random weights, from the start of a process to its end, everything
included: ours on the command line, and with ``--peer`` lightly-train's ``embed`` in an environment of its
own, by its public function, from a checkpoint that it made of the same model beforehand. Each in both
precisions; float32 is the default of both. Telemetry is off, and nothing of the peer is imported here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from hundredfold.backbones.backbone import Backbone, create_backbone
from hundredfold.encode.encoder import Encoder, Precision, alter
from hundredfold.process import cores

MODELS = ("vit_tiny_patch16_224", "efficientnet_lite0", "resnet18")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SIDE = 224
BATCHES = (16, 32, 64)
EMBED = """
import sys, lightly_train
lightly_train.embed(
    data=sys.argv[1], out=sys.argv[2], checkpoint=sys.argv[3], precision=sys.argv[4], format="torch",
    overwrite=True,
)
"""
#: The checkpoint of a model that was trained on eight images.
TRAIN = """
import sys, lightly_train
lightly_train.pretrain(
    data=sys.argv[1], out=sys.argv[2], model="timm/vit_tiny_patch16_224", method="simclr", epochs=1,
    batch_size=8, num_workers=0, overwrite=True, model_args={"pretrained": False},
)
"""
THEIRS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def whole(backbone: Backbone) -> Encoder:
    return Encoder(backbone, size=SIDE, value_range=None, fit="pad", provenance={}, seen=frozenset())


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def kernel(images: int, rounds: int) -> dict[str, Any]:
    """Images a second of the encoder and of its backbone alone."""
    squares = np.random.default_rng(0).integers(0, 256, (images, SIDE, SIDE, 3), dtype=np.uint8)
    result: dict[str, Any] = {"cores": cores(), "threads": torch.get_num_threads(), "images": images}
    for name in MODELS:
        backbone = create_backbone(name, weights="none")
        encoder = whole(backbone)
        for precision in PRECISIONS:
            result[f"{name} {precision}"] = one = _compared(encoder, precision, squares, rounds)
            print(name, precision, one, flush=True)
    return result


def _compared(encoder: Encoder, precision: Precision, squares: Any, rounds: int) -> dict[str, float]:
    mine = alter(encoder, precision=precision)
    assert isinstance(mine, Encoder)
    tensors = mine.backbone.normalise(torch.from_numpy(squares))

    def bare(batch: int) -> None:
        on = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
        with torch.inference_mode(), on:
            for part in torch.split(tensors, batch):
                mine.lean(part)

    ways: dict[str, Callable[[], object]] = {"encode": lambda: mine.encode(squares)}
    ways |= {f"bare {batch}": lambda batch=batch: bare(batch) for batch in BATCHES}  # type: ignore[misc]
    for way in ways.values():
        way()
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            spent[name].append(seconds(way))
    rates = {name: len(squares) / statistics.median(found) for name, found in spent.items()}
    fastest = max(rate for name, rate in rates.items() if name != "encode")
    return {
        "encode_per_second": round(rates["encode"], 1), "bare_per_second": round(fastest, 1),
        "ratio": round(rates["encode"] / fastest, 3),
    }


def process(images: int, rounds: int, peer: str | None) -> dict[str, Any]:
    """Seconds of whole processes, from the start to the end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "images").mkdir()
        for number in range(images):
            cv2.imwrite(str(folder / "images" / f"{number:05d}.jpg"), _cell(number))
        whole(create_backbone(MODELS[0], weights="none")).save(folder / "encoder")
        runs = {f"hundredfold {precision}": _ours(folder, precision) for precision in PRECISIONS}
        if peer:
            runs |= _theirs(folder, peer)
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, command in runs.items():
                shutil.rmtree(folder / "out", ignore_errors=True)
                spent[name].append(seconds(lambda command=command: _run(command)))  # type: ignore[misc]
                print(name, round(spent[name][-1], 1), flush=True)
    medians = {name: round(statistics.median(found), 2) for name, found in spent.items()}
    told: dict[str, Any] = {"cores": cores(), "images": images, "rounds": rounds, "seconds": medians}
    if peer:
        told["times_faster"] = {
            name: round(medians["lightly-train float32"] / spent, 2) for name, spent in medians.items()
        }
    return told


def _ours(folder: Path, precision: str) -> list[str]:
    return [
        sys.executable, "-m", "hundredfold", "embed", str(folder / "images"), "--encoder",
        str(folder / "encoder"), "--embed-precision", precision, "--out", str(folder / "out"),
    ]


def _theirs(folder: Path, peer: str) -> dict[str, list[str]]:
    """The peer's commands; the checkpoint is made beforehand, and does not count."""
    images, checkpoint = str(folder / "images"), folder / "peer" / "checkpoints" / "last.ckpt"
    few = folder / "few"
    few.mkdir()
    for path in sorted((folder / "images").iterdir())[:8]:
        shutil.copy(path, few)
    _run([peer, "-c", TRAIN, str(few), str(folder / "peer")])
    return {
        f"lightly-train {ours}": [peer, "-c", EMBED, images, str(folder / "vectors.pt"), str(checkpoint), own]
        for ours, own in THEIRS.items()
    }


def _run(command: list[str]) -> None:
    quiet = {"LIGHTLY_TRAIN_EVENTS_DISABLED": "1", "HF_HUB_OFFLINE": "1"}
    env = {**os.environ, **quiet}
    if command[0] != sys.executable:  # packages of this environment are not those of the peer's
        env.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])


def _cell(seed: int) -> Any:
    """A picture of 250 px with shapes of several sizes, BGR."""
    draw = np.random.default_rng(seed)
    pixels = np.full((250, 250, 3), 150, np.float32)
    for size, strength in ((4, 10), (16, 25), (64, 40)):
        coarse = draw.normal(size=(250 // size + 2, 250 // size + 2, 3)).astype(np.float32)
        pixels += strength * cv2.resize(coarse, (250, 250), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("kernel", "process"))
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", help="the Python of an environment with lightly-train")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "kernel":
        found = kernel(given.images, given.rounds)
    else:
        found = process(given.images, given.rounds, given.peer)
    print(json.dumps(found, indent=2))
    if given.out:
        before = json.loads(given.out.read_text()) if given.out.exists() else {}
        given.out.write_text(json.dumps({**before, given.what: found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
