"""The audit set's shares: their intervals, against an independent one, and what is not to be believed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from hundredfold.data.table import ImageTable
from hundredfold.predict.prevalence import Prevalence


def audit(labels: list[str | None], groups: list[str] | None = None) -> ImageTable:
    """Audit images, and a training image of a class that must not count."""
    count = len(labels)
    return ImageTable.of({
        "id": [f"{n}" for n in range(count + 1)], "label": [*labels, "x"],
        "group": [*(groups or [f"g{n}" for n in range(count)]), "other"],
        "split": ["audit"] * count + ["train"],
    })


def test_the_interval_of_independent_images_is_near_the_exact_one() -> None:
    found = Prevalence.fit(audit(["x"] * 140 + ["y"] * 60), ["x", "y", "z"])
    exact = binomtest(60, 200).proportion_ci()
    assert found.counts == {"x": 140, "y": 60, "z": 0}
    assert found.ends["y"] == pytest.approx((exact.low, exact.high), abs=0.02)
    assert found.ends["z"] == pytest.approx((0, 1 - 0.025 ** (1 / 200)))  # none among 200 is not none at all


def test_images_of_a_group_are_no_independent_evidence() -> None:
    labels = (["x"] * 7 + ["y"] * 3) * 20
    apart = Prevalence.fit(audit(labels), ["x", "y"])
    together = Prevalence.fit(audit(sorted(labels), [f"g{n // 10}" for n in range(200)]), ["x", "y"])
    widths = [float(np.diff(one.ends["y"])[0]) for one in (apart, together)]
    assert widths[1] == pytest.approx(widths[0] * np.sqrt(10), rel=0.2)
    few = Prevalence.fit(audit(labels, [f"g{n % 9}" for n in range(200)]), ["x", "y"])
    assert few.ends == {}
    assert "how sure these shares are cannot be said" in " ".join(few.sentences(["x", "y"]))


def test_no_class_is_impossible_and_strangers_are_named() -> None:
    found = Prevalence.fit(audit(["x"] * 9 + ["stranger"] + [None] * 3), ["x", "y"])
    shares = found.shares(["x", "y"])
    assert shares.sum() == pytest.approx(1)
    assert shares.tolist() == pytest.approx([9.5 / 10, 0.5 / 10])
    said = " ".join(found.sentences(["x", "y"]))
    assert "1 of them are of classes that the predictor does not know" in said
    assert "3 audit images have no label" in said
    assert Prevalence.of(json.loads(json.dumps(found.facts))) == found
    assert Prevalence.fit(audit([None]), ["x"]) is None
