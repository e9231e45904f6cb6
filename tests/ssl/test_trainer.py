"""The loop: what is seen, how long it lasts, and that it warns in time."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.data.store import PixelStore
from hundredfold.encode.encoder import Encoder
from hundredfold.errors import InputError, TrainingError
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.batches import BatchOrder, ViewBatches
from hundredfold.ssl.curriculum import Curriculum
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.pretraining import Pool, pretrain_encoder
from hundredfold.views.multicrop import MultiCrop

Train = Callable[..., Encoder]
Stop = Callable[[pytest.MonkeyPatch, int], None]
Rows = Callable[[Path], list[dict[str, Any]]]


def state(encoder: Encoder) -> dict[str, torch.Tensor]:
    return encoder.backbone.state_dict()


def test_workers_do_not_change_the_result(train: Train, tmp_path: Path) -> None:
    alone = train(tmp_path / "alone", epochs=0.6, workers=0)
    helped = train(tmp_path / "helped", epochs=0.6, workers=2)
    assert all(torch.equal(value, state(helped)[key]) for key, value in state(alone).items())


def test_a_fault_in_a_worker_is_told_as_if_there_were_none(pool: Pool, tmp_path: Path) -> None:
    """A GPU's default are workers, and torch makes a traceback of what goes wrong in them."""
    shutil.copytree(pool.pixels.folder, tmp_path / "pixels")
    broken = Pool(pool.images, PixelStore.open(tmp_path / "pixels"))
    path = tmp_path / "pixels" / "pixels.npy"
    path.write_bytes(path.read_bytes()[:50_000])
    views = MultiCrop("microscopy", image_size=16, local_size=8, local_crops=0)
    batches = ViewBatches(broken, BatchOrder(len(pool), 8, 0), Curriculum(views, views))
    told = []
    for workers in (0, 1):
        with pytest.raises(InputError, match="the pixel store is damaged") as found:
            next(batches.steps(0, 5, workers=workers))
        told.append((str(found.value), found.value.where, found.value.remedy))
    assert told[0] == told[1]


def test_a_frozen_backbone_stays_as_it_is_to_the_statistics_of_its_batchnorm(
    train: Train, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    given = create_backbone("test_efficientnet.r160_in1k", weights="none").state_dict()
    frozen = state(train(tmp_path / "frozen", epochs=1, freeze_backbone=1))
    freed = state(train(tmp_path / "freed", epochs=1, freeze_backbone=0.5))
    moved = {key for key, value in given.items() if not torch.equal(value, freed[key])}
    assert sum("running_var" in key for key in moved) > 5
    assert all(torch.equal(value, frozen[key]) for key, value in given.items())


def test_numbers_read_from_the_device_now_and_then_are_the_same(
    train: Train, rows: Rows, tmp_path: Path
) -> None:
    """As on a GPU: the host looks at every fourth step, and where it must."""
    each = train(tmp_path / "each", monitor_every=7, checkpoint_minutes=10)
    seldom = train(tmp_path / "seldom", monitor_every=7, checkpoint_minutes=10, log_every=4)
    assert all(torch.equal(value, state(seldom)[key]) for key, value in state(each).items())
    clock = {"seconds", "images_per_second", "watch_seconds"}
    found, expected = (
        [{k: v for k, v in row.items() if k not in clock} for row in rows(tmp_path / name)]
        for name in ("seldom", "each")
    )
    assert found == expected
    assert all(row["seconds"] > 0 for row in rows(tmp_path / "seldom"))


@pytest.mark.parametrize("log_every", [1, 3, 50])
def test_a_loss_that_breaks_is_found_with_its_step_and_no_checkpoint_follows(
    train: Train, rows: Rows, pool: Pool, tmp_path: Path, *, monkeypatch: pytest.MonkeyPatch, log_every: int
) -> None:
    forward, seen = DINO.forward, [0]

    def broken(self: DINO, *given: object) -> Outputs:
        outputs = forward(self, *given)  # type: ignore[arg-type]
        seen[0] += 1
        return outputs._replace(loss=outputs.loss * (float("nan") if seen[0] == 6 else 1))

    monkeypatch.setattr(DINO, "forward", broken)
    rare = {"monitor_every": 100, "checkpoint_minutes": 10.0, "log_every": log_every}
    batch = [pool.images.ids[row] for row in BatchOrder(len(pool), 8, 0).rows(5)]
    with pytest.raises(TrainingError, match=r"the loss is nan at step 5 \(" + ", ".join(batch)):
        train(tmp_path, epochs=3, **rare)
    assert [row["step"] for row in rows(tmp_path)] == [0, 1, 2, 3, 4]
    assert all(path.name <= "step-00000005" for path in (tmp_path / "checkpoints").glob("step-*"))


def test_minutes_fix_the_steps_before_the_first_one(train: Train, rows: Rows, tmp_path: Path) -> None:
    train(tmp_path, epochs=None, minutes=0.05)
    plan = RunDirectory.open(tmp_path).state["pretrain"]
    assert plan["steps"] == len(rows(tmp_path)) > 1
    assert plan["epochs"] == plan["steps"] / 5


def test_one_image_is_not_enough(train: Train, pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 images to pre-train on, found 1"):
        train(tmp_path, on=Pool(pool.images.select(pool.images.ids == pool.images.ids[0]), pool.pixels))


def test_the_encoder_knows_what_it_has_seen(train: Train, pool: Pool, tmp_path: Path) -> None:
    encoder = train(tmp_path, epochs=0.2)
    assert encoder.seen == frozenset(pool.images.frame["sha256"])
    assert encoder.provenance["steps"] == 1


def test_every_image_is_seen_once_an_epoch_in_another_order() -> None:
    order = BatchOrder(images=12, batch_size=4, seed=0)
    epochs = [[row for step in range(3 * e, 3 * e + 3) for row in order.rows(step)] for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    other = BatchOrder(images=12, batch_size=4, seed=1)
    assert list(order.rows(0)) != list(other.rows(0))
    assert list(order.rows(5)) == list(order.rows(5))


def test_an_alarm_is_kept_by_a_resume_and_not_raised_again(
    train: Train, stop_at: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = {"teacher_temperature": 10.0, "teacher_temperature_end": 10.0, "epochs": 36}  # uniform throughout
    warned = pytest.warns(UserWarning, match="uniform collapse")
    with monkeypatch.context() as patched, warned, pytest.raises(KeyboardInterrupt):
        stop_at(patched, 165)
        train(tmp_path / "run", **hot)
    run = RunDirectory.open(tmp_path / "run")
    alarms = run.state["pretrain"]["alarms"]  # noted when they come: a report of what is there tells them
    assert f"Warning: {alarms[-1]}." in (run / "log.txt").read_text()
    train(tmp_path / "run", resume=True, **hot)  # a warning would be an error
    assert run.state["pretrain"]["alarms"] == alarms
    assert (run / "log.txt").read_text().count(alarms[-1]) == 1
    told = [json.loads(line)["alarms"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert told == [0] * 150 + [1] * 30  # the loggers get these numbers, too
    few, uniform = alarms
    assert "180 steps are few" in few
    assert "step 150: the teacher says nothing" in uniform


def test_too_few_steps_are_warned_of(
    train: Train, tiny: dict[str, Any], pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    initial = Encoder(
        create_backbone(str(tiny["backbone"]), weights="none"), size=32, value_range=None, fit="pad",
        provenance={}, seen=frozenset(),
    )
    initial.save(tmp_path / "initial")
    backbone = create_backbone(str(tiny["backbone"]), weights=str(tmp_path / "initial"))
    settings = PretrainSettings.of(images=tmp_path, out=tmp_path, **{**tiny, "epochs": 1})
    run = RunDirectory.create(tmp_path / "run")
    pretrain_encoder(backbone, pool, settings, run, seed=0, resume=False)
    assert "Warning: 5 steps of 40 images are few" in capsys.readouterr().err
    assert "worse than its initial weights" in run.state["pretrain"]["alarms"][0]
    train(tmp_path / "random")
    assert "learned next to nothing" in capsys.readouterr().err
    train(tmp_path / "long", epochs=40, monitor_every=1000)
    assert "are few" not in capsys.readouterr().err
