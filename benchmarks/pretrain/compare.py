"""DINO pre-training beside its peers: seconds a step, images/s, ratios, share of the machine's matrix rate.

::

    python benchmarks/pretrain/compare.py --original DINO_FOLDER --reference SPARSAM_FOLDER [--rounds 3]

The peers are LightlyTrain (method "dino"), the training loop of Caron et al. 2021 and that of Nielsen et al.
2023; the last two are read from folders of their repositories, and left out where none is named. All train
the same backbone from random weights on the same JPEGs with as many crops of the same sizes, in the same
batch and with as many outputs; each at its own default and in bfloat16. They take turns, so that a busy
moment of the machine hits all alike; the table gives medians, and ratios within a round. The first call makes
an environment for the peers (several GB). LightlyTrain is AGPL: it is run, and none of it is kept here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.data.smear import draw_smear
from hundredfold.files import write_json
from hundredfold.progress import say
from hundredfold.rundir import software
from hundredfold.ssl.dino import DINO

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
TASK = {"batch": 32, "image_size": 224, "local_size": 96, "local_crops": 6, "outputs": 1024}
SIDE = 2048  # of the matrices whose product is the machine's rate
NEEDED = ("lightly-train", "timm", "scikit-learn", "tqdm", "pydicom", "pandas", "opencv-python-headless")

Result = dict[str, Any]


def peers(folder: Path) -> Path:
    """The Python of an environment that holds the peers and our torch; made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        say(f"Making {folder} for the peers …")
        venv.create(folder, with_pip=True)
        ours = [f"{name}=={version(name).split('+')[0]}" for name in ("torch", "torchvision")]
        subprocess.run([python, "-m", "pip", "install", "-q", *ours, *NEEDED], check=True)
    return python


def images(folder: Path, count: int) -> Path:
    """JPEGs of 256 px, in one subfolder, as torchvision's ImageFolder wants them."""
    draw_smear(folder, images=count, size=256, seed=0)
    (folder / "images").rename(folder / "all")
    (folder / "tree").mkdir()
    (folder / "all").rename(folder / "tree" / "all")
    return folder / "tree"


def contenders(given: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """(program, precision, source folder), in turn."""
    here = Path()
    folders = {"hundredfold": here, "lightly-train": here, "original": given.original,
               "reference": given.reference}
    for program, source in folders.items():
        if source:
            for precision in ("default", "bfloat16"):
                if program != "hundredfold" or precision == "default":
                    yield program, precision, str(source)


def timed(python: Path, task: Result) -> Result | None:
    """Run one contender; nothing if it failed, and its last lines on the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, HERE / "contenders.py", json.dumps({**task, "folder": folder})]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        result = Path(folder, "result.json")
        if not result.exists():
            said = f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
            say(f"{task['program']} ({task['precision']}) failed:\n{said}")
            return None
        found: Result = json.loads(result.read_text(encoding="utf-8"))
        noted = Path(folder, "run", "run.json")
        used = json.loads(noted.read_text())["pretrain"]["precision"] if noted.exists() else task["precision"]
        return {**found, "arithmetic": "bfloat16" if used == "bfloat16" else "float32"}


def matrix_rate(kind: torch.dtype) -> float:
    """Multiplications and additions a second of a large matrix product, the best of five."""
    left, right = torch.randn(SIDE, SIDE).to(kind), torch.randn(SIDE, SIDE).to(kind)
    times = []
    for _ in range(6):
        began = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(times[1:])


def operations(backbone: str) -> int:
    """Multiplications and additions of one of our steps, matrix products and convolutions, both passes."""
    few = 2
    settings = PretrainSettings(images=Path(), out=Path(), prototypes=TASK["outputs"])
    dino = DINO(create_backbone(backbone, weights="none"), settings)
    large = torch.zeros(2, few, TASK["image_size"], TASK["image_size"], 3, dtype=torch.uint8)
    small = torch.zeros(
        TASK["local_crops"], few, TASK["local_size"], TASK["local_size"], 3, dtype=torch.uint8
    )
    with FlopCounterMode(display=False) as counter:
        dino(large, small, 0.04).loss.backward()
    return counter.get_total_flops() * TASK["batch"] // few


def table(results: list[Result], flops: int, rates: dict[str, float]) -> list[Result]:
    """One row a contender: medians over the rounds, and the ratio to ours within each round."""
    ours = {r["round"]: statistics.median(r["seconds"]) for r in results if r["program"] == "hundredfold"}
    rows = []
    for key in dict.fromkeys((r["program"], r["precision"]) for r in results):
        mine = [r for r in results if (r["program"], r["precision"]) == key]
        step = statistics.median(statistics.median(r["seconds"]) for r in mine)
        ratio = statistics.median(
            statistics.median(r["seconds"]) / ours[r["round"]] for r in mine if r["round"] in ours
        )
        arithmetic = mine[0]["arithmetic"]
        rows.append({
            "program": key[0], "precision": key[1], "seconds_a_step": round(step, 3),
            "images_per_second": round(TASK["batch"] / step, 1), "times_ours": round(ratio, 2),
            "arithmetic": arithmetic, "share_of_matrix_rate": round(flops / step / rates[arithmetic], 3),
            "first_step_seconds": round(statistics.median(r["first_step"] for r in mine), 1),
            "peak_mb": round(max(r["peak_mb"] for r in mine)),
            "parts": {k: round(statistics.median(r["parts"][k] for r in mine), 3) for k in mine[0]["parts"]},
        })
    return rows


def markdown(found: list[Result]) -> str:
    """The README's table: a row a contender, seconds a step and how many times ours, for each backbone."""
    tasks = [result["task"] for result in found]
    names = [f"{task['backbone'].removesuffix('_224').replace('_', '-')}, {task['batch']}" for task in tasks]
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    rows = [row for result in found for row in result["table"]]
    for key in dict.fromkeys((row["program"], row["precision"]) for row in rows):
        cells = []
        for result in found:
            rows = [row for row in result["table"] if (row["program"], row["precision"]) == key]
            cells += [f"{row['seconds_a_step']:.2f} s ({row['times_ours']:.2f}x)" for row in rows] or ["–"]
        program = key[0] if key[1] == "default" else f"{key[0]}, set to {key[1]}"
        lines.append(f"| {program} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Let them take turns and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--original", type=Path, help="folder of github.com/facebookresearch/dino")
    parser.add_argument("--reference", type=Path, help="folder of github.com/IPMI-ICNS-UKE/sparsam")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="environment of the peers")
    parser.add_argument("--backbones", nargs="+", default=["vit_tiny_patch16_224", "resnet18"])
    parser.add_argument("--batch", type=int, default=TASK["batch"], help="images a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed steps a turn, after one that is not")
    given = parser.parse_args()
    TASK["batch"] = given.batch
    python = peers(given.peers).absolute()
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        tree = images(Path(folder), count=TASK["batch"] * (given.steps + 3))
        for backbone in given.backbones:
            rates = {"float32": 0.0, "bfloat16": 0.0}
            results: list[Result] = []
            for number in range(given.rounds):
                for kind in (torch.float32, torch.bfloat16):
                    name = str(kind).removeprefix("torch.")
                    rates[name] = max(rates[name], matrix_rate(kind))
                for program, precision, source in contenders(given):
                    task = {
                        **TASK, "program": program, "precision": precision, "backbone": backbone,
                        "images": str(tree), "steps": given.steps, "source": str(Path(source).absolute()),
                    }
                    found = timed(Path(sys.executable) if program == "hundredfold" else python, task)
                    if found is not None:
                        results.append({**found, "program": program, "precision": precision, "round": number})
                        took = statistics.median(found["seconds"])
                        say(f"{number} {backbone} {program} {precision}: {took:.2f} s a step")
            rows = table(results, operations(backbone), rates)
            for row in rows:
                say(" ".join(f"{key}={value}" for key, value in row.items()))
            kept.append({
                "task": {**TASK, "backbone": backbone}, "table": rows, "rounds": given.rounds,
                "matrix_rate": rates,
                "cores": os.cpu_count(), "processor": platform.processor() or platform.machine(),
                "software": software(),
            })
            write_json(RESULTS / f"pretrain_{backbone}.json", kept[-1])
    print(markdown(kept))


if __name__ == "__main__":
    main()
