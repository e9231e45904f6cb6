"""Encoder: a backbone, the pixels it expects, and where it comes from; one folder, one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from hundredfold.backbones.backbone import Backbone, rebuild_backbone
from hundredfold.backbones.folding import folded
from hundredfold.backbones.stages import WithStages, dimension_with_stages
from hundredfold.backbones.weights import read_weights
from hundredfold.data.resize import Fit
from hundredfold.data.stain import Stain
from hundredfold.data.value_range import CtWindow, ValueRange
from hundredfold.encode.opening import load_encoder, open_encoder
from hundredfold.encode.protocol import (
    ENCODER_FILE,
    ConcatenatedEncoder,
    EncoderLike,
    digest,
    read_facts,
    resize,
    write_facts,
)
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import ModelFileError, SettingsError
from hundredfold.files import atomic_write
from hundredfold.rundir import software

__all__ = [
    "WEIGHTS_FILE",
    "ConcatenatedEncoder",
    "Encoder",
    "EncoderLike",
    "Precision",
    "Symmetry",
    "ThumbnailEncoder",
    "alter",
    "load_encoder",
    "open_encoder",
    "symmetric_views",
]

WEIGHTS_FILE = "encoder.safetensors"
Symmetry = Literal["none", "mirror", "dihedral"]
SYMMETRIES = ("none", "mirror", "dihedral")
Precision = Literal["float32", "bfloat16"]
#: What a CPU looks at together: so many pixels stay in its cache from layer to layer; with fewer images than
#: that products are too narrow (224 px, one core, 5 → 16 images: ViT-tiny 34 → 36 a second, in bfloat16
#: 73 → 78; EfficientNet-Lite0 93 → 98, and 212 → 227).
CPU_PIXELS, CPU_IMAGES = 16 * 128**2, 16


class Encoder:
    """A frozen backbone with its preprocessing and provenance.

    Args:
        backbone: gives the vectors; brings the mean and deviation its weights expect.
        size: the side in px to which images are resized.
        value_range: the range that deep (16-bit, float) images of the training set were scaled by.
        fit: how images that are not square were made so: pad, crop or squash.
        provenance: how it was made; JSON can hold it.
        seen: SHA-256 of the pixels of every training image; no leak goes unnoticed.
        window: the window in Hounsfield units through which the CT of the training set was shown.
        stain: how the colours of the training set were normalised.
        symmetry: average the vectors over an image and its mirror image, or its 8 turned and mirrored ones.
        stages: of the backbone's last stages the mean maps stand beside its features.
        precision: in which products are computed; vectors are float32 in either.

    Raises:
        SettingsError: an unknown symmetry, or more stages than there are.

    Examples:
        >>> from hundredfold.backbones.backbone import create_backbone
        >>> encoder = Encoder(
        ...     create_backbone("resnet10t", weights="none"), size=32, value_range=None, fit="pad",
        ...     provenance={}, seen=frozenset(),
        ... )
        >>> encoder.encode(np.zeros((2, 50, 50, 3), dtype=np.uint8)).shape
        (2, 512)
    """

    def __init__(
        self, backbone: Backbone, *, size: int, value_range: ValueRange | None, fit: Fit,
        provenance: Mapping[str, Any], seen: frozenset[str], symmetry: Symmetry = "none",
        window: CtWindow | None = None, stain: Stain | None = None, stages: int = 0,
        precision: Precision = "float32",
    ) -> None:
        if symmetry not in SYMMETRIES:
            raise SettingsError(
                f"no symmetry named {symmetry!r}", remedy=f"Known: {', '.join(SYMMETRIES)}."
            )
        self.backbone, self.size, self.value_range, self.fit = backbone, size, value_range, fit
        self.provenance, self.seen, self.symmetry = dict(provenance), frozenset(seen), symmetry
        self.window, self.stain, self.stages, self.precision = window, stain, stages, precision
        #: The length of a vector.
        self.dimension = dimension_with_stages(backbone.model, stages) if stages else backbone.dimension

    @property
    def name(self) -> str:
        """The backbone's timm name."""
        return self.backbone.name

    @cached_property
    def hash(self) -> str:
        """SHA-256 over weights, preprocessing and the images seen; taken once, when first asked for."""
        preprocessing = json.dumps(self._preprocessing, sort_keys=True)
        return digest(_hash_state(self.backbone.model), preprocessing, *sorted(self.seen))

    @property
    def facts(self) -> dict[str, Any]:
        """What reports say of it; JSON can hold it."""
        return {
            "kind": "backbone", "name": self.name, "hash": self.hash, "dimension": self.dimension,
            "source": self.backbone.source, **self._preprocessing, "provenance": self.provenance,
            "seen_count": len(self.seen),
        }

    @property
    def _preprocessing(self) -> dict[str, Any]:
        """Everything but the weights that the vectors depend on."""
        limits = self.value_range
        return {
            "architecture": self.backbone.architecture, "options": self.backbone.options,
            "mean": list(self.backbone.mean), "std": list(self.backbone.std),
            "size": self.size, "fit": self.fit, "symmetry": self.symmetry,
            "value_range": None if limits is None else [limits.low, limits.high],
            **({} if self.window is None else {"window": list(self.window)}),
            **({} if self.stain is None else {"stain": self.stain.facts}),
            **({"stages": self.stages} if self.stages else {}),
            **({} if self.precision == "float32" else {"precision": self.precision}),
        }

    def altered(self, **changes: Any) -> Encoder:
        """An encoder like this one but for some arguments; the backbone is shared, unless it is of them."""
        own = {
            "backbone": self.backbone, "size": self.size, "value_range": self.value_range, "fit": self.fit,
            "provenance": self.provenance, "seen": self.seen, "symmetry": self.symmetry,
            "window": self.window, "stain": self.stain, "stages": self.stages,
            "precision": self.precision,
        }
        return Encoder(**{**own, **changes})

    def to(self, device: str | torch.device) -> Self:
        """Move the backbone to a device, and return the encoder."""
        self.backbone.to(device)
        self.__dict__.pop("lean", None)
        return self

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images uint8 [b,h,h,3] of any size → vectors float32 [b,d]."""
        pixels = torch.from_numpy(np.ascontiguousarray(resize(batch, self.size)))
        device = self.backbone.mean_255.device
        some = max(CPU_IMAGES, CPU_PIXELS // self.size**2) if device.type == "cpu" else max(1, len(pixels))
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with torch.inference_mode(), mixed:
            vectors = [self._vectors(part.to(device)) for part in torch.split(pixels, some)]
        return cast("NDArray[np.float32]", torch.cat(vectors).cpu().numpy())

    def _vectors(self, pixels: Tensor) -> Tensor:
        """Images uint8 [b,h,h,3] → the means over their views [b,d]."""
        images = self.backbone.normalise(pixels)  # [b,h,h,3] -> [b,3,h,h]
        views = [self.lean(view).float() for view in symmetric_views(images, self.symmetry)]
        return torch.stack(views).mean(0)  # [v,b,d] -> [b,d]

    @cached_property
    def lean(self) -> nn.Module:
        """The frozen model, made for speed; to train the backbone further is to make another encoder."""
        lean = folded(self.backbone.model).to(memory_format=self.backbone.memory_format)
        return WithStages(lean, self.stages) if self.stages else lean

    def save(self, folder: Path) -> None:
        """Write ``encoder.safetensors`` and ``encoder.json``."""
        state = {
            key: tensor.detach().cpu().contiguous().clone()
            for key, tensor in self.backbone.model.state_dict().items()
        }
        metadata = {
            "format": "pt", "architecture": self.backbone.architecture,
            "mean": json.dumps(self.backbone.mean), "std": json.dumps(self.backbone.std),
        }
        with atomic_write(folder / WEIGHTS_FILE) as path:
            path.write_bytes(save(state, metadata=metadata))  # a full disk is then an OSError
        write_facts(folder, {**self.facts, "software": software(), "seen": sorted(self.seen)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ModelFileError: a file is missing, damaged, edited (its hash differs), or no safetensors.
        """
        facts = read_facts(folder)
        if not (folder / WEIGHTS_FILE).is_file():
            raise ModelFileError(
                f"the encoder folder has no {WEIGHTS_FILE}", where=folder,
                remedy="Copy the whole folder; only safetensors are loaded.",
            )
        state, _ = read_weights(folder / WEIGHTS_FILE)
        try:
            encoder = cls._build(facts, state)
            found = encoder.hash
        except Exception as error:  # of a file that anybody may have written
            raise ModelFileError(
                f"{ENCODER_FILE} does not describe the weights beside it: {error}", where=folder,
                remedy="Write the encoder again with this version.",
            ) from error
        if found != facts.get("hash"):
            raise ModelFileError(
                f"expected the hash {facts.get('hash')}, found {found}: a file was edited or damaged",
                where=folder, remedy="Copy the folder again from where it was made.",
            )
        return encoder

    @classmethod
    def _build(cls, facts: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        backbone = rebuild_backbone(
            facts["architecture"], facts["options"], state, name=facts["name"],
            mean=tuple(facts["mean"]), std=tuple(facts["std"]), source=facts["source"],
        )
        limits = facts["value_range"]
        return cls(
            backbone, size=facts["size"], value_range=None if limits is None else ValueRange(*limits),
            fit=facts["fit"], provenance=facts["provenance"], seen=frozenset(facts["seen"]),
            symmetry=facts["symmetry"], window=tuple(facts["window"]) if facts.get("window") else None,
            stain=Stain.read(facts.get("stain")), stages=facts.get("stages", 0),
            precision=facts.get("precision", "float32"),
        )


def alter(encoder: EncoderLike, **changes: Any) -> EncoderLike:
    """The same encoder, looking at images of another ``size``, or computing in another ``precision``.

    Its hash is another, since its vectors differ: in bfloat16 by about a hundredth of their length. A
    thumbnail is what it is.
    """
    if isinstance(encoder, ConcatenatedEncoder):
        return ConcatenatedEncoder([alter(part, **changes) for part in encoder.parts])
    return encoder.altered(**changes) if isinstance(encoder, Encoder) else encoder


def symmetric_views(images: Tensor, symmetry: Symmetry) -> Iterator[Tensor]:
    """The views [b,3,h,h] whose vectors are averaged."""
    for turns in range(4 if symmetry == "dihedral" else 1):
        turned = torch.rot90(images, turns, dims=(2, 3))
        yield turned
        if symmetry != "none":
            yield turned.flip(3)


def _hash_state(model: nn.Module) -> str:
    found = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        found.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
