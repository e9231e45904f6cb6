"""Zip and tar archives as folders: the same images under the same names, and what is wrong with them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from hundredfold.data import archive as archive_module
from hundredfold.data.archive import Archive, Origin
from hundredfold.data.elsewhere import supply_of
from hundredfold.data.labels import LabelSet
from hundredfold.data.part import read_part
from hundredfold.data.pixels import fill
from hundredfold.data.rows import read_rows
from hundredfold.data.source import Found, find, find_images
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.errors import ImageError, InputError, RunExistsError, TableError

AWKWARD = ("a b.png", "größe/ü.png", "line\nend.png", 'comma,quote".png', "hash#1.png", "日本.png", "r\r.png")


def png(seed: int, side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that a folder may hold: awkward names, frames, a damaged file, things passed over."""
    root = tmp_path / "images"
    for number, name in enumerate((*AWKWARD, ".hidden.png", "__MACOSX/._a.png", "run/figures/curve.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(number))
    (root / "cut.png").write_bytes(png(3)[:-20])
    (root / "empty.png").touch()
    for name in ("labels.csv", "run/run.json", "more.zip", "0001.cls"):
        (root / name).write_text("{}")
    clip = str(get_testdata_file("examples_ybr_color.dcm", download=False))
    shutil.copy(clip, root / "clip")
    shutil.copy(str(get_testdata_file("CT_small.dcm", download=False)), root / "one.dcm")
    return root


def packed(folder: Path, kind: str) -> Path:
    """The folder as an archive, by Python's own writers."""
    target = folder.parent / f"packed.{kind}"
    if kind.startswith("zip"):
        method = {"zip": zipfile.ZIP_DEFLATED, "zip0": zipfile.ZIP_STORED, "zip12": zipfile.ZIP_BZIP2}[kind]
        with zipfile.ZipFile(target, "w", method) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
        return target
    mode = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}[kind]
    with tarfile.open(target, mode) as file:  # type: ignore[call-overload]
        file.add(folder, ".")
    return target


def filled(found: Found, folder: Path) -> tuple[ImageTable, PixelStore]:
    return fill(found.table, folder, size=16, fit="pad", supply=found.supply)


@pytest.mark.parametrize("kind", ["zip", "zip0", "zip12", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_is_the_folder_that_was_packed(folder: Path, tmp_path: Path, kind: str) -> None:
    """Ids, groups, problems, notes, pixels: nothing but the path tells that a folder was packed."""
    plain = find(folder)
    from_archive = find(packed(folder, kind))
    assert from_archive.ignored.keys() == plain.ignored.keys()
    assert from_archive.named == plain.named
    table, store = filled(plain, tmp_path / "pixels")
    other, other_store = filled(from_archive, tmp_path / "others")
    pd.testing.assert_frame_equal(other.frame.drop(columns="path"), table.frame.drop(columns="path"))
    assert np.array_equal(other_store.array, store.array)
    assert set(table.rejects["reason"]) == {"truncated", "empty"}
    assert len(store) == len(AWKWARD) + 30 + 1


def test_every_path_names_its_archive_and_its_member(folder: Path) -> None:
    archive = packed(folder, "zip")
    frame = find_images(archive).frame.set_index("id")
    assert frame.loc["größe/ü.png", "path"] == f"{archive}/größe/ü.png"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_folder_of_an_archive_can_be_named(folder: Path, kind: str) -> None:
    """Finder and Explorer put the folder itself into the archive: its name can be taken off the ids."""
    archive = packed(folder, kind)
    assert find_images(archive / "größe").ids.tolist() == ["ü.png"]
    with pytest.raises(InputError, match=r"has no folder 'gross' .* lie in .*'größe'"):
        find_images(archive / "gross")


def test_a_folder_that_was_packed_itself_is_told_of(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(folder, "images")
    assert find_images(tmp_path / "a.tar").ids[0].startswith("images/")
    assert f"{tmp_path / 'a.tar'}/images in place of the archive" in capsys.readouterr().err
    assert find_images(tmp_path / "a.tar" / "images").ids.tolist() == find_images(folder).ids.tolist()
    assert "in place of" not in capsys.readouterr().err


def test_nothing_is_unpacked_onto_a_disk_but_what_is_compressed_as_a_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(archive_module.tempfile, "tempdir", str(tmp_path / "tmp"))
    for kind in ("zip", "tar"):
        find(packed(folder, kind))
    assert list((tmp_path / "tmp").iterdir()) == []
    found = find(packed(folder, "tar.gz"))
    assert [path.name for path in (tmp_path / "tmp").glob("*/*")] == ["unpacked.tar"]
    assert "can be read in order only" in capsys.readouterr().err
    del found
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_other_programs_pack_is_read(tmp_path: Path) -> None:
    """GNU tar with long names, and links."""
    long = "/".join(["a" * 90, "b" * 90, "c.png"])
    (tmp_path / "in" / long).parent.mkdir(parents=True)
    (tmp_path / "in" / long).write_bytes(png(0))
    os.link(tmp_path / "in" / long, tmp_path / "in" / "hard.png")
    (tmp_path / "in" / "soft.png").symlink_to(long)
    for form in ("gnu", "pax"):
        command = ["tar", f"--format={form}", "-cf", tmp_path / f"{form}.tar", "-C", tmp_path / "in", "."]
        subprocess.run(command, check=True)
        assert find_images(tmp_path / f"{form}.tar").ids.tolist() == find_images(tmp_path / "in").ids.tolist()


def tarred(path: Path, *members: tuple[str, bytes], links: tuple[tuple[str, str, bytes], ...] = ()) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.linkname, info.type = target, kind
            file.addfile(info)
    return path


def zipped(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


PACKERS = pytest.mark.parametrize("pack", [tarred, zipped])


@PACKERS
def test_a_name_that_leads_out_of_the_archive_is_rejected(
    tmp_path: Path, pack: Callable[..., Path]
) -> None:
    names = ("../up.png", "/etc/root.png", "a/../../b.png", "C:/windows.png")
    path = pack(tmp_path / "archive", ("good.png", png(0)), *((name, png(1)) for name in names))
    table = find_images(path)
    assert table.usable.ids.tolist() == ["good.png"]
    assert table.rejects["image"].tolist() == sorted(names)
    assert set(table.rejects["reason"]) == {"bad_name"}


@PACKERS
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_rejected(tmp_path: Path, pack: Callable[..., Path]) -> None:
    """Nobody can say which is meant."""
    path = pack(
        tmp_path / "archive", ("a.png", png(0)), ("b.png", png(1)), ("./a.png", png(2)), ("a.png", png(3))
    )
    table = find_images(path)
    assert table.usable.ids.tolist() == ["b.png"]
    assert table.rejects.to_numpy().tolist() == [
        ["a.png", "bad_name", "several members of the archive have this name; keep one"]
    ]


def test_links_in_a_tar_are_followed_within_it_only(tmp_path: Path) -> None:
    path = tarred(
        tmp_path / "a.tar", ("a/one.png", png(0)), links=(
            ("b/two.png", "../a/one.png", tarfile.SYMTYPE), ("three.png", "b/two.png", tarfile.SYMTYPE),
            ("four.png", "a/one.png", tarfile.LNKTYPE), ("passwd", "/etc/passwd", tarfile.SYMTYPE),
            ("up.png", "../../secret.png", tarfile.SYMTYPE), ("loop.png", "loop.png", tarfile.SYMTYPE),
            ("folder", "a", tarfile.SYMTYPE), ("pipe", "", tarfile.FIFOTYPE),
        ),
    )
    found = find(path)
    assert found.table.ids.tolist() == ["a/one.png", "b/two.png", "four.png", "three.png"]
    assert found.ignored == {"links to nothing in the archive": 4, "devices and pipes": 1}
    _, store = filled(found, tmp_path / "pixels")
    assert all(np.array_equal(image, store.array[0]) for image in store.array)


def test_a_member_without_a_name_is_rejected(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("x", png(0)), ("b.png", png(1)))
    data = path.read_bytes()
    first, listed = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    raw = bytearray(data)
    struct.pack_into("<H", raw, listed + 28, 0)
    del raw[listed + 46]
    struct.pack_into("<I", raw, end - 1 + 12, end - 1 - listed)
    path.write_bytes(raw)
    assert first == 0
    table = find_images(path)
    assert table.rejects[["image", "reason"]].to_numpy().tolist() == [["(no name)", "bad_name"]]
    assert table.usable.ids.tolist() == ["b.png"]


def test_links_in_a_zip_are_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", png(0))
        link = zipfile.ZipInfo("link.png")
        link.external_attr, link.create_system = 0o120777 << 16, 3
        file.writestr(link, "/etc/passwd")
    found = find(tmp_path / "a.zip")
    assert (found.table.ids.tolist(), found.ignored) == (["a.png"], {"links": 1})


def test_an_encrypted_member_is_rejected(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.png", png(0)), ("b.png", png(1)))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the first member's flag in the list
    path.write_bytes(data)
    assert find_images(path).rejects.to_numpy().tolist() == [
        ["a.png", "encrypted", "the member is encrypted; pack it without a password"]
    ]


def test_a_method_that_is_not_read_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.png", png(0))
    (row,) = find_images(tmp_path / "a.zip").rejects.to_numpy().tolist()
    assert row == ["a.png", "unsupported", "the member is packed with LZMA; pack it with Deflate"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_an_archive_that_is_cut_short_is_refused(folder: Path, kind: str, share: float) -> None:
    path = packed(folder, kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="cut short"):
        find(path)


def test_a_tar_cut_between_two_members_is_refused(tmp_path: Path) -> None:
    """Python's own reader takes that for the end."""
    path = tarred(tmp_path / "a.tar", ("a.png", png(0)), ("b.png", png(1)))
    with tarfile.open(path) as file:
        second = file.getmembers()[1].offset
    whole = path.read_bytes()
    for end in (second, second + 200):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="cut short"):
            find(path)


def test_two_tars_joined_are_refused_not_halved(tmp_path: Path) -> None:
    first = tarred(tmp_path / "a.tar", ("a.png", png(0))).read_bytes()
    second = tarred(tmp_path / "b.tar", ("b.png", png(1))).read_bytes()
    (tmp_path / "both.tar").write_bytes(first + second)
    with pytest.raises(InputError, match=r"goes on behind its end.*tar --concatenate"):
        find(tmp_path / "both.tar")


def test_bytes_damaged_in_a_zip_cost_one_image(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.png", png(0)), ("b.png", png(1)))
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    table, _ = filled(find(path), tmp_path / "pixels")
    assert table.rejects[["image", "reason"]].to_numpy().tolist() == [["a.png", "corrupt"]]


def bomb(path: Path, claimed: int, size: int = 50_000_000) -> Path:
    """A zip of a member that inflates to ``size`` zeros and claims to hold ``claimed`` bytes."""
    zipped(path, ("bomb.png", bytes(size)), ("good.png", png(0)))
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", data, data.index(magic) + offset, claimed)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("claimed", "reason"), [(1000, "corrupt"), (2_000_000_000, "too_large")])
def test_a_zip_bomb_costs_one_image(tmp_path: Path, claimed: int, reason: str) -> None:
    table, _ = filled(find(bomb(tmp_path / "a.zip", claimed)), tmp_path / "pixels")
    assert table.rejects[["image", "reason"]].to_numpy().tolist() == [["bomb.png", reason]]
    assert table.usable.ids.tolist() == ["good.png"]


def test_members_that_share_their_bytes_are_rejected(tmp_path: Path) -> None:
    """As in the bombs that list one member thousands of times over."""
    path = zipped(tmp_path / "a.zip", ("a.png", png(0)), ("b.png", png(1)), ("c.png", png(2)))
    data = bytearray(path.read_bytes())
    listed = data.index(b"PK\1\2")
    struct.pack_into("<I", data, listed + 20, 40_000)  # the first member reaches into the next
    path.write_bytes(data)
    rejects = find_images(path).rejects
    assert rejects[["image", "reason"]].to_numpy().tolist() == [["a.png", "corrupt"]]


def test_a_compressed_tar_that_is_a_bomb_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MOST_BYTES", 10_000_000)
    path = tarred(tmp_path / "a.tar", ("a.png", bytes(30_000_000)))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="over 200 times as large"):
        find(tmp_path / "a.tar.gz")


def test_a_name_of_a_tar_that_takes_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x" * 2_000_000)
    data = info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(InputError, match="cut short or damaged"):
        find(tmp_path / "a.tar")


def test_a_tar_whose_sizes_lead_backwards_ends(tmp_path: Path) -> None:
    """Some versions of Python read it for ever (CVE-2025-8194)."""
    first = tarfile.TarInfo("a.png")
    first.pax_headers = {"size": "-1536"}
    data = first.tobuf(tarfile.PAX_FORMAT) + bytes(512)
    (tmp_path / "a.tar").write_bytes(data + tarfile.TarInfo("b.png").tobuf() + bytes(1024))
    with pytest.raises(InputError, match="cut short or damaged"):
        find(tmp_path / "a.tar")


@pytest.mark.parametrize(("data", "said"), [
    (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is 7z"), (b"Rar!\x1a\7" + bytes(600), "is RAR"),
    (gzip.compress(b"no tar" * 200, mtime=0), "no tar"), (bz2.compress(b"?" * 900), "no tar"),
    (lzma.compress(b"")[:20], "cut short"), (b"\x1f\x8b nothing", "cut short"),
    (b"PK\3\4 nothing", "cut short"), (b"", "bytes that are none"), (b"<html>" * 100, "bytes that are none"),
])
def test_what_is_no_archive_that_can_be_read_says_what_to_do(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "images.zip").write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        find(tmp_path / "images.zip")
    assert caught.value.remedy


def test_archives_in_an_archive_are_counted_and_not_opened(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", ("b.png", png(1))).read_bytes()
    found = find(zipped(tmp_path / "a.zip", ("a.png", png(0)), ("more/inner.zip", inner), ("x.tgz", b"")))
    assert found.table.ids.tolist() == ["a.png"]
    assert found.ignored == {"archives (not opened)": 2}


def test_an_archive_with_nothing_but_archives_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found none but 1 archives \(not opened\).*Give an archive itself"):
        find(zipped(tmp_path / "a.zip", ("inner.zip", b"")))


def test_names_packed_on_other_systems(tmp_path: Path) -> None:
    """macOS writes UTF-8 and does not say so; old programs of Windows write backslashes and code page 437."""
    path = zipped(tmp_path / "a.zip", ("gr??sse.png", png(0)), ("sub?ue.png", png(1)), ("?.png", png(2)))
    data = path.read_bytes()
    for before, after in ((b"gr??sse", "größe".encode()), (b"sub?ue", b"sub\\ue"), (b"?.png", b"\x81.png")):
        data = data.replace(before, after)
    raw = bytearray(data)
    place = -1
    while (place := raw.find(b"PK\1\2", place + 1)) >= 0:
        raw[place + 5] = 0  # made by DOS
    path.write_bytes(raw)
    found = find(path)
    assert found.table.ids.tolist() == ["größe.png", "sub/ue.png", "ü.png"]
    assert not len(filled(found, tmp_path / "pixels")[0].rejects)


def test_a_name_of_a_tar_that_is_not_utf8_is_rejected_not_lost(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", ("good.png", png(0)), ("caf?.png", png(1)))
    data = path.read_bytes().replace(b"caf?", b"caf\xe9")
    start = data.index(b"caf\xe9")
    header = bytearray(data[start : start + 512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(data[:start] + bytes(header) + data[start + 512 :])
    rejects = find_images(path).rejects
    assert rejects[["image", "reason"]].to_numpy().tolist() == [["caf\\xe9.png", "bad_name"]]


CONTENTS = [png(0), png(1), bytes(3000), b""]


@given(
    st.sampled_from(["zip", "tar"]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    st.floats(0, 1) | st.just(1.0),
)
@settings(max_examples=150, deadline=None)
def test_whatever_bytes_an_archive_has_it_gives_images_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[float, int]], kept: float
) -> None:
    """A zip has check sums: what it gives is what was packed, or nothing."""
    path = tmp_path_factory.mktemp("fuzzed") / "archive"
    (zipped if kind == "zip" else tarred)(path, *((f"{n}.png", data) for n, data in enumerate(CONTENTS)))
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(data[: int(len(data) * kept)])
    try:
        archive = Archive(Origin.of(path))
    except InputError:
        return
    for member in archive.members.named.values():
        if member.problem is None:
            try:
                read = read_part(str(path), member.part)
            except ImageError:
                continue
            assert read in CONTENTS or kind == "tar"


def store_of(path: Path, folder: Path) -> tuple[ImageTable, list[int]]:
    told: list[int] = []
    found = find(path)
    table, _ = fill(
        found.table, folder, size=16, fit="pad", supply=found.supply, tell=lambda *counts: told.extend(counts)
    )
    return table, told


def test_images_added_to_a_zip_are_all_that_is_decoded(tmp_path: Path) -> None:
    """A member is known by its check sum and size, so the others are as they were."""
    path = zipped(tmp_path / "a.zip", ("a.png", png(0)), ("b.png", png(1)))
    assert store_of(path, tmp_path / "pixels")[1] == [2, 0]
    assert store_of(path, tmp_path / "pixels")[1] == [0, 2]
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("c.png", png(2))
    assert store_of(path, tmp_path / "pixels")[1] == [1, 2]


def test_a_member_of_a_zip_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.png", png(0)), ("b.png", png(1)))
    store_of(path, tmp_path / "pixels")
    zipped(path, ("a.png", png(0)), ("b.png", png(7)))
    with pytest.raises(RunExistsError, match=r"1 changed since, b\.png among"):
        store_of(path, tmp_path / "pixels")


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_that_was_changed_is_another(tmp_path: Path, kind: str) -> None:
    """Its dates may all be the same, and there are no check sums: any change counts."""
    def pack(seed: int) -> Path:
        plain = tarred(tmp_path / "plain", ("a.png", png(seed)), ("b.png", png(1)))
        data = plain.read_bytes()
        (tmp_path / f"a.{kind}").write_bytes(gzip.compress(data) if kind == "tar.gz" else data)
        return tmp_path / f"a.{kind}"

    store_of(pack(0), tmp_path / "pixels")
    assert store_of(tmp_path / f"a.{kind}", tmp_path / "pixels")[1] == [0, 2]
    with pytest.raises(RunExistsError, match="2 changed since"):
        store_of(pack(9), tmp_path / "pixels")


@PACKERS
def test_an_archive_that_changes_meanwhile_gives_no_wrong_image(
    tmp_path: Path, pack: Callable[..., Path]
) -> None:
    """Case 44, in an archive; and what was rejected for it is tried again."""
    path = pack(tmp_path / "archive", ("a.png", png(0)), ("b.png", png(1)))
    found = find(path)
    pack(path, ("b.png", png(8)), ("c.png", png(9)))
    os.utime(path, (1, 1))
    table, _ = filled(found, tmp_path / "pixels")
    assert set(table.rejects["reason"]) == {"changed"}
    assert len(table.rejects) == 2
    pack(path, ("a.png", png(0)), ("b.png", png(1)))
    table, told = store_of(path, tmp_path / "pixels")
    assert (len(table.rejects), told[0]) == (0, 2)


def test_a_zip_of_many_members_is_listed_without_reading_them(tmp_path: Path) -> None:
    """The list is at the end; nothing else of the file is looked at."""
    path = zipped(tmp_path / "a.zip", *((f"{n}.png", b"") for n in range(2000)))
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
    data = path.read_bytes()
    path.write_bytes(b"PK\3\4" + bytes(start - 4) + data[start:])
    assert len(find_images(path)) == 2000


SET = (
    ("a/1.jpg", png(0)), ("a/1.cls", b"3\n"), ("a/1.json", b'{"label": "blast", "group": 7, "box": [1]}'),
    ("a/2.jpg", png(1)), ("a/2.json", '{"Label": "größer", "group": "p8"}'.encode()),
    ("a/3.jpg", png(2)), ("a/3.mask.png", png(3)), ("a/3.txt", b"monocyte"), ("a/4.jpg", png(4)),
    ("a/README.txt", b"not beside an image"),
)


@PACKERS
def test_labels_beside_the_images_are_read_where_the_archive_is_named(
    tmp_path: Path, pack: Callable[..., Path]
) -> None:
    path = pack(tmp_path / "set", *SET)
    table = find_images(path)
    assert table.ids.tolist() == ["a/1.jpg", "a/2.jpg", "a/3.jpg", "a/3.mask.png", "a/4.jpg"]
    assert not table.labelled.any()
    frame = LabelSet.read(path, table).apply(table).frame[["label", "group"]].fillna("")
    assert frame["label"].tolist() == ["3", "größer", "monocyte", "monocyte", ""]
    assert frame["group"].tolist() == ["7", "p8", "", "", ""]
    inside = find_images(path / "a")
    assert LabelSet.read(path / "a", inside).apply(inside).classes == ["3", "größer", "monocyte"]


@PACKERS
def test_shards_are_one_folder(tmp_path: Path, pack: Callable[..., Path]) -> None:
    for number in range(3):
        names = (f"{number}{letter}" for letter in "ab")
        images = [(f"{name}.png", png(ord(name[1]) + number)) for name in names]
        labels = [(f"{number}{letter}.cls", b"x") for letter in "ab"]
        last = ("same.png" if number else "only.png", png(number))
        pack(tmp_path / f"set-{number:02d}", *images, *labels, last)
    shards = tmp_path / "set-{00..02}"
    found = find(shards)
    ids = [f"{number}{letter}.png" for number in range(3) for letter in "ab"]
    assert found.table.ids.tolist() == [*ids, "only.png", "same.png"]
    assert found.ignored == {"other files": 6}
    table, store = filled(found, tmp_path / "pixels")
    assert table.rejects[["image", "reason"]].to_numpy().tolist() == [["same.png", "bad_name"]]
    _, others = filled(find(tmp_path / "set-01"), tmp_path / "one")
    for image in ("1a.png", "1b.png"):
        assert np.array_equal(store[store.rows([image])], others[others.rows([image])])
    assert LabelSet.read(shards, table).apply(table).labelled.sum() == 6
    supply = supply_of(table.usable.frame["path"].tolist())
    paths = table.usable.frame["path"].tolist()
    assert [supply.stamp(path) for path in paths] == [found.supply.stamp(path) for path in paths]
    with pytest.raises(InputError, match=r"expected 4 archives, found 3 .*set-03"):
        find(tmp_path / "set-{00..03}")
    with pytest.raises(InputError, match="expected a range like"):
        find(tmp_path / "set-{5..2}")
    with pytest.raises(InputError, match="found nothing there"):
        find(tmp_path / "other-{5..5}")


@pytest.mark.parametrize(("name", "data", "said"), [
    ("1.json", b"[1]", "no JSON object"), ("1.json", b'{"a":' * 50_000, "no JSON object"),
    ("1.txt", b"A cell with\ntwo nuclei", "no name of a class"), ("1.cls", b"\xff\xfe", "no UTF-8 text"),
    ("1.cls", bytes(2_000_000), "2,000,000 bytes"), ("2.cls", b"0", r"no \.cls, \.json or \.txt beside"),
])
def test_labels_that_are_none_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tarred(tmp_path / "set.tar", ("1.png", png(0)), (name, data))
    with pytest.raises(TableError, match=said):
        read_rows(path, required=("image", "label"))


def test_labels_whose_names_agree_up_to_the_first_dot_are_refused(tmp_path: Path) -> None:
    """Names of DICOM files are full of dots; each image had the label of the last one."""
    members = (("1.2.840.1.png", png(0)), ("1.2.840.1.txt", b"a"), ("1.2.840.2.png", png(1)),
               ("1.2.840.2.txt", b"b"))
    with pytest.raises(TableError, match=r"one \.txt beside an image, found 2 .*1\.2\.840\.2\.txt"):
        read_rows(tarred(tmp_path / "set.tar", *members), required=("image", "label"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_labels_of_one_name_beside_an_image_are_refused(tmp_path: Path) -> None:
    """As two images of one name are: nobody can say which is meant."""
    path = zipped(tmp_path / "set.zip", ("1.png", png(0)), ("1.cls", b"a"), ("1.cls", b"b"))
    with pytest.raises(TableError, match="several members of the archive have this name"):
        read_rows(path, required=("image", "label"))
