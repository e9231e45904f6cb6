"""The benchmark of strategies: pools are what they say, its reader pays for junk, intervals are Holm's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.learn.select.strategies import STRATEGIES

NAMES = ("tasks", "measure", "tables")


@pytest.fixture(scope="module")
def bench(repo_root: Path) -> Iterator[dict[str, ModuleType]]:
    before = {name: sys.modules.pop(name, None) for name in NAMES}
    sys.path.insert(0, str(repo_root / "benchmarks" / "selection"))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.pop(0)
    for name in NAMES:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in before.items() if module is not None})


@pytest.fixture(scope="module")
def folders(bench: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A set each of four classes of up to 300 images, in 200 numbers."""
    made = {}
    for number, name in enumerate(bench["tasks"].SETS):
        rng = np.random.default_rng(number)
        labels = np.repeat(list("wxyz"), [300, 200, 150, 100])
        centres = rng.normal(size=(4, 200)) + 9 * number
        vectors = centres[np.unique(labels, return_inverse=True)[1]] + rng.normal(size=(750, 200))
        split = np.where(np.arange(750) % 3 == 0, "test", "train")
        ids = [f"{name}{row:03d}" for row in range(750)]
        table = ImageTable.of({"id": ids, "label": labels, "split": split})
        folder = made[name] = tmp_path_factory.mktemp(name) / "vectors"
        facts = {"name": "made", "hash": "0" * 64, "dimension": 200}
        Embeddings(table.ids, vectors.astype(np.float32), facts, table).write(folder)
    return made


def test_a_thinned_pool_is_thirty_to_one_and_its_test_images_are_all(
    bench: dict[str, ModuleType], folders: dict[str, Path]
) -> None:
    task = bench["tasks"].load("pbc_blood_cells 30:1", folders, inner=False)
    sizes = pd.Series(task.labels).value_counts()
    assert sizes.iloc[0] / sizes.iloc[-1] == pytest.approx(30, rel=0.1)
    assert len(task.test_labels) == 250


def test_the_inner_split_leaves_the_test_images_alone(
    bench: dict[str, ModuleType], folders: dict[str, Path]
) -> None:
    task = bench["tasks"].load("chula_rbc", folders, inner=True)
    found = Embeddings.read(folders["chula_rbc"])
    train = {row.tobytes() for row in found.vectors[(found.images.frame["split"] == "train").to_numpy()]}
    used = [row.tobytes() for row in np.concatenate([task.vectors, task.test_vectors])]
    assert sorted(used) == sorted(train)


def test_junk_is_a_twentieth_costs_a_read_and_teaches_nothing(
    bench: dict[str, ModuleType], folders: dict[str, Path]
) -> None:
    task = bench["tasks"].load("chula_rbc 5 % junk", folders, inner=False)
    assert (task.labels == "junk").mean() == pytest.approx(0.05, abs=0.005)
    assert "junk" not in task.test_labels
    rounds = list(bench["measure"].Reader(task, 0).read(STRATEGIES["random"]))
    assert [one["n_read"] for one in rounds][:3] == [20, 40, 80]
    assert rounds[-1]["junk"] > 5
    assert rounds[-1]["classes"] == 4
    assert rounds[-1]["value"] > 0.9


def test_reads_are_read_off_between_rounds(bench: dict[str, ModuleType]) -> None:
    reads_for = bench["tables"].reads_for
    assert reads_for(0.75, [10, 20, 40], np.array([0.5, 0.7, 0.8])) == pytest.approx(30)
    assert reads_for(0.4, [10, 20], np.array([0.5, 0.7])) == 10
    assert reads_for(0.9, [10, 20], np.array([0.5, 0.7])) is None


def test_intervals_are_those_of_holm(bench: dict[str, ModuleType]) -> None:
    rng = np.random.default_rng(0)
    sure, likely, none = rng.normal(3, 1, 20), rng.normal(0.8, 1, 20), np.zeros(20)
    found = bench["tables"].holm([likely, none, sure])
    for one, level, (low, high) in ((sure, 0.05 / 3, found[2]), (likely, 0.05 / 2, found[0])):
        half = stats.t.ppf(1 - level / 2, 19) * one.std(ddof=1) / 20**0.5
        assert (low, high) == pytest.approx((one.mean() - half, one.mean() + half))
    assert found[1] == (0, 0)
