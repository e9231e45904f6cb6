"""Each data set in its published layout: ids, labels, groups; counts; what another layout is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hundredfold.config import DatasetChoices
from hundredfold.data.datasets import bone_marrow as marrow
from hundredfold.data.datasets import endoscopy as scope
from hundredfold.data.datasets import isic as skin
from hundredfold.data.datasets.base import Reading, check_whole
from hundredfold.data.datasets.catalogue import DATASETS
from hundredfold.data.datasets.published import published_figures
from hundredfold.errors import InputError, LabelConflictError, TableError, TooManyRejectsError

CHOICES = DatasetChoices()


def whole(reading: Reading, max_bad: float = 0.01) -> str | None:
    return check_whole(reading, images=Path("there"), source="the archive", max_bad=max_bad)


def test_published_counts_add_up_to_what_was_published() -> None:
    assert sum(marrow.COUNTS.values()) == 171_374
    assert sum(scope.COUNTS.values()) == 10_662
    assert sum(skin.COUNTS.values()) == 25_331
    assert (len(marrow.COUNTS), len(scope.COUNTS), len(skin.COUNTS)) == (21, 23, 8)
    assert scope.UNLABELLED == 99_417
    assert dict(skin.UNLABELLED) == {"train": 33_126, "test": 10_982}


@pytest.mark.parametrize(("dataset", "large"), [("bone_marrow", 16), ("endoscopy", 12), ("isic", 6)])
def test_the_large_classes_of_the_paper_are_those_with_250_of_70_percent(dataset: str, large: int) -> None:
    counts = {"bone_marrow": marrow.COUNTS, "endoscopy": scope.COUNTS, "isic": skin.COUNTS}[dataset]
    assert sum(round(0.7 * count) >= 250 for count in counts.values()) == large


def test_cells_get_ids_that_do_not_depend_on_the_sub_folder(bone_marrow: Path) -> None:
    table = marrow.read_bone_marrow(bone_marrow, CHOICES).table
    assert len(table) == 44
    assert {"LYT/LYT_00001.jpg", "BAS/BAS_00012.jpg"} <= set(table.ids)
    first = table.by_id(["LYT/LYT_00001.jpg"]).frame.iloc[0]
    assert first["label"] == "LYT"
    assert first["path"].endswith("/BM_cytomorphology_data/LYT/0001-1000/LYT_00001.jpg")
    assert table.frame["split"].isna().all()


@pytest.mark.parametrize(
    "place",
    ["LYT/16001-17000/LYT_16826.jpg", "EBO/27001-27395/EBO_27329.jpg", "BAS/BAS_00365.jpg",
     "ART/19001-19630/ART_19058.jpg", "PEB/1001-2000/PEB_02000.jpg", "HAC/HAC_00136.jpg"],
)
def test_places_of_cells_are_those_of_the_published_list(place: str) -> None:
    name, _, number = Path(place).stem.partition("_")
    assert marrow.published_place(name, int(number), marrow.COUNTS[name]) == place


def test_a_whole_set_is_whole(own_cells: Path) -> None:
    reading = marrow.read_bone_marrow(own_cells, CHOICES, counts={"BAS": 3, "LYT": 2})
    assert (reading.published, reading.lacking, reading.missing, whole(reading)) == (5, 0, (), None)


def test_a_partial_download_is_refused_with_counts_and_names(own_cells: Path) -> None:
    reading = marrow.read_bone_marrow(own_cells, CHOICES, counts={"BAS": 4, "LYT": 2, "KSC": 1})
    assert reading.missing == ("BAS/BAS_00004.jpg", "KSC/KSC_00001.jpg")
    with pytest.raises(TooManyRejectsError) as caught:
        whole(reading)
    assert str(caught.value).startswith(
        "2 of 7 published images are missing (BAS 3 of 4, KSC 0 of 1), for example BAS/BAS_00004.jpg, "
        "KSC/KSC_00001.jpg (there). Complete the download (the archive)"
    )
    assert "--max-bad 0.29" in str(caught.value)
    assert whole(reading, 0.29) == "2 of 7 published images are missing (BAS 3 of 4, KSC 0 of 1)."


def test_more_images_than_published_are_refused_whatever_is_allowed(own_cells: Path) -> None:
    reading = marrow.read_bone_marrow(own_cells, CHOICES, counts={"BAS": 2, "LYT": 20})
    with pytest.raises(InputError, match="more images than were published: BAS 3 of 2"):
        whole(reading, 1.0)


def test_files_with_other_names_are_passed_over_and_told(own_cells: Path) -> None:
    folder = own_cells / "BM_cytomorphology_data" / "BAS"
    shutil.copy(folder / "BAS_00001.jpg", folder / "copy.jpg")
    reading = marrow.read_bone_marrow(own_cells, CHOICES)
    assert len(reading.table) == 5
    assert "1 files were passed over" in " ".join(reading.notes)


def test_one_cell_in_two_sub_folders_is_refused(own_cells: Path) -> None:
    folder = own_cells / "BM_cytomorphology_data" / "LYT"
    shutil.copytree(folder / "0001-1000", folder / "again")
    with pytest.raises(TableError, match="twice"):
        marrow.read_bone_marrow(own_cells, CHOICES)


@pytest.mark.parametrize("name", ["bone_marrow", "endoscopy", "isic", "medmnist"])
def test_another_layout_is_told_the_expected_one(name: str, tmp_path: Path) -> None:
    (tmp_path / "train" / "cats").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        DATASETS[name].read(tmp_path, CHOICES)
    assert "expected" in caught.value.found
    assert ".jpg" in caught.value.found or ".npz" in caught.value.found
    assert "found train" in caught.value.found or "found no .npz file" in caught.value.found


def test_endoscopy_is_labelled_by_folder_and_keeps_the_published_path_as_id(endoscopy: Path) -> None:
    reading = scope.read_endoscopy(endoscopy, CHOICES)
    table = reading.table
    assert table.frame["label"].value_counts().to_dict() == {"cecum": 12, "polyps": 12, "z-line": 12}
    assert int((~table.labelled).sum()) == 6
    folders = {name.rpartition("/")[0] for name in table.ids}
    assert {"labeled-images/upper-gi-tract/anatomical-landmarks/z-line", "unlabeled-images"} <= folders
    parts = reading.parts.set_index("part")["found"]
    assert (parts["cecum"], parts["hemorrhoids"], parts["unlabelled"]) == (12, 0, 6)


def test_unlabelled_images_can_be_left_out(endoscopy: Path) -> None:
    reading = scope.read_endoscopy(endoscopy, DatasetChoices(unlabelled=False))
    assert reading.table.labelled.all()
    assert "unlabelled" not in set(reading.parts["part"])


def test_endoscopy_names_what_its_table_lists_and_the_folder_lacks(endoscopy: Path, tmp_path: Path) -> None:
    shutil.copytree(endoscopy, tmp_path / "e")
    gone = next((tmp_path / "e").rglob("cecum/*.jpg"))
    gone.unlink()
    reading = scope.read_endoscopy(tmp_path / "e", CHOICES)
    assert reading.missing == (gone.relative_to(tmp_path / "e").as_posix(),)


def test_an_image_in_the_wrong_folder_is_a_conflict(endoscopy: Path, tmp_path: Path) -> None:
    shutil.copytree(endoscopy, tmp_path / "e")
    moved = next((tmp_path / "e").rglob("cecum/*.jpg"))
    moved.rename(moved.parents[2] / "pathological-findings" / "polyps" / moved.name)
    with pytest.raises(LabelConflictError, match=r"1 of 36 .* by image-labels.csv.*'cecum'"):
        scope.read_endoscopy(tmp_path / "e", CHOICES)


def test_videos_in_folders_of_the_same_names_are_passed_over(endoscopy: Path, tmp_path: Path) -> None:
    """The whole download has them, and they may lie nearer than the images."""
    shutil.copytree(endoscopy, tmp_path / "unpacked" / "e")
    video = tmp_path / "labeled-videos" / "lower-gi-tract" / "pathological-findings" / "polyps" / "a.avi"
    video.parent.mkdir(parents=True)
    video.touch()
    assert len(scope.read_endoscopy(tmp_path, CHOICES).table) == 42


def test_isic_groups_by_lesion_and_patient(isic: Path) -> None:
    reading = skin.read_isic(isic, CHOICES)
    frame = reading.table.frame.set_index("id")
    assert frame["label"].value_counts().to_dict() == {"MEL": 12, "NV": 12, "BCC": 12}
    assert frame.loc["ISIC_2019_Training_Input/ISIC_0000005_downsampled.jpg", "group"] == "BCN_0000002"
    assert frame.loc["ISIC_2020_Train_DICOM_corrected/train/ISIC_0000036.dcm", "group"] == "IP_0000018"
    assert frame.loc["ISIC_2020_Test_DICOM_corrected/test/ISIC_0000043.dcm", "group"] == "IP_0000021"
    assert frame["label"].isna().sum() == 8
    assert "1 labelled images have no lesion" in reading.notes[0]
    parts = reading.parts.set_index("part")["found"]
    assert (parts["ISIC 2020 train"], parts["ISIC 2020 test"], parts["DF"]) == (4, 4, 0)


def test_isic_without_its_table_of_lesions_is_refused(isic: Path, tmp_path: Path) -> None:
    shutil.copytree(isic, tmp_path / "i")
    (tmp_path / "i" / "ISIC_2019_Training_Metadata.csv").unlink()
    with pytest.raises(InputError, match="the lesions of ISIC 2019"):
        skin.read_isic(tmp_path / "i", CHOICES)


def test_two_classes_for_one_image_are_refused(isic: Path, tmp_path: Path) -> None:
    shutil.copytree(isic, tmp_path / "i")
    path = tmp_path / "i" / "ISIC_2019_Training_GroundTruth.csv"
    path.write_text(path.read_text().replace("1.0,0.0", "1.0,1.0", 1))
    with pytest.raises(TableError, match="expected one class for each image, found 2"):
        skin.read_isic(tmp_path / "i", CHOICES)


def test_published_figures_are_there_for_the_three_sets_of_the_paper() -> None:
    for name in ("bone_marrow", "endoscopy", "isic"):
        table = published_figures(name)
        assert table["value"].between(0.05, 0.98).all()
        curves = table[(table["variant"] == "all") & table["n_per_class"].notna()]
        assert curves.groupby("classifier").size().to_dict() == dict.fromkeys(
            ["svm", "knn", "logistic", "last_layer", "network"], 9
        )
    assert published_figures("medmnist").empty


def test_recall_of_cells_is_their_balanced_accuracy_at_100_labels() -> None:
    """Two readings of the paper that must agree: recall by class, and its mean in the curve."""
    table = published_figures("bone_marrow")
    recall = table[table["variant"] == "recall"]
    assert list(recall["class"]) == list(dict.fromkeys(recall["class"]))
    assert set(recall["class"]) == set(marrow.COUNTS)
    curve = table.query("variant == 'all' and classifier == 'svm' and n_per_class == 100")["value"].item()
    assert recall["value"].mean() == pytest.approx(curve, abs=0.005)


