"""A small run with every stage, written through the rooms that write it, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hundredfold.config import CurveSettings, PretrainSettings, ScanSettings
from hundredfold.data.pixels import fill
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.metrics import Resamples, group_codes, measure
from hundredfold.rundir import RunDirectory

HOSTILE = '<script>alert("x")</script> & $\\frac{a}$'
CLASSES = [HOSTILE, "round", "square"]
EACH = 16
BUDGETS = (1, 5, 100)
REPEATS = 2


def draw_images(folder: Path) -> ImageTable:
    """Discs of three colours in 48 files; every group of four images lies on one side."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(EACH * len(CLASSES)):
        kind = number % len(CLASSES)
        pixels = rng.integers(180, 255, (32, 32, 3), dtype=np.uint8)
        colour = [40, 40, 40]
        colour[kind] = 220
        cv2.circle(pixels, (16, 16), 9, colour, -1)
        name = f"cell <img src=x onerror=alert(1)> {number:02d}.png"
        assert cv2.imwrite(str(folder / name), pixels)
        group = number // 4
        rows.append(
            (name, str(folder / name), CLASSES[kind], f"slide {group}", "test" if group % 3 == 0 else "train")
        )
    (folder / "broken.png").write_bytes(b"")
    rows.append(("broken.png", str(folder / "broken.png"), "round", "slide 0", "test"))
    return ImageTable.of(pd.DataFrame(rows, columns=["id", "path", "label", "group", "split"]))


def write_scan(run: RunDirectory, images: Path) -> ImageTable:
    """The scan's files, with one broken image among them."""
    with run.stage("scan", settings=ScanSettings(images=images, out=run.path), resume=False):
        table, _ = fill(draw_images(images), run / "pixels", size=32, fit="pad")
        table.write(run / "images.parquet")
        table.rejects.to_csv(run / "rejects.csv", index=False)
    return table


def write_training(run: RunDirectory, images: Path) -> None:
    """Sixty steps of a training that left the uniform solution; the last line was cut by a kill."""
    settings = PretrainSettings(images=images, out=run.path, image_size=24, local_size=16, local_crops=2)
    with run.stage("pretrain", settings=settings, resume=False), (run / "metrics.jsonl").open("w") as file:
        for step in range(60):
            row = {
                "step": step,
                "epoch": step / 10,
                "loss": 4.2 - step / 20,
                "learning_rate": 1e-3 * step / 60,
            }
            if step % 10 == 0:
                row |= {
                    "teacher_entropy": 4.1 - step / 30,
                    "student_entropy": 4.1 - step / 40,
                    "max_entropy": 4.16,
                    "marginal_entropy": 4.0,
                    "spread": 0.5,
                    "agreement": step / 100,
                }
            if step in {0, 29, 59}:
                row |= {"rankme": 8.0 + step, "knn_balanced_accuracy": 0.5 + step / 200}
            file.write(json.dumps(row) + "\n")
        file.write('{"step": 60, "lo')
    run.record(
        pretrain={
            "steps": 60,
            "epochs": 6,
            "batch_size": 8,
            "backbone": "efficientnet_lite0",
            "image_size": 24,
            "local_size": 16,
            "minutes": 1.5,
            "images": 32,
            "transductive": False,
            "alarms": [],
        }
    )


def write_embeddings(run: RunDirectory, table: ImageTable) -> None:
    """Vectors that tell the classes apart well, less well, and badly."""
    images = table.usable
    rng = np.random.default_rng(1)
    truth = np.eye(len(CLASSES))[[CLASSES.index(label) for label in images.frame["label"]]]
    for name, noise in (("pretrained", 0.2), ("initial", 0.6), ("thumbnail", 1.5)):
        vectors = np.hstack([truth, np.zeros((len(truth), 5))]) + noise * rng.standard_normal((len(truth), 8))
        facts = {"name": name, "hash": "0" * 64, "dimension": 8}
        Embeddings(images.ids, vectors.astype(np.float32), facts, images).write(run / "embeddings" / name)


def answers(test: pd.DataFrame, predicted: list[str]) -> pd.DataFrame:
    """The rows of ``predictions.parquet`` for one draw, without what tells the draw."""
    return pd.DataFrame({"id": test["id"], "label": test["label"], "predicted": predicted})


def write_curve(run: RunDirectory, table: ImageTable, images: Path, *, intervals: bool = True) -> None:
    """Curves and predictions of three encoders and two classifiers, measured by the metrics room."""
    test = table.test.frame
    truth = np.array([CLASSES.index(label) for label in test["label"]])
    resamples = (
        Resamples.draw(group_codes(list(test["id"]), len(test)), REPEATS, 50, 0) if intervals else None
    )
    rows, predictions = [], []
    rng = np.random.default_rng(2)
    for encoder, skill in (("pretrained", 0.9), ("initial", 0.6), ("thumbnail", 0.4)):
        for classifier in ("svm", "knn"):
            for budget in BUDGETS:
                right = rng.random((REPEATS, len(truth))) < skill * min(1, 0.7 + budget / 20)
                guess = np.where(right, truth, (truth + 1) % len(CLASSES))
                for found in measure(truth, guess, np.eye(len(CLASSES))[guess], resamples):
                    number = found.class_number
                    rows += [
                        (
                            encoder,
                            classifier,
                            "default",
                            None if number is None else CLASSES[number],
                            budget,
                            3 * min(budget, 10),
                            8,
                            repeat,
                            found.metric,
                            value,
                            found.low,
                            found.high,
                            found.n_test,
                            budget > 10,
                        )
                        for repeat, value in enumerate(found.values)
                    ]
                predictions += [
                    answers(test, [CLASSES[g] for g in row]).assign(
                        encoder=encoder, classifier=classifier, n_per_class=budget, repeat=repeat
                    )
                    for repeat, row in enumerate(guess)
                ]
    columns = [
        "encoder",
        "classifier",
        "preset",
        "class",
        "n_per_class",
        "n_labels",
        "n_groups",
        "repeat",
        "metric",
        "value",
        "low",
        "high",
        "n_test",
        "capped",
    ]
    settings = CurveSettings(embeddings=run.path, labels=images / "labels.csv", out=run.path)
    with run.stage("curve", settings=settings, resume=False):
        pd.DataFrame(rows, columns=columns).to_parquet(run / "curve.parquet")
        names = ("encoder", "classifier", "id", "label", "predicted")
        pd.concat(predictions).astype(dict.fromkeys(names, "category")).to_parquet(
            run / "predictions.parquet"
        )


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with every stage, and its report."""
    from hundredfold.workflows.report import report

    folder = tmp_path_factory.mktemp("report")
    run = RunDirectory.create(folder / "run <i>one")
    table = write_scan(run, folder / "images")
    write_training(run, folder / "images")
    write_embeddings(run, table)
    write_curve(run, table, folder / "images")
    report(run=run.path)
    return run
