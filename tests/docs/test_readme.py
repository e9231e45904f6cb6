from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import hundredfold
from hundredfold import cli
from hundredfold.cli import load_verb, main
from hundredfold.config import Verb


@pytest.fixture(scope="module", params=["README.md"])
def page(repo_root: Path, request: pytest.FixtureRequest) -> str:
    return (repo_root / str(request.param)).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/curve.md"], indirect=True)
def test_every_command_is_accepted_as_it_stands(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Any] = []
    monkeypatch.setattr(cli, "load_verb", lambda name: Verb(load_verb(name).settings, received.append))
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("hundredfold ")]
    for command in commands:
        assert main(command) == 0, command
    assert len(received) == len(commands) >= 2


def test_every_python_call_binds_to_the_settings(page: str) -> None:
    nodes = [node for block in blocks(page, "python") for node in ast.walk(ast.parse(block))]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        given = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        verb = load_verb(call.func.attr)
        inspect.signature(verb).bind(*map(ast.literal_eval, call.args), **given)
        assert call.func.attr in hundredfold.__all__
    assert len(calls) >= 2


def test_the_first_two_commands_are_targets_of_the_makefile(page: str, repo_root: Path) -> None:
    lines = blocks(page, "bash")[0].splitlines()
    assert [line.split("#")[0].strip() for line in lines] == ["make demo", "make test"]
    makefile = (repo_root / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_every_link_into_the_repository_leads_somewhere(repo_root: Path) -> None:
    checked = 0
    for path in [repo_root / "README.md", repo_root / "CONTRIBUTING.md", *(repo_root / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
            checked += 1
    assert checked >= 8


def test_citation_prefers_the_paper(repo_root: Path) -> None:
    citation = yaml.safe_load((repo_root / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    authors = [author["family-names"] for author in paper["authors"]]
    assert authors == ["Nielsen", "Wenderoth", "Sentker", "Werner"]
    assert (paper["journal"], paper["year"], paper["doi"]) == (
        "Bioengineering", 2023, "10.3390/bioengineering10080895",
    )


def test_the_table_of_speeds_is_the_one_that_was_measured(page: str, repo_root: Path) -> None:
    place = importlib.util.spec_from_file_location("compare", repo_root / "benchmarks/pretrain/compare.py")
    assert place is not None
    assert place.loader is not None
    compare = importlib.util.module_from_spec(place)
    place.loader.exec_module(compare)
    results = sorted((repo_root / "benchmarks/results").glob("pretrain_*.json"))
    measured = [json.loads(path.read_text(encoding="utf-8")) for path in results]
    tables = [found for found in measured if "task" in found and "table" in found]
    assert len(tables) >= 2
    assert compare.markdown(sorted(tables, key=lambda found: -found["task"]["batch"])) in page
