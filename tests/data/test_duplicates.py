"""Equal pixels are found, whatever file they are in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hundredfold.data.duplicates import exact_duplicates, withdraw_contradictions
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.table import ImageTable


def test_equal_pixels_in_other_files_are_one_cluster(tmp_path: Path) -> None:
    """Case 32: equal bytes under two names, and the same pixels compressed in another way."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 255, (2, 16, 16, 3), np.uint8)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    loose, tight = ([cv2.IMWRITE_PNG_COMPRESSION, level] for level in (1, 9))
    files = {"a.png": (first, loose), "sub/a.png": (first, loose), "b.png": (first, tight)}
    for name, (pixels, how) in {**files, "c.png": (second, tight)}.items():
        (tmp_path / "in" / name).write_bytes(cv2.imencode(".png", pixels, how)[1].tobytes())
    table, _ = fill(find_images(tmp_path / "in"), tmp_path / "pixels", size=None, fit="pad")
    found = exact_duplicates(table)
    assert found["id"].tolist() == ["a.png", "b.png", "sub/a.png"]
    assert found["cluster"].tolist() == [0, 0, 0]


def test_rejected_and_undecoded_images_are_nobodys_duplicates() -> None:
    table = ImageTable.of({
        "id": ["a", "b", "c", "d"], "sha256": ["1", "1", None, None], "problem": ["empty", None, None, None]
    })
    assert exact_duplicates(table).empty
    assert list(exact_duplicates(table)) == ["cluster", "id", "label", "split"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("1234"), st.sampled_from(["cat", "dog", None])), max_size=12))
def test_clusters_and_contradictions_against_a_plain_search(rows: list[tuple[str, str | None]]) -> None:
    ids = [f"{number:02d}" for number in range(len(rows))]
    table = ImageTable.of({"id": ids[::-1], "sha256": [r[0] for r in rows], "label": [r[1] for r in rows]})
    pixels = dict(zip(ids[::-1], rows, strict=True))
    alike = {name: [other for other in ids if pixels[other][0] == pixels[name][0]] for name in ids}
    found = exact_duplicates(table)
    assert found["id"].tolist() == [
        name for first in ids if alike[first][0] == first and len(alike[first]) > 1 for name in alike[first]
    ]
    kept = withdraw_contradictions(table).frame.set_index("id")["label"].dropna()
    assert kept.to_dict() == {
        name: label for name, (_, label) in pixels.items()
        if label and {pixels[other][1] for other in alike[name]} <= {label, None}
    }
