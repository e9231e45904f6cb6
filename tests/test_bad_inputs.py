"""For every case of ``docs/files.md`` the tests that show, on real bad files, what becomes of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

CASES: dict[int, tuple[str, ...]] = {
    1: (
        "data/test_decode.py::test_a_file_without_bytes_is_empty",
        "workflows/test_scan.py::test_bad_images_are_named_counted_and_left_out",
    ),
    2: (
        "data/test_decode.py::test_a_jpeg_or_png_cut_anywhere_is_truncated",
        "data/test_decode.py::test_a_real_jpeg_cut_short_is_truncated_and_not_filled_with_grey",
        "data/test_decode.py::test_a_jpeg_with_its_end_but_not_its_middle_is_truncated",
    ),
    3: (
        "data/test_decode.py::test_what_is_no_image_is_named_so_whatever_its_extension",
        "workflows/test_scan.py::test_bad_images_are_named_counted_and_left_out",
    ),
    4: ("data/test_decode.py::test_the_content_decides_and_not_the_extension",),
    5: ("data/test_decode.py::test_cmyk_becomes_rgb_within_six_grey_levels",),
    6: (
        "data/test_decode.py::test_sixteen_bits_and_floats_are_kept_whole_and_called_deep",
        "data/test_pixels.py::test_at_least_a_thousand_grey_levels_reach_the_scaling",
        "data/test_dicom_pixels.py::test_twelve_bits_reach_from_black_to_white_and_not_near_either",
    ),
    7: ("data/test_decode.py::test_sixteen_bits_and_floats_are_kept_whole_and_called_deep",),
    8: ("data/test_decode.py::test_a_float_image_with_a_value_that_is_no_number_is_refused",),
    9: (
        "data/test_decode.py::test_a_palette_becomes_its_colours",
        "data/test_decode.py::test_behind_alpha_is_white",
        "data/test_decode.py::test_one_bit_is_black_and_white",
    ),
    10: ("data/test_decode.py::test_the_eight_orientations_give_the_same_upright_pixels",),
    11: ("data/test_decode.py::test_a_header_of_400_megapixels_is_refused_before_memory_is_taken",),
    12: ("data/test_decode.py::test_several_pictures_in_a_file_are_refused_and_never_silently_the_first",),
    13: ("data/test_decode.py::test_an_image_of_too_few_rows_or_columns_is_refused",),
    14: ("data/test_decode.py::test_a_constant_image_is_kept_and_flagged",),
    15: ("data/test_decode.py::test_compressed_tiffs_are_decoded",),
    16: (
        "data/test_dicom.py::test_a_real_monochrome1_radiograph_is_inverted",
        "data/test_dicom.py::test_monochrome1_is_inverted_after_its_window",
    ),
    17: (
        "data/test_dicom.py::test_rescale_comes_before_the_window",
        "data/test_dicom_pixels.py::test_ct_small_is_in_hounsfield_units_from_air_to_bone",
        "data/test_dicom_pixels.py::test_mr_small_is_seen_through_its_window",
        "data/test_dicom_pixels.py::test_the_window_travels_to_the_predictor",
    ),
    18: (
        "data/test_dicom.py::test_ybr_full_becomes_rgb",
        "data/test_dicom.py::test_the_colour_bars_are_the_same_in_every_coding",
    ),
    19: ("data/test_dicom.py::test_a_palette_is_looked_up",),
    20: (
        "data/test_dicom_archive.py::test_one_row_a_frame_and_one_group",
        "data/test_source.py::test_each_frame_of_a_dicom_is_an_image_and_the_file_their_group",
    ),
    21: (
        "data/test_dicom.py::test_lossless_codings_equal_the_uncompressed_scan",
        "data/test_dicom_archive.py::test_the_same_picture_in_other_codings_is_the_same",
    ),
    22: ("data/test_dicom.py::test_a_missing_codec_is_named",),
    23: ("data/test_dicom.py::test_a_file_without_pixels_says_so",),
    24: (
        "data/test_dicom.py::test_a_file_without_preamble_and_meta_is_read",
        "data/test_dicom.py::test_what_is_only_named_dicom_is_not_dicom",
    ),
    25: (
        "data/test_dicom.py::test_pixels_cut_short_are_refused_and_never_filled_up",
        "data/test_dicom_archive.py::test_what_is_rejected_and_why",
    ),
    26: (
        "data/test_sandbox.py::test_a_deflate_bomb_meets_its_limit_in_another_process",
        "data/test_sandbox.py::test_a_crash_of_a_decoder_costs_one_image",
        "data/test_dicom.py::test_rows_and_columns_that_lie_are_refused",
        "data/test_dicom_groups.py::test_frames_that_lie_are_no_rows",
    ),
    27: (
        "data/test_dicom.py::test_what_the_preamble_poses_as_does_not_matter",
        "workflows/test_nothing_of_patients.py::test_a_whole_run_keeps_nothing_of_a_patient",
    ),
    28: (
        "workflows/test_nothing_of_patients.py::test_a_whole_run_keeps_nothing_of_a_patient",
        "annotate/test_guard.py::test_no_name_of_a_file_or_patient_is_on_a_page",
        "data/test_dicom.py::test_no_message_holds_what_was_planted_in_a_patients_tags",
        "data/test_dicom_groups.py::test_a_scan_says_how_groups_came_to_be_and_keeps_no_key",
    ),
    29: (
        "data/test_dicom.py::test_a_remark_is_made_of_overlays_and_burned_in_annotation",
        "workflows/test_scan.py::test_overlays_and_burnt_in_writing_are_warned_of",
    ),
    30: (
        "data/test_source.py::test_awkward_names_are_found_and_decoded",
        "workflows/test_scan.py::test_awkward_paths_survive_the_split_file",
    ),
    31: (
        "data/test_source.py::test_a_loop_of_links_ends",
        "data/test_source.py::test_links_that_leave_the_folder_are_not_followed",
    ),
    32: (
        "data/test_source.py::test_equal_names_in_two_folders_are_two_images",
        "workflows/test_scan.py::test_copies_stay_on_one_side_and_lose_contradicting_labels",
    ),
    33: ("data/test_labels.py::test_one_table_in_many_dresses",),
    34: (
        "workflows/test_scan.py::test_rows_without_an_image_are_listed",
        "workflows/test_scan.py::test_a_bad_table_is_refused_before_anything_is_written",
    ),
    35: (
        "data/test_labels.py::test_a_label_outside_the_class_list_is_an_error",
        "workflows/test_scan.py::test_a_bad_table_is_refused_before_anything_is_written",
    ),
    36: (
        "workflows/test_scan.py::test_a_class_of_one_image_is_kept_and_named",
        "learn/test_curve.py::test_labels_groups_and_caps_are_counted",
    ),
    37: ("workflows/test_scan.py::test_a_bad_table_is_refused_before_anything_is_written",),
    38: (
        "predict/test_predictor.py::test_a_pickle_is_never_loaded",
        "predict/test_predictor.py::test_an_edited_file_is_refused_by_name",
    ),
    41: ("ssl/test_never_lost.py::test_a_full_disk_at_a_save_is_a_clean_stop",),
    44: (
        "data/test_pixels.py::test_files_that_change_or_vanish_while_others_are_decoded_are_rejected_by_name",
        "ssl/test_never_lost.py::test_pixels_that_change_during_the_training_end_it_with_a_sentence",
        "annotate/test_guard.py::test_an_original_that_is_gone_or_changed_is_never_shown_as_another",
    ),
    45: ("annotate/test_guard.py::test_no_address_is_a_path",),
    46: (
        "annotate/test_guard.py::test_without_the_token_nothing_is_told",
        "annotate/test_guard.py::test_a_foreign_host_or_origin_is_refused_before_all_else",
    ),
    47: (
        "annotate/test_guard.py::test_a_body_over_the_limit_is_refused",
        "annotate/test_guard.py::test_a_slow_body_is_given_up",
        "annotate/test_guard.py::test_a_hundred_clients_are_served_in_little_memory",
    ),
    48: ("annotate/test_api.py::test_two_answers_to_one_image_are_one_200_and_one_409_and_both_are_kept",),
}


@pytest.mark.parametrize("number", CASES)
def test_every_case_has_a_test_that_runs(number: int, check_guard: Callable[[str, str], None]) -> None:
    for guard in CASES[number]:
        check_guard(guard, f"case {number}")


def test_every_case_of_the_page_is_guarded(repo_root: Path) -> None:
    page = (repo_root / "docs" / "files.md").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == list(CASES)
    assert list(CASES) == [*range(1, 39), 41, 44, *range(45, 49)]


def test_every_reason_is_on_the_page_and_no_other(repo_root: Path) -> None:
    page = (repo_root / "docs" / "files.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|.*\|$", page.partition("## Pixels")[0], re.MULTILINE)
    told = {reason for row in rows for reason in re.findall(r"`([a-z_]+)`", row)}
    given = {"bad_name", "failed"}  # these two are no ImageError
    for path in (repo_root / "src" / "hundredfold" / "data").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ImageError":
                given |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_bad":  # a member of an archive
                given |= {node.args[1].value} if isinstance(node.args[1], ast.Constant) else set()
    assert told == given
    assert len(told) > 15


def test_every_window_is_on_the_page(repo_root: Path) -> None:
    from hundredfold.config.scan import WINDOWS

    page = (repo_root / "docs" / "files.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (-?\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert {name: (float(centre), float(width)) for name, centre, width in rows} == WINDOWS
