"""What a reader is asked to keep in mind."""

from __future__ import annotations

from hundredfold.report.cautions import cautions
from hundredfold.report.material import Material


def left_out(classes: list[str]) -> str:
    state = {"curve": {"classes_left_out": ["rare"]}, "stages": {}}
    given = Material("run", state, {}, predictor={"classes": classes})
    return next(one.sentence for one in cautions(given, None) if one.title == "Classes left out.")


def test_numbers_without_a_class_are_not_those_of_a_predictor_that_tells_it() -> None:
    assert "The run's predictor learned them all the same" in left_out(["common", "often", "rare"])
    assert "predictor" not in left_out(["common", "often"])
