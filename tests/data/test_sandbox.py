"""A decoder that crashes, hangs or takes all memory costs one image, whatever the others are doing."""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from hundredfold.data import sandbox
from hundredfold.data.channel import HEAD, Limits, receive, send
from hundredfold.data.file import stamp
from hundredfold.data.pixels import fill
from hundredfold.data.sandbox import answers
from hundredfold.data.table import ImageTable
from hundredfold.errors import ImageError

#: A decoder with a hole: what a JPEG's comment says is done with its process.
HOLE = '''
import ctypes, os, signal, simplejpeg
decode = simplejpeg.decode_jpeg
def harmed(data, *settings, **more):
    comment = data.partition(b"\\xff\\xfe")[2]
    match comment[2 : int.from_bytes(comment[:2], "big")].decode():
        case "leave": os._exit(3)
        case "segfault": ctypes.string_at(0)
        case "killed": os.kill(os.getpid(), signal.SIGKILL)
        case "endless":
            while True: pass
        case "memory": bytearray(2_000_000_000)
        case "once" if not os.path.exists(ONCE):
            open(ONCE, "w").close()
            os.abort()
    return decode(data, *settings, **more)
simplejpeg.decode_jpeg = harmed
'''


def jpeg(path: Path, comment: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(abs(hash(path.name)) % 1000).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG", comment=comment.encode())
    return path


@pytest.fixture
def hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decoders' processes that load the hole at their start; those of other tests are left alone."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(f"ONCE = {str(tmp_path / 'once')!r}\n{HOLE}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(sandbox._Nursery, "_here", None)
    yield
    found = sandbox._Nursery._here
    assert found is not None
    found.close()


def prepared(paths: list[Path], **limits: Any) -> list[Any]:
    """For each file its reason, or its square."""
    def task(path: Path) -> dict[str, Any]:
        return {
            "do": "prepare", "path": str(path), "frame": None, "known": stamp(str(path)), "size": 24,
            "fit": "pad", "value_range": None,
        }

    found = answers(paths, task, limits=Limits(**limits))
    return [answer.reason if isinstance(answer, ImageError) else answer[1] for answer in found]


@pytest.mark.parametrize(("comment", "said"), [
    ("leave", "exit code 3"), ("segfault", "SIGSEGV"), ("killed", "SIGKILL")
])
def test_a_crash_of_a_decoder_costs_one_image(hole: None, tmp_path: Path, comment: str, said: str) -> None:
    paths = [jpeg(tmp_path / "in" / f"{n:02d}.jpg", comment if n in (0, 7, 19) else "") for n in range(20)]
    ids = [path.name for path in paths]
    table = ImageTable.of({"id": ids, "path": [str(path) for path in paths]})
    filled, store = fill(table, tmp_path / "pixels", size=24, fit="pad")
    assert filled.rejects["image"].tolist() == ["00.jpg", "07.jpg", "19.jpg"]
    assert set(filled.rejects["reason"]) == {"crashed"}
    assert filled.rejects["sentence"].str.contains(said, regex=False).all()
    for number in set(range(20)) - {0, 7, 19}:
        assert np.array_equal(store[store.rows([ids[number]])][0], np.asarray(Image.open(paths[number])))


def test_only_images_that_crash_and_it_still_ends(hole: None, tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", "segfault") for n in range(5)]
    assert prepared(paths) == ["crashed"] * 5


def test_a_decoder_that_dies_once_is_tried_again(hole: None, tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", "once" if n == 2 else "") for n in range(5)]
    assert all(isinstance(answer, np.ndarray) for answer in prepared(paths))
    assert (tmp_path / "once").exists()


def test_a_decoder_that_never_ends_is_stopped(hole: None, tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", "endless" if n == 1 else "") for n in range(4)]
    found = prepared(paths, seconds=0.2)
    assert found[1] == "too_slow"
    assert sum(isinstance(answer, np.ndarray) for answer in found) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
def test_a_decoder_that_takes_more_memory_than_it_may_is_refused(hole: None, tmp_path: Path) -> None:
    paths = [jpeg(tmp_path / f"{n}.jpg", "memory" if n == 1 else "") for n in range(4)]
    found = prepared(paths, memory=500_000_000)
    assert found[1] == "too_large"
    assert sum(isinstance(answer, np.ndarray) for answer in found) == 3


def test_a_fault_of_ours_costs_one_image_and_names_its_place(tmp_path: Path) -> None:
    wrong = {"do": "size_of", "file": str(jpeg(tmp_path / "a.jpg"))}
    (answer,) = answers([0], lambda _: wrong)
    assert isinstance(answer, ImageError)
    assert answer.reason == "failed"
    assert "TypeError in nursery.py, line" in answer.sentence


def bomb(size: int) -> bytes:
    """A real deflated DICOM file, of which the data set is ``size`` zeros."""
    whole = Path(str(get_testdata_file("image_dfl.dcm", download=False))).read_bytes()
    start = 144 + struct.unpack_from("<I", whole, 140)[0]
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    # After a full flush the bytes do not depend on what was before, so they can be repeated.
    block = deflater.compress(bytes(50_000_000)) + deflater.flush(zlib.Z_FULL_FLUSH)
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(block * 2, 200) == bytes(200)
    return whole[:start] + block * (size // 50_000_000) + deflater.flush()


def test_a_deflate_bomb_meets_its_limit_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "bomb.dcm").write_bytes(bomb(1_300_000_000))
    assert (tmp_path / "bomb.dcm").stat().st_size < 1_500_000
    good = jpeg(tmp_path / "good.jpg")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = prepared([tmp_path / "bomb.dcm", good])
    assert found[0] == "too_large"
    assert isinstance(found[1], np.ndarray)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
def test_what_passes_the_first_check_meets_the_limit_of_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.dcm").write_bytes(bomb(600_000_000))
    found = prepared([tmp_path / "bomb.dcm", jpeg(tmp_path / "good.jpg")], memory=400_000_000)
    assert found[0] == "too_large"
    assert isinstance(found[1], np.ndarray)


def test_no_items_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "cores", lambda: 0)
    assert list(answers([], lambda _: {})) == []


def test_answers_come_in_order_on_many_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "cores", lambda: 5)
    sides = np.random.default_rng(0).integers(8, 300, 60)
    paths = [tmp_path / f"{n}.png" for n in range(60)]
    for path, side in zip(paths, sides, strict=True):
        Image.new("L", (int(side), 9)).save(path)
    found = answers(paths, lambda path: {"do": "size_of", "path": str(path), "frame": None})
    assert [answer[0]["width"] for answer in found if isinstance(answer, tuple)] == sides.tolist()


def test_who_stops_listening_leaves_no_process_behind(tmp_path: Path) -> None:
    jpeg(tmp_path / "a.jpg")
    task = {"do": "size_of", "path": str(tmp_path / "a.jpg"), "frame": None}
    found = answers([0] * 50, lambda _: task)
    next(found)
    crew = found.gi_frame.f_locals["crew"]  # type: ignore[attr-defined]
    numbers = [worker.number for worker in crew.workers]
    found.close()
    assert numbers
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_processes_go_when_ours_is_killed_and_a_plain_script_can_use_them(tmp_path: Path) -> None:
    """A script without ``if __name__ == "__main__"``, as people write them."""
    jpeg(tmp_path / "a.jpg")
    (tmp_path / "script.py").write_text(
        "import sys, time; from hundredfold.data import sandbox\n"
        "task = {'do': 'size_of', 'path': sys.argv[1], 'frame': None}\n"
        "found = sandbox.answers([0] * 100, lambda _: task); print(next(found)[0], flush=True)\n"
        "print(sandbox._Nursery._here.process.pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "a.jpg")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "{'width': 24, 'height': 24}\n"
    nursery = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(200):
        try:
            os.kill(nursery, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("the nursery outlived the process that started it")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which sockets there are")
def test_a_process_forked_from_ours_keeps_no_decoder_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the workers of a data loader are, which hold every socket that ours holds."""
    monkeypatch.setattr(sandbox._Nursery, "_here", None)
    task = {"do": "size_of", "path": str(jpeg(tmp_path / "a.jpg")), "frame": None}
    found = answers([0] * 50, lambda _: task)
    assert isinstance(next(found), tuple)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    other = subprocess.Popen(command, pass_fds=sockets())
    try:
        found.close()
        nursery = sandbox._Nursery._here
        assert nursery is not None
        nursery.close()
        assert nursery.process.poll() == 0
    finally:
        other.kill()
        other.wait()


def sockets() -> list[int]:
    """The open sockets of this process."""
    found = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return [int(fd.name) for fd in found if str(fd.readlink()).startswith("socket:")]


@pytest.mark.parametrize("message", [
    b"no message of ours", HEAD.pack(2, 4) + b"{}abcd", HEAD.pack(1, 0) + b"{", HEAD.pack(3, 2**31) + b"{}",
    HEAD.pack(37, 8) + b'{"shape": [1], "dtype": "|O"}        ' + bytes(8),
    HEAD.pack(37, 8) + b'{"shape": [9], "dtype": "<f8"}       ' + bytes(8),
])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(message)
        theirs.close()
        with pytest.raises((ConnectionError, ValueError, KeyError, TypeError)):
            receive(ours)


@pytest.mark.parametrize("shape", [(3, 5), (2, 2, 3)])
def test_pixels_go_through_a_channel_unchanged(shape: tuple[int, ...]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for dtype in (np.uint8, np.float32):
            pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
            send(theirs, {"width": 3, "note": "größe"}, pixels)
            facts, got = receive(ours)
            assert facts["note"] == "größe"
            assert got is not None
            assert got.dtype == dtype
            assert np.array_equal(got, pixels)


def test_the_memory_of_a_worker_is_given_back(tmp_path: Path) -> None:
    """A worker decodes thousands of images: none of them may leave anything behind."""
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    found = prepared([tmp_path / "a.png"] * 20, memory=60_000_000)
    assert all(isinstance(answer, np.ndarray) for answer in found)
