"""The curve on the audit set: honest, and the same as the package's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hundredfold.annotate.background import Background
from hundredfold.annotate.chart import draw_curve
from hundredfold.annotate.events import Answer
from hundredfold.annotate.outlook import Point, Watcher, measure_labels
from hundredfold.config import CurveChoices
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings, embed
from hundredfold.encode.thumbnail import ThumbnailEncoder
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


def test_what_only_the_encoder_sees_as_a_copy_of_an_audit_image_is_not_learned_from(tmp_path: Path) -> None:
    """Overlapping photographs of one field, so far apart that their thumbnails do not match."""
    table = overlapping(tmp_path)
    labels = {str(image): image[0] for image in table.ids}
    pixels = PixelStore.open(tmp_path / "pixels")
    embed(ThumbnailEncoder(), pixels, table, tmp_path / "made", batch=16, resume=False)
    folder, images = tmp_path / "made", tmp_path / "images.parquet"
    assert measure_labels(folder, images, labels).learned == 12
    assert measure_labels(folder, images, labels, tmp_path / "pixels").learned == 10


def overlapping(folder: Path) -> ImageTable:
    (folder / "fields").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        scales = [(25, 8.0), (15, 4.0), (8, 1.2)]
        noise = [cv2.GaussianBlur(rng.normal(size=(110, 110)), (0, 0), scale) for _, scale in scales]
        shade = sum(
            many * one[..., None] / one.std() for (many, _), one in zip(scales, noise, strict=True)
        )
        whole = np.clip(rng.uniform(90, 160, 3) + shade, 0, 255).astype(np.uint8)
        name = f"{'ab'[number % 2]}{number:02d}"
        cv2.imwrite(str(folder / "fields" / f"{name}.png"), whole[:80, :80])
        if number < 2:
            cv2.imwrite(str(folder / "fields" / f"{name}_twin.png"), whole[9:89, 9:89])
    table, _ = fill(find_images(folder / "fields"), folder / "pixels", size=80, fit="pad")
    table = table.assign(split=["audit" if name.endswith("_twin.png") else "train" for name in table.ids])
    table.write(folder / "images.parquet")
    return table


class AtOnce(Background):
    """Does what is asked for here and now."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 - as a process pool does
            done.set_exception(error)
        return done


def test_labels_that_are_mended_count_and_a_fault_is_told(held: RunDirectory) -> None:
    labels: dict[str, str] = {}
    folder, images = held / "embeddings" / "kinds", held / "images.parquet"
    watcher = Watcher(folder, images, lambda: labels, AtOnce())
    labels.update(labels_of(held))
    watcher.refresh()
    assert watcher.found is not None
    good = watcher.found.points[-1].value
    turned = {"red": "green", "green": "blue", "blue": "red"}
    labels.update({image: turned[label] for image, label in labels.items() if int(image[11:14]) >= 60})
    watcher.refresh()  # as many labels as before, and others
    assert watcher.found.points[-1].value < good / 2
    broken = Watcher(held / "nowhere", images, lambda: labels, AtOnce())
    broken.refresh()
    assert broken.found is not None
    assert "could not be measured" in broken.found.problem


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
    assert (found.absent, found.unlearned) == (("blue",), ())


def test_a_class_that_has_no_label_to_learn_from_is_named(held: RunDirectory) -> None:
    labels = {
        image: label for image, label in labels_of(held).items()
        if label != "blue" or int(image[11:14]) >= 60
    }
    found = measure_labels(held / "embeddings" / "kinds", held / "images.parquet", labels)
    assert (found.absent, found.unlearned) == ((), ("blue",))
    assert found.points[-1].value <= 2 / 3


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
