"""Models in the format of transformers, as that library itself computes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

import hundredfold
from hundredfold.backbones.attention import has_attention
from hundredfold.backbones.backbone import create_backbone
from hundredfold.backbones.hugging_face import SEEING, VECTORS
from hundredfold.encode.encoder import Encoder, load_encoder
from hundredfold.encode.opening import open_encoder
from hundredfold.encode.protocol import read_facts, write_facts
from hundredfold.encode.timm_folder import save_timm_folder
from hundredfold.errors import InputError, ModelFileError, SettingsError, WeightsError

transformers = pytest.importorskip("transformers")

SIDE = 32
ATTENDING = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "image_size": SIDE, "patch_size": 8,
}
STAGED = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
WINDOWED = {
    "embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "image_size": SIDE, "patch_size": 2,
    "window_size": 4,
}
SMALL: dict[str, dict[str, Any]] = {
    "beit": ATTENDING, "clip_vision_model": ATTENDING, "convnext": STAGED, "convnextv2": STAGED,
    "deit": ATTENDING, "dinov2": ATTENDING, "dinov2_with_registers": ATTENDING, "dinov3_convnext": STAGED,
    "dinov3_vit": ATTENDING, "regnet": {**STAGED, "embedding_size": 8, "groups_width": 8},
    "resnet": {**STAGED, "embedding_size": 8, "layer_type": "basic"}, "siglip_vision_model": ATTENDING,
    "swin": WINDOWED, "swinv2": WINDOWED, "vit": ATTENDING, "vit_msn": ATTENDING,
}
PIXELS = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": SIDE, "width": SIDE},
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6],
}


def written(folder: Path, model: Any, **pixels: Any) -> Path:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PIXELS, **pixels}))
    return folder


def made(kind: str) -> Any:
    torch.manual_seed(7)
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **SMALL[kind]))
    for name, values in model.named_buffers():  # else a forgotten one would not be noticed
        if name.endswith("running_mean"):
            values.uniform_(-0.1, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def batch() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "vit-of-a-clinic", made("vit"))


@pytest.mark.parametrize("kind", sorted(VECTORS))
def test_every_type_gives_the_vectors_of_transformers_itself(
    kind: str, tmp_path: Path, batch: NDArray[np.uint8]
) -> None:
    model = made(kind)
    encoder = open_encoder(str(written(tmp_path / "model", model)))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        told = model(pixel_values=processor(list(batch), return_tensors="pt")["pixel_values"])
    expected = told.last_hidden_state[:, 0] if VECTORS[kind] == "class token" else told.pooler_output
    np.testing.assert_allclose(encoder.encode(batch), expected.flatten(1), atol=2e-5)
    assert encoder.dimension == expected.shape[1]


@pytest.mark.parametrize("kind", sorted(VECTORS))
def test_every_type_is_kept_with_the_encoder_and_takes_any_size(
    kind: str, tmp_path: Path, batch: NDArray[np.uint8]
) -> None:
    opened = open_encoder(str(written(tmp_path / "model", made(kind))))
    assert isinstance(opened, Encoder)
    larger = opened.altered(size=SIDE + 8)
    larger.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder")
    assert again.hash == larger.hash != opened.hash
    np.testing.assert_array_equal(again.encode(batch), larger.encode(batch))


@pytest.mark.parametrize("kind", sorted(SEEING))
def test_of_a_model_of_images_and_text_the_part_that_sees_is_taken(
    kind: str, tmp_path: Path, batch: NDArray[np.uint8]
) -> None:
    text = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48,
            "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    settings = transformers.AutoConfig.for_model(kind, vision_config=ATTENDING, text_config=text)
    model = transformers.AutoModel.from_config(settings).eval()
    encoder = open_encoder(str(written(tmp_path / "model", model)))
    pixels = (torch.from_numpy(batch) / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.4, 0.5, 0.6])
    with torch.no_grad():
        expected = model.vision_model(pixel_values=pixels.permute(0, 3, 1, 2)).pooler_output
    np.testing.assert_allclose(encoder.encode(batch), expected, atol=2e-5)
    assert not any("text" in key for key in encoder.backbone.model.state_dict())  # type: ignore[union-attr]


def test_only_the_name_of_the_folder_is_told(folder: Path) -> None:
    told = json.dumps(open_encoder(str(folder)).facts)
    assert "vit-of-a-clinic" in told
    assert str(folder.parent) not in told


def test_weights_that_are_missing_are_no_random_numbers(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state[next(key for key in state if key.endswith("layer.0.layernorm_after.bias"))]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack tensors.* layers\.0\.layernorm_after\.bias \("):
        open_encoder(str(folder))


@pytest.mark.parametrize(("change", "found"), [
    ({"rescale_factor": 1 / 127.5}, "found the factor 0.00784"), ({"do_rescale": False}, "factor None"),
    ({"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True}, "green and red"),
    ({"image_mean": [0.5]}, r"hold no model that can be read: expected three numbers, found \(0\.5,\)"),
    ({"image_std": [0.5, 0, 0.5]}, r"read: no pixels are of .* deviation \(0\.5, 0\.0, 0\.5\)"),
    ({"size": {"height": -3, "width": -3}}, "read: no pixels are of .* -3 px"),
])
def test_pixels_that_are_not_understood_are_refused(
    change: dict[str, Any], found: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=found):
        open_encoder(str(written(tmp_path / "model", made("vit"), **change)))


def test_pixels_that_are_not_normalised_are_left_so(tmp_path: Path) -> None:
    backbone = create_backbone(f"local-dir:{written(tmp_path / 'm', made('vit'), do_normalize=False)}")
    assert (backbone.mean, backbone.std) == ((0, 0, 0), (1, 1, 1))


def test_the_size_is_that_of_the_crop(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "m", made("vit"), image_processor_type="CLIPImageProcessor", do_center_crop=True,
        size={"shortest_edge": 40}, crop_size={"height": 24, "width": 24},
    )
    assert create_backbone(f"local-dir:{folder}").native_size == 24


def test_a_type_that_is_not_known_is_refused_with_those_that_are(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit_mae"}))
    with pytest.raises(SettingsError, match=r"'vit_mae'.*dinov2"):
        open_encoder(str(folder))


def test_an_encoder_that_was_made_to_fetch_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    open_encoder(str(folder)).save(tmp_path / "encoder")
    facts = read_facts(tmp_path / "encoder")
    config = json.dumps({"model_type": "detr", "use_pretrained_backbone": True})
    write_facts(tmp_path / "encoder", {**facts, "options": {"config": config}})
    with pytest.raises(ModelFileError, match="'detr'"):
        load_encoder(tmp_path / "encoder")


def test_a_second_configuration_is_no_way_round(folder: Path) -> None:
    """The library would take the one for its own version, of a type that fetches further models."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "configuration_files": ["config.4.0.0.json"]}))
    other = {"model_type": "detr", "use_timm_backbone": True, "use_pretrained_backbone": True}
    (folder / "config.4.0.0.json").write_text(json.dumps(other))
    with pytest.raises(SettingsError, match="'detr'"):
        open_encoder(str(folder))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_no_program_of_the_hub_computes_attention(
    key: str, folder: Path, tmp_path: Path, batch: NDArray[np.uint8]
) -> None:
    plain, program = open_encoder(str(folder)), {key: "kernels-community/any"}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **program}))
    np.testing.assert_array_equal(open_encoder(str(folder)).encode(batch), plain.encode(batch))
    plain.save(tmp_path / "encoder")
    facts = read_facts(tmp_path / "encoder")
    config = {**json.loads(facts["options"]["config"]), **program}
    write_facts(tmp_path / "encoder", {**facts, "options": {"config": json.dumps(config)}})
    with pytest.raises(ModelFileError, match="expected the hash"):  # it was built, and only then compared
        load_encoder(tmp_path / "encoder")


def test_an_encoder_outlives_a_version_of_the_library_with_further_settings(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_encoder(str(folder)).save(tmp_path / "encoder")
    told = transformers.ViTConfig.to_dict
    monkeypatch.setattr(transformers.ViTConfig, "to_dict", lambda own: {**told(own), "new_in_5_30": False})
    again = load_encoder(tmp_path / "encoder")
    again.save(tmp_path / "copy")
    assert load_encoder(tmp_path / "copy").hash == again.hash == read_facts(tmp_path / "encoder")["hash"]


def test_quantised_weights_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    quantised = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    (folder / "config.json").write_text(json.dumps({**config, **quantised}))
    with pytest.raises(WeightsError, match="quantised"):
        open_encoder(str(folder))


def test_a_model_that_pools_nothing_is_refused(tmp_path: Path) -> None:
    settings = transformers.AutoConfig.for_model("siglip_vision_model", **ATTENDING, vision_use_head=False)
    folder = written(tmp_path / "model", transformers.AutoModel.from_config(settings))
    with pytest.raises(SettingsError, match="no vector for the whole image"):
        open_encoder(str(folder))


def test_a_folder_that_cannot_be_read_says_so(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match="no model that can be read"):
        open_encoder(str(folder))
    (folder / "config.json").write_text("[")
    with pytest.raises(WeightsError, match="configuration cannot be read"):
        open_encoder(str(folder))


def test_without_the_library_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"hundredfold\[transformers\]"):
        open_encoder(str(folder))


def test_the_cache_of_the_hub_is_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: NDArray[np.uint8]
) -> None:
    for place in (huggingface_hub.constants, transformers.utils.hub.constants):
        monkeypatch.setattr(place, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--clinic--cells" / "snapshots" / ("0" * 40)
    (snapshot.parent.parent / "refs").mkdir(parents=True)
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(WeightsError, match=r"not on this machine.*co/clinic/cells.*--download"):
        open_encoder("hf:clinic/cells")
    for path in folder.iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    found = open_encoder("hf:clinic/cells")
    np.testing.assert_array_equal(found.encode(batch), open_encoder(str(folder)).encode(batch))
    assert found.facts["source"] == "hf-hub:clinic/cells"
    (snapshot / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match=r"no model that can be read.*\(hf-hub:clinic/cells\)"):
        open_encoder("hf:clinic/cells")


def test_it_has_no_stochastic_depth_and_no_form_of_timm(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="stochastic depth"):
        create_backbone(f"local-dir:{folder}", drop_path=0.1)
    with pytest.raises(SettingsError, match="transformers"):
        save_timm_folder(open_encoder(str(folder)), tmp_path / "timm")


def test_a_layer_that_attends_is_known_for_one() -> None:
    attending = {kind for kind in VECTORS if has_attention(made(kind))}
    assert attending == {kind for kind in VECTORS if kind.startswith(("beit", "c", "d", "s", "v"))} - {
        "convnext", "convnextv2", "dinov3_convnext",
    }


def test_it_is_trained_on_from(folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8)):
        Image.fromarray(pixels).save(images / f"{number}.png")
    run = hundredfold.pretrain(
        images, backbone=f"local-dir:{folder}", out=tmp_path / "run", image_size=SIDE, epochs=2, batch_size=4,
        prototypes=16, head_hidden=16, head_bottleneck=8, precision="float32", monitor_every=1,
    )
    trained, start = open_encoder(str(run.path)), open_encoder(str(folder))
    batch = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert trained.encode(batch).shape == start.encode(batch).shape
    assert not np.allclose(trained.encode(batch), start.encode(batch))


def test_nothing_is_said_while_it_loads(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_encoder(str(folder))
    told = capfd.readouterr()
    assert told.out + told.err == ""


def test_a_folder_of_timm_is_read_too_but_not_what_was_exported_from_here(tmp_path: Path) -> None:
    encoder = Encoder(
        create_backbone("resnet10t", weights="none"), size=SIDE, value_range=None, fit="pad", provenance={},
        seen=frozenset(), symmetry="dihedral",
    )
    save_timm_folder(encoder, tmp_path / "timm")
    with pytest.raises(SettingsError, match="exported from an encoder"):
        open_encoder(str(tmp_path / "timm"))
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    del config["hundredfold"]
    (tmp_path / "timm" / "config.json").write_text(json.dumps(config))
    opened = open_encoder(str(tmp_path / "timm"))
    assert isinstance(opened, Encoder)
    state = encoder.backbone.model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in opened.backbone.model.state_dict().items())
    assert opened.size == SIDE
