"""A run is never lost: Ctrl-C, kill -9, a full disk, bad or foreign checkpoints, a vanished file, a NaN."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hundredfold.cli import main
from hundredfold.data.smear import draw_smear
from hundredfold.encode.encoder import open_encoder
from hundredfold.encode.opening import encoder_folders
from hundredfold.report.cautions import cautions
from hundredfold.report.material import gather
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.checkpoints import Checkpoints
from hundredfold.ssl.dino import DINO, Outputs

Stop = Callable[[pytest.MonkeyPatch, int], None]
TINY: dict[str, object] = {
    "backbone": "test_efficientnet.r160_in1k", "weights": "none", "image_size": 32, "local_crops": 1,
    "batch_size": 8, "prototypes": 16, "head_hidden": 16, "head_bottleneck": 8, "epochs": 4,
    "checkpoint_minutes": 1e-6, "monitor_every": 3,
}
STEPS = 12
CUT = 8
SMALL = 24 * 2**20  # bytes of the disk that is filled


def arguments(run: Path, *, resume: bool = False, **changes: object) -> list[str]:
    options = [
        part for name, value in {**TINY, **changes}.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    return ["pretrain", str(run), "--out", str(run), *options, *(["--resume"] if resume else [])]


def pretrain(run: Path, **options: object) -> int:
    return main(arguments(run, **options))  # type: ignore[arg-type]


def soon(happened: Callable[[], object]) -> None:
    """Wait until something happened, at most twenty seconds."""
    for _ in range(20_000):
        if happened():
            return
        time.sleep(0.001)
    raise TimeoutError


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty cells, thirty of them for training."""
    folder = tmp_path_factory.mktemp("smear")
    draw_smear(folder, images=40, size=32, seed=0)
    labels = ["--labels", str(folder / "labels.csv")]
    assert main(["scan", str(folder / "images"), *labels, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def whole(scanned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(scanned, run)
    assert pretrain(run) == 0
    return run


@pytest.fixture(scope="module")
def interrupted(stop_at: Stop, scanned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after 8 of 12 steps by Ctrl-C."""
    run = tmp_path_factory.mktemp("interrupted") / "run"
    shutil.copytree(scanned, run)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, CUT)
        assert pretrain(run) == 130
    return run


@pytest.fixture
def new(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "run"))


@pytest.fixture
def cut(interrupted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of ``SMALL`` bytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if done.returncode:
        pytest.skip(f"needs leave to mount a small tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def saved(run: Path) -> list[int]:
    return [int(folder.name[5:]) for folder in sorted((run / "checkpoints").glob("step-*"))]


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step-*"))


def assert_equal(run: Path, whole: Path) -> None:
    """Bit-equal weights; every step once, with the same loss and schedules."""
    expected = load_file(whole / "encoder" / "encoder.safetensors")
    found = load_file(run / "encoder" / "encoder.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    keys = ("step", "loss", "learning_rate", "momentum", "teacher_temperature")
    assert [[row[k] for k in keys] for row in rows(run)] == [[row[k] for k in keys] for row in rows(whole)]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_an_interrupted_run_resumes_bit_equal(cut: Path, whole: Path) -> None:
    assert [row["step"] for row in rows(cut)] == list(range(CUT))
    assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)
    momentum = [row["momentum"] for row in rows(cut)]
    assert momentum == sorted(momentum)
    assert momentum[-1] == 1


def test_stochastic_depth_resumes_bit_equal(stop_at: Stop, scanned: Path, tmp_path: Path, new: Path) -> None:
    drop = {"drop_path": 0.3, "epochs": 2}
    whole = Path(shutil.copytree(scanned, tmp_path / "whole"))
    assert pretrain(whole, **drop) == 0
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 4)
        assert pretrain(new, **drop) == 130
    assert pretrain(new, **drop, resume=True) == 0
    assert_equal(new, whole)


def test_a_resume_with_nothing_to_continue_starts_at_the_beginning(new: Path, whole: Path) -> None:
    assert pretrain(new, resume=True) == 0
    assert_equal(new, whole)


def test_a_resume_with_other_settings_is_refused(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(cut, resume=True, learning_rate=0.003) == 2
    assert "begun with learning_rate = 0.002, found 0.003" in last_line(capsys)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES = [
    (flip, "state.pt"), (halve, "state.pt"), (empty, "state.pt"), (Path.unlink, "state.pt"),
    (halve, "checkpoint.json"), (empty, "checkpoint.json"), (Path.unlink, "checkpoint.json"),
]


@pytest.mark.parametrize(("damage", "name"), DAMAGES)
def test_the_newest_checkpoint_damaged_the_one_before_is_used(
    cut: Path, whole: Path, damage: Callable[[Path], None], name: str
) -> None:
    damage(newest(cut) / name)
    with pytest.warns(UserWarning, match=f"{newest(cut).name} is damaged .* the one before it is used"):
        assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)


def test_all_checkpoints_damaged_is_said_and_nothing_begins_anew(
    cut: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (cut / "checkpoints").glob("step-*"):
        flip(folder / "state.pt")
    before = rows(cut)
    assert pretrain(cut, resume=True) == 2
    told = last_line(capsys)
    assert "no checkpoint can be read: step-00000008: its bytes are not those that were written" in told
    assert "step-00000007: its" in told
    assert "delete the folder: --resume then begins at step 0" in told
    assert rows(cut) == before
    shutil.rmtree(cut / "checkpoints")  # as the message says
    assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)


def test_checkpoints_hold_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    checkpoints = Checkpoints(tmp_path, dict)
    checkpoints.save(1, {"dino": torch.ones(1)})
    checkpoints.save(2, {"dino": Trap()})
    with pytest.warns(UserWarning, match=r"step-00000002 is damaged \(it holds more than tensors"):
        found = checkpoints.load()
    assert found is not None
    assert found[0] == 1
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_another_run_is_refused(
    cut: Path, scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(scanned, tmp_path / "other"))
    assert pretrain(other, seed=1) == 0
    shutil.copytree(newest(other), cut / "checkpoints" / newest(other).name)
    assert pretrain(cut, resume=True) == 2
    assert "is of another run, or its material changed: it differs in seed" in last_line(capsys)


def test_a_new_training_never_begins_beside_old_checkpoints(
    new: Path, interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(interrupted / "checkpoints", new / "checkpoints")
    assert pretrain(new) == 2
    assert "there are checkpoints already, the last of step 8" in last_line(capsys)


def test_the_last_two_and_the_best_are_kept(whole: Path) -> None:
    measured = [row for row in rows(whole) if row["step"] and "knn_balanced_accuracy" in row]
    scores = {row["step"] + 1: row["knn_balanced_accuracy"] for row in measured}
    best = max((score, step) for step, score in scores.items())[1]
    assert len(scores) == 8
    assert saved(whole) == sorted({best, STEPS - 1, STEPS})


def test_without_labels_there_is_no_best(scanned: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["scan", str(scanned.parent / "images"), "--out", str(run)]) == 0
    assert pretrain(run, epochs=1) == 0
    assert len(saved(run)) == 2
    assert Checkpoints(run / "checkpoints", dict).best() is None


def test_an_unfinished_run_gives_features_and_says_what_they_are(
    cut: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(cut), "--encoder", str(cut), "--out", str(cut)]) == 0
    assert "Pre-training is not finished: the encoder after 8 of 12 steps." in capsys.readouterr().err
    assert [path.name for path in (cut / "embeddings").iterdir()] == ["step-00000008"]
    told = " ".join(f"{c.title} {c.sentence}" for c in cautions(gather(RunDirectory.open(cut)), None))
    assert "pretrain is not finished (interrupted). 8 of 12 steps are done; encoders named step-N" in told
    assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)
    assert main(["embed", str(cut), "--encoder", str(cut), "--out", str(cut)]) == 0
    assert sorted(path.name for path in (cut / "embeddings").iterdir()) == ["pretrained", "step-00000008"]


def test_a_reader_never_sees_half_an_encoder(new: Path) -> None:
    steps, faults, end = set[int](), list[BaseException](), threading.Event()

    def read() -> None:
        run = RunDirectory.open(new)
        while not end.is_set():
            try:
                if encoder_folders(run):
                    steps.add(open_encoder(str(new)).facts["provenance"]["step"])
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert pretrain(new, epochs=5) == 0
    finally:
        end.set()
        reader.join()
    assert not faults
    assert len(steps) > 2


def test_a_loss_that_is_not_finite_stops_with_the_images_and_the_last_good_state(
    cut: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = newest(cut)
    state = torch.load(last / "state.pt", weights_only=True)
    next(value for value in state["dino"].values() if value.is_floating_point())[0] = float("nan")
    identity = json.loads((last / "checkpoint.json").read_text())["run"]
    Checkpoints(cut / "checkpoints", lambda: identity).save(CUT, state)
    assert pretrain(cut, resume=True) == 1
    told = last_line(capsys)
    assert "the loss is nan at step 8 (cell_" in told
    assert f"The last good state is {cut / 'checkpoints' / 'step-00000007'}." in told
    listed = json.loads((cut / "checkpoints" / "not_finite.json").read_text())
    assert listed["step"] == 8
    assert len(set(listed["images"])) == 8
    assert all(name in told for name in listed["images"])
    assert saved(cut)[-1] == 7
    assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)


def test_a_sound_checkpoint_outlives_a_loss_that_is_not_finite_at_its_step(
    cut: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The batch may be at fault, not the weights."""
    forward = DINO.forward

    def spoilt(self: DINO, *views: Any) -> Outputs:
        outputs = forward(self, *views)
        return outputs._replace(loss=outputs.loss * float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(DINO, "forward", spoilt)
        assert pretrain(cut, resume=True) == 1
    assert f"The last good state is {newest(cut)}." in last_line(capsys)
    assert saved(cut)[-2:] == [CUT - 1, CUT]
    assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)


def test_weights_that_are_not_finite_are_never_saved(
    new: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(new, learning_rate=1e38, learning_rate_end=1e38, clip=0, precision="float32") == 1
    told = last_line(capsys)
    assert "not_finite.json" in told
    for path in (new / "checkpoints").glob("*/encoder.safetensors"):
        assert all(value.isfinite().all() for value in load_file(path).values())


def test_initial_weights_with_a_nan_leave_nothing_to_go_back_to(
    new: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(whole / "initial" / "encoder.safetensors")
    next(value for value in weights.values() if value.is_floating_point())[0] = float("nan")
    save_file(weights, tmp_path / "broken.safetensors")
    assert pretrain(new, weights=tmp_path / "broken.safetensors") == 1
    assert "the loss is nan at step 0" in (told := last_line(capsys))
    assert "No state was saved before it" in told


def blacken(path: Path) -> None:
    """Other images of the same size, written in place: at no moment is the file shorter."""
    with path.open("r+b") as file:
        file.seek(128)
        file.write(bytes(path.stat().st_size - 128))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (halve, "the pixel store is damaged: expected 40 images of 32 px, 123,008 bytes, found 61,504 bytes"),
        (Path.unlink, "the pixel store is damaged"),
        (blacken, "its material changed: it differs in pixels"),
    ],
)
def test_pixels_that_changed_before_a_resume_are_found(
    cut: Path, damage: Callable[[Path], None], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(cut / "pixels" / "pixels.npy")
    assert pretrain(cut, resume=True) == 2
    assert sentence in last_line(capsys)
    assert saved(cut)[-1] == CUT


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (halve, "the pixel store is damaged"),
        (Path.unlink, "the pixel store is damaged"),
        (blacken, "changed while the training went on: pixels"),
    ],
)
def test_pixels_that_change_during_the_training_end_it_with_a_sentence(
    new: Path, damage: Callable[[Path], None], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def harm() -> None:
        soon(lambda: len(saved(new)) > 1)
        damage(new / "pixels" / "pixels.npy")

    thread = threading.Thread(target=harm)
    thread.start()
    assert pretrain(new, epochs=400) == 2
    thread.join()
    assert sentence in last_line(capsys)
    assert Checkpoints(new / "checkpoints", lambda: note(new)).load() is not None


def note(run: Path) -> dict[str, object]:
    return dict(json.loads((newest(run) / "checkpoint.json").read_text())["run"])


def test_a_store_that_was_deleted_is_filled_again_and_the_run_goes_on(
    cut: Path, scanned: Path, whole: Path
) -> None:
    shutil.rmtree(cut / "pixels")
    labels = ["--labels", str(scanned.parent / "labels.csv")]
    assert main(["scan", str(scanned.parent / "images"), *labels, "--out", str(cut), "--resume"]) == 0
    assert pretrain(cut, resume=True) == 0
    assert_equal(cut, whole)


def fill_up(disk: Path, leave: int) -> Path:
    """Take all the room there is but ``leave`` bytes; of a small disk, never of the machine's own."""
    ballast, room = disk / "ballast", shutil.disk_usage(disk)
    assert room.total <= SMALL, "the small disk is not, or no longer, mounted"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.free - leave)
    return ballast


@pytest.mark.parametrize("kilobytes", [1, 500, 2_000])
def test_a_full_disk_at_a_save_is_a_clean_stop(
    small_disk: Path, interrupted: Path, whole: Path, kilobytes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails at the log, in the state, or in the encoder."""
    run = Path(shutil.copytree(interrupted, small_disk / "run"))
    ballast = fill_up(small_disk, kilobytes * 1024)
    assert pretrain(run, resume=True) == 2
    told = last_line(capsys)
    assert "No space left on device" in told
    assert "Make room, then continue with the same command and --resume." in told
    assert saved(run)[-2:] == [CUT - 1, CUT]
    assert not list(run.rglob("*.tmp"))
    ballast.unlink()
    assert pretrain(run, resume=True) == 0
    assert_equal(run, whole)


def test_a_disk_that_fills_while_only_the_log_is_written_is_a_clean_stop(
    small_disk: Path, scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(scanned, small_disk / "run"))

    def fill() -> None:
        soon(lambda: (run / "metrics.jsonl").exists() and rows_of_whole_lines(run))
        fill_up(small_disk, 0)

    thread = threading.Thread(target=fill)
    thread.start()
    seldom = {"checkpoint_minutes": 60, "epochs": 40}
    assert pretrain(run, **seldom) == 2
    thread.join()
    told = last_line(capsys)
    assert "No space left on device; " in told
    assert "checkpoint" in told
    done = len(rows_of_whole_lines(run))
    assert 0 < done < 120
    (small_disk / "ballast").unlink()
    assert pretrain(run, **seldom, resume=True) == 0
    assert [row["step"] for row in rows(run)] == list(range(120))


def rows_of_whole_lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().split("\n")[:-1]


@pytest.mark.slow
def test_killed_in_a_save_and_elsewhere_the_end_is_bit_equal(new: Path, whole: Path) -> None:
    """Real SIGKILLs to the command line: one while a save is half written, one at a random moment."""

    def half_a_save(begun: list[int]) -> bool:
        return saved(new) != begun and any((new / "checkpoints").glob(".step-*.tmp/*"))

    def a_save_more(begun: list[int]) -> bool:
        return saved(new) != begun

    command = [sys.executable, "-m", "hundredfold", *arguments(new)]
    for moment in (half_a_save, a_save_more):
        begun = saved(new)
        process = subprocess.Popen([*command, *(["--resume"] if begun else [])], stderr=subprocess.DEVNULL)
        while process.poll() is None and not moment(begun):
            time.sleep(0.0002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was killed before it ended"
        if moment is half_a_save:
            assert any((new / "checkpoints").glob(".*.tmp")), "the kill hit a save"
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_equal(new, whole)
    assert not list((new / "checkpoints").glob(".*.tmp"))
