"""Planted collapses are named in time, a healthy run is not, and the measures are those of their papers."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.neighbours import knn_balanced_accuracy
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.monitor import Alarms, Pulse, look, rankme
from hundredfold.ssl.pool import Pool
from hundredfold.ssl.watch import Watch, is_watched, sample_size

PROTOTYPES = 64
Alarmed = Callable[..., list[str]]


@pytest.fixture
def alarms_of(train: Callable[..., Encoder]) -> Alarmed:
    """``alarms_of(out, **settings)``: the alarms of a real training of 200 steps."""

    def trained(out: Path, **changes: object) -> list[str]:
        small = {
            "prototypes": PROTOTYPES, "head_hidden": 64, "head_bottleneck": 64, "monitor_every": 10,
            "checkpoint_minutes": 20.0, "epochs": 40,
        }
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            train(out, **{**small, **changes})
        alarms: list[str] = RunDirectory.open(out).state["pretrain"]["alarms"]
        assert [str(warning.message) for warning in caught] == alarms
        return alarms

    return trained


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


#: A centre that never moves is no centring at all; a quick teacher makes it fast.
UNCENTRED = {"centring": "ema", "centre_momentum": 1 - 1e-12}
QUICK = {"momentum": 0.9, "learning_rate": 0.02}
#: Nothing but the missing centre is out of the ordinary; each target is spread over many prototypes.
WARM = {"teacher_temperature": 0.07, "teacher_temperature_end": 0.07}


@pytest.mark.parametrize(
    ("planted", "sign", "remedy"),
    [
        ({"teacher_temperature": 1.0, "teacher_temperature_end": 1.0}, "uniform", "--teacher-temperature"),
        ({**UNCENTRED, **QUICK}, "share the same prototypes", "--centring sinkhorn"),
        ({**UNCENTRED, **WARM}, "share the same prototypes", "--centring sinkhorn"),
        ({"learning_rate": 100.0, "momentum": 0.9}, "RankMe", "--learning-rate"),
    ],
    ids=["too hot", "not centred", "not centred, mildly", "too fast"],
)
def test_a_planted_collapse_is_named_within_200_steps_with_the_remedy(
    alarms_of: Alarmed, tmp_path: Path, planted: dict[str, object], sign: str, remedy: str
) -> None:
    said = alarms_of(tmp_path, **planted)
    assert any(sign in sentence and remedy in sentence for sentence in said), said
    assert all(int(sentence.split()[1].rstrip(":")) < 200 for sentence in said)


def test_a_training_that_diverges_is_named(alarms_of: Alarmed, tmp_path: Path) -> None:
    """Without clipping, at a rate that does not fall: a student that knows nothing has a loss of log k."""
    wild = {"learning_rate": 100.0, "learning_rate_end": 100.0, "warmup": 0.2, "clip": 0.0, "momentum": 0.9}
    said = alarms_of(tmp_path, **wild, epochs=80)
    assert np.mean([known["loss"] for known in rows(tmp_path)[-100:]]) > 1.1 * np.log(PROTOTYPES)
    assert any("diverges" in sentence and "--learning-rate" in sentence for sentence in said), said


def test_a_healthy_run_raises_none_and_tells_its_start(
    alarms_of: Alarmed, pool: Pool, tmp_path: Path
) -> None:
    assert alarms_of(tmp_path) == []
    measured = {row["step"]: row for row in rows(tmp_path) if "rankme" in row}
    assert list(measured) == [0, *range(24, 200, 25)]
    assert all(row["watch_seconds"] > 0 for row in measured.values())
    torch.manual_seed(0)
    initial = create_backbone("test_efficientnet.r160_in1k", weights="none")
    expected = Watch.of(pool, size=32, count=128)(initial)
    for key in ("rankme", "knn_balanced_accuracy"):
        assert measured[0][key] == pytest.approx(expected[key])


def test_watching_changes_neither_weights_nor_buffers_nor_the_dice(pool: Pool) -> None:
    torch.manual_seed(0)
    dino = DINO(create_backbone("resnet10t", weights="none", drop_path=0.1), PretrainSettings.of(
        images=Path(), out=Path(), prototypes=8, head_hidden=8, head_bottleneck=8))
    modes = [module.training for module in dino.modules()]
    before = {key: value.clone() for key, value in dino.state_dict().items()}
    dice = torch.get_rng_state()
    watch = Watch.of(pool, size=32, count=30)
    assert len(watch.rows) == 30
    assert watch(dino.teacher.backbone).keys() == {
        "rankme", "knn_images", "knn_balanced_accuracy", "watch_seconds",
    }
    assert all(torch.equal(value, before[key]) for key, value in dino.state_dict().items())
    assert [module.training for module in dino.modules()] == modes
    assert torch.equal(torch.get_rng_state(), dice)


def test_the_sample_takes_labelled_images_first_and_few_labels_give_no_knn(pool: Pool) -> None:
    frame = pool.images.frame.copy()
    frame.loc[10:, "label"] = None
    images = type(pool.images)(frame)
    watch = Watch.of(Pool(images, pool.pixels), size=32, count=12)
    assert sum(label is not None for label in watch.labels) == 10
    backbone = create_backbone("resnet10t", weights="none")
    found = watch(backbone)
    assert found.keys() == {"rankme", "watch_seconds"}
    assert 1 <= found["rankme"] <= 12
    # of one class every neighbour is right, whatever the encoder: that is no accuracy
    one = type(pool.images)(pool.images.frame.assign(label="lymphocyte"))
    assert "knn_images" not in Watch.of(Pool(one, pool.pixels), size=32, count=30)(backbone)


@pytest.mark.parametrize("column", ["sha256", "cluster", "group"])
def test_copies_of_an_image_cast_no_vote_on_it(pool: Pool, column: str) -> None:
    """Pairs with labels drawn at random, each pair of one label: only a copy could tell it."""
    frame = pool.images.frame.copy()
    row = pool.rows[np.arange(40) // 2 * 2]
    frame["label"] = np.random.default_rng(0).permutation(np.repeat(["a", "b"], 10)).repeat(2)
    frame[column] = [f"pair {number // 2}" for number in range(40)]
    twins = Pool(type(pool.images)(frame), pool.pixels)
    twins.rows = row
    watch = Watch.of(twins, size=32, count=40)
    assert sorted(np.unique(watch.pieces, return_counts=True)[1]) == [2] * 20
    vectors = np.eye(20)[np.arange(40) // 2] + 0.1
    found = knn_balanced_accuracy(vectors, watch.labels.astype(str), watch.pieces, k=1)
    assert found < 0.8 < knn_balanced_accuracy(vectors, watch.labels.astype(str), k=1)
    assert watch(create_backbone("resnet10t", weights="none"))["knn_balanced_accuracy"] < 0.8


def test_patients_who_both_have_a_black_frame_vote_on_each_other(pool: Pool) -> None:
    frame = pool.images.frame.copy()
    frame["group"] = [f"patient {number % 4}" for number in range(len(frame))]
    frame.loc[frame.index[:4], ["sha256", "note"]] = "black", "constant"
    watch = Watch.of(Pool(type(pool.images)(frame), pool.pixels), size=32, count=len(frame))
    assert len(set(watch.pieces)) == 4


@pytest.mark.parametrize("steps", [1, 5, 8, 100, 985])
def test_the_end_is_always_watched_and_no_more_than_eight_moments(steps: int) -> None:
    moments = [step for step in range(steps) if is_watched(step, steps)]
    assert moments[-1] == steps - 1
    assert len(moments) == min(steps, 8)


def test_measuring_is_a_fiftieth_of_the_work() -> None:
    shape = {"image_size": 80, "local_size": 40, "local_crops": 4, "watched_size": 112}
    counted = 0
    for steps in (200, 400, 800, 10_000):
        count = sample_size(steps, 64, **shape)
        passes = 9 * count * (112 / 80) ** 2
        step = 64 * (2 * 1 + 2 * 3 + 4 * 3 / 4)  # teacher; student, with backward; local crops are quarters
        assert passes <= 0.0201 * steps * step
        counted += count < 1000
    assert counted >= 2


def test_rankme_is_that_of_the_paper() -> None:
    features = np.random.default_rng(0).normal(size=(60, 12)) * np.logspace(0, -3, 12)
    values = np.linalg.svd(features, compute_uv=False)
    share = values / np.abs(values).sum() + 1e-7
    expected = np.exp(-(share * np.log(share)).sum())
    assert rankme(torch.from_numpy(features)) == pytest.approx(expected, rel=1e-4)
    assert rankme(torch.eye(7)) == pytest.approx(7, rel=1e-3)
    assert rankme(torch.ones(7, 5)) == pytest.approx(1, rel=1e-3)
    assert rankme(torch.zeros(7, 5)) < 1.01


def outputs(student: torch.Tensor, targets: torch.Tensor, features: torch.Tensor) -> Outputs:
    return Outputs(torch.tensor(0.0), student, student[:2], targets, features)


def test_all_that_is_measured_is_in_the_progress_line() -> None:
    pulse = Pulse()
    pulse.take(row(0, rankme=20.0, knn_balanced_accuracy=0.5, agreement=0.1, images_per_second=60.0))
    pulse.take(row(50, rankme=31.0, knn_balanced_accuracy=0.625, agreement=0.4, images_per_second=64.0))
    assert pulse.facts() == {
        "loss": "5.00", "images/s": "64", "kNN": "0.625 (start 0.500)", "RankMe": "31 (start 20)",
        "teacher entropy": "3.00 of 6.90", "agreement": "0.40", "spread": "0.50",
    }


def test_agreement_is_the_accuracy_at_the_other_view() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(3, 50, 4, generator=generator)
    targets = torch.softmax(torch.randn(2, 50, 4, generator=generator), -1)
    found = look(outputs(student, targets, torch.randn(50, 6, generator=generator)), 0.1)
    expected = np.mean([
        accuracy_score(targets[1 - view].argmax(-1), student[view].argmax(-1)) for view in (0, 1)
    ])
    assert float(found["agreement"]) == pytest.approx(float(expected))


def test_the_spread_is_0_for_a_point_and_1_for_opposites() -> None:
    student, targets = torch.zeros(2, 4, 3), torch.full((2, 4, 3), 1 / 3)
    point, cross = torch.ones(4, 2), torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert float(look(outputs(student, targets, point), 0.1)["spread"]) == pytest.approx(0, abs=1e-3)
    assert float(look(outputs(student, targets, cross), 0.1)["spread"]) == pytest.approx(1)


def row(step: int, **changes: float) -> dict[str, float]:
    fair = {"loss": 5.0, "teacher_entropy": 3.0, "marginal_entropy": 5.0, "max_entropy": 6.9, "spread": 0.5}
    return {"step": step, **fair, **changes}


@pytest.mark.parametrize(
    ("collapse", "word"),
    [
        ({"teacher_entropy": 6.85, "marginal_entropy": 6.88}, "uniform"),
        ({"teacher_entropy": 0.05, "marginal_entropy": 0.1}, "same prototypes"),
        ({"teacher_entropy": 4.5, "marginal_entropy": 4.7}, "same prototypes"),
        ({"spread": 0.0}, "same features"),
    ],
)
@pytest.mark.parametrize("start", [0, 301])
def test_a_collapse_is_named_once_and_within_200_steps(
    collapse: dict[str, float], word: str, start: int
) -> None:
    alarms = Alarms()
    steps = range(0, start + 400, 50)
    found = {s: text for s in steps if (text := alarms.check(row(s, **(collapse if s >= start else {}))))}
    assert len(found) == 1
    assert min(found) <= start + 200
    assert word in found[min(found)]


def ranks(*measured: float) -> dict[int, str]:
    """The alarms of a run with a fair batch at every look, and these effective ranks of the encoder."""
    alarms = Alarms()
    rows = [row(25 * place, rankme=value) for place, value in enumerate(measured)]
    return {known["step"]: text for known in rows if (text := alarms.check(known)) is not None}


def test_an_encoder_that_tells_no_image_from_another_is_named_though_the_batch_is_spread() -> None:
    found = ranks(21, 7, 1.0, 1.1, 1.0, 1.0)
    assert list(found) == [75], "the second time that it is seen, and never again"
    assert "RankMe" in found[75]
    assert "1.1" in found[75]


@pytest.mark.parametrize(
    "healthy",
    [(21, 4.0, 3.4, 3.7, 4.9), (21, 1.9, 3.0, 1.9, 3.0), (2.8, 1.9, 1.8, 1.7), (1.2, 1.2, 1.3, 5.0)],
    ids=["the least seen", "for a moment", "of three images", "from a flat start"],
)
def test_a_rank_that_falls_a_little_or_for_a_moment_is_no_alarm(healthy: tuple[float, ...]) -> None:
    assert ranks(*healthy) == {}


def losses(alarms: Alarms, curve: list[float]) -> dict[int, str]:
    """Rows as a run writes them: the loss at each step, the rest every 50 steps."""
    told = {}
    for step, loss in enumerate(curve):
        known = row(step, loss=loss) if step % 50 == 0 else {"step": step, "loss": loss}
        if (text := alarms.check(known)) is not None:
            told[step] = text
    return told


def test_a_loss_that_rises_for_good_is_named_and_one_that_falls_is_not() -> None:
    noise = np.random.default_rng(0).normal(size=600) * 0.3
    assert losses(Alarms(), list(np.linspace(6.9, 3, 600) + noise)) == {}
    bump = np.full(600, 4.0) + np.where((np.arange(600) > 200) & (np.arange(600) < 280), 2, 0)
    assert losses(Alarms(), list(bump + noise)) == {}
    broken = np.concatenate([np.linspace(6.9, 4, 250), np.full(350, 6.5)])
    found = losses(Alarms(), list(broken + noise))
    assert list(found) == [min(found)]
    assert 250 < min(found) <= 450 + 50
    assert "diverges" in found[min(found)]


def test_larger_crops_and_a_rising_temperature_are_no_divergence() -> None:
    """The first raises the loss at the switch, the second through the entropy of the target."""
    switched = [3.0] * 300 + [4.2] * 300
    assert "diverges" in next(iter(losses(Alarms(), switched).values()))
    assert losses(Alarms(restart=300), switched) == {}
    assert list(losses(Alarms(restart=300), [*switched, *[5.5] * 300])) == [800]
    alarms = Alarms()
    for step in range(0, 600, 10):
        warmth = min(step / 300, 1)
        assert alarms.check(row(step, loss=4 + 1.2 * warmth, teacher_entropy=1 + 1.2 * warmth)) is None


def test_the_alarms_know_the_step_at_which_the_crops_grow(
    train: Callable[..., Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, restarts = Alarms.check, set()

    def noted(self: Alarms, known: dict[str, float]) -> str | None:
        restarts.add(self.restart)
        return check(self, known)

    monkeypatch.setattr(Alarms, "check", noted)
    train(tmp_path, curriculum=0.5, epochs=1)
    assert restarts == {2}


def test_a_resume_that_reads_the_rows_again_raises_nothing_twice() -> None:
    first = Alarms()
    whole = [row(step, spread=0.0) for step in range(0, 400, 10)]
    assert sum(first.check(known) is not None for known in whole) == 1
    again = Alarms()
    for known in whole[:20]:
        again.check(known)
    assert again.raised == first.raised
    assert not any(again.check(known) for known in whole[20:])
