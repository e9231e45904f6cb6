"""``predict``: a class for every new image, or the reason why there is none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hundredfold.config import PredictSettings, verb
from hundredfold.errors import RunExistsError
from hundredfold.progress import bar, say
from hundredfold.url import Url, info_of, put

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from hundredfold.data.source import Found
    from hundredfold.data.store import PixelStore
    from hundredfold.data.table import ImageTable
    from hundredfold.predict.predictor import Predictor

__all__ = ["predict"]


@verb(PredictSettings)
def predict(settings: PredictSettings) -> Path | Url:
    """Label the images of a folder or table.

    Writes a CSV, to a file or behind a URL: ``image, label, p:<class> …, problem``. An image that cannot be
    used has neither label nor probabilities, and the reason in ``problem``. New images go through the same
    decoding, range, colours and size as those the predictor learned from. The label is the classifier's own
    decision and the probabilities are such as if all classes were equally common; with ``prevalence`` they
    are for that, and the label is the most probable class. A predictor of too few labels for probabilities
    gives ``score:<class>`` instead, the classifier's own.

    Raises:
        SettingsError: a prevalence is of no class, or of a predictor without probabilities.
        InputError: there are no images.
        ModelFileError: the predictor is damaged or was edited.
        RunExistsError: the file is there already and ``resume`` is not set.
    """
    from hundredfold.data.rows import existing, write_rows
    from hundredfold.data.source import find
    from hundredfold.predict.predictor import Predictor

    if _is_there(settings):
        say(f"{settings.out} is there already; it is written whole or not at all.")
        return settings.out
    predictor = Predictor.load(existing(settings.predictor, "a predictor folder, or a run that holds one"))
    shares = predictor.shares(settings.prevalences) if settings.prevalence else None
    found = find(settings.images)
    # Beside the output, because a folder for temporary files is often small.
    beside = None if isinstance(settings.out, Url) else settings.out.parent
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".predict-") as folder:
        table, store = _pixels(found, Path(folder), predictor)
        rows = _predicted(table, store, predictor, settings.embed_batch, shares)
        local = Path(folder) / "predictions.csv" if isinstance(settings.out, Url) else settings.out
        write_rows(local, rows)
        if isinstance(settings.out, Url):
            put(local, settings.out)
    _tell(rows, settings.out)
    if predictor.calibration is not None and not settings.prevalence:
        say("The probabilities are such as if all classes were equally common; --prevalence says how common "
            "they are where the images come from.")
    return settings.out


def _is_there(settings: PredictSettings) -> bool:
    """Whether the file was written before, and may be kept.

    Raises:
        RunExistsError: it may not.
    """
    out = settings.out
    there = info_of(out) is not None if isinstance(out, Url) else out.exists()
    if there and not (settings.resume and (isinstance(out, Url) or out.is_file())):
        raise RunExistsError(
            "the output exists", where=out,
            remedy="Keep it with --resume, or choose another --out; nothing was changed.",
        )
    return there


def _pixels(found: Found, folder: Path, predictor: Predictor) -> tuple[ImageTable, PixelStore]:
    from hundredfold.data.pixels import fill
    from hundredfold.data.stain import Stain
    from hundredfold.data.value_range import ValueRange

    facts = predictor.facts
    known = ValueRange(*facts["value_range"]) if facts["value_range"] else None
    window = (facts["window"][0], facts["window"][1]) if facts.get("window") else None
    table, store = fill(
        found.table, folder, size=facts["pixel_size"], fit=facts["fit"], value_range=known, window=window,
        supply=found.supply,
        stain=Stain.read(facts.get("stain")),
    )
    if known is None and store.value_range is not None:
        say("Warning: these images are deeper than those the predictor learned from; they were scaled by "
            f"their own range, {store.value_range}.")
    return table, store


def _predicted(
    table: ImageTable, store: PixelStore, predictor: Predictor, batch: int,
    shares: NDArray[np.float64] | None,
) -> pd.DataFrame:
    """One row an image, in the order of the table."""
    import pandas as pd

    from hundredfold.predict.columns import column_names, columns

    ids = table.usable.ids
    places = store.rows(ids)
    parts = [pd.DataFrame(columns=column_names(predictor))]
    with bar("Predicting", len(ids)) as progress:
        for start in range(0, len(ids), batch):
            some = places[start : start + batch]
            parts.append(columns(predictor, predictor.answer(store[some], shares)))
            progress.advance(len(some))
    known = pd.concat(parts[1:] or parts).set_axis(ids)
    rows = known.reindex(table.ids)
    rows.insert(0, "image", table.ids)
    return rows.assign(problem=table.frame["problem"].to_numpy()).reset_index(drop=True)


def _tell(rows: pd.DataFrame, out: Path | Url) -> None:
    counts = ", ".join(f"{name} {count:,}" for name, count in rows["label"].value_counts().items())
    say(f"{int(rows['label'].notna().sum()):,} images labelled ({counts or 'none'}), in {out}")
    if (bad := rows["problem"].value_counts()).sum():
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in bad.items())
        say(f"{int(bad.sum()):,} images cannot be used ({reasons}); their rows say why.")
