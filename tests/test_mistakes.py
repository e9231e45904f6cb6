"""The fourteen mistakes of the reference code: which test fails if one comes back.

The numbers are those of ``docs/mistakes.md``, which says what each mistake was.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

GUARDS = {
    1: (
        "ssl/test_schedules.py::test_the_teacher_momentum_rises_to_one",
        "ssl/test_never_lost.py::test_an_interrupted_run_resumes_bit_equal",
    ),
    2: ("ssl/test_dino.py::test_student_and_teacher_start_equal_head_included",),
    3: ("ssl/test_schedules.py::test_the_first_update_runs_at_the_start_of_the_warm_up",),
    4: (
        "ssl/test_dino.py::test_running_statistics_are_the_average_of_the_students",
        "ssl/test_dino.py::test_the_teachers_own_forward_never_changes_its_statistics",
    ),
    5: (
        "backbones/test_backbone.py::test_normalisation_is_the_backbones_own",
        "encode/test_encoder.py::test_the_backbones_normalisation_travels_with_the_encoder",
    ),
    6: (
        "workflows/test_pretrain.py::test_labelled_and_unlabelled_training_images_are_seen_and_test_images_are_not",
        "workflows/test_pretrain.py::test_transductive_sees_the_test_images_and_says_so",
    ),
    7: (
        "learn/test_budgets.py::test_draws_are_nested_and_full",
        "learn/test_budgets.py::test_the_draw_is_the_same_on_any_machine",
        "learn/test_budgets.py::test_seeds_and_repeats_draw_otherwise_and_zero_is_a_seed",
    ),
    8: ("learn/test_classifiers.py::test_platt_scaled_probabilities_never_decide",),
    9: (
        "learn/test_classifiers.py::test_k_is_five_a_class_and_never_more_than_the_samples",
        "learn/test_classifiers.py::test_every_classifier_works_at_one_label_a_class",
    ),
    10: (
        "learn/test_curve.py::test_every_classifier_and_encoder_gets_the_same_labels",
        "learn/test_finetune.py::test_the_network_sees_the_given_images_and_no_other",
        "learn/test_finetune.py::test_the_last_layer_learns_from_all_labels_it_was_given",
    ),
    11: (
        "learn/test_finetune.py::test_the_last_layer_is_in_its_best_state_not_its_last",
        "learn/test_finetune.py::test_the_network_is_in_its_best_state_statistics_included",
        "learn/test_finetune.py::test_linear_starts_from_the_given_weights_and_leaves_them",
    ),
    12: (
        "data/test_pixels.py::test_shrinking_is_antialiased",
        "data/test_pixels.py::test_pad_keeps_all_and_reflects_crop_keeps_the_middle_squash_keeps_the_corners",
    ),
    13: (
        "ssl/test_loss.py::test_centre_and_sinkhorn_are_taken_over_all_ranks",
        "ssl/test_loss.py::test_the_centre_stays_in_float32",
        "ssl/test_dino.py::test_as_many_local_crops_as_asked_for_and_none_is_possible",
    ),
    14: (
        "data/test_decode.py::test_a_jpeg_or_png_cut_anywhere_is_truncated",
        "data/test_dicom.py::test_a_real_monochrome1_radiograph_is_inverted",
        "data/test_dicom.py::test_the_window_agrees_with_pydicom_on_a_real_scan",
    ),
}


@pytest.mark.parametrize("number", GUARDS)
def test_every_guard_is_a_test_that_runs(number: int, check_guard: Callable[[str, str], None]) -> None:
    for guard in GUARDS[number]:
        check_guard(guard, f"mistake {number}")


def test_every_mistake_of_the_page_is_guarded(repo_root: Path) -> None:
    page = (repo_root / "docs" / "mistakes.md").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)] == list(GUARDS)
