"""Names, numbers, dates and private tags of patients are in nothing that a whole run writes or says."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

import hundredfold
from hundredfold.data.table import ImageTable

PLANTED = {
    "PatientName": "Plantedname^Anna", "PatientID": "PLANTED-4711", "PatientBirthDate": "19470811",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.4711.1", "AccessionNumber": "PLANTACC99",
    "ReferringPhysicianName": "Doctorplanted^Max", "InstitutionName": "Plantedhospital",
    "PatientComments": "plantedcomment", "StudyDescription": "plantedstudy", "BurnedInAnnotation": "YES",
}
SECRETS = [
    "plantedname", "planted-4711", "19470811", "1.2.826.0.1.3680043.8.498.4711", "plantacc99",
    "doctorplanted", "plantedhospital", "plantedcomment", "plantedstudy", "plantedprivate", "plantedpreamble",
]
SMALL: dict[str, Any] = {
    "backbone": "test_resnet", "weights": "none", "epochs": 1, "batch_size": 8, "pixel_size": 32,
    "image_size": 32, "local_size": 16, "local_crops": 1, "prototypes": 16, "head_hidden": 16,
    "head_bottleneck": 8, "monitor_every": 2, "budgets": (1, 3), "classifiers": ("knn",), "repeats": 2,
    "bootstrap": 40,
}


def write_scan(path: Path, number: int, *, cut: int = 0) -> None:
    """A real CT with noise and planted tags; ``cut`` bytes are missing at its end."""
    dataset = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    rng = np.random.default_rng(number)
    pixels = dataset.pixel_array + rng.integers(0, 80, (128, 128)) + 300 * (number % 2)
    dataset.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in PLANTED.items():
        setattr(dataset, keyword, f"{value}{number // 2}" if keyword == "PatientID" else value)
    dataset.private_block(0x0011, "plantedprivate creator", create=True).add_new(1, "LO", "plantedprivate")
    dataset.preamble = b"MZplantedpreamble".ljust(128, b"\0")
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) - cut])


def contents(path: Path) -> Iterator[bytes]:
    """All that a file holds: as it lies, and unpacked."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield pd.read_parquet(path).to_csv().encode()
        yield repr(pd.read_parquet(path).attrs).encode()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name.encode() + archive.read(name)
    if path.suffix in (".html", ".svg"):
        for coded in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data):
            yield base64.b64decode(coded)


def traces(folder: Path) -> list[str]:
    """Where a secret is found, in any of its usual codings."""
    codings = "utf-8", "utf-16-le", "utf-16-be"
    forms = [secret.encode(coding) for secret in SECRETS for coding in codings]
    forms += [secret.encode().hex().encode() for secret in SECRETS]
    found = []
    for path in sorted(folder.rglob("*")):
        for data in contents(path) if path.is_file() else ():
            low = data.lower()
            found += [f"{path.name}: {form!r}" for form in forms if form in low]
    return found


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.dcm", 0)
    assert len(traces(tmp_path)) == len(SECRETS)
    (tmp_path / "a.dcm").unlink()
    pd.DataFrame({"x": ["PLANTED-4711" + " " * 9000] * 500}).to_parquet(tmp_path / "a.parquet")
    with zipfile.ZipFile(tmp_path / "b.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.json", "Plantedname" * 50)
    (tmp_path / "c.html").write_bytes(b"data:;base64," + base64.b64encode(b"__plantedstudy__"))
    told = "".join(traces(tmp_path))
    assert all(name in told for name in ("a.parquet", "b.skops", "c.html"))


@pytest.mark.slow
def test_a_whole_run_keeps_nothing_of_a_patient(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    rows = []
    for number in range(24):
        write_scan(tmp_path / "in" / f"{number:02d}.dcm", number)
        rows.append((f"{number:02d}.dcm", "ab"[number % 2]))
    write_scan(tmp_path / "in" / "90.dcm", 90, cut=500)
    write_scan(tmp_path / "in" / "91.dcm", 91, cut=32_000)
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    out = tmp_path / "out"
    out.mkdir()
    given = {**SMALL, "labels": tmp_path / "labels.csv", "max_bad": 0.2, "window": "-100,2000"}
    given["near_copies"] = False  # all are made from one file
    hundredfold.run(tmp_path / "in", out=out / "run", **given)
    hundredfold.predict(tmp_path / "in", predictor=out / "run", out=out / "predictions.csv")
    said = capfd.readouterr()
    (out / "said.txt").write_text(said.out + said.err, encoding="utf-8")
    assert len(list(out.rglob("*"))) > 40
    assert traces(out) == []
    # and it was no empty run: patients were told apart, two images each, and the warning was given
    table = ImageTable.read(out / "run" / "images.parquet").usable.frame
    assert table["group"].nunique() == 12
    assert table["group"].str.fullmatch(r"patient-[0-9a-f]{20}").all()
    assert "24 images with writing burnt in" in said.err
    assert "Writing is burnt into 24 images." in (out / "run" / "report.html").read_text(encoding="utf-8")
    assert pd.read_csv(out / "run" / "rejects.csv")["reason"].tolist() == ["corrupt", "corrupt"]
