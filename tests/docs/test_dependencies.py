from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

#: distribution → the name it is imported by, where the two differ.
IMPORTED_AS = {
    "faiss-cpu": "faiss",
    "huggingface-hub": "huggingface_hub",
    "lightning-fabric": "lightning_fabric",
    "mlflow-skinny": "mlflow",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
#: needed by a package that we import, without an import of ours.
INDIRECT = {
    "torchvision": "timm", "python-multipart": "starlette",
    "tensorboard": "torch", "sqlalchemy": "mlflow", "alembic": "mlflow",
    "onnx": "torch", "onnxscript": "torch", "s3fs": "fsspec", "gcsfs": "fsspec", "adlfs": "fsspec",
}
#: extras for work on the project, which the source does not import.
UNSHIPPED = ("bench", "dev")


@pytest.fixture(scope="module")
def project(repo_root: Path) -> dict[str, Any]:
    return dict(tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[<>=!~\[;]", requirement)[0] for requirement in requirements]


def imports(folder: Path) -> set[str]:
    """The top-level packages that the files below ``folder`` import, wherever in the file."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"hundredfold"}


def test_every_package_stands_in_its_table_with_reason_and_licence(
    repo_root: Path, project: dict[str, Any]
) -> None:
    page = (repo_root / "docs" / "dependencies.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| ([a-z0-9-]+) \| (?:.+) \| (?:.+) \|$", re.MULTILINE)
    written = [row.findall(part)[1:] for part in page.split("\n## ")[1:]]
    extras = project["optional-dependencies"]
    headings = re.findall(r"^## Extra `([a-z0-9]+)`$", page, re.MULTILINE)
    assert sorted(headings) == sorted(extras)
    assert written == [names(project["dependencies"]), *(names(extras[name]) for name in headings)]
    assert sum(map(len, written)) >= 30


def test_no_package_under_a_refused_licence(repo_root: Path) -> None:
    page = (repo_root / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert not [line for line in page.splitlines() if line.startswith("|") and re.search(r"\bA?GPL", line)]


def test_the_source_imports_what_is_declared_and_nothing_else(
    repo_root: Path, project: dict[str, Any]
) -> None:
    extras = [extra for name, extra in project["optional-dependencies"].items() if name not in UNSHIPPED]
    lists = [project["dependencies"], *extras]
    declared = {IMPORTED_AS.get(name, name) for requirements in lists for name in names(requirements)}
    found = imports(repo_root / "src")
    assert found - declared - {"pydantic_core"} == set(), "imported, not declared"
    assert declared - found == set(INDIRECT), "declared, not imported"
    assert set(INDIRECT.values()) <= found


def test_every_range_has_both_ends(project: dict[str, Any]) -> None:
    calendar_versions = {
        "imagecodecs", "tifffile", "types-pyyaml", "fsspec", "s3fs", "gcsfs", "adlfs",
    }
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in [requirement for requirements in lists for requirement in requirements]:
        assert ">=" in requirement, requirement
        assert "<" in requirement or names([requirement])[0] in calendar_versions, requirement
