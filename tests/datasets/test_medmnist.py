"""MedMNIST: every 2-D set of one label an image, any size, grey or colour; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hundredfold.config import DatasetChoices
from hundredfold.data.datasets.base import check_whole
from hundredfold.data.datasets.medmnist import SETS, read_medmnist
from hundredfold.errors import InputError, SettingsError, TooManyRejectsError
from hundredfold.views.modalities import MODALITIES

CHOICES = DatasetChoices()


def test_val_belongs_to_train_unless_it_is_left_out(bloodmnist: Path) -> None:
    table = read_medmnist(bloodmnist, CHOICES).table
    assert table.frame["split"].value_counts().to_dict() == {"train": 128, "test": 32}
    assert "platelet" in table.classes
    table = read_medmnist(bloodmnist, DatasetChoices(leave_out_val=True)).table
    assert table.frame["split"].value_counts().to_dict() == {"train": 96, "test": 32}
    assert not any(name.startswith("val/") for name in table.ids)


@pytest.mark.parametrize(("grey", "size"), [(False, 28), (True, 64)])
def test_written_images_are_the_pixels_of_the_file(
    grey: bool, size: int, make_medmnist: Any, tmp_path: Path
) -> None:
    file = make_medmnist(f"x_{size}.npz", grey=grey, size=size, each=3, classes=2)
    reading = read_medmnist(file, CHOICES)
    reading.write(tmp_path)
    with np.load(file, allow_pickle=False) as arrays:
        for part in ("train", "val", "test"):
            for number, expected in enumerate(arrays[f"{part}_images"]):
                path = tmp_path / reading.table.by_id([f"{part}/{number:06d}.png"]).frame["path"].iloc[0]
                found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                assert found is not None
                assert np.array_equal(found if grey else found[..., ::-1], expected)


def test_a_folder_with_one_file_is_enough_and_several_must_be_chosen_from(make_medmnist: Any) -> None:
    first = make_medmnist("bloodmnist.npz", each=3)
    assert len(read_medmnist(first.parent, CHOICES).table) == 40
    make_medmnist("bloodmnist_64.npz", each=3)
    with pytest.raises(InputError, match=r"found bloodmnist.npz, bloodmnist_64.npz"):
        read_medmnist(first.parent, CHOICES)


def test_counts_are_those_of_the_release_that_is_nearest(make_medmnist: Any) -> None:
    reading = read_medmnist(make_medmnist("organsmnist.npz", grey=True, each=3, classes=11), CHOICES)
    assert reading.parts["published"].tolist() == [13932, 2452, 8827]
    with pytest.raises(TooManyRejectsError, match="train 33 of 13,932"):
        check_whole(reading, images=Path(), source="", max_bad=0.5)


def test_an_unknown_set_goes_by_numbers_and_says_so(make_medmnist: Any) -> None:
    reading = read_medmnist(make_medmnist("mine.npz", each=3, classes=2), CHOICES)
    assert reading.table.classes == ["0", "1"]
    assert "no count was compared" in " ".join(reading.notes)
    assert check_whole(reading, images=Path(), source="", max_bad=0.0) is None


def test_grades_are_taken_as_classes_and_that_is_told(make_medmnist: Any) -> None:
    reading = read_medmnist(make_medmnist("retinamnist_128.npz", each=3, classes=5), CHOICES)
    assert reading.table.classes == ["0", "1", "2", "3", "4"]
    assert "five grades are an order" in " ".join(reading.notes)


def test_several_labels_an_image_are_refused_by_name_and_by_shape(make_medmnist: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="fourteen labels an image"):
        read_medmnist(make_medmnist("chestmnist.npz", grey=True, each=3), CHOICES)
    arrays = {f"{part}_images": np.zeros((2, 28, 28), np.uint8) for part in ("train", "val", "test")}
    labels = {f"{part}_labels": np.zeros((2, 14), np.uint8) for part in ("train", "val", "test")}
    np.savez(tmp_path / "mine.npz", **arrays, **labels)
    with pytest.raises(SettingsError, match="14 labels an image"):
        read_medmnist(tmp_path / "mine.npz", CHOICES)


def test_volumes_are_refused_by_name_and_by_shape(make_medmnist: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set of volumes"):
        read_medmnist(make_medmnist("nodulemnist3d_64.npz", each=3), CHOICES)
    arrays = {f"{part}_images": np.zeros((2, 28, 28, 28), np.uint8) for part in ("train", "val", "test")}
    labels = {f"{part}_labels": np.zeros((2, 1), np.uint8) for part in ("train", "val", "test")}
    np.savez(tmp_path / "mine.npz", **arrays, **labels)
    with pytest.raises(InputError, match=r"train_images of the shape \[2, 28, 28, 28\]"):
        read_medmnist(tmp_path / "mine.npz", CHOICES)


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["images", "labels"])
def test_an_object_in_the_file_is_never_unpickled(name: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.zeros((1, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = np.zeros((1, 1), np.uint8)
        arrays[f"{part}_{name}"] = np.array([Planted(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "bloodmnist.npz", **arrays)
    with pytest.raises(InputError):
        read_medmnist(tmp_path / "bloodmnist.npz", CHOICES)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "cannot be read"), (b"PK\x03\x04 cut short", "cannot be read")]
)
def test_a_damaged_file_is_told(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "bloodmnist.npz").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_medmnist(tmp_path / "bloodmnist.npz", CHOICES)


def test_split_lists_are_refused(bloodmnist: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="its split in its file"):
        read_medmnist(bloodmnist, DatasetChoices(splits=tmp_path))


def test_every_set_has_counts_classes_and_a_known_modality() -> None:
    assert len(SETS) == 11
    for name, found in SETS.items():
        assert found.modality in MODALITIES, name
        assert len(set(found.classes)) == len(found.classes) >= 2, name
        assert all(len(counts) == 3 for counts in found.counts), name
