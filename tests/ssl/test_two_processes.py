"""A second pre-training of one run while the first goes on: refused, and neither mixes with the other."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hundredfold.cli import main
from hundredfold.data.smear import draw_smear

TINY = [
    f"--{name}={value}" for name, value in {
        "backbone": "test_efficientnet.r160_in1k", "weights": "none", "image-size": 32, "local-crops": 1,
        "batch-size": 8, "prototypes": 16, "head-hidden": 16, "head-bottleneck": 8, "epochs": 8,
        "checkpoint-minutes": 1e-6,
    }.items()
]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_resume_beside_the_first_process_is_refused_and_after_its_kill_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: Callable[[Path], list[dict[str, Any]]]
) -> None:
    run = tmp_path / "run"
    draw_smear(tmp_path, images=40, size=32, seed=0)
    labels = ["--labels", str(tmp_path / "labels.csv")]
    assert main(["scan", str(tmp_path / "images"), *labels, "--out", str(run)]) == 0
    again = ["pretrain", str(run), "--out", str(run), *TINY, "--resume"]
    with subprocess.Popen(
        [sys.executable, "-m", "hundredfold", *again[:-1]], stderr=subprocess.DEVNULL
    ) as first:
        while not list(run.glob("checkpoints/step-*")):
            assert first.poll() is None
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)  # at work still, and what it left must be found untouched
        before = contents(run)
        capsys.readouterr()
        assert main(again) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert f"another process works on pretrain of this run (process {first.pid} on " in told
        assert contents(run) == before
        assert main(["embed", str(run), "--encoder", str(run), "--out", str(run)]) == 0, "a reader may"
        first.kill()
        assert first.wait() == -signal.SIGKILL
    assert main(again) == 0
    steps = [row["step"] for row in rows(run)]
    assert steps == list(range(len(steps)))


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
