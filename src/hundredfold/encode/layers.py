"""Encoders as one torch module, from pixels to vectors: what an exported graph is made of."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from hundredfold.encode.encoder import Encoder, symmetric_views
from hundredfold.encode.protocol import ConcatenatedEncoder, EncoderLike
from hundredfold.errors import SettingsError

__all__ = ["EncoderLayers", "image_size"]


class EncoderLayers(nn.Module):
    """Images uint8 ``[b, h, h, 3]`` of the encoder's size → vectors float32 ``[b, d]``, as ``encode`` gives.

    The normalisation, the symmetric views and all parts of a joined encoder are inside. The views of a batch
    go through the network together, so that it stands in the graph once.

    Args:
        encoder: a network, or several of one size joined; it is not changed.

    Raises:
        SettingsError: a part is no network, or parts take images of different sizes.

    Examples:
        >>> from hundredfold.backbones.backbone import create_backbone
        >>> encoder = Encoder(
        ...     create_backbone("test_resnet", weights="none"), size=32, value_range=None, fit="pad",
        ...     provenance={}, seen=frozenset(), symmetry="mirror",
        ... )
        >>> EncoderLayers(encoder)(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).shape
        torch.Size([2, 96])
    """

    def __init__(self, encoder: EncoderLike) -> None:
        super().__init__()
        self.size = image_size(encoder)
        self.networks = nn.ModuleList(_Network(part) for part in _parts(encoder))

    def forward(self, images: Tensor) -> Tensor:
        """Images [b,h,h,3] → vectors [b,d1+d2+…]."""
        return torch.cat([network(images) for network in self.networks], dim=1)


def image_size(encoder: EncoderLike) -> int:
    """The side in px of the images that an encoder's network takes.

    Raises:
        SettingsError: a part is no network, or parts take images of different sizes.
    """
    sizes = {part.size for part in _parts(encoder)}
    if len(sizes) > 1:
        raise SettingsError(
            f"expected parts that take images of one size, found {sorted(sizes)} px", where=encoder.name,
            remedy="Export each part by itself: give its folder, ENCODER/part-0, ENCODER/part-1 …",
        )
    return sizes.pop()


def _parts(encoder: EncoderLike) -> tuple[Encoder, ...]:
    if isinstance(encoder, Encoder):
        return (encoder,)
    if isinstance(encoder, ConcatenatedEncoder):
        return tuple(network for part in encoder.parts for network in _parts(part))
    raise SettingsError(
        "expected an encoder that is a network, found one that is none", where=encoder.name,
        remedy="Export an encoder that was pre-trained, or a timm model (timm:NAME).",
    )


class _Network(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.symmetry = encoder.symmetry
        self.model = _fixed(copy.deepcopy(encoder.lean).cpu(), encoder.size)
        self.register_buffer("mean", encoder.backbone.mean_255.detach().cpu().clone())
        self.register_buffer("std", encoder.backbone.std_255.detach().cpu().clone())

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std  # [b,h,h,3] -> [b,3,h,h]
        views = list(symmetric_views(pixels, self.symmetry))
        vectors = self.model(torch.cat(views)).float()  # [v*b,d]
        return cast("Tensor", vectors.unflatten(0, (len(views), -1)).mean(0))  # [v*b,d] -> [b,d]


def _fixed(model: nn.Module, size: int) -> nn.Module:
    """A vision transformer with its position embedding resampled to the one size, padded to whole patches.

    ONNX has another bicubic interpolation than torch.
    """
    transformers: list[Any] = [one for one in model.modules() if hasattr(one, "dynamic_img_size")]
    for layer in transformers:
        sides = layer.patch_embed.patch_size
        layer.set_input_size(img_size=tuple(-(-size // side) * side for side in sides))
    return model
