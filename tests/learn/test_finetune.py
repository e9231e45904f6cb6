"""Last layer and fine-tuning: the best state, the given weights, and exactly the given labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from torch.nn import functional as F

from hundredfold.backbones.backbone import Backbone, create_backbone
from hundredfold.errors import InputError, SettingsError, SplitError, TableError, TrainingError
from hundredfold.learn.classifiers import judge, make_classifier
from hundredfold.learn.finetune import fine_tune
from hundredfold.learn.last_layer import LastLayer
from hundredfold.learn.training import Recipe, validation_part

QUICK = Recipe(epochs=2, patience=9, blind_epochs=2, least_steps=2, batch_size=8)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """As a pre-trained teacher comes: frozen, and with statistics that are not those of a new layer."""
    torch.manual_seed(1)
    made = create_backbone("resnet10t", weights="none").train().requires_grad_(requires_grad=False)
    made(torch.randn(8, 3, 32, 32) + 2)
    return made.eval()


def noise_images(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Images without a pattern, so that what is learned of them does not hold for others."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, np.array(["cat", "dog"])[np.arange(count) % 2]


def noise_vectors(each: int = 10, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(each * classes, 8)), np.repeat([*"abcdefgh"[:classes]], each)


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_last_layer_is_in_its_best_state_not_its_last() -> None:
    """METHOD, mistake 11: training that ended at the best epoch gives the very same weights."""
    x, y = noise_vectors()
    long = LastLayer(learning_rate=0.05, epochs=12, patience=12).fit(x, y)
    best = int(long.history_.argmin())
    assert len(long.history_) == 12
    assert long.best_epoch_ == best < 11
    assert long.history_[-1] > long.history_[best]
    short = LastLayer(learning_rate=0.05, epochs=best + 1).fit(x, y)
    np.testing.assert_array_equal(long.coef_, short.coef_)
    np.testing.assert_array_equal(long.intercept_, short.intercept_)


def test_it_stops_when_patience_is_over() -> None:
    x, y = noise_vectors()
    layer = LastLayer(learning_rate=0.05, epochs=50, patience=3).fit(x, y)
    assert len(layer.history_) == layer.best_epoch_ + 4


def test_the_network_is_in_its_best_state_statistics_included(backbone: Backbone) -> None:
    """METHOD, mistake 11; BatchNorm's buffers are part of the state."""
    images, labels = noise_images()
    rising = {"learning_rate": 0.01, "patience": 9, "least_steps": 2, "batch_size": 8}
    long = fine_tune(backbone, images, labels, linear_only=False, recipe=Recipe(epochs=5, **rising))
    best = int(np.argmin(long.history))
    assert long.best_epoch == best < 4 == len(long.history) - 1
    short = fine_tune(backbone, images, labels, linear_only=False, recipe=Recipe(epochs=best + 1, **rising))
    assert any(key.endswith("running_var") for key in state_of(long.network))
    assert same(state_of(long.network), state_of(short.network))
    assert not long.network.training


def test_linear_starts_from_the_given_weights_and_leaves_them(backbone: Backbone) -> None:
    """METHOD, mistake 11: the head is trained on the very features of the given backbone."""
    before = state_of(backbone)
    images, labels = noise_images()
    tuned = fine_tune(backbone, images, labels, linear_only=True, recipe=QUICK)
    assert same(before, state_of(tuned.network.backbone))
    assert same(before, state_of(backbone))
    with torch.no_grad():
        features = backbone(backbone.normalise(torch.from_numpy(images)))
        logits = tuned.network.head(features)
    torch.testing.assert_close(logits, torch.from_numpy(tuned.decision_function(images)))


def test_fine_tuning_starts_from_the_given_weights_and_moves_a_copy(backbone: Backbone) -> None:
    before = state_of(backbone)
    images, labels = noise_images()
    still = fine_tune(
        backbone, images, labels, linear_only=False,
        recipe=Recipe(learning_rate=1e-9, epochs=1, least_steps=1, weight_decay=0),
    )
    for name, value in still.network.backbone.named_parameters():
        torch.testing.assert_close(value.detach(), before[name], atol=1e-7, rtol=0)
    moved = fine_tune(backbone, images, labels, linear_only=False, recipe=QUICK)
    changed = state_of(moved.network.backbone)
    assert all(not torch.equal(changed[name], before[name]) for name, _ in backbone.named_parameters())
    assert same(before, state_of(backbone))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_the_network_sees_the_given_images_and_no_other(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """METHOD, mistake 10: 70 % train and 30 % choose the epoch, both of the labels that all methods get."""
    images = np.zeros((20, 32, 32, 3), np.uint8) + np.arange(0, 200, 10, dtype=np.uint8)[:, None, None, None]
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    normalise = Backbone.normalise

    def record(self: Backbone, pixels: torch.Tensor) -> torch.Tensor:
        seen[self.training] |= {int(value) // 10 for value in pixels[:, 0, 0, 0]}
        return normalise(self, pixels)

    monkeypatch.setattr(Backbone, "normalise", record)
    labels = np.repeat(["x", "y"], 10)
    tuned = fine_tune(backbone, images, labels, linear_only=False, recipe=QUICK)
    assert seen == {
        True: set(np.flatnonzero(~tuned.validation)), False: set(np.flatnonzero(tuned.validation))
    }
    assert [int(tuned.validation[labels == name].sum()) for name in "xy"] == [3, 3]


@pytest.mark.parametrize(("each", "training", "judging"), [(10, 21, 9), (2, 3, 3), (1, 3, 0)])
def test_the_last_layer_learns_from_all_labels_it_was_given(
    each: int, training: int, judging: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """METHOD, mistakes 9 and 10: at one label a class, that one trains."""
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    loss = F.cross_entropy

    def record(logits: torch.Tensor, truth: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes[logits.requires_grad].add(len(truth))
        return loss(logits, truth, *rest)

    monkeypatch.setattr(F, "cross_entropy", record)
    layer = LastLayer(epochs=2, blind_epochs=2).fit(*noise_vectors(each))
    assert sizes == {True: {training}, False: {judging} - {0}}
    assert layer.n_validation_ == judging
    assert len(layer.history_) == (2 if judging else 0)


def test_one_label_a_class_fine_tunes_for_fixed_epochs(backbone: Backbone) -> None:
    images, labels = noise_images(2)
    tuned = fine_tune(backbone, images, labels, linear_only=False, recipe=QUICK)
    assert (tuned.history, tuned.best_epoch, tuned.validation.any()) == ((), 1, False)
    assert set(tuned.predict(images)) <= {"cat", "dog"}


def test_the_same_seed_gives_the_same_network_and_nobody_elses_numbers_change(backbone: Backbone) -> None:
    images, labels = noise_images()
    random = torch.get_rng_state()
    first, second, other = (
        fine_tune(
            backbone, images[::step], labels[::step], linear_only=False, recipe=replace(QUICK, seed=seed)
        )
        for step, seed in ((1, 0), (-1, 0), (1, 1))
    )
    assert torch.equal(random, torch.get_rng_state())
    assert same(state_of(first.network), state_of(second.network))
    assert (first.validation == second.validation[::-1]).all()
    assert not same(state_of(first.network), state_of(other.network))


def test_the_last_layer_has_its_own_random_numbers() -> None:
    x, y = noise_vectors()
    random = torch.get_rng_state()
    first, again, other = (LastLayer(epochs=3, seed=seed).fit(x, y) for seed in (0, 0, 1))
    assert torch.equal(random, torch.get_rng_state())
    assert (first.coef_ == again.coef_).all()
    assert (first.coef_ != other.coef_).any()


def test_views_are_made_of_training_images_only_and_anew_in_every_pass(backbone: Backbone) -> None:
    images, labels = noise_images()
    calls = []

    def mirror(pixels: np.ndarray, key: int, turn: int) -> np.ndarray:
        calls.append((key, turn, pixels.tobytes()))
        return pixels[:, ::-1]

    tuned = fine_tune(backbone, images, labels, linear_only=False, recipe=QUICK, augment=mirror)
    count = int((~tuned.validation).sum())
    assert {pixels for *_, pixels in calls} == {one.tobytes() for one in images[~tuned.validation]}
    assert len({(key, turn) for key, turn, _ in calls}) == len(calls) == count * len({t for _, t, _ in calls})
    assert len({(key, pixels) for key, _, pixels in calls}) == count


def test_rare_classes_count_as_much_as_frequent_ones() -> None:
    """The class weights: without them the overlapping rare class would hardly ever be predicted."""
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(0, 1, (190, 2)), random.normal(1, 1, (10, 2))])
    new = random.normal(1, 1, (400, 2))
    layer = LastLayer(learning_rate=0.01).fit(x, ["often"] * 190 + ["rare"] * 10)
    assert (layer.predict(new) == "rare").mean() > 0.6


@pytest.mark.parametrize("classes", [2, 3])
def test_the_last_layer_is_a_scikit_learn_classifier(classes: int) -> None:
    x, y = noise_vectors(classes=classes)
    layer = clone(LastLayer(epochs=3, seed=4))
    assert (layer.get_params()["epochs"], layer.get_params()["seed"]) == (3, 4)
    assert layer.fit(x, y) is layer
    assert layer.decision_function(x).shape == ((30, 3) if classes == 3 else (20,))
    decided, scores = judge(layer, x)
    assert (decided == layer.predict(x)).all()
    assert (decided == layer.classes_[scores.argmax(axis=1)]).all()
    with pytest.raises(ValueError, match="two classes or more"):
        layer.fit(x, ["a"] * len(x))


def test_the_last_layer_has_a_name_in_the_registry() -> None:
    assert isinstance(make_classifier("last_layer", samples=4, classes=2), LastLayer)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["p", "q", "r", "s", "t", None])), min_size=2))
def test_the_validation_part_is_whole_groups_and_never_most_of_a_class(
    rows: list[tuple[int, str | None]],
) -> None:
    codes = np.unique([code for code, _ in rows], return_inverse=True)[1]
    groups = [group for _, group in rows]
    held = validation_part(codes, groups)
    count, taken = np.bincount(codes), np.bincount(codes[held], minlength=codes.max() + 1)
    assert (2 * taken <= count).all()
    assert not held.any() or count.min() >= 2
    for name in {*groups} - {None}:
        assert len({bool(one) for one, group in zip(held, groups, strict=True) if group == name}) == 1
    alone = validation_part(codes)
    wanted = np.maximum(1, np.round(0.3 * count)) if count.min() >= 2 else 0 * count
    assert (np.bincount(codes[alone], minlength=len(count)) == wanted).all()


def test_a_group_is_never_on_both_sides(backbone: Backbone) -> None:
    images, labels = noise_images()
    groups = [f"patient {number // 4}" for number in range(12)]
    tuned = fine_tune(backbone, images, labels, groups=groups, linear_only=True, recipe=QUICK)
    assert sorted(tuned.validation.reshape(3, 4).mean(axis=1)) == [0, 0, 1]


@pytest.mark.parametrize(("change", "error"), [
    (lambda images, labels: {"images": images[:3], "labels": labels}, TableError),
    (lambda images, labels: {"images": images / 255, "labels": labels}, TableError),
    (lambda images, labels: {"images": images, "labels": labels, "groups": ["p"]}, TableError),
    (lambda images, labels: {"images": images, "labels": ["cat"] * 12}, SplitError),
    (lambda images, labels: {"images": images, "labels": labels, "augment": lambda x, *_: x}, SettingsError),
])
def test_what_cannot_be_trained_on_is_refused(
    change: Callable[..., dict[str, Any]], error: type[InputError], backbone: Backbone
) -> None:
    with pytest.raises(error):
        fine_tune(backbone, **change(*noise_images()), linear_only=True)


def test_settings_out_of_range_and_losses_that_are_not_finite_are_told() -> None:
    with pytest.raises(SettingsError, match="patience above 0, found 0"):
        Recipe(patience=0)
    x, y = noise_vectors()
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        LastLayer(learning_rate=1e30).fit(x, y)
