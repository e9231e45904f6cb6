"""Damaged bytes for what reads images, tables and archives: they must answer with a value or a reason.

    pip install atheris
    python benchmarks/fuzz.py decode --minutes 20 --out found
    python benchmarks/fuzz.py table --minutes 10 --out found
    python benchmarks/fuzz.py archive --minutes 10 --out found

Starts from small real files (those of pydicom's package, and every other format, made here), changes them as
libFuzzer does, guided by which lines of ours, of pydicom and of tifffile it reaches, and keeps in ``--out``
each input that made something else happen: an error of another kind, pixels of another size than the header
says, a crash, more than 10 s or 2 GB. What was found so far is a test in ``tests/data/test_fuzzed.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

GUIDED_BY = ["hundredfold.data", "pydicom", "tifffile"]
with atheris.instrument_imports(include=GUIDED_BY, enable_loader_override=False):
    import imagecodecs
    import numpy as np
    import pandas as pd
    import pydicom
    import tifffile
    from PIL import Image

    from hundredfold.data.archive import Archive, Origin
    from hundredfold.data.decode import decode, measure
    from hundredfold.data.elsewhere import in_archives
    from hundredfold.data.labels import LabelSet
    from hundredfold.data.part import read_part
    from hundredfold.data.rows import read_rows
    from hundredfold.data.table import ImageTable
    from hundredfold.errors import ImageError, InputError

LARGEST_SEED = 80_000
#: seconds of processor time; the clock's would count those in which others had the machine.
SLOW = 10
TABLE = b"image,label,group,split\na.png,cat,1,train\n\"b;\n.png\",dog,2,test\nc.png,,3,\n"


def image_seeds() -> Iterator[bytes]:
    """Small files of every format that is read."""
    for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"):
        if path.stat().st_size <= LARGEST_SEED:
            yield path.read_bytes()
    y, x = np.mgrid[0:20, 0:24]
    picture = np.stack([x * 10, y * 12, (x * y) % 256], axis=-1).astype(np.uint8)
    image = Image.fromarray(picture)
    for kind in ("JPEG", "PNG", "BMP", "GIF", "TIFF"):
        for mode in (image, image.convert("L"), image.quantize(8), image.convert("1")):
            with contextlib.suppress(OSError):
                yield _saved(mode, kind)
    yield _saved(image, "JPEG", progressive=True)
    yield _saved(image.convert("CMYK"), "JPEG")
    yield from _deep_seeds(picture)


def _deep_seeds(picture: np.ndarray) -> Iterator[bytes]:
    deep = picture.astype(np.uint16) * 257
    yield imagecodecs.png_encode(deep)
    every: list[dict[str, object]] = [
        {}, {"compression": "zlib", "predictor": True}, {"compression": "lzw"}, {"compression": "jpeg"},
        {"compression": "jpeg2000"}, {"tile": (16, 16)}, {"planarconfig": "separate"}, {"byteorder": ">"},
    ]
    for options in every:
        pixels = picture if "jpeg" in str(options) else deep
        if options.get("planarconfig"):
            pixels = np.moveaxis(pixels, -1, 0)
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
        yield buffer.getvalue()


def table_seeds() -> Iterator[bytes]:
    """One table in several dresses."""
    yield TABLE
    yield b"\xef\xbb\xbf" + TABLE.replace(b",", b";").replace(b"\n", b"\r\n")
    yield TABLE.decode().encode("utf-16")
    frame = pd.DataFrame({"image": ["a.png", "b.png"], "label": ["cat", "dog"], "group": [1, 2]})
    yield frame.to_parquet()


def archive_seeds() -> Iterator[bytes]:
    """One small folder, packed in several ways."""
    files = {"a/1.png": b"\x89PNG" * 20, "a/1.json": b'{"label": "x"}', "ü/2.png": bytes(700), "b.txt": b"y"}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            for name, data in files.items():
                file.writestr(name, data)
        yield buffer.getvalue()
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(data), 1.5
                tar.addfile(member, io.BytesIO(data))
        yield buffer.getvalue()


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def try_decode(data: bytes) -> None:
    """Decode, and compare what comes out with what the header said."""
    try:
        decoded = decode(data, "x", frame=0)
    except ImageError:
        return
    height, width = decoded.pixels.shape[:2]
    assert (width, height) == (decoded.width, decoded.height) == measure(data, "x", frame=0)
    assert decoded.pixels.dtype in (np.uint8, np.uint16, np.float32)
    assert decoded.pixels.shape[2:] in ((), (3,))


def try_table(data: bytes) -> None:
    """Read labels from a file of either kind."""
    images = ImageTable.of({"id": ["a.png", "b.png", "b;\n.png"]})
    for suffix in (".csv", ".parquet"):
        path = Path(tempfile.gettempdir()) / f"fuzzed-{os.getpid()}{suffix}"
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            read_rows(path, required=("image",), optional=("label",))
        with contextlib.suppress(InputError):
            LabelSet.read(path, images).apply(images)
        path.unlink()


def try_archive(data: bytes) -> None:
    """List an archive and read its members."""
    path = Path(tempfile.gettempdir()) / f"fuzzed-{os.getpid()}.archive"
    path.write_bytes(data)
    with contextlib.suppress(InputError), contextlib.redirect_stderr(io.StringIO()):
        archive = Archive(Origin.of(path))
        for place in in_archives([(archive, "")]).files["path"]:
            member = archive.member(place)
            if member.problem is None:
                archive.head(place, 132)
                with contextlib.suppress(ImageError):
                    assert len(read_part(str(archive.read), member.part)) == member.part.size
        read_rows(path, required=("image",), optional=("label",))


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "decode": (try_decode, image_seeds), "table": (try_table, table_seeds),
    "archive": (try_archive, archive_seeds),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    attempt, seeds = TARGETS[options.target]
    corpus = options.out / f"corpus-{options.target}"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    met: Counter[str] = Counter()

    def one(data: bytes) -> None:
        started = time.process_time()
        try:
            attempt(data)
            if (spent := time.process_time() - started) > SLOW:
                raise TimeoutError(f"{spent:.0f} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            frame = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            if not met[key]:
                name = hashlib.sha256(key.encode()).hexdigest()[:8]
                (options.out / f"{options.target}-{name}").write_bytes(data)
                print(f"FOUND {key}: {error}", file=sys.stderr, flush=True)
            met[key] += 1

    warnings.simplefilter("ignore")
    atheris.Setup([
        sys.argv[0], str(corpus), f"-max_total_time={int(options.minutes * 60)}", "-rss_limit_mb=2000",
        "-timeout=300", f"-artifact_prefix={options.out}/{options.target}-", "-print_final_stats=1",
    ], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
