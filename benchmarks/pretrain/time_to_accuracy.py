"""Minutes until the SVM at 100 labels per class is as good as after an hour of LightlyTrain's DINO.

::

    python benchmarks/weights.py --out lite0.safetensors
    python benchmarks/pretrain/time_to_accuracy.py begin DATA --weights lite0.safetensors    (quiet machine)
    python benchmarks/pretrain/time_to_accuracy.py train DATA --weights lite0.safetensors
    python benchmarks/pretrain/time_to_accuracy.py score DATA --weights lite0.safetensors

DATA holds images/ and labels.csv. Both programs start from the same weights, see the training images of one
split, and draw crops of the same sizes; all else is each one's own default. ``begin`` times a few steps of
each run (the median), which gives the number of steps: for LightlyTrain as many as fit into the minutes, its
start not counted; for us what ``--minutes`` plans, with start, checkpoints and export. ``train`` then takes
these steps at whatever pace the machine allows, and on a GPU where there is one (``--work`` and the results
may be taken there between the two): minutes are those of the quiet machine. ``score`` judges every run by the
same protocol, and LightlyTrain's by the best of four (see ``accuracy_scores.py``). Each part is continued
where it ended, and added to ``benchmarks/results/time_to_accuracy.json`` as it comes. ``train --seed 1``
trains anew with another seed, as many steps as ``begin`` found.
LightlyTrain's batch of 128 takes 11 GB at 112 px; killed for want of memory it goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accuracy_scores import WAYS, crop_sizes, encoder_of, score
from compare import RESULTS, peers

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.table import ImageTable
from hundredfold.files import write_json
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory, software

BACKBONE = "efficientnet_lite0"
RUNS = {"lightly-train": (60,), "hundredfold": (5, 10, 15, 30, 60)}  # minutes
WARM, TIMED = 3, 20  # steps
TRIED = 5  # steps that our ``--minutes`` times by itself, before the first
GAIN = 0.01  # of LightlyTrain over the start weights; with less there is nothing to reach


@dataclass(frozen=True)
class Contest:
    """One set of images, and where everything lies.

    Args:
        data: the folder with images/ and labels.csv.
        work: where splits, runs and embeddings go.
        weights: the start weights, with their normalisation.
        peers: the environment of LightlyTrain.
        results: the JSON file.
        modality: what our program is told of the images; LightlyTrain has no such setting.
    """

    data: Path
    work: Path
    weights: Path
    peers: Path
    results: Path
    modality: str = "microscopy"

    @property
    def folder(self) -> Path:
        """Everything of this set."""
        return self.work / self.data.name

    def split(self) -> RunDirectory:
        """The scanned images, and a folder ``training`` of links to those of the training side."""
        run = hundredfold.scan(
            self.data / "images", labels=self.data / "labels.csv", out=self.folder / "split", resume=True
        )
        for name in ImageTable.read(run / "images.parquet").pool.ids:
            link = self.folder / "training" / str(name).replace("/", "__")
            link.parent.mkdir(exist_ok=True)
            if not link.exists():
                link.symlink_to((self.data / "images" / name).resolve())
        return run

    def done(self, name: str) -> Path:
        """The file that says that a run took all its steps."""
        return self.folder / f"{name}.done"

    def known(self) -> dict[str, Any]:
        """What the results say of this set so far."""
        every = json.loads(self.results.read_text(encoding="utf-8")) if self.results.exists() else {}
        return dict(every.get(self.data.name, {}))

    def note(self, part: str, name: str, facts: object) -> None:
        """Add to the results."""
        every = json.loads(self.results.read_text(encoding="utf-8")) if self.results.exists() else {}
        every.setdefault(self.data.name, {}).setdefault(part, {})[name] = facts
        write_json(self.results, every)

    def run(
        self, program: str, minutes: float | None, *, steps: int | None, stop_after: int, out: Path,
        epochs: float | None = None, seed: int = 0,
    ) -> Path:
        """Run a program; gives the file of its steps' seconds."""
        large, small = crop_sizes(self.split())
        backbone = create_backbone(BACKBONE, weights=str(self.weights))
        images = self.data / "images" if program == "hundredfold" else self.folder / "training"
        times = out.with_suffix(f".{'begin' if stop_after else 'train'}.jsonl")
        times.parent.mkdir(parents=True, exist_ok=True)
        task = {
            "program": program, "images": str(images), "labels": str(self.data / "labels.csv"),
            "weights": str(self.weights), "backbone": BACKBONE, "mean": backbone.mean, "std": backbone.std,
            "image_size": large, "local_size": small, "minutes": minutes, "steps": steps, "out": str(out),
            "times": str(times), "stop_after": stop_after, "modality": self.modality, "epochs": epochs,
            "seed": seed,
        }
        python = sys.executable if program == "hundredfold" else peers(self.peers).absolute()
        script = Path(__file__).with_name("accuracy_runs.py")
        subprocess.run([python, script, json.dumps(task)], check=True, cwd=self.folder)
        return times


def begin(contest: Contest, program: str, minutes: float) -> None:
    """Time a few steps, and note how many the run will have; a run that was begun keeps its number."""
    name, ours = run_name(program, minutes), program == "hundredfold"
    out = contest.folder / (name if ours else f"{name}-begun")
    if out.exists() and name in contest.known().get("runs", {}):
        say(f"{contest.data.name}, {name}: begun before; remove {out} to begin anew")
        return
    count = WARM + TIMED + (TRIED if ours else 0)
    times = contest.run(program, minutes, steps=1000, stop_after=count, out=out)
    rows = times.read_text(encoding="utf-8").splitlines()
    seconds = statistics.median(json.loads(row)["seconds"] for row in rows[-TIMED:])
    plan = RunDirectory.open(out).state["pretrain"] if ours else {"steps": int(60 * minutes / seconds)}
    facts = {
        "seconds_a_step": round(seconds, 4), "steps": plan["steps"], "crops": crop_sizes(contest.split()),
        "cores": os.cpu_count(), "software": software(),
    }
    kept = ("batch_size", "precision", "epochs", "image_size", "local_size")
    contest.note("runs", name, facts | {key: plan[key] for key in kept if key in plan})
    say(f"{contest.data.name}, {name}: {seconds:.2f} s a step, {plan['steps']:,} steps")


def of_seed(name: str, seed: int) -> str:
    """What something is called that comes of another seed than the first."""
    return f"{name}-seed{seed}" if seed else name


def run_name(program: str, minutes: float, seed: int = 0) -> str:
    """What a run is called, and its folder."""
    return of_seed(f"{program}-{minutes:g}", seed)


def train(contest: Contest, program: str, minutes: float, seed: int) -> None:
    """Take the steps, unless they are taken; what was begun is continued."""
    name = run_name(program, minutes, seed)
    if not contest.done(name).exists():
        plan = contest.known()["runs"][run_name(program, minutes)]
        # Another seed takes the steps of the first: minutes would be timed anew, and be others.
        length = {"minutes": minutes} if not seed else {"minutes": None, "epochs": plan.get("epochs")}
        contest.run(
            program, **length, steps=plan["steps"], stop_after=0, out=contest.folder / name, seed=seed
        )
        contest.done(name).touch()
    say(f"{contest.data.name}, {name}: trained")


def weights_of(contest: Contest, name: str) -> Path:
    """What a run leaves: our encoder's folder, or LightlyTrain's export."""
    if name.startswith("hundredfold"):
        return contest.folder / name / "encoder"
    return contest.folder / name / "exported_models" / "exported_last.pt"


def judge(contest: Contest, name: str, way: str, weights: Path) -> float:
    """The mean over the draws, noted beside each of them."""
    known = contest.known().get("scores", {}).get(name, {})
    if way not in known:
        split = contest.split()
        place = contest.folder / "scores" / f"{name}-{WAYS.index(way)}"
        encoder = weights if weights.is_dir() else place / "encoder"
        if encoder != weights and not encoder.exists():
            made = encoder_of(weights, way, split, BACKBONE, contest.weights, modality=contest.modality)
            made.save(encoder)
        draws = score(encoder, split, contest.data / "labels.csv", place / "run")
        known = {**known, way: {"mean": round(statistics.mean(draws), 5), "draws": draws}}
        contest.note("scores", name, known)
    say(f"{contest.data.name}, {name}, {way}: {known[way]['mean']:.3f}")
    return float(known[way]["mean"])


def answer(contest: Contest) -> None:
    """The fewest of our minutes that reach LightlyTrain's accuracy."""
    found = contest.known()["scores"]
    best = {name: max(one["mean"] for one in ways.values()) for name, ways in found.items()}
    theirs = best.get("lightly-train-60")
    if theirs is None:
        return
    gain = theirs - best["start"]
    fitting = [m for m in RUNS["hundredfold"] if best.get(f"hundredfold-{m}", 0) >= theirs]
    minutes = min(fitting) if fitting and gain >= GAIN else None
    for key, value in {"to_reach": theirs, "gain": round(gain, 5), "minutes": minutes}.items():
        contest.note("answer", key, value)
    said = f"the same in {minutes} minutes of ours" if minutes else "not reached by ours yet"
    if gain < GAIN:
        said = "less than a point, so nothing is claimed"
    say(f"{contest.data.name}: LightlyTrain reaches {theirs:.3f} in 60 minutes ({gain:+.3f}); {said}")


def score_all(contest: Contest) -> None:
    """Judge the start weights and whatever has been trained."""
    for way in WAYS:
        judge(contest, "start", way, contest.weights)
    for program, lengths in RUNS.items():
        for name in (run_name(program, minutes) for minutes in lengths):
            if contest.done(name).exists():
                for way in WAYS[1:2] if program == "hundredfold" else WAYS:
                    judge(contest, name, way, weights_of(contest, name))
    answer(contest)


def main() -> None:
    """Do one part for one set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("begin", "train", "score"))
    parser.add_argument("data", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--weights", type=Path, required=True, help="start weights of benchmarks/weights.py")
    parser.add_argument("--work", type=Path, default=Path("runs/time_to_accuracy"))
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="environment of the peers")
    parser.add_argument("--results", type=Path, default=RESULTS / "time_to_accuracy.json")
    parser.add_argument("--programs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--minutes", nargs="+", type=int, help="runs of these lengths in place of all")
    parser.add_argument("--modality", default="microscopy", help="what our program is told of the images")
    parser.add_argument("--seed", type=int, default=0, help="of the training; 0 is what begin began")
    given = parser.parse_args()
    paths = (given.data, given.work, given.weights, given.peers, given.results)
    contest = Contest(*(path.absolute() for path in paths), modality=given.modality)
    if given.part == "score":
        score_all(contest)
        return
    for program in given.programs:
        for minutes in given.minutes or RUNS[program]:
            if given.part == "begin":
                begin(contest, program, minutes)
            else:
                train(contest, program, minutes, given.seed)


if __name__ == "__main__":
    main()
