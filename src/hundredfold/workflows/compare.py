"""``compare``: the learning curves of several runs and encoders, in one figure, one table and one report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hundredfold.config import CompareSettings, CurveSettings, EmbedSettings, verb
from hundredfold.errors import RunMissingError, SplitError
from hundredfold.files import atomic_write
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.data.table import ImageTable
    from hundredfold.learn.together import Measured

__all__ = ["compare"]

#: what is true of the test for every run compared
SHARED = (
    "classes", "test_set", "audit_images_spared", "test_images", "test_groups", "classes_without_test_images",
    "intervals", "classes_left_out", "outer_splits",
)


@verb(CompareSettings)
def compare(settings: CompareSettings) -> RunDirectory:
    """Set the learning curves of several runs beside each other.

    The runs must have been judged on the same test images with the same labels. Where they gave their
    classifiers the same labels too, methods are compared draw by draw, and the report speaks of the one that
    is best of all in cross-validation on these; else the draws are resampled apart, and the report says so.
    ``encoders`` are embedded and measured first, as the first run was, in ``OUT/encoders``.
    Writes ``curve.csv``, ``curve.parquet``, ``predictions.parquet``, ``comparison.csv`` (differences with
    intervals, each for itself, and p-values corrected by Holm), ``figures/`` and ``report.html``.

    Raises:
        RunMissingError: a run has no learning curve, or not the images that tell the groups.
        SplitError: the runs were not judged on the same test images, or in as many outer splits, or know of
            other groups of these images.
        SettingsError: an encoder is unknown.
        RunExistsError: OUT holds a comparison and ``resume`` is not set.
    """
    from hundredfold.learn.together import together

    runs = [RunDirectory.open(path) for path in settings.runs]
    measured = [_measured(run) for run in runs]
    images = _images(runs[0])
    together(measured)  # what cannot be compared is refused before anything is computed
    _check_splits(runs)
    _check_groups(runs)
    run = RunDirectory.create(settings.out)
    with run.stage("compare", settings=settings, resume=settings.resume):
        if settings.encoders:
            runs.append(_more(settings, runs[0]))
            measured.append(_measured(runs[-1]))
        curve, draws = together(measured)
        curve.write(run.path)
        images.write(run / "images.parquet")
        run.record(
            curve=_facts(runs) | curve.facts, transductive=curve.facts["transductive"],
            compare={"runs": [one.name for one in measured], "draws": draws, "encoders": list(draws)},
        )
    _report(run)
    return run


def _measured(run: RunDirectory) -> Measured:
    from hundredfold.learn.curve import LearningCurve
    from hundredfold.learn.together import Measured

    if not run.done("curve"):
        raise RunMissingError(
            "the run has no finished learning curve", where=run.path, remedy="Run `hundredfold curve` first."
        )
    facts = run.state.get("curve") or {}
    return Measured(
        run.path.resolve().name, LearningCurve.read(run.path), facts.get("draws"),
        facts.get("transductive") or {}, facts.get("choice") or {}, facts.get("supervised"),
    )


def _check_splits(runs: list[RunDirectory]) -> None:
    """The same images are no same test where one run learned from less of them."""
    counts = [(run.state.get("curve") or {}).get("outer_splits") or 1 for run in runs]
    if len(set(counts)) > 1:
        told = ", ".join(f"{run.path.name}: {count}" for run, count in zip(runs, counts, strict=True))
        raise SplitError(
            f"expected runs of the same number of test splits, found {told}",
            remedy="Run `hundredfold curve` for all with the same --outer-splits.",
        )


def _check_groups(runs: list[RunDirectory]) -> None:
    """Groups are resampled whole: where one run knows of none, its intervals are of images, and narrower."""
    counts = [int((run.state.get("curve") or {}).get("test_groups") or 0) for run in runs]
    if len(set(counts)) > 1:
        told = ", ".join(f"{run.path.name}: {count:,}" for run, count in zip(runs, counts, strict=True))
        raise SplitError(
            f"expected test images of the same groups (patients, slides) in all runs, found {told}",
            remedy="Run `hundredfold curve` for all with the labels that tell the groups.",
        )


def _images(run: RunDirectory) -> ImageTable:
    """The images of a run as its curve judged them: with groups, where its test images have any."""
    from hundredfold.report.material import evaluated_images

    images = evaluated_images(run)
    tested = (run.state.get("curve") or {}).get("test_groups", 0)
    if images is None or (tested and images.test.frame["group"].isna().all()):
        raise RunMissingError(
            "the images or labels that tell which test images belong together are not to be found",
            where=run.path, remedy="Run `hundredfold curve` on a scanned run, or put the labels back.",
        )
    return images


def _more(settings: CompareSettings, first: RunDirectory) -> RunDirectory:
    """Embed the first run's images with further encoders, and measure them as that run was measured."""
    from hundredfold.workflows.curve import curve
    from hundredfold.workflows.embed import embed

    out = settings.out / "encoders"
    for spec in settings.encoders:
        embed(settings.part(EmbedSettings, images=first.path, encoder=spec, out=out))
    return curve(_as_measured(settings, first, out))


def _as_measured(settings: CompareSettings, first: RunDirectory, out: Path) -> CurveSettings:
    from hundredfold.learn.study import NETWORK
    from hundredfold.report.material import settings_of

    noted = settings_of(first).get("curve", {})
    known = {name: value for name, value in noted.items() if name in CurveSettings.model_fields}
    frozen = [name for name in known.get("classifiers", ()) if name != NETWORK]
    views = (first.state.get("curve") or {}).get("modality") or known.get("modality")
    return CurveSettings.of(**{
        **known, "modality": None if frozen else views, "classifiers": frozen or known.get("classifiers"),
        "embeddings": out, "out": out, "resume": settings.resume,
    })


def _facts(runs: list[RunDirectory]) -> dict[str, Any]:
    """What the runs' curves note of the test, and alike of the training side; a leak that any of them has."""
    every: list[Mapping[str, Any]] = [run.state.get("curve") or {} for run in runs]
    facts = {name: every[0][name] for name in SHARED if name in every[0]}
    alike = [
        name for name in ("train_images", "train_images_by_class", "train_images_left_out")
        if all(one.get(name) == every[0].get(name) for one in every) and name in every[0]
    ]
    untaught = {name for one in every for name in one.get("classes_without_training_images", ())}
    return {
        **facts, **{name: every[0][name] for name in alike},
        "classes_without_training_images": sorted(untaught),
        "leak": next((one["leak"] for one in every if one.get("leak")), None),
    }


def _report(run: RunDirectory) -> None:
    from hundredfold.report.contest import contest
    from hundredfold.report.html import write_report
    from hundredfold.report.material import gather, headline_of

    with run.stage("report", settings=None, resume=True):
        material = gather(run)
        if (table := contest(material, headline_of(material))) is not None:
            with atomic_write(run / "comparison.csv") as path:
                table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
            say(_told(run / "comparison.csv", table))
        page = write_report(run)
    say(f"Report: {page}")


def _told(path: Path, table: Any) -> str:
    columns = ["other_encoder", "other_classifier", "difference", "low", "high", "p_holm"]
    first = table.iloc[0]
    head = f"{first['classifier']} on {first['encoder']} ({first['accuracy']:.3f}) beside the others"
    return f"{head}, in {path}:\n{table[columns].round(3).to_string(index=False)}"
