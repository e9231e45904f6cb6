"""Where in an image its vector comes from: the attention of transformers, the contribution of each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers.attention import Attention
from timm.models.cait import ClassAttn
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hundredfold.backbones.stages import WithStages
from hundredfold.encode.encoder import Encoder, Symmetry, symmetric_views
from hundredfold.encode.protocol import ConcatenatedEncoder, EncoderLike, resize

__all__ = ["Kind", "Maps", "place_maps"]

Kind: TypeAlias = Literal["attention", "activation"]


class Maps(NamedTuple):
    """Maps of ``b`` images: float32 ``[b, g, g]``, shares that make 1 for each; and what they are of."""

    kind: Kind
    shares: NDArray[np.float32]


def place_maps(
    encoder: EncoderLike, batch: NDArray[np.uint8], mean: NDArray[np.float32] | None = None
) -> Maps | None:
    """How much each place of an image has to do with its vector; no classifier has a part in it.

    ``attention``: what the class token of the last layer attends to, the mean over the heads (Caron et al.
    2021, arXiv 2104.14294, section 4.2.2). ``activation``: where the vector is the mean over the places of a
    feature map (and of those of the last stages), its squared distance from another vector is the sum over
    the places of what each adds to it; a similarity is taken apart so by Stylianou et al. 2019, "Visualizing
    Deep Similarity Networks", arXiv 1901.00536, section 3. The other vector is ``mean``: the map then shows
    what sets the image apart from the average one. Without it the map hardly depends on the weights: on blood
    cells its rank correlation with that of the same network with random weights was .82, with it −.05 to .13
    (asked for by Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv 1810.03292; docs/explain.md).

    Both are means over the turned and mirrored views that the vector is the mean of, each laid back as the
    image lies. Neither shows why a class was chosen. A place that makes the image more like the average has
    a share below 0.

    Args:
        encoder: what makes the vectors.
        batch: square images uint8 ``[b, h, h, 3]``.
        mean: float32 ``[d]``, the mean vector of the images that the encoder is used for; attention needs
            none, and a part whose features are not the means over its maps goes without.

    Returns:
        ``None`` for an encoder without maps: thumbnails, or a transformer whose attention is not timm's plain
        one. Of several encoders side by side, the mean of the maps of those that have one.

    Examples:
        >>> from hundredfold.encode.thumbnail import ThumbnailEncoder
        >>> place_maps(ThumbnailEncoder(), np.zeros((1, 8, 8, 3), dtype=np.uint8)) is None
        True
    """
    if isinstance(encoder, ConcatenatedEncoder):
        ends = np.cumsum([part.dimension for part in encoder.parts])[:-1]
        means = [None] * len(encoder.parts) if mean is None else np.split(mean, ends)
        parts = (place_maps(part, batch, own) for part, own in zip(encoder.parts, means, strict=True))
        return _mean([part for part in parts if part is not None])
    if not isinstance(encoder, Encoder):
        return None
    model = encoder.lean.model if isinstance(encoder.lean, WithStages) else encoder.lean
    layer = _class_attention(model)
    if layer is None and getattr(model, "global_pool", "") == "token":
        return None
    pixels = torch.from_numpy(np.ascontiguousarray(resize(batch, encoder.size)))
    with torch.inference_mode():
        images = encoder.backbone.normalise(pixels.to(encoder.backbone.mean_255.device))
        views = list(symmetric_views(images, encoder.symmetry))
        if layer is not None:
            return _shares("attention", [_attention(model, layer, one) for one in views], encoder.symmetry)
        found = _contributions([_feature_maps(encoder.lean, one) for one in views], mean)
        return _shares("activation", found, encoder.symmetry)


def _shares(kind: Kind, maps: Sequence[Tensor], symmetry: Symmetry) -> Maps:
    """The mean of the views' maps [b,g,g], laid back, as shares of their sums."""
    mean = torch.stack([_laid_back(one, place, symmetry) for place, one in enumerate(maps)]).mean(0)
    total = mean.sum((1, 2), keepdim=True)
    even = torch.full_like(mean, 1 / mean[0].numel())
    shares = torch.where(total > 0, mean / total.clamp_min(torch.finfo(mean.dtype).tiny), even)
    return Maps(kind, shares.float().cpu().numpy())


def _laid_back(maps: Tensor, place: int, symmetry: Symmetry) -> Tensor:
    """The maps [b,g,g] of the view with that place in ``symmetric_views``, as the image lies."""
    turns, flipped = divmod(place, 2) if symmetry != "none" else (0, 0)
    return torch.rot90(maps.flip(2) if flipped else maps, -turns, dims=(1, 2))


def _class_attention(model: nn.Module) -> nn.Module | None:
    """The last layer in which a class token attends to all places; ``None`` where features are pooled."""
    layers = list(model.modules())
    if found := [layer for layer in layers if isinstance(layer, ClassAttn)]:
        return found[-1]
    by_token = getattr(model, "global_pool", "") == "token" and getattr(model, "cls_token", None) is not None
    plain = [layer for layer in layers if isinstance(layer, Attention)]
    return plain[-1] if by_token and plain else None


def _attention(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What the class token attends to, over the places [b,g,g]; the mean over the heads."""
    made: dict[str, Tensor] = {}
    names = ("q", "k") if isinstance(layer, ClassAttn) else ("qkv",)
    with _noted(layer, names, made):
        model(images)
    heads, some = cast("int", layer.num_heads), cast("Any", layer)
    if isinstance(layer, ClassAttn):
        query = made["q"].reshape(len(images), 1, heads, -1).transpose(1, 2)
        key = made["k"].reshape(len(images), made["k"].shape[1], heads, -1).transpose(1, 2)
        prefix = 1
    else:
        count = made["qkv"].shape[1]
        query, key, _ = made["qkv"].reshape(len(images), count, 3, heads, -1).permute(2, 0, 3, 1, 4)
        query, key = some.q_norm(query)[:, :, :1], some.k_norm(key)
        prefix = int(cast("Any", model).num_prefix_tokens)
    weights: Tensor = (query * some.scale @ key.transpose(-2, -1)).softmax(-1)  # [b,heads,1,n]
    weights = weights[:, :, 0, prefix:].mean(1)
    side = round(weights.shape[1] ** 0.5)
    return weights.reshape(len(weights), side, side)


@contextmanager
def _noted(layer: nn.Module, names: Sequence[str], made: dict[str, Tensor]) -> Iterator[None]:
    """Keep what some layers within ``layer`` give."""
    def keep(name: str) -> Any:
        return lambda _layer, _given, given: made.__setitem__(name, given)

    handles = [getattr(layer, name).register_forward_hook(keep(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _feature_maps(lean: nn.Module, images: Tensor) -> list[Tensor]:
    """The maps [b,c,g,g] over whose places the means make up the vector."""
    if isinstance(lean, WithStages):
        last, maps = cast("Any", lean.model).forward_intermediates(images, indices=lean.stages)
        return [last, *(one for one in maps if one.shape != last.shape)]
    model = cast("Any", lean)
    last = model.forward_features(images)
    if last.ndim == 3:  # tokens [b,n,c] → places
        places = last[:, int(getattr(model, "num_prefix_tokens", 0)):].transpose(1, 2)
        side = round(places.shape[2] ** 0.5)
        return [places.reshape(*places.shape[:2], side, side)]
    return [last.permute(0, 3, 1, 2) if last.shape[1] != model.num_features else last]


def _contributions(
    views: Sequence[Sequence[Tensor]], mean: NDArray[np.float32] | None = None
) -> list[Tensor]:
    """What each place adds to the squared distance of the vector from another, of each view [b,g,g].

    A coarser map's part is spread over the places of the finest.
    """
    vectors = [torch.stack([one.mean((2, 3)) for one in same]).mean(0) for same in zip(*views, strict=True)]
    origins = _origins(vectors, mean)
    side = max(one.shape[2] for one in views[0])
    found = []
    for view in views:
        parts = []
        for one, vector, origin in zip(view, vectors, origins, strict=True):
            away = one - origin[None, :, None, None]
            parts.append(_spread(torch.einsum("bcyx,bc->byx", away, vector - origin), side))
        found.append(torch.stack(parts).sum(0))
    return found


def _origins(vectors: Sequence[Tensor], mean: NDArray[np.float32] | None) -> list[Tensor]:
    """The part of the other vector that belongs to each map [c]; 0 where it does not fit."""
    sizes = [one.shape[1] for one in vectors]
    if mean is None or sum(sizes) != len(mean):
        return [one.new_zeros(size) for one, size in zip(vectors, sizes, strict=True)]
    whole = torch.from_numpy(np.asarray(mean, dtype=np.float32)).to(vectors[0])
    return list(torch.split(whole, sizes))


def _spread(added: Tensor, side: int) -> Tensor:
    """A map [b,h,h] on a finer grid [b,side,side] whose sum is the mean of the coarse one."""
    fine = interpolate(added[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    shift = added.mean((1, 2)) - fine.mean((1, 2))
    return (fine + shift[:, None, None]) / side**2


def _mean(parts: Sequence[Maps]) -> Maps | None:
    """The mean of maps of several grids, on the finest of them."""
    if not parts:
        return None
    side = max(part.shares.shape[1] for part in parts)
    maps = (torch.from_numpy(part.shares)[:, None] for part in parts)
    fine = [interpolate(one, (side, side), mode="bilinear", align_corners=False) for one in maps]
    mean = torch.stack([one / one.sum((2, 3), keepdim=True) for one in fine]).mean(0)[:, 0]
    return Maps(parts[0].kind, mean.numpy())
