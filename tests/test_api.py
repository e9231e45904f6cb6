from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hundredfold
from hundredfold.cli import VERBS

SOURCE = Path(hundredfold.__file__).parent.parent


def test_all_is_what_can_be_had() -> None:
    assert sorted(hundredfold.__all__) == hundredfold.__all__ == [
        name for name in hundredfold.__all__ if callable(getattr(hundredfold, name))
    ]


def test_every_verb_is_a_function() -> None:
    assert VERBS.keys() <= set(hundredfold.__all__)


def test_the_names_that_type_checkers_see_are_the_public_ones() -> None:
    tree = ast.parse(Path(hundredfold.__file__).read_text(encoding="utf-8"))
    guarded = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(hundredfold.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hundredfold.nothing


ORDERS = [
    "import hundredfold; assert callable(hundredfold.predict)",
    "import hundredfold.predict; import hundredfold; assert callable(hundredfold.predict)",
    "from hundredfold import predict; import hundredfold.predict as room; assert callable(predict)",
    "import hundredfold.report.html, hundredfold; assert callable(hundredfold.report)",
]


@pytest.mark.parametrize("code", ORDERS)
def test_rooms_that_share_a_verbs_name_are_both_in_any_order(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_loads_nothing_but_python() -> None:
    code = "import sys; import hundredfold; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-S", "-c", code]  # -S: without what site-packages loads by itself
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=SOURCE)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"__main__", "hundredfold"}
