"""What becomes of the bytes of an image file: BAD_INPUTS cases 1-15."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hundredfold.data.decode import Decoded, decode, measure, quiet_decoders
from hundredfold.data.image import MAX_PIXELS, MIN_SIDE, upright
from hundredfold.errors import ImageError


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth colour picture without symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / width, 255 * y / height
    return np.stack([red, green, 128 + 100 * np.sin(x / 9 + y / 5)], axis=-1).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def png(ihdr: bytes, body: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    chunks = chunk(b"IHDR", ihdr), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def reason(data: bytes, name: str = "image", **options: object) -> str:
    with quiet_decoders(), pytest.raises(ImageError) as caught:
        decode(data, name, **options)
    assert caught.value.sentence
    assert "\n" not in caught.value.sentence
    return caught.value.reason


def test_a_file_without_bytes_is_empty() -> None:
    assert reason(b"") == "empty"


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html>404</html>", b"\0" * 500, b"image,label\na,b\n"])
def test_what_is_no_image_is_named_so_whatever_its_extension(data: bytes) -> None:
    assert reason(data, "cell.jpg") == "not_image"


@pytest.mark.parametrize("data", [b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x0cjP  \r\n\x87\n", b"%PDF-1.7"])
def test_a_format_that_is_not_read_is_named(data: bytes) -> None:
    assert reason(data) == "unsupported"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_the_content_decides_and_not_the_extension(kind: str) -> None:
    decoded = decode(encoded(picture(), kind), "wrong.jpg")
    assert np.array_equal(decoded.pixels, picture())
    assert (decoded.width, decoded.height, decoded.deep, decoded.note) == (60, 40, False, "")


WHOLE = {
    "baseline": encoded(picture(), "JPEG"),
    "progressive": encoded(picture(), "JPEG", progressive=True),
    "restarts": encoded(picture(), "JPEG", restart_marker_rows=1),
    "grey": encoded(picture()[..., 0], "JPEG"),
    "with_thumbnail": encoded(picture(), "JPEG", exif=b"Exif\0\0" + encoded(picture(16, 16), "JPEG")),
    "png": encoded(picture(), "PNG"),
    "png_palette": encoded(Image.fromarray(picture()).quantize(16), "PNG"),
    "png_16_bit": imagecodecs.png_encode(picture().astype(np.uint16) * 257),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_jpeg_or_png_cut_anywhere_is_truncated(name: str) -> None:
    whole = WHOLE[name]
    with quiet_decoders():
        decode(whole, name)
    cuts = {*range(8, len(whole), max(1, len(whole) // 60)), *range(len(whole) - 30, len(whole))}
    assert len(cuts) > 60
    assert {reason(whole[:cut]) for cut in cuts} == {"truncated"}


def test_a_real_jpeg_cut_short_is_truncated_and_not_filled_with_grey(shared: Path) -> None:
    path = next((shared / "data" / "busi_ultrasound" / "images").glob("*.*"))
    data = path.read_bytes()
    decode(data, path.name)
    assert {reason(data[: len(data) * part // 10]) for part in range(1, 10)} == {"truncated"}


@pytest.mark.parametrize("tail", [bytes(2_000), b""])
def test_a_jpeg_of_which_the_rest_is_zeros_is_truncated(tail: bytes) -> None:
    whole = WHOLE["baseline"]
    assert reason(whole[: len(whole) // 2] + tail) == "truncated"


@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_its_end_but_not_its_middle_is_truncated(kind: str, progressive: bool) -> None:
    image = Image.fromarray(picture(200, 300)).convert(kind)
    whole = encoded(image, "JPEG", quality=95, progressive=progressive)
    size = len(whole)
    decode(whole, kind)
    assert {reason(whole[: size * part // 10] + whole[-2:]) for part in range(3, 10)} == {"truncated"}


def test_a_jpeg_that_ran_out_of_step_is_corrupt() -> None:
    whole = encoded(picture(200, 300), "JPEG", quality=95)
    half = len(whole) // 2
    assert reason(whole[:half] + whole[half : half + 400] + whole[half:]) == "corrupt"


@pytest.mark.parametrize("padding", [b"\0\0\0", b"\x5a"])
def test_a_jpeg_padded_by_its_camera_is_whole(padding: bytes) -> None:
    whole = encoded(picture(200, 300), "JPEG")
    padded = decode(whole[:-2] + padding + whole[-2:], "camera.jpg")
    assert np.array_equal(padded.pixels, decode(whole, "camera.jpg").pixels)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 4}, {"tile": (16, 16)}])
def test_a_tiff_cut_anywhere_is_refused(options: dict[str, object]) -> None:
    whole = tiff(picture(), photometric="rgb", **options)
    cuts = range(8, len(whole), max(1, len(whole) // 60))
    assert {reason(whole[:cut]) for cut in (*cuts, len(whole) - 1)} <= {"truncated", "corrupt"}


def test_a_tiff_with_a_missing_strip_is_truncated() -> None:
    whole = bytearray(tiff(picture(), photometric="rgb", rowsperstrip=10))
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        counts = file.pages[0].tags["StripByteCounts"]
        kind = {"SHORT": "<H", "LONG": "<I"}[counts.dtype.name]
    struct.pack_into(kind, whole, counts.valueoffset, 0)
    assert reason(bytes(whole)) == "truncated"


def test_a_png_with_a_changed_byte_is_corrupt() -> None:
    data = bytearray(WHOLE["png"])
    data[len(data) // 2] ^= 0xFF
    assert reason(bytes(data)) in {"corrupt", "truncated"}


def test_cmyk_becomes_rgb_within_six_grey_levels() -> None:
    image = Image.fromarray(picture())
    decoded = decode(encoded(image.convert("CMYK"), "JPEG", quality=98, subsampling=0), "cmyk.jpg")
    difference = np.abs(decoded.pixels.astype(int) - picture())
    assert np.percentile(difference, 99) <= 6


DEEP = (np.arange(64 * 64, dtype=np.uint16) * 16 + 7).reshape(64, 64)
DEEP_RGB = np.stack([DEEP, DEEP[::-1], DEEP.T], axis=-1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(DEEP, "PNG"), DEEP),
        (imagecodecs.png_encode(DEEP_RGB), DEEP_RGB),
        (tiff(DEEP), DEEP),
        (tiff(DEEP_RGB, photometric="rgb"), DEEP_RGB),
        (tiff(np.moveaxis(DEEP_RGB, -1, 0), photometric="rgb", planarconfig="separate"), DEEP_RGB),
        (tiff(DEEP, photometric="miniswhite"), 65535 - DEEP),
        (tiff(DEEP.astype(np.float32) / 3), DEEP.astype(np.float32) / 3),
        (tiff(DEEP.astype(np.int16)), DEEP.astype(np.int16).astype(np.float32)),
    ],
)
def test_sixteen_bits_and_floats_are_kept_whole_and_called_deep(data: bytes, expected: np.ndarray) -> None:
    decoded = decode(data, "deep")
    assert decoded.deep
    assert decoded.pixels.dtype in (np.uint16, np.float32)
    assert np.array_equal(decoded.pixels, expected)
    assert len(np.unique(decoded.pixels)) >= 1_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float_image_with_a_value_that_is_no_number_is_refused(value: float) -> None:
    pixels = DEEP.astype(np.float32)
    pixels[3, 5] = value
    assert reason(tiff(pixels)) == "nonfinite"


def test_what_float32_cannot_hold_is_refused() -> None:
    pixels = DEEP.astype(np.float64)
    pixels[0, 0] = 1e300
    with np.errstate(over="ignore"):
        assert reason(tiff(pixels)) == "nonfinite"


def test_a_palette_becomes_its_colours() -> None:
    image = Image.fromarray(picture()).quantize(32)
    expected = np.asarray(image.convert("RGB"))
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert np.array_equal(decode(encoded(image, kind), kind).pixels, expected), kind


def test_behind_alpha_is_white() -> None:
    alpha = np.linspace(0, 255, 40 * 60).astype(np.uint8).reshape(40, 60)
    expected = np.rint(picture() * (alpha / 255)[..., None] + (255 - alpha)[..., None].astype(float))
    layers = np.dstack([picture(), alpha])
    for data in (encoded(layers, "PNG"), tiff(layers, photometric="rgb", extrasamples=["unassalpha"])):
        assert np.abs(decode(data, "alpha").pixels - expected).max() <= 1


def test_grey_with_alpha_stays_grey() -> None:
    layers = Image.merge("LA", [Image.new("L", (20, 20), 50), Image.new("L", (20, 20), 0)])
    decoded = decode(encoded(layers, "PNG"), "la.png")
    assert decoded.pixels.shape == (20, 20)
    assert (decoded.pixels == 255).all()


def test_a_transparent_palette_colour_is_white() -> None:
    image = Image.fromarray(picture()).quantize(8)
    index = image.getpixel((0, 0))
    decoded = decode(encoded(image, "PNG", transparency=index), "p.png")
    assert decoded.pixels[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bit_alpha_is_laid_on_white() -> None:
    layers = np.dstack([DEEP_RGB, np.zeros_like(DEEP)])
    assert (decode(imagecodecs.png_encode(layers), "a.png").pixels == 65535).all()


@pytest.mark.parametrize(("colour", "transparent"), [(0, (0,)), (2, (0, 0, 0))])
def test_a_transparent_colour_of_sixteen_bits_is_white_and_no_further_channel(
    colour: int, transparent: tuple[int, ...]
) -> None:
    """A square of another number of channels would have moved all deep images behind it in the store."""
    values = np.arange(16 * 16 * len(transparent), dtype=np.uint16).reshape(16, 16, -1) * 50
    values[0, 0] = 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    whole = png(struct.pack(">IIBBBBB", 16, 16, 16, colour, 0, 0, 0), rows)
    told = b"tRNS" + struct.pack(f">{len(transparent)}H", *transparent)
    chunk = struct.pack(">I", len(told) - 4) + told + struct.pack(">I", zlib.crc32(told))
    decoded = decode(whole.replace(whole[33:41], chunk + whole[33:41], 1), "t.png")
    expected = values.copy()
    expected[0, 0] = 65535
    assert np.array_equal(decoded.pixels, expected.squeeze())


def test_a_tiff_whose_palette_has_eight_bits_is_not_black() -> None:
    """Some programs write colours up to 255 where 65,535 is meant; libtiff's readers know."""
    indices = picture()[..., 0]
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 9)]).astype(np.uint16)
    decoded = decode(tiff(indices, photometric="palette", colormap=table), "p.tif")
    assert np.array_equal(decoded.pixels, np.moveaxis(table[:, indices], 0, -1))


def test_alpha_of_a_tiff_that_counts_from_white_is_laid_on_white() -> None:
    layers = np.zeros((16, 16, 2), np.uint8)
    layers[..., 0], layers[:8, :, 1] = 10, 255
    data = tiff(layers, photometric="miniswhite", extrasamples=["unassalpha"], planarconfig="contig")
    assert decode(data, "a.tif").pixels[:, 0].tolist() == [245] * 8 + [255] * 8


def test_white_of_twelve_bits_is_their_largest_value() -> None:
    """With 65,535 for white all that is opaque would be nearly white, and all ink nearly paper."""
    layers = np.full((16, 16, 4), 4095, np.uint16)
    layers[..., :3] = 1000
    layers[8:, :, 3] = 0
    given = {"photometric": "rgb", "extrasamples": ["unassalpha"], "planarconfig": "contig"}
    rows = decode(twelve(tiff(layers, **given)), "rgba.tif").pixels[:, 0]
    assert rows.tolist() == [[1000] * 3] * 8 + [[4095] * 3] * 8
    inks = np.zeros((16, 16, 4), np.uint16)
    inks[..., 0], inks[..., 3] = 4095, 2047
    told = decode(twelve(tiff(inks, photometric="separated", planarconfig="contig")), "cmyk.tif").pixels
    assert told[0, 0].tolist() == [0, 2048, 2048]


def twelve(data: bytes) -> bytes:
    """A TIFF of 16 bits a sample that says it has 12, in packed rows."""
    file = tifffile.TiffFile(io.BytesIO(data))
    samples = file.pages[0].asarray().astype(np.uint16)
    rows = samples.reshape(len(samples), -1)
    bits = (rows[..., None] >> np.arange(11, -1, -1)) & 1
    packed = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()
    whole = bytearray(data)
    page = file.pages[0]
    whole[page.dataoffsets[0] : page.dataoffsets[0] + len(packed)] = packed
    tag = page.tags[258]
    struct.pack_into(f"{file.byteorder}{tag.count}H", whole, tag.valueoffset, *[12] * tag.count)
    struct.pack_into(f"{file.byteorder}I", whole, page.tags[279].offset + 8, len(packed))
    return bytes(whole)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(kind: str) -> None:
    bits = picture()[..., 0] > 90
    decoded = decode(encoded(Image.fromarray(bits), kind), "1.png")
    assert np.array_equal(decoded.pixels.reshape(40, 60, -1)[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_eight_orientations_give_the_same_upright_pixels(turn: int) -> None:
    # EXIF orientation → how a camera held that way lays down the rows (independent of `upright`)
    stored = {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud,
        5: lambda p: np.rot90(np.fliplr(p)), 6: np.rot90, 7: lambda p: np.rot90(np.flipud(p)),
        8: lambda p: np.rot90(p, -1),
    }[turn](picture())
    exif = Image.Exif()
    exif[0x0112] = turn
    exact = decode(encoded(stored, "PNG", exif=exif), "p.png")
    assert np.array_equal(exact.pixels, picture())
    assert (exact.width, exact.height) == (60, 40)
    tagged = tiff(stored, photometric="rgb", extratags=[(274, 3, 1, turn)])
    assert np.array_equal(decode(tagged, "t").pixels, picture())
    data = encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif)
    assert np.abs(decode(data, "j").pixels.astype(int) - picture()).max() < 12
    reduced = decode(data, "j", target=lambda width, height: (width // 4, height // 4))
    assert reduced.pixels.shape == (10, 15, 3)
    assert measure(data, "j") == (reduced.width, reduced.height) == (60, 40)


@given(st.integers(1, 8))
def test_an_orientation_is_undone_by_its_inverse(turn: int) -> None:
    inverse = {6: 8, 8: 6}.get(turn, turn)
    assert np.array_equal(upright(upright(picture(), turn), inverse), picture())


def huge_headers() -> dict[str, bytes]:
    jpeg = bytearray(encoded(picture(), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, start + 5, 20_000, 20_000)
    bmp = bytearray(encoded(picture(), "BMP"))
    struct.pack_into("<ii", bmp, 18, 20_000, 20_000)
    gif = bytearray(encoded(Image.fromarray(picture()).quantize(8), "GIF"))
    struct.pack_into("<HH", gif, 6, 20_000, 20_000)
    page = tiff(picture(), photometric="rgb")
    with tifffile.TiffFile(io.BytesIO(page)) as file:
        tags = file.pages[0].tags
        places = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    huge = bytearray(page)
    for place in places:
        struct.pack_into("<H", huge, place, 20_000)
    return {
        "PNG": png(struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)),
        "JPEG": bytes(jpeg), "BMP": bytes(bmp), "GIF": bytes(gif), "TIFF": bytes(huge),
    }


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF"])
def test_a_header_of_400_megapixels_is_refused_before_memory_is_taken(kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason(huge_headers()[kind]) == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert MAX_PIXELS < 20_000 * 20_000


def frames(kind: str, **options: object) -> bytes:
    others = [Image.fromarray(255 - picture())]
    return encoded(picture(), kind, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG"])
def test_several_pictures_in_a_file_are_refused_and_never_silently_the_first(kind: str) -> None:
    assert reason(frames(kind)) == "multi_page"


def test_an_imagej_stack_is_refused() -> None:
    assert reason(tiff(np.stack([DEEP] * 3), imagej=True)) == "multi_page"


@pytest.mark.parametrize("kind", ["imagej", "shaped"])
def test_a_stack_behind_one_header_is_refused_and_never_silently_its_first_picture(kind: str) -> None:
    given = {"imagej": kind == "imagej", "photometric": "minisblack", "truncate": True}
    assert reason(tiff(np.stack([DEEP] * 3), **given)) == "multi_page"
    assert np.array_equal(decode(tiff(DEEP[None], **given), "one.tif").pixels, DEEP)


def test_a_smaller_copy_of_the_same_tiff_is_passed_over() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(picture(), photometric="rgb")
        writer.write(picture()[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(decode(buffer.getvalue(), "pyramid.tif").pixels, picture())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 10_000), (10_000, 1), (MIN_SIDE - 1, 50)])
def test_an_image_of_too_few_rows_or_columns_is_refused(height: int, width: int) -> None:
    assert reason(encoded(np.zeros((height, width), np.uint8), "PNG")) == "too_small"


def test_a_constant_image_is_kept_and_flagged() -> None:
    assert decode(encoded(np.full((20, 30, 3), (9, 80, 7), np.uint8), "PNG"), "c.png").note == "constant"
    nearly = np.full((20, 30), 9, np.uint8)
    nearly[7, 11] = 10
    assert decode(encoded(nearly, "PNG"), "c.png").note == ""


@pytest.mark.parametrize("compression", ["jpeg2000", "lzw", "zlib", "packbits", "zstd", "webp"])
def test_compressed_tiffs_are_decoded(compression: str) -> None:
    options: dict[str, object] = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    decoded = decode(tiff(picture(), photometric="rgb", compression=compression, **options), "c.tif")
    assert np.array_equal(decoded.pixels, picture())


def test_jpeg_in_tiff_and_uncompressed_ycbcr_are_rgb() -> None:
    ycbcr = Image.fromarray(picture()).convert("YCbCr")
    options = {"compression": "jpeg", "compressionargs": {"level": 98}}
    for data in (
        encoded(ycbcr, "TIFF"),
        encoded(picture(), "TIFF", compression="jpeg", quality=98),
        tiff(np.asarray(ycbcr), photometric="ycbcr", subsampling=(1, 1), **options),
        tiff(picture(), photometric="rgb", **options),
    ):
        assert np.abs(decode(data, "x.tif").pixels.astype(int) - picture()).max() <= 12


def test_channels_that_are_no_colours_are_refused() -> None:
    pixels = np.zeros((5, 20, 20), np.uint16)
    assert reason(tiff(pixels, photometric="minisblack", planarconfig="separate")) == "unsupported"


def test_the_hash_is_of_the_pixels_and_not_of_the_file() -> None:
    def sha(data: bytes, **options: object) -> str:
        return decode(data, "x", **options).sha256

    lossless = encoded(picture(), "PNG"), encoded(picture(), "BMP"), tiff(picture(), photometric="rgb")
    assert len({sha(data) for data in lossless}) == 1
    assert sha(lossless[0]) != sha(encoded(255 - picture(), "PNG"))
    plain, commented = encoded(picture(), "JPEG"), encoded(picture(), "JPEG", comment=b"slide 7")
    assert plain != commented
    assert sha(plain) == sha(commented) == sha(plain, target=lambda *_: (10, 10))
    assert sha(plain) != sha(encoded(255 - picture(), "JPEG"))
    turned = Image.Exif()
    turned[0x0112] = 3
    assert sha(plain) != sha(encoded(picture(), "JPEG", exif=turned))


@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("times", [1, 2, 3, 4, 9])
def test_a_jpeg_has_the_pixels_that_pillow_gives(kind: str, times: int) -> None:
    data = encoded(Image.fromarray(picture(201, 307)).convert(kind), "JPEG", quality=90)
    expected = Image.open(io.BytesIO(data))
    size = -(-307 // times), -(-201 // times)
    expected.draft(None, size)
    expected = expected.convert("L" if kind == "L" else "RGB")
    assert np.array_equal(decode(data, kind, target=lambda *_: size).pixels, np.asarray(expected))


def test_a_jpeg_is_decoded_at_reduced_scale_only_where_it_stays_large_enough() -> None:
    data = encoded(picture(240, 320), "JPEG", quality=95)

    def shape(width: int, height: int) -> tuple[int, ...]:
        return decode(data, "x", target=lambda *_: (width, height)).pixels.shape[:2]

    assert shape(320, 240) == shape(170, 128) == (240, 320)
    assert shape(160, 120) == shape(100, 75) == (120, 160)
    assert shape(80, 60) == (60, 80)
    small = decode(data, "x", target=lambda *_: (80, 60)).pixels
    exact = picture(240, 320).reshape(60, 4, 80, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - exact).mean() < 2


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_an_image_or_a_reason_and_nothing_else(data: st.DataObject) -> None:
    packed = tiff(picture(), photometric="rgb", compression="lzw")
    damaged = bytearray(data.draw(st.sampled_from([*WHOLE.values(), packed, encoded(picture(), "GIF")])))
    place = st.integers(0, len(damaged) - 1)
    for position, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)):
        damaged[position] = value
    with quiet_decoders(), contextlib.suppress(ImageError):
        assert isinstance(decode(bytes(damaged), "x"), Decoded)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_reason(data: bytes) -> None:
    assert reason(data)
