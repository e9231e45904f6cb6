"""A predictor that anybody may have touched: refused when it was, and nothing in it is ever run."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from hundredfold.backbones.backbone import create_backbone
from hundredfold.cli import main
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder, load_encoder
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import HundredfoldError, ModelFileError
from hundredfold.learn.calibrate import Calibration
from hundredfold.predict.predictor import Predictor

FACTS = "predictor.json"


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = ThumbnailEncoder(side=2, bins=4)
    labels = ["a", "b", "c"] * 8
    ids = [f"{n:02d}.png" for n in range(24)]
    table = ImageTable.of({"id": ids, "label": labels, "split": ["train"] * 24})
    facts = {**encoder.facts, "hash": encoder.hash}
    embeddings = Embeddings(table.ids, encoder.encode(images(24)), facts, table, pixel_size=12)
    calibration = Calibration("temperature", False, ((1.0,),), (8, 8, 8))
    folder = tmp_path_factory.mktemp("run") / "predictor"
    Predictor.fit(encoder, embeddings, table, calibration=calibration).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "predictor"))


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Encoder(
        create_backbone("test_resnet", weights="none"), size=32, value_range=None, fit="pad",
        provenance={"a": 1}, seen=frozenset(),
    ).save(tmp_path / "encoder")
    return tmp_path / "encoder"


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def reseal(folder: Path, **changes: Any) -> None:
    """What somebody does who knows how the hashes are made; hashed here by hand."""
    facts = read(folder / FACTS) | changes
    if isinstance(facts.get("files"), dict):
        facts["files"] = {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file() and path.name not in {FACTS, "model_card.md"}
        }
    facts.pop("hash", None)
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    facts["hash"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(folder: Path, match: str) -> ModelFileError:
    with pytest.raises(ModelFileError, match=match) as error:
        Predictor.load(folder)
    return error.value


def test_each_file_is_missed_when_it_goes_and_refused_when_it_changes(saved: Path, tmp_path: Path) -> None:
    checked = 0
    for name in names(saved):
        for number, change in enumerate((None, b"", b"\0" * 99)):
            own = Path(shutil.copytree(saved, tmp_path / f"{checked}-{number}"))
            (own / name).unlink()
            if change is not None:
                (own / name).write_bytes(change)
            refused(own, r"expected the hash|no readable predictor\.json|expected a skops file")
            checked += 1
    assert checked >= 15


@pytest.mark.parametrize("name", ["notes.txt", "encoder/encoder.pkl", "deep/er/a.json", "memory.csv.bak"])
def test_a_file_that_was_added_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    assert refused(folder, "found a file that is none of the predictor's").where == str(folder / name)


@pytest.mark.parametrize("name", ["model_card.md", ".DS_Store", "encoder/.DS_Store", "Thumbs.db"])
def test_the_card_may_be_written_on_and_file_managers_leave_their_own(folder: Path, name: str) -> None:
    (folder / name).write_text("by the author", encoding="utf-8")
    assert Predictor.load(folder).hash == read(folder / FACTS)["hash"]


@pytest.mark.parametrize("name", ["classifier.skops", "encoder/encoder.json", "encoder", "more", FACTS])
def test_a_link_out_of_the_folder_is_refused(folder: Path, saved: Path, name: str) -> None:
    place = folder / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(saved / name if (saved / name).exists() else saved)
    refused(folder, "link that leads out of the predictor's folder")


def test_links_within_and_to_the_folder_are_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "by another name").symlink_to(folder)
    assert Predictor.load(tmp_path / "by another name").classes == ("a", "b", "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_place_of_a_file_does_not_keep_it_waiting(folder: Path) -> None:
    (folder / "memory.csv").unlink()
    os.mkfifo(folder / "memory.csv")
    refused(folder, "expected files, found something else")


def test_another_version_says_so_and_does_not_speak_of_edits(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reseal(folder, schema_version=2, software={"hundredfold": "3.1.0"}, files={"new.bin": "0" * 64})
    refused(folder, r"a predictor of a newer hundredfold \(3\.1\.0\): .* version 2, .* reads version 1")
    assert main(["export", str(folder), "--onnx", str(folder.parent / "a.onnx")]) == 2
    said = capsys.readouterr().err
    assert "Update hundredfold" in said
    assert "edited" not in said
    reseal(folder, schema_version=0)
    refused(folder, r"a predictor of an older hundredfold .*Make it again")
    for nonsense in ("1", None, True, 1.0, [1]):
        reseal(folder, schema_version=nonsense)
        refused(folder, "does not say of which version")


def test_an_encoder_folder_is_refused_when_edited(encoder_folder: Path) -> None:
    before = read(encoder_folder / "encoder.json")
    for change in ({"provenance": {"a": 2}}, {"name": "other"}, {"size": 64}, {"seal": "0" * 64}):
        (encoder_folder / "encoder.json").write_text(json.dumps(before | change), encoding="utf-8")
        with pytest.raises(ModelFileError, match="edited or damaged"):
            load_encoder(encoder_folder)
    newer = json.dumps(before | {"schema_version": 9})
    (encoder_folder / "encoder.json").write_text(newer, encoding="utf-8")
    with pytest.raises(ModelFileError, match="an encoder of a newer hundredfold"):
        load_encoder(encoder_folder)
    del before["seal"]  # an encoder of before
    (encoder_folder / "encoder.json").write_text(json.dumps(before), encoding="utf-8")
    assert load_encoder(encoder_folder).hash == before["hash"]
    state = load_file(encoder_folder / "encoder.safetensors")
    first = next(iter(state))
    save_file(state | {first: np.asarray(state[first] + 1)}, encoder_folder / "encoder.safetensors")
    with pytest.raises(ModelFileError, match="expected the hash"):
        load_encoder(encoder_folder)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def node(module: str, name: str, loader: str, **more: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": 1, **more}


def parts(*strings: str) -> dict[str, Any]:
    own = [
        {**node("builtins", "str", "JsonNode", content=json.dumps(text), is_json=True), "__id__": place}
        for place, text in enumerate(strings, start=100)
    ]
    return {**node("builtins", "tuple", "TupleNode", content=own), "__id__": 99}


def schemas(marker: Path) -> dict[str, dict[str, Any]]:
    """skops files that would call, import or build what is not ours."""
    touch = f"touch {marker}"
    keys = node("builtins", "list", "ListNode", content=[])
    empty = node("builtins", "dict", "DictNode", content={}, key_types={**keys, "__id__": 98})
    system = node("os", "system", "FunctionNode")
    return {
        "function": system,
        "type": node("subprocess", "Popen", "TypeNode"),
        "partial": node("functools", "partial", "PartialNode", content={
            "func": {**system, "__id__": 2}, "args": parts(touch), "kwds": empty, "namespace": empty,
        }),
        "method": node("os", "system", "MethodNode", content={
            "obj": {**system, "__id__": 2}, "func": "__call__",
        }),
        "reduce": node("os", "system", "ReduceNode", content=empty, __reduce__={"args": parts(touch)}),
        "operator": node("operator", "methodcaller", "OperatorFuncNode", attrs=parts("system", touch)),
        "object": node("subprocess", "Popen", "ObjectNode", content=parts(touch)),
        "module": node(f"{marker.stem}_module", "Thing", "ObjectNode", content=None),
        "list": node(f"{marker.stem}_module", "Thing", "ListNode", content=[]),
    }


def plant(marker: Path) -> None:
    """A module that tells when it is imported."""
    code = f"open({str(marker)!r}, 'w').close()\nThing = list\n"
    marker.with_name(f"{marker.stem}_module.py").write_text(code, encoding="utf-8")


KINDS = list(schemas(Path("marker")))


def archive(schema: dict[str, Any], protocol: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", json.dumps({**schema, "protocol": protocol, "_skops_version": "0.16"}))
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_skops_file_runs_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, protocol: int
) -> None:
    marker = tmp_path / "marker"
    plant(marker)
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "classifier.skops").write_bytes(archive(schemas(marker)[kind], protocol))
    reseal(folder)
    refused(folder, "not trusted|cannot read the classifier|expected a pipeline")
    assert not marker.exists()
    assert "marker_module" not in sys.modules


def pickled(marker: Path) -> bytes:
    return pickle.dumps(Trap(marker))


def saved_by_torch(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": Trap(marker)}, buffer)
    return buffer.getvalue()


def test_the_traps_would_spring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pickle.loads(pickled(tmp_path / "pickled"))
    torch.load(io.BytesIO(saved_by_torch(tmp_path / "torch")), weights_only=False)
    plant(tmp_path / "sprung")
    monkeypatch.syspath_prepend(tmp_path)
    trusting = ["sprung_module.Thing"]
    assert skops.io.loads(archive(schemas(tmp_path / "sprung")["list"], 2), trusted=trusting) == []
    assert all((tmp_path / name).exists() for name in ("pickled", "torch", "sprung"))


@pytest.mark.parametrize("data", [pickled, saved_by_torch])
@pytest.mark.parametrize(
    "name", ["classifier.skops", "memory.safetensors", "encoder/encoder.json", "memory.csv"]
)
def test_a_pickle_in_place_of_any_file_is_not_loaded(
    folder: Path, tmp_path: Path, name: str, data: Callable[[Path], bytes]
) -> None:
    (folder / name).write_bytes(data(tmp_path / "marker"))
    reseal(folder)
    refused(folder, "pickle|cannot read|does not|no readable")
    assert not (tmp_path / "marker").exists()


def test_arrays_of_objects_in_a_skops_file_are_not_unpickled(folder: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap(tmp_path / "marker")], dtype=object), allow_pickle=True)
    own = zipfile.ZipFile(folder / "classifier.skops")
    found = {part: own.read(part) for part in own.namelist()}
    with zipfile.ZipFile(folder / "classifier.skops", "w") as file:
        for part, data in found.items():
            file.writestr(part, buffer.getvalue() if part.endswith(".npy") else data)
    reseal(folder)
    refused(folder, "cannot read the classifier")
    assert not (tmp_path / "marker").exists()


def test_other_steps_than_ours_are_refused_though_skops_knows_them(folder: Path) -> None:
    machine = LogisticRegression().fit(images(6).reshape(6, -1)[:, :24], [0, 1, 2] * 2)
    skops.io.dump(Pipeline([("classifier", machine)]), folder / "classifier.skops")
    reseal(folder)
    refused(folder, "expected the steps YeoJohnson, PCA, RbfSVC, found LogisticRegression")


def test_nothing_unfolds_beyond_its_file(folder: Path) -> None:
    own = zipfile.ZipFile(folder / "classifier.skops")
    found = {part: own.read(part) for part in own.namelist()}
    with zipfile.ZipFile(folder / "classifier.skops", "w", zipfile.ZIP_DEFLATED) as file:
        for part, data in found.items():
            file.writestr(part, data)
    reseal(folder)
    refused(folder, "cannot read the classifier")


@pytest.mark.parametrize("change", [
    {"architecture": "hf-hub:somebody/code"}, {"architecture": "local-dir:{tmp}"},
    {"options": {"checkpoint_path": "{tmp}/evil.pth"}}, {"options": {"pretrained": True}},
    {"options": {"pretrained_cfg_overlay": {"file": "{tmp}/evil.pth"}}},
    {"options": {"pretrained_cfg": "{tmp}"}},
    {"auto_map": {"AutoModel": "evil.py"}, "options": {"trust_remote_code": True}},
    {"options": {"embed_dim": 10**12}}, {"options": None}, {"size": "64"}, {"mean": [1]}, {"seen": 3},
    {"stages": 99}, {"stain": {"method": "x"}}, {"kind": "concatenated", "parts": 3},
    {"kind": "thumbnail", "side": "x"},
])
def test_an_encoder_file_fetches_and_runs_nothing(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    (tmp_path / "evil.pth").write_bytes(pickled(tmp_path / "marker"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    facts = read(encoder_folder / "encoder.json")
    facts |= json.loads(json.dumps(change).replace("{tmp}", str(tmp_path)))
    del facts["seal"]
    (encoder_folder / "encoder.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ModelFileError):
        load_encoder(encoder_folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("change", [
    {"classes": ["a", "b"]}, {"classes": None}, {"labels": {"a": 1}}, {"pixel_size": None},
    {"value_range": 3},
    {"calibration": {"method": "magic", "logarithms": False, "curves": [[1]], "held_out": []}},
    {"calibration": {"method": "temperature", "logarithms": False, "curves": [[None]], "held_out": []}},
    {"calibration": 3}, {"classifier": "knn"}, {"classifier": None}, {"classifier": "sv"}, {"files": None},
    {"sets": {"kind": 1}}, {"stain": [1]},
])
def test_facts_that_do_not_belong_to_the_files_are_refused(folder: Path, change: dict[str, Any]) -> None:
    reseal(folder, **change)
    with pytest.raises(HundredfoldError):
        Predictor.load(folder)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes other, gone, or twice there."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(max(1, len(found)))
        match chance.randrange(4):
            case 0 if found:
                found[min(place, len(found) - 1)] ^= 1 << chance.randrange(8)
            case 1:
                del found[place : place + chance.randint(1, 50)]
            case 2:
                found[place:place] = found[place : place + 9] or b"9"
            case _:
                del found[place:]
    return bytes(found)


def bent(value: Any, chance: random.Random) -> Any:
    """JSON with one value somewhere replaced, dropped or of another type."""
    other = copy.deepcopy(value)
    keys = list(other) if isinstance(other, dict) else []
    keys = list(range(len(other))) if isinstance(other, list) else keys
    if not keys:
        return chance.choice([None, True, -1, 10**30, 0.5, "", "x" * 99, [], {}, [[1]], "\0", "../../etc"])
    key = chance.choice(keys)
    if chance.random() < 0.2:
        del other[key]
    else:
        other[key] = bent(other[key], chance)
    return other


def fuzzed(saved: Path, tmp_path: Path, rounds: int, seed: int) -> tuple[int, int]:
    """How many changed predictors were refused by our own errors, and how many loaded."""
    loud, quiet = 0, 0
    answer = Predictor.load(saved).answer(images(5))
    chance = random.Random(seed)
    for _ in range(rounds):
        own = Path(shutil.copytree(saved, tmp_path / "own"))
        name, knows = chance.choice(names(own)), chance.random() < 0.6
        if name.endswith(".json") and chance.random() < 0.7:
            (own / name).write_text(json.dumps(bent(read(own / name), chance)), encoding="utf-8")
        else:
            (own / name).write_bytes(damaged((own / name).read_bytes(), chance))
        changed = (own / name).read_bytes() != (saved / name).read_bytes()
        try:
            if knows:
                reseal(own)
        except (ValueError, TypeError):
            knows = False
        try:
            found = Predictor.load(own).answer(images(5))
        except HundredfoldError:
            loud += 1
        else:
            assert knows or not changed or read(own / FACTS) == read(saved / FACTS), name
            assert found.scores.shape == answer.scores.shape
            quiet += 1
        shutil.rmtree(own)
    return loud, quiet


def test_whatever_is_changed_the_error_is_ours(saved: Path, tmp_path: Path) -> None:
    loud, quiet = fuzzed(saved, tmp_path, rounds=150, seed=0)
    assert loud + quiet == 150
    assert loud > 75
