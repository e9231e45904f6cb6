"""docs/pretraining.md says what the code does: its rules, signs, warnings and loggers."""

from __future__ import annotations

from pathlib import Path

import pytest

from hundredfold.ssl.arrangement import RULES
from hundredfold.ssl.defaults import Circumstances, fit_settings, fit_to_steps
from hundredfold.ssl.logbook import LOGGERS
from hundredfold.ssl.monitor import _SENTENCES, _SHOWN


@pytest.fixture(scope="module")
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "pretraining.md").read_text(encoding="utf-8")


def test_the_table_of_rules_is_the_one_that_is_followed(page: str) -> None:
    rows = [f"| {r.device} | {r.kind} | {r.arrangement.precision} | {r.why} |\n" for r in RULES]
    assert [row for row in rows if row not in page] == []
    assert len(rows) == sum(page.count(f"\n| {device} | ") for device in ("cpu", "cuda")) == 6


def test_every_default_that_follows_the_data_has_its_rule(page: str) -> None:
    from hundredfold.config import PretrainChoices

    found = fit_settings(PretrainChoices.of(), Circumstances(6188, 112, "cpu"))
    names = [name.replace("_", "-") for name in fit_to_steps(found, 9600).reasons]
    assert [name for name in names if f"`--{name}`" not in page] == []
    assert len(names) >= 7


def test_every_sign_warning_and_logger_is_told(page: str) -> None:
    signs = [words for key, (words, _) in _SHOWN.items() if key != "images_per_second"]
    assert [words for words in signs if f"\n| {words} | `" not in page] == []
    told = page.partition("| warning | likely remedy |")[2]
    for sentence in _SENTENCES.values():
        options = [word.rstrip(",.") for word in sentence.split() if word.startswith("--")]
        assert any(all(o in row for o in options) for row in told.splitlines()), sentence
    assert len(_SENTENCES) == 5
    assert [name for name in LOGGERS if name not in page] == []
