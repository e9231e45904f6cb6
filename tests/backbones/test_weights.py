"""Weights from files: whatever wraps the keys, the right tensors arrive, or an error says which do not."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from hundredfold.backbones.backbone import create_backbone
from hundredfold.backbones.weights import find_weights_file, match_keys, read_weights
from hundredfold.errors import ModelFileError, WeightsError

NAME = "resnet10t"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return create_backbone(NAME, weights="none").model.state_dict()


def assert_loaded(path: Path, state: dict[str, torch.Tensor]) -> None:
    loaded = create_backbone(NAME, weights=str(path)).model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"backbone.{k}": v for k, v in s.items()} | {"projection_head.0.bias": torch.ones(3)},
        lambda s: {"model": {f"module.backbone.{k}": v for k, v in s.items()}, "epoch": 3},
        lambda s: {"student": {k: v + 1 for k, v in s.items()}, "teacher": s},
        lambda s: s | {"fc.weight": torch.ones(1000, 512), "fc.bias": torch.ones(1000)},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}
        | {k: v for k, v in s.items() if k.endswith("num_batches_tracked")},
    ],
    ids=["plain", "nested", "parallel", "reference", "lightning", "distilled", "classifier", "reordered"],
)
def test_torch_files_of_every_wrapping_load(wrap, state, tmp_path: Path) -> None:
    torch.save(wrap(state), tmp_path / "weights.pt")
    assert_loaded(tmp_path / "weights.pt", state)


def test_safetensors_load_whatever_their_suffix(state, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "weights.bin"):
        save_file(state, tmp_path / name)
        assert_loaded(tmp_path / name, state)


def test_counters_of_batchnorm_may_be_missing(state, tmp_path: Path) -> None:
    save_file({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    assert_loaded(tmp_path / "w.safetensors", state)


def test_a_missing_tensor_is_refused_by_name(state, tmp_path: Path) -> None:
    torch.save({k: v for k, v in state.items() if k != "bn1.weight"}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"fits (\d+) of the \d+ .* missing: bn1\.weight .*--backbone"):
        create_backbone(NAME, weights=str(tmp_path / "w.pt"))


def test_a_misfitting_tensor_is_refused_with_both_shapes(state, tmp_path: Path) -> None:
    torch.save(state | {"bn1.weight": torch.ones(7)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"another shape: bn1\.weight: \(7,\) in the file, \(64,\)"):
        create_backbone(NAME, weights=str(tmp_path / "w.pt"))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb",)


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Bomb()}, tmp_path / "zipped.pt")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"weight": Bomb()}))
    for name in ("zipped.pt", "bare.pkl"):
        with pytest.raises(ModelFileError, match="state_dict"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "bomb").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"\x10" + b"\0" * 7 + b"{" + b"x" * 30])
def test_a_damaged_file_is_an_error_with_its_name(content: bytes, tmp_path: Path) -> None:
    for suffix in ("pt", "safetensors"):
        path = tmp_path / f"w.{suffix}"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=str(path)):
            read_weights(path)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelFileError, match="no tensors"):
        read_weights(tmp_path / "w.pt")


def test_a_file_states_its_normalisation(state, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(state, path, metadata={"mean": "[0.5, 0.25, 0.125]", "std": "[0.5, 0.5, 1]"})
    backbone = create_backbone(NAME, weights=str(path))
    assert backbone.mean == (0.5, 0.25, 0.125)
    assert backbone.std == (0.5, 0.5, 1.0)
    save_file(state, path, metadata={"mean": "half"})
    with pytest.raises(ModelFileError, match="half"):
        create_backbone(NAME, weights=str(path))


def test_a_folder_means_the_encoder_in_it(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    file = tmp_path / "encoder" / "encoder.safetensors"
    with pytest.raises(WeightsError, match="encoder folder or a run"):
        find_weights_file(tmp_path)
    file.touch()
    assert find_weights_file(tmp_path) == find_weights_file(tmp_path / "encoder") == find_weights_file(file)


KEYS = st.lists(st.from_regex(r"[a-z]{1,3}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True), min_size=1, unique=True)


@settings(max_examples=25, deadline=None)
@given(keys=KEYS, prefix=st.from_regex(r"([a-z]{4,6}\.){0,3}", fullmatch=True))
def test_any_prefix_is_found(keys: list[str], prefix: str) -> None:
    expected = {key: torch.full((place + 1,), 1.0) for place, key in enumerate(keys)}
    match = match_keys({prefix + key: value for key, value in expected.items()}, expected)
    assert match.prefix == prefix
    assert match.state.keys() == expected.keys()
    assert not match.missing + match.misfits + match.unexpected
