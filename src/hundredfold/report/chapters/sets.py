"""Chapter "When a person should look": sets of classes that cannot be ruled out, and what referral brings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.clinical_figures import referral_curve
from hundredfold.report.material import Material
from hundredfold.report.referral import LEVELS, Referral, coverage_of, coverage_table, referral_table
from hundredfold.report.tables import Headline, at_point, labels_words, listed, rows_of
from hundredfold.report.words import interval, percent_of, share, shown

__all__ = ["sets_chapter"]

LIMITS = (
    "That is a promise for images like the labelled ones, on average: not for one patient, and not for "
    "images of another hospital or device."
)
WHOM = {
    "marginal": "Nor is it one for each class: some may be missed more often, see the table. A promise for "
    "each class that has the labels: hundredfold fit --sets class-wise.",
    "class-wise": "It is one for each class that has the labels.",
}
ALIKE = (
    "All figures here count the classes as if they were equally common, as predict does without --prevalence."
)


def sets_chapter(material: Material, at: Headline) -> Chapter | None:
    """What the headline's sets hold on the test images; ``None`` where there are none."""
    found = Referral.of(material, at)
    if found is None or len(np.unique(found.found.truth)) < 2:
        return None
    coverage, kind = coverage_of(material)
    table = coverage_table(found, coverage, kind)
    if table.empty:
        return None
    curve = referral_table(found, [*LEVELS, coverage], kind)
    sentences = [
        _meaning(coverage), *_whose(material, at),
        _measured(table.iloc[0], coverage, bootstrapped=found.found.bootstrapped),
        _referred(curve, coverage),
        f"{LIMITS} {WHOM[kind]}", *_few(table), *_unusual(material), _mix(material),
    ]
    items: list[Exhibit | Listing] = [_figure(curve), _listing(table, coverage)]
    return Chapter("sets", "When a person should look", sentences, items)


def _meaning(coverage: float) -> str:
    return (
        "Beside the label stands the set of the classes that cannot be ruled out: the most probable one, and "
        "those that are not much less probable. How much was chosen on training labels that were held out by "
        f"group, so that {100 * coverage:g}\u00a0% of the images have their true class in the set. Test "
        "images had no part in it."
    )


def _whose(material: Material, at: Headline) -> list[str]:
    """That these are not the predictor's own sets, where classifiers of fewer labels were judged."""
    labels = sum((material.predictor or {}).get("labels", {}).values())
    if material.evaluation.get("external") or not labels:
        return []
    capped = material.curve is not None and bool(at_point(material.curve, at)["capped"].any())
    told = (
        f"The figures are of classifiers of {labels_words(at.n_per_class, capped=capped)}; the predictor "
        f"learned from {labels:,} labels, and its sets may be smaller."
    )
    return [told]


def _measured(row: pd.Series, coverage: float, *, bootstrapped: bool = True) -> str:
    ends = interval(row["covered_low"], row["covered_high"])
    told = f"On the test images the true class is in {share(row['covered'])} of the sets"
    labels = row["n_held_out"]
    spread = np.sqrt(coverage * (1 - coverage) / (labels + 2))  # of the beta distribution (Vovk 2012)
    luck = (
        f"Another draw of {labels:,.0f} labels would give another value: two times in three within "
        f"{share(spread)} of what is promised, and farther from it where the labels are of few patients."
    )
    if not ends:
        few = "they are of too few groups to say how sure that is"
        why = few if bootstrapped else "no interval was taken"
        return f"{told}; {why}. {luck}"
    told = f"{told} (95\u00a0%\u00a0interval {ends}): "
    if row["covered_high"] >= coverage:
        more = row["covered_low"] > coverage
        return f"{told}{'more than' if more else 'as'} promised. {luck}"
    if row["covered"] > coverage - 2 * spread:
        return f"{told}less than promised, as may happen by chance. {luck}"
    return f"{told}less than promised, and not by chance. Do not rely on the sets before you know why."


def _referred(curve: pd.DataFrame, coverage: float) -> str:
    lines = curve[curve["kind"] == "line"]
    own = curve[(curve["kind"] == "sets") & (curve["level"] == coverage)].iloc[0]
    before = share(lines["right"].iloc[0])
    if own["referred"] == 0:
        return (
            f"No set holds more than one class: the label alone is right in {before} of the images, and no "
            "more was asked for. A higher coverage would send the doubtful images to a person."
        )
    if not np.isfinite(own["right"]):
        return "In some draw every set holds more than one class: a person would have to look at all images."
    ends = interval(own["low"], own["high"])
    sure = f" ({ends})" if ends else ""
    return (
        "If a person looks at every image whose set holds more than one class, "
        f"{percent_of(own['referred'])}\u00a0% of all, the label is right in {share(own['right'])}{sure} of "
        f"the others. If no person looks, it is right in {before} of all."
    )


def _few(table: pd.DataFrame) -> list[str]:
    lacking = table[table["class"].notna() & table["own"].isna()]["class"].tolist()
    return [f"Not enough labels for a promise of their own: {listed(lacking)}."] if lacking else []


def _unusual(material: Material) -> list[str]:
    """How often the predictor raises its alarm though the images are like those it learned from."""
    found = (material.predictor or {}).get("unusual")
    if not found:
        return []
    told = (
        f"The predictor calls {share(found['share'])} of the {found['images']:,} test images unusual, unlike "
        "those it learned from; of new images like these about .05 are to be expected."
    )
    return [told]


def _mix(material: Material) -> str:
    if not material.prevalence:
        return ALIKE
    told = ", ".join(f"{shown(name)} {share(value, 3)}" for name, value in material.prevalence.items())
    return f"All figures here are for prevalences as stated: {told}."


def _figure(curve: pd.DataFrame) -> Exhibit:
    own = curve[curve["kind"] == "sets"]
    told = "; ".join(
        f"coverage {row.level:g}: {share(row.referred)} referred, {share(row.right)} right"
        for row in rows_of(own)
    )
    caption = (
        "How often the label is right where no person looks, against the share of images that a person "
        "looks at, the least clear ones first. Dots: a person looks where the set holds more than one class, "
        "at the coverage beside the dot. Band: 95 % interval. The line ends where few images are left, or "
        "none that is wrong."
    )
    return Exhibit(
        "referral", "What referral brings", caption, f"{told}.", referral_curve(curve), curve,
    )


def _listing(table: pd.DataFrame, coverage: float) -> Listing:
    def value(row: object, of: str) -> Cell:
        low, high = getattr(row, f"{of}_low"), getattr(row, f"{of}_high")
        return Cell(share(getattr(row, of)), note=interval(low, high))

    def own(row: object) -> Cell | str:
        if pd.isna(getattr(row, "name")):  # noqa: B009
            return ""
        return "not enough labels" if np.isnan(getattr(row, "own")) else value(row, "own")  # noqa: B009

    rows: list[list[Cell | str]] = [
        [
            "all" if pd.isna(row.name) else shown(row.name), f"{row.n_test:,}", f"{row.n_held_out:,.0f}",
            value(row, "covered"), value(row, "one"), f"{row.size:.1f}", own(row),
        ]
        for row in rows_of(table.rename(columns={"class": "name"}))
    ]
    caption = (
        f"Promised: {share(coverage)} of all images; of each class only by sets made class-wise. Below each "
        "value: its 95 % interval."
    )
    head = [
        "class", "test images", "labels held out", "true class in the set", "sets of one class",
        "classes in a set", "in a class-wise set",
    ]
    return Listing("coverage", "Is the true class in the set?", caption, head, rows, table, wide=True)
