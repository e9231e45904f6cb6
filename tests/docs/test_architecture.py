from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROW = re.compile(r"^\| `(?P<room>[a-z_]+/?)` \| (?P<purpose>[^|]+) \|(?P<files>[^|]*)\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def drawn(repo_root: Path) -> dict[str, set[str]]:
    """Room → the files that the page names in it; a room that is one file names none."""
    page = (repo_root / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {row["room"]: set(re.findall(r"`([a-z_/]+)`", row["files"])) for row in ROW.finditer(page)}


@pytest.fixture(scope="module")
def built(repo_root: Path) -> dict[str, set[str]]:
    """Room → the files that are in the tree."""
    source = repo_root / "src" / "hundredfold"
    rooms: dict[str, set[str]] = {}
    for path in source.iterdir():
        if path.suffix == ".py" and path.stem != "__init__":
            rooms[path.stem] = set()
        elif (path / "__init__.py").exists():
            files = (file.relative_to(path).with_suffix("") for file in path.rglob("*.py"))
            rooms[f"{path.name}/"] = {file.as_posix() for file in files if file.name != "__init__"}
    return rooms


def test_the_page_draws_the_house_as_it_stands(
    drawn: dict[str, set[str]], built: dict[str, set[str]]
) -> None:
    assert drawn.keys() == built.keys()
    for room, files in built.items():
        assert drawn[room] == files, room
    count = sum(len(files) or 1 for files in built.values())
    print(f"compared {len(built)} rooms with {count} files")
    assert len(built) >= 14
    assert count >= 60


def test_the_rooms_stand_in_the_order_of_the_imports(repo_root: Path, drawn: dict[str, set[str]]) -> None:
    settings = tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    order = [room for layer in layers for room in re.findall(r"[a-z_]+", layer)]
    rooms = [room.rstrip("/") for room in drawn]
    assert rooms == [room for room in order if room in rooms]
    assert set(order) == set(rooms)


def test_every_kind_of_file_of_a_run_is_written_by_the_source(repo_root: Path) -> None:
    page = (repo_root / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = page.split("```run\n")[1].split("```")[0]
    names = [line.split()[0].rstrip("/") for line in block.splitlines() if line.strip()]
    source = "\n".join(p.read_text(encoding="utf-8") for p in (repo_root / "src").rglob("*.py"))
    assert [name for name in names if name.split("/")[-1] not in source] == []
    assert len(names) >= 15
