"""The curve on the audit set: honest, and the same as the package's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hundredfold.annotate.chart import draw_curve
from hundredfold.annotate.events import Answer
from hundredfold.annotate.outlook import Point, measure_labels
from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.learn.curve import learning_curve
from hundredfold.rundir import RunDirectory


def labels_of(run: RunDirectory) -> dict[str, str]:
    images = ImageTable.read(run / "images.parquet").ids
    return {str(image): ("red", "green", "blue")[int(image[11:14]) % 3] for image in images}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, new_run: Callable[..., RunDirectory]) -> RunDirectory:
    """90 images, 30 of them the audit set."""
    return new_run(tmp_path_factory.mktemp("outlook"), 90, audit=30)


def test_the_curve_is_the_packages_own_on_the_audit_set(held: RunDirectory) -> None:
    labels = labels_of(held)
    found = measure_labels(held / "embeddings" / "kinds", held / "images.parquet", labels)
    assert (found.problem, found.audit, found.learned) == ("", 30, 60)
    table = ImageTable.read(held / "images.parquet")
    table = table.assign(
        label=[labels[str(image)] for image in table.ids], split=table.frame["split"].replace("audit", "test")
    )
    choices = CurveChoices(budgets=(1, 5, 10), classifiers=("logistic",), repeats=5, bootstrap=500)
    embeddings = {"kinds": Embeddings.read(held / "embeddings" / "kinds")}
    curve = learning_curve(embeddings, table, choices, jobs=1)
    expected = curve.table().loc[("kinds", "logistic")]
    assert {point.labels: point.value for point in found.points} == pytest.approx(expected.to_dict())
    assert all(point.low <= point.value <= point.high for point in found.points)
    assert "cannot be forecast" in found.forecast


def test_kin_of_the_audit_set_are_not_learned_from(held: RunDirectory, tmp_path: Path) -> None:
    """The label of an image of the same patient changes nothing."""
    table = ImageTable.read(held / "images.parquet")
    groups = table.frame["group"].to_list()
    groups[0] = groups[-1]  # one patient on both sides
    table.assign(group=groups).write(tmp_path / "images.parquet")
    labels = labels_of(held)
    found = measure_labels(held / "embeddings" / "kinds", tmp_path / "images.parquet", labels)
    assert found.learned == 59
    again = measure_labels(
        held / "embeddings" / "kinds", tmp_path / "images.parquet", labels | {"secretname 000.png": "blue"}
    )
    assert again.points == found.points


def test_what_cannot_be_measured_is_said(held: RunDirectory) -> None:
    folder, images = held / "embeddings" / "kinds", held / "images.parquet"
    few = {image: label for image, label in labels_of(held).items() if int(image[11:14]) < 60}
    found = measure_labels(folder, images, few)
    assert (found.points, found.audit, found.learned) == ((), 0, 60)
    assert found.problem.endswith(".")


def test_a_class_that_the_audit_set_lacks_is_named(held: RunDirectory) -> None:
    labels = {
        image: label for image, label in labels_of(held).items()
        if label != "blue" or int(image[11:14]) < 60
    }
    found = measure_labels(held / "embeddings" / "kinds", held / "images.parquet", labels)
    assert found.absent == ("blue",)


def test_the_drawing_keeps_order_and_bounds() -> None:
    rng = np.random.default_rng(0)
    values = np.sort(rng.random(6))
    points = [Point(n, v, v - 0.05, v + 0.05) for n, v in zip((1, 5, 10, 25, 50, 100), values, strict=True)]
    chart = draw_curve(points)
    xs, ys = zip(*chart.dots, strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)
    assert (xs[0], xs[-1]) == (chart.left, chart.right)
    assert all(0 <= y <= chart.bottom for y in ys)
    assert draw_curve([Point(1, 0.5, float("nan"), float("nan"))]).band == ""


def test_progress_shows_the_curve_once_there_are_labels(
    run: RunDirectory, serve: Callable[..., Any]
) -> None:
    import time

    from hundredfold.annotate.background import Background

    background = Background()
    try:
        with serve(run, background=background) as site:
            assert b"from 20 labels on" in site.call("GET", "/progress")[1]
            site.studio.book.ensure("Anna", site.kinds)
            answers = [
                Answer(image, "label", site.kinds[site.kind(image)]) for image in site.studio.desk.order
            ]
            site.studio.store.answer("Anna", "first", answers)
            site.studio.labelled()
            end = time.monotonic() + 90
            while site.studio.watcher.found is None:
                assert time.monotonic() < end
                time.sleep(0.1)
            page = site.call("GET", "/progress")[1].decode()
            assert "Balanced accuracy on the <b>audit set</b> (6 labelled images), with 54 labels" in page
            assert 'class="curve-path"' in page
    finally:
        background.close()
