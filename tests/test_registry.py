from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint

import pytest

from hundredfold import registry
from hundredfold.errors import SettingsError
from hundredfold.registry import Registry


@pytest.fixture
def colours() -> Registry[str]:
    colours: Registry[str] = Registry("colour")
    colours.add("red", "#f00")
    colours.add("green", "#0f0")
    return colours


def test_behaves_like_a_mapping(colours: Registry[str]) -> None:
    assert dict(colours) == {"red": "#f00", "green": "#0f0"}
    assert "red" in colours
    assert "blue" not in colours
    assert len(colours) == 2


def test_unknown_name_is_answered_with_the_nearest_and_all(colours: Registry[str]) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'green'\? Known: green, red\."):
        colours["gren"]


def test_a_name_like_none_of_them_gets_no_guess(colours: Registry[str]) -> None:
    with pytest.raises(SettingsError, match=r"no colour named 'zzz'\. Known: green, red\.$"):
        colours["zzz"]


def test_a_name_is_given_once(colours: Registry[str]) -> None:
    with pytest.raises(SettingsError, match="registered already"):
        colours.add("red", "#e00")
    assert colours["red"] == "#f00"


def test_plugins_are_found_by_entry_point(colours: Registry[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def points(*, group: str) -> Iterable[EntryPoint]:
        asked.append(group)
        return [EntryPoint("digits", "string:digits", group)]

    monkeypatch.setattr(registry, "entry_points", points)
    assert colours["red"] == "#f00"
    assert asked == [], "a built-in name needs no look at plug-ins"
    assert colours["digits"] == "0123456789"
    assert set(colours) == {"red", "green", "digits"}
    assert asked == ["hundredfold.colour"], "looked for once"
