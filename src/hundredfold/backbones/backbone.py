"""Models as backbones: an image in, one vector out, with the normalisation its weights expect."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from hundredfold.backbones.hugging_face import TRANSFORMERS, rebuild_vision_model
from hundredfold.backbones.pretrained import (
    ANY_SIZE,
    FOLDER_PREFIX,
    HUB_PREFIX,
    build,
    check_name,
    load_pretrained,
    readable,
)
from hundredfold.backbones.quick import timm
from hundredfold.backbones.weights import KeyMatch, find_weights_file, match_keys, read_weights
from hundredfold.errors import ModelFileError, SettingsError, WeightsError

__all__ = ["Backbone", "Triple", "create_backbone", "rebuild_backbone"]

Triple = tuple[float, float, float]

PROBE_SIZES = (64, 96)
SHOWN_KEYS = 3
#: What would make timm load another file or ask the network: no option of an architecture is called so.
OF_THE_FACTORY = frozenset(inspect.signature(timm.create_model).parameters)


class Backbone(nn.Module):
    """A timm model without its classifier, or one of transformers, for images of any size.

    Args:
        name: what it was built by, as timm names it.
        model: a module [b,3,h,w] → [b,d].
        mean, std: the normalisation the weights expect, for pixels from 0 to 1; it belongs to the
            weights and travels with them.
        source: where the weights come from, in words for reports.

    ``architecture`` and ``options`` are what :func:`rebuild_backbone` needs to build the same model without
    the hub; ``native_size`` is the side in px its weights were trained at; ``memory_format`` is that of the
    images it is given, for speed alone.

    Raises:
        SettingsError: the model takes one image size only, or gives no single vector an image.
        ValueError: the normalisation or the size is none.

    Examples:
        >>> backbone = create_backbone("resnet10t", weights="none").eval()
        >>> pixels = torch.zeros(2, 40, 40, 3, dtype=torch.uint8)
        >>> backbone(backbone.normalise(pixels)).shape
        torch.Size([2, 512])
    """

    mean_255: Tensor
    std_255: Tensor

    def __init__(self, name: str, model: nn.Module, *, mean: Triple, std: Triple, source: str) -> None:
        super().__init__()
        self.name, self.model, self.source = name, model, source
        self.mean, self.std = mean, std
        self.architecture, self.options = _recipe(model)
        self.native_size = int(cast(Mapping[str, Any], model.pretrained_cfg)["input_size"][-1])
        if not all(map(isfinite, (*mean, *std))) or min(*std, self.native_size) <= 0:
            raise ValueError(f"no pixels are of mean {mean}, deviation {std} and {self.native_size} px")
        self.dimension = _probe(name, model)
        self.memory_format = torch.channels_last
        self.register_buffer("mean_255", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std_255", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 [b,h,w,3] → float32 [b,3,h,w] as the weights expect it."""
        values = pixels.permute(0, 3, 1, 2).float()  # [b,h,w,3] -> [b,3,h,w], which is channels last
        return ((values - self.mean_255) / self.std_255).contiguous(memory_format=self.memory_format)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images, float [b,3,h,w] → features [b,d]."""
        features: Tensor = self.model(images)
        return features


def create_backbone(
    name: str, *, weights: str = "auto", download: bool = False, drop_path: float = 0.0
) -> Backbone:
    """Build a timm model as a backbone and load its weights.

    Args:
        name: any timm model that returns a feature vector, ``hf-hub:OWNER/NAME`` for a model on the Hugging
            Face hub or ``local-dir:FOLDER`` for its folder, in timm's format or that of transformers.
        weights: ``auto`` (timm's pretrained ones), ``none`` (random, from torch's generator), a
            weights file, an encoder folder, or a run. A safetensors file may state ``mean`` and
            ``std`` in its metadata, as JSON lists; they take the place of timm's.
        download: whether ``auto`` may fetch what is not in the cache.
        drop_path: stochastic depth while training.

    Raises:
        SettingsError: timm has no such model, or it does not fit (see :class:`Backbone`).
        WeightsError: weights are missing, may not or could not be downloaded, or do not fit.
        ModelFileError: the weights file is damaged or of a refused kind.
    """
    if not name.startswith((HUB_PREFIX, FOLDER_PREFIX)):
        check_name(name)
    elif weights != "auto":
        raise SettingsError(
            "a model of the hub or of a folder comes with its own weights", where=f"weights={weights}",
            remedy="Leave --weights at auto, or name the timm model that the file belongs to.",
        )
    if weights == "auto":
        model = load_pretrained(name, download=download, drop_path=drop_path)
        source = name if name.startswith(HUB_PREFIX) else f"timm:{name}"
        if name.startswith(FOLDER_PREFIX):
            name = Path(name.removeprefix(FOLDER_PREFIX)).resolve().name
            source = f"folder:{name}"
        with readable(name):
            return Backbone(name, model, **_normalisation(model), source=source)
    model = build(name, drop_path=drop_path)
    if weights == "none":
        return Backbone(name, model, **_normalisation(model), source="random")
    path = find_weights_file(Path(weights))
    stated = _load_file(name, model, path)
    return Backbone(name, model, **{**_normalisation(model), **stated}, source=f"file:{path.name}")


def rebuild_backbone(
    architecture: str, options: Mapping[str, Any], state: Mapping[str, Tensor],
    *, name: str, mean: Triple, std: Triple, source: str,
) -> Backbone:
    """Build a backbone from what :class:`Backbone` tells of itself and the state of its ``model``.

    Raises:
        SettingsError: this timm has no such architecture, or an option is none of the architecture's.
        WeightsError: the state is not that of the architecture.
    """
    model = _unloaded(architecture, options)
    match = match_keys(state, model.state_dict())
    if match.prefix or match.missing or match.misfits or match.unexpected:
        raise _unfitting(architecture, Path(name), match)
    model.load_state_dict(match.state, strict=False)
    return Backbone(name, model, mean=mean, std=std, source=source)


def _unloaded(architecture: str, options: Mapping[str, Any]) -> nn.Module:
    """The model with whatever weights."""
    if architecture == TRANSFORMERS:
        return rebuild_vision_model(str(options["config"]))
    check_name(architecture)
    if foreign := sorted(set(options) & OF_THE_FACTORY):
        raise SettingsError(
            f"expected options of the architecture, found {', '.join(foreign)}", where=architecture,
            remedy="Copy the encoder again from where it was made.",
        )
    return build(architecture, **options)


def _recipe(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """The timm architecture, and the options it was built with that a file can hold."""
    config = cast(Mapping[str, Any], model.pretrained_cfg)
    options = cast(Mapping[str, Any], getattr(model, "_model_args", {}))
    ours = {"num_classes", "drop_path_rate", *ANY_SIZE}
    plain = {
        key: value for key, value in options.items()
        if key not in ours and isinstance(value, bool | int | float | str | list | tuple)
    }
    return str(config["architecture"]), plain


def _normalisation(model: nn.Module) -> dict[str, Triple]:
    config = cast(Mapping[str, Any], model.pretrained_cfg)
    return {"mean": _triple(config["mean"]), "std": _triple(config["std"])}


def _load_file(name: str, model: nn.Module, path: Path) -> dict[str, Triple]:
    """Load the file into the model; gives the ``mean`` and ``std`` that it states, if it does."""
    state, metadata = read_weights(path)
    match = match_keys(state, model.state_dict())
    if match.missing or match.misfits:
        raise _unfitting(name, path, match)
    model.load_state_dict(match.state, strict=False)  # num_batches_tracked may be missing
    return {key: _stated(metadata, key, path) for key in ("mean", "std") if key in metadata}


def _stated(metadata: Mapping[str, str], key: str, path: Path) -> Triple:
    try:
        return _triple(json.loads(metadata[key]))
    except (ValueError, TypeError) as error:
        raise ModelFileError(
            f"expected three numbers as JSON in the metadata {key!r}, found {metadata[key]!r}", where=path,
            remedy="Write it as [0.5, 0.5, 0.5].",
        ) from error


def _triple(values: object) -> Triple:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ValueError(f"expected three numbers, found {values!r}")
    first, second, third = (float(value) for value in values)
    return first, second, third


def _unfitting(name: str, path: Path, match: KeyMatch) -> WeightsError:
    fitting = sum(not key.endswith("num_batches_tracked") for key in match.state)
    wanted = fitting + len(match.missing) + len(match.misfits)
    parts = [
        f"{word} {', '.join(keys[:SHOWN_KEYS])}{' …' if len(keys) > SHOWN_KEYS else ''}"
        for word, keys in (
            ("missing:", match.missing), ("of another shape:", match.misfits), ("not used:", match.unexpected)
        )
        if keys
    ]
    return WeightsError(
        f"the file fits {fitting} of the {wanted} tensors of {name}; {'; '.join(parts)}", where=path,
        remedy="Name the backbone these weights were trained for with --backbone.",
    )


def _probe(name: str, model: nn.Module) -> int:
    """The length of a feature vector, found by trying two image sizes."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            shapes = [tuple(model(torch.zeros(1, 3, size, size)).shape) for size in PROBE_SIZES]
    except (AssertionError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"the backbone does not take images of {PROBE_SIZES[0]} and {PROBE_SIZES[1]} px: {error}",
            where=name, remedy="Choose one that takes any size: XCiT, ViT, or a convolutional one.",
        ) from error
    finally:
        model.train(training)
    if len(set(shapes)) != 1 or len(shapes[0]) != 2:
        raise SettingsError(
            f"expected one vector an image, found shapes {shapes}", where=name,
            remedy="Choose a backbone with pooled features.",
        )
    return int(shapes[0][1])
