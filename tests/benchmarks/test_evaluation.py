"""The comparison with the reference's loop fits what the reference fits, and its parts run."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

BUDGET = 4


@pytest.fixture(scope="module")
def bench(repo_root: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(repo_root / "benchmarks" / "evaluation"))
    yield importlib.import_module("compare")
    sys.path.pop(0)
    for name in ("compare", "features"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def made(bench: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    bench.write_features(folder, BUDGET * bench.CLASSES, 210)
    return folder


def test_our_svm_decides_as_scikit_learns_at_the_references_price(bench: ModuleType, made: Path) -> None:
    found = bench._agreement(made, BUDGET)
    assert found == {"C": SVC().C, "agreement": 1.0}


def test_what_is_timed_has_the_references_settings(
    bench: ModuleType, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hundredfold.learn import draws

    fitted, make = {}, draws.make_classifier

    def watched(name: str, **facts: object) -> object:
        fitted[name] = make(name, **facts)
        return fitted[name]

    monkeypatch.setattr(draws, "make_classifier", watched)
    found = bench._fit_ours(made, 1, [BUDGET])
    assert found["balanced_accuracy"].keys() == {f"{name} {BUDGET}" for name in bench.CLASSIFIERS}
    assert min(min(values) for values in found["balanced_accuracy"].values()) > 1.5 / bench.CLASSES
    assert fitted["svm"].C == 1
    assert isinstance(fitted["logistic"], LogisticRegression)
    assert fitted["logistic"].C == 2.5


def test_every_step_is_timed(bench: ModuleType, made: Path) -> None:
    steps = bench._steps(made, BUDGET)
    assert len(steps) == 2 + 2 * len(bench.CLASSIFIERS)
    assert min(steps.values()) >= 0


def test_without_the_reference_there_is_no_ratio_and_a_second_call_goes_on(
    bench: ModuleType, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def child(*words: str) -> dict[str, float]:
        asked.append(words[0])
        return {"seconds": 1.0, "agreement": 1.0}

    results = tmp_path / "evaluation.json"
    monkeypatch.setattr(bench, "_child", child)
    monkeypatch.setattr(bench, "LARGE", (21, 21))
    monkeypatch.setattr(sys, "argv", ["compare.py", "--work", str(made), "--results", str(results)])
    bench.main()
    known = json.loads(results.read_text(encoding="utf-8"))
    assert known["speedup"] is None
    assert known["agreement"] == 1.0
    first = len(asked)
    bench.main()
    assert len(asked) == first
