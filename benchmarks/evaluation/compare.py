"""The learning curve's fits beside the reference's loop: seconds, agreement, share of each step, memory.

::

    python benchmarks/evaluation/compare.py --reference SPARSAM_FOLDER [--peers .peers]

On made vectors (384 numbers, 21 classes of 1,200 to draw from, 20,000 to be judged) both fit SVM, kNN and
logistic regression to 1 … 1000 labels per class in five draws, reading the vectors included: ours as one
curve, before and after the reference, and with the cross-validation at 100 labels by which it chooses a
method and which the reference does not have; the reference one number of labels after the other. What is done
is kept in the results, and a second call goes on from there. Both have the paper's settings. ``agreement`` is
the share of the test vectors for which our SVM and scikit-learn's SVC, fitted to the same labels in the same
features, decide for the same class; the least over three numbers of labels.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from features import CLASSES, write_features
from sklearn.svm import SVC

from hundredfold.config import CurveChoices
from hundredfold.encode.embed import Embeddings
from hundredfold.files import write_json
from hundredfold.learn.classifiers import judge, make_classifier
from hundredfold.learn.curve import learning_curve
from hundredfold.learn.transforms import feature_transform
from hundredfold.progress import say
from hundredfold.rundir import software

RESULTS = Path(__file__).resolve().parents[1] / "results"
BUDGETS = (1, 5, 10, 25, 50, 100, 250, 500, 1000)
PER_CLASS = 1200  # to draw from, so that no two draws are alike
AGREE_AT = (10, 100, 1000)
CLASSIFIERS = ("svm", "knn", "logistic")
PRESET = "paper"  # the reference's settings: C of the SVM 1, of the logistic regression 2.5
LARGE = (15_000, 51_000)  # the bone marrow's test images, and as many to learn from as a budget of 1,000 has


def ours(folder: Path, budgets: Sequence[int], repeats: int) -> dict[str, Any]:
    """Fit and judge the numbers of labels, in a process of its own."""
    return _child("ours", str(folder), str(repeats), *map(str, budgets))


def reference(given: argparse.Namespace, budget: int) -> dict[str, Any]:
    """One number of labels by the reference's loop."""
    task = {
        "reference": str(given.reference.absolute()), "features": str(given.work / "features.npz"),
        "budget": budget, "repeats": given.repeats,
    }
    script = Path(__file__).with_name("reference_loop.py")
    done = subprocess.run(
        [given.peers.absolute() / "bin" / "python", script, json.dumps(task)], check=True, text=True,
        stdout=subprocess.PIPE,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _child(*words: str) -> dict[str, Any]:
    threads = {} if words[0] == "ours" else {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *words], check=True, text=True, stdout=subprocess.PIPE,
        env={**os.environ, **threads},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _fit_ours(folder: Path, repeats: int, budgets: Sequence[int]) -> dict[str, Any]:
    began = time.monotonic()
    embeddings = {"made": Embeddings.read(folder / "embeddings")}
    choices = CurveChoices.of(
        budgets=tuple(budgets), classifiers=CLASSIFIERS, preset=PRESET, repeats=repeats, bootstrap=0
    )
    curve = learning_curve(embeddings, None, choices)
    rows = curve.frame[curve.frame["metric"] == "balanced_accuracy"]
    return {
        "seconds": round(time.monotonic() - began, 2),
        "balanced_accuracy": {
            f"{name} {budget}": [round(float(value), 5) for value in part["value"]]
            for (name, budget), part in rows.groupby(["classifier", "n_per_class"])
        },
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    """Of the largest process; there are one a core, and the one that waits for them."""
    parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(part).ru_maxrss for part in parts) // 1024


def _first(folder: Path, budget: int) -> tuple[Any, Any, Any]:
    """The first so many samples of each class, their classes, and the test vectors."""
    with np.load(folder / "features.npz", allow_pickle=False) as stored:
        chosen = slice(budget * CLASSES)  # the classes take turns
        return stored["train"][chosen], stored["train_labels"][chosen], stored["test"]


def _agreement(folder: Path, budget: int) -> dict[str, Any]:
    """Our SVM beside SVC's own ``predict``, on the same features."""
    x, y, new = _first(folder, budget)
    transform = feature_transform(*x.shape).fit(x)
    x, new = transform.transform(x), transform.transform(new)
    mine = make_classifier("svm", samples=len(x), classes=CLASSES, preset=PRESET).fit(x, y)
    plain = SVC(C=mine.C, gamma="scale", class_weight="balanced", break_ties=True, cache_size=2000).fit(x, y)
    return {"C": mine.C, "agreement": float((plain.predict(new) == mine.predict(new)).mean())}


def _steps(folder: Path, budget: int) -> dict[str, float]:
    """Seconds of each step of one draw, on one core."""
    x, y, new = _first(folder, budget)
    taken: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        began = time.monotonic()
        result = work()
        taken[name] = round(time.monotonic() - began, 3)
        return result

    transform = feature_transform(*x.shape)
    known = timed("fit transform", lambda: transform.fit_transform(x))
    asked = timed("transform test", lambda: transform.transform(new))
    for name in CLASSIFIERS:
        machine = make_classifier(name, samples=len(x), classes=CLASSES, preset=PRESET)
        timed(f"fit {name}", lambda machine=machine: machine.fit(known, y))
        timed(f"judge {name}", lambda machine=machine: judge(machine, asked))
    return taken


def _measure(given: argparse.Namespace) -> None:
    known = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
    turns, others = known.setdefault("ours", []), known.setdefault("reference", {})

    def our_turn(number: int) -> None:
        if len(turns) < number:
            turns.append(ours(given.work, BUDGETS, given.repeats))
            say(f"ours: {turns[-1]['seconds']} s")
            write_json(given.results, known)

    our_turn(1)
    for budget in BUDGETS if given.reference else ():
        if str(budget) not in others:
            others[str(budget)] = reference(given, budget)
            say(f"reference, {budget:,} labels per class: {others[str(budget)]['seconds']} s")
            write_json(given.results, known)
    our_turn(2)
    parts = (("agreements", "agree", AGREE_AT), ("steps", "steps", (100, max(BUDGETS))))
    for name, work, budgets in parts:
        done = known.setdefault(name, {})
        for budget in budgets:
            if str(budget) not in done:
                done[str(budget)] = _child(work, str(given.work), str(budget))
                write_json(given.results, known)
    if "memory" not in known:
        write_features(given.work / "large", *LARGE, seed=1)
        known["memory"] = ours(given.work / "large", (1000,), 1) | {"train": LARGE[0], "test": LARGE[1]}
    write_json(given.results, known | _summary(known, given))


def _summary(known: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    seconds = {
        "ours": sum(turn["seconds"] for turn in known["ours"]) / len(known["ours"]),
        "reference": sum(one["seconds"] for one in known["reference"].values()),
    }
    every = len(known["reference"]) == len(BUDGETS)
    told = {
        "speedup": round(seconds["reference"] / seconds["ours"], 1) if every else None,
        "agreement": min(one["agreement"] for one in known["agreements"].values()),
        "seconds": seconds, "repeats": given.repeats, "cores": os.cpu_count(), "software": software(),
    }
    say(json.dumps({key: told[key] for key in ("speedup", "agreement", "seconds")}))
    return told


def main() -> None:
    """Measure, or do the part of a child process."""
    if sys.argv[1:2] == ["ours"]:
        budgets = [int(word) for word in sys.argv[4:]]
        print(json.dumps(_fit_ours(Path(sys.argv[2]), int(sys.argv[3]), budgets)))
        return
    if sys.argv[1:2] in (["agree"], ["steps"]):
        work = {"agree": _agreement, "steps": _steps}[sys.argv[1]]
        print(json.dumps(work(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="folder of the reference's repository")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="environment of the peers")
    parser.add_argument("--work", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--results", type=Path, default=RESULTS / "evaluation.json")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    write_features(given.work, PER_CLASS * CLASSES, 20_000)
    _measure(given)


if __name__ == "__main__":
    main()
