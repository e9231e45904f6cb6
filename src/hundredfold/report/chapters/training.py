"""Chapter "Pre-training": what the network saw, and whether it learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hundredfold.report.chapters.base import Chapter, Exhibit, Listing
from hundredfold.report.figures import over_steps
from hundredfold.report.material import Material
from hundredfold.report.sheets import view_sheet, views_of
from hundredfold.report.words import share, shown
from hundredfold.views.multicrop import MultiCrop

__all__ = ["learned", "training_chapter"]

IMAGES_SHOWN = 6
#: Images behind a kNN accuracy whose number is not known, at least.
FEWEST = 20
#: Features of a smaller effective rank are nearly one vector for all images.
COLLAPSED = 1.5


def training_chapter(material: Material) -> Chapter | None:
    """The view sheet and the monitor's curves; ``None`` if nothing was pre-trained."""
    items: list[Exhibit | Listing] = []
    if (sheet := _views(material)) is not None:
        items.append(sheet)
    if material.metrics is not None:
        items += _curves(material.metrics)
    if not items:
        return None
    return Chapter("training", "Pre-training", _sentences(material), items)


def _sentences(material: Material) -> list[str]:
    facts, metrics = material.pretraining, material.metrics
    if not facts:
        return []
    told = []
    if {"images", "steps", "backbone"} <= facts.keys():
        told.append(
            f"DINO (Caron et al. 2021) trained {facts['backbone']} on {facts['images']:,} images without "
            f"using their labels, in {_made(facts, metrics)}{facts['steps']:,} steps"
            + (f" of {facts['batch_size']:,} images" if facts.get("batch_size") else "")
            + _time(metrics)
            + "."
        )
    if facts.get("transductive") or (material.evaluation.get("transductive") or {}).get("pretrained"):
        told.append("Test images, without their labels, were among them.")
    return [*told, *learned(metrics)]


def _made(facts: Mapping[str, Any], metrics: pd.DataFrame | None) -> str:
    """How many of the steps were made, where it is not all of them."""
    made = facts["steps"] if metrics is None else int(metrics["step"].max()) + 1
    return f"{made:,} of " if made < facts["steps"] else ""


def learned(metrics: pd.DataFrame | None) -> list[str]:
    """Whether the monitor saw the encoder become better than it was at the start, in one or two sentences.

    A change below 1/sqrt(n) is left open: two standard errors of a paired difference where a quarter of
    the n images changes sides. Nothing is said of a run whose start was not measured.
    """
    told = []
    if metrics is not None and (knn := _start_and_end(metrics, "knn_balanced_accuracy")) is not None:
        start, end = knn
        known = "knn_images" in metrics
        count = int(metrics["knn_images"].max()) if known else FEWEST
        chance = 1 / math.sqrt(count)
        images = f"{count:,} images; " if known else ""
        verdict = (
            "It learned" if end > start + chance
            else "It lost what it knew" if end < start - chance
            else "Whether it learned cannot be told from so few images"
        )
        told.append(
            f"{verdict}: the nearest labelled training images name an image's class with a balanced accuracy "
            f"of {share(end)}, at the start {share(start)} ({images}a difference below "
            f"{share(chance)} may be chance)."
        )
    if (rank := _start_and_end(metrics, "rankme")) is not None:
        start, end = rank
        verdict = (
            "the features have collapsed" if end < COLLAPSED
            else "they tell more apart than at the start" if end > start
            else "they use fewer directions than at the start"
        )
        told.append(
            f"The effective rank of the features (RankMe) went from {start:.1f} to {end:.1f}: {verdict}."
        )
    return told


def _start_and_end(metrics: pd.DataFrame | None, column: str) -> tuple[float, float] | None:
    if metrics is None or column not in metrics:
        return None
    known = metrics.loc[metrics[column].notna(), ["step", column]]
    if len(known) < 2 or known["step"].iloc[0] != 0:
        return None
    return float(known[column].iloc[0]), float(known[column].iloc[-1])


def _time(metrics: pd.DataFrame | None) -> str:
    if metrics is None or "seconds" not in metrics:
        return ""
    minutes = max(1, round(float(metrics["seconds"].sum()) / 60))
    return f" and {minutes:,} {'minute' if minutes == 1 else 'minutes'}"


def _views(material: Material) -> Exhibit | None:
    facts = {**material.settings.get("pretrain", {}), **material.pretraining}
    if material.images is None or material.store is None or not facts.get("image_size"):
        return None
    size = int(facts["image_size"])
    views = MultiCrop(
        str(facts["modality"]),
        image_size=size,
        local_size=int(facts.get("local_size") or size // 2),
        local_crops=int(facts["local_crops"]),
        global_scale=tuple(facts["global_scale"]),
        local_scale=tuple(facts["local_scale"]),
        seed=int(facts.get("seed", 0)),
    )
    stored = set(material.store.ids)
    ids = pd.Series([name for name in material.images.pool.ids if name in stored], dtype=object)
    chosen = list(ids.sample(min(IMAGES_SHOWN, len(ids)), random_state=0))
    if not chosen:
        return None
    return Exhibit(
        "views",
        "What the network sees",
        "Left the image, then the random views that pre-training draws of it. A view should show nothing "
        "that could not be a real image of the same kind, and must not change the diagnosis. "
        f"Setting: {shown(facts['modality'])}.",
        f"A sheet of {len(chosen)} images, each with two large random views"
        + (f" and {views.local_crops} small ones." if views.local_crops else "."),
        view_sheet(views_of(chosen, material.store, views)),
        pd.DataFrame({"id": chosen}),
        photographic=True,
        wide=True,
    )


def _curves(metrics: pd.DataFrame) -> list[Exhibit]:
    drawn = [
        _curve(
            metrics,
            "loss",
            {"loss": "loss"},
            title="Loss",
            ylabel="loss (nats)",
            caption="Pale: each step; strong: running median. It should fall below the dashed line, the loss "
            "of a network that tells nothing apart.",
            limit=("max_entropy", "uninformed"),
            smooth=True,
        ),
        _curve(
            metrics,
            "entropy",
            {"teacher_entropy": "teacher", "student_entropy": "student", "marginal_entropy": "average"},
            title="Entropy",
            ylabel="entropy (nats)",
            caption="How undecided the outputs are. The teacher at the dashed maximum, or at 0, means "
            "collapse; that of the average output over images should stay high.",
            limit=("max_entropy", "maximum"),
            floor=0.0,
        ),
        _curve(
            metrics,
            "spread",
            {"spread": "spread"},
            title="Spread of the features",
            ylabel="spread",
            caption="How different the features of different images are. A fall to 0 means collapse.",
            floor=0.0,
        ),
        _curve(
            metrics,
            "agreement",
            {"agreement": "agreement"},
            title="Agreement of student and teacher",
            ylabel="share of images",
            caption="How often the student, who sees one view, and the teacher, who sees another, choose the "
            "same prototype. It should rise while the average entropy above stays high.",
            floor=0.0,
        ),
        _curve(
            metrics,
            "rank",
            {"rankme": "RankMe", "rank": "rank"},
            title="Rank of the features",
            ylabel="effective rank",
            caption="How many independent directions the features use (RankMe, Garrido et al. 2023), on the "
            "same plain images from the start on. Near 1, all images look alike to the network.",
            floor=0.0,
        ),
        _curve(
            metrics,
            "knn",
            {"knn_balanced_accuracy": "balanced", "knn": "accuracy"},
            title="Nearest neighbours, while training",
            ylabel="kNN accuracy",
            caption="How often the nearest labelled training images of other groups name an image's class, "
            "each class counting the same; step 0 is the network before. Test images take no part.",
        ),
        _curve(
            metrics,
            "learning_rate",
            {"learning_rate": "learning rate"},
            title="Learning rate",
            ylabel="learning rate",
            caption="As it was set: it rises during warm-up, then falls along a cosine.",
            floor=0.0,
        ),
    ]
    return [exhibit for exhibit in drawn if exhibit is not None]


def _curve(
    metrics: pd.DataFrame,
    name: str,
    lines: dict[str, str],
    *,
    title: str,
    ylabel: str,
    caption: str,
    limit: tuple[str, str] | None = None,
    smooth: bool = False,
    floor: float | None = None,
) -> Exhibit | None:
    known = {column for column in lines if column in metrics and metrics[column].notna().any()}
    lines = {column: words for column, words in lines.items() if column in known}
    if not lines:
        return None
    if limit is not None and limit[0] not in metrics:
        limit = None
    columns = ["step", *lines, *([limit[0]] if limit else [])]
    table = metrics.loc[metrics[list(lines)].notna().any(axis=1), columns]
    figure = over_steps(metrics, lines=lines, ylabel=ylabel, limit=limit, smooth=smooth, floor=floor)
    return Exhibit(f"training_{name}", title, caption, _alt(table, lines, limit), figure, table)


def _alt(table: pd.DataFrame, lines: dict[str, str], limit: tuple[str, str] | None) -> str:
    steps = table["step"]
    told = []
    for column, words in lines.items():
        known = table[column].dropna()
        told.append(f"{words} from {known.iloc[0]:.4g} to {known.iloc[-1]:.4g}")
    if limit is not None and table[limit[0]].notna().any():
        told.append(f"{limit[1]} at {table[limit[0]].dropna().iloc[-1]:.4g}")
    return f"Lines over training steps {steps.min():,} to {steps.max():,}: {'; '.join(told)}."
