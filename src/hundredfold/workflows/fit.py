"""``fit``: a predictor from the labels of the training side."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hundredfold.config import FitSettings, verb
from hundredfold.errors import RunExistsError, RunMissingError
from hundredfold.process import cores
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory
from hundredfold.url import Url, info_of, put

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings
    from hundredfold.learn.calibrate import Calibration
    from hundredfold.learn.choose import Choice
    from hundredfold.learn.held_out import HeldOut
    from hundredfold.learn.trial import Trial
    from hundredfold.predict.conformal import Sets
    from hundredfold.predict.predictor import Predictor
    from hundredfold.predict.thumbnails import Thumbnails

__all__ = ["check_free", "fit"]


@verb(FitSettings)
def fit(settings: FitSettings) -> Predictor:
    """Fit a classifier to all labels that are not held out, and write it with its encoder.

    OUT becomes the predictor folder; if it is a run directory, the predictor goes to ``OUT/predictor``. Of
    several encoders, and with ``auto`` of several classifiers, those are taken that do best in
    cross-validation by group on the training labels. Test and audit images are left out, so that what
    ``curve`` said of such a classifier holds.

    Raises:
        SettingsError: an unknown classifier, or the predictor to be kept by ``resume`` was fitted with other
            settings.
        RunMissingError: there are no embeddings, or no pixels for ``thumbnails``.
        InputError: the labels cannot be used, or are of one class only.
        ModelFileError: the encoder of the embeddings is not to be found.
        RunExistsError: OUT, or the URL to copy to, holds a predictor and ``resume`` is not set, or OUT is
            another folder with files.
    """
    if settings.copy_to is not None and not settings.resume:
        check_free(settings.copy_to)
    run = RunDirectory.open(settings.out) if RunDirectory.is_run(settings.out) else None
    folder = settings.out if run is None else run / "predictor"
    predictor = _kept(settings, run, folder) or _written(settings, run, folder)
    if settings.copy_to is not None:
        put(folder, settings.copy_to / "predictor", last="predictor.json")
        say(f"Copied to {settings.copy_to / 'predictor'}")
    return predictor


def check_free(url: Url) -> None:
    """Make sure that no predictor is copied over another.

    Raises:
        RunExistsError: there is one.
    """
    if info_of(url / "predictor/predictor.json") is not None:
        raise RunExistsError("there is a predictor", where=url, remedy="Choose another --copy-to.")


def _written(settings: FitSettings, run: RunDirectory | None, folder: Path) -> Predictor:
    from hundredfold.report.texts import write_card

    predictor = _fit(settings)
    if run is None:
        saved = _save(predictor, folder)
        write_card(folder)
        return saved
    with run.stage("fit", settings=settings, resume=settings.resume):
        shutil.rmtree(folder, ignore_errors=True)
        saved = _save(predictor, folder)
    write_card(run.path)
    return saved


def _kept(settings: FitSettings, run: RunDirectory | None, folder: Path) -> Predictor | None:
    """The predictor that is there already, if it may be kept.

    Raises:
        RunExistsError: it may not.
        SettingsError: a run's was fitted with other settings.
    """
    from hundredfold.predict.predictor import Predictor
    from hundredfold.workflows.labelled import check_done_with

    if run is not None:
        begun = "fit" in run.state["stages"]
        if begun and not settings.resume:
            raise RunExistsError(
                "fit is already in this run", where=run.path,
                remedy="Continue it with --resume, or choose another --out.",
            )
        if not run.done("fit"):
            return None
        check_done_with(run, "fit", settings)
    elif not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    elif not (settings.resume and (folder / "predictor.json").is_file()):
        raise RunExistsError(
            "the output exists", where=folder,
            remedy="Keep the predictor in it with --resume, or choose another --out; nothing was changed.",
        )
    say(f"{folder} holds its predictor already and was kept as it is, whatever labels it learned from. "
        "Choose another --out for a new one.")
    return Predictor.load(folder)


def _fit(settings: FitSettings) -> Predictor:
    from hundredfold.learn.classifiers import CLASSIFIERS
    from hundredfold.learn.trial import Trial
    from hundredfold.predict.predictor import Predictor
    from hundredfold.workflows.labelled import encoder_of, label, pixels_of, read_embeddings

    names = _candidates(settings)
    for name in names:
        CLASSIFIERS[name]
    embeddings = read_embeddings(settings.embeddings)
    table = label(settings.embeddings, embeddings, settings.labels)
    _warn_of_leaks(table)
    trial = Trial.labelled(table)
    choice, held = _choose(embeddings, trial, names, settings)
    chosen = embeddings[choice.encoder]
    encoder = encoder_of(settings.embeddings, choice.encoder, chosen)
    one = held.get((choice.encoder, 0))
    scores = None if one is None else one.scores[names.index(choice.classifier)]
    calibration = _calibration(settings, trial, scores)
    made = Predictor.fit(
        encoder, chosen, table, classifier=choice.classifier, preset=settings.preset, name=choice.encoder,
        choice=choice, calibration=calibration, held_out=scores,
        sets=_sets(settings, trial, scores, calibration), store=pixels_of(settings.embeddings),
    )
    told = {"group_key": _group_key(settings, trial), "unusual": _unusual(made, chosen, table.test)}
    made = replace(made, facts={**made.facts, **told})
    return replace(made, thumbnails=_thumbnails(settings, trial)) if settings.thumbnails else made


def _candidates(settings: FitSettings) -> tuple[str, ...]:
    """What there is to choose from: what the run's curve judged, so that its numbers are of the predictor."""
    from hundredfold.learn.choose import CANDIDATES
    from hundredfold.learn.study import NETWORK
    from hundredfold.workflows.labelled import noted_settings, run_of

    if settings.classifier != "auto":
        return (settings.classifier,)
    run = run_of(settings.embeddings)
    if run is None or not run.done("curve"):
        return CANDIDATES
    judged = noted_settings(run).get("curve", {}).get("classifiers", ())
    return tuple(name for name in judged if name != NETWORK) or CANDIDATES


def _unusual(made: Predictor, embeddings: Embeddings, test: ImageTable) -> dict[str, Any] | None:
    """What share of the test images it finds unlike those that it learned from; nothing is chosen by that."""
    from hundredfold.predict.novelty import ALARM

    if made.novelty is None or not len(test):
        return None
    novelty = made.judge(embeddings.of(test)).novelty
    assert novelty is not None  # there is what tells it
    return {"images": len(test), "share": round(float((novelty >= ALARM).mean()), 4)}


def _group_key(settings: FitSettings, trial: Trial) -> str | None:
    """Tells the key that patients of DICOM files are named with; ``None`` where the labels name all."""
    from hundredfold.data.naming import are_hashed
    from hundredfold.workflows.labelled import run_of

    if not are_hashed(trial.train.frame["group"]):
        return None
    run = run_of(settings.embeddings)
    return "unknown" if run is None else str(run.state.get("group_key") or "unknown")


def _thumbnails(settings: FitSettings, trial: Trial) -> Thumbnails:
    """Small pictures of the labelled images.

    Raises:
        RunMissingError: their pixels are not in the run any more.
    """
    from hundredfold.predict.thumbnails import Thumbnails
    from hundredfold.workflows.labelled import pixels_of

    if (store := pixels_of(settings.embeddings)) is None:
        raise RunMissingError(
            "the pixels of the labelled images are not there, of which thumbnails could be made",
            where=settings.embeddings, remedy="Leave --thumbnails out, or scan the images again.",
        )
    return Thumbnails.of(list(trial.train.ids), store)


def _warn_of_leaks(table: ImageTable) -> None:
    """Say so if images held out have kin among those to learn from; ``curve`` refuses such a split."""
    from hundredfold.data.splits import check_disjoint
    from hundredfold.errors import LeakError

    try:
        check_disjoint(table)
    except LeakError as error:
        say(f"Warning: {error.found}. What is measured on images held out will be too good.")


def _choose(
    embeddings: Mapping[str, Embeddings], trial: Trial, names: Sequence[str], settings: FitSettings
) -> tuple[Choice, Mapping[tuple[str, int], HeldOut]]:
    """The best encoder and classifier on held-out training labels, and what all said of these.

    Nothing is held out if there is one of each, and no probabilities are asked for.
    """
    import numpy as np

    from hundredfold.learn.choose import Choice, choose
    from hundredfold.learn.held_out import held_out

    if len(embeddings) == len(names) == 1 and settings.calibration == "none":
        return Choice(next(iter(embeddings)), names[0], {}), {}
    vectors = {name: found.of(trial.train) for name, found in embeddings.items()}
    every = [np.arange(len(trial.train))]
    held = held_out(
        trial, vectors, every, names, preset=settings.preset, seed=settings.seed, jobs=cores(),
        title="Choosing a method",
    )
    return choose(held, names), held


def _calibration(
    settings: FitSettings, trial: Trial, scores: NDArray[np.float32] | None
) -> Calibration | None:
    """What makes probabilities of the chosen method's scores; too few labels are told."""
    import numpy as np

    from hundredfold.learn.calibrate import FEWEST, Calibration

    if settings.calibration == "none" or scores is None:
        return None
    found = Calibration.fit(scores, trial.train_codes, settings.calibration)
    if found is None:
        codes = trial.train_codes[~np.isnan(scores).any(axis=1)]
        few = [name for code, name in enumerate(trial.classes) if (codes == code).sum() < FEWEST]
        say(f"Scores and no probabilities: fewer than {FEWEST} labels can be held out from the others of "
            f"their groups, of {', '.join(few)}. Label more, from more groups; or is a name misspelt?")
    return found


def _sets(
    settings: FitSettings, trial: Trial, scores: NDArray[np.float32] | None, calibration: Calibration | None
) -> Sets | None:
    """What tells which classes cannot be ruled out; what there are too few labels for is told."""
    from hundredfold.predict.columns import BETWEEN
    from hundredfold.predict.conformal import Sets, fewest

    if settings.sets == "none" or scores is None:
        return None
    if calibration is None:
        say("No sets of classes that cannot be ruled out: they are made of probabilities.")
        return None
    if not calibration.reusable:
        say("No sets of classes that cannot be ruled out: a staircase follows the held-out labels so closely "
            "that bars fitted to the same labels would not keep their promise. Use another --calibration.")
        return None
    if odd := [name for name in trial.classes if BETWEEN in name]:
        say(f"No sets of classes that cannot be ruled out: the name {odd[0]!r} holds the {BETWEEN!r} that "
            "stands between classes. Rename it in the labels.")
        return None
    said = calibration.probabilities(scores)
    found = Sets.fit(said, trial.train_codes, settings.coverage, settings.sets)
    if found is None:
        say(f"No sets: not enough labels. A coverage of {settings.coverage:g} needs "
            f"{fewest(settings.coverage)} that can be held out.")
    elif found.kind == "class-wise" and not found.promised.all():
        few = [name for name, enough in zip(trial.classes, found.promised, strict=True) if not enough]
        say(f"Sets: not enough labels for a promise of their own: {', '.join(few)}. The bar of all classes "
            "is taken for these.")
    return found


def _save(predictor: Predictor, folder: Path) -> Predictor:
    saved = predictor.save(folder)
    labels = sum(saved.facts["labels"].values())
    say(f"Predictor: {saved.facts['classifier']} on {saved.facts['embeddings']} ({saved.encoder.name}), "
        f"{labels:,} labels of {len(saved.classes)} classes, in {folder}")
    if saved.audit is not None:
        for line in saved.audit.sentences(saved.classes):
            say(f"  {line}")
    for method, value in sorted(saved.facts["cross_validation"].items(), key=lambda pair: -pair[1]):
        say(f"  {method}: {value:.3f} in cross-validation on the training labels")
    return saved
