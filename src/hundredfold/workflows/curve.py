"""``curve``: accuracy against the number of labels, with everything a reader needs to judge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hundredfold.config import CurveSettings, PretrainChoices, verb
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

if TYPE_CHECKING:
    from hundredfold.data.table import ImageTable
    from hundredfold.learn.curve import LearningCurve

__all__ = ["curve"]


@verb(CurveSettings)
def curve(settings: CurveSettings) -> RunDirectory:
    """Fit the classifiers to 1 … 1000 labels a class and judge them on the fixed test images.

    Writes ``curve.csv``, ``curve.parquet`` and ``predictions.parquet``, and at the number of labels that a
    report speaks of ``scores.parquet``, ``held_out.parquet``, ``thresholds.csv`` and ``strata.csv``;
    ``run.json`` says what the test set is, what the intervals mean, and which encoders saw test images.

    Raises:
        SettingsError: a budget below 1, or an unknown classifier; no encoder has a backbone to train.
        RunMissingError: there are no embeddings, or no pixels for the classifier ``network``.
        InputError: the labels cannot be used.
        LeakError: images or groups are both in train and in test, and ``allow_leak`` is not set.
        RunExistsError: OUT holds a learning curve and ``resume`` is not set.
        SettingsError: it holds one that was measured with other settings.
    """
    from hundredfold.data.subgroups import read_subgroups
    from hundredfold.learn.curve import check_choices, learning_curve
    from hundredfold.learn.outer import sides_of
    from hundredfold.learn.study import NETWORK
    from hundredfold.workflows.labelled import (
        check_done_with,
        label,
        networks_of,
        read_embeddings,
        with_split,
    )

    if settings.resume and RunDirectory.is_run(settings.out):
        before = RunDirectory.open(settings.out)
        if before.done("curve"):
            check_done_with(before, "curve", settings)
            say(f"{settings.out} has its learning curve already.")
            return before
    check_choices(settings)
    embeddings = read_embeddings(settings.embeddings)
    table = label(settings.embeddings, embeddings, settings.labels, outer=settings.outer_splits > 1)
    if settings.outer_splits == 1:
        table = with_split(table, seed=settings.seed)
    sides = sides_of(table, settings, seed=settings.seed)
    networks = None
    if NETWORK in settings.classifiers:
        networks = networks_of(
            settings.embeddings, embeddings, settings.network_rates, modality=settings.modality
        )
    subgroups = read_subgroups(settings.labels, sides.whole.test, settings.subgroups)
    run = RunDirectory.create(settings.out)
    with run.stage("curve", settings=settings, resume=settings.resume):
        views = [] if networks is None else [
            f"The network sees views for {networks.modality} images; --modality names another kind."
        ]
        for line in (*sides.sentences(settings), *views, *_without_effect(settings)):
            _tell(run, line)
        found = learning_curve(
            embeddings, table, settings, networks=networks, seed=settings.seed, parts=run / "curve.parts",
            subgroups=subgroups,
        )
        if (shortcuts := _shortcuts(settings, table)) is not None:
            found = found.beside(shortcuts)
        found.write(run.path)
        run.record(curve=found.facts)
        if found.facts["transductive"]:
            run.record(transductive=found.facts["transductive"])
        _conclude(run, found, settings.network_rates)
    return run


def _without_effect(settings: CurveSettings) -> list[str]:
    """That a modality was given for nothing; not where it is the one that pre-training was told."""
    from hundredfold.learn.study import NETWORK
    from hundredfold.workflows.labelled import noted_settings, run_of

    run = run_of(settings.embeddings)
    learned = {} if run is None else noted_settings(run).get("pretrain", {})
    usual = PretrainChoices.model_fields["modality"].default  # `run` passes it on, given or not
    if NETWORK in settings.classifiers or settings.modality in {None, usual, learned.get("modality")}:
        return []
    return [f"modality has no effect, as {NETWORK} is not among the classifiers."]


def _shortcuts(settings: CurveSettings, table: ImageTable) -> LearningCurve | None:
    """The same classifiers on what has nothing to do with the disease; it takes no part in any choice."""
    from hundredfold.data.profile import profile
    from hundredfold.learn.curve import learning_curve
    from hundredfold.learn.shortcuts import SHORTCUT, shortcut_embeddings
    from hundredfold.learn.study import NETWORK
    from hundredfold.workflows.labelled import pixels_of

    store, labelled = pixels_of(settings.embeddings), table.select(table.labelled)
    classifiers = tuple(name for name in settings.classifiers if name != NETWORK)
    if store is None or not classifiers or not set(labelled.ids) <= set(store.ids):
        return None
    choices = settings.model_copy(
        update={"classifiers": classifiers, "operating_point": None, "leave_one_site_out": False}
    )
    embeddings = {SHORTCUT: shortcut_embeddings(labelled, profile(labelled, store))}
    return learning_curve(embeddings, table, choices, seed=settings.seed)


def _conclude(run: RunDirectory, found: LearningCurve, rates: Sequence[float]) -> None:
    for name, count in found.facts["transductive"].items():
        _tell(run, f"Warning: the encoder {name} was trained on {count:,} test images (without labels).")
    for name, count in found.facts["unconverged"].items():
        _tell(run, f"Warning: {count:,} fits of {name} stopped before they converged.")
    for line in _at_the_end(found.facts["network_rates"], rates):
        _tell(run, line)
    if (capped := found.frame.loc[found.frame["capped"] & found.frame["class"].notna()]).size:
        first = capped.groupby("class")["n_per_class"].min()
        parts = [f"{budget:,}: {', '.join(names.index)}" for budget, names in first.groupby(first)]
        _tell(run, f"Classes with fewer labels give all they have, from {'; from '.join(parts)}.")
    say("Balanced accuracy, mean over the draws:")
    say(found.table().round(3).to_string())


def _at_the_end(kept: Sequence[Sequence[Any]], rates: Sequence[float]) -> Iterator[str]:
    """That most networks kept the smallest or the largest of several rates."""
    total = sum(row[-1] for row in kept)
    for end, word, further in ((min(rates), "smallest", "smaller"), (max(rates), "largest", "larger")):
        there = sum(row[-1] for row in kept if row[-2] == end)
        if len(rates) > 1 and 2 * there > total:
            yield (
                f"Warning: {there:,} of {total:,} networks did best with the {word} learning rate that was "
                f"tried, {end:g}; a {further} one may do better (--network-rates)."
            )


def _tell(run: RunDirectory, line: str) -> None:
    say(line)
    run.log(line)
