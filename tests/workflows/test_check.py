"""``check``: quiet on images of new patients, plain about a shift, and nothing is loaded by its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import hundredfold
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import InputError, ModelFileError, RunExistsError, SettingsError
from hundredfold.predict.predictor import Predictor
from hundredfold.predict.shifts import gamma

SIDE, PATIENTS, EACH = 24, 40, 3
COLOURS = {"round": (200, 120, 150), "square": (120, 150, 200)}


def picture(kind: str, patient: int, number: int) -> np.ndarray:
    """A cell in its class's colour on a background that its patient's images share."""
    tint = np.random.default_rng(patient).normal(0, 8, 3)
    random = np.random.default_rng([patient, number])
    pixels = np.full((SIDE, SIDE, 3), 205.0) + tint
    pixels[6:18, 6:18] = np.array(COLOURS[kind]) + tint
    return (pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)


def draw(folder: Path, patients: range, change: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    for patient in patients:
        for number in range(EACH):
            pixels = gamma(picture([*COLOURS][(patient + number) % 2], patient, number), change)
            cv2.imwrite(str(folder / f"p{patient:03d}_{number}.png"), pixels[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a predictor that knows patients and what its images looked like."""
    folder = tmp_path_factory.mktemp("known")
    images = draw(folder / "images", range(PATIENTS))
    names = sorted(path.name for path in images.iterdir())
    labels = [[*COLOURS][(int(name[1:4]) + int(name[5])) % 2] for name in names]
    pd.DataFrame({"image": names, "label": labels, "group": [name[:4] for name in names]}).to_csv(
        folder / "labels.csv", index=False
    )
    run = folder / "run"
    hundredfold.scan(images, labels=folder / "labels.csv", test_size=0.2, out=run)
    hundredfold.embed(run, encoder="thumbnail", out=run)
    hundredfold.fit(run, labels=folder / "labels.csv", classifier="lda", out=run)
    return run


def test_images_of_new_patients_are_no_alarm_and_darker_ones_are(predictor: Path, tmp_path: Path) -> None:
    clean = draw(tmp_path / "clean", range(100, 112))
    dark = draw(tmp_path / "dark", range(200, 212), change=1.5)
    found = {}
    for images in (clean, dark):
        path = hundredfold.check(
            images, predictor=predictor, out=tmp_path / f"of_{images.name}", group_pattern="^(p[0-9]+)"
        )
        found[images.name] = json.loads(path.read_text(encoding="utf-8"))
    assert found["clean"]["alarm"] is False
    assert found["clean"]["verdict"].startswith("Nothing was found that sets these 36 images apart")
    assert found["dark"]["alarm"] is True
    assert "darker" in found["dark"]["verdict"]
    assert found["dark"]["p"] <= found["dark"]["level"] < found["clean"]["p"]
    assert (found["dark"]["patients"], found["dark"]["patients_in_a_clean_batch"]) == (12, 12)
    looks = {row["name"]: row for row in found["dark"]["looks"]}
    assert looks["brightness"]["new"] < looks["brightness"]["low"] < looks["brightness"]["known"]
    shares = [row["new"] for row in found["dark"]["classes"]]
    assert sum(shares) == pytest.approx(1)
    assert {*found["dark"]["most_typical"]} <= {path.name for path in dark.iterdir()}


def test_the_page_says_the_verdict_and_loads_nothing(predictor: Path, tmp_path: Path) -> None:
    images = draw(tmp_path / "new", range(100, 108))
    (images / "broken.png").write_bytes(b"no image")
    hundredfold.check(images, predictor=predictor, out=tmp_path / "out", draws=99)
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    facts = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert facts["verdict"].replace("'", "&#39;") in page
    assert not re.search(r'(src|href)="(?!data:|#|https://arxiv\.org/)', page)
    assert "No patient is known among the new images." in page
    assert sum(facts["problems"].values()) == 1
    assert "1 images cannot be used." in page
    assert (tmp_path / "out" / "figures" / "looks.csv").is_file()


def test_a_check_is_kept_or_refused_but_never_replaced(
    predictor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = draw(tmp_path / "new", range(100, 104))
    path = hundredfold.check(images, predictor=predictor, out=tmp_path / "out", draws=99)
    before = path.read_bytes()
    with pytest.raises(RunExistsError, match="the output exists"):
        hundredfold.check(images, predictor=predictor, out=tmp_path / "out")
    assert hundredfold.check(images, predictor=predictor, out=tmp_path / "out", resume=True) == path
    assert path.read_bytes() == before
    assert "nothing was compared now" in capsys.readouterr().err
    small(4).save(tmp_path / "other")
    with pytest.raises(SettingsError, match="the check here was made with another predictor"):
        hundredfold.check(images, predictor=tmp_path / "other", out=tmp_path / "out", resume=True)


def test_the_verdict_on_a_handful_says_that_it_is_one(predictor: Path, tmp_path: Path) -> None:
    chosen = draw(tmp_path / "dark", range(100, 101), 1.8)
    path = hundredfold.check(chosen, predictor=predictor, out=tmp_path / "a", draws=99)
    told = json.loads(path.read_text())
    assert told["alarm"]
    assert "But they are few" in told["verdict"]
    one = draw(tmp_path / "one", range(100, 101))
    for path in sorted(one.iterdir())[1:]:
        path.unlink()
    path = hundredfold.check(one, predictor=predictor, out=tmp_path / "c", draws=99)
    assert json.loads(path.read_text())["verdict"].startswith("One image cannot be compared as a batch")
    usual = draw(tmp_path / "usual", range(101, 103))
    path = hundredfold.check(usual, predictor=predictor, out=tmp_path / "b", draws=99)
    told = json.loads(path.read_text())
    assert not told["alarm"]
    assert "In so few only a gross change shows" in told["verdict"]


def test_what_cannot_be_checked_is_refused(predictor: Path, tmp_path: Path) -> None:
    images = draw(tmp_path / "new", range(100, 101))
    with pytest.raises(SettingsError, match="in none of the 3 paths"):
        hundredfold.check(images, predictor=predictor, out=tmp_path / "a", group_pattern="(nobody)")
    for path in images.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="none of 3 images can be used"):
        hundredfold.check(images, predictor=predictor, out=tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def small(patients: int) -> Predictor:
    """A predictor that was fitted to vectors alone; no pixels were at hand."""
    pictures = [(kind, picture(kind, patient, 0)) for patient in range(patients) for kind in COLOURS]
    encoder = ThumbnailEncoder()
    table = ImageTable.of({
        "id": [f"{number:03d}.png" for number in range(len(pictures))],
        "label": [kind for kind, _ in pictures], "split": "train",
    })
    vectors = encoder.encode(np.stack([pixels for _, pixels in pictures]))
    facts = {**encoder.facts, "hash": encoder.hash}
    embeddings = Embeddings(table.ids, vectors, facts, table, pixel_size=SIDE)
    return Predictor.fit(encoder, embeddings, table, classifier="lda")


def test_too_few_known_patients_give_no_verdict_and_pictures_all_the_same(tmp_path: Path) -> None:
    small(4).save(tmp_path / "predictor")
    images = draw(tmp_path / "new", range(100, 104))
    path = hundredfold.check(images, predictor=tmp_path / "predictor", out=tmp_path / "out")
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert facts["alarm"] is None
    assert "cannot be told" in facts["verdict"]
    assert len(facts["most_unusual"]) > 0


def test_without_remembered_looks_the_features_are_compared_and_the_page_says_so(tmp_path: Path) -> None:
    small(20).save(tmp_path / "predictor")
    images = draw(tmp_path / "new", range(200, 210), change=2.0)
    path = hundredfold.check(images, predictor=tmp_path / "predictor", out=tmp_path / "out", draws=99)
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert "looks" not in facts
    assert facts["alarm"] is True
    page = (path.parent / "check.html").read_text(encoding="utf-8")
    assert "The predictor does not know what its images looked like." in page
    assert "not in brightness" not in facts["verdict"]  # nobody looked
    same = draw(tmp_path / "same", range(100, 110))
    path = hundredfold.check(same, predictor=tmp_path / "predictor", out=tmp_path / "quiet", draws=99)
    verdict = json.loads(path.read_text(encoding="utf-8"))["verdict"]
    assert verdict.startswith("Nothing was found")
    assert "Brightness, contrast, colour and sharpness were not compared" in verdict


def test_a_predictor_of_before_is_refused(tmp_path: Path) -> None:
    predictor = small(4)
    Predictor(predictor.encoder, predictor.pipeline, predictor.facts).save(tmp_path / "predictor")
    images = draw(tmp_path / "new", range(100, 101))
    with pytest.raises(ModelFileError, match="does not remember what it learned from"):
        hundredfold.check(images, predictor=tmp_path / "predictor", out=tmp_path / "out")
