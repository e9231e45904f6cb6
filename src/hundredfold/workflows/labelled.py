"""What ``curve`` and ``fit`` begin with: vectors of a run or folder, and its images with labels and split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hundredfold.config import ScanChoices
from hundredfold.errors import ModelFileError, RunMissingError
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings
    from hundredfold.encode.protocol import EncoderLike

__all__ = ["encoder_of", "label", "read_embeddings", "with_split"]

#: The order in which a run's embeddings are named, and the first that it has is the one to fit on.
ORDER = ("pretrained", "initial", "thumbnail")


def read_embeddings(path: Path) -> dict[str, Embeddings]:
    """Name → embeddings: those of a run, or the ones in a folder.

    Raises:
        RunMissingError: there are none, or some are not complete.
        ModelFileError: a shard is damaged.
    """
    from hundredfold.encode.embed import Embeddings

    if (path / "embeddings.json").is_file():
        return {path.name: Embeddings.read(path)}
    folders = [folder for folder in (path / "embeddings").glob("*") if folder.is_dir()]
    if not folders:
        raise RunMissingError(
            "expected a run directory or folder with embeddings, found none", where=path,
            remedy="Run `hundredfold embed` first, and give what its --out named.",
        )
    rank = {name: place for place, name in enumerate(ORDER)}
    folders.sort(key=lambda folder: (rank.get(folder.name, len(rank)), folder.name))
    return {folder.name: Embeddings.read(folder) for folder in folders}


def _run_of(path: Path) -> RunDirectory | None:
    """The run that ``path`` is, or that its embeddings lie in."""
    for place in (path, path.absolute().parent.parent):
        if RunDirectory.is_run(place):
            return RunDirectory.open(place)
    return None


def label(path: Path, embeddings: dict[str, Embeddings], labels: Path) -> ImageTable:
    """The embedded images with the labels of a table; the split of a scanned run stays.

    Raises:
        InputError: the labels cannot be read, name no image, or contradict each other.
    """
    from hundredfold.data.labels import LabelSet
    from hundredfold.data.table import ImageTable

    run = _run_of(path)
    if run is not None and (run / "images.parquet").is_file():
        images = ImageTable.read(run / "images.parquet").usable
    else:
        images = next(iter(embeddings.values())).images
    return LabelSet.read(labels, images).apply(images)


def with_split(table: ImageTable, *, seed: int) -> ImageTable:
    """The table with a test set: its own, or where it has none a stratified, group-aware third.

    Raises:
        SplitError: no split can be drawn.
    """
    from hundredfold.data.splits import draw_splits

    # A scan without labels puts every image on the training side; no test set was drawn then.
    if not table.frame["split"].isin(["test", "audit"]).any():
        table = table.assign(split=None)
    return draw_splits(table, test_size=ScanChoices.model_fields["test_size"].default, seed=seed)


def encoder_of(path: Path, name: str, embeddings: Embeddings) -> EncoderLike:
    """The encoder that made some embeddings, found in their run by its hash.

    Raises:
        ModelFileError: it is not there any more.
    """
    from hundredfold.encode.opening import open_encoder
    from hundredfold.errors import InputError

    specs, weights = _specs(path)
    if embeddings.encoder.get("kind") == "thumbnail":
        specs.append("thumbnail")
    for spec in specs:
        try:
            encoder = open_encoder(spec, weights=weights)
        except InputError:
            continue
        if encoder.hash == embeddings.encoder.get("hash"):
            return encoder
    raise ModelFileError(
        f"the encoder of the embeddings {name!r} is not to be found among {', '.join(specs) or 'none'}",
        where=path, remedy="Give the run that holds the encoder, or embed the images again.",
    )


def _specs(path: Path) -> tuple[list[str], str]:
    """The encoders that the run of some embeddings holds or names, and the weights it names for them."""
    import yaml

    from hundredfold.encode.opening import encoder_folders

    run = _run_of(path)
    if run is None:
        return [], "auto"
    specs = [str(folder) for folder in (*encoder_folders(run), run / "initial") if folder.is_dir()]
    noted: dict[str, str] = {}
    if (run / "config.yaml").is_file():
        noted = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")).get("embed", {})
    if "encoder" in noted:  # a run that was embedded by the verb; `run` embeds with its own encoders
        specs.append(noted["encoder"])
    return specs, noted.get("weights", "auto")
