"""Small trees in exactly the layout in which the data sets are published: names, headers, formats."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import set_pixel_data

CELLS = {"LYT": 12, "NGS": 12, "BAS": 12, "ABE": 8}
BOWEL = {
    "lower-gi-tract/anatomical-landmarks/cecum": 12, "lower-gi-tract/pathological-findings/polyps": 12,
    "upper-gi-tract/anatomical-landmarks/z-line": 12,
}
SKIN = {"MEL": 12, "NV": 12, "BCC": 12}
ISIC_CLASSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
TRAIN_2020 = [
    "image_name", "patient_id", "lesion_id", "sex", "age_approx", "anatom_site_general_challenge",
    "diagnosis", "benign_malignant", "target",
]


def picture(kind: int, seed: int, size: int = 32) -> np.ndarray[Any, Any]:
    """Noise with a disc whose colour tells the class, RGB."""
    pixels = np.random.default_rng(seed).integers(120, 200, (size, size, 3), dtype=np.uint8)
    colour = [30, 30, 30]
    colour[kind % 3] = 230
    cv2.circle(pixels, (size // 2, size // 2), size // 4 + kind // 3, colour, -1)
    return pixels


def save(path: Path, kind: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(kind, seed)[..., ::-1])
    return path


def cells(folder: Path, counts: Mapping[str, int] = CELLS) -> Path:
    """Classes of more than 1,000 published images lie in sub-folders of 1,000, the others do not."""
    for kind, (name, count) in enumerate(counts.items()):
        block = "" if name in {"BAS", "ABE", "KSC", "FGC", "HAC", "LYI", "OTH"} else "0001-1000/"
        for number in range(1, count + 1):
            place = f"BM_cytomorphology_data/{name}/{block}{name}_{number:05d}.jpg"
            save(folder / place, kind, 100 * kind + number)
    return folder


def bowel(folder: Path, unlabelled: int = 6) -> Path:
    """HyperKvasir, with its table of labels."""
    rows = ["Video file,Organ,Finding,Classification"]
    for kind, (place, count) in enumerate(BOWEL.items()):
        tract, group, name = place.split("/")
        organ = "Lower GI" if tract.startswith("lower") else "Upper GI"
        for number in range(count):
            stem = str(uuid.UUID(int=1000 * kind + number))
            save(folder / "labeled-images" / place / f"{stem}.jpg", kind, 100 * kind + number)
            rows.append(f"{stem},{organ},{name},{group}")
    (folder / "labeled-images" / "image-labels.csv").write_text("\n".join(rows) + "\n")
    for number in range(unlabelled):
        save(folder / f"unlabeled-images/images/{uuid.UUID(int=9000 + number)}.jpg", number, 900 + number)
    return folder


def dicom(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    """A DICOM file as ISIC 2020 has them: RGB, 8 bit, with the patient's number in its header."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid.generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "IP_0000001", "IP_0000001", "XC"
    set_pixel_data(dataset, pixels, "RGB", 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def skin(folder: Path, unlabelled: int = 4) -> Path:
    """ISIC 2019, two images a lesion, and ISIC 2020 as DICOM with its tables."""
    truth = ["image," + ",".join(ISIC_CLASSES)]
    about = ["image,age_approx,anatom_site_general,lesion_id,sex"]
    number = 0
    for kind, (name, count) in enumerate(SKIN.items()):
        for _ in range(count):
            stem = f"ISIC_{number:07d}" + ("_downsampled" if number % 5 == 0 else "")
            save(folder / "ISIC_2019_Training_Input" / f"{stem}.jpg", kind, 500 + number)
            truth.append(f"{stem}," + ",".join("1.0" if one == name else "0.0" for one in ISIC_CLASSES))
            lesion = "" if number == 35 else f"BCN_{number // 2:07d}"
            about.append(f"{stem},55.0,anterior torso,{lesion},female")
            number += 1
    (folder / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join(truth) + "\n")
    (folder / "ISIC_2019_Training_Metadata.csv").write_text("\n".join(about) + "\n")
    (folder / "ISIC_2019_Training_Input" / "LICENSE.txt").write_text("CC-BY-NC\n")
    train = [",".join(TRAIN_2020)]
    test = ["image,patient,age_approx,sex,anatom_site_general"]
    for part, rows in (("Train", train), ("Test", test)):
        for _ in range(unlabelled):
            stem = f"ISIC_{number:07d}"
            place = folder / f"ISIC_2020_{part}_DICOM_corrected/{part.lower()}/{stem}.dcm"
            dicom(place, picture(number, 700 + number, 40))
            rows.append(f"{stem},IP_{number // 2:07d}," + ",".join([""] * (rows[0].count(",") - 1)))
            number += 1
    (folder / "ISIC_2020_Training_GroundTruth_v2.csv").write_text("\n".join(train) + "\n")
    (folder / "ISIC_2020_Test_Metadata.csv").write_text("\n".join(test) + "\n")
    return folder


def medmnist(path: Path, *, grey: bool = False, each: int = 12, classes: int = 8, size: int = 28) -> Path:
    """A file of MedMNIST: ``each`` images of a class for training, a third as many for the other parts."""
    arrays = {}
    for place, part in enumerate(("train", "val", "test")):
        codes = np.repeat(np.arange(classes), each if part == "train" else each // 3)
        images = np.stack([picture(kind, 3000 * place + n, size) for n, kind in enumerate(codes)])
        arrays[f"{part}_images"] = images[..., 0] if grey else images
        arrays[f"{part}_labels"] = codes[:, None].astype(np.uint8)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def bone_marrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cells(tmp_path_factory.mktemp("bone_marrow"))


@pytest.fixture(scope="session")
def endoscopy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bowel(tmp_path_factory.mktemp("endoscopy"))


@pytest.fixture(scope="session")
def isic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return skin(tmp_path_factory.mktemp("isic"))


@pytest.fixture(scope="session")
def bloodmnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return medmnist(tmp_path_factory.mktemp("medmnist") / "bloodmnist.npz")


@pytest.fixture
def own_cells(tmp_path: Path) -> Path:
    """A tree of cells that a test may change."""
    return cells(tmp_path / "cells", {"BAS": 3, "LYT": 2})


@pytest.fixture
def make_medmnist(tmp_path: Path) -> Any:
    """Name and options → a file of MedMNIST."""
    return lambda name, **options: medmnist(tmp_path / name, **options)
