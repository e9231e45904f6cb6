"""The pixels of real scans against numbers that were worked out from their bytes, without pydicom."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from hundredfold.config.scan import WINDOWS, PixelChoices
from hundredfold.data.decode import Decoded, decode, quiet_decoders
from hundredfold.data.pixels import fill
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.errors import ImageError, RunExistsError, SettingsError


def real(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def raw_pixels(data: bytes, side: int) -> np.ndarray:
    """The 16-bit values behind the tag (7FE0,0010) of an explicit little-endian file [side,side]."""
    start = data.rindex(b"\xe0\x7f\x10\x00OW") + 8
    size = struct.unpack_from("<I", data, start)[0]
    assert size == side * side * 2
    return np.frombuffer(data, "<i2", side * side, start + 4).reshape(side, side)


def changed(name: str, remove: tuple[str, ...] = (), **tags: Any) -> bytes:
    """A real file with some tags changed."""
    dataset = dcmread(io.BytesIO(real(name)))
    for keyword in remove:
        delattr(dataset, keyword)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
        if keyword == "PixelPaddingRangeLimit":
            dataset[keyword].VR = "SS"
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset)
    return buffer.getvalue()


def read(data: bytes, **options: Any) -> Decoded:
    with quiet_decoders():
        return decode(data, "scan.dcm", **options)


def reason(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read(data, **options)
    return caught.value.reason


def shown(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, line by line, to 0 … 255."""
    seen = np.zeros(values.shape)
    for place in np.ndindex(values.shape):
        x = float(values[place])
        if x <= centre - 0.5 - (width - 1) / 2:
            seen[place] = 0
        elif x > centre - 0.5 + (width - 1) / 2:
            seen[place] = 255
        else:
            seen[place] = ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255
    return seen


CT = raw_pixels(real("CT_small.dcm"), 128).astype(np.int64) - 1024  # its intercept


def test_ct_small_is_in_hounsfield_units_from_air_to_bone() -> None:
    decoded = read(real("CT_small.dcm"))
    assert np.array_equal(decoded.pixels, CT)
    assert (decoded.pixels.min(), decoded.pixels.max()) == (-896, 1167)
    assert decoded.pixels.mean(dtype=np.float64) == pytest.approx(-119.074, abs=0.001)
    assert (decoded.pixels[10, 20], decoded.pixels[64, 64]) == (185 - 1024, 1928 - 1024)


def test_mr_small_is_seen_through_its_window() -> None:
    decoded = read(real("MR_small.dcm"))
    expected = shown(raw_pixels(real("MR_small.dcm"), 64), 600, 1600)
    assert np.abs(decoded.pixels - expected).max() <= 0.5 + 1e-9
    assert int(decoded.pixels[10, 20]) == 82  # 316: (316 - 599.5) / 1599 + .5 = .3227
    assert (decoded.pixels.min(), decoded.pixels.max()) == (52, 255)


def twelve_bits(folder: Path) -> np.ndarray:
    """A DICOM file of 12 bits without a window: a ramp from 0 to 4,095, in a folder of its own."""
    ramp = np.linspace(0, 4095, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    folder.mkdir()
    (folder / "ramp.dcm").write_bytes(changed(
        "MR_small.dcm", remove=("WindowCenter", "WindowWidth"), PixelData=ramp.tobytes(), BitsStored=12,
        HighBit=11, PixelRepresentation=0,
    ))
    return ramp


def store_of(folder: Path, pixels: Path, **options: Any) -> tuple[ImageTable, PixelStore]:
    paths = sorted(folder.iterdir())
    table = ImageTable.of({"id": [path.name for path in paths], "path": [str(path) for path in paths]})
    return fill(table, pixels, fit="pad", **options)


def test_twelve_bits_reach_from_black_to_white_and_not_near_either(tmp_path: Path) -> None:
    ramp = twelve_bits(tmp_path / "in")
    _, store = store_of(tmp_path / "in", tmp_path / "pixels", size=64)
    assert store.value_range is not None
    low, high = np.percentile(ramp, [0.1, 99.9])
    assert (store.value_range.low, store.value_range.high) == pytest.approx((low, high), abs=2)
    expected = np.clip((ramp - low) / (high - low), 0, 1) * 255
    assert np.abs(store.array[0, ..., 0] - expected).max() <= 1
    assert store.array.mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("name", WINDOWS)
def test_every_window_by_name_is_that_of_the_standards_formula(name: str) -> None:
    centre, width = WINDOWS[name]
    decoded = read(real("CT_small.dcm"), ct_window=(centre, width))
    assert not decoded.deep
    assert np.abs(decoded.pixels - shown(CT, centre, width)).max() <= 0.5 + 1e-9
    assert len(WINDOWS) == 5


def test_a_window_by_name_goes_before_that_of_the_file() -> None:
    own = changed("CT_small.dcm", WindowCenter=[300, 40], WindowWidth=[10, 400])
    assert read(own).note == "several_windows"
    assert np.abs(read(own, ct_window=(40, 400)).pixels - shown(CT, 40, 400)).max() <= 0.5 + 1e-9
    assert np.abs(read(own).pixels - shown(CT, 300, 10)).max() <= 0.5 + 1e-9


def test_what_is_in_no_hounsfield_units_is_refused_where_a_window_in_them_is_asked_for() -> None:
    png = io.BytesIO()
    Image.new("L", (20, 20)).save(png, "PNG")
    others = [
        real("MR_small.dcm"), real("SC_rgb_rle.dcm"), png.getvalue(),
        changed("CT_small.dcm", RescaleType="US"),
        changed("CT_small.dcm", remove=("RescaleSlope", "RescaleIntercept")),
        changed("CT_small.dcm", Modality="OT"), real("examples_palette.dcm"),
    ]
    assert [reason(data, ct_window=(40, 400)) for data in others] == ["not_ct"] * 7
    assert not read(changed("CT_small.dcm", Modality="OT", RescaleType="HU"), ct_window=(40, 400)).deep


def test_padding_is_black_and_no_value() -> None:
    stored = raw_pixels(real("CT_small.dcm"), 128).copy()
    stored[:20] = -2000  # as the file says: PixelPaddingValue
    padded = changed("CT_small.dcm", PixelData=stored.tobytes())
    decoded = read(padded)
    assert decoded.pixels.min() == CT[20:].min()
    assert (decoded.pixels[:20] == CT[20:].min()).all()
    assert np.array_equal(decoded.pixels[20:], CT[20:])
    inverted = read(changed(
        "CT_small.dcm", PixelData=stored.tobytes(), PhotometricInterpretation="MONOCHROME1",
        WindowCenter=40, WindowWidth=400,
    ))
    assert (inverted.pixels[:20] == 0).all()
    plain = read(real("CT_small.dcm"), ct_window=(40, 400))
    assert np.array_equal(inverted.pixels[20:], 255 - plain.pixels[20:])
    limited = changed("CT_small.dcm", PixelData=stored.tobytes(), PixelPaddingRangeLimit=-1990)
    assert np.array_equal(read(limited).pixels, decoded.pixels)


@pytest.mark.parametrize(("function", "formula"), [
    ("LINEAR_EXACT", lambda x: np.clip((x - 100) / 300 + 0.5, 0, 1)),
    ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 100) / 300))),
])
def test_the_other_functions_of_a_window(function: str, formula: Any) -> None:
    data = changed("CT_small.dcm", WindowCenter=100, WindowWidth=300, VOILUTFunction=function)
    assert np.abs(read(data).pixels - formula(CT.astype(float)) * 255).max() <= 0.5 + 1e-6


def test_the_window_belongs_to_the_store(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(real("CT_small.dcm"))
    Image.new("L", (128, 128), 7).save(tmp_path / "in" / "b.png")
    table, store = store_of(tmp_path / "in", tmp_path / "pixels", size=128, window=(-600, 1500))
    assert table.rejects["reason"].tolist() == ["not_ct"]
    assert PixelStore.open(store.folder).window == store.window == (-600, 1500)
    assert store.value_range is None
    assert np.abs(store.array[0, ..., 1] - shown(CT, -600, 1500)).max() <= 0.5 + 1e-9
    for other in ({}, {"window": (40, 400)}):
        with pytest.raises(RunExistsError):
            store_of(tmp_path / "in", tmp_path / "pixels", size=128, **other)


@pytest.mark.parametrize(("text", "window"), [
    (None, None), ("lung", (-600, 1500)), ("-50,350.5", (-50, 350.5)),
])
def test_a_window_is_a_name_or_two_numbers(text: str | None, window: tuple[float, float] | None) -> None:
    assert PixelChoices.of(window=text).ct_window == window


@pytest.mark.parametrize("text", ["lungs", "40", "40,0", "a,b", "1,2,3", "nan,nan", "nan,400", "40,inf"])
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="window"):
        PixelChoices.of(window=text)


def test_the_window_travels_to_the_predictor(tmp_path: Path) -> None:
    """New CT are shown as those that the predictor learned from, whatever encoder it carries."""
    from hundredfold.workflows.embed import embed
    from hundredfold.workflows.fit import fit
    from hundredfold.workflows.predict import predict
    from hundredfold.workflows.scan import scan

    (tmp_path / "in").mkdir()
    rows = []
    for number in range(12):
        # one class differs from the other in the lung only, which a window for bone shows black
        part = raw_pixels(real("CT_small.dcm"), 128).copy()
        part[:64] = 1024 + (-700 if number % 2 else -500) + number
        data = changed("CT_small.dcm", PixelData=part.tobytes(), PatientID=f"P{number}")
        (tmp_path / "in" / f"{number:02d}.dcm").write_bytes(data)
        rows.append((f"{number:02d}.dcm", "ab"[number % 2]))
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    labels = tmp_path / "labels.csv"
    made = {"window": "lung", "fit": "crop", "near_copies": False}  # they differ in one flat part only
    run = scan(tmp_path / "in", labels=labels, out=tmp_path / "run", **made)
    assert PixelStore.open(run.pixels).window == (-600, 1500)
    embed(tmp_path / "run", encoder="thumbnail", out=tmp_path / "run")
    predictor = fit(tmp_path / "run", labels=tmp_path / "labels.csv", out=tmp_path / "run", classifier="knn")
    recipe = {name: predictor.facts[name] for name in ("window", "fit", "value_range")}
    assert recipe == {"window": [-600, 1500], "fit": "crop", "value_range": None}
    Image.new("L", (128, 128), 7).save(tmp_path / "in" / "other.png")
    predict(tmp_path / "in", predictor=tmp_path / "run", out=tmp_path / "predictions.csv")
    told = pd.read_csv(tmp_path / "predictions.csv")
    assert told["label"].tolist()[:12] == [label for _, label in rows]
    assert told["problem"].tolist()[12:] == ["not_ct"]


def test_the_range_of_deep_images_travels_with_an_encoder_that_knows_none(tmp_path: Path) -> None:
    from hundredfold.workflows.embed import embed
    from hundredfold.workflows.fit import fit
    from hundredfold.workflows.scan import scan

    (tmp_path / "in").mkdir()
    rows = []
    for number in range(8):
        part = raw_pixels(real("CT_small.dcm"), 128) // (1 + number % 2)
        stored = (part + number).astype("<i2").tobytes()
        data = changed("CT_small.dcm", PixelData=stored, PatientID=f"P{number}")
        (tmp_path / "in" / f"{number}.dcm").write_bytes(data)
        rows.append((f"{number}.dcm", "ab"[number % 2]))
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    run = scan(tmp_path / "in", labels=tmp_path / "labels.csv", out=tmp_path / "run")
    embed(tmp_path / "run", encoder="thumbnail", out=tmp_path / "run")
    predictor = fit(tmp_path / "run", labels=tmp_path / "labels.csv", out=tmp_path / "run", classifier="knn")
    limits = PixelStore.open(run.pixels).value_range
    assert limits is not None
    assert predictor.facts["value_range"] == [limits.low, limits.high]
