"""What every test may ask for; one thread a process, so that two test processes share two cores."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the repository; tests that need it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def check_guard() -> Callable[[str, str], None]:
    """Make sure that a test, named as ``file::test``, is there and is never skipped."""

    def check(guard: str, what: str) -> None:
        file, _, name = guard.partition("::")
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{guard} is gone: {what} is unguarded"
        marks = [ast.unparse(mark) for mark in functions[name].decorator_list]
        assert not any("skip" in mark or "xfail" in mark for mark in marks)

    return check
