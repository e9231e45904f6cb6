"""Every DICOM file that pydicom brings, in one scan: the good ones are used, the others are named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file

from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.scan import scan

REJECTED = {
    "ExplVR_BigEndNoMeta.dcm": "no_pixels",
    "ExplVR_LitEndNoMeta.dcm": "no_pixels",
    "JPEG2000-embedded-sequence-delimiter.dcm": "corrupt",
    "MR_truncated.dcm": "corrupt",
    "SC_rgb_small_odd.dcm": "too_small",
    "SC_rgb_small_odd_big_endian.dcm": "too_small",
    "SC_rgb_small_odd_jpeg.dcm": "too_small",
    "UN_sequence.dcm": "no_pixels",
    "badVR.dcm": "corrupt",
    "empty_charset_LEI.dcm": "no_pixels",
    "meta_missing_tsyntax.dcm": "corrupt",
    "nested_priv_SQ.dcm": "corrupt",
    "no_meta.dcm": "not_dicom",
    "no_meta_group_length.dcm": "no_pixels",
    "priv_SQ.dcm": "no_pixels",
    "reportsi.dcm": "no_pixels",
    "reportsi_with_empty_number_tags.dcm": "no_pixels",
    "rtplan.dcm": "no_pixels",
    "rtplan_truncated.dcm": "no_pixels",
    "rtstruct.dcm": "no_pixels",
    "test-SR.dcm": "no_pixels",
    "waveform_ecg.dcm": "no_pixels",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("archive")
    files = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
    assert len(files) >= 78
    table = pd.DataFrame({"image": [path.name for path in files], "path": [str(path) for path in files]})
    table.to_csv(folder / "list.csv", index=False)
    return scan(folder / "list.csv", out=folder / "run", max_bad=1, pixel_size=64, fit="squash")


def test_what_is_rejected_and_why(archive: RunDirectory) -> None:
    """Cases 16 to 25: nothing but these, and the run went on."""
    rejects = pd.read_csv(archive / "rejects.csv")
    assert dict(zip(rejects["image"], rejects["reason"], strict=True)) == REJECTED


def test_one_row_a_frame_and_one_group(archive: RunDirectory) -> None:
    """Case 20."""
    frame = ImageTable.read(archive / "images.parquet").usable.frame
    frames = frame[frame["id"].str.contains("#")]
    files = frames["id"].str.rpartition("#")[0]
    assert files.value_counts()["examples_ybr_color.dcm"] == 30
    assert (frames.groupby(files)["group"].nunique() == 1).all()
    assert files.nunique() == 7


def test_the_same_picture_in_other_codings_is_the_same(archive: RunDirectory) -> None:
    """Cases 17, 18 and 21, after decoding, window and resizing."""
    store = PixelStore.open(archive.pixels)

    def pixels(*names: str) -> np.ndarray:
        return store[store.rows(names)].astype(int)

    scans = pixels("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_jp2klossless.dcm",
                   "MR_small_jpeg_ls_lossless.dcm", "MR_small_implicit.dcm")
    assert (scans == scans[0]).all()
    colours = pixels("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jpeg_gdcm.dcm",
                     "SC_rgb_jls_lossy_line.dcm", "SC_ybr_full_422_uncompressed.dcm")
    assert np.abs(colours - colours[0]).max() <= 8


def test_images_of_one_patient_are_one_group(archive: RunDirectory) -> None:
    frame = ImageTable.read(archive / "images.parquet").frame.set_index("id")
    assert frame.loc["MR_small.dcm", "group"] == frame.loc["MR_small_RLE.dcm", "group"]
    assert frame.loc["MR_small.dcm", "group"] != frame.loc["CT_small.dcm", "group"]


def test_no_number_of_a_patient_is_in_what_a_scan_wrote(archive: RunDirectory) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    told = archive.path / "images.parquet"
    text = pd.read_parquet(told).to_csv() + "".join(
        path.read_text(encoding="utf-8") for path in archive.path.rglob("*")
        if path.suffix in (".json", ".yaml", ".txt", ".csv")
    )
    for secret in (dataset.StudyInstanceUID, dataset.PatientName, hashlib.sha256(b"1CT1").hexdigest()):
        assert str(secret) not in text
