"""Neighbours of other patients only, a page that loads nothing, and words that say what it is not."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.smear import draw_smear
from hundredfold.encode.encoder import Encoder
from hundredfold.errors import RunExistsError, SettingsError
from hundredfold.predict.explain import NOT_EVIDENCE, Resemblance, overlay
from hundredfold.predict.memory import Memory, hidden_group
from hundredfold.predict.page import FIRST, MOST_DOUBTFUL, chosen_rows
from hundredfold.predict.predictor import Predictor
from hundredfold.workflows.embed import embed
from hundredfold.workflows.fit import fit
from hundredfold.workflows.predict import predict
from hundredfold.workflows.scan import scan


def memory(count: int = 60, seed: int = 0) -> Memory:
    rng = np.random.default_rng(seed)
    groups = [None if n % 5 == 0 else hidden_group(f"patient {n % 7}") for n in range(count)]
    return Memory(
        np.array([f"{n}.png" for n in range(count)], dtype=object), rng.integers(-1, 3, count),
        np.array(groups, dtype=object), np.arange(count),
        rng.standard_normal((count, 8)).astype(np.float32),
        np.full((count, 3), np.nan, dtype=np.float32),
    )


def test_neighbours_are_the_nearest_labelled_images_of_other_groups() -> None:
    """Beside brute force, one image at a time."""
    held, rng = memory(), np.random.default_rng(1)
    vectors = rng.standard_normal((20, 8)).astype(np.float32)
    groups = [None if n % 3 == 0 else f"patient {n % 7}" for n in range(20)]
    found = Resemblance.among(held, ["a", "b", "c"]).nearest(vectors, groups, 4)
    for vector, group, near in zip(vectors, groups, found, strict=True):
        others = [
            n for n in range(len(held))
            if held.codes[n] >= 0 and (group is None or held.groups[n] != hidden_group(group))
        ]
        cosine = {
            n: float(vector @ held.vectors[n] / np.linalg.norm(vector) / np.linalg.norm(held.vectors[n]))
            for n in others
        }
        best = sorted(others, key=lambda n: -cosine[n])[:4]
        assert [one.id for one in near] == [f"{n}.png" for n in best]
        assert [one.label for one in near] == ["abc"[held.codes[n]] for n in best]
        assert [one.similarity for one in near] == pytest.approx([cosine[n] for n in best], abs=1e-4)


def test_where_all_labelled_images_are_of_the_same_patient_there_is_no_neighbour() -> None:
    held = memory(6)
    alone = Memory(
        held.ids, np.zeros(6, dtype=np.int64), np.array([hidden_group("x")] * 6, dtype=object), held.pieces,
        held.vectors, held.scores,
    )
    known = Resemblance.among(alone, ["a"])
    assert known.nearest(held.vectors[:1], ["x"]) == [[]]
    assert len(known.nearest(held.vectors[:1], [np.nan])[0]) == 5


def test_the_words_are_part_of_the_picture() -> None:
    """An even map leaves the image as it was, but for the band with the words."""
    pixels, even = np.full((64, 64, 3), 200, dtype=np.uint8), np.full((4, 4), 1 / 16, dtype=np.float32)
    picture = overlay(pixels, even, 192)
    assert NOT_EVIDENCE == "not evidence"
    assert picture.shape == (192, 192, 3)
    assert (picture[:150] == 200).all()
    band = picture[-12:].astype(int)
    assert band.max() > 200
    assert np.median(band) < 60


def test_the_picture_is_brightest_where_the_share_is_greatest() -> None:
    shares = np.full((4, 4), 0.01, dtype=np.float32)
    shares[0, 3] = 0.85
    picture = overlay(np.full((64, 64, 3), 200, dtype=np.uint8), shares, 192).astype(int)
    assert picture[:20, -20:].min() == 200
    assert picture[60:140, :100].max() < 60


def rows(count: int, *, sure: bool = True) -> pd.DataFrame:
    chance = np.linspace(0.5, 1, count)[::-1]
    table = pd.DataFrame({"image": [f"{n}.png" for n in range(count)], "label": "a"})
    return table.assign(**{"p:a": chance, "p:b": 1 - chance}) if sure else table.assign(**{"score:a": chance})


def test_the_page_shows_the_first_and_the_most_doubtful() -> None:
    table = rows(500)
    table.loc[3, ["label", "p:a", "p:b"]] = None
    chosen = chosen_rows([table.iloc[:150], table.iloc[150:151], table.iloc[151:]])
    names = [str(row["image"]) for _, row in chosen]
    assert names[:FIRST] == [f"{n}.png" for n in range(FIRST + 1) if n != 3]
    assert names[FIRST:] == [f"{n}.png" for n in range(499, 499 - MOST_DOUBTFUL, -1)]
    assert len(chosen_rows([rows(500, sure=False)])) == FIRST + MOST_DOUBTFUL
    assert len(chosen_rows([rows(7)])) == 7


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_smear(tmp_path_factory.mktemp("smear"), images=60, size=32, seed=3)


@pytest.fixture(scope="module")
def fitted(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    Encoder(
        create_backbone("test_resnet", weights="none"), size=32, value_range=None, fit="pad",
        provenance={"method": "none"}, seen=frozenset(), symmetry="mirror",
    ).save(folder / "network")
    run = folder / "run"
    scan(smear / "images", labels=smear / "labels.csv", out=run)
    embed(run, encoder=str(folder / "network"), out=run)
    fit(run, labels=smear / "labels.csv", out=run, classifier="svm")
    return run


def explained(fitted: Path, smear: Path, out: Path, **more: Any) -> tuple[pd.DataFrame, str]:
    """The predictions of images whose groups are known, and the page."""
    labels = pd.read_csv(smear / "labels.csv")
    table = smear / "images" / "new.csv"
    labels[["image", "group"]].to_csv(table, index=False)
    predict(table, predictor=fitted, out=out, explain=True, **more)
    table.unlink()
    return pd.read_csv(out), out.with_suffix(".html").read_text(encoding="utf-8")


def test_no_neighbour_is_of_the_image_s_own_patient(fitted: Path, smear: Path, tmp_path: Path) -> None:
    found, _ = explained(fitted, smear, tmp_path / "p.csv")
    labels = pd.read_csv(smear / "labels.csv").set_index("image")
    checked = 0
    for row in found.to_dict("records"):
        for near in json.loads(row["neighbours"]):
            checked += 1
            assert labels.loc[near["id"], "group"] != labels.loc[row["image"], "group"]
            assert labels.loc[near["id"], "label"] == near["label"]
    assert checked == 5 * len(found)


def test_patients_are_told_by_the_paths_too_and_the_page_says_whether_they_are(
    fitted: Path, smear: Path, tmp_path: Path
) -> None:
    labels = pd.read_csv(smear / "labels.csv").head(12)
    for row in labels.itertuples():
        (tmp_path / "new" / row.group).mkdir(parents=True, exist_ok=True)
        shutil.copy(smear / "images" / row.image, tmp_path / "new" / row.group / row.image)
    own = pd.read_csv(smear / "labels.csv").set_index("image")["group"]

    def same(name: str, **more: Any) -> int:
        out = predict(tmp_path / "new", predictor=fitted, out=tmp_path / name, explain=True, **more)
        rows = pd.read_csv(out).to_dict("records")
        found = [(row["image"].split("/")[0], json.loads(row["neighbours"])) for row in rows]
        return sum(group == own[one["id"]] for group, near in found for one in near)

    assert same("unknown.csv") > 0
    assert same("known.csv", group_pattern="(slide_[0-9]+)") == 0
    assert same("other.csv", group_pattern="slide_([0-9]+)") > 0
    told = [(tmp_path / f"{name}.html").read_text("utf-8") for name in ("unknown", "known", "other")]
    assert "No image is of a patient whose name the predictor knows" in told[2]
    assert "Whose the images are is not known" in told[0]
    assert "Labelled images of an image&#39;s own patient are left out." in told[1]


def test_a_page_of_scores_without_maps_says_so(
    coloured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = coloured.write(tmp_path / "images", 3)
    predictor = Predictor.load(coloured.predictor)
    replace(predictor, facts={**predictor.facts, "calibration": None}).save(tmp_path / "scores")
    predict(images, predictor=tmp_path / "scores", out=tmp_path / "p.csv", explain=True)
    page = " ".join((tmp_path / "p.html").read_text("utf-8").split())
    assert "scores, which are no probabilities" in page
    assert "There are no maps: this encoder has no map." in page
    assert "A map shows" not in page
    assert "The predictor knows no patients: the nearest may be of the same one." in page
    assert "The numbers are scores and no probabilities" in capsys.readouterr().err


def test_the_page_speaks_of_sets_only_where_there_are_some(fitted: Path, smear: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(fitted)
    replace(predictor, facts={**predictor.facts, "sets": None}).save(tmp_path / "none")
    name = predictor.classes[0]
    for number, (given, told) in enumerate((
        ({}, "Probabilities are such as if all classes were equally common."),
        ({"prevalence": (f"{name}=0.7",)}, "Probabilities and labels are for classes as common as this"),
    )):
        found, page = explained(tmp_path / "none", smear, tmp_path / f"{number}.csv", **given)
        assert "conformal_set" not in found
        assert told in page


def test_the_page_holds_everything_and_says_what_it_is_not(
    fitted: Path, smear: Path, tmp_path: Path
) -> None:
    found, page = explained(fitted, smear, tmp_path / "p.csv")
    assert not re.search(r"""(src|href)=["'](?!data:)|<script|@import|url\(""", page)
    assert page.count("<article>") == len(found) == 60
    assert page.count("map: not evidence") == 60
    assert "are not evidence" in page
    assert "1810.03292" in page
    assert "the places that set the image apart from the average training image" in page


def test_a_resumed_prediction_has_the_same_page(fitted: Path, smear: Path, tmp_path: Path) -> None:
    _, whole = explained(fitted, smear, tmp_path / "p.csv")
    (tmp_path / "p.csv").unlink()
    with pytest.raises(RunExistsError, match="page beside"):
        explained(fitted, smear, tmp_path / "p.csv")
    assert explained(fitted, smear, tmp_path / "p.csv", resume=True)[1] == whole


def test_json_lines_hold_neighbours_as_lists(fitted: Path, smear: Path, tmp_path: Path) -> None:
    predict(smear / "images", predictor=fitted, out=tmp_path / "p.jsonl", explain=True)
    first = json.loads((tmp_path / "p.jsonl").read_text("utf-8").splitlines()[0])
    assert {"id", "label", "similarity"} == set(first["neighbours"][0])


def test_a_predictor_carries_pictures_only_if_it_was_asked_to(
    fitted: Path, smear: Path, tmp_path: Path
) -> None:
    assert not (fitted / "predictor" / "thumbnails.parquet").exists()
    made = fit(fitted, labels=smear / "labels.csv", out=tmp_path / "own", classifier="svm", thumbnails=True)
    carried = Predictor.load(tmp_path / "own").thumbnails
    assert carried is not None
    assert set(carried.jpegs) == set(made.memory.ids[made.memory.labelled])  # type: ignore[union-attr]
    assert all(one.startswith(b"\xff\xd8") for one in carried.jpegs.values())
    found, page = explained(tmp_path / "own", smear, tmp_path / "p.csv")
    assert page.count('class="small"') == 5 * len(found)
    assert "as if all classes were equally common" in page
    name = Predictor.load(fitted).classes[0]
    page = explained(fitted, smear, tmp_path / "q.csv", prevalence=(f"{name}=0.7",))[1]
    assert f"for classes as common as this: {name} 0.70, " in page
    assert 'class="small"' not in page


def test_without_explain_there_is_neither(fitted: Path, smear: Path, tmp_path: Path) -> None:
    predict(smear / "images", predictor=fitted, out=tmp_path / "p.csv")
    assert "neighbours" not in pd.read_csv(tmp_path / "p.csv")
    assert not (tmp_path / "p.html").exists()


def test_a_predictor_that_remembers_nothing_cannot_explain(fitted: Path) -> None:
    with pytest.raises(SettingsError, match="remembers no images"):
        Resemblance.of(replace(Predictor.load(fitted), memory=None))


def test_a_hostile_name_is_no_markup(fitted: Path, smear: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    first = next((smear / "images").rglob("*.jpg"))
    shutil.copy(first, folder / "<img src=x onerror=alert(1)>.jpg")
    predict(folder, predictor=fitted, out=tmp_path / "p.csv", explain=True)
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
