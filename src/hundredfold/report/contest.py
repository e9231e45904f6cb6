"""Which method is best here: chosen on the training labels, set beside all others on the test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hundredfold.learn.compare import Method, against, compare, smallest_p
from hundredfold.metrics import MIN_GROUPS
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline, labels_words
from hundredfold.report.words import LEVEL, features_words, interval, method_words, probability, share, shown

__all__ = ["best_sentences", "contest", "contestant", "is_capped", "is_told_apart"]

NAMED = 3


def contestant(material: Material, at: Headline) -> Headline:
    """The method that cross-validation on the training labels chose; where none was, the headline's."""
    choice = _choice(material)
    if choice and material.predictions is not None:
        wanted = Headline(str(choice["encoder"]), str(choice["classifier"]), int(choice["n_per_class"]))
        for chosen in (wanted, Headline(wanted.encoder, wanted.classifier, at.n_per_class)):
            if (chosen.encoder, chosen.classifier) in _methods(material.predictions, chosen.n_per_class):
                return chosen
    return at


def contest(material: Material, at: Headline | None) -> pd.DataFrame | None:
    """The contestant beside every other method, see :func:`~hundredfold.learn.compare.compare`.

    ``None`` where there are no predictions, no other method, or no table that tells the groups.
    """
    if at is None or material.predictions is None or material.images is None:
        return None
    mine = contestant(material, at)
    methods = _methods(material.predictions, mine.n_per_class)
    pairs = against((mine.encoder, mine.classifier), methods)
    if not pairs:
        return None
    draws = material.state.get("compare", {}).get("draws")
    return compare(
        material.predictions, material.test_pieces, pairs, n_per_class=mine.n_per_class, draws=draws
    )


def is_told_apart(material: Material, at: Headline) -> bool:
    """Whether there are methods to compare, on test images of so many groups that differences are judged."""
    if material.predictions is None or material.images is None:
        return False
    methods = _methods(material.predictions, contestant(material, at).n_per_class)
    return len(methods) > 1 and material.test_pieces.nunique() >= MIN_GROUPS


def best_sentences(material: Material, table: pd.DataFrame) -> list[str]:
    """What was chosen without the test set, and how it does there beside the others."""
    first = table.iloc[0]
    budget = labels_words(int(first["n_per_class"]), capped=is_capped(material, int(first["n_per_class"])))
    name, choice = _named((first["encoder"], first["classifier"])), _choice(material)
    if choice and (choice["encoder"], choice["classifier"]) == (first["encoder"], first["classifier"]):
        told = (
            f"Best by cross-validation on the training labels, without the test images: {name}"
            f"{_reached(choice)}{_no_part(table)}. "
            f"On the test images it reaches {share(first['accuracy'])} with {budget}"
        )
    else:
        rule = "" if material.predictor else " (taken by a fixed rule, not chosen by results)"
        told = f"With {budget} {name}{rule} reaches {share(first['accuracy'])} on the test images"
    if table["p_holm"].isna().all():
        few = f"the test images are of fewer than {MIN_GROUPS} groups"
        answer = [f"{told}; which method is best cannot be told, since {few}."]
    else:
        answer = [f"{told}; {_beside(table)}.", _how_sure(table)]
    return [*answer, *_by_split(material, table), *_fitted(material)]


def _by_split(material: Material, table: pd.DataFrame) -> list[str]:
    """What a method reaches that is chosen for each test split without its test images."""
    found = material.evaluation.get("chosen_by_split")
    if not found:
        return []
    methods, ends, budget = found["methods"], (found["low"], found["high"]), int(found["n_per_class"])
    splits = sum(count for _, _, count in methods)
    names = [f"{_named((encoder, classifier))} in {count}" for encoder, classifier, count in methods]
    spread = "" if None in ends else f" (95\u00a0%\u00a0interval {interval(*ends)})"
    return [(
        f"A method chosen by cross-validation reaches {share(found['balanced_accuracy'])}{spread} with "
        f"{labels_words(budget, capped=is_capped(material, budget))}: it was chosen anew for each of the "
        f"{splits} test splits, on its training labels alone ({', '.join(names)}){_no_part(table)}."
    )]


def _fitted(material: Material) -> list[str]:
    """Why the run's predictor is another than the method that was chosen, where it is."""
    facts, choice = material.predictor, _choice(material)
    if facts is None or not choice:
        return []
    chosen, taken = ((str(one[name]), str(one["classifier"])) for one, name in (
        (choice, "encoder"), (facts, "embeddings"),
    ))
    if chosen == taken:
        return []
    told = f"The run's predictor is another, {_named(taken)}: it learned from all training labels"
    reached = facts.get("cross_validation") or {}
    names = ["/".join(method) for method in (taken, chosen)]
    if not reached.keys() >= set(names):
        return [f"{told}, and was not chosen among these methods."]
    own, other = (share(float(reached[name]), 3) for name in names)
    few = labels_words(int(choice["n_per_class"]), capped=is_capped(material, int(choice["n_per_class"])))
    return [f"{told}, of which cross-validation gave it {own} and the method chosen with {few} {other}."]


def is_capped(material: Material, n_per_class: int) -> bool:
    """Whether a class has fewer labels than that, and gives all it has."""
    if material.curve is None:
        return False
    return bool(material.curve.loc[material.curve["n_per_class"] == n_per_class, "capped"].any())


def _choice(material: Material) -> Mapping[str, Any]:
    """What cross-validation chose, if there were several; without labels to hold out the first was taken."""
    choice = material.evaluation.get("choice") or {}
    return choice if len(choice.get("accuracy") or ()) > 1 else {}


def _reached(choice: Mapping[str, Any]) -> str:
    value = choice["accuracy"].get(f"{choice['encoder']}/{choice['classifier']}")
    return "" if value is None else f" ({share(float(value))} there)"


def _no_part(table: pd.DataFrame) -> str:
    """That the network was not among those to choose from: it would be trained five times more a draw."""
    there = (table[["classifier", "other_classifier"]].astype(str) == "network").any(axis=None)
    return "; the network, trained end to end, took no part in that" if there else ""


def _methods(predictions: pd.DataFrame, n_per_class: int) -> list[Method]:
    rows = predictions[predictions["n_per_class"].astype(int) == n_per_class]
    found = rows[["encoder", "classifier"]].drop_duplicates().astype(str)
    return sorted(zip(found["encoder"], found["classifier"], strict=True))


def _beside(table: pd.DataFrame) -> str:
    """How many of the others it is ahead of, behind, or not told from; the nearest are named."""
    sure = table["p_holm"] < LEVEL
    ahead, behind = table[sure & (table["difference"] > 0)], table[sure & (table["difference"] < 0)]
    open_ = table[~sure]
    many = len(table)
    if len(open_) == many:
        others, every = f"any of the {many} other methods", "every difference"
        if many == 1:
            others, every = "the other method", "the difference"
        return f"it cannot be told from {others} there: {every} may be chance ({_nearest(open_)})"
    parts = []
    if len(ahead):
        parts.append(f"it is ahead of {_how_many(len(ahead), many)}, {_lead(ahead)}")
    if len(behind):
        worst = behind.sort_values("difference").iloc[0]
        some = str(len(behind)) if len(ahead) else _how_many(len(behind), many)
        parts.append(f"it is behind {some}, {'most ' if len(behind) > 1 else ''}by {_gap(worst)}")
    if len(open_):
        names = [_named(_other(row)) for _, row in open_.head(NAMED).iterrows()]
        more = f" and {len(open_) - NAMED} more" if len(open_) > NAMED else ""
        parts.append(f"it cannot be told from {', '.join(names)}{more}")
    return ", and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _how_many(count: int, many: int) -> str:
    if many == 1:
        return "the other method"
    if count == many:
        return "both others" if many == 2 else f"all {many} others"
    return f"{count} of the {many} others"


def _lead(ahead: pd.DataFrame) -> str:
    nearest = ahead.sort_values("difference").iloc[0]
    return f"of the nearest by {_gap(nearest)}" if len(ahead) > 1 else f"by {_gap(nearest)}"


def _gap(row: pd.Series) -> str:
    p = probability(row["p_holm"], smallest_p(int(row["family"])))
    return (
        f"{share(abs(row['difference']))} ({_named(_other(row))}; 95\u00a0%\u00a0interval of the difference "
        f"{interval(row['low'], row['high'])}, p\u00a0{p})"
    )


def _nearest(rows: pd.DataFrame) -> str:
    row = rows.sort_values("difference").iloc[0]
    alone = "" if row["low"] <= 0 <= row["high"] else (
        f", which alone would be a difference, but it is one of {row['family']} comparisons: corrected "
        f"p\u00a0{probability(row['p_holm'], smallest_p(int(row['family'])))}"
    )
    return (
        f"to {_named(_other(row))} it is {share(row['difference'])}, 95\u00a0%\u00a0interval "
        f"{interval(row['low'], row['high'])}{alone}"
    )


def _how_sure(table: pd.DataFrame) -> str:
    many = len(table)
    unpaired = int((~table["paired"].astype(bool)).sum())
    drawn = "the same draws of labels" if not unpaired else (
        f"other draws of labels in {unpaired} of {many} comparisons, which are less sure for that"
    )
    corrected = (
        f"; p-values are corrected for {many} comparisons (Holm), intervals are each for its difference alone"
        if many > 1 else ""
    )
    return f"All are compared on the same {table['n_test'].iloc[0]:,} test images and {drawn}{corrected}."


def _other(row: pd.Series) -> Method:
    return str(row["other_encoder"]), str(row["other_classifier"])


def _named(method: Method) -> str:
    encoder, classifier = method
    return f"{method_words(classifier)} on {features_words(shown(encoder))}"
