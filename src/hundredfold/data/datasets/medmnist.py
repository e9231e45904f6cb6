"""MedMNIST v2 and MedMNIST+ (Yang et al. 2023): small 2-D images in one ``.npz`` file a set.

A file ``bloodmnist.npz`` (28 px) or ``bloodmnist_64.npz`` (64, 128 or 224 px) holds ``train_images``,
``val_images``, ``test_images``, uint8 [n,h,w] or [n,h,w,3], and ``train_labels``, ``val_labels``,
``test_labels`` [n,1]. The images are written out as PNG, one by one; no object of a file is ever unpickled.

Sources: https://medmnist.com, doi 10.1038/s41597-022-01721-8; names and counts of the package ``medmnist``
(``info.py``).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from hundredfold.config import DatasetChoices
from hundredfold.data.datasets.base import DataSet, Reading
from hundredfold.data.rows import existing
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, SettingsError
from hundredfold.progress import track

__all__ = ["MEDMNIST", "SETS", "MedMnistSet", "read_medmnist"]

PARTS = ("train", "val", "test")
TITLE = "MedMNIST"
TREE = "one file such as bloodmnist.npz or bloodmnist_64.npz with {train,val,test}_images and _labels"
ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
    "lung-right", "pancreas", "spleen",
)
GRADES = (
    "The five grades are an order. They are taken as five classes here: a mistake by one grade counts as "
    "much as one by four, so the balanced accuracy says less than a measure of agreement would."
)
LESIONS = (
    "Images of one lesion are in training and test alike (the set was split by image), and the lesions are "
    "not in the file: the accuracy is too high for new patients."
)
REFUSED = {
    "chestmnist": "chestmnist has fourteen labels an image, and one label an image is what is learned here",
    **dict.fromkeys(
        (
            "organmnist3d", "nodulemnist3d", "adrenalmnist3d", "fracturemnist3d", "vesselmnist3d",
            "synapsemnist3d",
        ),
        "this is a set of volumes, and images are what is learned from here",
    ),
}


@dataclass(frozen=True)
class MedMnistSet:
    """One of the sets.

    Attributes:
        classes: their names, by number.
        counts: images in train, val and test; of all releases.
        modality: what may be done to its images.
        note: what a reader of the results must know.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]
    modality: str
    note: str = ""


SETS: Mapping[str, MedMnistSet] = {
    "pathmnist": MedMnistSet(
        ("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
         "cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
        ((89996, 10004, 7180),), "histology",
    ),
    "dermamnist": MedMnistSet(
        ("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
         "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
         "vascular lesions"),
        ((7007, 1003, 2005),), "dermoscopy", LESIONS,
    ),
    "octmnist": MedMnistSet(
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        ((97477, 10832, 1000),), "oct",
    ),
    "pneumoniamnist": MedMnistSet(("normal", "pneumonia"), ((4708, 524, 624),), "xray"),
    "retinamnist": MedMnistSet(("0", "1", "2", "3", "4"), ((1080, 120, 400),), "fundus", GRADES),
    "breastmnist": MedMnistSet(("malignant", "normal, benign"), ((546, 78, 156),), "ultrasound"),
    "bloodmnist": MedMnistSet(
        ("basophil", "eosinophil", "erythroblast",
         "immature granulocytes (myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte",
         "neutrophil", "platelet"),
        ((11959, 1712, 3421),), "microscopy",
    ),
    "tissuemnist": MedMnistSet(
        ("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
         "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
         "Thick Ascending Limb"),
        ((165466, 23640, 47280),), "microscopy",
    ),
    "organamnist": MedMnistSet(ORGANS, ((34561, 6491, 17778), (34581, 6491, 17778)), "xray"),
    "organcmnist": MedMnistSet(ORGANS, ((12975, 2392, 8216), (13000, 2392, 8268)), "xray"),
    "organsmnist": MedMnistSet(ORGANS, ((13932, 2452, 8827), (13940, 2452, 8829)), "xray"),
}


def read_medmnist(images: Path, choices: DatasetChoices) -> Reading:
    """The images of a file, which ``write`` puts into ``images/``; an id is ``PART/NUMBER.png``.

    Raises:
        InputError: no such file, or no or several files in the folder, or another layout.
        SettingsError: a set of several labels an image or of volumes; or split lists, which it has none of.
    """
    if choices.splits or choices.published_split:
        raise SettingsError(
            "MedMNIST has its split in its file", where="splits",
            remedy="Leave out --splits and --published-split.",
        )
    file = _file(images)
    name = file.stem.partition("_")[0].lower()
    if name in REFUSED:
        raise SettingsError(REFUSED[name], where=file, remedy=f"Take one of {', '.join(SETS)}.")
    parts = [part for part in PARTS if not (part == "val" and choices.leave_out_val)]
    labels = _labels(file, parts)
    table = ImageTable.of(pd.concat([
        pd.DataFrame({
            "id": [f"{part}/{number:06d}.png" for number in range(len(codes))],
            "label": _names(codes, name), "split": "test" if part == "test" else "train",
        })
        for part, codes in labels.items()
    ]))
    table = table.assign(path="images/" + table.frame["id"])
    found = {part: len(codes) for part, codes in labels.items()}
    return Reading(
        table=table, parts=_compared(found, name),
        modality=SETS[name].modality if name in SETS else "microscopy",
        split="The one of the file: test is the test set, train "
        + ("alone is for training." if choices.leave_out_val else "and val are for training."),
        notes=_notes(name), write=partial(_write, file, found),
    )


def _file(images: Path) -> Path:
    if existing(images, "a file of MedMNIST, or the folder of one").is_file():
        return images
    files = sorted(images.glob("*.npz"))
    if len(files) == 1:
        return files[0]
    names = ", ".join(file.name for file in files[:12]) or "no .npz file"
    raise InputError(
        f"expected {TREE}; found {names}", where=images, remedy="Name the one file with --images.",
    )


def _labels(file: Path, parts: list[str]) -> dict[str, NDArray[np.int64]]:
    """Part → class numbers [n]; images and labels are as many, of the right kind and shape."""
    found = {}
    for part in parts:
        shape, _ = _head(file, f"{part}_images")
        labels = _array(file, f"{part}_labels")
        if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] != 3):
            raise _other(file, f"{part}_images of the shape {list(shape)}")
        if labels.ndim == 2 and labels.shape[1] > 1:
            raise SettingsError(
                f"{labels.shape[1]} labels an image, and one label an image is what is learned here",
                where=file, remedy=f"Take one of {', '.join(SETS)}.",
            )
        if labels.size != shape[0]:
            raise _other(file, f"{shape[0]:,} images and {labels.size:,} labels in {part}")
        found[part] = labels.reshape(-1).astype(np.int64)
    return found


def _head(file: Path, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and kind of an array of bytes in the file."""
    with _opened(file, name) as member:
        shape, fortran, kind = _read_head(member)
    if fortran or kind != np.uint8:
        raise _other(file, f"{name} of the kind {kind}{' in Fortran order' if fortran else ''}")
    return shape, kind


def _read_head(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    reader = npy.read_array_header_1_0 if npy.read_magic(member) == (1, 0) else npy.read_array_header_2_0
    return reader(member)


def _opened(file: Path, name: str) -> IO[bytes]:
    try:
        return zipfile.ZipFile(file).open(f"{name}.npy")
    except KeyError:
        raise _other(file, f"no {name}") from None
    except (zipfile.BadZipFile, OSError):
        raise _other(file, "a file that cannot be read: fetch it again") from None


def _array(file: Path, name: str) -> NDArray[np.generic]:
    with np.load(file, allow_pickle=False) as arrays:
        try:
            return np.asarray(arrays[name])
        except (KeyError, ValueError) as error:
            raise _other(file, f"{name} that cannot be read ({error})") from None


def _other(file: Path, found: str) -> InputError:
    remedy = "Get it from https://medmnist.com."
    return InputError(f"expected {TREE}; found {found}", where=file, remedy=remedy)


def _names(codes: NDArray[np.int64], name: str) -> list[str]:
    if name not in SETS:
        return [str(code) for code in codes]
    classes = SETS[name].classes
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(classes):
        raise InputError(
            f"expected class numbers from 0 to {len(classes) - 1}, found {codes.min()} to {codes.max()}",
            where=name, remedy="Is the file named as its set?",
        )
    return [classes[code] for code in codes]


def _compared(found: Mapping[str, int], name: str) -> pd.DataFrame:
    """Published and found images of each part; of several releases the nearest, of an unknown set none."""
    releases = SETS[name].counts if name in SETS else (tuple(found.get(part, 0) for part in PARTS),)
    counts = [[dict(zip(PARTS, one, strict=True))[part] for part in found] for one in releases]
    nearest = min(counts, key=lambda one: sum(abs(a - b) for a, b in zip(one, found.values(), strict=True)))
    return pd.DataFrame({"part": list(found), "published": nearest, "found": list(found.values())})


def _notes(name: str) -> tuple[str, ...]:
    notes = ["Patients are not in the file, so nothing here can tell whether one is on both sides."]
    if name not in SETS:
        notes.append(f"{name} is no set of MedMNIST: classes go by their numbers, and no count was compared.")
    elif SETS[name].note:
        notes.append(SETS[name].note)
    return tuple(notes)


def _write(file: Path, counts: Mapping[str, int], folder: Path) -> None:
    """Write every image as PNG below ``folder``; one is in memory at a time."""
    for part in counts:
        place = folder / "images" / part
        place.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(track(_images(file, part), f"Writing {part}", total=counts[part])):
            colours = pixels if pixels.ndim == 2 else pixels[..., ::-1]
            coded = cv2.imencode(".png", colours)[1]
            (place / f"{number:06d}.png").write_bytes(coded.tobytes())


def _images(file: Path, part: str) -> Iterator[NDArray[np.uint8]]:
    with _opened(file, f"{part}_images") as member:
        shape, _, _ = _read_head(member)
        for _ in range(shape[0]):
            content = member.read(int(np.prod(shape[1:])))
            yield np.frombuffer(content, np.uint8).reshape(shape[1:])


MEDMNIST = DataSet(
    name="medmnist", title=TITLE, read=read_medmnist, source="https://medmnist.com",
)
