"""The recipes are settings that exist, and their table compares pairs only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from hundredfold.config import PretrainChoices
from hundredfold.views.modalities import MODALITIES


@pytest.fixture(scope="module")
def bench(repo_root: Path) -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(repo_root / "benchmarks" / "recipes"))
    names = ("recipes", "tables")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.pop(0)
    for name in names:
        del sys.modules[name]


def trials(**values: dict[tuple[str, int], float]) -> pd.DataFrame:
    """Recipe → (set, seed) → accuracy."""
    return pd.DataFrame([
        {"set": name, "seed": seed, "recipe": recipe, "budget": "8 minutes", "svm": value, "logistic": value,
         "knn": value, "initial": {"svm": 0.5, "logistic": 0.5, "knn": 0.5}}
        for recipe, cells in values.items() for (name, seed), value in cells.items()
    ])


def test_every_recipe_changes_settings_that_exist(bench: dict[str, ModuleType]) -> None:
    recipes = bench["recipes"]
    assert len(recipes.RECIPES) >= 20
    plain = PretrainChoices.of(**recipes.BASIS)
    for name, recipe in recipes.RECIPES.items():
        changed = PretrainChoices.of(**{**recipes.BASIS, **recipe.changes})
        assert (changed == plain) == (name == recipes.DEFAULT), name
    assert set(recipes.MODALITY.values()) <= set(MODALITIES)


def test_a_recipe_is_compared_with_the_default_of_its_own_set_and_seed(bench: dict[str, ModuleType]) -> None:
    table = bench["tables"].compared(trials(
        default={("a", 0): 0.5, ("a", 1): 0.7, ("b", 0): 0.1},
        better={("a", 0): 0.6, ("a", 1): 0.8, ("b", 0): 0.15, ("b", 1): 0.9},  # b's seed 1 has no default
    ))
    assert table.loc["better", ("a", "svm")] == pytest.approx(0.1)
    assert table.loc["better", ("b", "svm")] == pytest.approx(0.05)
    assert table.loc["better", ("mean", "")] == pytest.approx(0.075)
    assert table.loc["better", ("pairs", "")] == 3
    assert list(table.index) == ["better", "default"]


def test_a_winner_wins_on_every_screened_set_and_stays_one(bench: dict[str, ModuleType]) -> None:
    screened = {
        "default": {("a", 0): 0.5, ("b", 0): 0.5}, "good": {("a", 0): 0.6, ("b", 0): 0.6},
        "mixed": {("a", 0): 0.9, ("b", 0): 0.4}, "best": {("a", 0): 0.7, ("b", 0): 0.7},
    }
    winners = bench["tables"].winners
    assert winners(trials(**screened)) == ["best", "good"]
    screened["default"] |= {("c", 0): 0.5, ("a", 1): 0.5}
    screened["best"] |= {("c", 0): 0.1, ("a", 1): 0.1}
    assert winners(trials(**screened)) == ["best", "good"]
    assert winners(trials(**screened), most=1) == ["best"]


def test_a_line_that_a_kill_cut_short_is_no_trial_and_spoils_no_other(
    bench: dict[str, ModuleType], tmp_path: Path
) -> None:
    tables, path = bench["tables"], tmp_path / "results" / "trials.jsonl"
    tables.append(path, {"recipe": "one"})
    with path.open("a") as file:
        file.write('{"recipe": "tw')
    tables.append(path, {"recipe": "three"})
    assert [line["recipe"] for line in tables.lines(path)] == ["one", "three"]


def test_the_table_is_printed(
    bench: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trials.jsonl"
    for row in trials(default={("a", 0): 0.5}, other={("a", 0): 0.525}).to_dict("records"):
        bench["tables"].append(path, row)
    bench["tables"].show(path)
    said = capsys.readouterr().out
    assert "8 minutes" in said
    assert "2.5" in next(line for line in said.splitlines() if line.startswith("other"))
