"""Labels go out and come back, and what comes from elsewhere overwrites nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hundredfold.annotate.classes import ClassBook
from hundredfold.annotate.events import Answer, Chain
from hundredfold.annotate.exchange import Imported, export_labels, import_labels, take_in
from hundredfold.annotate.progress import progress
from hundredfold.annotate.store import Store
from hundredfold.data.labels import LabelSet
from hundredfold.data.table import ImageTable
from hundredfold.errors import LabelConflictError, SettingsError, TableError

IMAGES = ImageTable.of({
    "id": ["day 1/a.png", "day 1/b.png", "day 2/a.png", "çell, \"x\".png"],
    "group": ["p1", "p1", "p2", None],
})


def labelled(**labels: str) -> Store:
    store = Store.memory()
    take_in(store, {IMAGES.ids[int(number[1:])]: label for number, label in labels.items()}, "Anna")
    return store


def test_the_export_is_what_the_package_reads(tmp_path: Path) -> None:
    store = labelled(i0="cat", i3="dog, big")
    assert export_labels(store, IMAGES, tmp_path / "labels.csv") == 2
    found = LabelSet.read(tmp_path / "labels.csv", IMAGES)
    assert dict(zip(found.frame["image"], found.frame["label"], strict=True)) == {
        "day 1/a.png": "cat", 'çell, "x".png': "dog, big",
    }
    assert found.frame["group"].fillna("none").tolist() == ["p1", "none"]
    assert list(pd.read_csv(tmp_path / "labels.csv")) == ["image", "label", "group"]


def test_a_split_goes_along_once_there_is_one(tmp_path: Path) -> None:
    store = labelled(i0="cat")
    export_labels(store, IMAGES.assign(split="train"), tmp_path / "train.csv")
    export_labels(store, IMAGES.assign(split=["audit", "train", "train", "train"]), tmp_path / "audit.csv")
    assert "split" not in pd.read_csv(tmp_path / "train.csv")
    assert pd.read_csv(tmp_path / "audit.csv")["split"].tolist() == ["audit"]


NAME = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.integers(0, 3), NAME, min_size=1))
def test_labels_come_back_as_they_went(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[int, str]
) -> None:
    folded = {label.casefold() for label in labels.values()}
    if len(folded) < len(set(labels.values())):
        return  # two names that differ in case only are one mistake, and refused
    store = labelled(**{f"i{number}": label for number, label in labels.items()})
    path = tmp_path_factory.mktemp("out") / "labels.csv"
    export_labels(store, IMAGES, path)
    other = Store.memory()
    assert import_labels(other, IMAGES, path) == Imported(len(labels), 0, 0)
    assert other.labels() == store.labels()
    assert import_labels(store, IMAGES, path) == Imported(0, len(labels), 0)


def test_an_import_overwrites_nothing_and_is_one_more_reader(tmp_path: Path) -> None:
    store = labelled(i0="cat", i1="cat")
    names = ["day 1/a.png", "day 1/b.png", "day 2/a.png", "x.png"]
    rows = pd.DataFrame({"image": names, "label": ["cat", "dog", "dog", "cat"]})
    rows.to_csv(tmp_path / "theirs.csv", index=False)
    assert import_labels(store, IMAGES, tmp_path / "theirs.csv") == Imported(1, 1, 1, ("x.png",))
    called = ClassBook(store).names()
    assert {image: called[label] for image, label in store.labels().items()} == {
        "day 1/a.png": "cat", "day 1/b.png": "cat", "day 2/a.png": "dog",
    }
    seat = store.standing(Chain("day 1/b.png", "second", "import of theirs.csv"))
    assert seat is not None
    assert (seat.label, seat.how) == ("dog", "import")


def task(image: str, *given: tuple[Any, list[str]], **more: Any) -> dict[str, Any]:
    return {
        "id": 1, "data": {"image": image}, "predictions": [{"result": [{"value": {"choices": ["never"]}}]}],
        "annotations": [
            {"completed_by": reader, "was_cancelled": False, "result": [
                {"type": "choices", "from_name": "c", "to_name": "i", "value": {"choices": choices}}
            ]} for reader, choices in given
        ], **more,
    }


def write(path: Path, tasks: object) -> Path:
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_an_export_of_label_studio_is_read_wherever_its_files_lie(tmp_path: Path) -> None:
    store = Store.memory()
    tasks = [
        task(
            "/data/local-files/?d=archive/day%201/a.png", (1, ["cat"]), ({"id": 2, "email": "x@y"}, ["dog"])
        ),
        task("/data/upload/3/1f2e3d4c-b.png", (1, ["dog"])),
        task("s3://bucket/day 2/a.png", (2, ["cat"])),
        task("elsewhere.png", (1, ["cat"])),
        task("/data/upload/3/b.png"),
    ]
    told = import_labels(store, IMAGES, write(tmp_path / "export.json", tasks))
    assert told == Imported(3, 0, 1, ("elsewhere.png",))
    assert store.labels() == {"day 1/a.png": "cat", "day 1/b.png": "dog", "day 2/a.png": "cat"}
    assert store.standing(Chain("day 1/a.png", "second", "Label Studio 2")) is not None
    assert "x@y" not in repr(list(store.events()))


def test_the_short_export_is_read(tmp_path: Path) -> None:
    store = Store.memory()
    tasks = [{"id": 1, "image": "day 1/b.png", "choice": "cat", "annotator": 4, "lead_time": 1.5}, {
        "id": 2, "image": "day 1/a.png", "choice": None,  # passed over by the annotator
    }]
    import_labels(store, IMAGES, write(tmp_path / "min.json", tasks))
    assert store.labels() == {"day 1/b.png": "cat"}


@pytest.mark.parametrize(
    ("tasks", "error", "words"),
    [
        ({"x": 1}, TableError, "a list of tasks"),
        ([task("day 1/a.png", (1, ["cat", "dog"]))], TableError, "one choice an image, found 2"),
        ([task("day 1/a.png", (1, ["cat"]), (1, ["dog"]))], LabelConflictError, "'cat' and 'dog'"),
        ([task("a.png", (1, ["cat"]))], TableError, "none of the 1 tasks"),
        ([{"data": {"n": 1}}], TableError, "names no image"),
        ([{"data": "day 1/a.png"}], TableError, "a list of tasks"),
        ([{"data": {"image": "day 1/a.png"}, "annotations": ["cat"]}], TableError, "a list of tasks"),
        ([{"image": "day 1/a.png", "choice": {"choices": ["cat", "dog"]}}], TableError, "found 2"),
        ([{"image": "day 1/a.png", "kind": "cat"}], TableError, "none of the 1 tasks holds an answer"),
    ],
)
def test_what_is_no_such_export_is_refused_with_a_sentence(
    tmp_path: Path, tasks: object, error: type[Exception], words: str
) -> None:
    store = Store.memory()
    with pytest.raises(error, match=words):
        import_labels(store, IMAGES, write(tmp_path / "export.json", tasks))
    assert store.count == 0


def test_classes_keep_their_images_when_their_name_is_mended() -> None:
    store = labelled(i0="nuetrophil")
    book = ClassBook(store)
    (known,) = book.all()
    book.change("Anna", known.id, name="neutrophil", key="4", description=" round ")
    assert (book.names()[store.labels()["day 1/a.png"]], book.all()[0].key) == ("neutrophil", "4")
    with pytest.raises(SettingsError, match="1 answers name"):
        book.remove("Anna", known.id)
    with pytest.raises(SettingsError, match="already"):
        book.add("Ben", "Neutrophil")


def test_a_key_has_one_class_and_a_removed_class_can_come_back() -> None:
    book = ClassBook(Store.memory())
    cat, dog = book.add("Anna", "cat"), book.add("Anna", "dog")
    book.change("Anna", dog.id, key="1")
    assert [(known.name, known.key) for known in book.all()] == [("cat", ""), ("dog", "1")]
    book.remove("Anna", cat.id)
    again = book.add("Anna", "cat")
    assert again.id != cat.id
    assert [known.name for known in book.all()] == ["dog", "cat"]
    assert len({book.add("Anna", f"class {n}").key for n in range(10)} - {""}) == 7


def test_a_class_that_comes_back_takes_the_images_of_no_other() -> None:
    book = ClassBook(Store.memory())
    book.add("Anna", "cat #2")
    for _ in range(3):
        book.remove("Anna", book.add("Anna", "cat").id)
    assert book.names()["cat #2"] == "cat #2"
    assert len(book.names()) == 4


def test_a_label_that_an_undoing_brings_back_is_counted_though_its_class_was_removed() -> None:
    store, table = Store.memory(), ImageTable.of({"id": ["a.png", "b.png"]})
    book = ClassBook(store)
    cat, dog = (book.add("Anna", name).id for name in ("cat", "dog"))
    store.answer("Anna", "first", [Answer("a.png", "label", cat)])
    store.answer("Ben", "first", [Answer("a.png", "label", dog, store.version(Chain("a.png", "first", "")))])
    book.remove("Anna", cat)
    assert {one.name: one.count for one in progress(store, table).classes} == {"dog": 1}
    store.undo("Ben")
    assert {one.name: one.count for one in progress(store, table).classes} == {"dog": 0, "cat (removed)": 1}


def test_answers_without_a_class_are_in_the_record_and_not_in_the_labels() -> None:
    store = Store.memory()
    store.answer("Anna", "first", [Answer("day 1/a.png", "unsure"), Answer("day 1/b.png", "unusable")])
    assert store.labels() == {}
    assert {event.says for event in store.decided().values()} == {"unsure", "unusable"}
    with pytest.raises(ValueError, match="unsure with the label"):
        Answer("day 1/a.png", "unsure", "cat")
