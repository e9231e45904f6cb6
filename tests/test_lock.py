"""Two real processes at one stage: the second is refused; a killed one locks nobody out."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hundredfold.errors import RunBusyError
from hundredfold.lock import alone
from hundredfold.rundir import RunDirectory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

AT_WORK = """
import sys, time
from pathlib import Path
from hundredfold.rundir import RunDirectory
with RunDirectory.open(Path(sys.argv[1])).stage("pretrain", settings=None, resume=True):
    print("at work", flush=True)
    {meanwhile}
"""
WAIT = "sys.stdin.read()"
#: A worker of a DataLoader is a fork, and outlives its killed parent for a while.
FORK = "import os; child = os.fork(); child and print(child, flush=True); time.sleep(60)"


@contextmanager
def at_work(run: RunDirectory, meanwhile: str = WAIT) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the stage pretrain of the run."""
    command = [sys.executable, "-c", AT_WORK.format(meanwhile=meanwhile), str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run")


def files(run: RunDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir()}


@pytest.mark.parametrize("resume", [False, True])
def test_the_second_process_is_told_of_the_first_and_changes_nothing(run: RunDirectory, resume: bool) -> None:
    with at_work(run) as first:
        before = files(run)
        with (
            pytest.raises(RunBusyError, match=rf"on pretrain .*process {first.pid} on .*nothing was changed"),
            run.stage("pretrain", settings=None, resume=resume),
        ):
            pytest.fail("two processes worked on one stage")
        assert files(run) == before


def test_other_stages_go_on_meanwhile(run: RunDirectory) -> None:
    with at_work(run), run.stage("embed", settings=None, resume=False):
        pass
    assert run.done("embed")


def test_whoever_ends_lets_the_next_one_in_and_leaves_no_file(run: RunDirectory) -> None:
    with at_work(run) as first:
        first.communicate("")
        assert first.returncode == 0
        assert [path.name for path in run.path.iterdir()] == ["run.json"]
    with run.stage("pretrain", settings=None, resume=True):
        pass


def test_kill_9_frees_the_stage_at_once_though_the_file_stays(run: RunDirectory) -> None:
    with at_work(run) as first:
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    assert (run / ".pretrain.lock").exists()
    with run.stage("pretrain", settings=None, resume=True):
        pass
    assert not (run / ".pretrain.lock").exists()


def test_a_worker_that_outlives_a_killed_parent_holds_nothing(run: RunDirectory) -> None:
    with at_work(run, FORK) as first:
        assert first.stdout is not None
        worker = int(first.stdout.readline())
        first.kill()
        first.wait()
        try:
            os.kill(worker, 0)  # it lives
            with run.stage("pretrain", settings=None, resume=True):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)
    assert run.done("pretrain")


ADD = """
import sys, time
from pathlib import Path
from hundredfold.errors import RunBusyError
from hundredfold.lock import alone
folder, done = Path(sys.argv[1]), 0
while done < 200:
    try:
        with alone(folder / "lock", "counting"):
            count = int((folder / "count").read_text())
            (folder / "count").write_text(str(count + 1))
            done += 1
    except RunBusyError:
        continue
"""


def test_no_two_get_in_while_the_file_comes_and_goes(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", ADD, str(tmp_path)]
    counting = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in counting] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "600"


def test_a_file_system_without_locks_is_worked_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    with alone(tmp_path / "lock", "scan"), alone(tmp_path / "lock", "scan"):
        pass
    monkeypatch.setattr("hundredfold.lock.fcntl", None)
    with alone(tmp_path / "lock", "scan"):
        assert not (tmp_path / "lock").exists()
