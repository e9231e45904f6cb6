"""timm's pretrained weights: asked for, found in the cache, refused, never replaced by random ones."""

from __future__ import annotations

import json
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from hundredfold.backbones.backbone import create_backbone
from hundredfold.errors import SettingsError, WeightsError

NAME = "resnet10t.c3_in1k"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))


@pytest.fixture
def cached(tmp_path: Path) -> dict[str, torch.Tensor]:
    """What the hub's client would have left in its cache."""
    torch.manual_seed(3)
    model = timm.create_model("resnet10t")
    snapshot = tmp_path / "hub" / f"models--timm--{NAME}" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(model.state_dict(), snapshot / "model.safetensors")
    config = {"architecture": "resnet10t", "num_classes": 1000, "pretrained_cfg": {
        "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 176, 176], "num_classes": 1000,
        "first_conv": "conv1.0", "classifier": "fc",
    }}
    (snapshot / "config.json").write_text(json.dumps(config))
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    return model.state_dict()


@pytest.mark.parametrize("name", [NAME, "resnet10t"])
def test_a_download_must_be_allowed_and_is_described(name: str) -> None:
    with pytest.raises(WeightsError, match=r"co/timm/resnet10t\.c3_in1k \(about 20 MB.*--download"):
        create_backbone(name)


def test_a_hub_model_must_be_allowed_too() -> None:
    with pytest.raises(WeightsError, match=r"huggingface\.co/some/model.*--download"):
        create_backbone("hf-hub:some/model")


@pytest.mark.parametrize("name", ["", "a/b/c", "../b", "some/model@main"])
def test_a_name_that_the_hub_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="OWNER/NAME"):
        create_backbone(f"hf-hub:{name}", download=True)


@pytest.mark.parametrize("name", [NAME, "hf-hub:some/model"])
def test_a_failed_download_is_an_error_not_random_weights_and_comes_at_once(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"could not be downloaded.*Check the network"):
        create_backbone(name, download=True)
    assert time.monotonic() - began < 20  # the hub's client alone tries for a minute


def test_a_model_without_pretrained_weights_says_so() -> None:
    name = next(n for n in timm.list_models() if not timm.get_pretrained_cfg(n).has_weights)
    with pytest.raises(WeightsError, match="offers no pretrained weights"):
        create_backbone(name)


def test_the_cache_is_used_without_asking(cached: dict[str, torch.Tensor]) -> None:
    backbone = create_backbone(NAME)
    found = backbone.model.state_dict()
    assert all(torch.equal(found[key], cached[key]) for key in found)
    assert "fc.weight" not in found
    assert backbone.source == f"timm:{NAME}"


def test_the_older_cache_of_torch_is_used_too(tmp_path: Path) -> None:
    config = timm.get_pretrained_cfg("resnet10t")
    model = timm.create_model("resnet10t")
    folder = tmp_path / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / Path(config.url).name)
    found = create_backbone("resnet10t").model.state_dict()
    assert torch.equal(found["conv1.0.weight"], model.state_dict()["conv1.0.weight"])


def test_a_hub_model_brings_its_own_normalisation(cached: dict[str, torch.Tensor]) -> None:
    backbone = create_backbone(f"hf-hub:timm/{NAME}", download=True)
    assert backbone.mean == (0.1, 0.2, 0.3)
    assert backbone.architecture == "resnet10t"
    assert torch.equal(backbone.model.state_dict()["conv1.0.weight"], cached["conv1.0.weight"])


@pytest.mark.parametrize("place", ["name", "hub", "folder"])
def test_weights_that_are_missing_are_no_random_numbers(
    place: str, cached: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """timm leaves what is missing random and says nothing, since it drops the layer of the classes anyway."""
    path = next(tmp_path.rglob("model.safetensors"))
    save_file({key: value for key, value in load_file(path).items() if "layer4.0.conv1" not in key}, path)
    names = {"name": NAME, "hub": f"hf-hub:timm/{NAME}", "folder": f"local-dir:{path.parent}"}
    with pytest.raises(WeightsError, match=r"lack tensors of the model: layer4\.0\.conv1\.weight \("):
        create_backbone(names[place])


def test_what_lies_in_the_cache_is_not_said_to_be_downloaded(
    cached: dict[str, torch.Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    found = create_backbone(f"hf-hub:timm/{NAME}").model.state_dict()
    assert torch.equal(found["layer4.0.conv1.weight"], cached["layer4.0.conv1.weight"])
    told = capfd.readouterr()
    assert "Downloading" not in told.out + told.err


def test_an_encoder_exported_for_other_programs_is_refused_from_the_hub_too(
    cached: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = next(tmp_path.rglob("config.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "hundredfold": {"symmetry": "dihedral"}}))
    with pytest.raises(SettingsError, match="exported from an encoder"):
        create_backbone(f"hf-hub:timm/{NAME}")


def test_a_hub_model_takes_no_other_weights(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="comes with its own weights"):
        create_backbone("hf-hub:some/model", weights="none")
