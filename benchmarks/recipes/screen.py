"""Which settings help at 100 labels per class, under one time budget? Chosen on the training side only.

::

    python benchmarks/weights.py --out lite0.safetensors
    python benchmarks/recipes/screen.py time ../shared/data/pbc_blood_cells --weights lite0.safetensors
    nice python benchmarks/recipes/screen.py screen ../shared/data/{pbc_blood_cells,busi_ultrasound} \
        --weights lite0.safetensors --minutes 8
    nice python benchmarks/recipes/screen.py confirm ../shared/data/* --weights lite0.safetensors --minutes 8
    python benchmarks/recipes/screen.py test ../shared/data/* --minutes 8
    python benchmarks/recipes/screen.py table

Each set is scanned and split as a user's run is, and its test images are left alone. The training side is
split again, by group and class: a recipe (``recipes.py``) is pre-trained on two thirds, and its features are
judged on the last third, by the curve of the package at 100 labels per class (five draws). One line a trial
goes to ``benchmarks/results/recipes.jsonl``. A trial that is there is not done again, and one that was killed
goes on at its last checkpoint, so the same command may be given as often as it takes.

Budgets: ``--minutes M`` means as many steps as fit into M minutes on a machine that does nothing else. The
seconds of a step are those that ``time`` noted in ``benchmarks/results/recipes_seconds.json``, so a recipe
with cheaper steps gets more of them, and a busy machine gives the same result as a quiet one. ``--steps N``
gives every recipe N steps; ``--minutes M --wall`` goes by the clock on the wall. ``confirm`` runs the default
and the best recipes of ``screen`` at the same budget with three seeds that chose nothing, and keeps their
encoders. ``test`` is for the end, when the choice is made: the encoders that are kept, judged once on the
test images by labels of the whole training side, in ``recipes_test.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from recipes import BASIS, DEFAULT, MODALITY, RECIPES
from tables import LABELS, MEASURES, append, lines, show, winners

import hundredfold
from hundredfold.config import CurveChoices, PretrainChoices
from hundredfold.data.splits import draw_splits
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import embed
from hundredfold.encode.opening import load_encoder
from hundredfold.files import write_json
from hundredfold.learn.curve import learning_curve
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory, software
from hundredfold.ssl.defaults import Circumstances, fit_settings
from hundredfold.ssl.device import device_type

RESULTS = Path(__file__).resolve().parent.parent / "results"
BACKBONE = "efficientnet_lite0"
INNER_TEST, INNER_SEED = 1 / 3, 1
DRAWS = 5
KEY = ("set", "recipe", "seed", "budget")
#: Steps that ``time`` looks at.
TIMED = 16


@dataclass(frozen=True)
class Budget:
    """How long every trial trains: minutes of a quiet machine, steps, or minutes on the wall."""

    minutes: float | None
    steps: int | None
    wall: bool

    @property
    def name(self) -> str:
        """The budget in words: trials with the same words may be compared."""
        if self.steps:
            return f"{self.steps} steps"
        return f"{self.minutes:g} minutes{' on the wall' if self.wall else ''}"

    def length(self, data: str, recipe: str, an_epoch: float) -> dict[str, float]:
        """The setting of ``pretrain`` that says how long."""
        if self.wall:
            return {"minutes": self.minutes or 0.0}
        steps = self.steps
        if steps is None:
            seconds = seconds_of(data, recipe)
            if seconds is None:
                raise SystemExit(f"{data}, {recipe}: no seconds a step are noted; run `screen.py time` first")
            steps = max(1, round(60 * (self.minutes or 0.0) / seconds))
        return {"epochs": steps / an_epoch}


@dataclass(frozen=True)
class Bench:
    """One data set, scanned once: its training side with an inner split."""

    name: str
    work: Path
    whole: ImageTable
    table: ImageTable
    store: PixelStore

    @classmethod
    def of(cls, data: Path, work: Path) -> Bench:
        """Scan ``data`` (or take what an earlier call scanned) and split its training side."""
        run = hundredfold.scan(
            data / "images", labels=data / "labels.csv", out=work / data.name / "scan",
            resume=(work / data.name / "scan").exists(),
        )
        whole = ImageTable.read(run / "images.parquet")
        side = whole.pool
        inner = draw_splits(side.assign(split=None), test_size=INNER_TEST, seed=INNER_SEED)
        return cls(data.name, work / data.name, whole, inner, PixelStore.open(run.pixels))

    def trial(self, folder: str) -> RunDirectory:
        """A run directory that pre-training takes for scanned; it holds no image of the test set."""
        run = RunDirectory.create(self.work / folder)
        self.table.write(run / "images.parquet")
        run.record(pixels=str(self.store.folder.resolve()))
        return run

    @property
    def kept(self) -> Path:
        """The folder of the encoders that ``confirm`` made."""
        return self.work / "confirmed"

    def judge(self, table: ImageTable, encoder: Path, folder: Path) -> dict[str, float]:
        """Balanced accuracy of each classifier on the images ``table`` holds out, mean over the draws."""
        labelled = table.select(table.labelled)
        vectors = embed(load_encoder(encoder), self.store, labelled, folder, batch=64, resume=folder.exists())
        choices = CurveChoices(budgets=(LABELS,), classifiers=MEASURES, repeats=DRAWS, bootstrap=0)
        table = learning_curve({"encoder": vectors}, labelled, choices, jobs=1).table()
        return {name: round(float(table.loc[("encoder", name), LABELS]), 4) for name in MEASURES}


def settings_of(bench: Bench, recipe: str, weights: str) -> dict[str, Any]:
    """The settings of a trial but for its length and seed; the batch is the package's choice, made plain."""
    found = Circumstances(len(bench.table.pool), bench.store.size, device_type())
    batch = fit_settings(PretrainChoices.of(), found).settings.batch_size
    return {
        "backbone": BACKBONE, "weights": weights, "modality": MODALITY.get(bench.name, "microscopy"),
        "batch_size": batch, **BASIS, **RECIPES[recipe].changes,
    }


def run_trial(bench: Bench, recipe: str, seed: int, budget: Budget, weights: str) -> dict[str, Any]:
    """Pre-train by the recipe, judge the encoder before and after, and give the line to keep."""
    run = bench.trial(folder_of(recipe, seed, budget))
    chosen = settings_of(bench, recipe, weights)
    length = budget.length(bench.name, recipe, an_epoch(bench, chosen))
    began = time.monotonic()
    hundredfold.pretrain(
        images=run.path, out=run.path, seed=seed, resume="pretrain" in run.state["stages"], **chosen, **length
    )
    facts, minutes = run.state["pretrain"], round((time.monotonic() - began) / 60, 2)
    return {
        "set": bench.name, "recipe": recipe, "seed": seed, "budget": budget.name,
        "changes": dict(RECIPES[recipe].changes), "steps": facts["steps"], "batch_size": facts["batch_size"],
        "images": facts["images"], "quiet_minutes": quiet_minutes(bench.name, recipe, facts["steps"]),
        "minutes": minutes, **bench.judge(bench.table, run / "encoder", run / "vectors"),
        "initial": initial(bench, run), "alarms": facts["alarms"], "defaults": facts["defaults"],
        "cores": os.cpu_count(), "software": software(),
    }


def folder_of(recipe: str, seed: int, budget: Budget) -> str:
    """The folder of a trial while it is under way."""
    return f"{recipe}-{seed}-{budget.name.replace(' ', '_')}"


def key_of(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one trial from the others."""
    return tuple(line[name] for name in KEY)


def an_epoch(bench: Bench, chosen: Mapping[str, Any]) -> int:
    """Steps in one pass over the images that a trial learns from."""
    images = len(bench.table.pool)
    return images // min(chosen["batch_size"], images)


def initial(bench: Bench, run: RunDirectory) -> dict[str, float]:
    """What the weights reach before any pre-training; judged once for each way they are looked at."""
    encoder = load_encoder(run / "initial")
    path = bench.work / f"initial-{encoder.hash[:16]}.json"
    if not path.exists():
        write_json(path, bench.judge(bench.table, run / "initial", run / "vectors_initial"))
    return dict(json.loads(path.read_text(encoding="utf-8")))


def time_recipes(bench: Bench, recipes: Sequence[str], weights: str) -> None:
    """Note the seconds a step of each recipe, views and optimiser included; wants a quiet machine."""
    for recipe in recipes:
        seconds = round(_seconds(bench, recipe, weights), 4)
        noted = seconds_noted()
        noted.setdefault(bench.name, {})[recipe] = seconds
        write_json(RESULTS / "recipes_seconds.json", noted)
        print(f"{bench.name} {recipe}: {seconds:.3f} s a step", flush=True)


def _seconds(bench: Bench, recipe: str, weights: str) -> float:
    """The mean of a step: of those at low resolution and of the others the median, by their share."""
    run = bench.trial(f"time-{recipe}")
    chosen = settings_of(bench, recipe, weights)
    hundredfold.pretrain(images=run.path, out=run.path, epochs=TIMED / an_epoch(bench, chosen), **chosen)
    took = [row["seconds"] for row in lines(run / "metrics.jsonl")]
    low = run.state["pretrain"]["low_steps"]
    parts = [part for part in (took[:low], took[low:]) if part]
    shutil.rmtree(run.path)
    return sum(len(part) * statistics.median(part[1:]) for part in parts) / len(took)


def seconds_noted() -> dict[str, dict[str, float]]:
    """Data set → recipe → seconds a step, as ``time`` noted them."""
    path = RESULTS / "recipes_seconds.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def seconds_of(data: str, recipe: str) -> float | None:
    """Seconds of a step of this recipe, or of the default if they are the same."""
    return seconds_noted().get(data, {}).get(RECIPES[recipe].paced_as)


def quiet_minutes(data: str, recipe: str, steps: int) -> float | None:
    """Minutes that the steps take on a machine that does nothing else, where ``time`` was run."""
    seconds = seconds_of(data, recipe)
    return None if seconds is None else round(steps * seconds / 60, 2)


def try_all(
    benches: Sequence[Bench], recipes: Sequence[str], budget: Budget, given: argparse.Namespace
) -> None:
    """Every trial that is not in the results yet: seed by seed, recipe by recipe, set by set."""
    wanted = [(bench, recipe, seed) for seed in given.seeds for recipe in recipes for bench in benches]
    for number, (bench, recipe, seed) in enumerate(wanted, start=1):
        if (bench.name, recipe, seed, budget.name) in map(key_of, lines(given.results)):
            continue
        say(f"[{number}/{len(wanted)}] {bench.name}, {recipe}, seed {seed}, {budget.name}")
        append(given.results, run_trial(bench, recipe, seed, budget, given.weights))
        folder = folder_of(recipe, seed, budget)
        if given.task == "confirm":
            bench.kept.mkdir(exist_ok=True)
            (bench.work / folder / "encoder").rename(bench.kept / folder)
        shutil.rmtree(bench.work / folder)


def read_tests(benches: Sequence[Bench], budget: Budget, given: argparse.Namespace) -> None:
    """The test images, for every encoder that is kept; what was read once is not read again."""
    path = given.results.with_name(f"{given.results.stem}_test.jsonl")
    done = [key_of(one) for one in lines(path)]
    for bench, one in product(benches, lines(given.results)):
        encoder = bench.kept / folder_of(one["recipe"], one["seed"], budget)
        if key_of(one)[::3] != (bench.name, budget.name) or key_of(one) in done or not encoder.exists():
            continue
        say(f"{bench.name}, {one['recipe']}, seed {one['seed']}: the test images")
        read = bench.judge(bench.whole, encoder, bench.work / f"vectors_{encoder.name}")
        append(path, dict(zip(KEY, key_of(one), strict=True)) | read)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("time", "screen", "confirm", "test", "table"))
    parser.add_argument("data", type=Path, nargs="*", help="folders with images/ and labels.csv")
    parser.add_argument("--weights", default="auto", help="the initial weights, for example from weights.py")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), help="these only")
    parser.add_argument("--seeds", type=int, nargs="+", help="by default 0; for confirm 1, 2 and 3")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--wall", action="store_true", help="minutes on the wall, not of a quiet machine")
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"), help="pixels, trials under way")
    parser.add_argument("--results", type=Path, default=RESULTS / "recipes.jsonl")
    given = parser.parse_args()
    given.seeds = given.seeds or ([1, 2, 3] if given.task == "confirm" else [0])
    if given.task in ("screen", "confirm", "test") and (given.minutes is None) == (given.steps is None):
        parser.error("give --minutes or --steps")
    if given.task != "table" and not given.data:
        parser.error("give the folder of a data set")
    return given


def main() -> None:
    """Do the task."""
    given = parse()
    if given.task == "table":
        show(given.results)
        return
    benches = [Bench.of(folder, given.work) for folder in given.data]
    recipes = given.recipes or list(RECIPES)
    if given.task == "time":
        for bench in benches:
            time_recipes(bench, recipes, given.weights)
        return
    budget = Budget(given.minutes, given.steps, given.wall)
    if given.task == "test":
        read_tests(benches, budget, given)
        return
    if given.task == "confirm":
        screened = pd.DataFrame(one for one in lines(given.results) if one["budget"] == budget.name)
        recipes = given.recipes or [DEFAULT, *winners(screened)]
        say(f"To be confirmed: {', '.join(recipes)}.")
    try_all(benches, recipes, budget, given)
    show(given.results)


if __name__ == "__main__":
    main()
