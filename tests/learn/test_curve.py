"""The learning curve against a plain scikit-learn restatement, and by what it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer
from sklearn.svm import SVC

from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import LeakError, RunMissingError, SettingsError, SplitError, TableError
from hundredfold.learn import draws, processes
from hundredfold.learn.budgets import draw_labels
from hundredfold.learn.classifiers import CLASSIFIERS
from hundredfold.learn.curve import COLUMNS, LearningCurve, learning_curve
from hundredfold.learn.reads import expected_reads
from hundredfold.learn.study import Cell, Study
from hundredfold.learn.trial import Trial
from hundredfold.metrics import WITHOUT_TINY

World = tuple[ImageTable, dict[str, Embeddings]]
SMALL: dict[str, Any] = {"budgets": (1, 5, 20), "repeats": 2, "bootstrap": 60}


def choices(**given: Any) -> CurveChoices:
    return CurveChoices.of(**{**SMALL, **given})


@pytest.fixture(scope="module")
def found(world: World) -> LearningCurve:
    return learning_curve(world[1], world[0], choices())


@pytest.fixture(scope="module")
def papers(world: World) -> LearningCurve:
    return learning_curve(world[1], world[0], choices(preset="paper", classifiers=tuple(ORACLES)))


def test_the_columns_and_the_first_metric(found: LearningCurve) -> None:
    assert tuple(found.frame.columns) == COLUMNS
    assert found.frame["metric"].iloc[0] == "balanced_accuracy"
    assert set(found.frame["metric"]) == {
        "balanced_accuracy", WITHOUT_TINY, "macro_f1", "auroc", "recall"
    }
    cells = found.frame[found.frame["metric"] == "balanced_accuracy"]
    assert len(cells) == 2 * 4 * 3 * 2  # encoders, classifiers, budgets, repeats
    assert found.frame["class"].notna().equals(found.frame["metric"] == "recall")


#: In the paper's settings, which ``paper`` has.
ORACLES = {
    "svm": lambda n: SVC(C=1, gamma="scale", class_weight="balanced", break_ties=True),
    "knn": lambda n: KNeighborsClassifier(n_neighbors=min(15, n), weights="distance"),
    "logistic": lambda n: LogisticRegression(C=2.5, class_weight="balanced", max_iter=5000),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize(("budget", "repeat"), [(1, 1), (5, 0), (20, 1)])
def test_a_point_equals_plain_scikit_learn(
    world: World, papers: LearningCurve, name: str, budget: int, repeat: int
) -> None:
    """The paper's chain of PowerTransformer, PCA and classifier, written out."""
    table, embeddings = world
    sides = []
    for side in (table.train, table.test):
        rows = [embeddings["sharp"].ids.tolist().index(image) for image in side.ids]
        sides.append((embeddings["sharp"].vectors[rows].astype(float), side.frame["label"].to_numpy(str)))
    (x, y), (new, truth) = sides
    drawn = draw_labels(table.train.ids, y, budget, repeat=repeat, seed=0)
    chain = make_pipeline(PowerTransformer(), PCA(), ORACLES[name](len(drawn)))
    said = chain.fit(x[drawn], y[drawn]).predict(new)
    mine = papers.predictions.query(
        f"encoder == 'sharp' and classifier == '{name}' and n_per_class == {budget} and repeat == {repeat}"
    )
    assert mine["id"].tolist() == table.test.ids.tolist()
    assert (mine["predicted"].astype(str).to_numpy() == said).mean() > 0.97
    row = papers.frame.query(
        f"encoder == 'sharp' and classifier == '{name}' and n_per_class == {budget} and repeat == {repeat}"
    ).set_index("metric")["value"]
    decided = mine["predicted"].astype(str)
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, decided))
    assert row["macro_f1"] == pytest.approx(f1_score(truth, decided, average="macro"))


def test_every_classifier_and_encoder_gets_the_same_labels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """METHOD, mistake 10: the reference gave the networks 70 % of what the SVM got."""
    given: list[tuple[int, tuple[float, ...]]] = []
    plain = draws.solve

    def watched(train: np.ndarray, labels: np.ndarray, test: np.ndarray, *rest: Any, **more: Any) -> Any:
        given.append((len(train), tuple(np.round(train[:, 0] / train[0, 0], 3))))
        assert rest[0] == ("svm", "knn", "logistic", "lda")  # one set of labels for all of them
        return plain(train, labels, test, *rest, **more)

    monkeypatch.setattr(draws, "solve", watched)
    found = learning_curve(world[1], world[0], choices(repeats=1))
    assert sorted(count for count, _ in given) == [3, 3, 15, 15, 44, 44]
    labels = found.frame.groupby(["n_per_class", "repeat"])["n_labels"].nunique()
    assert (labels == 1).all()


def test_labels_groups_and_caps_are_counted(world: World, found: LearningCurve) -> None:
    table = world[0]
    overall = found.frame[found.frame["metric"] == "balanced_accuracy"]
    assert overall.groupby("n_per_class")["n_labels"].first().to_dict() == {1: 3, 5: 15, 20: 44}
    assert overall.groupby("n_per_class")["capped"].first().to_dict() == {1: False, 5: False, 20: True}
    recall = found.frame[(found.frame["metric"] == "recall") & (found.frame["n_per_class"] == 20)]
    assert recall.groupby("class")["capped"].first().to_dict() == {
        "basophil": False, "eosinophil": True, "platelet": True
    }
    sizes = table.test.frame["label"].value_counts().to_dict()
    assert recall.groupby("class")["n_test"].first().to_dict() == sizes
    drawn = draw_labels(table.train.ids, table.train.frame["label"], 5, repeat=1, seed=0)
    groups = table.train.frame["group"].iloc[drawn].nunique()
    assert set(overall.query("n_per_class == 5 and repeat == 1")["n_groups"]) == {groups}


def test_labels_that_recur_are_solved_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[int] = []
    plain = draws.solve

    def watched(train: np.ndarray, *rest: Any, **more: Any) -> Any:
        solved.append(len(train))
        return plain(train, *rest, **more)

    monkeypatch.setattr(draws, "solve", watched)
    one = {"sharp": world[1]["sharp"]}
    found = learning_curve(one, world[0], choices(budgets=(5, 100, 1000), repeats=3))
    assert sorted(solved) == [15, 15, 15, len(world[0].train)]
    assert len(found.frame.query("metric == 'auroc' and n_per_class >= 100")) == 2 * 4 * 3


def test_an_interrupted_curve_goes_on_where_it_was(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learning_curve(world[1], world[0], choices())
    plain, solved = draws.solve, []

    def interrupted(train: np.ndarray, *rest: Any, **more: Any) -> Any:
        if len(solved) == 4:
            raise KeyboardInterrupt
        solved.append(len(train))
        return plain(train, *rest, **more)

    monkeypatch.setattr(draws, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learning_curve(world[1], world[0], choices(), parts=tmp_path / "parts")
    assert len(list((tmp_path / "parts").glob("*.npz"))) == 4
    monkeypatch.setattr(draws, "solve", lambda *given, **more: (solved.append(0), plain(*given, **more))[1])
    resumed = learning_curve(world[1], world[0], choices(), parts=tmp_path / "parts")
    assert len(solved) == 12
    pd.testing.assert_frame_equal(whole.frame, resumed.frame)
    assert not (tmp_path / "parts").exists()


def test_outcomes_of_other_labels_or_encoders_are_not_taken_up(world: World, tmp_path: Path) -> None:
    table, embeddings = world
    one = {"sharp": embeddings["sharp"]}
    keys = set()
    for changed in (
        {}, {"classifiers": ("svm",)}, {"preset": "paper"},
    ):
        keys.add(curve_key(one, table, choices(**changed)))
    keys.add(curve_key({"sharp": embeddings["blunt"]}, table, choices()))
    other = {"basophil": "eosinophil", "eosinophil": "basophil"}
    swapped = table.assign(label=table.frame["label"].replace(other))
    keys.add(curve_key(one, swapped, choices()))
    keys.add(curve_key(one, table.assign(group=None), choices()))  # a last layer holds labels out by group
    assert len(keys) == 6


def curve_key(embeddings: dict[str, Embeddings], table: ImageTable, given: CurveChoices) -> str:
    trial = Trial.of(table)
    hashes = {name: str(found.encoder["hash"]) for name, found in embeddings.items()}
    drawn = Study(trial, given, 0, {(1, 0): np.arange(3)}, hashes)
    return drawn.task(Cell("sharp", "svm", 1), 0).key


def test_the_seed_decides_the_draws_and_zero_is_a_seed(world: World) -> None:
    one = {"sharp": world[1]["sharp"]}
    given = choices(budgets=(1,), classifiers=("svm",))
    first, again, other = (learning_curve(one, world[0], given, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert first.frame["value"].tolist() != other.frame["value"].tolist()


def test_the_order_of_the_table_does_not_matter(world: World) -> None:
    table, embeddings = world
    mixed = ImageTable.of(table.frame.sample(frac=1, random_state=1))
    given = choices(classifiers=("svm",), bootstrap=0)
    first, second = (learning_curve(embeddings, some, given) for some in (table, mixed))
    pd.testing.assert_frame_equal(first.frame, second.frame)


def test_processes_give_what_one_process_gives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = choices(budgets=(1, 5))
    alone = learning_curve(world[1], world[0], given, jobs=1)
    monkeypatch.setattr(processes, "WORTH_A_PROCESS", 0)
    together = learning_curve(world[1], world[0], given, jobs=2)
    pd.testing.assert_frame_equal(alone.frame, together.frame)


def test_intervals_hold_the_mean_and_are_the_same_for_every_repeat(found: LearningCurve) -> None:
    rows = found.frame[found.frame["low"].notna()]
    cells = rows.groupby(["encoder", "classifier", "n_per_class", "metric", rows["class"].fillna("")])
    assert (cells[["low", "high"]].nunique() == 1).all().all()
    means = cells[["value", "low", "high"]].mean()
    assert ((means["low"] <= means["value"] + 1e-9) & (means["value"] <= means["high"] + 1e-9)).mean() > 0.97
    assert found.facts["intervals"].startswith("14 test groups")


def test_few_groups_give_no_interval_and_say_why(world: World) -> None:
    table, embeddings = world
    held = table.frame["split"] == "test"
    named = np.where(held, "t" + (np.arange(len(table)) % 9).astype(str), table.frame["group"])
    found = learning_curve(embeddings, table.assign(group=named), choices(budgets=(5,)))
    assert found.frame["low"].isna().all()
    assert found.facts["intervals"].startswith("none: the test images are of 9 groups, and fewer than 10")


def test_without_groups_images_are_resampled_and_the_facts_say_so(
    world_of: Callable[..., World],
) -> None:
    table, embeddings = world_of(grouped=False)
    found = learning_curve(embeddings, table, choices(budgets=(5,)))
    assert found.frame["n_groups"].isna().all()
    assert found.frame.loc[found.frame["metric"] == "auroc", "low"].notna().all()
    assert "no groups are known" in found.facts["intervals"]


def test_what_no_interval_tells_is_not_said_to_be_in_it(world: World, world_of: Callable[..., World]) -> None:
    grouped, alone = (Trial.of(table) for table in (world[0], world_of(grouped=False)[0]))
    told = "resampled; what other labels would change is not in them"
    assert grouped.facts(choices(repeats=1))["intervals"] == f"14 test groups, {told}"
    assert alone.facts(choices(repeats=1))["intervals"].startswith(f"test images, {told}; no groups")
    assert "draws" in grouped.facts(choices(repeats=2))["intervals"]
    assert grouped.facts(choices(bootstrap=0))["intervals"] == "none: no resamples were asked for"


def test_a_group_on_both_sides_is_refused_unless_the_user_insists(world: World) -> None:
    table, embeddings = world
    leaky = table.assign(group=["same"] * len(table))
    with pytest.raises(LeakError, match="allow-leak"):
        learning_curve(embeddings, leaky, choices())
    found = learning_curve(embeddings, leaky, choices(allow_leak=True, budgets=(1,)))
    assert "both in train and in test" in found.facts["leak"]


def test_an_encoder_that_saw_test_images_is_named(world: World) -> None:
    table, embeddings = world
    some = frozenset([*table.test.frame["sha256"][:4], *table.train.frame["sha256"][:9]])
    seen = Embeddings(table.ids, embeddings["sharp"].vectors, embeddings["sharp"].encoder, table, some)
    found = learning_curve({**embeddings, "sharp": seen}, table, choices(budgets=(1,)))
    assert found.facts["transductive"] == {"sharp": 4}


def test_classes_on_one_side_only_are_named_and_judged_fairly(world: World) -> None:
    table, embeddings = world
    label = table.frame["label"].to_numpy(dtype=object).copy()
    split = table.frame["split"]
    label[np.flatnonzero((split == "train") & (label == "basophil"))[:3]] = "only in train"
    label[np.flatnonzero((split == "test") & (label == "basophil"))[:3]] = "only in test"
    found = learning_curve(embeddings, table.assign(label=label), choices(budgets=(2,)))
    assert found.facts["classes_without_test_images"] == ["only in train"]
    assert found.facts["classes_without_training_images"] == ["only in test"]
    recall = found.frame[found.frame["metric"] == "recall"].set_index("class")["value"]
    assert "only in train" not in recall.index
    assert (recall["only in test"] == 0).all()
    for _, cell in found.frame.groupby(["encoder", "classifier", "repeat"]):
        mean = cell.loc[cell["metric"] == "recall", "value"].mean()
        assert cell.loc[cell["metric"] == "balanced_accuracy", "value"].iloc[0] == pytest.approx(mean)


def test_small_classes_are_left_out_of_both_sides(world: World) -> None:
    found = learning_curve(world[1], world[0], choices(budgets=(1,), min_class_size=10))
    assert found.facts["classes_left_out"] == ["platelet"]
    assert "platelet" not in set(found.predictions["label"]) | set(found.predictions["predicted"])
    # who reads at random reads them all the same, and finds the others as seldom as before
    whole = learning_curve(world[1], world[0], choices(budgets=(1,)))
    sizes = whole.facts["train_images_by_class"]
    assert found.facts["train_images_left_out"] == sizes["platelet"] > 0
    every = [*(size for name, size in sizes.items() if name != "platelet"), sizes["platelet"]]
    reads = expected_reads(every, [1] * (len(sizes) - 1) + [0])
    assert set(found.frame["n_read"]) == {round(reads)}


def test_a_class_without_any_training_image_has_fewer_than_any_number(world: World) -> None:
    """One with a single training image was left out, and one with none stayed, to be never recognised."""
    label = world[0].frame["label"].to_numpy(dtype=object).copy()
    label[np.flatnonzero((world[0].frame["split"] == "test") & (label == "basophil"))[:3]] = "only in test"
    table = world[0].assign(label=label)
    trial = Trial.of(table, min_class_size=1)
    assert trial.small == ("only in test",)
    assert "only in test" not in trial.test.classes
    assert (trial.left_out, Trial.of(table).small) == (0, ())


def test_a_plug_in_classifier_takes_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {**CLASSIFIERS._entries, "first": lambda samples, classes: KNeighborsClassifier(1)}
    monkeypatch.setattr(CLASSIFIERS, "_entries", entries)
    found = learning_curve(world[1], world[0], choices(classifiers=("first",), budgets=(5,)))
    assert set(found.frame["classifier"]) == {"first"}


def test_equal_vectors_are_no_fault(world: World) -> None:
    table, _ = world
    flat = Embeddings(table.ids, np.ones((len(table), 5), np.float32), {"hash": "x"}, table)
    found = learning_curve({"flat": flat}, table, choices(budgets=(1, 5)))
    rows = found.frame[found.frame["metric"] == "auroc"]
    assert (rows["value"] == 0.5).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [({"budgets": (5, 0)}, "at least one label"), ({"budgets": ()}, "at least one label"),
     ({"classifiers": ()}, "expected classifiers"),
     ({"classifiers": ("svm", "svm")}, "each once"), ({"classifiers": ("swm",)}, "Did you mean 'svm'")],
)
def test_settings_that_cannot_work_are_refused(world: World, given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        learning_curve(world[1], world[0], choices(**given))


def test_missing_sides_and_vectors_are_refused(world: World) -> None:
    table, embeddings = world
    with pytest.raises(SplitError, match="test images, found none"):
        learning_curve(embeddings, table.assign(split="train", group=None), choices())
    with pytest.raises(SplitError, match="two classes or more, found 1"):
        learning_curve(embeddings, table, choices(min_class_size=20))
    with pytest.raises(SettingsError, match="found none"):
        learning_curve({}, table, choices())
    few = table.select(np.arange(len(table)) > 3)
    short = Embeddings(few.ids, embeddings["sharp"].vectors[4:], {"hash": "x"}, few)
    with pytest.raises(TableError, match="images have no vector of"):
        learning_curve({"sharp": short}, table, choices())


def test_it_is_written_and_read_back(found: LearningCurve, tmp_path: Path) -> None:
    found.write(tmp_path)
    again = LearningCurve.read(tmp_path)
    pd.testing.assert_frame_equal(again.frame, found.frame)
    pd.testing.assert_frame_equal(again.predictions, found.predictions)
    text = pd.read_csv(tmp_path / "curve.csv")
    assert tuple(text.columns) == COLUMNS
    np.testing.assert_allclose(text["value"], found.frame["value"], atol=1e-6)
    assert found.table().shape == (8, 3)
    with pytest.raises(RunMissingError, match="hundredfold curve"):
        LearningCurve.read(tmp_path / "elsewhere")
