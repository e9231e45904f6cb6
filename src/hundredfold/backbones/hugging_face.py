"""Vision models of the library ``transformers`` as modules that give one vector an image."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from hundredfold.backbones.weights import lacking
from hundredfold.errors import InputError, SettingsError, WeightsError

__all__ = ["TRANSFORMERS", "VisionModel", "load_vision_model", "rebuild_vision_model"]

#: The architecture that such a model names; the configuration beside it says which.
TRANSFORMERS: Final = "transformers"

#: Model type → where its vector is: what it calls pooled, or the class token, where what pools is a layer
#: that only a fine-tuned model has trained. All others are refused: anybody may have written the folder of an
#: encoder, and some types fetch further models by what it says, or draw random masks.
VECTORS: Mapping[str, Literal["pooled", "class token"]] = {
    "beit": "pooled", "clip_vision_model": "pooled", "convnext": "pooled", "convnextv2": "pooled",
    "deit": "class token", "dinov2": "pooled", "dinov2_with_registers": "pooled",
    "dinov3_convnext": "pooled", "dinov3_vit": "pooled", "regnet": "pooled", "resnet": "pooled",
    "siglip_vision_model": "pooled", "swin": "pooled", "swinv2": "pooled", "vit": "class token",
    "vit_msn": "class token",
}
#: Types of image and text together → the type of the part that sees.
SEEING = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
#: Of a configuration, what the model does not depend on.
NOT_KEPT = ("id2label", "label2id", "architectures", "_name_or_path", "transformers_version", "dtype")
SIZE = 224  # px; of models that say nothing of theirs


class VisionModel(nn.Module):
    """A model of ``transformers``: normalised images [b,3,h,w] of any size → vectors [b,d].

    Args:
        vision: the model, of a type in ``VECTORS``.
        pixels: ``mean`` and ``std`` that its weights expect, and ``input_size`` [3,h,w].
        config: what it was rebuilt from, which a later version of the library would tell otherwise.

    Raises:
        SettingsError: the model pools nothing.
    """

    global_pool = "token"  # for who would look for maps of features: there are none

    def __init__(self, vision: Any, pixels: Mapping[str, Any], *, config: str | None = None) -> None:
        super().__init__()
        if not getattr(vision.config, "vision_use_head", True):  # as a SigLIP may
            raise SettingsError(
                "the model gives no vector for the whole image", where="vision_use_head",
                remedy="Choose one that does.",
            )
        self.vision = vision
        self._of_the_token = VECTORS[vision.config.model_type] == "class token"
        taken = inspect.signature(vision.forward).parameters
        self._more = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in taken else {}
        self.pretrained_cfg = {"architecture": TRANSFORMERS, **pixels}
        told = {key: value for key, value in vision.config.to_dict().items() if key not in NOT_KEPT}
        self._model_args = {"config": config or json.dumps(told, sort_keys=True)}

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [b,3,h,w] → vectors [b,d]."""
        told = self.vision(pixel_values=images, **self._more)
        vectors: Tensor = told.last_hidden_state[:, 0] if self._of_the_token else told.pooler_output
        return vectors.flatten(1)  # [b,d] or [b,d,1,1] -> [b,d]


def load_vision_model(repository: str, model_type: str, *, download: bool) -> VisionModel:
    """A model with its weights, of which none may be missing, and the pixels that they expect.

    Code that comes with a model is never run, nor any that its configuration names.

    Args:
        repository: OWNER/NAME on the hub, or a folder.
        model_type: what its configuration says.
        download: whether files may be fetched that are not in the cache.

    Raises:
        InputError: ``transformers`` is not installed.
        SettingsError: a model of another type.
        WeightsError: tensors are missing or quantised, or pixels are scaled or ordered in a way of their own.
        OSError: files are not there (``transformers`` itself).
    """
    _check_type(model_type, repository)
    transformers = _transformers()
    found: dict[str, Any] = {"local_files_only": not download, "trust_remote_code": False}
    with _silent(transformers):
        config = transformers.AutoConfig.from_pretrained(repository, **found)
        _make_plain(config, repository)
        model, told = transformers.AutoModel.from_pretrained(
            repository, config=config, output_loading_info=True, dtype=torch.float32,
            **_pooling(config.model_type), **found,
        )
        processor = transformers.AutoImageProcessor.from_pretrained(repository, **found)
    if told["missing_keys"]:
        raise lacking(told["missing_keys"], repository)
    return VisionModel(getattr(model, "vision_model", model).eval(), _pixels(processor, repository))


def rebuild_vision_model(config: str) -> VisionModel:
    """The same model without its weights, from the configuration that it told.

    Raises:
        InputError: ``transformers`` is not installed.
        SettingsError: the configuration is of another type, or describes no model.
    """
    given = json.loads(config)
    kind = str(given.get("model_type"))
    _check_type(kind, "config")
    transformers = _transformers()
    with _silent(transformers):
        settings = transformers.AutoConfig.for_model(**given)
        _make_plain(settings, "config")
        model = transformers.AutoModel.from_config(settings, **_pooling(kind))
    size = given.get("image_size")
    side = size if isinstance(size, int) else SIZE
    pixels = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "input_size": (3, side, side)}
    return VisionModel(model, pixels, config=config)


def _check_type(model_type: str, where: str) -> None:
    if model_type not in {*VECTORS, *SEEING}:
        raise SettingsError(
            f"no model of the type {model_type!r} can be an encoder here", where=where,
            remedy=f"Known: {', '.join(sorted({*VECTORS, *SEEING}))}, and every model in timm's format.",
        )


def _make_plain(config: Any, where: str) -> None:
    """Refuse a configuration of a model that is not known here, and of another forget what computes it.

    A folder may bring several configurations, and the library takes another than the one that was looked at.
    What computes attention may be a program on the hub, which it would fetch and run.
    """
    _check_type(config.model_type, where)
    if getattr(config, "quantization_config", None):
        raise WeightsError(
            "the weights are quantised", where=where, remedy="Choose the model with its own weights."
        )
    config._attn_implementation = None  # noqa: SLF001 - of the parts, too; the public name is read once


def _pooling(model_type: str) -> dict[str, bool]:
    return {"add_pooling_layer": False} if model_type in ("vit", "deit") else {}


def _pixels(processor: Any, where: str) -> dict[str, Any]:
    """What an image processor makes of an image, as far as it is done here, too."""

    def of(name: str) -> Any:
        return getattr(processor, name, None)

    factor = of("rescale_factor") if of("do_rescale") else None
    if factor is None or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise WeightsError(
            f"expected weights for pixels from 0 to 1, found the factor {factor} instead of 1/255",
            where=where, remedy="Choose a model whose pixels are divided by 255.",
        )
    if of("do_flip_channel_order"):
        raise WeightsError(
            "expected weights for red, green and blue, found them for blue, green and red", where=where,
            remedy="Choose a model that takes the colours in the usual order.",
        )
    plain = not of("do_normalize")
    size = (of("crop_size") if of("do_center_crop") else None) or of("size") or {}
    side = next((size[key] for key in ("height", "shortest_edge") if size.get(key)), SIZE)
    return {
        "mean": (0.0,) * 3 if plain else tuple(of("image_mean")),
        "std": (1.0,) * 3 if plain else tuple(of("image_std")), "input_size": (3, int(side), int(side)),
    }


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            "models in the format of transformers need that library", where="hf:",
            remedy="pip install 'hundredfold[transformers]'",
        ) from error
    return transformers


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """Without its bars and its lines on weights that it did not use; what counts is raised here."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
