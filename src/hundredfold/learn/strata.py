"""The test images by site and by subgroup; and each site judged by labels of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.learn.budgets import draw_labels
from hundredfold.learn.refits import Refit, refitted
from hundredfold.learn.scores import Said
from hundredfold.learn.study import Cell, Study, Vectors
from hundredfold.metrics import WITHOUT_TINY, Resamples, group_codes, measure

__all__ = ["COLUMNS", "by_stratum", "without_site"]

COLUMNS = (
    "by", "stratum", "labels", "encoder", "classifier", "n_per_class", "class", "metric", "value", "low",
    "high", "n_test", "n_groups", "n_classes",
)
METRICS = ("balanced_accuracy", WITHOUT_TINY, "recall")
#: What the labels were: those of the curve, or those of the other sites only.
OWN, OTHERS = "as in the curve", "of the other sites"

Mask: TypeAlias = NDArray[np.bool_]


def by_stratum(
    study: Study, said: Mapping[Cell, Said], subgroups: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Balanced accuracy and recall among the test images of each site and each value of a subgroup.

    Args:
        study: the test images, and how many resamples there are for the intervals: of the groups that have
            images in the stratum.
        said: what the classifiers of the curve say of them.
        subgroups: ``[n, k]`` values of the test images beside their site; missing where not known. A column
            with a single value is left out.

    Returns:
        the columns ``COLUMNS``: ``value`` is the mean over the repeats, ``class`` is missing for the balanced
        accuracy, which is over the ``n_classes`` that have test images in the stratum, and for that without
        the classes of fewer than ten test images there.
    """
    rows: list[dict[str, Any]] = []
    sites = study.trial.test.frame[["site"]]
    strata = sites if subgroups is None else pd.concat([sites, subgroups], axis=1)
    for column in strata:
        values = strata[column]
        if values.nunique() < 2:
            continue
        for value in sorted(values.dropna().unique()):
            own = (values == value).to_numpy(dtype=bool)
            place = {"by": column, "stratum": value, "labels": OWN}
            for cell, one in said.items():
                part = Said(one.predicted[:, own], one.scores[:, own])
                rows += [place | row for row in _measured(study, cell, own, part)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def without_site(
    study: Study, vectors: Mapping[str, tuple[Vectors, Vectors]], *, jobs: int
) -> pd.DataFrame:
    """Each site's test images judged by classifiers that learned from labels of the other sites only.

    The test images stay those of the curve, so that no image from which an encoder learned is judged, and
    the difference to :func:`by_stratum` is what labels of the own site are worth. Training images whose site
    is not known are left out, since they may be of the site in question.

    Args:
        study: both sides, with sites.
        vectors: encoder → vectors of both sides.
        jobs: processes.

    Returns:
        the columns ``COLUMNS``; a site is missing where the others have no labels of two classes.
    """
    trial, budget, repeats = study.trial, study.headline, range(study.choices.repeats)
    learned, asked = trial.train.frame["site"], trial.test.frame["site"]
    sites = [
        str(site) for site in sorted(asked.dropna().unique())
        if len(np.unique(trial.train_codes[_others(learned, site)])) > 1
    ]
    refits = [
        Refit(
            encoder, repeat, _drawn(study, _others(learned, site), repeat),
            test[(asked == site).to_numpy(dtype=bool)],
        )
        for site in sites for encoder, (_, test) in vectors.items() for repeat in repeats
    ]
    train = {name: sides[0] for name, sides in vectors.items()}
    outcomes = iter(refitted(
        refits, trial, train, study.shallow, preset=study.choices.preset, jobs=jobs,
        title="Leaving out each site",
    ))
    rows: list[dict[str, Any]] = []
    for site in sites:
        own = (asked == site).to_numpy(dtype=bool)
        place = {"by": "site", "stratum": site, "labels": OTHERS}
        for encoder in vectors:
            found = [next(outcomes) for _ in repeats]
            for number, classifier in enumerate(study.shallow):
                part = Said(
                    np.stack([one.predicted[number] for one in found]),
                    np.stack([one.scores[number] for one in found]),
                )
                cell = Cell(encoder, classifier, budget)
                rows += [place | row for row in _measured(study, cell, own, part)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _others(sites: pd.Series, site: object) -> Mask:
    return (sites.notna() & (sites != site)).to_numpy(dtype=bool)


def _drawn(study: Study, among: Mask, repeat: int) -> NDArray[np.int64]:
    rows, trial = np.flatnonzero(among), study.trial
    ids, codes = trial.train.ids[rows], trial.train_codes[rows]
    return rows[draw_labels(ids, codes, study.headline, repeat=repeat, seed=study.seed)]


def _measured(study: Study, cell: Cell, own: Mask, said: Said) -> list[dict[str, Any]]:
    """The measures of the test images ``own`` [n] from what is said of them."""
    trial, count = study.trial, study.choices.bootstrap
    group = group_codes(trial.test_groups[own].tolist(), int(own.sum()))
    truth = trial.test_codes[own]
    resamples = Resamples.draw(group, len(said.predicted), count, study.seed) if count else None
    return [
        {
            "encoder": cell.encoder, "classifier": cell.classifier, "n_per_class": cell.budget,
            "class": None if one.class_number is None else trial.classes[one.class_number],
            "metric": one.metric, "value": float(np.mean(one.values)), "low": one.low, "high": one.high,
            "n_test": one.n_test, "n_groups": len(np.unique(group)), "n_classes": len(np.unique(truth)),
        }
        for one in measure(truth, *said, resamples) if one.metric in METRICS
    ]
