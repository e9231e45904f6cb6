"""Every logger gets every step once, also over a resume; each is tried for real, without a network."""

import json
import os
import signal
import struct
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hundredfold.encode.encoder import Encoder
from hundredfold.errors import SettingsError
from hundredfold.ssl import logbook
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.ledger import Ledger
from hundredfold.ssl.logbook import LOGGERS, Logbook, Outcome, check_loggers

Train = Callable[..., Encoder]
STEPS = list(range(10))


def needs(name: str) -> Any:
    packages = logbook._NEEDED[name]
    return pytest.mark.skipif(
        any(find_spec(package) is None for package in packages), reason=f"the extra [{name}] is not installed"
    )


def cut(train: Train, out: Path, monkeypatch: pytest.MonkeyPatch, logger: str) -> None:
    """A run that breaks at step 7 with a checkpoint at step 4, and is resumed: steps 4 to 6 run twice."""
    forward, seen, given = DINO.forward, [0], {"logger": (logger,), "checkpoint_minutes": 20.0}

    def interrupted(self: DINO, *views: object) -> Outputs:
        seen[0] += 1
        if seen[0] == 4:
            os.kill(os.getpid(), signal.SIGINT)
        if seen[0] == 8:
            raise OSError("pulled the plug")
        return forward(self, *views)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(DINO, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(out, **given)
        with pytest.raises(OSError, match="plug"):
            train(out, resume=True, **given)
    assert max(path.name for path in (out / "checkpoints").glob("step-*")) == "step-00000004"
    train(out, resume=True, **given)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(out: Path) -> list[tuple[int, float]]:
    return [(row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in rows(out)]


@needs("tensorboard")
def test_tensorboard_reads_every_step_once(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cut(train, tmp_path, monkeypatch, "tensorboard")
    events = EventAccumulator(str(tmp_path / "logs" / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == losses(tmp_path)
    assert next(event.step for event in events.Scalars("rankme")) == 0
    assert {"spread", "agreement", "teacher_entropy"} <= set(events.Tags()["scalars"])


@needs("mlflow")
def test_mlflow_keeps_every_step_once_in_the_run_directory(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    cut(train, tmp_path, monkeypatch, "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/logs/mlflow/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("hundredfold").experiment_id])
    assert len(found) == 1
    history = client.get_metric_history(found[0].info.run_id, "loss")
    assert sorted((metric.step, metric.value) for metric in history) == losses(tmp_path)
    assert found[0].info.status == "FINISHED"
    assert found[0].data.params["batch_size"] == "8"


@needs("mlflow")
@pytest.mark.parametrize(
    ("outcome", "status"), [("done", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_mlflow_is_told_how_a_call_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, status: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logger = logbook.MLflow(tmp_path, "run", {})
    logger.close(outcome)
    assert logger._client.get_run(logger._run).info.status == status


def records(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The records of a .wandb file: 7 bytes of its own, then LevelDB's log format."""
    place, parts = 7, []
    while place + 7 <= len(data):
        if block - place % block < 7:  # too little room for a header
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            yield b"".join(parts)
            parts = []


@needs("wandb")
def test_weights_and_biases_stays_offline_and_has_every_step_once(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    cut(train, tmp_path, monkeypatch, "wandb")
    assert "Weights & Biases: offline" in capfd.readouterr().err
    found, names, exits = [], set(), set()
    for path in sorted((tmp_path / "logs" / "wandb").rglob("*.wandb")):
        names.add(path.name)
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "exit":
                exits.add(record.exit.exit_code)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                values = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
                found.append((values["_step"], values["loss"]))
    assert found == losses(tmp_path)
    assert exits == {0, 1, 130}
    assert names == {f"run-{(tmp_path / 'logs' / 'wandb' / 'run_id').read_text()}.wandb"}
    told = "".join(path.read_text(errors="ignore") for path in (tmp_path / "logs").rglob("*.json"))
    assert os.uname().nodename not in told


class Memory:
    """A plug-in that keeps what it gets, over calls, as a place elsewhere would."""

    seen: ClassVar[dict[Path, list[int]]] = {}
    outcomes: ClassVar[dict[Path, list[Outcome]]] = {}

    def __init__(self, folder: Path, name: str, facts: object) -> None:
        self.steps, self.folder = self.seen.setdefault(folder, []), folder
        self.closed = False

    def log(self, row: Any) -> None:
        assert not self.closed
        self.steps.append(row["step"])

    def close(self, outcome: Outcome) -> None:
        self.closed = True
        self.outcomes.setdefault(self.folder, []).append(outcome)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(LOGGERS._entries, "memory", Memory)
    return "memory"


def test_a_plug_in_gets_every_step_once_and_learns_how_each_call_ended(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    cut(train, tmp_path, monkeypatch, memory)
    assert Memory.seen[tmp_path / "logs" / memory] == STEPS
    assert Memory.outcomes[tmp_path / "logs" / memory] == ["interrupted", "failed", "done"]
    assert [row["step"] for row in rows(tmp_path)] == STEPS


def test_a_logger_that_comes_late_or_rests_gets_the_rows_before(tmp_path: Path, memory: str) -> None:
    """Three calls: without, with, without, with; the third falls back behind what was logged."""
    for names, start, stop in (((), 0, 3), ((memory,), 3, 6), ((), 4, 8), ((memory,), 7, 10)):
        book = Logbook(names, tmp_path / "run" / "logs", {})
        last = {0: -1, 3: 2, 4: 5, 7: 7}[start]
        book.begin([{"step": step} for step in range(start)], last=last)
        for step in range(start, stop):
            book.log({"step": step})
        book.close("done")
    assert Memory.seen[tmp_path / "run" / "logs" / memory] == STEPS


def test_a_kill_while_rows_go_to_a_logger_loses_none(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six rows come from the device at once, and the process ends at the fourth; step 2 has a checkpoint."""
    path, logs = tmp_path / "metrics.jsonl", tmp_path / "run" / "logs"

    def run(start: int, stop: int) -> None:
        book = Logbook((memory,), logs, {})
        with Ledger(path, start=start, batch_size=8, images=lambda _: [], book=book) as ledger:
            for step in range(start, stop):
                ledger.note({"step": step, "loss": 1.0})
            ledger.settle()

    log = Memory.log

    def killed(self: Memory, row: Any) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt
        log(self, row)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Memory, "log", killed)
        run(0, 6)
    run(2, 10)
    assert Memory.seen[logs / memory] == [row["step"] for row in rows(tmp_path)] == STEPS


def test_without_a_logger_nothing_is_written_besides(train: Train, tmp_path: Path) -> None:
    train(tmp_path)
    assert not (tmp_path / "logs").exists()
    assert [row["step"] for row in rows(tmp_path)] == STEPS


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(logbook._NEEDED, name, ("no_such_package",))
    with pytest.raises(SettingsError, match=rf"needs no_such_package.*pip install 'hundredfold\[{name}\]'"):
        check_loggers([name])


def test_a_misspelt_logger_is_refused_with_the_near_one() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'tensorboard'"):
        check_loggers(["tensorbord"])
    assert {"tensorboard", "wandb", "mlflow"} <= set(LOGGERS)
