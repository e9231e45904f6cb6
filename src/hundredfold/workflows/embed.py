"""``embed``: one vector an image, by any encoder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hundredfold.config import EmbedChoices, EmbedSettings, GroupChoices, verb
from hundredfold.errors import InputError, SettingsError
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.data.store import PixelStore
    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings
    from hundredfold.encode.protocol import EncoderLike

__all__ = ["as_asked", "embed", "embed_run", "encoder_name"]


@verb(EmbedSettings)
def embed(settings: EmbedSettings) -> RunDirectory:
    """Turn every image into a vector.

    Writes ``OUT/embeddings/NAME``, where NAME is ``pretrained`` for the encoder of a run, ``step-N`` for that
    of a run still in training, and else follows from ENCODER; with a size in place of the encoder's own it
    ends in it, as ``pretrained-224px``. A run brings its own pixels; those of a
    folder or table of images are decoded for the purpose, deep ones by the range that the encoder was
    trained with, ``OUT/rejects.csv`` names what cannot be used, and patients of DICOM files are groups.

    Raises:
        RunExistsError: OUT holds embeddings of that name and ``resume`` is not set.
        SettingsError: the encoder is unknown or has no size, or others' vectors were begun under that name.
        WeightsError: the encoder's weights cannot be had.
        InputError: there are no images, or none that can be used.
    """
    from hundredfold.data.sandbox import awaken

    if not RunDirectory.is_run(settings.images):
        awaken()
    from hundredfold.encode.opening import open_encoder
    from hundredfold.workflows.labelled import noted_settings

    opened = open_encoder(settings.encoder, weights=settings.weights, download=settings.download)
    encoder = as_asked(opened, settings)
    name = encoder_name(settings.encoder, encoder.facts)
    if settings.embed_size is not None:
        if encoder.hash == opened.hash:
            raise SettingsError(
                f"{name} looks at images in this size already, or in none of its own", where="embed_size",
                remedy="Leave --embed-size out, or give another.",
            )
        name += f"-{settings.embed_size}px"
    run = RunDirectory.create(settings.out)
    begun = (run / "embeddings" / name).exists()
    # The run keeps the settings of its first encoder: those of another would be asked for when it is resumed.
    before = noted_settings(run).get("embed")
    asked = settings.model_dump(mode="json", include={"encoder", "embed_size"})
    first = before is None or all(before.get(key) == value for key, value in asked.items())
    with run.stage("embed", settings=settings if first else None, resume=settings.resume or not begun):
        noted = {"encoder": settings.encoder, "weights": settings.weights}
        run.record(encoders={**run.state.get("encoders", {}), name: noted})
        if RunDirectory.is_run(settings.images):
            table, store = _from_run(RunDirectory.open(settings.images))
            _embed(run, name, encoder, table, store, batch=settings.embed_batch, resume=settings.resume)
        else:
            _embed_folder(settings, run, name, encoder)
    return run


def as_asked(encoder: EncoderLike, settings: EmbedChoices) -> EncoderLike:
    """The encoder in bfloat16 or at another size, if that is asked for; else nothing is loaded for it."""
    changes: dict[str, Any] = {}
    if settings.embed_precision != "float32":
        changes["precision"] = settings.embed_precision
    if settings.embed_size is not None:
        changes["size"] = settings.embed_size
    if not changes:
        return encoder
    from hundredfold.encode.encoder import alter

    return alter(encoder, **changes)


def embed_run(
    run: RunDirectory, name: str, encoder: EncoderLike, *, batch: int, resume: bool
) -> Embeddings:
    """Embed the images of a scanned run into ``RUN/embeddings/NAME``.

    Raises:
        RunMissingError: the run was not scanned.
        RunExistsError: it has embeddings of that name and ``resume`` is not set.
    """
    table, store = _from_run(run)
    return _embed(run, name, encoder, table, store, batch=batch, resume=resume)


def _embed(
    run: RunDirectory, name: str, encoder: EncoderLike, table: ImageTable, store: PixelStore,
    *, batch: int, resume: bool,
) -> Embeddings:
    from hundredfold.encode.embed import embed as embed_images

    folder = run / "embeddings" / name
    embeddings = embed_images(encoder, store, table, folder, batch=batch, resume=resume)
    say(f"{name}: {len(embeddings):,} images, {encoder.dimension:,} numbers each, by {encoder.name}")
    return embeddings


def _from_run(run: RunDirectory) -> tuple[ImageTable, PixelStore]:
    from hundredfold.data.store import PixelStore
    from hundredfold.data.table import ImageTable

    table = ImageTable.read(run.require("images.parquet", made_by="scan"))
    return table, PixelStore.open(run.pixels)


def _embed_folder(settings: EmbedSettings, run: RunDirectory, name: str, encoder: EncoderLike) -> None:
    """Decode the images as the encoder expects them, embed them, and throw the pixels away."""
    from hundredfold.data.groups import find_grouped, told_by_dicom
    from hundredfold.data.pixels import fill
    from hundredfold.data.rows import write_rows

    pixels = run / "embeddings" / name / "pixels"
    found = find_grouped(settings.images, GroupChoices())
    for line in told_by_dicom(found):
        say(line)
    run.record(group_key=found.naming.fingerprint if found.grouped else None)
    table, store = fill(
        found.table, pixels, size=None, fit=encoder.fit, value_range=encoder.value_range,
        window=encoder.window, stain=encoder.stain, supply=found.supply,
    )
    write_rows(run / "rejects.csv", table.rejects)
    if len(table.usable) == 0:
        raise InputError(
            f"none of the {len(table):,} images can be used", where=settings.images,
            remedy=f"See the reasons in {run / 'rejects.csv'}.",
        )
    if rejected := len(table) - len(table.usable):
        say(f"{rejected:,} of {len(table):,} images cannot be used; see {run / 'rejects.csv'}")
    _embed(run, name, encoder, table, store, batch=settings.embed_batch, resume=settings.resume)
    shutil.rmtree(pixels)


def encoder_name(spec: str, facts: Mapping[str, Any]) -> str:
    """A folder name for an encoder; one whose training is not finished never takes the name of one that is.

    Several joined ones never take the name of one of them.

    Examples:
        >>> encoder_name("thumbnail", {}), encoder_name("runs/cells/encoder", {})
        ('thumbnail', 'pretrained')
        >>> encoder_name("runs/cells", {"provenance": {"step": 120, "steps": 400}})
        'step-00000120'
        >>> encoder_name("timm:resnet10t+runs/cells/initial", {"parts": [{}, {}]})
        'timm-resnet10t+initial'
    """
    if "+" in spec and not Path(spec).is_dir():
        named = zip(spec.split("+"), facts["parts"], strict=True)
        return "+".join(encoder_name(part, found) for part, found in named)
    provenance = facts.get("provenance") or {}
    if (step := provenance.get("step")) is not None and step < provenance["steps"]:
        say(f"Pre-training is not finished: the encoder after {step:,} of {provenance['steps']:,} steps.")
        return f"step-{step:08d}"
    if RunDirectory.is_run(Path(spec)):
        return "pretrained"
    if Path(spec).is_dir() or "/" in spec:
        return {"encoder": "pretrained"}.get(Path(spec).name, Path(spec).name)
    return re.sub(r"[^\w.+-]+", "-", spec)
