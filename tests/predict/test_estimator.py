"""A predictor and an encoder as scikit-learn's users expect them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, get_scorer, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks as checks
from sklearn.utils.validation import check_is_fitted

import hundredfold
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import InputError
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.svm import RbfSVC
from hundredfold.predict.predictor import Predictor

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


def pictures(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Very noisy images of one colour, uint8 [n,12,12,3]."""
    random = np.random.default_rng(seed)
    labels = np.array([name for name in COLOURS for _ in range(each)])
    base = np.array([COLOURS[name] for name in labels])[:, None, None, :]
    spread = random.normal(0, 70, (len(labels), 1, 1, 3)) + random.normal(0, 20, (len(labels), 12, 12, 3))
    return (base + spread).clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    images, labels = pictures(20, seed=0)
    encoder = ThumbnailEncoder(side=4, bins=8)
    table = ImageTable.of({
        "id": [f"{n:03d}.png" for n in range(len(labels))], "label": labels, "split": ["train"] * len(labels),
    })
    embeddings = Embeddings(
        table.ids, encoder.encode(images), {**encoder.facts, "hash": encoder.hash}, table, pixel_size=12
    )
    calibration = Calibration("temperature", False, ((1.0,),), (20, 20, 20))
    return Predictor.fit(encoder, embeddings, table, calibration=calibration)


def test_metrics_take_it_for_a_fitted_classifier(predictor: Predictor) -> None:
    images, labels = pictures(15, seed=1)
    assert is_classifier(predictor)
    check_is_fitted(predictor)
    assert predictor.classes_.tolist() == list(COLOURS)
    decided = predictor.predict(images)
    assert predictor.score(images, labels) == accuracy_score(labels, decided)
    assert 0.5 < predictor.score(images, labels) < 1
    found = get_scorer("neg_log_loss")(predictor, images, labels)
    assert found == pytest.approx(-log_loss(labels, predictor.predict_proba(images), labels=list(COLOURS)))
    matrix = ConfusionMatrixDisplay.from_estimator(predictor, images, labels).confusion_matrix
    assert np.trace(matrix) == (decided == labels).sum()


def test_a_pipeline_takes_it_and_fit_leaves_it_as_it_is(predictor: Predictor) -> None:
    images, labels = pictures(6, seed=2)
    larger = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    halve = FunctionTransformer(lambda batch: batch[:, ::2, ::2], validate=False)
    pipeline = make_pipeline(halve, FrozenEstimator(predictor))
    wrong = np.roll(labels, 6)
    assert pipeline.fit(larger, wrong).predict(larger).tolist() == predictor.predict(images).tolist()
    assert make_pipeline(halve, predictor).predict(larger).tolist() == predictor.predict(images).tolist()
    assert clone(predictor) is predictor
    scores = cross_val_score(FrozenEstimator(predictor), images, labels, cv=3)
    assert scores.mean() == pytest.approx(predictor.score(images, labels))


def test_an_encoder_stands_before_any_classifier(tmp_path: Path) -> None:
    images, labels = pictures(10, seed=3)
    ThumbnailEncoder(side=4, bins=8).save(tmp_path / "encoder")
    model = make_pipeline(hundredfold.EmbeddingTransformer(tmp_path / "encoder"), LogisticRegression())
    search = GridSearchCV(model, {"logisticregression__C": [1e-6, 1.0]}, cv=3).fit(images, labels)
    assert search.best_params_ == {"logisticregression__C": 1.0}
    vectors = ThumbnailEncoder(side=4, bins=8).encode(images)
    plain = cross_val_score(RbfSVC(), vectors, labels, cv=3)
    ours = make_pipeline(hundredfold.EmbeddingTransformer(tmp_path / "encoder", batch_size=7), RbfSVC())
    np.testing.assert_array_equal(cross_val_score(ours, images, labels, cv=3), plain)
    names = ours.fit(images, labels)[0].get_feature_names_out()
    assert (names[0], len(names)) == ("embeddingtransformer0", vectors.shape[1])


def test_what_is_no_image_is_refused(predictor: Predictor) -> None:
    transformer = hundredfold.EmbeddingTransformer()
    with pytest.raises(NotFittedError):
        transformer.transform(np.zeros((1, 8, 8, 3), dtype=np.uint8))
    for wrong in (np.zeros((4, 5)), np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 9, 3), dtype=np.uint8)):
        with pytest.raises(InputError, match="expected square images uint8"):
            transformer.fit().transform(wrong)
        with pytest.raises(InputError, match="expected square images uint8"):
            predictor.predict(wrong)


@pytest.mark.parametrize("check", [
    checks.check_estimator_cloneable, checks.check_estimator_repr, checks.check_valid_tag_types,
    checks.check_mixin_order, checks.check_get_params_invariance, checks.check_set_params,
    checks.check_no_attributes_set_in_init, checks.check_parameters_default_constructible,
])
def test_the_transformer_passes_the_checks_that_need_no_table(check: Callable[..., None]) -> None:
    check("EmbeddingTransformer", hundredfold.EmbeddingTransformer())


@pytest.mark.parametrize("check", [
    checks.check_estimator_cloneable, checks.check_estimator_repr, checks.check_valid_tag_types,
    checks.check_mixin_order, checks.check_get_params_invariance,
])
def test_the_predictor_passes_those_that_fit_nothing(
    predictor: Predictor, check: Callable[..., None],
) -> None:
    check("Predictor", predictor)
