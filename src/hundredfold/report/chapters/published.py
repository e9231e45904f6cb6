"""Chapter "Beside the published figures": what the paper reports of the data set, and our distance."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from hundredfold.data.datasets.published import published_figures
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.figures import learning_curves
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline, at_point, curve_points, rows_of
from hundredfold.report.words import encoder_label, in_lines, method_label, share

__all__ = ["published_chapter"]

#: the paper's methods, in the order of its figures
METHODS = ("svm", "logistic", "knn", "last_layer", "network")
LEVELS = {"literature": "literature,\nall labels: ", "network": "end to end,\nall labels: "}
TITLES = {"all": "All classes", "250+": "Classes with 250 or more labelled training images"}
FROM = (
    "Published: Nielsen et al. 2023, read off their plots to within .005, on their test set. Ours is on the "
    "test set of this run, so a difference is no test of either."
)
CAPTION = (
    "Drawn through, with its band: this run ({}). Dashed, in the same colour: published; level: on all "
    "labels. Hollow: some classes have fewer labels. The network, end to end, is the "
    "supervised one on the same labels."
)
RECALL_AT = 100
NOTHING = (np.nan, np.nan, np.nan)


def published_chapter(material: Material, at: Headline | None) -> Chapter | None:
    """The data set and its split, and figures and tables of both; ``None`` for a user's own images."""
    facts = material.state.get("dataset")
    if facts is None:
        return None
    sentences = [f"{facts['title']}. {facts['split']}", *facts["notes"]]
    table = published_figures(facts["name"])
    items: list[Exhibit | Listing] = []
    if at is not None and len(table):
        sentences.append(FROM)
        for variant, curve in _curves(material):
            ours, published = _ours(curve_points(curve), at), table[table["variant"] == variant]
            items += _compared(ours, published, variant, encoder_label(at.encoder))
        items += _recalls(material, table[table["variant"] == "recall"], at)
    return Chapter("published", "Beside the published figures", sentences, items)


def _curves(material: Material) -> Iterable[tuple[str, pd.DataFrame]]:
    """Variant → the curve that may stand beside it."""
    least = int(material.settings.get("curve", {}).get("min_class_size") or 0)
    if material.curve is not None and least in {0, 250}:
        yield ("250+" if least else "all"), material.curve
    if material.large_classes is not None:
        yield "250+", material.large_classes


def _ours(points: pd.DataFrame, at: Headline) -> pd.DataFrame:
    """The classifiers on the headline's encoder, and the network that began at the initial weights."""
    vectors = (points["encoder"] == at.encoder) & (points["classifier"] != "network")
    network = (points["encoder"] == "initial") & (points["classifier"] == "network")
    return points[(vectors | network) & points["classifier"].isin(METHODS)]


def _compared(
    ours: pd.DataFrame, published: pd.DataFrame, variant: str, features: str
) -> list[Exhibit | Listing]:
    levels = published[published["n_per_class"].isna()].set_index("classifier")["value"]
    published = published[published["n_per_class"].notna()]
    ours = ours[ours["n_per_class"] <= published["n_per_class"].max()]
    both = _side_by_side(ours, published)
    if ours.empty:
        return []
    shown = {LEVELS[str(name)]: float(value) for name, value in levels.items()}
    names = {name: in_lines(method_label(name), 13) for name in METHODS}
    figure = learning_curves(
        ours, by="classifier", names=names, ylabel="balanced accuracy", published=published,
        references={f"{words}{share(value, 3)}": value for words, value in shown.items()},
    )
    title, file = f"{TITLES[variant]}: ours and published", f"published_{variant.rstrip('+')}"
    last = both.dropna(subset="difference").groupby("classifier", sort=False).tail(1)
    told = "; ".join(
        f"{method_label(row.classifier)} at {row.n_per_class:,} labels per class {share(row.value)}, "
        f"published {share(row.published)}" for row in rows_of(last)
    )
    alt = f"Learning curves beside published ones: {told}."
    return [
        Exhibit(file, title, CAPTION.format(features), alt, figure, both, wide=True),
        _numbers(both, variant, file, shown),
    ]


def _side_by_side(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """``classifier, n_per_class, value, low, high, capped, published, difference``, of either or both."""
    keys = ["classifier", "n_per_class"]
    theirs = published[[*keys, "value"]].rename(columns={"value": "published"})
    both = ours[[*keys, "value", "low", "high", "capped"]].astype({"classifier": "str"}).merge(
        theirs.astype({"n_per_class": "int64"}), on=keys, how="outer"
    )
    return both.assign(difference=both["value"] - both["published"])


def _numbers(both: pd.DataFrame, variant: str, file: str, levels: dict[str, float]) -> Listing:
    methods = [name for name in METHODS if name in set(both["classifier"])]
    values = both[["value", "published", "difference"]].to_numpy(float)
    cells = dict(zip(zip(both["n_per_class"], both["classifier"], strict=True), values, strict=True))
    rows: list[list[Cell | str]] = [
        [f"{budget:,}", *(_cell(*cells.get((budget, name), NOTHING)) for name in methods)]
        for budget in sorted(both["n_per_class"].unique())
    ]
    told = "; ".join(f"{' '.join(words.split())} {share(value, 3)}" for words, value in levels.items())
    return Listing(
        f"{file}_numbers", f"{TITLES[variant]}: balanced accuracy by labels per class",
        f"Below each value: the published one, and ours less it. Published besides: {told}.",
        ["labels per class", *(method_label(name) for name in methods)], rows, both, words=0, wide=True,
    )


def _cell(value: float, published: float, difference: float) -> Cell:
    told = (share(published, 3) if np.isfinite(published) else "", _signed(difference))
    return Cell(share(value, 3), note=", ".join(part for part in told if part))


def _signed(difference: float) -> str:
    words = share(difference, 3) if np.isfinite(difference) else ""
    return f"+{words}" if difference > 0 else words


def _recalls(material: Material, published: pd.DataFrame, at: Headline) -> list[Listing]:
    """Recall of each class at 100 labels per class by the SVM, where it was published and measured."""
    if material.curve is None or published.empty or material.settings.get("curve", {}).get("min_class_size"):
        return []  # of fewer classes, another task
    rows = at_point(material.curve, Headline(at.encoder, "svm", RECALL_AT))
    found = rows[rows["metric"] == "recall"].groupby(rows["class"].astype("str"))
    ours = pd.DataFrame({"value": found["value"].mean(), "n_test": found["n_test"].max()})
    if ours.empty:
        return []
    both = published[["class", "value"]].rename(columns={"class": "label", "value": "published"})
    both = both.merge(ours, left_on="label", right_index=True)
    both = both.assign(difference=both["value"] - both["published"])
    cells: list[list[Cell | str]] = [
        [row.label, share(row.value), share(row.published), _signed(row.difference), f"{row.n_test:,}"]
        for row in rows_of(both)
    ]
    return [Listing(
        "published_recall", f"Recall of each class, SVM, {RECALL_AT} labels per class",
        f"Ours: {encoder_label(at.encoder)}. In the order of the paper. A class with few test images moves "
        "by chance.",
        ["class", "ours", "published", "difference", "test images"], cells, both,
    )]
