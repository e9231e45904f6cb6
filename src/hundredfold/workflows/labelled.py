"""What ``curve`` and ``fit`` begin with: vectors of a run or folder, and its images with labels and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hundredfold.config import ScanChoices, Settings, check_unchanged
from hundredfold.errors import ModelFileError, RunMissingError, SettingsError
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    from hundredfold.data.store import PixelStore
    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings
    from hundredfold.encode.protocol import EncoderLike
    from hundredfold.learn.networks import Networks
    from hundredfold.url import Url

__all__ = [
    "check_done_with", "embedding_folders", "encoder_of", "label", "networks_of", "noted_settings",
    "pixels_of", "read_embeddings", "run_of", "scanned", "with_split",
]

#: The place of a run's embeddings in their order; the first that there are are those to fit on.
ORDER = {"pretrained": 0, "adapted": 1, "initial": 2, "thumbnail": 4}
OTHERS = 3
#: What a resume of a finished stage may be given otherwise: it tells where things are, not what was done.
PLACES = {"resume", "out", "copy_to", "embeddings", "labels"}


def read_embeddings(path: Path) -> dict[str, Embeddings]:
    """Name → embeddings: those of a run, or the ones in a folder.

    Raises:
        RunMissingError: there are none, or some are not complete.
        ModelFileError: a shard is damaged.
    """
    from hundredfold.encode.embed import Embeddings

    return {folder.name: Embeddings.read(folder) for folder in embedding_folders(path)}


def embedding_folders(path: Path) -> list[Path]:
    """The embeddings of a run, those to fit on first; or the folder itself.

    Raises:
        RunMissingError: there are none.
    """
    if (path / "embeddings.json").is_file():
        return [path]
    folders = [folder for folder in (path / "embeddings").glob("*") if folder.is_dir()]
    if not folders:
        raise RunMissingError(
            "expected a run directory or folder with embeddings, found none", where=path,
            remedy="Run `hundredfold embed` first, and give what its --out named.",
        )
    return sorted(folders, key=lambda folder: (ORDER.get(folder.name, OTHERS), folder.name))


def run_of(path: Path) -> RunDirectory | None:
    """The run that ``path`` is, or that its embeddings lie in."""
    for place in (path, path.absolute().parent.parent):
        if RunDirectory.is_run(place):
            return RunDirectory.open(place)
    return None


def pixels_of(path: Path) -> PixelStore | None:
    """The pixels of the run that the embeddings lie in, if it has them still."""
    from hundredfold.data.store import PixelStore

    run = run_of(path)
    return PixelStore.open(run.pixels) if run is not None and (run.pixels / "pixels.json").is_file() else None


def label(
    path: Path, embeddings: dict[str, Embeddings], labels: Path | Url, *, outer: bool = False
) -> ImageTable:
    """The embedded images with the labels of a table; the split of a scanned run stays.

    What shows the same as an image held out, as the encoder sees it, loses its label: the split is drawn,
    and the image is not learned from (``RUN/copies_across.csv``). Where no split is drawn yet, and for
    ``outer`` splits, which deal all labelled images, such images hang together from now on
    (``RUN/copies_among.csv``).

    Raises:
        InputError: the labels cannot be read, name no image, or contradict each other.
    """
    from hundredfold.data.labels import LabelSet

    name, first = next(iter(embeddings.items()))
    images = scanned(path, first)
    # A scan without labels puts every image on the training side: no test set was drawn then. That labels
    # call an image train is their word.
    if not _held_out(images):
        images = images.assign(split=None)
    table = LabelSet.read(labels, images).apply(images)
    run, store = run_of(path), pixels_of(path)
    if run is None or store is None or not noted_settings(run).get("scan", {}).get("near_copies"):
        return table
    return (_without_copies if _held_out(table) and not outer else _joined)(run, name, first, table, store)


def _held_out(table: ImageTable) -> bool:
    """Whether any image is: else no split was drawn."""
    return bool(table.frame["split"].isin(["test", "audit"]).any())


def _without_copies(
    run: RunDirectory, name: str, embeddings: Embeddings, table: ImageTable, store: PixelStore
) -> ImageTable:
    """Take the labels from training images that show what an image held out shows."""
    from hundredfold.encode.copies import copies_across

    pairs = _copies(run, copies_across, embeddings, table, store)
    astray = table.frame["id"].isin(pairs["first"]) & table.frame["label"].notna()
    if astray.any():
        say(f"Near-copies: {int(astray.sum()):,} labelled training images show what an image held out shows, "
            f"by the neighbours of {name}; they are not learned from ({run / 'copies_across.csv'}).")
    return table.assign(label=table.frame["label"].mask(astray))


def _joined(
    run: RunDirectory, name: str, embeddings: Embeddings, table: ImageTable, store: PixelStore
) -> ImageTable:
    """Let labelled images that show the same hang together."""
    from hundredfold.encode.copies import copies_among, join

    labelled = table.select(table.labelled)
    pairs = _copies(run, copies_among, embeddings, labelled, store)
    if len(pairs):
        say(f"Near-copies: {len(pairs):,} pairs of labelled images show the same, by the neighbours of "
            f"{name}; no split parts them ({run / 'copies_among.csv'}).")
    return join(table, pairs)


def _copies(
    run: RunDirectory, find: Callable[[Embeddings, ImageTable, PixelStore], pd.DataFrame],
    embeddings: Embeddings, table: ImageTable, store: PixelStore,
) -> pd.DataFrame:
    """The pairs, found once for an encoder and a split; the file has the name of what finds them."""
    import pandas as pd

    from hundredfold.data.rows import write_rows
    from hundredfold.encode.protocol import digest

    frame, what = table.frame, find.__name__
    key = digest(str(embeddings.encoder.get("hash")), *frame["id"], *frame["split"].astype(str))
    path = run / f"{what}.csv"
    if path.is_file() and run.state.get(what) == key:
        return pd.read_csv(path, dtype={"first": str, "second": str}, keep_default_na=False)
    embedded = table.select(frame["id"].isin(embeddings.ids))
    pairs = find(embeddings, embedded, store)
    write_rows(path, pairs)
    run.record(**{what: key})
    return pairs


def scanned(path: Path, embeddings: Embeddings) -> ImageTable:
    """The usable images of the run that some embeddings lie in; else those that were embedded."""
    from hundredfold.data.table import ImageTable

    run = run_of(path)
    if run is not None and (run / "images.parquet").is_file():
        return ImageTable.read(run / "images.parquet").usable
    return embeddings.images


def with_split(table: ImageTable, *, seed: int) -> ImageTable:
    """The table with a test set: its own, or a stratified, group-aware third of what is called nothing.

    Raises:
        SplitError: no split can be drawn.
    """
    from hundredfold.data.splits import draw_splits

    return draw_splits(table, test_size=ScanChoices.model_fields["test_size"].default, seed=seed)


def networks_of(
    path: Path, embeddings: dict[str, Embeddings], rates: tuple[float, ...], *, modality: str | None = None
) -> Networks:
    """What the classifier ``network`` needs: the run's pixels, and its encoders that have a backbone.

    Args:
        path: the run, or embeddings in it.
        embeddings: name → vectors.
        rates: learning rates to try.
        modality: what may be done to the images; by default what pre-training was told, in this run or in
            that of an encoder.

    Raises:
        RunMissingError: the embeddings lie in no run, or in one without pixels.
        SettingsError: no encoder has a backbone, or no modality has that name.
        ModelFileError: an encoder is not to be found any more.
    """
    from hundredfold.config import PretrainChoices
    from hundredfold.data.duplicates import shown
    from hundredfold.data.store import PixelStore
    from hundredfold.encode.encoder import Encoder
    from hundredfold.learn.networks import Networks
    from hundredfold.views.modalities import MODALITIES

    run = run_of(path)
    if run is None:
        raise RunMissingError(
            "the classifier network trains on images, and these embeddings lie in no run", where=path,
            remedy="Give the run that was scanned and embedded, or leave network out of --classifiers.",
        )
    opened = {name: encoder_of(path, name, found) for name, found in embeddings.items()}
    encoders = {name: found for name, found in opened.items() if isinstance(found, Encoder)}
    if not encoders:
        raise SettingsError(
            f"the classifier network trains a backbone, and {', '.join(opened)} has none", where=path,
            remedy="Embed with a backbone as well, or leave network out of --classifiers.",
        )
    # What knows nothing of these images: the backbone before pre-training.
    own = set(shown(scanned(path, next(iter(embeddings.values()))).frame).dropna())
    supervised = next((name for name, found in encoders.items() if own.isdisjoint(found.seen)), None)
    trained = [one.provenance.get("settings") or {} for one in encoders.values()]  # maybe in another run
    facts = [{"modality": modality}, noted_settings(run).get("pretrain", {}), *trained]
    usual = PretrainChoices.model_fields["modality"].default
    told = next((found for one in facts if (found := one.get("modality"))), usual)
    MODALITIES[told]  # a misspelt name is said now, not after the other classifiers
    return Networks(PixelStore.open(run.pixels), encoders, told, supervised, rates=rates)


def encoder_of(path: Path, name: str, embeddings: Embeddings) -> EncoderLike:
    """The encoder that made some embeddings, found in their run by its hash.

    Raises:
        ModelFileError: it is not there any more.
    """
    from hundredfold.encode.opening import open_encoder
    from hundredfold.errors import InputError

    specs = _specs(path)
    if embeddings.encoder.get("kind") == "thumbnail":
        specs["thumbnail"] = "auto"
    for spec, weights in specs.items():
        try:
            encoder = _as_it_was(open_encoder(spec, weights=weights), embeddings.encoder)
        except InputError:
            continue
        if encoder.hash == embeddings.encoder.get("hash"):
            return encoder
    raise ModelFileError(
        f"the encoder of the embeddings {name!r} is not to be found among {', '.join(specs) or 'none'}",
        where=path, remedy="Give the run that holds the encoder, or embed the images again.",
    )


def _as_it_was(encoder: EncoderLike, facts: Mapping[str, Any]) -> EncoderLike:
    """The encoder at the size and in the precision by which it made the embeddings of these facts."""
    if facts.get("kind") == "thumbnail":
        return encoder
    from hundredfold.encode.encoder import ConcatenatedEncoder, Encoder

    parts = facts.get("parts", ())
    if isinstance(encoder, ConcatenatedEncoder) and len(parts) == len(encoder.parts):
        both = zip(encoder.parts, parts, strict=True)
        return ConcatenatedEncoder([_as_it_was(part, own) for part, own in both])
    if isinstance(encoder, Encoder) and "size" in facts:
        return encoder.altered(size=facts["size"], precision=facts.get("precision", "float32"))
    return encoder


def _specs(path: Path) -> dict[str, str]:
    """The encoders that the run of some embeddings holds or names, each with the weights it names for it."""
    from hundredfold.encode.opening import encoder_folders

    run = run_of(path)
    if run is None:
        return {}
    own = (*encoder_folders(run), run / "adapted", run / "initial")
    specs = {str(folder): "auto" for folder in own if folder.is_dir()}
    # A run that was embedded by the verb; `run` embeds with its own encoders.
    noted = (*run.state.get("encoders", {}).values(), noted_settings(run).get("embed", {}))
    return specs | {one["encoder"]: one.get("weights", "auto") for one in noted if "encoder" in one}


def noted_settings(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Stage → the settings it was begun with, as ``config.yaml`` has them."""
    path = run / "config.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def check_done_with(run: RunDirectory, stage: str, settings: Settings) -> None:
    """Make sure that a finished stage which a resume is to keep was done with these settings.

    Raises:
        SettingsError: it was done with others.
    """
    noted = noted_settings(run).get(stage, {})
    asked = settings.model_dump(mode="json", include=noted.keys() - PLACES)
    check_unchanged(f"{stage} was done", noted, asked, where=run.path)
