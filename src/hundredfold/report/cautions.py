"""What a reader must know before trusting a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hundredfold.learn.classifiers import PAPER
from hundredfold.metrics import TINY
from hundredfold.report.chapters.shortcuts import reached_by_shortcuts
from hundredfold.report.material import Material
from hundredfold.report.paper.trace import FACTS, Place
from hundredfold.report.tables import METRIC, Headline, at_point, listed
from hundredfold.report.words import features_words, many, method_words, share, shown

__all__ = ["Caution", "cautions"]

FEW_TEST_IMAGES = 200
FEW_GROUPS = 10
HALF = 0.5

LEAK = "The accuracy is then too high and must not be reported."
ASTRIDE = (
    "The split was given so, and the accuracy is too high. near_copies.csv names them: leave them out, or "
    "have a split drawn."
)
SAME_NAMES = (
    "If these are the same patients or slides, the accuracy is too good and is none for new ones: leave them "
    "out of the labels. If others are called alike, give them names of their own."
)
TRANSDUCTIVE = "It saw them without their labels. For new patients expect a somewhat lower accuracy."
NO_GROUPS = (
    "The labels name no group, so images of one patient may be on both sides of the split, and the accuracy "
    "and its intervals may be too good. Add a column group to the labels if you can."
)
ELSEWHERE = (
    "The labels name no group, so images of one patient count as so many patients, and the intervals may be "
    "too narrow; whether it learned from these patients cannot be told. Add a column group to the labels if "
    "you can."
)
EACH_ITS_OWN = "Each counts as a patient of its own; that makes intervals too narrow if several are of one."
UNTAUGHT = "without training images they are never recognised, and count as 0 in the balanced accuracy."
SINGLE = (
    "That is right only if no patient or slide gave two images. If the group names the picture, images of "
    "one patient may be on both sides of the split, and the accuracy and its intervals may be too good."
)
SOME_WITHOUT_GROUP = "One without a group may come from a patient on the other side of the split."
FEW = (
    "With fewer than 10 there is no interval: how the accuracy varies from patient to patient cannot be told."
)
ABSENT = "nothing can be said of them, and the balanced accuracy leaves them out."
PARTIAL = "These results cannot be set beside published ones."
WRITING = (
    "It may name patients, also in the examples on this page, and classifiers may have read it in place of "
    "the disease."
)
SMALL = "each counts as much as a large class in the balanced accuracy, so a few images move it."
SMALL_TRAINING = "they had too few labelled training images; every number is without them."
ALL_THE_SAME = (
    " The run's predictor learned them all the same, and with more classes to confuse it may be less "
    "accurate than these numbers say."
)
TURNS = (
    "Each labelled image was a test image once, judged by classifiers that learned from other groups. An "
    "encoder pre-trained in this run has seen those on the scan's training side, without their labels. "
    "Numbers of labels are means over the splits; ROC curves put together scores of several classifiers, "
    "which need not be on one scale."
)
CHOSEN = (
    "Cross-validation on the scan's training side chose it for the run's predictor, and those images were "
    "test images here, too: its accuracy may be a little too good."
)
UNJUDGED = (
    "It is {}, which the curve did not judge; every accuracy here is of other classifiers. Give it to "
    "hundredfold curve --classifiers, or choose one of these with hundredfold fit --classifier."
)
OTHER_SETTINGS = (
    "It has --preset {}, but every accuracy here is of {} with --preset {}. Fit it with that one, "
    "or measure a curve with its own."
)
SHORTCUTS = (
    "That is over half the way from guessing to the accuracy above. Part of it may be the scanner, the stain "
    "or the source in place of the disease: see the chapter on shortcuts, and test on images of another site."
)
OUTDONE = (
    "That is as good as the accuracy above, or better: nothing shows that more was learned than the scanner, "
    "the stain or the source. See the chapter on shortcuts, and test on images of another site."
)
NO_INTERVAL = "Ranges, if there are any, are those of the draws of labels and say nothing of other patients."


@dataclass(frozen=True)
class Caution:
    """A title of a few words, and a sentence or two; ``numbers``: what is counted in them, and where."""

    title: str
    sentence: str
    numbers: tuple[tuple[str, Place], ...] = ()


def cautions(material: Material, at: Headline | None) -> list[Caution]:
    """What to keep in mind, the gravest first."""
    found = [*_leaks(material), *_alarms(material), *_partial(material), *_writing(material)]
    tested = _test_images(material)
    if len(tested):
        sure = at is None or material.curve is None or _has_interval(material.curve, at)
        found += [*_groups(material), *_test_set(tested, interval=sure)]
    if splits := material.evaluation.get("outer_splits"):
        place = Place(FACTS, "/curve/outer_splits")
        found.append(Caution(f"{splits} test splits took turns.", TURNS, (("test splits", place),)))
    found += [*_chosen(material, at), *_unjudged(material)]
    if untaught := _untaught(material):
        found.append(Caution("Classes without training images.", f"{listed(untaught)}: {UNTAUGHT}"))
    found += _shortcuts(material, at)
    if left_out := material.evaluation.get("classes_left_out"):
        known = (material.predictor or {}).get("classes", ())
        told = ALL_THE_SAME if set(left_out) & set(known) else ""
        found.append(Caution("Classes left out.", f"{listed(left_out)}: {SMALL_TRAINING}{told}"))
    if at is not None and material.curve is not None and not _has_interval(material.curve, at):
        found.append(Caution("The accuracy has no interval.", NO_INTERVAL))
    return found + _unfinished(material)


def _leaks(material: Material) -> list[Caution]:
    found = []
    if leak := material.evaluation.get("leak"):
        found.append(Caution("A leak was allowed.", f"{_sentence(leak)}. {LEAK}"))
    if count := _of_known_groups(material):
        images = many(count, "test image is", "test images are")
        title = f"{images} of groups that bear names of groups it learned from."
        place = Place(FACTS, "/curve/external/known_groups/images")
        found.append(Caution(title, SAME_NAMES, (("test images of groups with known names", place),)))
    if astride := (material.state.get("scan") or {}).get("near_copies_astride"):
        images = many(astride, "test image has", "test images have")
        title = f"{images} a near-copy among the training images."
        place = Place(FACTS, "/scan/near_copies_astride")
        found.append(Caution(title, ASTRIDE, (("test images with a near-copy", place),)))
    seen = material.state.get("transductive") or material.evaluation.get("transductive")
    if material.pretraining.get("transductive") or seen:
        found.append(Caution("Pre-training saw the test images (transductive).", TRANSDUCTIVE))
    return found


def _chosen(material: Material, at: Headline | None) -> list[Caution]:
    """That labels of test images chose the method; beside it what a choice without them reaches."""
    if at is None or not material.chosen_on_test(at):
        return []
    title, fact = "The method was chosen with labels of these test images.", "/curve/chosen_by_split"
    if not (nested := material.evaluation.get("chosen_by_split")):
        return [Caution(title, CHOSEN)]
    value, labels = share(nested["balanced_accuracy"]), f"{nested['n_per_class']:,}"
    told = f"{CHOSEN} Chosen without them, for each test split anew, methods reach {value} at {labels} labels"
    return [Caution(title, f"{told} per class.", (
        ("accuracy of the methods chosen", Place(FACTS, f"{fact}/balanced_accuracy")),
        ("labels per class of the methods chosen", Place(FACTS, f"{fact}/n_per_class")),
    ))]


def _of_known_groups(material: Material) -> int:
    external = material.evaluation.get("external") or {}
    return int((external.get("known_groups") or {}).get("images", 0))


def _sentence(words: str) -> str:
    line = shown(words, 300)
    return line[:1].upper() + line[1:]


def _alarms(material: Material) -> list[Caution]:
    alarms = material.pretraining.get("alarms") or []
    return [
        Caution("Pre-training raised an alarm.", _told(alarm), (
            ("alarm, as noted", Place(FACTS, f"/pretrain/alarms/{number}")),
        )) for number, alarm in enumerate(alarms)
    ]


def _told(alarm: object) -> str:
    if isinstance(alarm, dict):
        return shown("; ".join(f"{name}: {value}" for name, value in alarm.items()), 300)
    return shown(alarm, 300)


def _partial(material: Material) -> list[Caution]:
    """A published data set of which a part is not there."""
    facts = material.state.get("dataset") or {}
    if not facts.get("missing"):
        return []
    number = f"{facts['missing']:,} of {facts['published']:,}"
    places = tuple((f"{name} images", Place(FACTS, f"/dataset/{name}")) for name in ("missing", "published"))
    told = f"{number} published images are missing. {PARTIAL}"
    return [Caution("The data set is not whole.", told, places)]


def _shortcuts(material: Material, at: Headline | None) -> list[Caution]:
    """Colour, size and source alone come more than half the way from guessing to the headline."""
    if (reached := reached_by_shortcuts(material, at)) is None:
        return []
    (alone, whole), chance = reached, 1 / max(int((_test_images(material) > 0).sum()), 2)
    way = (alone.value - chance) / max(whole.value - chance, 1e-9)
    if way < HALF:
        return []
    place = Place("curve.parquet", "value", "mean", {
        "encoder": alone.encoder, "classifier": alone.classifier, "n_per_class": alone.n_per_class,
        "metric": METRIC, "class": None,
    })
    title = f"Colour, brightness, size and source alone reach {share(alone.value)}."
    told = OUTDONE if alone.value >= whole.value else SHORTCUTS
    return [Caution(title, told, (("balanced accuracy of shortcuts alone", place),))]


def _writing(material: Material) -> list[Caution]:
    """Images that say of themselves that writing is part of the picture."""
    if material.images is None:
        return []
    number = int(material.images.usable.frame["note"].str.contains("burned_in_annotation", na=False).sum())
    title = f"Writing is burnt into {number:,} image{'s' * (number > 1)}."
    place = Place("figures/counts.csv", "count", rows={"item": "images noted as burned_in_annotation"})
    return [Caution(title, WRITING, (("images with writing", place),))] if number else []


def _test_images(material: Material) -> pd.Series:
    """Class → test images; of the evaluation, or before it of the scan."""
    if told := material.evaluation.get("test_images"):
        return pd.Series(told, dtype=int)
    if material.images is None:
        return pd.Series(dtype=int)
    numbers = material.images.test.frame["label"].value_counts()
    return numbers.reindex(material.images.train.classes).fillna(0).astype(int)


def _groups(material: Material) -> list[Caution]:
    groups, alone = int(material.evaluation.get("test_groups", 0)), 0
    missing, labelled, single = 0, 0, False
    if material.images is not None and material.images.labelled.any():
        frame = pd.concat([material.images.train.frame, material.images.test.frame])
        labelled, missing = len(frame), int(frame["group"].isna().sum())
        single = frame["group"].is_unique
        groups = groups or int(material.images.test.frame["group"].nunique())
        alone = int(material.images.test.frame["group"].isna().sum())  # each is resampled as its own
    external = "external" in material.evaluation  # there is no split
    if groups == 0 and missing == labelled:
        return [Caution("No patients or slides are known.", ELSEWHERE if external else NO_GROUPS)]
    found = []
    if missing:
        rows = {"label": True, "problem": None, "split": ["train", _judging(material)]}
        without = Place("images.parquet", "id", "number", {**rows, "group": None})
        every = Place("images.parquet", "id", "number", rows)
        places = ("labelled images without a group", without), ("labelled images", every)
        title = f"{missing:,} of {labelled:,} labelled images {'has' if missing == 1 else 'have'} no group."
        found.append(Caution(title, EACH_ITS_OWN if external else SOME_WITHOUT_GROUP, places))
    elif single:
        return [Caution("Every group is a single image.", SINGLE)]
    if groups + alone < FEW_GROUPS:
        title = f"Only {groups} {'group is' if groups == 1 else 'groups are'} in the test set."
        found.append(Caution(title, FEW, (("test groups", Place(FACTS, "/curve/test_groups")),)))
    return found


def _unjudged(material: Material) -> list[Caution]:
    """The run's predictor is of a method that no number on the test images is of."""
    facts = material.predictor or {}
    method = facts.get("embeddings"), facts.get("classifier")
    if material.curve is None or None in method:
        return []
    if material.was_judged(*method):
        return _other_settings(material.curve, facts)
    told = f"{method_words(str(method[1]))} on {features_words(shown(method[0]))}"
    return [Caution("No number here is of the run's predictor.", UNJUDGED.format(told))]


def _other_settings(curve: pd.DataFrame, facts: Mapping[str, Any]) -> list[Caution]:
    """The curve judged a classifier of that name, with the settings of another preset."""
    own, classifier = facts.get("preset"), str(facts["classifier"])
    rows = curve[(curve["encoder"] == facts["embeddings"]) & (curve["classifier"] == classifier)]
    judged = sorted(set(rows["preset"]))
    if own is None or own in judged or classifier not in PAPER:
        return []
    told = OTHER_SETTINGS.format(own, method_words(classifier), judged[0])
    return [Caution("The run's predictor has other settings than what was measured.", told)]


def _untaught(material: Material) -> list[str]:
    """Classes that are tested and were never learned."""
    noted = material.evaluation
    tested = noted.get("test_images") or {}
    return [name for name in noted.get("classes_without_training_images", ()) if tested.get(name)]


def _judging(material: Material) -> str:
    return "test" if material.images is None else material.images.judging


def _test_set(numbers: pd.Series, *, interval: bool) -> list[Caution]:
    found = []
    if numbers.sum() < FEW_TEST_IMAGES:
        place = Place(FACTS, "/curve/test_images", "sum")
        told = "The accuracy is rough; see its interval." if interval else "The accuracy is rough."
        title = f"Only {many(int(numbers.sum()), 'test image')}."
        found.append(Caution(title, told, (("test images", place),)))
    if absent := sorted(numbers[numbers == 0].index):
        found.append(Caution("Classes without test images.", f"{listed(absent)}: {ABSENT}"))
    if tiny := sorted(numbers[(numbers > 0) & (numbers < TINY)].index):
        found.append(Caution(f"Classes with under {TINY} test images.", f"{listed(tiny)}: {SMALL}"))
    return found


def _has_interval(curve: pd.DataFrame, at: Headline) -> bool:
    rows = at_point(curve, at)
    rows = rows[rows["metric"] == "balanced_accuracy"]
    return bool(rows[["low", "high"]].notna().all(axis=None))


def _unfinished(material: Material) -> list[Caution]:
    stages = material.state.get("stages", {})
    halted = {name: facts.get("status") for name, facts in stages.items() if facts.get("status") != "done"}
    halted.pop("report", None)
    return [
        Caution(
            f"The stage {name} is not finished ({status}).",
            f"{_so_far(material, name)}Continue it with --resume.",
        )
        for name, status in halted.items()
    ]


def _so_far(material: Material, stage: str) -> str:
    """How far a pre-training came: what its encoder gives before the end is not what it will give."""
    steps = material.pretraining.get("steps")
    if stage != "pretrain" or material.metrics is None or not steps:
        return ""
    done = int(material.metrics["step"].max()) + 1
    return f"{done:,} of {steps:,} steps are done; encoders named step-N are of the time before. "
