"""What a report says of runs that are not the usual one: nothing that the run did not do or cannot know."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import rgb_to_hsv, to_rgb

from hundredfold.data.summary import facts
from hundredfold.data.table import ImageTable
from hundredfold.learn.trial import Trial
from hundredfold.report.cautions import cautions
from hundredfold.report.chapters.base import Cell, Exhibit, Listing
from hundredfold.report.chapters.classes import errors_chapter
from hundredfold.report.chapters.curves import curves_chapter
from hundredfold.report.chapters.external import external_finding, measures_chapter
from hundredfold.report.chapters.record import record_chapter
from hundredfold.report.chapters.strata import strata_listings
from hundredfold.report.figures import differences, learning_curves
from hundredfold.report.material import Material, gather, headline_of
from hundredfold.report.methods import cited, methods
from hundredfold.report.paper.evaluation import classifiers_paragraph
from hundredfold.report.paper.external import adaptation_paragraph
from hundredfold.report.paper.telling import Telling
from hundredfold.report.paper.trace import Trace
from hundredfold.report.paper.works import Citations
from hundredfold.report.sheets import pair_sheet
from hundredfold.report.style import CYCLE, legible
from hundredfold.report.tables import Headline, at_point, counts
from hundredfold.report.texts import write_texts
from hundredfold.rundir import RunDirectory

AT = Headline("pretrained", "svm", 100)


@pytest.fixture
def told(whole_run: RunDirectory, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Methods and card of a copy of the whole run, in which the verbs noted something else."""

    def make(*, scan: dict[str, Any] | None = None, predictor: bool = False, **curve: Any) -> tuple[str, str]:
        run = RunDirectory.open(Path(shutil.copytree(whole_run.path, tmp_path / "run")))
        table = ImageTable.read(run / "images.parquet")
        noted = {**facts(table), "pixel_size": 32, "sides_given": 0, "stain": None, **(scan or {})}
        run.record(scan=noted, curve={
            **Trial.of(table).facts(), "outer_splits": None, "choice": None, "transductive": {}, **curve,
        })
        if predictor:
            (run / "predictor").mkdir()
            (run / "predictor" / "predictor.json").write_text(json.dumps({
                "classifier": "svm", "embeddings": "pretrained", "labels": {"round": 9, "square": 7},
                "classes": ["round", "square"], "encoder": {},
            }))
        material = gather(run)
        write_texts(run, material, headline_of(material))
        texts = ((run / f"{name}.md").read_text("utf-8") for name in ("methods", "model_card"))
        methods, card = (" ".join(text.partition("## Where each number")[0].split()) for text in texts)
        return methods, card

    return make


def turning(whole_run: RunDirectory) -> Material:
    """The whole run as if three test splits had taken turns: every labelled image was judged."""
    gathered = gather(whole_run)
    assert gathered.predictions is not None
    assert gathered.images is not None
    frame = gathered.images.usable.frame
    first = gathered.predictions.iloc[0][["encoder", "classifier"]].to_dict()
    wrong = frame["label"].map({name: frame["label"].unique()[0] for name in frame["label"].unique()})
    rows = pd.DataFrame({"id": frame["id"], "label": frame["label"], "predicted": wrong, "repeat": 0})
    rows = rows.assign(**first, n_per_class=100)
    state = {**gathered.state, "curve": {"outer_splits": 3, "test_groups": int(frame["group"].nunique())}}
    return replace(gathered, predictions=rows, state=state)


def test_test_splits_that_take_turns_keep_the_groups_of_every_image(whole_run: RunDirectory) -> None:
    """The scan's test side is a third of what was judged; a patient's other images are no new evidence."""
    given = turning(whole_run)
    assert given.images is not None
    groups = given.images.usable.frame.set_index("id")["group"]
    pieces = given.test_pieces
    assert set(pieces.index) == set(groups.index)
    assert pieces.groupby(groups).nunique().eq(1).all()
    assert pieces.nunique() == groups.nunique()


def test_no_error_of_test_splits_that_take_turns_resembles_itself(whole_run: RunDirectory) -> None:
    given = turning(whole_run)
    assert given.predictions is not None
    method = given.predictions.iloc[0]
    chapter = errors_chapter(given, Headline(str(method["encoder"]), str(method["classifier"]), 100))
    assert chapter is not None
    assert given.images is not None
    groups = given.images.frame.set_index("id")["group"]
    table = chapter.items[0].table
    assert len(table)
    assert (groups[table["image"]].to_numpy() != groups[table["neighbour"]].to_numpy()).all()


def test_groups_of_all_test_splits_are_counted(whole_run: RunDirectory) -> None:
    titles = [one.title for one in cautions(turning(whole_run), None)]
    assert not any("in the test set" in title for title in titles)
    assert "3 test splits took turns." in titles


def test_test_splits_that_take_turns_are_no_fixed_test_set(whole_run: RunDirectory) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    words = " ".join(curves_chapter(curve, AT, {"outer_splits": 3}).sentences)
    assert "the test set is always the same" not in words
    assert "3 test splits took turns" in words
    assert "the test set is always the same" in " ".join(curves_chapter(curve, AT, {}).sentences)


def test_intervals_that_were_not_taken_are_not_explained(whole_run: RunDirectory) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    noted = {"intervals": "40 test groups and the draws, resampled jointly"}
    assert "resampled jointly" in " ".join(curves_chapter(curve, AT, noted).sentences)
    bare = curve.assign(low=np.nan, high=np.nan)
    assert "resampled jointly" not in " ".join(curves_chapter(bare, AT, noted).sentences)


@pytest.mark.parametrize(("noted", "said", "unsaid"), [
    ({"transductive": {"pretrained": 7}}, "7 of the test images were among them", "had no part in it"),
    ({"scan": {"labelled": 0}}, "The labels came after the images had been scanned", "before any training"),
    ({"scan": {"sides_given": 48}}, "The side of 48 images was given with the labels.", "drawn at random be"),
    ({"scan": {"groups": 0, "grouped": 0}}, "from 4 groups", "No patients, slides or examinations"),
    (
        {"outer_splits": 3, "classes_without_training_images": ["round"]},
        "Without training images, hence never recognised: round.", "The training side held",
    ),
    ({"leak": "3 groups are on both sides"}, "therefore too good", "kept on one side of the split"),
    ({}, "the classifier: a support vector machine", "Methods were compared in pairs"),  # of four groups
])
def test_methods_claim_no_more_than_was_done(
    told: Callable[..., tuple[str, str]], noted: dict[str, Any], said: str, unsaid: str
) -> None:
    methods, _ = told(**noted)
    assert said in methods
    assert unsaid not in methods


def test_one_draw_of_labels_is_no_mean(whole_run: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory.open(Path(shutil.copytree(whole_run.path, tmp_path / "run")))
    for repeats, said in ((1, "all), once; the smaller"), (3, "all), 3 times; the smaller")):
        settings = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
        settings["curve"] = {**settings.get("curve", {}), "budgets": [1, 100], "repeats": repeats}
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        material = gather(run)
        assert material.curve is not None
        drawn = material.curve[material.curve["repeat"] < repeats]
        state = {**material.state, "curve": {"intervals": "40 test groups", "test_groups": 40}}
        material = replace(material, curve=drawn, state=state)
        text = methods(material, headline_of(material), Trace(run.path)).markdown()
        assert said in text
        assert ("means over the draws" in text) == (repeats > 1)
        assert ("of test groups and draws, drawn jointly" in text) == (repeats > 1)
        assert ("What another draw of labels would change is not in them." in text) == (repeats == 1)


def test_a_classifier_that_a_person_named_follows_from_no_rule(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    fitted = {"embeddings": "pretrained", "classifier": "svm", "cross_validation": {"pretrained/svm": 0.9}}
    for named, said in (("auto", "never from a test image"), ("svm", "was named by a person")):
        given = replace(gathered, predictor=fitted, settings={"fit": {"classifier": named}})
        at = headline_of(given)
        assert at is not None
        told = classifiers_paragraph(Telling(given, at, Trace(whole_run.path), Citations()))
        assert said in told
        assert ("never from a test image" in told) == (named == "auto")


@pytest.mark.parametrize(("presets", "said"), [
    (["default"], "with the software's default settings, classes"),
    (["paper"], "with the settings of [2], classes"),
    (["paper", "default"], "of [2] or the software's default settings, each as in its own run, classes"),
])
def test_whose_settings_the_classifiers_had_is_read_from_the_curve(
    whole_run: RunDirectory, presets: list[str], said: str
) -> None:
    """A comparison has no settings of a curve, and was said to have the default ones."""
    gathered = gather(whole_run)
    assert gathered.curve is not None
    curve = gathered.curve.assign(preset=np.resize(np.array(presets, dtype=object), len(gathered.curve)))
    given = replace(gathered, curve=curve, settings={}, state={})
    told = classifiers_paragraph(Telling(given, AT, Trace(whole_run.path), Citations()))
    assert said in re.sub(r"\[\d\]", "[2]", told)


def test_a_site_is_not_said_to_have_been_learned_from() -> None:
    """It may be on the test side alone."""
    strata = pd.DataFrame([{
        "encoder": "pretrained", "classifier": "svm", "n_per_class": 100, "by": "site", "stratum": "north",
        "labels": "as in the curve", "metric": metric, "class": name, "value": 0.8, "low": 0.7, "high": 0.9,
        "n_test": 30, "n_groups": 12, "n_classes": 2,
    } for metric, name in (("balanced_accuracy", None), ("recall", "a"))])
    caption = strata_listings(strata, AT, {})[0].caption
    assert "learned from the whole training side; where labels of the site are there, too" in caption


@pytest.mark.parametrize("north", [True, False])
def test_a_site_that_the_others_cannot_judge_has_a_dash_that_is_explained(*, north: bool) -> None:
    """Leaving out each site needs labels of two classes elsewhere."""
    judged = [("south", "as in the curve"), ("north", "as in the curve"), ("south", "of the other sites")]
    judged += [("north", "of the other sites")] if north else []
    strata = pd.DataFrame([{
        "encoder": "pretrained", "classifier": "svm", "n_per_class": 100, "by": "site", "stratum": site,
        "labels": labels, "metric": "balanced_accuracy", "class": None, "value": 0.8, "low": 0.7,
        "high": 0.9, "n_test": 30, "n_groups": 12, "n_classes": 2,
    } for site, labels in judged])
    listing = strata_listings(strata, AT, {})[0]
    dashes = [cell.text for row in listing.rows for cell in row[4:] if isinstance(cell, Cell)].count("–")
    assert (dashes, "A dash stands where" in listing.caption) == ((0, False) if north else (1, True))


def test_cross_validation_chose_nothing_where_there_was_one_method(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    one = {"encoder": "pretrained", "classifier": "svm", "n_per_class": 100}
    for accuracy, chose in (({"pretrained/svm": 0.9}, False), ({"pretrained/svm": 0.9, "a/b": 0.8}, True)):
        given = replace(gathered, state={"curve": {"choice": {**one, "accuracy": accuracy}}})
        told = classifiers_paragraph(Telling(given, AT, Trace(whole_run.path), Citations()))
        assert ("on the drawn labels alone chose" in told) == chose


def test_a_method_that_labels_of_test_images_chose_is_said_to_be(whole_run: RunDirectory) -> None:
    """Where test splits take turns, the predictor was chosen on images that are test images, too."""
    gathered, turns = gather(whole_run), turning(whole_run).state
    chosen = {"embeddings": "pretrained", "classifier": "svm", "labels": {}, "classes": []}
    alone = {"pretrained/svm": 0.9}
    several = {**alone, "pretrained/knn": 0.8}
    for state, accuracy, warned in (
        (turns, several, True), (turns, alone, False), (gathered.state, several, False),
    ):
        given = replace(gathered, state=state, predictor={**chosen, "cross_validation": accuracy})
        at = headline_of(given)
        assert at is not None
        titles = [one.title for one in cautions(given, at)]
        assert ("The method was chosen with labels of these test images." in titles) == warned
        told = classifiers_paragraph(Telling(given, at, Trace(whole_run.path), Citations()))
        assert ("most of which were test images" in told) == warned
        assert ("never from a test image" in told) != warned
    nested = {"n_per_class": 25, "balanced_accuracy": 0.7312, "low": None, "high": None, "methods": []}
    turns = {**turns, "curve": {**turns["curve"], "chosen_by_split": nested}}
    given = replace(gathered, state=turns, predictor={**chosen, "cross_validation": several})
    (caution,) = [one for one in cautions(given, at) if "labels of these test" in one.title]
    assert caution.sentence.endswith("for each test split anew, methods reach .73 at 25 labels per class.")
    assert [place.at for _, place in caution.numbers] == [
        "/curve/chosen_by_split/balanced_accuracy", "/curve/chosen_by_split/n_per_class",
    ]


def test_the_card_claims_no_more_than_was_done(told: Callable[..., tuple[str, str]]) -> None:
    _, card = told(predictor=True, outer_splits=3)
    assert "these test images are not among them" not in card
    assert "some of these test images are among them" in card
    assert "brightness, size and source alone reach" not in card  # no such baseline was measured


def test_the_card_says_that_test_images_were_not_learned_from(told: Callable[..., tuple[str, str]]) -> None:
    _, card = told(predictor=True)
    assert "these test images are not among them" in card


def external(**evaluation: Any) -> str:
    """The first sentences on a predictor at another hospital."""
    row = {
        "encoder": "initial", "classifier": "svm", "class": None, "n_per_class": 9, "n_labels": 18,
        "repeat": 0, "metric": "balanced_accuracy", "value": 0.8, "low": 0.7, "high": 0.9, "n_test": 50,
        "capped": False,
    }
    noted = {"external": {"labels": {"a": 9, "b": 9}, "groups": 4}, "test_groups": 12, **evaluation}
    given = Material("there", {"curve": noted}, {}, curve=pd.DataFrame([row]))
    return " ".join(external_finding(given, Headline("initial", "svm", 9)))


def adapted(**row: Any) -> str:
    table = pd.DataFrame([{
        "classifier": "refitted", "n_per_class": 10, "accuracy": 0.85, "other_accuracy": 0.8, **row,
    }])
    noted = {"external": {"labels": {"a": 9, "b": 9}, "groups": 4}, "test_groups": 1}
    curve = pd.DataFrame([{
        "encoder": "initial", "classifier": "svm", "class": None, "n_per_class": 9, "n_labels": 18,
        "repeat": 0, "metric": "balanced_accuracy", "value": 0.8, "low": np.nan, "high": np.nan,
        "n_test": 50, "capped": False,
    }])
    given = Material("there", {"curve": noted}, {}, curve=curve, adaptation_compared=table)
    return " ".join(external_finding(given, Headline("initial", "svm", 9)))


def test_a_gain_by_new_labels_is_as_sure_as_its_corrected_p_value() -> None:
    """The table beside it is corrected for two ways; the interval alone is not."""
    doubt = "; corrected for the two ways it may be chance (p\u00a0= .070)."
    assert adapted(low=0.002, high=0.1, p_holm=0.07).endswith(doubt)
    assert "chance" not in adapted(low=0.02, high=0.08, p_holm=0.01)
    assert adapted(low=-0.02, high=0.1, p_holm=0.4).endswith("; it may be chance.")
    assert "chance" not in adapted(low=np.nan, high=np.nan, p_holm=np.nan)
    assert "of 1 group that it has nothing from" in adapted(low=0.02, high=0.08, p_holm=0.01)


def test_new_labels_are_no_more_than_there_were(tmp_path: Path) -> None:
    settings = {"evaluate": {"budgets": [1, 100], "repeats": 1}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "facts.json").write_text(json.dumps({"adaptation": {"test_images": {"a": 5}}}))
    given = Material("there", {}, settings, adaptation=pd.DataFrame())
    told = adaptation_paragraph(Telling(given, None, Trace(tmp_path), Citations()))
    assert "1, 100 random ones per class (of a class with fewer, all) of the one half" in told
    assert "and to these alone, once; the encoder" in told


def test_a_measure_without_an_interval_has_no_words_for_one(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    assert gathered.curve is not None
    one = at_point(gathered.curve, AT)
    one = one[one["repeat"] == 0]
    for curve, words in ((one, "Below each value: its 95 % interval."), (one.assign(low=np.nan), "")):
        listing = measures_chapter(replace(gathered, curve=curve), AT).items[0]
        assert isinstance(listing, Listing)
        assert listing.caption == words


def test_one_draw_is_no_mean_on_the_page_either(whole_run: RunDirectory) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    once = curve[curve["repeat"] == 0]
    for drawn, said in ((curve, "is the mean over draws of"), (once, "is of one draw of")):
        assert f"Each point {said} the labelled images" in " ".join(curves_chapter(drawn, AT, {}).sentences)


def test_images_are_called_new_only_where_that_is_known() -> None:
    new = "that it has nothing from"
    assert f"On 50 images of 12 groups {new}, the SVM" in external()
    assert "On 50 images, of which no groups are known, the SVM" in external(test_groups=0)
    unknown = external(external={"labels": {"a": 9, "b": 9}, "groups": 0})
    assert "of 12 groups (those that it learned from are not known), the SVM" in unknown
    leaking = external(leak="the predictor learned from 5 of the 50 images")
    assert "The predictor learned from 5 of the 50 images: this is no external validation." in leaking
    assert not any(new in words for words in (external(test_groups=0), unknown, leaking))


def test_pre_training_that_saw_test_images_is_a_caution_of_every_kind_of_run(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    state = {**gathered.state, "curve": {"transductive": {"pretrained": 5}}}  # of compare and evaluate
    titles = [one.title for one in cautions(replace(gathered, state=state), None)]
    assert "Pre-training saw the test images (transductive)." in titles


def test_an_external_validation_has_no_split_to_warn_of(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    assert gathered.images is not None
    bare = replace(gathered, images=gathered.images.assign(group=None), state={"curve": {"external": {}}})
    first = cautions(bare, None)[0]
    assert first.title == "No patients or slides are known."
    assert "split" not in first.sentence
    assert "the intervals may be too narrow" in first.sentence


def test_a_class_that_was_never_learned_is_a_caution(whole_run: RunDirectory) -> None:
    noted = {"classes_without_training_images": ["round", "oval"], "test_images": {"round": 9, "square": 9}}
    given = replace(gather(whole_run), state={"curve": noted})
    found = {one.title: one.sentence for one in cautions(given, None)}
    assert found["Classes without training images."].startswith("round: ")


def test_a_row_of_the_labels_without_an_image_is_no_image_left_out(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    assert gathered.images is not None
    assert gathered.rejects is not None
    nameless = pd.DataFrame({"image": ["gone.png"], "reason": ["no_file"], "sentence": ["…"]})
    found = counts(gathered.images, pd.concat([gathered.rejects, nameless])).set_index("item")["count"]
    assert found["images found"] == found["images used"] + found["images left out"]
    assert found["labels that name no image"] == 1


def test_labels_that_are_not_learned_from_are_counted(whole_run: RunDirectory) -> None:
    images = gather(whole_run).images
    assert images is not None
    pairs = pd.DataFrame({"first": images.train.ids[[3, 3, 5]], "second": images.test.ids[:3]})
    found = counts(images, None, pairs).set_index("item")["count"]
    assert found.filter(like="copies_across.csv").tolist() == [2]
    assert found.filter(like="copies_across.csv").index[0].startswith("of these not learned from")
    assert counts(images, None).set_index("item")["count"].filter(like="copies_across.csv").empty


def test_works_are_cited_that_were_used(whole_run: RunDirectory) -> None:
    """DINO is no work behind an encoder that was taken as it was."""
    gathered = gather(whole_run)
    bare = replace(gathered, state={**gathered.state, "pretrain": {}}, embeddings={})
    for given, named in ((gathered, True), (bare, False)):
        works = cited(methods(given, headline_of(given), Trace(whole_run.path)))
        assert "~100 Labeled Training Samples" in works[0].words
        assert any("Emerging Properties" in work.words for work in works) == named
        assert any("Yeo" in work.words for work in works)
        assert len(set(works)) == len(works)


def test_names_of_near_copies_stay_names(whole_run: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    columns = "first,second,likeness,turns,mirrored,first_label,first_split,second_label,second_split"
    rows = ("001,002,0.9,1,True,0,train,NA,train", "003,004,0.9,0,,,,1,")
    (run / "near_copies.csv").write_text("\n".join([columns, *rows]))
    pairs = gather(run).near_copies
    assert pairs is not None
    assert pairs["first"].tolist() == ["001", "003"]
    assert pairs["first_label"].tolist()[0] == "0"
    assert pairs["second_label"].tolist() == ["NA", "1"]
    store = gather(whole_run).store
    assert store is not None
    ids = list(store.ids[:4])
    shown = pairs.assign(first=ids[:2], second=ids[2:], mirrored=False)
    words = {text.get_text() for text in pair_sheet(shown, store).axes[0].texts}
    assert words == {"0", "NA", "no label", "1"}


def ticks(figure: Any, axis: str) -> list[tuple[float, float]]:
    """The numbers on an axis as they are written, beside where they stand."""
    figure.draw_without_rendering()
    place = getattr(figure.axes[0], f"{axis}axis")
    low, high = sorted(place.get_view_interval())
    written = [(label.get_text().replace("−", "-"), at) for at, label in zip(
        place.get_ticklocs(), place.get_ticklabels(), strict=True
    ) if low <= at <= high]
    return [(float(text), float(at)) for text, at in written]


@pytest.mark.parametrize("values", [(0.92, 0.97), (0.2, 0.9), (0.81, 0.83)])
def test_numbers_on_the_axes_are_where_they_say(values: tuple[float, float]) -> None:
    points = pd.DataFrame({
        "encoder": "initial", "classifier": "svm", "n_per_class": [1, 10], "n_labels": [2.0, 20.0],
        "value": values, "low": values, "high": values, "band": "", "n_test": 9, "capped": False, "draws": 1,
        "n_read": np.nan,
    })
    figure = learning_curves(points, by="encoder", names={"initial": "one"}, ylabel="accuracy")
    for text, place in ticks(figure, "y"):
        assert text == pytest.approx(place, abs=1e-4)
    gap = (values[1] - values[0]) / 10
    row = {"name": "a", "difference": gap, "low": -gap, "high": 2 * gap, "p_holm": 1.0}
    for text, place in ticks(differences(pd.DataFrame([row])), "x"):
        assert text == pytest.approx(place, abs=1e-4)


@pytest.mark.parametrize("colour", CYCLE)
def test_words_in_the_colour_of_a_line_can_be_read(colour: str) -> None:
    """The contrast of WCAG 2.2, restated: 4.5 on white, with the hue of the line."""
    parts = [int(legible(colour)[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (light + 0.05) >= 4.45
    assert rgb_to_hsv(to_rgb(legible(colour)))[0] == pytest.approx(rgb_to_hsv(to_rgb(colour))[0], abs=0.02)


def test_paths_are_shortened_and_names_in_a_hub_are_not() -> None:
    places = {"weights": "/home/me/start.pt", "group_key": "/home/me/key"}
    given = {"encoder": "hf:org/net+/home/me/encoder", **places}
    chapter = record_chapter(Material("run", {}, {"embed": given}))
    told = {row[0]: row[1] for item in chapter.items if isinstance(item, Listing) for row in item.rows}
    assert told["encoder"] == "hf:org/net+encoder"
    assert (told["weights"], told["group_key"]) == ("start.pt", "key")


def test_no_figure_of_the_errors_is_without_words(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    at = headline_of(gathered)
    assert at is not None
    chapter = errors_chapter(gathered, at)
    assert chapter is not None
    sheet = chapter.items[0]
    assert isinstance(sheet, Exhibit)
    assert re.search("training images of other groups", sheet.caption)
