"""The feature transform against scikit-learn's, and where scikit-learn's would blow up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import yeojohnson_llf
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from hundredfold.learn.transforms import YeoJohnson, feature_transform


def features(seed: int, samples: int, columns: int = 6) -> np.ndarray:
    """Skewed, mixed-sign and ReLU-like columns, as float32."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(samples, columns))
    x[:, 1::3] = np.exp(x[:, 1::3])
    x[:, 2::3] = np.maximum(x[:, 2::3] + 1, 0)
    return x.astype(np.float32)


@pytest.mark.parametrize("samples", [12, 60, 700])
@pytest.mark.parametrize("positive", [False, True])
def test_it_equals_scikit_learn(samples: int, positive: bool) -> None:
    x, new = features(0, samples), features(1, 40)
    if positive:
        x, new = np.abs(x), np.abs(new)
    ours, theirs = YeoJohnson().fit(x), PowerTransformer().fit(x.astype(float))
    np.testing.assert_allclose(ours.lambdas_, theirs.lambdas_, atol=2e-5)
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new.astype(float)), rtol=1e-3, atol=1e-4)


@given(st.integers(0, 10_000), st.integers(4, 40))
@settings(max_examples=12, deadline=None)
def test_no_other_exponent_is_likelier(seed: int, samples: int) -> None:
    x = features(seed, samples).astype(float)
    for column, exponent in zip(x.T, YeoJohnson().fit(x).lambdas_, strict=True):
        if abs(exponent) < 32 and np.ptp(column) > 0:
            best = yeojohnson_llf(exponent, column)
            others = [yeojohnson_llf(exponent + step, column) for step in (-0.5, -0.01, 0.01, 0.5)]
            assert best >= max(others) - 1e-9 * max(1, abs(best))


def test_constant_columns_become_zero_and_nothing_else_changes() -> None:
    x = features(0, 30)
    constant = np.concatenate([x, np.zeros((30, 1)), np.full((30, 1), 7.3)], axis=1).astype(np.float32)
    z = YeoJohnson().fit_transform(constant)
    assert (z[:, -2:] == 0).all()
    np.testing.assert_allclose(z[:, :-2], YeoJohnson().fit_transform(x), atol=1e-6)


def test_rounding_of_float32_is_no_signal() -> None:
    x = np.float32(100) + np.spacing(np.float32(100)) * np.arange(2, dtype=np.float32)[[0, 1, 0, 0, 1]]
    fitted = YeoJohnson().fit(x[:, None])
    assert abs(fitted.transform(np.float32([[100.001]]))).max() < 0.01


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3, 1e9, 1e30])
def test_a_handful_of_samples_gives_finite_numbers_on_any_scale(scale: float) -> None:
    x = features(2, 5, columns=60) * np.float32(scale)
    transform = feature_transform(*x.shape).fit(x)
    z = transform.transform(np.concatenate([x, features(3, 50, columns=60) * np.float32(3 * scale)]))
    assert np.isfinite(z).all()
    assert np.isfinite(z @ z.T).all()


def test_nearly_equal_values_far_from_zero() -> None:
    x = (100 + np.linspace(0, 0.5, 8) ** 3)[:, None]
    assert np.isfinite(YeoJohnson().fit_transform(x)).all()


def test_only_constant_columns() -> None:
    assert (YeoJohnson().fit_transform(np.ones((3, 2))) == 0).all()


@pytest.mark.parametrize(("samples", "columns"), [(9, 30), (200, 6)])
def test_the_whole_transform_equals_the_papers_pipeline(samples: int, columns: int) -> None:
    x = features(0, samples, columns)
    ours = feature_transform(samples, columns).fit_transform(x)
    theirs = make_pipeline(PowerTransformer(), PCA(svd_solver="full")).fit_transform(x.astype(float))
    np.testing.assert_allclose(abs(ours), abs(theirs), atol=2e-3)  # the sign of a component is arbitrary
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-2)


def test_one_feature_of_one_sample_is_what_it_is_among_others() -> None:
    """Rows are worked on some at a time, and the last may stand alone."""
    fitted = YeoJohnson().fit(features(0, 60, columns=1))
    new = features(1, (1 << 15) + 1, columns=1)
    new[-1] = -2
    alone = [fitted.transform(new[-1:]), fitted.transform(new)[-1:]]
    np.testing.assert_allclose(alone, [fitted.transform(new[-2:])[1:]] * 2)


def test_the_order_of_samples_does_not_matter() -> None:
    x = features(0, 50)
    there, back = YeoJohnson().fit(x), YeoJohnson().fit(x[::-1])
    np.testing.assert_allclose(there.lambdas_, back.lambdas_, atol=1e-6)
