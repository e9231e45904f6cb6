"""What pre-training may see, and what it leaves behind (METHOD.md, mistake 6)."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hundredfold
from hundredfold.data.smear import draw_smear
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.opening import load_encoder, open_encoder
from hundredfold.errors import InputError, RunExistsError, SettingsError, WeightsError
from hundredfold.ssl import defaults

TINY: dict[str, Any] = {
    "backbone": "test_efficientnet.r160_in1k", "weights": "none", "image_size": 32, "local_crops": 1,
    "batch_size": 8, "epochs": 0.5, "prototypes": 16, "head_hidden": 16, "head_bottleneck": 8,
}


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty cells, of which a third has no label."""
    folder = tmp_path_factory.mktemp("smear")
    draw_smear(folder, images=60, size=32, seed=0)
    labels = pd.read_csv(folder / "labels.csv")
    labels.loc[labels.index % 3 > 0, ["image", "label"]].to_csv(folder / "labels.csv", index=False)
    return folder


def pretrain(smear: Path, out: Path, **changes: Any) -> hundredfold.RunDirectory:
    given = {"images": smear / "images", "labels": smear / "labels.csv", "out": out, **TINY, **changes}
    return hundredfold.pretrain(**given)


@pytest.fixture(scope="module")
def finished(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> hundredfold.RunDirectory:
    return pretrain(smear, tmp_path_factory.mktemp("finished") / "run")


def test_labelled_and_unlabelled_training_images_are_seen_and_test_images_are_not(
    smear: Path, tmp_path: Path
) -> None:
    run = pretrain(smear, tmp_path / "run")
    table = ImageTable.read(run / "images.parquet").frame
    seen = Encoder.load(run / "encoder").seen
    test = table[table["split"] == "test"]
    assert len(test) >= 10
    assert seen.isdisjoint(test["sha256"])
    others = table[table["split"] != "test"]
    assert seen == set(others["sha256"])
    assert others["label"].isna().any()
    assert others["label"].notna().any()
    assert run.state["pretrain"]["images"] == len(others)
    assert run.state["pretrain"]["transductive"] is False


def test_transductive_sees_the_test_images_and_says_so(smear: Path, tmp_path: Path) -> None:
    run = pretrain(smear, tmp_path / "run", transductive=True)
    table = ImageTable.read(run / "images.parquet").frame
    assert Encoder.load(run / "encoder").seen == set(table["sha256"])
    assert run.state["pretrain"]["transductive"] is True


def test_the_initial_encoder_is_kept_beside_the_trained_one(smear: Path, tmp_path: Path) -> None:
    run = pretrain(smear, tmp_path / "run")
    initial, trained = Encoder.load(run / "initial"), Encoder.load(run / "encoder")
    assert initial.size == trained.size == 32
    assert initial.seen == frozenset()
    assert initial.hash != trained.hash


def test_a_second_call_is_refused_and_names_both_exits(smear: Path, tmp_path: Path) -> None:
    run = pretrain(smear, tmp_path / "run")
    with pytest.raises(RunExistsError, match=r"--resume, or choose another --out"):
        pretrain(smear, run.path, images=run.path)
    before = (run / "encoder" / "encoder.safetensors").read_bytes()
    pretrain(smear, run.path, images=run.path, resume=True)
    assert (run / "encoder" / "encoder.safetensors").read_bytes() == before


def test_what_the_data_decided_is_noted_with_reasons_and_not_decided_again(
    smear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left_open = {"batch_size": None, "prototypes": None, "image_size": None, "local_size": None}
    run = pretrain(smear, tmp_path / "run", **left_open)
    state = run.state["pretrain"]
    assert state["settings"]["prototypes"] is None
    said = capsys.readouterr()
    for name, entry in state["defaults"].items():
        assert f"  {name} " in said.out + said.err
        assert entry["reason"] in said.out + said.err
    assert state["defaults"]["prototypes"]["value"] == state["prototypes"] == 256
    assert state["batch_size"] == 16
    written = (run / "config.yaml").read_text()
    assert "# pretrain: prototypes 256: one for 4 of " in written
    assert "# pretrain: symmetry dihedral: what microscopy images allow\n" in written
    assert "# pretrain: stages 3: for a network with convolutions\n" in written
    assert f"# pretrain: {state['arranged']}\n" in written
    assert "prototypes 256: one for 4 of " in (run / "log.txt").read_text()
    shutil.rmtree(run / "encoder")
    run.record(stages={**run.state["stages"], "pretrain": {"status": "failed", "seconds": 0}})
    # another machine, another rule: the run goes on as it was begun
    monkeypatch.setattr(defaults, "FEWEST_PROTOTYPES", 512)
    monkeypatch.setattr(defaults, "SMALLEST_BATCH", 8)
    pretrain(smear, run.path, resume=True, **left_open)
    again = run.state["pretrain"]
    assert {**again, "alarms": []} == {**state, "alarms": []}
    assert (run / "config.yaml").read_text().replace("resume: true", "resume: false") == written


def test_a_run_is_trained_in_place(smear: Path, tmp_path: Path) -> None:
    run = pretrain(smear, tmp_path / "run")
    with pytest.raises(InputError, match="Write into the run itself"):
        pretrain(smear, tmp_path / "other", images=run.path)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"backbone": "resnet10x"}, SettingsError),
        ({"modality": "microskopy"}, SettingsError),
        ({"weights": "nowhere.safetensors"}, WeightsError),
        ({"stages": 8}, SettingsError),
        ({"backbone": "dla46_c", "gradient_checkpointing": True}, SettingsError),
    ],
)
def test_a_wrong_name_is_said_before_the_images_are_read(
    smear: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        pretrain(smear, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_second_run_on_the_same_images_decodes_nothing(smear: Path, tmp_path: Path) -> None:
    shared = tmp_path / "pixels"
    first = pretrain(smear, tmp_path / "first", pixels=shared)
    assert first.state["decoding"] == {"decoded": 60, "reused": 0}
    second = pretrain(smear, tmp_path / "second", pixels=shared)
    assert second.state["decoding"] == {"decoded": 0, "reused": 60}
    assert "Pixels: decoded 0, reused 60." in (second / "log.txt").read_text(encoding="utf-8")
    assert not (second / "pixels").exists()
    hashes = {Encoder.load(run / "encoder").hash for run in (first, second)}
    assert len(hashes) == 1


def test_what_the_start_weights_had_seen_is_seen(smear: Path, tmp_path: Path) -> None:
    """An earlier encoder may know the test images of this split; a curve asks ``seen``."""
    first = pretrain(smear, tmp_path / "first", transductive=True)
    before = Encoder.load(first / "encoder").seen
    second = pretrain(smear, tmp_path / "second", weights=str(first.path), seed=1)
    own = set(ImageTable.read(second / "images.parquet").pool.frame["sha256"])
    assert own < before
    assert Encoder.load(second / "initial").seen == Encoder.load(second / "encoder").seen == before
    saved = max((second / "checkpoints").glob("step-*"))
    assert Encoder.load(saved).seen == before
    plain = open_encoder(f"timm:{TINY['backbone']}", weights=str(first.path))
    assert plain.seen == before
    assert (plain.symmetry, plain.stages) == ("none", 0)
    assert load_encoder(second / "adapted").seen == before


def test_a_resume_keeps_the_encoder_it_began_with(
    smear: Path, finished: hundredfold.RunDirectory, tmp_path: Path
) -> None:
    """Though the file of the start weights holds others by now."""
    start = tmp_path / "start"
    shutil.copytree(finished / "encoder", start)
    run = pretrain(smear, tmp_path / "run", weights=str(start))
    before = {name: Encoder.load(run / name) for name in ("initial", "encoder")}
    shutil.rmtree(start)
    shutil.copytree(finished / "initial", start)
    shutil.rmtree(run / "encoder")
    run.record(stages={**run.state["stages"], "pretrain": {"status": "failed", "seconds": 0}})
    pretrain(smear, run.path, weights=str(start), resume=True)
    for name, kept in before.items():
        again = Encoder.load(run / name)
        assert (again.hash, again.seen) == (kept.hash, kept.seen)


@pytest.mark.parametrize("changes", [{"epochs": 7.0}, {"seed": 3}, {"modality": "xray"}])
def test_a_finished_run_is_not_resumed_with_other_settings(
    smear: Path, finished: hundredfold.RunDirectory, changes: dict[str, Any]
) -> None:
    """Nothing would be done, and the user would take the encoder for one of these settings."""
    with pytest.raises(SettingsError, match=f"this run was pre-trained with {next(iter(changes))} = "):
        pretrain(smear, finished.path, resume=True, **changes)
    pretrain(smear, finished.path, resume=True, monitor_every=3)


def test_labels_that_would_hold_nothing_out_are_refused(
    smear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was scanned without them has no test images to leave out of pre-training."""
    run = hundredfold.scan(smear / "images", out=tmp_path / "run")
    with pytest.raises(SettingsError, match=r"labels .*labels\.csv was asked for, .* scanned with none"):
        pretrain(smear, run.path, images=run.path)
    with pytest.raises(SettingsError, match="scanned with none"):
        pretrain(smear, run.path, resume=True)  # the folder, which is not scanned again
    assert "pretrain" not in run.state["stages"]
    held = hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=tmp_path / "held")
    with pytest.raises(SettingsError, match=r"fit squash was asked for, .* scanned with pad"):
        pretrain(smear, held.path, images=held.path, fit="squash")
    pretrain(smear, held.path, images=held.path, pixel_size=32)  # as they are, though nobody asked
    monkeypatch.chdir(smear)  # another name of the same file
    pretrain(smear, held.path, images=held.path, labels=Path("labels.csv"), resume=True)
