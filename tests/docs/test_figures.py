"""The page on figures runs as it stands, and what it writes is fit for a journal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hundredfold.learn.curve import COLUMNS, LearningCurve


def written(folder: Path) -> None:
    """A small curve of two encoders and two classifiers, with a class named in another script."""
    folder.mkdir()
    random, classes = np.random.default_rng(0), np.array(["Lymphozyt (groß)", "単球", "blast"])
    truth, curve, said = np.arange(60) % 3, [], []
    for encoder in ("pretrained", "thumbnail"):
        for classifier in ("svm", "logistic"):
            for n in (1, 10, 100, 1000):
                guess = np.where(random.random((2, 60)) < 0.5 + 0.1 * np.log10(n), truth, (truth + 1) % 3)
                for repeat, row in enumerate(guess):
                    value = float((row == truth).mean())
                    facts = {
                        "encoder": encoder, "classifier": classifier, "preset": "default", "class": None,
                        "n_per_class": n, "n_labels": 3 * n, "n_groups": 2, "repeat": repeat,
                        "metric": "balanced_accuracy", "value": value, "low": value - 0.1,
                        "high": value + 0.1, "n_test": 60, "capped": n > 100, "n_read": 20 * n,
                    }
                    curve.append([facts[name] for name in COLUMNS])
                    said.append(pd.DataFrame({
                        "encoder": encoder, "classifier": classifier, "n_per_class": n, "repeat": repeat,
                        "id": [f"{i}" for i in range(60)], "label": classes[truth], "predicted": classes[row],
                    }))
    pd.DataFrame(curve, columns=list(COLUMNS)).to_parquet(folder / "curve.parquet")
    pd.concat(said).to_parquet(folder / "predictions.parquet")
    assert len(LearningCurve.read(folder).frame) == 32
    sizes = dict(zip(classes.tolist(), (10, 100, 1000), strict=True))
    facts = {"curve": {"train_images_by_class": sizes}}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")


@pytest.fixture(scope="module")
def figures(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    for name in ("first", "large"):
        written(folder / name)
    page = (repo_root / "docs" / "figures.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code, "docs/figures.md", "exec"), {})
    return folder / "figures"


@pytest.mark.parametrize(
    ("name", "millimetres"), [("curves", 85), ("confusion", 170), ("classes", 85), ("panels", 170)]
)
def test_the_page_writes_its_figures_at_journal_width(figures: Path, name: str, millimetres: int) -> None:
    with Image.open(figures / f"{name}.png") as picture:
        assert picture.width == pytest.approx(millimetres / 25.4 * 200, abs=1)
    assert (figures / f"{name}.svg").stat().st_size > 0


@pytest.mark.parametrize("name", ["curves", "confusion", "classes", "panels"])
def test_fonts_are_embedded_as_truetype(figures: Path, name: str) -> None:
    document = (figures / f"{name}.pdf").read_bytes()
    assert b"/FontFile2" in document
    assert b"/Type3" not in document


def test_the_classes_stand_beside_how_often_they_are(figures: Path) -> None:
    drawn = (figures / "classes.svg").read_text(encoding="utf-8")
    assert "training" in drawn
    assert "1,000" in drawn
