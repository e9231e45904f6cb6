"""Patients and studies of DICOM files as groups, without a number of theirs being kept."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from hundredfold.data.header import group_of
from hundredfold.data.labels import LabelSet
from hundredfold.data.naming import KEY_VARIABLE, Naming
from hundredfold.data.source import find
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError
from hundredfold.workflows.scan import scan

KEY = Naming("patient", bytes(range(32)))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two patients; the first has two studies. A file of no patient, frames, and a picture beside them."""
    folder = tmp_path / "archive"
    folder.mkdir()
    files = {
        "a": ("CT_small.dcm", "0001", "1.2.1"), "b": ("CT_small.dcm", "0001", "1.2.2"),
        "c": ("MR_small.dcm", "0002", "1.2.3"), "d": ("MR_small.dcm", "", "1.2.4"),
        "e": ("SC_rgb_rle_2frame.dcm", "0002", "1.2.5"), "f": ("SC_rgb_rle_2frame.dcm", "", ""),
    }
    for name, (source, patient, study) in files.items():
        dataset = dcmread(str(get_testdata_file(source, download=False)))
        dataset.PatientID, dataset.StudyInstanceUID, dataset.PatientName = patient, study, "Planted^Person"
        dcmwrite(folder / f"{name}.dcm", dataset)
    (folder / "g.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def groups(folder: Path, naming: Naming) -> dict[str, str | None]:
    frame = find(folder, naming).table.frame
    known = frame["group"].notna()
    return {name: group if has else None for name, group, has in zip(frame["id"], frame["group"], known,
                                                                     strict=True)}


def test_images_of_a_patient_are_one_group_and_a_patient_without_a_number_is_a_study(archive: Path) -> None:
    found = groups(archive, KEY)
    assert found["a.dcm"] == found["b.dcm"] != found["c.dcm"]
    assert found["c.dcm"] == found["e.dcm#0"] == found["e.dcm#1"]
    assert str(found["a.dcm"]).startswith("patient-")
    assert str(found["d.dcm"]).startswith("study-")
    assert found["f.dcm#0"] == found["f.dcm#1"] == "f.dcm"
    assert found["g.png"] is None
    assert find(archive, KEY).grouped == 5


def test_a_dicom_file_by_another_name_is_told_of_as_its_patient_is_not_read(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (archive / "a.dcm").rename(archive / "a.jpg")
    run = scan(archive, out=tmp_path / "run", max_bad=0.5)
    frame = ImageTable.read(run / "images.parquet").usable.frame.set_index("id")
    assert frame["group"].isna().to_dict() == {name: name == "a.jpg" for name in frame.index}
    assert "1 image of DICOM files whose names end as those of others do (a.jpg)" in capsys.readouterr().err


def test_a_study_may_be_the_group_or_nothing(archive: Path) -> None:
    by_study = groups(archive, Naming("study", KEY.key))
    assert len({by_study[name] for name in ("a.dcm", "b.dcm", "c.dcm", "d.dcm", "e.dcm#0")}) == 5
    none = groups(archive, Naming())
    assert none["a.dcm"] is None
    assert none["e.dcm#0"] == "e.dcm"


def test_the_name_of_a_group_is_a_keyed_hash_and_another_key_gives_another(archive: Path) -> None:
    expected = hashlib.blake2b(b"patient\0\x000001", key=KEY.key, digest_size=10, person=b"hundredfold")
    assert groups(archive, KEY)["a.dcm"] == f"patient-{expected.hexdigest()}"
    assert groups(archive, Naming("patient", b"x" * 32))["a.dcm"] != groups(archive, KEY)["a.dcm"]
    assert "0001" not in str(groups(archive, KEY)["a.dcm"])[:13]


def test_numbers_of_two_issuers_or_kinds_never_meet() -> None:
    given = [("1", "", ""), ("1", "a", ""), ("", "", "1"), ("a\x001", "", ""), ("2", "", "")]
    assert len({group_of(*one, group_by="patient", key=KEY.key) for one in given}) >= 4
    assert group_of("1", "x", "9", group_by="study", key=KEY.key) == group_of(
        "2", "", "9", group_by="study", key=KEY.key
    )


def test_a_number_without_its_issuer_is_that_of_any(archive: Path) -> None:
    """Two systems of one hospital: a patient in two groups may stand on both sides of the split."""
    def of(**issuers: str) -> list[str | None]:
        for name, issuer in issuers.items():
            dataset = dcmread(archive / f"{name}.dcm")
            dataset.PatientID, dataset.IssuerOfPatientID = "0001", issuer
            dcmwrite(archive / f"{name}.dcm", dataset)
        found = groups(archive, KEY)
        return [found[f"{name}.dcm"] for name in issuers]

    assert len({*of(a="north", b="south", c="north")}) == 2
    assert len({*of(a="", b="south", c="north")}) == 1


def test_the_key_is_of_a_file_of_the_environment_or_of_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("a secret of some length\n")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    chance = Naming.of("patient", None)
    assert chance.key != Naming.of("patient", None).key
    assert chance.fingerprint != Naming.of("patient", None).fingerprint
    assert "kept nowhere" in chance.told
    assert "secret" not in repr(Naming.of("patient", tmp_path / "key"))
    monkeypatch.setenv(KEY_VARIABLE, "a secret of some length")
    assert Naming.of("patient", None).key == Naming.of("patient", tmp_path / "key").key
    prints = [Naming.of(kind, tmp_path / "key").fingerprint for kind in ("patient", "patient", "study")]
    assert prints[0] == prints[1] != prints[2]
    for short in ("short", ""):
        (tmp_path / "key").write_text(short)
        with pytest.raises(SettingsError, match="16 bytes or more, found"):
            Naming.of("patient", tmp_path / "key")
    with pytest.raises(SettingsError, match="cannot be read"):
        Naming.of("patient", tmp_path / "absent")


def test_groups_of_labels_go_first_and_the_rest_of_the_patient_follows() -> None:
    table = ImageTable.of({"id": list("abcdef"), "group": ["p", "p", "p", "q", "q", None]})
    rows = pd.DataFrame({"image": ["a", "b", "d", "e"], "label": "x", "group": ["7", "7", "8", "9"]})
    frame = LabelSet.of(rows, table, where=Path("labels.csv")).apply(table).frame
    assert frame["group"].fillna("").tolist() == ["7", "7", "7", "8", "9", ""]


def test_a_scan_says_how_groups_came_to_be_and_keeps_no_key(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret of some length")
    shutil.copy(archive / "a.dcm", archive / "Planted_0001.dcm")
    run = scan(archive, out=tmp_path / "run", max_bad=0.5)
    said = capsys.readouterr().err
    assert "DICOM: 6 files are grouped by patient, their numbers hashed with the key in HUNDREDFOLD" in said
    assert "Warning: the names of 1 files hold the name or number of their patient" in said
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert not any(b"a secret of some" in path.read_bytes() for path in files)
    frame = ImageTable.read(run / "images.parquet").frame
    assert frame["group"].nunique() == 4


def test_one_number_for_all_names_the_way_out(archive: Path, tmp_path: Path) -> None:
    from hundredfold.errors import SplitError

    for path in archive.glob("[abc].dcm"):
        dataset = dcmread(path)
        dataset.PatientID = "ANONYMOUS"
        dcmwrite(path, dataset)
    (tmp_path / "labels.csv").write_text("image,label\na.dcm,x\nb.dcm,x\nc.dcm,y\n")
    with pytest.raises(SplitError, match="--dicom-groups study"):
        scan(archive, labels=tmp_path / "labels.csv", out=tmp_path / "run", max_bad=0.5)


def test_frames_that_lie_are_no_rows(tmp_path: Path) -> None:
    dataset = dcmread(str(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)))
    dataset.NumberOfFrames = 2_000_000_000
    dcmwrite(tmp_path / "lie.dcm", dataset)
    shutil.copy(str(get_testdata_file("image_dfl.dcm", download=False)), tmp_path / "deflated.dcm")
    run = scan(tmp_path, out=tmp_path / "run", max_bad=0.5)
    rejects = pd.read_csv(run / "rejects.csv")
    assert rejects[["image", "reason"]].to_numpy().tolist() == [["lie.dcm", "too_large"]]
