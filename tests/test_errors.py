from __future__ import annotations

import inspect
import pickle
import re

import pytest

from hundredfold import errors
from hundredfold.errors import HundredfoldError, ImageError, InputError, SettingsError, TrainingError

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_message_says_what_where_and_what_to_do() -> None:
    error = InputError("no such folder", where="imagse/", remedy="Check the path.")
    assert str(error) == "no such folder (imagse/). Check the path."
    assert (error.found, error.where, error.remedy) == ("no such folder", "imagse/", "Check the path.")


def test_message_without_place_or_remedy_is_still_a_sentence() -> None:
    assert str(SettingsError("too small")) == "too small."


def test_exit_code_separates_the_users_side_from_ours() -> None:
    assert HundredfoldError("x").exit_code == TrainingError("x").exit_code == 1
    for kind in CLASSES:
        assert kind.exit_code == (2 if issubclass(kind, InputError) else 1)


def test_image_error_carries_its_reason_code() -> None:
    error = ImageError("truncated", "The JPEG ends in the middle of a scan.")
    assert (error.reason, error.sentence) == ("truncated", str(error))


@pytest.mark.parametrize("kind", CLASSES)
def test_it_comes_out_of_another_process_as_it_was(kind: type[HundredfoldError]) -> None:
    error = kind("found", "sentence") if kind is ImageError else kind("found", where="a", remedy="Do.")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))


def test_one_except_catches_all_of_them() -> None:
    for kind in CLASSES:
        with pytest.raises(HundredfoldError):
            raise kind("a", "b") if kind is ImageError else kind("a")


def test_drawn_tree_names_every_class_and_no_other() -> None:
    drawn = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    classes = inspect.getmembers(errors, inspect.isclass)
    defined = {name for name, kind in classes if kind.__module__ == errors.__name__}
    assert drawn == defined == set(errors.__all__)
    assert len(drawn) >= 14
