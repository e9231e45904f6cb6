"""A predictor or an encoder as one ONNX file, which any ONNX Runtime reads without torch or hundredfold."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from hundredfold.encode.layers import EncoderLayers
from hundredfold.encode.protocol import EncoderLike, expected_pixels
from hundredfold.errors import InputError, SettingsError
from hundredfold.files import atomic_write
from hundredfold.predict.layers import PredictorLayers
from hundredfold.predict.predictor import Predictor
from hundredfold.rundir import software

__all__ = ["save_onnx"]

#: Protocol buffers, of which an ONNX file is one, hold no more.
MOST_BYTES = 2**31 - 2**20
NEEDED = ("onnx", "onnxscript")
#: What a predictor's facts say of how pixels are made.
RECIPE = ("pixel_size", "fit", "value_range", "window", "stain")


def save_onnx(model: Predictor | EncoderLike, target: Path) -> None:
    """Write a predictor, or an encoder alone, as one graph.

    Input ``images``: uint8 ``[b, h, h, 3]``, h the encoder's size, b any number. Outputs: see
    :class:`~hundredfold.predict.layers.PredictorLayers`; of an encoder ``embedding`` ``[b, d]`` alone.
    The file's metadata says, as JSON: ``classes``, ``pixels`` (how images are made such squares), ``labels``
    (of each class it learned from), ``hash`` of the predictor or encoder, ``software``. Labels and sets that
    depend on a prevalence are not in it.

    Raises:
        InputError: the packages of the extra ``onnx`` are not installed.
        SettingsError: the encoder or the classifier has no such form, or the file would be over 2 GB.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InputError(
            f"ONNX files need {' and '.join(missing)}, not installed",
            remedy="pip install 'hundredfold[onnx]'",
        )
    layers, outputs = _layers(model)
    _check_size(layers)
    size = layers.encoder.size if isinstance(layers, PredictorLayers) else layers.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            layers.eval(), (example,), input_names=["images"], output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(_metadata(model, size))
    with atomic_write(target) as path:
        program.save(path, external_data=False)


def _layers(model: Predictor | EncoderLike) -> tuple[PredictorLayers | EncoderLayers, tuple[str, ...]]:
    if isinstance(model, Predictor):
        layers = PredictorLayers(model)
        return layers, layers.outputs
    return EncoderLayers(model), ("embedding",)


def _check_size(layers: nn.Module) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in layers.state_dict().values())
    if size > MOST_BYTES:
        raise SettingsError(
            f"an ONNX file holds at most 2 GB, the numbers of this one take {size / 1e9:.1f}",
            remedy="Export the encoder as a timm folder (--timm), or fit with --classifier logistic.",
        )


def _metadata(model: Predictor | EncoderLike, size: int) -> dict[str, str]:
    if isinstance(model, Predictor):
        recipe = {name: model.facts.get(name) for name in RECIPE}
        facts = {
            "kind": "predictor", "classes": list(model.classes), "labels": model.facts["labels"],
            "classifier": model.facts["classifier"], "encoder": model.encoder.hash,
        }
    else:
        recipe, facts = expected_pixels(model), {"kind": "encoder"}
    pixels = {"size": size, "channels": "RGB", **recipe}
    named = {"hash": model.hash, **facts, "pixels": pixels, "software": software()}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own doings, none of which a user could change."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(before)
