"""A small pool of cells and a tiny training on it, for every test of pre-training."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.data.pixels import fill
from hundredfold.data.smear import draw_smear
from hundredfold.data.source import find_images
from hundredfold.encode.encoder import Encoder
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.pool import Pool
from hundredfold.ssl.pretraining import pretrain_encoder

TINY = {
    "backbone": "test_efficientnet.r160_in1k", "weights": "none", "image_size": 32, "local_crops": 1,
    "batch_size": 8,
    "prototypes": 16, "head_hidden": 16, "head_bottleneck": 8, "checkpoint_minutes": 1e-6, "monitor_every": 3,
}


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Forty labelled cells of 32 px, all for training."""
    folder = tmp_path_factory.mktemp("smear")
    draw_smear(folder, images=40, size=32, seed=0)
    table, store = fill(find_images(folder / "images"), folder / "pixels", size=32, fit="pad")
    labels = pd.read_csv(folder / "labels.csv").set_index("image")
    frame = table.frame.assign(split="train", label=labels["label"].reindex(table.ids).to_numpy())
    return Pool(type(table)(frame), store)


@pytest.fixture
def tiny() -> dict[str, object]:
    """The settings of that training."""
    return dict(TINY)


@pytest.fixture
def train(pool: Pool) -> Callable[..., Encoder]:
    """``train(out, resume=…, on=…, **settings)``: pre-train on the pool (or another), deterministically."""

    def trained(out: Path, *, resume: bool = False, on: Pool = pool, **changes: object) -> Encoder:
        torch.use_deterministic_algorithms(True)
        given = {"epochs": 2, **TINY, **changes}
        settings = PretrainSettings.of(images=out, out=out, resume=resume, **given)
        torch.manual_seed(settings.seed)
        backbone = create_backbone(settings.backbone, weights="none", drop_path=settings.drop_path)
        run = RunDirectory.create(out)
        try:
            return pretrain_encoder(backbone, on, settings, run, seed=settings.seed, resume=resume)
        finally:
            torch.use_deterministic_algorithms(False)

    return trained


@pytest.fixture(scope="session")
def stop_at() -> Callable[[pytest.MonkeyPatch, int], None]:
    """``stop_at(patch, step)``: this process gets a real SIGINT in the middle of that step."""

    def planned(patch: pytest.MonkeyPatch, step: int) -> None:
        forward, seen = DINO.forward, [0]

        def interrupted(self: DINO, *given: object) -> Outputs:
            seen[0] += 1
            if seen[0] == step:
                os.kill(os.getpid(), signal.SIGINT)
            return forward(self, *given)  # type: ignore[arg-type]

        patch.setattr(DINO, "forward", interrupted)

    return planned


@pytest.fixture
def rows() -> Callable[[Path], list[dict[str, Any]]]:
    """``rows(run)``: the lines of its metrics."""
    return lambda run: [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
