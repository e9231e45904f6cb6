"""A predictor on disk: the same answers after a round trip, and nothing foreign is ever loaded."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.sealed import sealed
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import ModelFileError, SettingsError, SplitError, TableError
from hundredfold.files import hash_file, write_json
from hundredfold.learn.classifiers import CLASSIFIERS
from hundredfold.predict.predictor import Predictor

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def pictures(each: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Noisy images of one colour, uint8 [n,20,20,3]."""
    random = np.random.default_rng(seed)
    labels = [name for name in COLOURS for _ in range(each)]
    base = np.array([COLOURS[name] for name in labels], dtype=float)[:, None, None, :]
    return (base + random.normal(0, 12, (len(labels), 20, 20, 3))).clip(0, 255).astype(np.uint8), labels


def world(each: int = 12) -> tuple[Embeddings, ImageTable]:
    images, labels = pictures(each)
    encoder = ThumbnailEncoder()
    table = ImageTable.of({
        "id": [f"{n:03d}.png" for n in range(len(labels))], "label": labels,
        "split": ["test" if n % 4 == 3 else "train" for n in range(len(labels))],
    })
    facts = {**encoder.facts, "hash": encoder.hash}
    return Embeddings(table.ids, encoder.encode(images), facts, table, pixel_size=20), table


def fitted(classifier: str = "svm", each: int = 12) -> Predictor:
    embeddings, table = world(each)
    return Predictor.fit(ThumbnailEncoder(), embeddings, table, classifier=classifier)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "predictor"
    fitted().save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """One's own copy of the predictor, to be damaged."""
    import shutil

    return Path(shutil.copytree(saved, tmp_path / "predictor"))


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_every_classifier_makes_the_round_trip(name: str, tmp_path: Path) -> None:
    images, labels = pictures(8, seed=1)
    predictor = fitted(name)
    before = predictor.answer(images)
    predictor.save(tmp_path / "predictor")
    after = Predictor.load(tmp_path / "predictor").answer(images)
    assert before.labels.tolist() == after.labels.tolist() == labels
    np.testing.assert_array_equal(before.scores, after.scores)


def test_one_label_a_class_is_enough() -> None:
    predictor = fitted("knn", each=1)
    assert predictor.facts["labels"] == {"blue": 1, "green": 1, "red": 1}


def test_scores_are_in_the_order_of_the_classes(saved: Path) -> None:
    predictor = Predictor.load(saved)
    said = predictor.answer(pictures(4, seed=2)[0])
    assert predictor.classes == ("blue", "green", "red")
    assert [predictor.classes[place] for place in said.scores.argmax(axis=1)] == said.labels.tolist()


def test_held_out_images_are_not_learned_from(saved: Path) -> None:
    facts = Predictor.load(saved).facts
    assert facts["labels"] == {"blue": 9, "green": 9, "red": 9}
    assert facts["held_out"] == 9
    embeddings, table = world()
    wrong = np.where(table.frame["split"] == "test", "red", table.frame["label"])
    other = Predictor.fit(ThumbnailEncoder(), embeddings, table.assign(label=wrong))
    images, _ = pictures(6, seed=3)
    np.testing.assert_allclose(other.answer(images).scores, Predictor.load(saved).answer(images).scores)


def test_the_facts_name_every_file_with_its_hash(saved: Path) -> None:
    facts = json.loads((saved / "predictor.json").read_text(encoding="utf-8"))
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert set(facts["files"]) == files - {"predictor.json"}
    assert all(hash_file(saved / name) == value for name, value in facts["files"].items())
    assert Predictor.load(saved).hash == facts["hash"] != ""
    assert [path.name for path in saved.parent.iterdir()] == ["predictor"]


def test_a_run_stands_for_the_predictor_in_it(saved: Path) -> None:
    assert Predictor.load(saved.parent).hash == Predictor.load(saved).hash
    assert Predictor.load(str(saved.parent)).hash == Predictor.load(saved).hash  # as docs/export.md


def test_shown_in_a_notebook_it_names_no_image(saved: Path) -> None:
    predictor = Predictor.load(saved)
    assert predictor.memory is not None
    told = repr(predictor)
    assert len(told) < 1000
    assert not [name for name in predictor.memory.ids if name in told]


@pytest.mark.parametrize("name", ["classifier.skops", "encoder/encoder.json"])
def test_an_edited_file_is_refused_by_name(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ModelFileError, match=r"expected the hash \w{64}, found \w{64}") as error:
        Predictor.load(copy)
    assert error.value.where == str(copy / name)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "classifier.skops").unlink()
    with pytest.raises(ModelFileError, match=r"found no file.*classifier\.skops"):
        Predictor.load(copy)


@pytest.mark.parametrize(
    "change", [{"classes": ["a", "b", "c"]}, {"pixel_size": 99}, {"hash": "0" * 64}, {"files": {}}]
)
def test_edited_facts_are_refused(copy: Path, change: dict[str, object]) -> None:
    facts = json.loads((copy / "predictor.json").read_text(encoding="utf-8"))
    write_json(copy / "predictor.json", {**facts, **change})
    with pytest.raises(ModelFileError, match="edited or damaged"):
        Predictor.load(copy)


def resealed(folder: Path) -> None:
    """Give the facts the hashes of what is there now, as an attacker would."""
    facts = json.loads((folder / "predictor.json").read_text(encoding="utf-8"))
    facts["files"]["classifier.skops"] = hash_file(folder / "classifier.skops")
    write_json(folder / "predictor.json", sealed(facts, "hash"))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_loaded(copy: Path, tmp_path: Path) -> None:
    (copy / "classifier.skops").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    resealed(copy)
    with pytest.raises(ModelFileError, match="pickles are never loaded"):
        Predictor.load(copy)
    assert not (tmp_path / "sprung").exists()


def test_a_foreign_type_is_never_loaded(copy: Path) -> None:
    foreign = make_pipeline(FunctionTransformer(shout))
    skops.io.dump(foreign, copy / "classifier.skops")
    resealed(copy)
    with pytest.raises(ModelFileError, match="not trusted"):
        Predictor.load(copy)


def shout(x: object) -> object:
    return x


def test_something_else_than_a_pipeline_is_refused(copy: Path) -> None:
    skops.io.dump({"a": 1}, copy / "classifier.skops")
    resealed(copy)
    with pytest.raises(ModelFileError, match="expected a pipeline, found dict"):
        Predictor.load(copy)


def test_a_folder_without_predictor_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"found no readable predictor\.json") as error:
        Predictor.load(tmp_path)
    assert error.value.where == str(tmp_path)


def test_what_cannot_be_fitted_is_refused() -> None:
    embeddings, table = world()
    encoder = ThumbnailEncoder()
    with pytest.raises(SplitError, match="two classes or more, found 1"):
        Predictor.fit(encoder, embeddings, table.assign(label="red"))
    with pytest.raises(SettingsError, match="Did you mean 'svm'"):
        Predictor.fit(encoder, embeddings, table, classifier="svn")
    with pytest.raises(ModelFileError, match="another encoder"):
        Predictor.fit(ThumbnailEncoder(side=8), embeddings, table)
    more = ImageTable.of({"id": ["new.png", *table.ids], "label": ["red", *table.frame["label"]]})
    with pytest.raises(TableError, match="1 of 37 images have no vector"):
        Predictor.fit(encoder, embeddings, more)
