"""Corruptions do what they say, each grade more than the one before, and leave the caller's images alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="module")
def bench(repo_root: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(repo_root / "benchmarks"))
    yield importlib.import_module("corruptions")
    sys.path.pop(0)
    del sys.modules["corruptions"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Coloured blobs [2,64,64,3]."""
    random = np.random.default_rng(0)
    rough = random.integers(30, 200, (2, 24, 24, 3)).astype(np.uint8)
    return np.stack([cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC) for one in rough])


@pytest.mark.parametrize("kind", ["blur", "jpeg", "brightness", "hue", "noise"])
def test_every_grade_changes_more_than_the_one_before(
    bench: ModuleType, images: np.ndarray, kind: str
) -> None:
    before = images.copy()
    changed = [bench.corrupted(images, kind, grade) for grade in range(1, bench.GRADES + 1)]
    far = [np.abs(one.astype(float) - images).mean() for one in changed]
    assert far[0] > 0
    assert all(low < high for low, high in pairwise(far))
    assert all(one.dtype == np.uint8 and one.shape == images.shape for one in changed)
    np.testing.assert_array_equal(images, before)


def test_a_hue_turns_by_its_degrees_and_leaves_grey(bench: ModuleType) -> None:
    red = np.full((4, 4, 3), (200, 0, 0), np.uint8)
    assert bench.hue(red, 60)[0, 0].tolist() == [200, 200, 0]
    grey = np.full((4, 4, 3), 90, np.uint8)
    np.testing.assert_array_equal(bench.hue(grey, 8), grey)


def test_gamma_keeps_black_and_white_and_darkens_between(bench: ModuleType) -> None:
    row = np.array([[[0] * 3, [128] * 3, [255] * 3]], np.uint8)
    assert bench.gamma(row, 1.2)[0, :, 0].tolist() == [0, 112, 255]
