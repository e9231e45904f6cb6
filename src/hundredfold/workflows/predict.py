"""``predict``: a class for every new image, or the reason why there is none."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hundredfold.config import GroupChoices, PredictSettings, verb
from hundredfold.errors import RunExistsError, SettingsError
from hundredfold.progress import bar, say
from hundredfold.url import Url, info_of, put

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hundredfold.data.source import Found
    from hundredfold.data.stream import Passing
    from hundredfold.predict.explain import Resemblance
    from hundredfold.predict.parts import Parts
    from hundredfold.predict.predictor import Predictor

__all__ = ["predict"]

P = TypeVar("P", Path, Url, Path | Url)
#: Settings on which no cell depends, or which show in the groups of the images.
ELSEWHERE = {"images", "predictor", "out", "resume", *GroupChoices.model_fields}


@verb(PredictSettings)
def predict(settings: PredictSettings) -> Path | Url:
    """Label the images of a folder or table.

    Writes a table, to a file or behind a URL, as CSV, Parquet or JSON lines by the suffix of its name:
    ``image, label, p:<class> …, conformal_set, novelty, unusual, problem``. An image that cannot be used has
    nothing but the reason, in ``problem``. New images go through the same decoding, range, colours and
    size as those the predictor learned from. The label is the classifier's own decision and the probabilities
    are such as if all classes were equally common; with ``prevalence`` they are for that, and the label is
    the most probable class. A predictor of too few labels for probabilities gives ``score:<class>`` instead,
    the classifier's own. ``conformal_set`` holds the classes that cannot be ruled out at the predictor's
    coverage, with ``|`` between them; where there are several, a person should look. ``novelty`` is the share
    of known images that are less unusual; from .95 on ``unusual`` says ``yes``. With ``explain`` there is a
    column ``neighbours`` and a page beside the table; neither is evidence (docs/explain.md). Neighbours are
    of other patients, where ``group_pattern``, ``group_key`` or a table says whose the images are.

    Images pass by: the memory that is taken does not grow with their number but for their names. Rows come in
    parts of a few hundred, in a folder beside the output; ``resume`` continues behind the last whole part,
    and the output is the same, byte for byte. Behind a URL there are no parts to continue. Beside the table
    ``NAME.json`` says by which predictor (its hash), for which prevalence and of which images it was made; a
    whole table is kept by ``resume`` if that is what is asked for now.

    Raises:
        SettingsError: a prevalence is of no class, or of a predictor without probabilities; the output has
            another suffix; what is to be continued or kept is of other images, predictor or settings.
        InputError: there are no images.
        ModelFileError: the predictor is damaged or was edited.
        RunExistsError: the file, its page or parts of it are there already and ``resume`` is not set.
    """
    from hundredfold.data.sandbox import awaken

    awaken()
    from hundredfold.data.rows import existing
    from hundredfold.predict.made import beside, check_same, read_made
    from hundredfold.predict.parts import Parts
    from hundredfold.predict.predictor import Predictor

    _check_suffix(settings.out)
    there = _is_there(settings)
    made = read_made(settings.out) if there else None
    if there and made is None:
        say(f"{settings.out} is there already and was kept as it is, whatever images, predictor and settings "
            "it was made with; nothing was predicted now. Choose another --out for a new table.")
        return settings.out
    predictor = Predictor.load(existing(settings.predictor, "a predictor folder, or a run that holds one"))
    work = _asked(settings, predictor)
    if made is not None:
        check_same(made, work.claim, where=settings.out)
        if isinstance(settings.out, Path):
            Parts(settings.out).remove()  # a kill behind the last step leaves them
        say(f"{settings.out} is there already, of these images, predictor and settings; nothing was "
            "predicted now.")
        return settings.out
    if isinstance(settings.out, Url):
        with tempfile.TemporaryDirectory(prefix="hundredfold-") as folder:
            local = Path(folder) / settings.out.name
            _predict(work, Parts(local))
            for path in (_page(local), beside(local), local):  # where the table is, all is
                if path.is_file():
                    put(path, settings.out.parent / path.name)
    else:
        _predict(work, Parts(settings.out))
    if predictor.calibration is None:
        say("The numbers are scores and no probabilities (score:CLASS), and there are no sets.")
    elif not settings.prevalence:
        what = "Probabilities" if predictor.sets is None else "Probabilities and sets"
        say(f"{what} are such as if all classes were equally common; --prevalence says how "
            "common they are where the images come from.")
    return settings.out


def _check_suffix(out: Path | Url) -> None:
    from hundredfold.predict.parts import FORMATS

    if (suffix := out.suffix.lower()) not in FORMATS:
        known = ", ".join(FORMATS)
        raise SettingsError(
            f"expected an output that ends in {known}; found {suffix or 'no suffix'}", where="out",
            remedy="Name the file so; the suffix says how it is written.",
        )


def _page(out: P) -> P:
    """Where the page goes that explains a table."""
    return out.parent / f"{out.name.removesuffix(out.suffix)}.html"


def _exists(place: Path | Url) -> bool:
    return info_of(place) is not None if isinstance(place, Url) else place.exists()


def _is_there(settings: PredictSettings) -> bool:
    """Whether the file was written before, and may be kept.

    Raises:
        RunExistsError: it may not.
    """
    out = settings.out
    there = _exists(out)
    if there and not (settings.resume and (isinstance(out, Url) or out.is_file())):
        raise RunExistsError(
            "the output exists", where=out,
            remedy="Keep it with --resume, or choose another --out; nothing was changed.",
        )
    if settings.explain and not settings.resume and _exists(_page(out)):
        raise RunExistsError(
            "the page beside the output exists", where=_page(out),
            remedy="Write it anew with --resume, or choose another --out; nothing was changed.",
        )
    return there


@dataclass(frozen=True)
class _Work:
    """What is to be predicted, by whom and how, and the claim that is laid to the place."""

    settings: PredictSettings
    predictor: Predictor
    shares: NDArray[np.float64] | None
    found: Found
    images: list[Passing]
    claim: dict[str, Any]


def _asked(settings: PredictSettings, predictor: Predictor) -> _Work:
    from hundredfold.predict.made import claimed
    from hundredfold.predict.patients import found_for
    from hundredfold.predict.rows import listed

    shares = None if settings.stated is None else predictor.shares(settings.stated)
    found = found_for(predictor, settings.images, settings)
    images = listed(found.table, found.supply)
    claim = claimed(predictor, found.table, images, settings.model_dump(mode="json", exclude=ELSEWHERE))
    return _Work(settings, predictor, shares, found, images, claim)


def _predict(work: _Work, parts: Parts) -> None:
    """Make the parts that are not there, and the table of all of them."""
    from hundredfold.predict.explain import Resemblance
    from hundredfold.predict.made import told
    from hundredfold.predict.rows import part_size, predicted

    settings, predictor, table = work.settings, work.predictor, work.found.table
    known = Resemblance.of(predictor) if settings.explain else None
    if settings.stated == "audit" and predictor.audit is not None:
        for line in predictor.audit.sentences(predictor.classes):
            say(line)
    with parts.alone():
        parts.begin(work.claim, resume=settings.resume)
        done = min(parts.count * part_size(settings.embed_batch), len(table))
        with bar("Predicting", len(table), start=done) as progress:
            for rows in predicted(
                predictor, table, work.images, work.found.supply, batch=settings.embed_batch,
                first=parts.count, shares=work.shares, known=known,
            ):
                parts.append(rows)
                progress.advance(len(rows))
        _tell(parts, settings.out)
        if known is not None:
            _explain(parts, work, known)
        parts.join(told(work.claim, predictor, work.shares, len(table)))


def _explain(parts: Parts, work: _Work, known: Resemblance) -> None:
    """Write the page; the few images on it are decoded once more, so that none had to be kept."""
    from hundredfold.predict.page import chosen_rows, write_page
    from hundredfold.predict.patients import whose_are

    rows, page = chosen_rows(parts), _page(parts.out)
    whose = whose_are(work.found.table, known)
    write_page(
        page, work.predictor, known, rows, total=len(work.found.table), images=work.images,
        supply=work.found.supply, shares=work.shares, whose=whose,
    )
    say(f"{len(rows):,} images with their nearest labelled ones and maps, in {page}: not evidence. {whose}")


def _tell(parts: Parts, out: Path | Url) -> None:
    from hundredfold.predict.columns import BETWEEN, SETS, UNUSUAL

    labels, problems, several, unusual = Counter[str](), Counter[str](), 0, 0
    for rows in parts:
        if SETS in rows:
            several += int(rows[SETS].str.contains(BETWEEN, regex=False).sum())
        if UNUSUAL in rows:
            unusual += int((rows[UNUSUAL] == "yes").sum())
        labels.update(rows["label"].dropna())
        problems.update(rows["problem"].dropna())
    counts = _counted(labels) or "none"
    say(f"{labels.total():,} images labelled ({counts}), in {out}")
    if several:
        say(f"{several:,} of them have more than one class in their set: a person should look at these.")
    if unusual:
        say(f"{unusual:,} of them are unlike the known images (one in twenty by chance): look at these, too.")
    if problems:
        say(f"{problems.total():,} images cannot be used ({_counted(problems)}); their rows say why.")


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in names.most_common())
