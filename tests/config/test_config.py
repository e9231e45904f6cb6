from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from hundredfold import config
from hundredfold.config import (
    CurveChoices,
    CurveSettings,
    DemoSettings,
    EmbedSettings,
    EvaluateSettings,
    FitSettings,
    PredictSettings,
    PretrainSettings,
    ReportSettings,
    ResumableSettings,
    RunSettings,
    ScanSettings,
    Settings,
    verb,
)
from hundredfold.errors import SettingsError

ALL = [getattr(config, name) for name in config.__all__ if name.endswith(("Settings", "Choices"))]
REQUIRED: dict[type[Settings], dict[str, str]] = {
    ScanSettings: {"images": "i", "out": "o"},
    PretrainSettings: {"images": "i", "out": "o"},
    EmbedSettings: {"images": "i", "out": "o", "encoder": "thumbnail"},
    CurveSettings: {"embeddings": "e", "labels": "l", "out": "o"},
    FitSettings: {"embeddings": "e", "labels": "l", "out": "o"},
    PredictSettings: {"images": "i", "predictor": "p", "out": "o"},
    RunSettings: {"images": "i", "labels": "l", "out": "o"},
    DemoSettings: {},
    ReportSettings: {"run": "r"},
}
NUMBERS = [name for name, field in PretrainSettings.model_fields.items() if field.annotation is float]


class Colour(Settings):
    """A small model with everything that settings have."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "dark": {"light": 0.1}}
    positional: ClassVar[tuple[str, ...]] = ("name",)

    preset: Literal["default", "dark"] = Field("default", description="Which.")
    light: float = Field(0.5, ge=0, le=1, description="How light.")
    name: str = Field(description="Its name.")


def test_every_setting_of_every_verb_has_a_help_sentence() -> None:
    checked = 0
    for model in ALL:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith("."), f"{model.__name__}.{name}: {field.description}"
            checked += 1
    assert checked >= 180


@pytest.mark.parametrize("model", REQUIRED, ids=lambda model: model.__name__)
def test_defaults_are_valid_and_survive_yaml(model: type[Settings]) -> None:
    settings = model.of(**REQUIRED[model])
    text = yaml.safe_dump(settings.model_dump(mode="json"), allow_unicode=True)
    assert model.of(**yaml.safe_load(text)) == settings


@pytest.mark.parametrize("model", REQUIRED, ids=lambda model: model.__name__)
def test_the_required_settings_are_these(model: type[Settings]) -> None:
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    assert required == set(REQUIRED[model])


@pytest.mark.parametrize("model", REQUIRED, ids=lambda model: model.__name__)
def test_parameters_make_a_signature(model: type[Settings]) -> None:
    signature = inspect.Signature(model.parameters())
    assert signature.parameters.keys() == model.model_fields.keys()
    places = [p.name for p in signature.parameters.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert tuple(places) == model.positional


@pytest.mark.parametrize("model", [m for m in REQUIRED if m is not ReportSettings], ids=lambda m: m.__name__)
def test_a_verb_that_writes_a_run_takes_out_seed_and_resume(model: type[Settings]) -> None:
    assert issubclass(model, ResumableSettings)


def test_run_takes_the_settings_of_all_it_calls() -> None:
    for model in (ScanSettings, PretrainSettings, CurveSettings, FitSettings):
        missing = model.model_fields.keys() - RunSettings.model_fields.keys() - {"embeddings"}
        assert not missing, model.__name__


@given(st.floats())
def test_no_number_out_of_range_gets_in(light: float) -> None:
    if math.isfinite(light) and 0 <= light <= 1:
        assert Colour.of(name="red", light=light).light == light
    else:
        with pytest.raises(SettingsError, match="light"):
            Colour.of(name="red", light=light)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_nan_and_infinity_are_no_settings(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        PretrainSettings.of(**REQUIRED[PretrainSettings], **{name: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"a setting is missing \(name\)\. Give name\."),
        ({"name": "red", "lihgt": 1}, r"no such setting \(lihgt\)\. Did you mean light\?"),
        ({"name": "red", "zzz": 1}, r"no such setting \(zzz\)\. Known: preset, light, name\."),
        ({"name": "red", "light": 3}, r"less than or equal to 1; found 3 \(light\)"),
        ({"name": "red", "preset": "drak"}, r"'default' or 'dark'; found 'drak' \(preset\)"),
        ({"name": "red", "preset": ["dark"]}, r"found \['dark'\] \(preset\)"),
    ],
)
def test_an_error_says_what_was_found_and_where(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Colour.of(**given)


def test_settings_cannot_be_changed() -> None:
    settings = Colour.of(name="red")
    with pytest.raises(ValidationError, match="frozen"):
        settings.light = 1.0  # type: ignore[misc]


def test_a_preset_stands_in_for_defaults_and_yields_to_what_is_given() -> None:
    assert Colour.of(name="red").light == 0.5
    assert Colour.of(name="red", preset="dark").light == 0.1
    assert Colour.of(name="red", preset="dark", light=0.7).light == 0.7


@pytest.mark.parametrize("model", [m for m in ALL if m.presets], ids=lambda m: m.__name__)
def test_presets_name_only_fields_and_valid_values(model: type[Settings]) -> None:
    for name, values in model.presets.items():
        assert values.keys() <= model.model_fields.keys()
        if model in REQUIRED:
            settings = model.of(**REQUIRED[model], preset=name)
            assert {key: getattr(settings, key) for key in values} == dict(values)


def test_the_paper_preset_is_the_reference_of_method_md() -> None:
    paper = PretrainSettings.of(**REQUIRED[PretrainSettings], preset="paper")
    assert paper.backbone == "xcit_small_12_p8_224.fb_dist_in1k"
    assert (paper.image_size, paper.local_size, paper.local_crops) == (256, 96, 5)
    assert (paper.global_scale, paper.local_scale) == ((0.5, 1.0), (0.1, 0.5))
    assert (paper.batch_size, paper.learning_rate, paper.clip) == (256, 5e-4, 0.32)
    assert (paper.weight_decay, paper.weight_decay_end, paper.momentum) == (0.04, 0.4, 0.9995)
    assert (paper.teacher_temperature, paper.teacher_temperature_end) == (0.02, 0.04)
    assert (paper.prototypes, paper.head_layers, paper.head_hidden) == (65536, 4, 2048)
    assert (paper.epochs, paper.centring, paper.koleo) == (300, "ema", 0)


def test_epochs_and_minutes_exclude_each_other() -> None:
    required = REQUIRED[PretrainSettings]
    assert PretrainSettings.of(**required).epochs is None  # decided when the images are known
    assert PretrainSettings.of(**required, preset="paper", minutes=30).epochs is None
    timed = PretrainSettings.of(**required, minutes=30)
    assert (timed.epochs, timed.minutes) == (None, 30)
    with pytest.raises(SettingsError, match="epochs and minutes exclude each other"):
        PretrainSettings.of(**required, minutes=30, epochs=10)


@pytest.mark.parametrize("model", [CurveChoices, EvaluateSettings])
def test_a_handful_of_resamples_makes_no_interval(model: type[Settings]) -> None:
    needed = {name: "x" for name, field in model.model_fields.items() if field.is_required()}
    for few in (1, 5, 39):
        with pytest.raises(SettingsError, match="at least 40 for 95 % intervals, or 0 for none; found"):
            model.of(**needed, bootstrap=few)
    for enough in (0, 40):
        assert model.of(**needed, bootstrap=enough).model_dump()["bootstrap"] == enough


@pytest.mark.parametrize("scale", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.5)])
def test_crop_scales_are_shares_in_order(scale: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match="global_scale"):
        PretrainSettings.of(**REQUIRED[PretrainSettings], global_scale=scale)


def test_part_hands_on_what_the_other_verb_shares() -> None:
    run = RunSettings.of(images="i", labels="l", out="o", seed=7, max_bad=0.5, preset="paper", prototypes=99)
    scan = run.part(ScanSettings)
    assert (scan.images, scan.labels, scan.seed, scan.max_bad) == (Path("i"), Path("l"), 7, 0.5)
    pretrain = run.part(PretrainSettings, images=Path("o"))
    assert (pretrain.images, pretrain.prototypes, pretrain.head_layers) == (Path("o"), 99, 4)
    assert run.part(CurveSettings, embeddings="e").preset == "paper"


@verb(Colour)
def paint(settings: Colour) -> str:
    """Paint it."""
    return f"{settings.name} {settings.light}"


def test_a_verb_is_called_with_settings_by_name_or_by_position() -> None:
    assert paint(Colour.of(name="red")) == paint(name="red") == paint("red") == "red 0.5"
    assert paint("red", light=0.25) == "red 0.25"


def test_a_verb_keeps_its_name_its_help_and_shows_its_settings() -> None:
    assert (vars(paint)["__name__"], paint.__doc__) == ("paint", "Paint it.")
    assert list(inspect.signature(paint).parameters) == ["name", "preset", "light"]


@pytest.mark.parametrize(("values", "given"), [(("red", 0.5), {}), (("red",), {"name": "blue"})])
def test_a_verb_refuses_more_than_it_can_place(values: tuple[Any, ...], given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"by position\. By position: name\."):
        paint(*values, **given)
