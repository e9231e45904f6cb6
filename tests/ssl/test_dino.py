"""Student and teacher: equal start, averaging, BatchNorm (mistakes 2 and 4), against lightly's EMA."""

import copy

import pytest
import torch
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import update_momentum
from torch import nn

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainChoices
from hundredfold.ssl.dino import DINO
from hundredfold.ssl.head import ProjectionHead
from hundredfold.ssl.optimiser import clip_gradients, create_optimiser, parameter_groups, prepare_step
from hundredfold.ssl.schedules import Schedule

SMALL = {"prototypes": 16, "head_hidden": 32, "head_bottleneck": 8}


def views(images: int = 4, local: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    large = torch.randint(0, 256, (2, images, 32, 32, 3), dtype=torch.uint8, generator=generator)
    small = torch.randint(0, 256, (local, images, 16, 16, 3), dtype=torch.uint8, generator=generator)
    return large, small


@pytest.fixture(params=["resnet10t", "xcit_nano_12_p16_224", "vit_tiny_patch16_224"])
def dino(request: pytest.FixtureRequest) -> DINO:
    torch.manual_seed(0)
    return DINO(create_backbone(request.param, weights="none"), PretrainChoices.of(**SMALL))


def one_step(dino: DINO, momentum: float) -> None:
    optimiser = create_optimiser(dino.student)
    values = Schedule(PretrainChoices.of(freeze_last_layer=0, **SMALL), 10, 256).at(5)
    prepare_step(optimiser, values)
    dino(*views(), 0.04).loss.backward()
    clip_gradients(dino, values, 0.32)
    optimiser.step()
    dino.update_teacher(momentum)


def test_student_and_teacher_start_equal_head_included(dino: DINO) -> None:
    student, teacher = dino.student.state_dict(), dino.teacher.state_dict()
    assert student.keys() == teacher.keys()
    assert any("head" in key for key in student)
    assert all(torch.equal(student[key], teacher[key]) for key in student)


def test_only_the_student_learns_by_descent(dino: DINO) -> None:
    before = copy.deepcopy(dino.teacher.state_dict())
    student = copy.deepcopy(dino.student.state_dict())
    one_step(dino, momentum=1.0)
    assert all(torch.equal(value, before[key]) for key, value in dino.teacher.state_dict().items()
               if value.is_floating_point())
    moved = [key for key, value in dino.student.state_dict().items() if not torch.equal(value, student[key])]
    assert "head.prototypes" in moved
    assert any(key.startswith("backbone") for key in moved)


def test_the_average_is_lightlys_for_every_parameter(dino: DINO) -> None:
    oracle = copy.deepcopy(dino.teacher)
    one_step(dino, momentum=0.9)
    update_momentum(dino.student, oracle, m=0.9)
    for (name, found), expected in zip(dino.teacher.named_parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


def test_running_statistics_are_the_average_of_the_students(dino: DINO) -> None:
    before = {k: v.clone() for k, v in dino.teacher.named_buffers() if "running" in k}
    one_step(dino, momentum=0.75)
    if not any(isinstance(module, nn.BatchNorm2d) for module in dino.teacher.modules()):
        pytest.skip("this backbone has no BatchNorm")
    assert before
    student = dict(dino.student.named_buffers())
    moved = 0
    for name, value in dino.teacher.named_buffers():
        if name in before:
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * student[name])
            moved += not torch.equal(value, before[name])
    assert moved > 0


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_the_teachers_own_forward_never_changes_its_statistics(statistics: str) -> None:
    torch.manual_seed(0)
    settings = PretrainChoices.of(teacher_batchnorm=statistics, **SMALL)
    dino = DINO(create_backbone("resnet10t", weights="none", drop_path=0.5), settings)
    before = {k: v.clone() for k, v in dino.teacher.named_buffers() if v.is_floating_point()}
    first = dino(*views(), 0.04).teacher_logits
    dino.centre.mean.zero_()
    now = dict(dino.teacher.named_buffers())
    assert all(torch.equal(now[name], value) for name, value in before.items())
    torch.testing.assert_close(dino(*views(), 0.04).teacher_logits, first)  # and it drops no paths


def test_batch_statistics_are_used_where_asked_for() -> None:
    torch.manual_seed(0)
    backbone = create_backbone("resnet10t", weights="none")
    logits = [
        DINO(copy.deepcopy(backbone), PretrainChoices.of(teacher_batchnorm=kind, **SMALL))
        .teacher.backbone(backbone.normalise(views()[0][0])) for kind in ("batch", "running")
    ]
    assert not torch.allclose(logits[0], logits[1])


def test_as_many_local_crops_as_asked_for_and_none_is_possible(dino: DINO) -> None:
    for local in (0, 1, 5):
        assert dino(*views(local=local), 0.04).student_logits.shape == (2 + local, 4, 16)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # of lightly's own making
def test_the_head_is_lightlys_given_its_weights() -> None:
    torch.manual_seed(0)
    oracle = DINOProjectionHead(12, 32, 8, 20)
    head = ProjectionHead(12, prototypes=20, hidden=32, bottleneck=8, layers=3)
    linears = [m for m in oracle.layers if isinstance(m, nn.Linear)]
    for ours, theirs in zip([m for m in head.mlp if isinstance(m, nn.Linear)], linears, strict=True):
        ours.load_state_dict(theirs.state_dict())
    weight = next(v for k, v in oracle.last_layer.state_dict().items() if v.shape == (20, 8))
    head.prototypes.data = 3 * weight  # the norm of a prototype does not matter
    points = torch.randn(6, 12)
    torch.testing.assert_close(head(points), oracle(points), rtol=1e-4, atol=1e-5)


def test_the_head_computes_its_cosines_in_float32_under_autocast() -> None:
    head = ProjectionHead(8, prototypes=4, hidden=16, bottleneck=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(torch.randn(3, 8)).dtype == torch.float32


def test_biases_and_norms_do_not_decay() -> None:
    backbone = create_backbone("resnet10t", weights="none")
    decayed, others = parameter_groups(backbone)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim <= 1 for p in others["params"])
    optimiser = create_optimiser(backbone)
    prepare_step(optimiser, Schedule(PretrainChoices.of(weight_decay=0.3), 10, 64).at(0))
    assert [group["weight_decay"] for group in optimiser.param_groups] == [pytest.approx(0.3), 0.0]


def test_frozen_parts_stay_as_they_are() -> None:
    torch.manual_seed(0)
    settings = PretrainChoices.of(freeze_last_layer=1, freeze_backbone=1, **SMALL)
    dino = DINO(create_backbone("resnet10t", weights="none"), settings)
    before = copy.deepcopy(dict(dino.student.named_parameters()))
    optimiser = create_optimiser(dino.student)
    values = Schedule(settings, 10, 64).at(3)
    prepare_step(optimiser, values)
    dino(*views(), 0.04).loss.backward()
    clip_gradients(dino, values, 0.32)
    optimiser.step()
    moved = {name for name, p in dino.student.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith("head.mlp") for name in moved)
