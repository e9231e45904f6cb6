"""One page a modality: each has what a reader looks for, and its commands are accepted as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from hundredfold import cli
from hundredfold.cli import load_verb, main
from hundredfold.config import Verb
from hundredfold.views.modalities import MODALITIES

PAGES = ("blood", "endoscopy", "dermoscopy", "ultrasound", "xray", "oct", "histology")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_group_cautions_and_a_command_that_is_accepted(
    name: str, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repo_root / "docs" / "guides" / f"{name}.md").read_text(encoding="utf-8")
    assert "**Group.**" in page
    assert page.count("\n- *") >= 4
    received: list[Any] = []
    monkeypatch.setattr(cli, "load_verb", lambda name: Verb(load_verb(name).settings, received.append))
    (command,) = re.findall(r"```bash\n(hundredfold run .*)\n```", page)
    words = shlex.split(command)
    assert words[words.index("--modality") + 1] in list(MODALITIES)
    assert main(words[1:]) == 0
    assert len(received) == 1


def test_every_page_is_linked_from_the_readme(repo_root: Path) -> None:
    readme = (repo_root / "README.md").read_text(encoding="utf-8")
    pages = {path.stem for path in (repo_root / "docs" / "guides").glob("*.md")}
    assert pages == set(PAGES)
    assert all(f"docs/guides/{name}.md" in readme for name in pages)
