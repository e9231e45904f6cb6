"""What every test may ask for; one thread a process, so that two test processes share two cores."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the repository; tests that need it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def check_guard() -> Callable[[str, str], None]:
    """Make sure that a test, named as ``file::test``, is there and is never skipped."""

    def check(guard: str, what: str) -> None:
        file, _, name = guard.partition("::")
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{guard} is gone: {what} is unguarded"
        marks = [ast.unparse(mark) for mark in functions[name].decorator_list]
        assert not any("skip" in mark or "xfail" in mark for mark in marks)

    return check


class Coloured:
    """Noisy squares of three colours, and a predictor that learned from eight of each."""

    colours: ClassVar = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
    classes, side = tuple(colours), 20

    def __init__(self, folder: Path) -> None:
        self.predictor = folder
        self._fit()

    def picture(self, kind: str, seed: int) -> np.ndarray:
        """Pixels uint8 ``[20, 20, 3]``, RGB."""
        noise = np.random.default_rng(seed).normal(0, 12, (self.side, self.side, 3))
        return (np.array(self.colours[kind]) + noise).clip(0, 255).astype(np.uint8)

    def write(self, folder: Path, count: int) -> Path:
        """So many PNG files, ``00000.png`` …, their classes in turn."""
        import cv2

        folder.mkdir(parents=True)
        for number in range(count):
            pixels = self.picture(self.classes[number % 3], number)
            cv2.imwrite(str(folder / f"{number:05d}.png"), pixels[..., ::-1])
        return folder

    def _fit(self) -> None:
        from hundredfold.data.table import ImageTable
        from hundredfold.encode.embed import Embeddings
        from hundredfold.encode.thumbnail import ThumbnailEncoder
        from hundredfold.learn.calibrate import Calibration
        from hundredfold.predict.predictor import Predictor

        labels = [name for name in self.classes for _ in range(8)]
        images = np.stack([self.picture(name, seed) for seed, name in enumerate(labels)])
        ids = [f"{n}.png" for n in range(24)]
        table = ImageTable.of({"id": ids, "label": labels, "split": ["train"] * 24})
        encoder = ThumbnailEncoder()
        facts = {**encoder.facts, "hash": encoder.hash}
        embeddings = Embeddings(table.ids, encoder.encode(images), facts, table, pixel_size=self.side)
        codes = np.repeat(np.arange(3), 8)
        scores = np.eye(3)[codes] + np.random.default_rng(0).normal(0, 0.3, (24, 3))
        calibration = Calibration.fit(scores, codes)
        Predictor.fit(encoder, embeddings, table, calibration=calibration).save(self.predictor)


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Coloured:
    """Pictures of three colours, and a predictor of them."""
    return Coloured(tmp_path_factory.mktemp("coloured") / "predictor")
