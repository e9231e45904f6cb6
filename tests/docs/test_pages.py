from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from hundredfold.cli import VERBS, load_verb
from hundredfold.views.modalities import MODALITIES


@pytest.mark.parametrize("name", ["settings.md", "modalities.md"])
def test_a_written_page_is_what_make_docs_would_write(name: str, repo_root: Path) -> None:
    written = (repo_root / "docs" / name).read_text(encoding="utf-8")
    pages = runpy.run_path(str(repo_root / "docs" / "pages.py"))["PAGES"]
    assert written == pages[name](), "run `make docs`"


def test_every_setting_of_every_verb_is_on_the_page(repo_root: Path) -> None:
    sections = (repo_root / "docs" / "settings.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == list(VERBS)
    checked = 0
    for verb, section in zip(VERBS, sections, strict=True):
        for name in load_verb(verb).settings.model_fields:
            assert f"\n| `{name}` | " in section, f"{verb}: {name}"
            checked += 1
    assert checked >= 150


def test_every_modality_is_on_its_page(repo_root: Path) -> None:
    page = (repo_root / "docs" / "modalities.md").read_text(encoding="utf-8")
    assert [name for name in MODALITIES if f"\n| {name} | " not in page or f"**{name}**: " not in page] == []
    assert len(MODALITIES) >= 10
