"""The arithmetic of ``benchmarks/stain.py`` beside scikit-learn's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score


@pytest.fixture(scope="module")
def bench(repo_root: Path) -> Iterator[ModuleType]:
    before, path = set(sys.modules), list(sys.path)
    spec = importlib.util.spec_from_file_location("stain_benchmark", repo_root / "benchmarks" / "stain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stain_benchmark"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path
    for name in ("stain_benchmark", "beyond", "steps", "tables", "vectors", "recipes"):
        if name not in before:
            sys.modules.pop(name, None)


def test_a_resample_counts_whole_groups_as_often_as_they_were_drawn(bench: ModuleType) -> None:
    rng = np.random.default_rng(0)
    numbers = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    groups = np.array([f"g{number}" for number in numbers], dtype=object)
    codes, told = rng.integers(0, 4, (2, len(groups)))
    weights = bench._resampled(groups)
    values = bench._accuracies(codes, (told == codes).astype(float), weights)
    assert len(values) == bench.RESAMPLES + 1
    for value, counts in zip(values[:20], weights.astype(int), strict=False):
        taken = np.repeat(np.arange(len(groups)), counts)
        assert value == pytest.approx(balanced_accuracy_score(codes[taken], told[taken]))
        assert all(len(set(counts[groups == name])) == 1 for name in set(groups))
    assert weights[1:].mean() == pytest.approx(1, abs=0.1)
