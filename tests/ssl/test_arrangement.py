"""How a step is computed: by a table for every kind of backbone, by hand, or timed; noted and used again."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.encode.encoder import Encoder
from hundredfold.rundir import RunDirectory
from hundredfold.ssl import arrangement, planning, pretraining, timing
from hundredfold.ssl.arrangement import (
    NEVER,
    RULES,
    Arrangement,
    arrange,
    backbone_kind,
    candidates,
    why_arranged,
)
from hundredfold.ssl.arrangement import choose_arrangement as choose
from hundredfold.ssl.pool import Pool
from hundredfold.views.multicrop import MultiCrop

Train = Callable[..., Encoder]
Stop = Callable[[pytest.MonkeyPatch, int], None]
Rows = Callable[[Path], list[dict[str, Any]]]
KINDS = {
    "resnet10t": "convolutional", "test_efficientnet.r160_in1k": "depthwise", "convnext_atto": "depthwise",
    "test_vit.r160_in1k": "transformer", "xcit_nano_12_p16_224": "transformer",
}


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrangement, "has_bfloat16", lambda device: True)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_every_backbone_has_a_kind_and_every_kind_a_rule(name: str, kind: str, bfloat16: None) -> None:
    backbone = create_backbone(name, weights="none")
    assert backbone_kind(backbone) == kind
    for device in ("cpu", "cuda"):
        (rule,) = [rule for rule in RULES if (rule.device, rule.kind) == (device, kind)]
        assert choose(backbone, device, "auto") == rule.arrangement
        assert candidates(backbone, device, "auto")[0] == rule.arrangement
        assert why_arranged(backbone, device, "auto") == rule.why


def test_what_the_user_asks_for_is_taken_and_no_emulated_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = create_backbone("test_vit.r160_in1k", weights="none")
    monkeypatch.setattr(arrangement, "has_bfloat16", lambda device: False)
    assert choose(backbone, "cpu", "auto").precision == "float32"
    assert "no bfloat16" in why_arranged(backbone, "cpu", "auto")
    assert {one.precision for one in candidates(backbone, "cpu", "auto")} == {"float32"}
    assert choose(backbone, "cpu", "bfloat16").precision == "bfloat16"
    assert {one.precision for one in candidates(backbone, "cpu", "bfloat16")} == {"bfloat16"}


@pytest.mark.parametrize(("generation", "own"), [(7, False), (8, True), (9, True)])
def test_a_gpu_that_only_emulates_bfloat16_trains_in_float32(
    monkeypatch: pytest.MonkeyPatch, generation: int, own: bool
) -> None:
    """As torch does on a V100 or T4; the driver's answers are put in its place here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=generation))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)
    assert torch.cuda.is_bf16_supported()
    assert arrangement.has_bfloat16("cuda") is own


@pytest.mark.parametrize("name", ["resnet10t", "test_efficientnet.r160_in1k", "xcit_nano_12_p16_224"])
def test_an_arrangement_changes_no_feature(name: str) -> None:
    torch.manual_seed(0)
    plain = create_backbone(name, weights="none").eval()
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    expected = plain(plain.normalise(images))
    for one in (Arrangement("float32", "contiguous", NEVER), Arrangement("float32", "channels_last", 0)):
        arrange(plain, "cpu", one)
        found = plain.normalise(images)
        assert found.is_contiguous() == (one.memory_format == "contiguous")
        torch.testing.assert_close(plain(found), expected, rtol=1e-3, atol=1e-4)


def test_autotune_takes_the_fastest_notes_it_and_a_resume_follows(
    train: Train, stop_at: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_but_one = iter(range(100, 0, -1))  # the last of the candidates is the fastest
    with monkeypatch.context() as patch:
        patch.setattr(planning, "seconds_a_step", lambda trainer: float(next(slow_but_one)))
        stop_at(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, autotune=True)
    noted = RunDirectory.open(tmp_path).state["pretrain"]
    chosen = str(Arrangement(noted["precision"], noted["memory_format"], noted["fused_from"]))
    assert chosen == list(noted["autotuned"])[-1] == min(noted["autotuned"], key=noted["autotuned"].get)
    why = f"precision {chosen}: the fastest that was timed"
    assert noted["arranged"] == why
    assert f"# pretrain: {why}\n" in (tmp_path / "config.yaml").read_text()
    train(tmp_path, autotune=True, resume=True)  # timing again would choose anew
    again = RunDirectory.open(tmp_path).state["pretrain"]
    assert {**again, "alarms": []} == {**noted, "alarms": []}


def test_autotune_times_real_steps(train: Train, rows: Rows, tmp_path: Path) -> None:
    train(tmp_path, autotune=True, epochs=0.4)
    times = RunDirectory.open(tmp_path).state["pretrain"]["autotuned"]
    assert len(times) >= 2
    assert all(seconds > 0 for seconds in times.values())
    assert len(rows(tmp_path)) == 2


def test_low_resolution_first_and_a_resume_on_either_side_of_the_switch(
    pool: Pool, train: Train, stop_at: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = pretraining.DINO.forward

    def looked(self: pretraining.DINO, large: torch.Tensor, *given: object) -> object:
        sizes.append(large.shape[2])
        return forward(self, large, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(pretraining.DINO, "forward", looked)
    whole = train(tmp_path / "whole", image_size=48, curriculum=0.7)
    assert sizes == [32] * 7 + [48] * 3
    assert whole.size == pretraining.encoder_size(48, pool.pixels.size)
    for step in (3, 9):
        run = tmp_path / f"cut-{step}"
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(KeyboardInterrupt):
                train(run, image_size=48, curriculum=0.7)
        again = train(run, image_size=48, curriculum=0.7, resume=True)
        assert all(
            torch.equal(value, again.backbone.state_dict()[key])
            for key, value in whole.backbone.state_dict().items()
        )


class EnoughError(Exception):
    """A step was timed."""


def test_minutes_count_the_views_where_the_workers_cannot_keep_up(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fast GPU waits for them; else --minutes 60 may be hours."""
    draw, pause = MultiCrop.__call__, 0.05

    def slowly(self: MultiCrop, *given: object) -> object:
        time.sleep(pause)
        return draw(self, *given)  # type: ignore[arg-type]

    def timed(trainer: object, first: int = 0) -> float:
        raise EnoughError(timing.seconds_a_step(trainer, first))  # type: ignore[arg-type]

    monkeypatch.setattr(MultiCrop, "__call__", slowly)
    monkeypatch.setattr(planning, "seconds_a_step", timed)
    with pytest.raises(EnoughError) as found:
        train(tmp_path, epochs=None, minutes=1, workers=2)
    assert found.value.args[0] >= 8 * pause / 2


def test_minutes_count_the_cheaper_steps(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def timed(trainer: object, first: int = 0) -> float:
        asked.append(first)
        return 1.0 if first else 0.25

    monkeypatch.setattr(planning, "seconds_a_step", timed)
    train(tmp_path, epochs=None, minutes=0.05, curriculum=0.5)
    plan = RunDirectory.open(tmp_path).state["pretrain"]
    assert plan["steps"] == int(0.05 * 60 * 0.95 / 0.625)
    assert plan["low_steps"] == round(plan["steps"] / 2)
    assert sorted(asked) == [0, 50]
