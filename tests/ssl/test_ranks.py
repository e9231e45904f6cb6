"""Two processes are one: the same weights as one process, killed, resumed with another number, stopped.

All of it with real processes of torchrun on the CPU (gloo), one thread each.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import hundredfold
import hundredfold.cli
from hundredfold.data.smear import draw_smear
from hundredfold.errors import SettingsError
from hundredfold.ssl.plan import Plan
from hundredfold.ssl.planning import _check_shares
from hundredfold.ssl.syncbatchnorm import PLAIN, synchronise_batchnorm
from hundredfold.ssl.trainer import _stop_signal

JOB = Path(__file__).with_name("ranks_job.py")
STEPS = 50
Stop = Callable[[pytest.MonkeyPatch, int], None]
TINY: dict[str, Any] = {
    "weights": "none", "image_size": 32, "local_crops": 2, "batch_size": 8, "epochs": STEPS / 5,
    "prototypes": 16, "head_hidden": 16, "head_bottleneck": 8, "monitor_every": 10, "clip": 0.02,
    "checkpoint_minutes": 60.0,
}
#: BatchNorm, Sinkhorn and KoLeo; attention and the EMA centre, low resolution first, activations anew
CONVOLUTIONS: dict[str, Any] = {"backbone": "test_efficientnet.r160_in1k", "koleo": 0.1}
ATTENTION: dict[str, Any] = {
    "backbone": "test_vit.r160_in1k", "centring": "ema", "teacher_temperature_end": 0.04, "local_crops": 0,
    "curriculum": 0.5, "gradient_checkpointing": True,
}
RECIPES: dict[str, dict[str, Any]] = {
    "convolutions64": {**TINY, **CONVOLUTIONS, "precision": "float64"},
    "attention64": {**TINY, **ATTENTION, "precision": "float64"},
    "convolutions32": {**TINY, **CONVOLUTIONS, "precision": "float32"},
}


def torchrun(log: Path, *program: str) -> subprocess.Popen[str]:
    """Two ranks; what each says goes to files below ``log``."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--redirects", "3", "--log-dir", str(log),
    ]
    return subprocess.Popen(
        [*command, *program], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def finish(job: subprocess.Popen[str], log: Path) -> None:
    _, said = job.communicate(timeout=300)
    assert job.returncode == 0, said + words(log, 0) + words(log, 1)


def words(log: Path, rank: int) -> str:
    return "".join(path.read_text() for path in log.glob(f"*/attempt_*/{rank}/stderr.log"))


def options(given: dict[str, Any]) -> list[str]:
    return [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", str(value))]


def steps(run: Path) -> int:
    path = run / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_steps(run: Path, count: int, job: subprocess.Popen[str], log: Path) -> None:
    while steps(run) < count:
        assert job.poll() is None, words(log, 0) + words(log, 1)
        time.sleep(0.02)


def weights(run: Path) -> dict[str, torch.Tensor]:
    assert newest(run) == STEPS
    state = torch.load(run / "checkpoints" / f"step-{STEPS:08d}" / "state.pt", weights_only=True)
    return dict(state["dino"])


def newest(run: Path) -> int:
    return max(int(folder.name.removeprefix("step-")) for folder in (run / "checkpoints").glob("step-*"))


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(STEPS))
    return [row["loss"] for row in rows]


def furthest(one: Path, two: Path) -> float:
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    assert sum(key.startswith(("student.", "teacher.", "centre.")) for key in a) == len(a) > 50
    return max((a[key].double() - b[key].double()).abs().max().item() for key in a)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smear")
    draw_smear(folder, images=40, size=32, seed=0)
    return folder / "images"


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every recipe trained by one process (``one-…``) and by two (``two-…``), and more with two only."""
    folder = tmp_path_factory.mktemp("finished")
    jobs: list[dict[str, Any]] = [{"batchnorm": kind, "out": str(folder / kind)} for kind in job().LAYERS]
    for name, recipe in RECIPES.items():
        hundredfold.pretrain(images=images, out=folder / f"one-{name}", **recipe)
        jobs.append({"images": str(images), "out": str(folder / f"two-{name}"), **recipe})
    given = {"images": str(images), **TINY, **CONVOLUTIONS, "gradient_checkpointing": True}
    jobs.append({**given, "out": str(folder / "tuned"), "epochs": 1, "autotune": True})
    jobs.append({**given, "out": str(folder / "spoilt"), "spoilt": 3, "checkpoint_minutes": 1e-6})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    finish(torchrun(folder / "log", str(JOB), str(folder / "jobs.json")), folder / "log")
    return folder


def job() -> Any:
    spec = importlib.util.spec_from_file_location("ranks_job", JOB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["maps", "vectors", "activated", "frozen", "average"])
def test_a_shared_batchnorm_is_that_of_the_whole_batch(finished: Path, kind: str) -> None:
    alone = job().batchnorm(kind, shared=False)
    shares = [torch.load(finished / f"{kind}.{rank}.pt") for rank in range(2)]
    exact = {"rtol": 1e-9, "atol": 1e-9}
    for name, expected in alone.items():
        if name.startswith(("out", "into")):
            for rank, share in enumerate(shares):
                torch.testing.assert_close(share[name], expected[rank::2], **exact)
        elif name.startswith("weight"):
            torch.testing.assert_close(shares[0][name] + shares[1][name], expected, **exact)
        else:
            assert all(torch.testing.assert_close(share[name], expected, **exact) is None for share in shares)
    assert len(alone) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convolutions64", "attention64"])
def test_two_ranks_end_with_the_weights_of_one_process(finished: Path, name: str) -> None:
    one, two = finished / f"one-{name}", finished / f"two-{name}"
    assert weights(one)["student.head.prototypes"].dtype == torch.float64
    assert furthest(one, two) < 1e-6
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    if name == "attention64":
        assert weights(two)["centre.mean"].abs().max() > 0


@pytest.mark.slow
def test_two_ranks_have_the_losses_of_one_process_in_float32(finished: Path) -> None:
    one, two = (losses(finished / f"{ranks}-convolutions32") for ranks in ("one", "two"))
    assert two == pytest.approx(one, abs=1e-3)
    assert two != one  # rounding shows that the shares were really computed apart


@pytest.mark.slow
def test_only_the_first_rank_speaks_and_writes(finished: Path) -> None:
    assert words(finished / "log", 1) == ""
    assert "Pre-training test_vit.r160_in1k" in words(finished / "log", 0)
    for name in RECIPES:
        one, two = finished / f"one-{name}", finished / f"two-{name}"
        assert {p.name for p in one.rglob("*")} == {p.name for p in two.rglob("*")}
        stages = hundredfold.RunDirectory.open(two).state["stages"]
        assert {stage["status"] for stage in stages.values()} == {"done"}


@pytest.mark.slow
def test_the_way_that_the_first_rank_times_as_the_fastest_holds_for_both(finished: Path) -> None:
    noted = hundredfold.RunDirectory.open(finished / "tuned").state["pretrain"]
    assert len(noted["autotuned"]) >= 2
    assert noted["precision"] in min(noted["autotuned"], key=noted["autotuned"].get)
    assert steps(finished / "tuned") == 5
    assert "UserWarning" not in words(finished / "log", 0)  # torch's, of the strides of a depthwise kernel


@pytest.mark.slow
def test_a_nan_on_one_rank_ends_both_with_the_images_and_the_last_good_state(finished: Path) -> None:
    told = [(finished / f"spoilt.{rank}.txt").read_text() for rank in range(2)]
    assert all("the loss is nan at step 3 (cell_" in sentence for sentence in told)
    assert f"The last good state is {finished / 'spoilt' / 'checkpoints' / 'step-00000003'}." in told[0]
    assert told[1].endswith("The first rank says what to do.")
    assert steps(finished / "spoilt") == newest(finished / "spoilt") == 3
    stages = hundredfold.RunDirectory.open(finished / "spoilt").state["stages"]
    assert stages["pretrain"]["status"] == "failed"


@pytest.fixture(scope="module")
def killed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks, one of them killed in its midst; what was said is beside it."""
    folder = tmp_path_factory.mktemp("killed")
    given = {**RECIPES["convolutions64"], "checkpoint_minutes": 1e-6, "out": folder / "run"}
    process = torchrun(folder / "log", "-m", "hundredfold", "pretrain", str(images), *options(given))
    wait_for_steps(folder / "run", 12, process, folder / "log")
    os.kill(worker(process.pid, 1), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    return folder


def worker(parent: int, rank: int) -> int:
    """The process of a rank below torchrun."""
    for child in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return child
    raise AssertionError(f"no rank {rank} below {parent}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_killed_rank_ends_the_job_with_a_sentence(killed: Path) -> None:
    said = words(killed / "log", 0)
    assert "another of the 2 processes ended" in said
    assert "with the same command and --resume" in said
    assert "Traceback" not in said
    assert 12 <= steps(killed / "run") < STEPS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_resumed_with_as_many_ranks_bit_equal_with_another_number_the_same(
    stop_at: Stop, finished: Path, killed: Path, images: Path, tmp_path: Path,
    *, monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = RECIPES["convolutions64"]
    for name in ("two", "fewer"):
        shutil.copytree(killed / "run", tmp_path / name)
    hundredfold.pretrain(images=images, out=tmp_path / "fewer", resume=True, **recipe)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        stop_at(patched, 20)
        hundredfold.pretrain(images=images, out=tmp_path / "more", **recipe)
    again = {"images": str(images), "resume": True, **recipe}
    jobs = [{"out": str(tmp_path / name), **again} for name in ("two", "more")]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    finish(torchrun(tmp_path / "log", str(JOB), str(tmp_path / "jobs.json")), tmp_path / "log")
    whole = weights(finished / "two-convolutions64")
    assert all(torch.equal(value, whole[key]) for key, value in weights(tmp_path / "two").items())
    for name in ("fewer", "more"):
        assert furthest(finished / "one-convolutions64", tmp_path / name) < 1e-6
        assert len(losses(tmp_path / name)) == STEPS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_the_death_of_the_first_rank_is_told_by_the_other_and_costs_one_step(
    images: Path, tmp_path: Path
) -> None:
    given = {**RECIPES["convolutions32"], "checkpoint_minutes": 1e-6, "out": tmp_path / "run"}
    process = torchrun(tmp_path / "log", "-m", "hundredfold", "pretrain", str(images), *options(given))
    wait_for_steps(tmp_path / "run", 5, process, tmp_path / "log")
    os.kill(worker(process.pid, 0), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert "exitcode  : -9" in said
    assert "another of the 2 processes ended" in words(tmp_path / "log", 1)
    assert newest(tmp_path / "run") >= steps(tmp_path / "run") - 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_one_rank_asked_to_stop_all_stop_after_the_same_step(images: Path, tmp_path: Path) -> None:
    recipe = {key: value for key, value in RECIPES["convolutions32"].items() if key != "epochs"}
    given = {**recipe, "minutes": 2, "out": tmp_path / "run"}
    process = torchrun(tmp_path / "log", "-m", "hundredfold", "pretrain", str(images), *options(given))
    wait_for_steps(tmp_path / "run", 3, process, tmp_path / "log")
    os.kill(worker(process.pid, 1), signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert "exitcode  : 130" in said
    assert "Interrupted. Continue with the same command and --resume." in words(tmp_path / "log", 0)
    planned = hundredfold.RunDirectory.open(tmp_path / "run").state["pretrain"]["steps"]
    assert newest(tmp_path / "run") == steps(tmp_path / "run") < planned
    stages = hundredfold.RunDirectory.open(tmp_path / "run").state["stages"]
    assert stages["pretrain"]["status"] == "interrupted"


@pytest.mark.parametrize("count", [1, 2])
def test_a_rank_that_fails_comes_to_its_last_words(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """torchrun sends SIGTERM as soon as another rank has ended, often while this one still unwinds."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": str(count), "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with _stop_signal():
            pass
        assert signal.getsignal(signal.SIGTERM) == before
        with pytest.raises(RuntimeError), _stop_signal():
            raise RuntimeError("Connection closed by peer")
        assert signal.getsignal(signal.SIGTERM) == (signal.SIG_IGN if count > 1 else before)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(steps=1, batch_size=64, image_size=32, local_size=16, precision="float32", workers=0)
    _check_shares(plan)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"3 processes can share evenly, found 64 .* --batch-size 63"):
        _check_shares(plan)


@pytest.mark.parametrize(("number", "waited"), [(0, []), (1, [hundredfold.cli.GRACE_SECONDS])])
@pytest.mark.parametrize("wrong", [["--epochs", "-1"], ["--epoch", "1"]])
def test_a_wrong_setting_is_told_by_the_first_rank_and_by_another_only_if_it_outlives_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: list[str], number: int,
    waited: list[float],
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": str(number)}.items():
        monkeypatch.setenv(name, value)
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert hundredfold.cli.main(["pretrain", "images", "--out", "nowhere", *wrong]) == 2
    assert "hundredfold: " in capsys.readouterr().err
    assert slept == waited


def test_other_verbs_are_refused_under_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert hundredfold.cli.main(["run", "images", "--labels", "labels.csv", "--out", "nowhere"]) == 2
    said = capsys.readouterr().err
    assert "only pretrain shares its work" in said
    assert "hundredfold run IMAGES --labels CSV --out RUN --resume" in said
    assert not Path("nowhere").exists()


def test_layers_that_cannot_be_shared_are_named_and_all_others_are() -> None:
    class Own(torch.nn.BatchNorm2d):
        pass

    with pytest.raises(SettingsError, match="a layer Own cannot be shared"):
        synchronise_batchnorm(torch.nn.Sequential(Own(3)), "cpu")
    for device in ("cpu", "cuda"):
        layers = torch.nn.Sequential(*[kind(3) for kind in PLAIN])
        assert synchronise_batchnorm(layers, device) == len(PLAIN) == 4
        assert not any(type(layer) in PLAIN for layer in layers)
