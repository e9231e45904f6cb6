"""Kill a pre-training at random moments with SIGKILL, resume it each time, and compare the end bit by bit.

    python benchmarks/pretrain/kills.py [--kills 20] [--seed 0] [--out benchmarks/results/kills.json]

A tiny network on the synthetic smear, and a save after every step, so that some kills fall into one. Each
kill comes at a random time after the first save of its process. At the end the weights and the training state
equal those of a run that nothing happened to, and ``metrics.jsonl`` has every step once, with the same loss.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hundredfold.data.smear import draw_smear
from hundredfold.files import hash_file, write_json
from hundredfold.rundir import software

HERE = Path(__file__).resolve().parent
OPTIONS = [
    "--backbone", "test_efficientnet.r160_in1k", "--weights", "none", "--image-size", "32",
    "--local-crops", "1", "--batch-size", "8", "--prototypes", "16", "--head-hidden", "16",
    "--head-bottleneck", "8",
    "--checkpoint-minutes", "1e-6",
]
IMAGES = 60
#: A kill comes at most so many seconds after the first new step of a process.
LONGEST = 0.6


def command(verb: str, source: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "hundredfold", verb, str(source), "--out", str(out), *options]


def call(*given: str) -> None:
    subprocess.run(given, check=True, env=environment(), stderr=subprocess.DEVNULL)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def lines(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_once(train: list[str], run: Path, wait: float) -> dict[str, Any] | None:
    """Start the training, kill it ``wait`` seconds after its first step; ``None`` if it ended before."""
    process = subprocess.Popen(train, env=environment(), stderr=subprocess.DEVNULL)
    before = set(checkpoints(run))
    while process.poll() is None and not set(checkpoints(run)) - before:
        time.sleep(0.001)
    time.sleep(wait)
    process.kill()
    if process.wait() != -9:
        return None
    return {
        "seconds": round(wait, 3), "checkpoint": max(checkpoints(run)), "lines": lines(run),
        "in_a_save": any((run / "checkpoints").glob(".*.tmp")),
    }


def checkpoints(run: Path) -> list[str]:
    return [path.name for path in (run / "checkpoints").glob("step-*")]


def steps_and_losses(run: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def encoder_hash(run: Path) -> str:
    return str(json.loads((run / "encoder" / "encoder.json").read_text(encoding="utf-8"))["hash"])


def compare(cut: Path, whole: Path, steps: int) -> dict[str, bool]:
    last = Path("checkpoints") / f"step-{steps:08d}" / "state.pt"
    return {
        # the hash over every weight; the order of the names in a safetensors file is arbitrary
        "encoder_equal": encoder_hash(cut) == encoder_hash(whole),
        "state_equal": hash_file(cut / last) == hash_file(whole / last),
        "every_step_once": [step for step, _ in steps_and_losses(cut)] == list(range(steps)),
        "losses_equal": steps_and_losses(cut) == steps_and_losses(whole),
    }


def measure(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    draw_smear(folder, images=IMAGES, size=32, seed=0)
    whole, cut = folder / "whole", folder / "cut"
    labels = ["--labels", str(folder / "labels.csv")]
    for run in (whole, cut):
        call(*command("scan", folder / "images", run, *labels))
    epochs = str(4 * kills)  # more steps than the kills let pass
    call(*command("pretrain", whole, whole, *OPTIONS, "--epochs", epochs))
    train = command("pretrain", cut, cut, *OPTIONS, "--epochs", epochs)
    generator, found = random.Random(seed), []
    for number in range(kills):
        killed = kill_once([*train, *(["--resume"] if number else [])], cut, generator.uniform(0, LONGEST))
        if killed is None:
            raise SystemExit("the training ended before the last kill: raise the epochs")
        print(f"kill {number + 1}: {killed}", flush=True)
        found.append(killed)
    call(*train, "--resume")
    steps = lines(whole)
    return {
        "kills": found, "killed_in_a_save": sum(kill["in_a_save"] for kill in found), "steps": steps,
        **compare(cut, whole, steps), "software": software(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "kills.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.kills, given.seed)
    write_json(given.out, result)
    print({key: value for key, value in result.items() if key not in ("kills", "software")})


if __name__ == "__main__":
    main()
