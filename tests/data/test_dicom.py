"""DICOM as a reader sees it: BAD_INPUTS cases 16-29, on the files that come with pydicom."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydicom import dcmread, dcmwrite, uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from hundredfold.data import codecs
from hundredfold.data.decode import Decoded, decode, quiet_decoders
from hundredfold.data.file import looks_like_dicom
from hundredfold.data.voi import window
from hundredfold.errors import ImageError

PATIENT = "Planted^Patient"


def real(name: str) -> bytes:
    """A file of pydicom's own."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), name
    return Path(path).read_bytes()


def read(data: bytes, name: str = "scan.dcm", **options: Any) -> Decoded:
    with quiet_decoders():
        return decode(data, name, **options)


def reason(data: bytes, name: str = "scan.dcm", **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read(data, name, **options)
    assert caught.value.__cause__ is None
    return caught.value.reason


def made(pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any) -> bytes:
    """A DICOM file of pixels [h,w] or [h,w,3], explicit little endian."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid.generate_uid()
    dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.PatientName, dataset.PatientID = PATIENT, "PLANTED-4711"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = tags.pop("BitsStored", dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


RAMP = (np.arange(32 * 32, dtype=np.uint16) * 4).reshape(32, 32)  # 0 … 4,092: 12 bits


def test_monochrome1_is_inverted_after_its_window() -> None:
    tags = {"WindowCenter": 1000, "WindowWidth": 500, "BitsStored": 12}
    light, dark = (read(made(RAMP, kind, **tags)) for kind in ("MONOCHROME2", "MONOCHROME1"))
    assert not light.deep
    assert np.array_equal(dark.pixels, 255 - light.pixels)
    assert dark.pixels[0, 0] == 255


def test_monochrome1_without_a_window_is_mirrored_in_what_its_bits_hold() -> None:
    decoded = read(made(RAMP, "MONOCHROME1", BitsStored=12, RescaleSlope=2, RescaleIntercept=-100))
    assert decoded.deep
    assert np.array_equal(decoded.pixels, 2 * (4095 - RAMP.astype(np.float32)) - 100)
    signed = read(made(RAMP.astype(np.int16) - 2048, "MONOCHROME1", BitsStored=12))
    assert np.array_equal(signed.pixels, 2047 - RAMP.astype(np.float32))


def test_a_real_monochrome1_radiograph_is_inverted() -> None:
    path = next(Path(get_testdata_file("MR_small.dcm")).parent.rglob("CR1/6154"))
    dataset = dcmread(path)
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    shown = np.clip((values - 1599.5) / (float(dataset.WindowWidth) - 1) + 0.5, 0, 1) * 255
    assert np.abs(read(path.read_bytes()).pixels - (255 - shown)).max() <= 1


def test_rescale_comes_before_the_window() -> None:
    rescale = {"RescaleSlope": 0.5, "RescaleIntercept": -1024}
    decoded = read(made(RAMP, BitsStored=12, WindowCenter=40, WindowWidth=400, **rescale))
    values = RAMP * 0.5 - 1024
    expected = np.clip((values - 39.5) / 399 + 0.5, 0, 1) * 255  # PS3.3 C.11.2.1.2.1, as a formula
    assert np.abs(decoded.pixels - expected).max() <= 0.5 + 1e-3


def test_the_window_agrees_with_pydicom_on_a_real_scan() -> None:
    from pydicom.pixels import apply_modality_lut, apply_windowing

    for name in ("MR_small.dcm", "693_J2KI.dcm", "examples_overlay.dcm"):
        dataset = dcmread(get_testdata_file(name))
        with quiet_decoders():
            values = apply_modality_lut(dataset.pixel_array, dataset)
            shown = apply_windowing(values, dataset).astype(float)
        bits, low = dataset.BitsStored, 0.0
        if dataset.PixelRepresentation:
            low = -(2.0 ** (bits - 1))
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        black = low * slope + intercept
        expected = (shown - black) / ((2**bits - 1) * slope) * 255
        assert np.abs(read(real(name)).pixels - expected).max() <= 1, name


def test_the_first_of_several_windows_counts() -> None:
    several = made(RAMP, WindowCenter=[1000, 30], WindowWidth=[500, 10])
    assert np.array_equal(read(several).pixels, read(made(RAMP, WindowCenter=1000, WindowWidth=500)).pixels)


@pytest.mark.parametrize("stated", [(), (5, 0), (None, None)])
def test_without_a_usable_window_the_values_are_deep(stated: tuple[int | None, ...]) -> None:
    decoded = read(made(RAMP, **dict(zip(("WindowCenter", "WindowWidth"), stated, strict=False))))
    assert decoded.deep
    assert np.array_equal(decoded.pixels, RAMP)


def test_a_real_ct_without_a_window_is_in_hounsfield_units() -> None:
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    decoded = read(real("CT_small.dcm"))
    assert decoded.deep
    assert np.array_equal(decoded.pixels, dataset.pixel_array.astype(np.float32) - 1024)


@given(
    values=npst.arrays(np.float32, 20, elements=st.floats(-4e3, 4e3, width=32)),
    center=st.floats(-1e3, 1e3), width=st.floats(1, 4e3),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_a_window_keeps_the_order_and_its_centre_is_mid_grey(
    values: np.ndarray, center: float, width: float, function: str
) -> None:
    shown = window(np.sort(values), center, width, function)
    assert (np.diff(shown.astype(int)) >= 0).all()
    if width > 50:
        assert abs(int(window(np.float32([center]), center, width, function)[0]) - 127.5) < 4


def test_a_voi_table_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.LUTData = (4095 - np.arange(4096)).astype(np.uint16).tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    decoded = read(made(RAMP, BitsStored=12, VOILUTSequence=Sequence([table])))
    assert not decoded.deep
    assert np.array_equal(decoded.pixels, np.rint((4095 - RAMP) / 4095 * 255))


def test_tables_that_are_empty_are_no_tables() -> None:
    plain = read(made(RAMP, BitsStored=12))
    empty = read(made(RAMP, BitsStored=12, VOILUTSequence=Sequence(), ModalityLUTSequence=Sequence()))
    assert np.array_equal(empty.pixels, plain.pixels)


def test_windows_and_rescale_of_enhanced_files_are_found_in_their_groups() -> None:
    rescale, shown, shared, own = Dataset(), Dataset(), Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -500
    shown.WindowCenter, shown.WindowWidth = 1000, 600
    shared.PixelValueTransformationSequence, own.FrameVOILUTSequence = Sequence([rescale]), Sequence([shown])
    groups = {
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence([own]),
    }
    plain = {"RescaleSlope": 2, "RescaleIntercept": -500, "WindowCenter": 1000, "WindowWidth": 600}
    assert np.array_equal(read(made(RAMP, **groups)).pixels, read(made(RAMP, **plain)).pixels)


def test_eight_bits_without_a_window_stay_as_they_are() -> None:
    pixels = (RAMP // 16).astype(np.uint8)
    assert np.array_equal(read(made(pixels)).pixels, pixels)
    assert np.array_equal(read(made(pixels, "MONOCHROME1")).pixels, 255 - pixels)
    assert set(np.unique(read(real("liver_1frame.dcm")).pixels)) == {0, 255}


def ycbcr(rgb: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.3.1.2, YBR_FULL."""
    weights = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.clip(np.rint(rgb @ weights.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def test_ybr_full_becomes_rgb() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.abs(read(made(ycbcr(rgb), "YBR_FULL")).pixels.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(
    "name",
    [
        "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+n2.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm", "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_gdcm_KY.dcm",
    ],
)
def test_the_colour_bars_are_the_same_in_every_coding(name: str) -> None:
    # bars of ten rows: red, light red, green, light green, blue, light blue, black, greys, white
    bars = {5: (255, 0, 0), 15: (255, 128, 128), 25: (0, 255, 0), 45: (0, 0, 255), 65: (0, 0, 0)}
    pixels = read(real(name)).pixels.astype(int)
    for row, colour in {**bars, 95: (255, 255, 255)}.items():
        assert np.abs(pixels[row, 50] - colour).max() <= 6, (name, row)


def test_a_palette_is_looked_up() -> None:
    dataset = dcmread(get_testdata_file("examples_palette.dcm"))
    tables = [
        np.frombuffer(dataset[f"{colour}PaletteColorLookupTableData"].value, "<u2") >> 8
        for colour in ("Red", "Green", "Blue")
    ]
    expected = np.stack([table[dataset.pixel_array] for table in tables], axis=-1)
    assert np.array_equal(read(real("examples_palette.dcm")).pixels, expected)


@pytest.mark.parametrize("darkest", [0, 40])
def test_a_palette_whose_sixteen_bits_are_eight_is_not_black(darkest: int) -> None:
    """Some machines write colours up to 255 and say that they have 16 bits."""
    table = np.arange(256, dtype=np.uint16)
    palette = {
        f"{colour}PaletteColorLookupTable{what}": value
        for colour in ("Red", "Green", "Blue")
        for what, value in (("Descriptor", [256, 0, 16]), ("Data", table.tobytes()))
    }
    indices = np.clip(RAMP >> 4, 0, 255 - darkest).astype(np.uint8)
    decoded = read(made(indices, "PALETTE COLOR", **palette))
    assert np.array_equal(decoded.pixels, np.stack([indices] * 3, axis=-1))
    whole = {name: (table * 257).tobytes() if name.endswith("Data") else value
             for name, value in palette.items()}
    dark = np.minimum(indices, 1)
    assert np.array_equal(read(made(dark, "PALETTE COLOR", **whole)).pixels, np.stack([dark] * 3, axis=-1))


@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 100, "WindowWidth": 200}])
def test_values_that_are_no_numbers_are_refused_also_behind_a_window(tags: dict[str, int]) -> None:
    """They would have become black; parametric maps have them where nothing was measured."""
    values = np.linspace(0, 200, 32 * 32, dtype=np.float32).reshape(32, 32)
    for value, expected in ((5.0, None), (np.nan, "nonfinite"), (np.inf, "nonfinite")):
        values[3, 3] = value
        dataset = dcmread(io.BytesIO(made(np.zeros((32, 32), np.uint16), **tags)))
        del dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit
        dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset)
        if expected is None:
            assert read(buffer.getvalue()).pixels.shape == (32, 32)
        else:
            assert reason(buffer.getvalue()) == expected


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "rtdose.dcm", "examples_ybr_color.dcm"])
def test_frames_are_read_one_by_one_and_never_silently_the_first(name: str) -> None:
    dataset = dcmread(get_testdata_file(name))
    count = int(dataset.NumberOfFrames)
    assert reason(real(name)) == "multi_page"
    first, last = read(real(name), frame=0), read(real(name), frame=count - 1)
    assert first.sha256 != last.sha256
    assert first.pixels.shape[:2] == (dataset.Rows, dataset.Columns)
    assert reason(real(name), frame=count) == "corrupt"


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm",
    ],
)
def test_lossless_codings_equal_the_uncompressed_scan(name: str) -> None:
    assert np.array_equal(read(real(name)).pixels, read(real("MR_small.dcm")).pixels)


def test_a_deflated_file_and_lossless_twelve_bit_jpegs_are_read() -> None:
    assert read(real("image_dfl.dcm")).pixels.shape == (512, 512)
    for name in ("JPEG-lossy.dcm", "JPGExtended.dcm", "JPEG2000.dcm"):
        decoded = read(real(name))
        assert decoded.deep, name
        assert decoded.pixels.shape == (1024, 256), name


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    with pytest.raises(ImageError, match="pip install") as caught:
        read(real("JPGExtended.dcm"))
    assert caught.value.reason == "no_codec"


def test_every_codec_of_ours_is_registered_with_pydicom() -> None:
    from pydicom.pixels.decoders.base import get_decoder

    codecs.register()  # a second time does no harm
    assert len(codecs.DECODER_DEPENDENCIES) == 10
    for syntax in codecs.DECODER_DEPENDENCIES:
        assert codecs.is_available(syntax)
        assert codecs.LABEL in get_decoder(syntax).available_plugins


@pytest.mark.parametrize(
    "name",
    ["rtplan.dcm", "rtstruct.dcm", "test-SR.dcm", "waveform_ecg.dcm", "reportsi.dcm", "rtplan_truncated.dcm"],
)
def test_a_file_without_pixels_says_so(name: str) -> None:
    assert reason(real(name)) == "no_pixels"


def test_a_file_without_preamble_and_meta_is_read() -> None:
    whole = made(RAMP)
    with io.BytesIO(whole) as file:
        dataset = dcmread(file)
    for implicit in (True, False):
        bare = Dataset()
        bare.update(dataset)
        buffer = io.BytesIO()
        dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=True)
        data = buffer.getvalue()
        assert data[128:132] != b"DICM"
        assert np.array_equal(read(data, "no extension").pixels, RAMP)


@pytest.mark.parametrize("data", [real("no_meta.dcm"), b"some text", bytes(200)])
def test_what_is_only_named_dicom_is_not_dicom(data: bytes) -> None:
    assert reason(data, "scan.dcm") == "not_dicom"


def test_dicom_is_known_by_its_bytes_and_not_by_its_name() -> None:
    assert np.array_equal(read(real("MR_small.dcm"), "photo.jpg").pixels, read(real("MR_small.dcm")).pixels)
    assert not looks_like_dicom(b"\x08\0 and so on, a text that only begins so")


@pytest.mark.parametrize("preamble", [b"MZ\x90\0", b"II*\0", b"\x89PNG\r\n\x1a\n"])
def test_what_the_preamble_poses_as_does_not_matter(preamble: bytes) -> None:
    data = preamble + made(RAMP)[len(preamble):]
    assert np.array_equal(read(data).pixels, RAMP)


@pytest.mark.parametrize(
    "name", ["MR_truncated.dcm", "badVR.dcm", "nested_priv_SQ.dcm", "meta_missing_tsyntax.dcm"]
)
def test_damaged_real_files_are_corrupt(name: str) -> None:
    assert reason(real(name)) == "corrupt"


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm", "MR_small_RLE.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm", "image_dfl.dcm",
        "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg.dcm",
    ],
)
def test_pixels_cut_short_are_refused_and_never_filled_up(name: str) -> None:
    whole, full = real(name), read(real(name))
    refused = 0
    for cut in range(400, len(whole), max(1, len(whole) // 40)):
        try:
            decoded = read(whole[:cut])
        except ImageError as error:
            assert error.reason in {"corrupt", "no_pixels"}  # noqa: PT017 - some cuts leave all pixels
            refused += 1
        else:
            assert np.array_equal(decoded.pixels, full.pixels)
    assert refused > 20
    assert reason(whole[: len(whole) * 3 // 4]) == "corrupt"


def test_rows_and_columns_that_lie_are_refused() -> None:
    assert reason(made(RAMP, Rows=60_000, Columns=60_000)) == "too_large"
    assert reason(made(RAMP, Rows=5_000, Columns=5_000)) == "corrupt"
    assert reason(made(RAMP, Rows=3)) == "too_small"


def test_a_deflate_bomb_meets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hundredfold.data.dicom.MAX_INFLATED", 3_000_000)
    whole = real("image_dfl.dcm")
    start = 144 + struct.unpack_from("<I", whole, 140)[0]
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(20_000_000)) + deflater.flush()
    assert reason(whole[:start] + bomb) == "too_large"


def test_a_remark_is_made_of_overlays_and_burned_in_annotation() -> None:
    assert read(made(RAMP, BurnedInAnnotation="YES")).note == "burned_in_annotation"
    assert read(real("examples_overlay.dcm")).note == "overlay_left_out; several_windows"


def test_no_message_holds_what_was_planted_in_a_patients_tags(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broken = [
        made(RAMP)[:-500], made(RAMP, Rows=60_000), made(RAMP, Rows=3), made(RAMP, "STRANGE"),
        made(RAMP, NumberOfFrames=3), made(RAMP, BitsAllocated=12),
        made(RAMP).replace(b"US\x02\0", b"PN\x02\0"), made(RAMP).replace(b"(0028", b"Planted"),
    ]
    sentences = []
    for data in broken:
        try:
            read(data)
        except ImageError as error:
            sentences.append(f"{error} {error.reason} {error.__cause__}")
    assert len(sentences) >= 6
    assert "planted" not in (" ".join(sentences) + caplog.text).lower()
    decoded = read(made(RAMP, WindowCenter=9, WindowWidth=9, PatientComments=PATIENT))
    assert PATIENT not in repr(decoded)
