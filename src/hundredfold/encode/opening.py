"""An encoder by what a user writes: a run, a folder, ``timm:NAME``, ``hf:NAME``, ``thumbnail``, ``A+B``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hundredfold.encode.protocol import (
    ENCODER_FILE,
    ConcatenatedEncoder,
    EncoderLike,
    read_facts,
)
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import ModelFileError, RunMissingError, SettingsError
from hundredfold.rundir import CHECKPOINT_FOLDERS, RunDirectory
from hundredfold.url import Url, fetched_folder, place

__all__ = ["encoder_folders", "load_encoder", "open_encoder", "seen_before"]

HUBS = {"timm:": "", "hf:": "hf-hub:"}
HUB_CONFIG = "config.json"  # of a model of timm or transformers


def open_encoder(spec: str, *, weights: str = "auto", download: bool = False) -> EncoderLike:
    """Open the encoder that ``spec`` means.

    Args:
        spec: a run (its pre-trained encoder, or while that is in training the one of the last
            checkpoint), an encoder folder, the URL of one, ``timm:NAME``, ``hf:OWNER/NAME`` (a model on the
            Hugging Face hub, in timm's format or that of transformers) or the folder of such a model,
            ``thumbnail``, or several of them joined by ``+``.
        weights: of ``timm:`` encoders; as in :func:`hundredfold.backbones.backbone.create_backbone`.
        download: whether weights may be downloaded.

    Raises:
        SettingsError: ``spec`` is none of these.
        WeightsError: weights cannot be had.
        ModelFileError: an encoder folder is damaged.
        RunMissingError: the run was not pre-trained.

    Examples:
        >>> open_encoder("thumbnail").dimension
        864
    """
    if spec == "thumbnail":
        return ThumbnailEncoder()
    if spec and Path(spec).is_dir():
        return _from_folder(Path(spec))
    if "+" in spec:
        parts = [open_encoder(part, weights=weights, download=download) for part in spec.split("+")]
        return ConcatenatedEncoder(parts)
    if "://" in spec:
        return _from_url(spec)
    for prefix, hub in HUBS.items():
        if spec.startswith(prefix):
            return _from_timm(hub + spec.removeprefix(prefix), weights=weights, download=download)
    raise SettingsError(
        "no encoder of this name, and no such folder", where=spec or "empty",
        remedy="Give a run, an encoder folder, timm:NAME, hf:OWNER/NAME, thumbnail, or some joined by '+'.",
    )


def load_encoder(folder: Path) -> EncoderLike:
    """Read an encoder of any kind from the folder its ``save`` wrote, onto the GPU if there is one.

    Raises:
        ModelFileError: a file is missing, damaged, edited, or of a refused kind.
    """
    facts = read_facts(folder)
    if facts.get("kind") == "backbone":
        from hundredfold.encode.encoder import Encoder

        return Encoder.load(folder).to(_device())
    try:
        encoder = _simple(folder, facts)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"{ENCODER_FILE} describes no encoder: {error!r}", where=folder,
            remedy="Copy the folder again from where it was made.",
        ) from error
    if encoder.hash != facts.get("hash"):
        raise ModelFileError(
            f"expected the hash {facts.get('hash')}, found {encoder.hash}: a file was edited or damaged",
            where=folder, remedy="Copy the folder again from where it was made.",
        )
    return encoder


def _simple(folder: Path, facts: Mapping[str, Any]) -> EncoderLike:
    """An encoder without weights of its own."""
    kind = facts.get("kind")
    if kind == "thumbnail":
        return ThumbnailEncoder(side=int(facts["side"]), bins=int(facts["bins"]))
    if kind == "concatenated":
        return ConcatenatedEncoder(
            [load_encoder(folder / f"part-{number}") for number in range(len(facts["parts"]))]
        )
    raise ModelFileError(
        f"expected the kind backbone, thumbnail or concatenated, found {kind!r}",
        where=folder / ENCODER_FILE, remedy="Write the encoder again with this version.",
    )


def encoder_folders(run: RunDirectory) -> list[Path]:
    """The folders of a run's pre-trained encoders: the finished one, then those of the checkpoints.

    The newest comes first. Each is whole at any moment, also while the training goes on.
    """
    saved = sorted((run / "checkpoints").glob(CHECKPOINT_FOLDERS), reverse=True)
    return [folder for folder in (run / "encoder", *saved) if (folder / ENCODER_FILE).is_file()]


def seen_before(weights: str) -> frozenset[str]:
    """SHA-256 of the images that start weights learned from, where they lie in an encoder's folder or a run.

    Who trains on from them has seen these images, too. Of other weights nobody knows.

    Args:
        weights: as in :func:`hundredfold.backbones.backbone.create_backbone`.

    Raises:
        WeightsError: there is no such file.
        ModelFileError: ``encoder.json`` beside it is damaged or was edited.

    Examples:
        >>> seen_before("auto")
        frozenset()
    """
    folder = _origin(weights)
    return frozenset() if folder is None else frozenset(read_facts(folder)["seen"])


def _origin(weights: str) -> Path | None:
    """The folder of the encoder that weights belong to."""
    from hundredfold.backbones.weights import find_weights_file

    if weights in ("auto", "none"):
        return None
    folder = find_weights_file(Path(weights)).parent
    return folder if (folder / ENCODER_FILE).is_file() else None


def _from_folder(folder: Path) -> EncoderLike:
    if (folder / ENCODER_FILE).is_file():
        return load_encoder(folder)
    if RunDirectory.is_run(folder):
        return _from_run(RunDirectory.open(folder))
    if (folder / HUB_CONFIG).is_file():
        return _from_timm(f"local-dir:{folder}", weights="auto", download=False)
    raise SettingsError(
        f"the folder is no run and holds no {ENCODER_FILE} and no {HUB_CONFIG}", where=folder,
        remedy="Give the --out of `hundredfold pretrain`, its encoder folder, or that of a model of the hub.",
    )


def _from_run(run: RunDirectory) -> EncoderLike:
    """The run's newest encoder; one that the training removes while it is read gives way to the next."""
    while found := encoder_folders(run):
        try:
            return load_encoder(found[0])
        except ModelFileError:
            if found[0].exists():
                raise
    if ((own := run / "predictor" / "encoder") / ENCODER_FILE).is_file():
        raise RunMissingError(
            "the run pre-trained no encoder", where=run.path, remedy=f"Its predictor has one: give {own}."
        )
    return load_encoder(run.require("encoder", made_by="pretrain"))


def _from_url(spec: str) -> EncoderLike:
    url = place(spec)
    assert isinstance(url, Url)
    with fetched_folder(url, ENCODER_FILE, "encoder", "predictor/encoder") as folder:
        return load_encoder(folder)


def _from_timm(name: str, *, weights: str, download: bool) -> EncoderLike:
    """A timm model at the size its weights were trained at, for pixels as those that it learned from."""
    from hundredfold.backbones.backbone import create_backbone
    from hundredfold.encode.encoder import Encoder

    backbone = create_backbone(name, weights=weights, download=download)
    plain: dict[str, Any] = {
        "size": backbone.native_size, "provenance": {"method": "none", "weights": backbone.source},
    }
    if (folder := _origin(weights)) is None:
        encoder = Encoder(backbone, value_range=None, fit="pad", seen=frozenset(), **plain)
    else:
        encoder = Encoder.load(folder).altered(
            backbone=backbone, symmetry="none", stages=0, precision="float32", **plain
        )
    return encoder.to(_device())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
