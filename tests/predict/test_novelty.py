"""Novelty: its distances, that false alarms keep their promise on new groups, and what a table says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.neighbours import Neighbours, distances_to_others, nearest
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.predict import novelty as module
from hundredfold.predict.columns import column_names, columns
from hundredfold.predict.memory import Memory
from hundredfold.predict.novelty import ALARM, FEWEST, NEIGHBOURS, Novelty
from hundredfold.predict.predictor import Predictor

GREY, BLUE = (170, 160, 180), (40, 40, 200)


def memory(vectors: np.ndarray, pieces: np.ndarray) -> Memory:
    count = len(vectors)
    return Memory(
        np.array([f"{n}.png" for n in range(count)], dtype=object), np.zeros(count, dtype=np.int64),
        np.full(count, None, dtype=object), pieces, vectors.astype(np.float32),
        np.full((count, 2), np.nan, dtype=np.float32),
    )


def patients(random: np.random.Generator, groups: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Images that resemble those of their patient far more than others' [n,12], and whose they are [n]."""
    centres = random.normal(size=(groups, 12)) + 3
    vectors = np.repeat(centres, each, axis=0) + 0.1 * random.normal(size=(groups * each, 12))
    return vectors, np.repeat(np.arange(groups), each)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_distances_to_other_pieces_are_those_of_brute_force(seed: int, k: int, pieces: int) -> None:
    random = np.random.default_rng(seed)
    vectors, own = random.normal(size=(20, 4)), random.integers(0, pieces, 20)
    rows = random.permutation(20)[:7]
    for row, found in zip(rows, distances_to_others(vectors, own, rows, k), strict=True):
        others = vectors[own != own[row]]
        if len(others) < k:
            assert np.isnan(found)
            continue
        search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(others)
        assert found == pytest.approx(search.kneighbors(vectors[[row]])[0].mean(), abs=1e-5)


def test_a_kept_pool_finds_what_a_fresh_search_finds() -> None:
    random = np.random.default_rng(0)
    pool, query = random.normal(size=(50, 6)), random.normal(size=(4, 6))
    kept, fresh = Neighbours(pool).nearest(query, 3), nearest(query, pool, 3)
    np.testing.assert_array_equal(kept[1], fresh[1])


def test_false_alarms_on_new_patients_are_one_in_twenty_where_ignoring_patients_gives_many() -> None:
    """The promise is of the mean over choices of patients; a threshold that knows no patients breaks it."""
    rates: dict[str, list[float]] = {"patients": [], "images": []}
    for seed in range(40):
        random = np.random.default_rng(seed)
        vectors, groups = patients(random, 60, 6)
        known, new = vectors[groups < 40], vectors[groups >= 40]
        for name, pieces in (("patients", groups[groups < 40]), ("images", np.arange(len(known)))):
            seen = memory(known, pieces)
            found = Novelty.fit(seen)
            assert found is not None
            rates[name].append((found.share(found.distance(new, seen)) >= ALARM).mean())
    assert 0.03 <= np.mean(rates["patients"]) <= 0.07
    assert np.mean(rates["images"]) > 0.5


@given(st.integers(0, 2**32 - 1), st.integers(FEWEST, 400))
@settings(max_examples=25, deadline=None)
def test_the_share_is_one_less_the_conformal_p_value(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    known = np.sort(random.random(count))
    asked = random.random(5)
    expected = 1 - (1 + (known[None, :] >= asked[:, None]).sum(axis=1)) / (count + 1)
    np.testing.assert_allclose(Novelty(5, tuple(known), count).share(asked), expected)


def test_many_distances_are_thinned_without_moving_the_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    seen = memory(random.normal(size=(700, 5)) + 1, np.arange(700))
    whole = Novelty.fit(seen)
    monkeypatch.setattr(module, "KEPT", 99)
    thin = Novelty.fit(seen)
    assert whole is not None
    assert thin is not None
    assert (len(whole.distances), len(thin.distances), thin.images) == (700, 99, 700)
    asked = np.linspace(0, whole.distances[-1], 500)
    assert np.abs(whole.share(asked) - thin.share(asked)).max() <= 1 / 100


def test_what_single_precision_cannot_tell_apart_is_not_unusual() -> None:
    """Distances of 1e-7 are rounding: new images of that kind are no alarm, however they are measured."""
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(400, 60)) * 6e-4 + 1).astype(np.float32)
    seen = memory(vectors[:200], np.arange(200))
    found = Novelty.fit(seen)
    assert found is not None
    assert max(found.distances) < 2e-6
    assert (found.share(found.distance(vectors[200:], seen)) >= ALARM).mean() <= 0.05


def test_too_few_images_or_patients_give_no_novelty() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(FEWEST, 3))
    assert Novelty.fit(memory(vectors, np.arange(FEWEST))) is not None
    assert Novelty.fit(memory(vectors[1:], np.arange(FEWEST - 1))) is None
    assert Novelty.fit(memory(vectors, np.zeros(FEWEST, dtype=np.int64))) is None


def pictures(colour: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    noise = random.normal(0, 12, (count, 20, 20, 3)) + random.normal(0, 15, (count, 1, 1, 3))
    return (np.array(colour) + noise).clip(0, 255).astype(np.uint8)


def fitted(each: int) -> Predictor:
    images = np.concatenate([pictures(GREY, each, 0), pictures((150, 80, 120), each, 1)])
    encoder = ThumbnailEncoder()
    table = ImageTable.of({
        "id": [f"{n:03d}.png" for n in range(2 * each)], "label": ["normal"] * each + ["stained"] * each,
        "split": "train",
    })
    facts = {**encoder.facts, "hash": encoder.hash}
    embeddings = Embeddings(table.ids, encoder.encode(images), facts, table, pixel_size=20)
    return Predictor.fit(encoder, embeddings, table)


def test_a_predictor_tells_the_unusual_from_the_usual_before_and_after_a_round_trip(tmp_path: Path) -> None:
    predictor = fitted(40).save(tmp_path / "predictor")
    batch = np.concatenate([pictures(GREY, 30, 5), pictures(BLUE, 3, 6)])
    rows = columns(predictor, predictor.answer(batch))
    assert rows.columns.tolist() == column_names(predictor)
    assert (rows["unusual"][:30] == "yes").sum() <= 4
    assert rows["unusual"][30:].tolist() == ["yes"] * 3
    assert rows["novelty"].between(0, 1, inclusive="left").all()
    again = Predictor.load(tmp_path / "predictor")
    assert columns(again, again.answer(batch)).equals(rows)
    facts = json.loads((tmp_path / "predictor" / "predictor.json").read_text(encoding="utf-8"))["novelty"]
    assert (facts["images"], facts["neighbours"]) == (80, NEIGHBOURS)


def test_too_few_known_images_leave_the_columns_out() -> None:
    predictor = fitted(8)
    assert predictor.novelty is None
    rows = columns(predictor, predictor.answer(pictures(BLUE, 2, 0)))
    assert rows.columns.tolist() == column_names(predictor)
    assert "novelty" not in column_names(predictor)
