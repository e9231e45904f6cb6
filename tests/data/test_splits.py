"""The split: no group on both sides, every class in both, the same for everyone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hundredfold.data.labels import LabelSet
from hundredfold.data.source import find_images
from hundredfold.data.splits import check_disjoint, draw_audit, draw_splits, pieces_of, split_sizes
from hundredfold.data.table import ImageTable
from hundredfold.errors import LeakError, SplitError

THIRD = 1 / 3


@st.composite
def tables(draw: st.DrawFn) -> ImageTable:
    """Images with few classes, groups and pixels, many of them missing."""
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))

    def some(values: str, missing: float) -> np.ndarray:
        column = rng.choice(list(values), count).astype(object)
        column[rng.random(count) < missing] = None
        return column

    return ImageTable.of({
        "id": [f"{number:03d}" for number in rng.permutation(count)],
        "label": some("xyz", draw(st.sampled_from([0, 0.5]))),
        "group": some("abcdefghijklm", draw(st.sampled_from([0, 0.5, 1]))),
        "sha256": some("".join(map(chr, range(200, 260))), draw(st.sampled_from([0, 1]))),
        "problem": some("e", 0.9),
    })


def drawn(table: ImageTable, seed: int = 0, test_size: float = THIRD) -> ImageTable:
    """The split, or no example where it is rightly refused."""
    try:
        return draw_splits(table, test_size=test_size, seed=seed)
    except SplitError:
        assume(False)
        raise


@settings(max_examples=25, deadline=None)
@given(tables(), st.integers(0, 5))
def test_nothing_is_on_both_sides(table: ImageTable, seed: int) -> None:
    done = drawn(table, seed)
    check_disjoint(done)
    frame = done.usable.frame
    assert frame["split"].isin(["train", "test"]).all()
    for column in ("group", "sha256"):
        assert (frame.dropna(subset=column).groupby(column)["split"].nunique() == 1).all()


@settings(max_examples=10, deadline=None)
@given(tables(), st.integers(0, 5))
def test_the_order_of_rows_does_not_matter(table: ImageTable, seed: int) -> None:
    turned = table.select(np.ones(len(table), bool)).by_id(table.ids[::-1])
    expected, found = drawn(table, seed).frame, drawn(turned, seed).by_id(table.ids).frame
    pd.testing.assert_series_equal(found["split"], expected["split"])


@settings(max_examples=10, deadline=None)
@given(tables(), st.integers(0, 5))
def test_every_class_keeps_a_training_image(table: ImageTable, seed: int) -> None:
    sizes = split_sizes(drawn(table, seed))
    assert (sizes["train"] > 0).all()


@settings(max_examples=10, deadline=None)
@given(tables())
def test_drawing_again_changes_nothing(table: ImageTable) -> None:
    once = drawn(table)
    again = draw_splits(once, test_size=0.7, seed=9)
    pd.testing.assert_frame_equal(again.frame, once.frame)


@given(st.lists(st.integers(2, 60), min_size=2, max_size=4), st.floats(0.1, 0.9), st.integers(0, 3))
@settings(max_examples=10, deadline=None)
def test_without_groups_the_share_is_exact(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat([f"class {number}" for number in range(len(counts))], counts)
    table = ImageTable.of({"id": [f"{n}" for n in range(len(labels))], "label": labels})
    sizes = split_sizes(draw_splits(table, test_size=share, seed=seed))
    for (_, row), count in zip(sizes.iterrows(), counts, strict=True):
        assert row["test"] == np.clip(np.floor(count * share + 0.5), 1, count - 1)


def test_another_seed_another_draw_and_zero_is_a_seed() -> None:
    table = ImageTable.of({"id": [f"{n}" for n in range(100)], "label": list("xy") * 50})
    held = [frozenset(draw_splits(table, test_size=THIRD, seed=seed).test.ids) for seed in (0, 0, 1, 2)]
    assert held[0] == held[1]
    assert len(set(held)) == 3


def test_the_draw_is_the_same_on_every_machine() -> None:
    """Held fast: a split drawn years ago must be drawn again."""
    table = ImageTable.of({"id": [f"{n}.png" for n in range(12)], "label": list("xy") * 6})
    assert list(draw_splits(table, test_size=THIRD, seed=0).test.ids) == ["5.png", "6.png", "8.png", "11.png"]


def test_groups_of_unequal_size_come_near_the_share(shared: Path) -> None:
    folder = shared / "data" / "chula_rbc"
    table = find_images(folder / "images")
    table = LabelSet.read(folder / "labels.csv", table).apply(table)
    for seed in (0, 1):
        sizes = split_sizes(draw_splits(table, test_size=THIRD, seed=seed))
        share = sizes["test"] / sizes.sum(axis=1)
        assert len(share) == 11
        assert share.between(THIRD - 0.02, THIRD + 0.02).all()


def test_test_groups_are_not_only_the_large_ones() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), rng.integers(2, 40, 60)).astype(str)
    labels = rng.choice(list("xyz"), len(groups))
    table = ImageTable.of({"id": [f"{n}" for n in range(len(groups))], "label": labels, "group": groups})
    sizes = []
    for seed in range(6):
        test = draw_splits(table, test_size=THIRD, seed=seed).test.frame
        sizes.append(test.groupby("group").size().mean())
    assert np.mean(sizes) == pytest.approx(table.frame.groupby("group").size().mean(), rel=0.15)


def test_a_class_of_one_image_stays_in_train() -> None:
    """Case 36."""
    table = ImageTable.of({"id": list("abcdef"), "label": list("xxxyyz"), "group": list("123456")})
    sizes = split_sizes(draw_splits(table, test_size=THIRD, seed=0))
    assert sizes.loc["z"].tolist() == [1, 0, 0]
    assert sizes.loc["y"].tolist() == [1, 1, 0]


def test_a_class_of_one_image_and_its_copies_stays_in_train() -> None:
    """Cases 32 and 36."""
    table = ImageTable.of({"id": list("abcdef"), "label": list("xxxxzz"), "sha256": list("123455")})
    assert split_sizes(draw_splits(table, test_size=THIRD, seed=0)).loc["z"].tolist() == [2, 0, 0]


def test_one_class_only_is_refused() -> None:
    """Case 35."""
    table = ImageTable.of({"id": ["a", "b", "c"], "label": ["x", "x", None]})
    with pytest.raises(SplitError, match=r"found one: 'x'\. Add labelled images of another class"):
        draw_splits(table, test_size=THIRD, seed=0)


def test_a_group_that_holds_a_class_is_refused() -> None:
    """Case 37."""
    table = ImageTable.of({
        "id": list("abcdefgh"), "label": list("xxxxyyyy"), "group": list("12345555")
    })
    with pytest.raises(SplitError, match=r"all 4 images of the class 'y' belong to one group.*group '5'"):
        draw_splits(table, test_size=THIRD, seed=0)
    given_split = table.assign(split=["train", "test"] * 2 + ["train"] * 4)
    assert split_sizes(draw_splits(given_split, test_size=THIRD, seed=0)).loc["y", "train"] == 4


def test_two_groups_give_one_to_each_side_even_if_that_is_far_from_the_share() -> None:
    groups = ["big"] * 9 + ["small"]
    table = ImageTable.of({
        "id": [f"{n}" for n in range(20)], "label": ["x"] * 10 + ["y"] * 10, "group": groups * 2
    })
    sizes = split_sizes(draw_splits(table, test_size=0.9, seed=0))
    assert (sizes[["train", "test"]] > 0).all(axis=None)


def test_given_splits_stay_and_their_groups_and_copies_follow() -> None:
    table = ImageTable.of({
        "id": list("abcdefgh"),
        "label": ["x", "x", "y", "y", "x", "y", None, None],
        "group": ["1", "1", "2", "2", "3", None, "1", None],
        "sha256": ["p", "q", "r", "s", "t", "u", "v", "t"],
        "split": ["test", None, "train", None, "audit", "train", None, None],
    })
    split = draw_splits(table, test_size=THIRD, seed=0).frame.set_index("id")["split"]
    assert split.to_dict() == {
        "a": "test", "b": "test", "c": "train", "d": "train", "e": "audit", "f": "train", "g": "test",
        "h": "audit",
    }


def test_unlabelled_images_of_a_test_patient_are_not_pretrained_on() -> None:
    groups = [f"{n // 4}" for n in range(40)]
    table = ImageTable.of({
        "id": [f"{n}" for n in range(40)], "label": ["x", "y", None, None] * 10, "group": groups
    })
    done = draw_splits(table, test_size=THIRD, seed=0)
    assert not set(done.pool.frame["group"]) & set(done.test.frame["group"])
    assert len(done.pool) + 2 * len(done.test) == 40


def test_without_labels_all_is_for_training() -> None:
    table = ImageTable.of({"id": ["a", "b"], "problem": [None, "empty"]})
    done = draw_splits(table, test_size=THIRD, seed=0)
    assert done.frame["split"].fillna("none").tolist() == ["train", "none"]


@pytest.mark.parametrize("column", ["group", "sha256"])
@pytest.mark.parametrize("side", ["test", "audit"])
def test_a_given_split_with_a_leak_is_refused(column: str, side: str) -> None:
    table = ImageTable.of({
        "id": list("abcd"), "label": list("xyxy"), "split": ["train", "train", side, side],
        column: ["1", "2", "2", "3"],
    })
    with pytest.raises(LeakError, match=r"1 (groups|images, by their pixels,) are both in train and in test "
                       r"\(1 of 2 images held out\)"):
        check_disjoint(table)


def test_blank_images_are_no_leak_and_link_no_patients() -> None:
    """Black frames and empty tiles are equal, whoever they are of."""
    table = ImageTable.of({
        "id": list("abcdefgh"), "label": list("xyxyxyxy"), "group": list("ppqqrrss"),
        "sha256": list("1e2e3e4e"), "note": [None, "overlay_left_out; constant"] * 4,
    })
    assert len(set(pieces_of(table))) == 4
    drawn = draw_splits(table, test_size=THIRD, seed=0)
    assert drawn.frame["split"].value_counts().to_dict() == {"train": 6, "test": 2}
    check_disjoint(drawn)
    with pytest.raises(LeakError):
        check_disjoint(drawn.assign(note=None))


def test_the_published_endoscopy_split_leaks(shared: Path) -> None:
    """METHOD.md: 2,628 of the 2,666 published test images are also in the published training list."""
    sides = {"train": "labeled_train.csv", "test": "test.csv"}
    folder = shared / "splits" / "endo"
    lists = [pd.read_csv(folder / name).assign(split=side) for side, name in sides.items()]
    rows = pd.concat(lists).astype("str")
    images = ImageTable.of({"id": sorted(set(rows["image"]))})
    with pytest.raises(LeakError, match="2,628 images have more than one split"):
        LabelSet.of(rows, images, where=shared)


@given(
    groups=st.lists(st.integers(0, 12) | st.none(), min_size=4, max_size=60), seed=st.integers(0, 99),
    share=st.floats(0.05, 0.4),
)
@settings(max_examples=30, deadline=None)
def test_an_audit_set_is_whole_groups_near_the_number_asked_for(
    groups: list[int | None], seed: int, share: float
) -> None:
    assume(len(set(groups)) > 2 or None in groups)
    names = pd.Series([None if one is None else str(one) for one in groups], dtype="str")
    table = ImageTable.of({"id": [f"{n:02d}" for n in range(len(groups))], "group": names})
    count = max(1, round(share * len(groups)))
    try:
        done = draw_audit(table, count, seed=seed)
    except SplitError:
        return  # one group holds nearly all
    audit = done.frame["split"] == "audit"
    assert set(done.frame["split"]) == {"audit", "train"}
    assert not set(names[audit].dropna()) & set(names[~audit].dropna())
    largest = names.fillna(pd.Series(range(len(names))).astype("str").radd("own ")).value_counts().iloc[0]
    assert abs(int(audit.sum()) - count) <= largest
    again = draw_audit(table.by_id(table.ids[::-1]), count, seed=seed)
    assert set(again.ids[(again.frame["split"] == "audit").to_numpy()]) == set(done.ids[audit.to_numpy()])


def test_an_audit_set_is_a_random_sample_of_all_labelled_or_not() -> None:
    labels = ["rare"] * 30 + ["common"] * 270 + [None] * 300
    table = ImageTable.of({"id": [f"{n:03d}" for n in range(600)], "label": labels})
    shares = []
    for seed in range(40):
        drawn = draw_audit(table, 60, seed=seed).frame.query("split == 'audit'")["label"]
        assert len(drawn) == 60
        shares.append([(drawn == "rare").mean(), (drawn == "common").mean(), drawn.isna().mean()])
    np.testing.assert_allclose(np.mean(shares, axis=0), [0.05, 0.45, 0.5], atol=0.03)


def test_copies_and_near_copies_of_an_audit_image_are_never_for_training() -> None:
    table = ImageTable.of({
        "id": [f"{n:02d}" for n in range(40)],
        "sha256": [f"{n // 2}" if n < 20 else f"own {n}" for n in range(40)],
        "cluster": [None] * 20 + [f"{n // 2}" for n in range(20, 40)],
    })
    for seed in range(9):
        done = draw_audit(table, 8, seed=seed)
        side = done.frame["split"].to_numpy()
        np.testing.assert_array_equal(side[::2], side[1::2])
        assert (side == "audit").sum() == 8
        check_disjoint(done)


def test_with_an_audit_set_no_test_set_is_drawn() -> None:
    table = ImageTable.of({"id": [f"{n}" for n in range(20)], "label": ["x", "y"] * 10})
    done = draw_splits(draw_audit(table, 5, seed=0), test_size=THIRD, seed=0)
    assert done.frame["split"].value_counts().to_dict() == {"train": 15, "audit": 5}
    more = ImageTable.of(pd.concat([done.frame, table.frame.assign(id="new " + table.frame["id"])]))
    assert draw_splits(more, test_size=THIRD, seed=0).frame["split"].value_counts().to_dict() == {
        "train": 35, "audit": 5,
    }


def test_an_audit_set_that_cannot_be_drawn_is_refused() -> None:
    table = ImageTable.of({"id": list("abcdef"), "group": ["1"] * 6})
    with pytest.raises(SplitError, match="found 6 in 1 whose split is not given"):
        draw_audit(table, 2, seed=0)
    with pytest.raises(SplitError, match="more images than the 9"):
        draw_audit(table.assign(group=None), 9, seed=0)
    with pytest.raises(SplitError, match="found 0 in 0"):
        draw_audit(table.assign(split="train"), 2, seed=0)
    with pytest.raises(SplitError, match="audit set of 2 images, and it is drawn once only"):
        draw_audit(draw_audit(table.assign(group=None), 2, seed=0), 2, seed=1)
