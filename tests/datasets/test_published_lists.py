"""The published split lists: what is honest about them is taken, what leaks is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hundredfold.config import DatasetChoices
from hundredfold.data.datasets.bone_marrow import read_bone_marrow
from hundredfold.data.datasets.endoscopy import read_endoscopy
from hundredfold.data.datasets.isic import read_isic
from hundredfold.data.datasets.lists import PublishedSplit, name_of
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, LabelConflictError, LeakError, SettingsError


def write_lists(folder: Path, **lists: list[tuple[str, str]]) -> Path:
    folder.mkdir(parents=True)
    for name, rows in lists.items():
        pd.DataFrame(rows, columns=["image", "label"]).to_csv(folder / f"{name}.csv")
    return folder


@pytest.fixture
def bowel_lists(endoscopy: Path, tmp_path: Path) -> Path:
    """Of each class eight for training and four for the test, three of which are on both lists."""
    frame = read_endoscopy(endoscopy, DatasetChoices(unlabelled=False)).table.frame
    rows = {
        name: list(zip("hyper_kvasir/" + part["id"], part["label"], strict=True))
        for name, part in frame.groupby("label")
    }
    train = [row for part in rows.values() for row in part[:8]]
    test = [row for part in rows.values() for row in part[5:9]]
    return write_lists(tmp_path / "splits" / "endo", labeled_train=train, test=test).parent


def test_the_honest_split_of_endoscopy_is_all_less_the_training_list(
    endoscopy: Path, bowel_lists: Path
) -> None:
    reading = read_endoscopy(endoscopy, DatasetChoices(splits=bowel_lists))
    frame = reading.table.frame
    assert frame.groupby("label")["split"].value_counts().unstack().to_numpy().tolist() == [[4, 8]] * 3
    assert set(frame.loc[frame["label"].isna(), "split"]) == {"train"}
    assert "9 of the 12 images of the published test list are also training images" in reading.split


def test_the_published_split_is_refused_for_its_leak(endoscopy: Path, bowel_lists: Path) -> None:
    with pytest.raises(LeakError, match=r"^9 of 12 test images of the published split are also training"):
        read_endoscopy(endoscopy, DatasetChoices(splits=bowel_lists, published_split=True))


def test_who_insists_gets_both_lists_as_they_stand(endoscopy: Path, bowel_lists: Path) -> None:
    choices = DatasetChoices(splits=bowel_lists, published_split=True, allow_leak=True)
    reading = read_endoscopy(endoscopy, choices)
    frame = reading.table.frame
    assert frame[frame["label"].notna()]["split"].value_counts().to_dict() == {"train": 24, "test": 12}
    copies = frame[frame["id"].str.startswith("published-test/")]
    assert len(copies) == 9
    assert set(copies["path"]) <= set(frame.loc[frame["split"] == "train", "path"])
    assert "cannot be trusted" in reading.split


@pytest.mark.parametrize("published", [False, True])
def test_without_the_list_of_training_images_nothing_is_left_to_train_on_and_that_is_told(
    published: bool, endoscopy: Path, bowel_lists: Path
) -> None:
    (bowel_lists / "endo" / "labeled_train.csv").unlink()
    choices = DatasetChoices(splits=bowel_lists, published_split=published, allow_leak=published)
    with pytest.raises(InputError, match=r"expected labeled_train.csv beside test.csv.*sparsam"):
        read_endoscopy(endoscopy, choices)


@pytest.fixture
def skin_lists(isic: Path, tmp_path: Path) -> Path:
    """Of each class four test images; one of them shares its lesion with a training image."""
    frame = read_isic(isic, DatasetChoices()).table.frame
    told = frame[frame["label"].notna()]
    rows = [list(zip(part["id"], part["label"], strict=True)) for _, part in told.groupby("label")]
    # lesions are pairs of neighbours: 0-3 are two whole ones; of BCC, 1-4 cut two of them
    test = [row for part in rows[1:] for row in part[:4]] + rows[0][1:5]
    train = [row for part in rows for row in part if row not in test]
    moved = [(name.replace("Training_Input", "Test_Input"), label) for name, label in test]
    listed = frame.loc[frame["label"].isna(), ["id", "label"]].iloc[1:]
    lists = {"labeled_train": train, "test": moved, "unlabeled_train": list(listed.itertuples(index=False))}
    return write_lists(tmp_path / "isic", **lists)


def test_isic_is_matched_by_its_id_and_shared_lesions_leave_the_training_side(
    isic: Path, skin_lists: Path
) -> None:
    reading = read_isic(isic, DatasetChoices(splits=skin_lists))
    frame = reading.table.frame
    labelled = frame[frame["label"].notna()]
    assert labelled["split"].value_counts().to_dict() == {"train": 22, "test": 12}
    assert "2 of the other labelled images show a lesion of the test set" in reading.split
    assert labelled.dropna(subset="group").groupby("group")["split"].nunique().max() == 1
    assert (frame["label"].isna()).sum() == 7, "one DICOM is not on the published list"


def test_published_isic_is_refused_for_its_lesions(isic: Path, skin_lists: Path) -> None:
    with pytest.raises(LeakError, match="2 of 12 test images of the published split share a group with one"):
        read_isic(isic, DatasetChoices(splits=skin_lists, published_split=True))
    insisting = DatasetChoices(splits=skin_lists, published_split=True, allow_leak=True)
    table = read_isic(isic, insisting).table
    assert (len(table.train), len(table.test)) == (24, 12)


def test_cells_of_the_published_list_are_the_test_set(bone_marrow: Path, tmp_path: Path) -> None:
    listed = [("BM_cytomorphology_data/LYT/0001-1000/LYT_00003.jpg", "LYT"),
              ("BM_cytomorphology_data/BAS/BAS_00001.jpg", "BAS")]
    folder = write_lists(tmp_path / "bone_marrow", test=listed)
    table = read_bone_marrow(bone_marrow, DatasetChoices(splits=folder)).table
    assert sorted(table.test.ids) == ["BAS/BAS_00001.jpg", "LYT/LYT_00003.jpg"]
    assert len(table.train) == 42


def test_lists_that_call_an_image_otherwise_are_a_conflict(bone_marrow: Path, tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "bone_marrow", test=[("BAS/BAS_00001.jpg", "LYT")])
    with pytest.raises(LabelConflictError, match=r"1 of 44 images .* by the lists, .*'LYT', here"):
        read_bone_marrow(bone_marrow, DatasetChoices(splits=folder))


def test_lists_of_another_data_set_are_refused(bone_marrow: Path, tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "bone_marrow", test=[("a/ISIC_1.jpg", "NV")])
    with pytest.raises(InputError, match="none of the 1 images of the lists is here"):
        read_bone_marrow(bone_marrow, DatasetChoices(splits=folder))


def test_a_folder_without_lists_and_an_insistence_without_a_folder_say_where_they_are(
    endoscopy: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"expected endo/test.csv.*IPMI-ICNS-UKE/sparsam"):
        read_endoscopy(endoscopy, DatasetChoices(splits=tmp_path))
    with pytest.raises(SettingsError, match=r"needs the published lists.*IPMI-ICNS-UKE/sparsam"):
        read_endoscopy(endoscopy, DatasetChoices(published_split=True))


@pytest.fixture(scope="session")
def splits(shared: Path) -> Path:
    if not (shared / "splits" / "endo").is_dir():
        pytest.skip("needs the published split lists")
    return shared / "splits"


def test_the_published_endoscopy_lists_leak_2628_of_2666_and_are_refused(
    splits: Path, tmp_path: Path
) -> None:
    """On files of the published names; nothing is decoded."""
    for name in ("labeled_train", "test"):
        for place in pd.read_csv(splits / "endo" / f"{name}.csv")["image"]:
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    choices = DatasetChoices(splits=splits, published_split=True)
    with pytest.raises(LeakError, match=r"^2,628 of 2,666 test images of the published split are also"):
        read_endoscopy(tmp_path, choices)
    honest = read_endoscopy(tmp_path, DatasetChoices(splits=splits))
    assert honest.table.frame["split"].value_counts().to_dict() == {"train": 7463, "test": 38}
    assert "2,628 of the 2,666 images" in honest.split


def test_the_published_isic_lists_are_disjoint_and_cover_isic_2019(splits: Path) -> None:
    lists = PublishedSplit.read(DatasetChoices(splits=splits), "isic")
    assert lists is not None
    assert lists.train is not None
    assert (len(lists.train), len(lists.test), len(lists.leaking)) == (17_731, 7_600, 0)
    assert len(lists.unlabelled or ()) == 44_107
    names = [f"ISIC_2019_Training_Input/{name}.jpg" for name in [*lists.train, *lists.test]]
    table = ImageTable.of({"id": names, "label": [*lists.train.values(), *lists.test.values()]})
    split = lists.by_test(table).frame["split"]
    assert split.value_counts().to_dict() == {"train": 17_731, "test": 7_600}
    assert name_of(names[0]) in lists.train
