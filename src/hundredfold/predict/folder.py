"""A predictor on disk: that the folder is whole and nobody changed it, and that opening it runs no code."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from hundredfold.encode.sealed import read_sealed, sealed
from hundredfold.errors import ModelFileError
from hundredfold.files import hash_file, write_json
from hundredfold.learn.classifiers import CLASSIFIERS
from hundredfold.learn.transforms import YeoJohnson, feature_transform
from hundredfold.predict.trusting import loaded_estimators, skops_io
from hundredfold.rundir import software

__all__ = [
    "AGAIN", "CLASSIFIER_FILE", "ENCODER_FOLDER", "FACTS_FILE", "load_classifier", "open_folder",
    "seal_folder",
]

FACTS_FILE = "predictor.json"
CLASSIFIER_FILE = "classifier.skops"
ENCODER_FOLDER = "encoder"
#: What is never read, and may be added or edited: the card by its author, the others by file managers, in any
#: folder that was looked at.
CARD, MANAGERS = "model_card.md", frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
AGAIN = "Copy the predictor again from where it was made, or fit it again."


def seal_folder(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``predictor.json`` last: the facts, and a hash of every file there is.

    Returns:
        the facts as written.
    """
    files = {name: hash_file(folder / name) for name in _listed(folder)}
    written = sealed({**facts, "software": software(), "files": files}, "hash")
    write_json(folder / FACTS_FILE, written)
    return written


def open_folder(folder: Path) -> dict[str, Any]:
    """The facts of a predictor folder, every file of which is as it was written.

    Raises:
        ModelFileError: a file was edited, added or removed, or leads out of the folder; or the folder is of
            another version.
    """
    facts = read_sealed(folder / FACTS_FILE, "hash", kind="predictor", made_by="fit")
    there, files = _listed(folder), facts.get("files")
    classifier = folder / CLASSIFIER_FILE
    if CLASSIFIER_FILE in there and not zipfile.is_zipfile(classifier):
        raise ModelFileError(
            "expected a skops file, found another kind; pickles are never loaded", where=classifier,
            remedy="Fit the predictor again.",
        )
    expected: dict[str, Any] = files if isinstance(files, dict) else {}
    if added := sorted(there - expected.keys()):
        raise ModelFileError(
            "found a file that is none of the predictor's", where=folder / added[0],
            remedy="Remove it if you know where it comes from; otherwise copy the predictor again.",
        )
    for name, known in expected.items():
        found = hash_file(folder / name) if name in there else "no file"
        if found != known:
            raise ModelFileError(
                f"expected the hash {known}, found {found}: the file was edited, damaged or removed",
                where=folder / name, remedy=AGAIN,
            )
    return facts


def load_classifier(path: Path, name: str) -> Pipeline:
    """The pipeline, if it is made of our transform and the classifier that is registered under ``name``.

    Raises:
        ModelFileError: it is of foreign types, of other steps, or damaged.
        SettingsError: no classifier has that name.
    """
    kinds = [*(type(step) for _, step in feature_transform(2, 2).steps), type(CLASSIFIERS[name](2, 2))]
    trusted: set[type] = {YeoJohnson, kinds[-1], *loaded_estimators()}
    own = sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in trusted)
    skops = skops_io()
    try:
        _check_stored(path)
        pipeline = skops.load(path, trusted=own)
    except skops.exceptions.UntrustedTypesFoundException as error:
        raise ModelFileError(
            f"the classifier would load types that are not trusted: {error}", where=path,
            remedy="Fit the predictor again; install the plug-in if the classifier came from one.",
        ) from error
    except Exception as error:
        raise ModelFileError(
            f"cannot read the classifier: {type(error).__name__}", where=path, remedy=AGAIN
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise ModelFileError(
            f"expected a pipeline, found {type(pipeline).__name__}", where=path, remedy=AGAIN
        )
    _check_steps(pipeline, kinds, path)
    return pipeline


def _listed(folder: Path) -> set[str]:
    """The names of the files below, but for those that anybody may add.

    Raises:
        ModelFileError: one is no file, or a link that leads out of the folder.
    """
    root, found = folder.resolve(), set()
    for above, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(above) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise ModelFileError(
                    "found a link that leads out of the predictor's folder", where=path,
                    remedy="Copy the predictor with its files in place of links (cp -rL).",
                )
        for name in files:
            path = Path(above) / name
            if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
                raise ModelFileError("expected files, found something else", where=path, remedy=AGAIN)
            if name not in MANAGERS:
                found.add(path.relative_to(root).as_posix())
    return found - {FACTS_FILE, CARD}


def _check_stored(path: Path) -> None:
    """Make sure that nothing in the archive is compressed: ours is not, and so nothing unfolds beyond it."""
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("compressed")


def _check_steps(pipeline: Pipeline, kinds: list[type], path: Path) -> None:
    found = [type(step) for _, step in pipeline.steps]
    if found != kinds:
        raise ModelFileError(
            f"expected the steps {_names(kinds)}, found {_names(found)}", where=path, remedy=AGAIN
        )


def _names(kinds: list[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)
