"""An encoder as a folder that timm and the Hugging Face hub read, without hundredfold."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from timm.models import save_for_hf

from hundredfold.backbones.hugging_face import TRANSFORMERS
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.protocol import EncoderLike, expected_pixels
from hundredfold.errors import SettingsError
from hundredfold.files import atomic_folder
from hundredfold.rundir import software

__all__ = ["save_timm_folder"]


def save_timm_folder(encoder: EncoderLike, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``, for ``timm.create_model("local-dir:FOLDER")``.

    The network gives the features of one view of an image that is normalised by the ``mean`` and ``std`` of
    the configuration. What hundredfold makes of them stands there under ``hundredfold``: its vector is the
    mean over the views of ``symmetry``, with the mean maps of the last ``stages`` behind the features; and
    how the pixels were made.

    Args:
        encoder: a network; it is not changed.
        folder: a folder that is there already is replaced.

    Raises:
        SettingsError: the encoder is no network of timm, or several.
    """
    if not isinstance(encoder, Encoder):
        raise SettingsError(
            f"a timm folder holds one network, found the encoder {encoder.name!r}",
            remedy="Of a joined encoder give one part: ENCODER/part-0, ENCODER/part-1 … "
            "(of a predictor PREDICTOR/encoder/part-0 …).",
        )
    backbone = encoder.backbone
    if backbone.architecture == TRANSFORMERS:
        raise SettingsError(
            "a model in the format of transformers has no timm folder", where=encoder.name,
            remedy="Share it as it came from the hub, or the encoder's own folder.",
        )
    model = copy.deepcopy(backbone.model).cpu().to(memory_format=torch.contiguous_format)
    # The weights are no longer those that timm knows by the tag they were built with.
    config: Any = model.pretrained_cfg
    model.pretrained_cfg = {**config, "tag": "hundredfold"}  # type: ignore[assignment]
    ours = {
        "hash": encoder.hash, "symmetry": encoder.symmetry, "stages": encoder.stages,
        **expected_pixels(encoder), "software": software(),
    }
    with atomic_folder(folder) as building:
        save_for_hf(
            model, str(building), safe_serialization=True, model_config={"hundredfold": ours},
            data_config={
                "mean": backbone.mean, "std": backbone.std, "input_size": (3, encoder.size, encoder.size),
                "crop_pct": 1.0,
            },
        )
        # It was made by a library that keeps its files to their owner.
        (building / "model.safetensors").chmod((building / "config.json").stat().st_mode)
