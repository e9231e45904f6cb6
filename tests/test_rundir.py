from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hundredfold.config import ScanSettings
from hundredfold.errors import RunExistsError, RunMissingError
from hundredfold.files import atomic_write, hash_file, hash_folder, write_json, write_text
from hundredfold.rundir import RunDirectory


def test_atomic_write_leaves_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target], "the temporary file is gone"


KILLED_BEFORE_RENAME = """
import os, signal, sys
from pathlib import Path
from hundredfold.files import atomic_write
with atomic_write(Path(sys.argv[1])) as path:
    path.write_text("new, but only half of i")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_kill_between_write_and_rename_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    target.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_RENAME, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_text() == "old"
    write_text(target, "newer")
    assert target.read_text() == "newer"


@given(value=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
))
def test_json_round_trip(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.getbasetemp() / "value.json"
    write_json(target, value)
    assert json.loads(target.read_text(encoding="utf-8")) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"loss": [float("-inf")]}])
def test_json_refuses_what_is_no_json(value: object, tmp_path: Path) -> None:
    target = tmp_path / "value.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, value)
    assert not target.exists()


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert hash_file(tmp_path / "a.bin") == hashlib.sha256(b"abc").hexdigest()


def test_folder_hash_sees_names_and_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "a").write_bytes(b"1")
        (folder / "b").write_bytes(b"2")
    assert hash_folder(first) == hash_folder(second)
    (second / "b").write_bytes(b"3")
    assert hash_folder(first) != hash_folder(second)
    (second / "b").rename(second / "c")
    (second / "c").write_bytes(b"2")
    assert hash_folder(first) != hash_folder(second)


def test_folder_hash_ignores_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    before = hash_folder(tmp_path)
    (tmp_path / ".a.123.tmp").write_bytes(b"half")
    assert hash_folder(tmp_path) == before


def test_create_makes_a_run_and_opens_it_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    run = RunDirectory.create(path)
    run.record(images=3)
    again = RunDirectory.create(path)
    assert again.state["images"] == 3
    assert RunDirectory.is_run(path)
    assert {"python", "numpy", "hundredfold"} <= run.state["software"].keys()


def test_create_takes_an_empty_folder(tmp_path: Path) -> None:
    assert RunDirectory.create(tmp_path).state["stages"] == {}


def test_create_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(RunExistsError, match=r"no run directory.*another --out"):
        RunDirectory.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_create_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunExistsError):
        RunDirectory.create(tmp_path / "run")


def test_open_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunMissingError, match=r"no run\.json"):
        RunDirectory.open(tmp_path)


def test_a_damaged_run_json_is_named(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    (tmp_path / "run.json").write_text('{"stages": {')
    with pytest.raises(RunMissingError, match=r"run\.json"):
        _ = run.state


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    run.record(schema_version=99)
    with pytest.raises(RunMissingError, match="99"):
        RunDirectory.open(tmp_path)


def test_require_names_the_verb_that_makes_the_file(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    with pytest.raises(RunMissingError, match=r"no images\.parquet .*hundredfold scan"):
        run.require("images.parquet", made_by="scan")
    (tmp_path / "images.parquet").touch()
    assert run.require("images.parquet", made_by="scan") == tmp_path / "images.parquet"


def test_a_stage_is_refused_twice_and_resumed(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    with run.stage("scan", settings=None, resume=False):
        assert run.state["stages"]["scan"]["status"] == "running"
    assert run.done("scan")
    with (
        pytest.raises(RunExistsError, match=r"scan is already in this run \(status: done\).*--resume.*--out"),
        run.stage("scan", settings=None, resume=False),
    ):
        pytest.fail("the work was done twice")
    with run.stage("embed", settings=None, resume=False):
        pass
    with run.stage("scan", settings=None, resume=True):
        pass
    assert run.done("scan")


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_a_stage_that_ends_early_says_so(
    error: type[BaseException], status: str, tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path)
    with pytest.raises(error), run.stage("pretrain", settings=None, resume=False):
        raise error
    assert run.state["stages"]["pretrain"]["status"] == status
    assert not run.done("pretrain")


def test_the_seconds_of_a_resumed_stage_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 60.0, 100.0, 105.0])
    monkeypatch.setattr("hundredfold.rundir.time.monotonic", lambda: next(clock))
    run = RunDirectory.create(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.stage("pretrain", settings=None, resume=False):
        raise KeyboardInterrupt
    with run.stage("pretrain", settings=None, resume=True):
        pass
    assert run.state["stages"]["pretrain"]["seconds"] == 65.0


def test_resolved_settings_of_every_stage_stand_in_config_yaml(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    settings = ScanSettings.of(images="imäges", out=tmp_path / "run", max_bad=0.5)
    with run.stage("scan", settings=settings, resume=False):
        pass
    noted = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert ScanSettings.of(**noted["scan"]) == settings


def test_record_keeps_what_it_cannot_replace(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    run.record(images=3)
    with pytest.raises(ValueError, match="JSON"):
        run.record(loss=float("nan"))
    assert run.state["images"] == 3
    assert "loss" not in run.state


def test_log_appends_lines_with_the_time(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path)
    run.log("first")
    run.log("zweite Zeile: ü")
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["first", "zweite Zeile: ü"]
    assert lines[0][4] == "-"
    assert lines[0][10] == "T"
