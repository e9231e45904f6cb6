"""``evaluate``: a predictor on labelled images of another source, and what a few labels there would bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hundredfold.config import CurveChoices, EvaluateSettings, verb
from hundredfold.errors import InputError, LeakError, ModelFileError, SplitError
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from hundredfold.data.source import Found
    from hundredfold.data.store import PixelStore
    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings
    from hundredfold.learn.adaptation import Pool
    from hundredfold.learn.external import External
    from hundredfold.learn.trial import Trial
    from hundredfold.predict.answers import Answers
    from hundredfold.predict.memory import Memory
    from hundredfold.predict.predictor import Predictor

__all__ = ["ADAPTATION", "evaluate"]

#: The folder of a run with the curve over new labels.
ADAPTATION = "adaptation"
#: Cosine distance up to which two vectors are of one image.
SAME = 1e-6


@verb(EvaluateSettings)
def evaluate(settings: EvaluateSettings) -> RunDirectory:
    """Judge a predictor on labelled images that it has nothing from: external validation.

    Writes a run with a report: ``predictions.csv`` as ``predict`` would write it, beside the truth;
    ``curve.csv`` with the measures of the predictor as it is, and ``adaptation/`` with those of its
    classifier fitted again with few of the new labels, on the half of the images that gave none. Thresholds,
    probabilities and sets are those of the predictor: nothing of them is fitted to the new images, of which
    those with labels that it does not know are told apart.

    Raises:
        InputError: there are no images, the labels cannot be used, or deep images meet a predictor that
            learned from 8-bit ones.
        ModelFileError: the predictor is damaged, or of a version that remembers nothing.
        SplitError: no label is of a class of the predictor.
        LeakError: it learned from some of these images, and ``allow_leak`` is not set.
        TooManyRejectsError: more images are unusable than ``max_bad`` allows.
        RunExistsError: OUT holds an evaluation and ``resume`` is not set.
        SettingsError: it holds that of another predictor; or a prevalence is of no class with test images:
            then the evaluation is whole but for its report, which ``resume`` or ``report`` writes.
    """
    from hundredfold.data.rows import existing
    from hundredfold.predict.predictor import Predictor
    from hundredfold.report.html import write_report

    predictor = Predictor.load(existing(settings.predictor, "a predictor folder, or a run that holds one"))
    if settings.resume and RunDirectory.is_run(settings.out):
        before = RunDirectory.open(settings.out)
        if before.done("evaluate"):
            return _kept(settings, before, predictor)
    if predictor.memory is None:
        raise ModelFileError(
            "the predictor does not remember what it learned from", where=settings.predictor,
            remedy="Fit it again with this version.",
        )
    run = RunDirectory.create(settings.out)
    with run.stage("evaluate", settings=settings, resume=settings.resume):
        _evaluate(settings, run, predictor, predictor.memory)
    _tell(run)
    say(f"Report: {write_report(run, settings.prevalences)}")
    return run


def _kept(settings: EvaluateSettings, run: RunDirectory, predictor: Predictor) -> RunDirectory:
    """The evaluation that is there, if it is of this predictor; its report, if there is none yet.

    Raises:
        SettingsError: it is of another one.
    """
    from hundredfold.predict.made import check_maker
    from hundredfold.report.html import write_report

    maker = run.state["curve"]["external"]["predictor"]
    check_maker(maker, predictor, what="the evaluation here is of", where=run.path)
    say(f"{run.path} has its evaluation of this predictor already, kept as it is, whatever images and labels "
        "it was of. Choose another --out for a new one.")
    _tell(run)
    if not (run / "report.html").is_file():  # something was wrong with it, or it was not come to
        say(f"Report: {write_report(run, settings.prevalences)}")
    return run


def _tell(run: RunDirectory) -> None:
    """Say which images no number is of."""
    external = run.state["curve"]["external"]
    if strange := external["unknown_classes"]:
        named = ", ".join(f"{name} {count:,}" for name, count in strange.items())
        say(f"{sum(strange.values()):,} images have labels that the predictor does not know, and are in no "
            f"number: {named}")
    if external["unlabelled"]:
        say(f"{external['unlabelled']:,} images have no label.")


def _evaluate(
    settings: EvaluateSettings, run: RunDirectory, predictor: Predictor, memory: Memory
) -> None:
    import pandas as pd

    from hundredfold.data.groups import find_grouped
    from hundredfold.data.subgroups import read_subgroups
    from hundredfold.encode.embed import embed
    from hundredfold.learn.adaptation import Pool
    from hundredfold.learn.external import External, external_curve
    from hundredfold.learn.scores import Said

    source = find_grouped(settings.images, settings)
    table, store = _pixels(settings, run, predictor, source)
    name = str(predictor.facts.get("embeddings") or predictor.encoder.name)
    embeddings = embed(
        predictor.encoder, store, table, run / "embeddings" / name, batch=settings.embed_batch, resume=True
    )
    trial = External.trial_of(_learned_from(memory, predictor.classes), table, predictor.classes)
    leak = _leak(settings, memory, embeddings, trial)
    answers = predictor.judge(embeddings.vectors)
    own = pd.Index(embeddings.ids).get_indexer(pd.Index(trial.test.ids))
    rows = _write_predictions(run, predictor, answers, embeddings.ids, table)
    table = table.assign(split=table.frame["id"].isin(trial.test.ids).map({True: "test", False: None}))
    table.write(run / "images.parquet")
    given = External(
        trial, name, str(predictor.facts["classifier"]),
        Said(_codes(answers, predictor)[None, own], answers.scores[None, own].astype("float32")),
        memory.scores[memory.labelled], predictor.facts.get("calibration"),
    )
    choices = CurveChoices.of(
        bootstrap=settings.bootstrap, sensitivity=settings.sensitivity, specificity=settings.specificity,
    )
    subgroups = read_subgroups(settings.labels, trial.test, settings.subgroups)
    found = external_curve(given, choices, seed=settings.seed, subgroups=subgroups)
    found.write(run.path)
    run.record(curve={
        **found.facts, "leak": leak, "transductive": trial.transductive({name: embeddings}),
        "external": {
            **_facts(predictor, table, trial), "unusual": _unusual(rows, trial),
            "known_groups": _known_groups(predictor, memory, trial, source),
        },
    })
    say("Balanced accuracy on the new images:")
    say(found.table().round(3).to_string())
    pool = Pool(
        memory.vectors[memory.labelled], embeddings.of(trial.test), str(predictor.facts["preset"])
    )
    _adapt(settings, run, given, pool)


def _pixels(
    settings: EvaluateSettings, run: RunDirectory, predictor: Predictor, found: Found
) -> tuple[ImageTable, PixelStore]:
    """The new images with their labels, and their pixels as the predictor expects them."""
    from hundredfold.data.groups import told_by_dicom
    from hundredfold.data.labels import LabelSet
    from hundredfold.data.pixels import fill
    from hundredfold.data.recipe import Recipe
    from hundredfold.data.rejects import check_rejects
    from hundredfold.data.rows import write_rows

    recipe = Recipe.of(predictor.facts)
    for line in told_by_dicom(found):
        say(line)
    labels = LabelSet.read(settings.labels, found.table)
    table, store = fill(
        labels.apply(found.table), run / "pixels", size=recipe.size, fit=recipe.fit, supply=found.supply,
        value_range=recipe.value_range, window=recipe.window, stain=recipe.stain,
    )
    write_rows(run / "rejects.csv", table.rejects)
    check_rejects(table, max_bad=settings.max_bad, images=settings.images, listed=run / "rejects.csv")
    if recipe.value_range is None and store.value_range is not None:
        raise InputError(
            "the images have 16 bits or more, and the predictor learned from 8-bit images",
            where=settings.images,
            remedy="Nothing says what is black and white in them: convert them as the training images were.",
        )
    return table, store


def _learned_from(memory: Memory, classes: tuple[str, ...]) -> ImageTable:
    """The labelled images that the predictor learned from, in the order of its memory."""
    import numpy as np

    from hundredfold.data.table import ImageTable

    known = memory.labelled
    return ImageTable.of({
        "id": memory.ids[known], "label": np.array(classes, dtype=object)[memory.codes[known]],
        "group": memory.groups[known],
    })


def _leak(
    settings: EvaluateSettings, memory: Memory, embeddings: Embeddings, trial: Trial
) -> str | None:
    """How many of the images the predictor learned from, in words."""
    from hundredfold.data.duplicates import shown
    from hundredfold.encode.neighbours import nearest

    distances, _ = nearest(embeddings.of(trial.test), memory.vectors[memory.labelled], 1)
    known = (distances[:, 0] <= SAME) & shown(trial.test.frame).notna().to_numpy(dtype=bool)
    if not (count := int(known.sum())):
        return None
    leak = f"the predictor learned from {count:,} of the {len(trial.test):,} images"
    if not settings.allow_leak:
        raise LeakError(
            leak, where=settings.images,
            remedy="Judge it on images it has nothing from; --allow-leak goes on all the same.",
        )
    return leak


def _known_groups(predictor: Predictor, memory: Memory, trial: Trial, found: Found) -> dict[str, int] | None:
    """What names tell of patients whom it learned from, said as well."""
    from hundredfold.predict.patients import known_groups

    known = known_groups(predictor, memory, trial.test, found.naming)
    if known is None:
        say("Whether the predictor learned from these patients cannot be told: those of DICOM files have "
            "other names than when it learned. Give --group-key the key of the training scan, if it had one.")
    elif known["images"]:
        say(f"{known['images']:,} of the {len(trial.test):,} images are of groups that bear names of groups "
            "the predictor learned from: if these are the same patients, the figures are too good.")
    return known


def _codes(answers: Answers, predictor: Predictor) -> NDArray[np.int32]:
    import numpy as np

    return np.searchsorted(np.array(predictor.classes), answers.labels).astype(np.int32)


def _write_predictions(
    run: RunDirectory, predictor: Predictor, answers: Answers, ids: NDArray[np.object_], table: ImageTable
) -> pd.DataFrame:
    """Write ``predictions.csv``: what ``predict`` says of every image, and ``truth``."""
    from hundredfold.data.rows import write_rows
    from hundredfold.predict.columns import columns

    said = columns(predictor, answers).set_axis(ids)
    rows = said.reindex(table.ids)
    rows.insert(0, "image", table.ids)
    rows.insert(1, "truth", table.frame["label"].to_numpy())
    rows = rows.assign(problem=table.frame["problem"].to_numpy())
    write_rows(run / "predictions.csv", rows)
    return rows


def _unusual(rows: pd.DataFrame, trial: Trial) -> dict[str, float]:
    """The share of images unlike those it learned from, among those of classes that it knows and others."""
    from hundredfold.predict.columns import UNUSUAL

    labelled = rows[rows["truth"].notna() & rows["problem"].isna()]
    if UNUSUAL not in labelled:
        return {}
    known = labelled["truth"].isin(trial.classes).map({True: "known", False: "unknown"})
    shares = labelled[UNUSUAL].eq("yes").groupby(known).mean()
    return {str(kind): round(float(value), 4) for kind, value in shares.items()}


def _facts(predictor: Predictor, table: ImageTable, trial: Trial) -> dict[str, Any]:
    """What a report must say of the predictor and of the images."""
    usable = table.usable.frame
    strange = usable["label"][usable["label"].notna() & ~usable["label"].isin(trial.classes)]
    method = f"{predictor.facts['embeddings']}/{predictor.facts['classifier']}"
    return {
        "predictor": predictor.hash, "labels": predictor.facts["labels"],
        "groups": predictor.facts["groups"],
        "sets": predictor.facts.get("sets"),
        "cross_validation": predictor.facts["cross_validation"].get(method),
        "unknown_classes": {str(one): int(count) for one, count in strange.value_counts().items()},
        "unlabelled": int(usable["label"].isna().sum()),
    }


def _adapt(settings: EvaluateSettings, run: RunDirectory, given: External, pool: Pool) -> None:
    """Write the curve over new labels, or say why there is none."""
    import pandas as pd

    from hundredfold.data.rows import write_rows
    from hundredfold.data.splits import pieces_of
    from hundredfold.learn.adaptation import adaptation, adaptation_compared

    choices = CurveChoices.of(
        budgets=settings.budgets, repeats=settings.repeats, bootstrap=settings.bootstrap
    )
    try:
        found = adaptation(given, pool, choices, seed=settings.seed)
    except SplitError as error:
        say(f"No adaptation: {error}")
        run.record(adaptation={"refused": error.found})
        return
    folder, test = run / ADAPTATION, given.trial.test
    folder.mkdir(exist_ok=True)
    found.write(folder)
    compared = adaptation_compared(found, pd.Series(pieces_of(test), index=test.ids))
    write_rows(folder / "comparison.csv", compared)
    run.record(adaptation=found.facts)
