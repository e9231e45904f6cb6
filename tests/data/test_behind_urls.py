"""Images, tables, archives, predictors and predictions behind URLs: in memory, and on a real S3 server."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pandas as pd
import pytest
import yaml
from moto.server import ThreadedMotoServer
from pydicom.data import get_testdata_file

import hundredfold
from hundredfold import url as url_module
from hundredfold.config import EmbedSettings, ScanSettings
from hundredfold.data.ahead import AHEAD, ahead
from hundredfold.data.elsewhere import supply_of
from hundredfold.data.labels import LabelSet
from hundredfold.data.pixels import fill
from hundredfold.data.source import find, find_images
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, ModelFileError, RunExistsError, SettingsError, TableError
from hundredfold.rundir import RunDirectory
from hundredfold.url import Url, fetched_folder, place, storage, without_secrets

SECRET = "planted-secret-0123456789"

LABELS = "image,label\n" + "".join(f"a b/{number}.png,{'xy'[number // 20]}\n" for number in range(1, 40, 2))


def png(seed: int, side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them, on this machine."""
    root = tmp_path / "cells"
    for number in range(40):
        path = root / ("a b" if number % 2 else "größe") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (root / "a b" / "cut.png").write_bytes(png(1)[:-20])
    (root / ".hidden.png").write_bytes(png(2))
    (root / "page.dcm").write_text("<html>")
    for name in ("examples_ybr_color.dcm", "CT_small.dcm"):
        (root / name).write_bytes(Path(str(get_testdata_file(name, download=False))).read_bytes())
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real S3 server on this machine."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    before = dict(os.environ)
    os.environ.update({
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "planted-key-id-0123456789",
        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
    })
    storage.cache_clear()
    yield f"http://{host}:{port}"
    running.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="werkzeug")


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Url]:
    """An empty bucket of each kind."""
    if request.param == "s3":
        request.getfixturevalue("server")
    files, root = storage(request.param), f"bucket-{os.getpid()}"
    files.makedirs(f"{request.param}://{root}", exist_ok=True)
    yield Url(f"{request.param}://{root}")
    files.rm(f"{request.param}://{root}", recursive=True)


def uploaded(folder: Path, url: Url) -> Url:
    for path in folder.rglob("*"):
        if path.is_file():
            storage(url.protocol).pipe_file(url / path.relative_to(folder).as_posix(), path.read_bytes())
    return url


def same(url: Url, path: Path, tmp_path: Path) -> ImageTable:
    """What is behind the URL and what is in the folder, which must be the same."""
    far, near = find(url), find(path)
    assert far.ignored == near.ignored
    kept = [fill(f.table, tmp_path / f"pixels-{n}", size=16, fit="pad", supply=f.supply)
            for n, f in enumerate((far, near))]
    (table, store), (other, other_store) = kept
    pd.testing.assert_frame_equal(table.frame.drop(columns="path"), other.frame.drop(columns="path"))
    assert np.array_equal(store.array, other_store.array)
    return table


def test_a_folder_behind_a_url_is_the_folder(
    folder: Path, bucket: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, files = Counter[str](), storage(bucket.protocol)
    given = files.cat_file

    def counted(path: str, **kwargs: Any) -> bytes:
        asked[path] += 1
        return bytes(given(path, **kwargs))

    monkeypatch.setattr(files, "cat_file", counted)
    table = same(uploaded(folder, bucket / "cells"), folder, tmp_path)
    assert len(asked) == 44
    assert set(asked.values()) == {1}, "a file is fetched once, though it is looked at three times"
    assert set(table.rejects["reason"]) == {"truncated", "not_dicom"}
    assert len(table) == 40 + 2 + 30 + 1
    assert table.frame["path"].str.startswith(f"{bucket}/cells/").all()


@pytest.mark.parametrize(("kind", "bucket"), [
    ("zip", "s3"), ("zip", "memory"), ("tar", "memory"), ("tar.gz", "s3"),
], indirect=["bucket"])
def test_an_archive_behind_a_url_is_the_folder(folder: Path, bucket: Url, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cells.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in folder.rglob("*"):
                zipped.write(file, file.relative_to(folder.parent))
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.add(folder, "cells")
    storage(bucket.protocol).pipe_file(bucket / path.name, path.read_bytes())
    same(bucket / path.name / "cells", folder, tmp_path)


def test_labels_and_tables_are_read_behind_a_url(folder: Path, bucket: Url) -> None:
    uploaded(folder, bucket / "cells")
    files = storage(bucket.protocol)
    files.pipe_file(bucket / "labels.csv", b"image,label\na b/1.png,x\n" + "größe/2.png,y\n".encode())
    table = find_images(bucket / "cells")
    assert LabelSet.read(bucket / "labels.csv", table).apply(table).labelled.sum() == 2
    whole = f"image,label\ncells/a b/1.png,x\n{bucket}/cells/./größe/2.png,y\n../up.png,x\ngone.png,y\n"
    files.pipe_file(bucket / "list.csv", whole.encode())
    frame = pd.DataFrame({"image": ["cells/a b/1.png"], "label": ["x"]})
    frame.to_parquet(buffer := io.BytesIO())
    files.pipe_file(bucket / "list.parquet", buffer.getvalue())
    listed = find_images(bucket / "list.csv")
    assert listed.usable.ids.tolist() == ["cells/a b/1.png", "cells/größe/2.png"]
    assert set(listed.rejects["reason"]) == {"no_file"}
    assert listed.classes == ["x", "y"]
    assert find_images(bucket / "list.parquet").ids.tolist() == ["cells/a b/1.png"]


def test_a_table_here_may_not_list_urls(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image\ns3://bucket/a.png\n")
    with pytest.raises(TableError, match="Put the table beside the images and give its URL"):
        find(tmp_path / "list.csv")


@pytest.mark.parametrize("bucket", ["memory"], indirect=True)
def test_what_is_not_there_is_named(bucket: Url) -> None:
    with pytest.raises(InputError, match="found nothing there"):
        find(bucket / "imagse")
    storage(bucket.protocol).pipe_file(bucket / "note", b"x")
    with pytest.raises(InputError, match="found another file"):
        find(bucket / "note")
    storage(bucket.protocol).pipe_file(bucket / "images.zip", b"<html>")
    with pytest.raises(InputError, match="found bytes that are none"):
        find(bucket / "images.zip")


def test_only_what_changed_is_decoded_again(bucket: Url, tmp_path: Path) -> None:
    """An ETag or a date stands for the time of change of a file."""
    files, told = storage(bucket.protocol), list[int]()
    for number in range(3):
        files.pipe_file(bucket / f"in/{number}.png", png(number))

    def scan() -> None:
        found = find(bucket / "in")
        fill(found.table, tmp_path / "pixels", size=16, fit="pad", supply=found.supply,
             tell=lambda *counts: told.extend(counts))

    scan()
    scan()
    files.pipe_file(bucket / "in/3.png", png(3))
    scan()
    assert told == [3, 0, 0, 3, 1, 3]
    files.pipe_file(bucket / "in/1.png", png(9))
    with pytest.raises(RunExistsError, match=r"1 changed since, 1\.png among them"):
        scan()


def test_a_file_that_changes_or_goes_meanwhile_is_rejected(bucket: Url, tmp_path: Path) -> None:
    """Case 44."""
    files = storage(bucket.protocol)
    for number in range(4):
        files.pipe_file(bucket / f"in/{number}.png", png(number))
    found = find(bucket / "in")
    files.pipe_file(bucket / "in/1.png", png(9))
    files.rm(bucket / "in/2.png")
    table, _ = fill(found.table, tmp_path / "pixels", size=16, fit="pad", supply=found.supply)
    rejects = table.rejects[["image", "reason"]].to_numpy().tolist()
    assert rejects == [["1.png", "changed"], ["2.png", "no_file"]]


@pytest.mark.parametrize("bucket", ["memory"], indirect=True)
def test_a_failing_connection_stops_the_run_and_blames_no_image(
    bucket: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded before is kept, and the next call goes on from there."""
    files = storage(bucket.protocol)
    for number in range(220):  # far more than are on their way at once
        files.pipe_file(bucket / f"in/{number:03d}.png", png(number))
    found, told = find(bucket / "in"), list[int]()
    given = files.cat_file

    def failing(path: str, **kwargs: Any) -> bytes:
        if path.endswith("200.png"):
            raise ConnectionResetError("https://me:pw@host/200.png?X-Amz-Signature=abc reset")
        return bytes(given(path, **kwargs))

    monkeypatch.setattr(files, "cat_file", failing)
    with pytest.raises(InputError, match="the storage does not answer as it should") as caught:
        fill(found.table, tmp_path / "pixels", size=16, fit="pad", supply=found.supply)
    assert "pw@" not in str(caught.value)
    assert "Signature" not in str(caught.value)
    monkeypatch.undo()
    table, _ = fill(found.table, tmp_path / "pixels", size=16, fit="pad", supply=found.supply,
                    tell=lambda *counts: told.extend(counts))
    assert not len(table.rejects)
    assert 1 <= told[0] < 220


def test_a_storage_that_tells_only_sizes_is_never_believed_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_module, "TAGS", ())
    storage("memory").pipe_file("memory://plain/a.png", png(0))
    found = find(Url("memory://plain"))
    assert found.supply.stamp("memory://plain/a.png") != found.supply.stamp("memory://plain/a.png")
    storage("memory").rm("memory://plain", recursive=True)


def test_files_come_ahead_and_never_all_at_once() -> None:
    """While one is asked for, the next are fetched; no more than a few lie ready."""
    begun, lock = list[int](), threading.Lock()

    def fetch(number: int) -> tuple[str, bytes, dict[str, Any]]:
        with lock:
            begun.append(number)
        return f"{number}.png", bytes([number % 256]), {}

    with ahead(1000, fetch) as ready:
        for number in range(100):
            told = ready(number)
            assert Path(told["path"]).read_bytes() == bytes([number])
            assert told["path"].endswith(".png")
            assert max(begun) < number + AHEAD
        assert len(begun) > 100
        again = ready(50)
        assert Path(again["path"]).exists()
    assert not Path(again["path"]).exists()
    assert len(begun) < 200


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_scan_behind_a_url_keeps_no_key(folder: Path, bucket: Url, tmp_path: Path) -> None:
    """Keys come from the environment; what a run writes and says holds none of them."""
    uploaded(folder, bucket / "cells")
    storage(bucket.protocol).pipe_file(bucket / "labels.csv", LABELS.encode())
    run = hundredfold.scan(bucket / "cells", labels=bucket / "labels.csv", out=tmp_path / "run", max_bad=0.5)
    noted = yaml.safe_load((run / "config.yaml").read_text())["scan"]
    assert noted["images"] == f"{bucket}/cells"
    assert noted["labels"] == f"{bucket}/labels.csv"
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    for secret in (SECRET, "planted-key-id-0123456789"):
        assert secret.encode() not in written
    table = ImageTable.read(run / "images.parquet")
    paths = table.usable.frame["path"].tolist()
    kept = pd.read_parquet(run / "pixels" / "images.parquet").set_index("id")["stamp"]
    supply = supply_of(paths)
    assert [supply.stamp(path) for path in paths] == kept.loc[table.usable.ids].tolist()
    again = hundredfold.scan(
        bucket / "cells", labels=bucket / "labels.csv", out=tmp_path / "run", max_bad=0.5, resume=True
    )
    assert again.done("scan")


@pytest.mark.parametrize("given", [
    f"s3://{SECRET}:{SECRET}@bucket/in", f"s3://bucket/in?X-Amz-Security-Token={SECRET}",
    f"https://me:{SECRET}@host/a.zip", f"https://host/a.zip?sig={SECRET}", f"az://c/in?{SECRET}",
])
def test_a_url_with_a_key_is_refused_before_anything_is_written(tmp_path: Path, given: str) -> None:
    for call in (
        lambda: hundredfold.scan(given, out=tmp_path / "run"),
        lambda: hundredfold.scan(Path(given), out=tmp_path / "run"),
        lambda: hundredfold.embed("in", encoder=given, out=tmp_path / "run"),
        lambda: hundredfold.predict("in", predictor=given, out=tmp_path / "p.csv"),
        lambda: hundredfold.scan("in", out=given),
    ):
        with pytest.raises(SettingsError) as caught:
            call()
        assert SECRET not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_stays_on_this_machine() -> None:
    with pytest.raises(SettingsError, match=r"expected a path of this machine, found a URL .*aws s3 cp"):
        ScanSettings.of(images="in", out="s3://bucket/run")
    with pytest.raises(SettingsError, match="Copy it to this machine first"):
        ScanSettings.of(images="in", out="run", pixels="s3://bucket/pixels")


def test_a_setting_takes_paths_and_urls_and_a_file_gives_them_back() -> None:
    settings = EmbedSettings.of(images="s3://bucket/cells/", encoder="thumbnail", out="run")
    assert (settings.images, type(settings.images)) == ("s3://bucket/cells", Url)
    dumped = settings.model_dump(mode="json")
    assert dumped["images"] == "s3://bucket/cells"
    assert EmbedSettings.of(**dumped) == settings
    assert EmbedSettings.of(images="cells", encoder="thumbnail", out="run").images == Path("cells")
    assert not RunDirectory.is_run(settings.images)


def test_a_path_that_was_made_of_a_url_is_one() -> None:
    assert place(Path("s3://bucket/a")) == "s3://bucket/a"
    assert place("file:///tmp/a") == Path("/tmp/a")
    assert place("C:/cells") == Path("C:/cells")
    assert (Url("s3://bucket").parent, Url("s3://bucket/a/b").parent) == ("s3://bucket", "s3://bucket/a")


def test_texts_lose_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=abcdefgh")
    said = without_secrets("403 for https://u:p@h/x?sig=1 with AccountKey=abcdefgh")
    assert said == "403 for https://h/x with …"


def test_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", missing)
    storage.cache_clear()
    for protocol, extra in (("s3", "s3"), ("gs", "gs"), ("abfss", "az")):
        with pytest.raises(InputError, match=rf"needs the package \w+, .*hundredfold\[{extra}\]"):
            find(Url(f"{protocol}://bucket/cells"))
    storage.cache_clear()


def test_no_name_in_a_storage_leads_out_of_the_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = storage("memory")
    files.pipe_file("memory://model/predictor.json", b"{}")
    bad = (f"/{tmp_path}/a", "../b", "x/../../c", "y//d", "e/")
    names = [f"/model/{name}" for name in ("predictor.json", *bad)]
    monkeypatch.setattr(files, "find", lambda _: names)
    with fetched_folder(Url("memory://model"), "predictor.json") as folder:
        assert [path.name for path in folder.rglob("*")] == ["predictor.json"]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    files.rm("memory://model", recursive=True)


def test_a_bucket_that_may_not_be_read_says_so(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise PermissionError(f"Access Denied for key {SECRET}")

    monkeypatch.setattr(storage("s3"), "info", refusing)
    with pytest.raises(InputError, match="Access Denied for key …"):
        find(Url("s3://bucket/cells"))


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_predictor_and_its_predictions_may_be_behind_urls(
    folder: Path, bucket: Url, tmp_path: Path
) -> None:
    """Fitted here, copied there; read from there, and the predictions written there."""
    uploaded(folder, bucket / "cells")
    (tmp_path / "labels.csv").write_text(LABELS)
    hundredfold.embed(bucket / "cells", encoder="thumbnail", out=tmp_path / "emb")
    given: dict[str, Any] = {"labels": tmp_path / "labels.csv", "classifier": "knn"}
    hundredfold.fit(tmp_path / "emb", out=tmp_path / "one", copy_to=bucket / "results", **given)
    with pytest.raises(RunExistsError, match="there is a predictor"):
        hundredfold.fit(tmp_path / "emb", out=tmp_path / "two", copy_to=bucket / "results", **given)
    hundredfold.predict(folder, predictor=tmp_path / "one", out=tmp_path / "near.csv")
    hundredfold.predict(bucket / "cells", predictor=bucket / "results", out=bucket / "far.csv")
    assert storage(bucket.protocol).cat_file(bucket / "far.csv") == (tmp_path / "near.csv").read_bytes()
    with pytest.raises(RunExistsError, match="the output exists"):
        hundredfold.predict(bucket / "cells", predictor=bucket / "results", out=bucket / "far.csv")
    hundredfold.embed(folder, encoder=bucket / "results", out=tmp_path / "again")
    storage(bucket.protocol).pipe_file(bucket / "results/predictor/classifier.skops", b"edited")
    with pytest.raises(ModelFileError):
        hundredfold.predict(bucket / "cells", predictor=bucket / "results", out=bucket / "new.csv")
    with pytest.raises(InputError, match=r"expected a folder with predictor\.json"):
        hundredfold.predict(bucket / "cells", predictor=bucket / "cells", out=bucket / "new.csv")
