"""Sets and prevalences as a user meets them: ``fit``, then ``predict`` with and without ``--prevalence``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hundredfold
from hundredfold.data.smear import draw_smear
from hundredfold.errors import SettingsError
from hundredfold.learn.calibrate import Calibration
from hundredfold.predict.columns import SETS
from hundredfold.predict.conformal import Sets
from hundredfold.predict.predictor import Predictor


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_smear(tmp_path_factory.mktemp("smear"), images=120, size=32, seed=1)


@pytest.fixture(scope="module")
def run(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scanned with an audit set, of which ten images have no label, embedded and fitted."""
    out = tmp_path_factory.mktemp("runs") / "run"
    hundredfold.scan(smear / "images", labels=smear / "labels.csv", audit=40, out=out)
    hundredfold.embed(out, encoder="thumbnail", out=out)
    labels, splits = pd.read_csv(smear / "labels.csv"), pd.read_csv(out / "splits.csv")
    unread = splits.loc[splits["split"] == "audit", "image"].iloc[:10]
    labels[~labels["image"].isin(unread)].to_csv(out / "labels.csv", index=False)
    hundredfold.fit(out, labels=out / "labels.csv", classifier="lda", out=out)
    return out


def predicted(run: Path, smear: Path, folder: Path, *prevalence: str) -> pd.DataFrame:
    out = folder / "predictions.csv"
    return pd.read_csv(hundredfold.predict(smear / "images", predictor=run, out=out, prevalence=prevalence))


def members(rows: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    return np.array([[name in written.split("|") for name in classes] for written in rows[SETS]])


def expected(predictor: Predictor, rows: pd.DataFrame, shares: np.ndarray | None) -> np.ndarray:
    """The sets, from the scores that the predictor remembers of its labels."""
    known = predictor.memory.labelled
    fitted = Calibration.of(predictor.facts["calibration"])
    said, codes = fitted.probabilities(predictor.memory.scores[known], shares), predictor.memory.codes[known]
    names = [f"p:{name}" for name in predictor.classes]
    found = Sets.fit(said, codes, 0.9, shares=shares).members(rows[names].to_numpy())
    return found | (rows[names].to_numpy() == rows[names].max(axis=1).to_numpy()[:, None])


def test_a_set_holds_the_label_and_what_comes_close_the_most_probable_first(
    run: Path, smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor, rows = Predictor.load(run), predicted(run, smear, tmp_path)
    held = members(rows, predictor.classes)
    assert (held == expected(predictor, rows, None)).mean() > 0.99  # four decimals are in the file
    for row in rows.to_dict("records"):
        names = row[SETS].split("|")
        assert row["label"] in names
        assert sorted(names, key=lambda name: -row[f"p:{name}"]) == names
    several = (held.sum(axis=1) > 1).sum()
    assert several > 0
    assert f"{several} of them have more than one class in their set" in capsys.readouterr().err


def test_the_share_of_unusual_test_images_is_that_of_what_predict_says(
    run: Path, smear: Path, tmp_path: Path
) -> None:
    splits = pd.read_csv(run / "splits.csv")
    read = set(pd.read_csv(run / "labels.csv")["image"])
    held = [name for name in splits.loc[splits["split"] == "audit", "image"] if name in read]
    rows = predicted(run, smear, tmp_path).set_index("image").loc[held]
    told = Predictor.load(run).facts["unusual"]
    assert told == {"images": len(held), "share": round(rows["unusual"].eq("yes").mean(), 4)}
    assert told["share"] > 0


def test_a_prevalence_makes_other_sets_and_they_are_weighted(run: Path, smear: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(run)
    rare = predictor.classes[0]
    rows = predicted(run, smear, tmp_path, f"{rare}=0.001")
    held = members(rows, predictor.classes)
    shares = predictor.shares({rare: 0.001})
    assert (held == expected(predictor, rows, shares)).mean() > 0.99
    alike = members(predicted(run, smear, tmp_path / "alike"), predictor.classes)
    assert held[:, 0].sum() < alike[:, 0].sum()


def test_the_audit_set_says_how_common_the_classes_are(
    run: Path, smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor, rows = Predictor.load(run), predicted(run, smear, tmp_path, "audit")
    said = capsys.readouterr().err
    labels, splits = pd.read_csv(run / "labels.csv"), pd.read_csv(run / "splits.csv")
    audit = labels["image"].isin(splits.loc[splits["split"] == "audit", "image"])
    counts = labels.loc[audit, "label"].value_counts()
    total, name = counts.sum(), predictor.classes[0]
    made = json.loads((tmp_path / "predictions.csv.json").read_text(encoding="utf-8"))
    assert made["sets"] == {"coverage": 0.9, "kind": "marginal", "not_enough_labels": []}
    assert f"In the audit set, of {total} labelled images: {name} {counts[name] / total:.2f}, " in said
    assert "fewer than ten groups" in said
    assert "10 audit images have no label: if they are the hard ones" in said
    shares = predictor.shares("audit")
    assert shares[0] == pytest.approx((counts[name] + 1 / len(shares)) / (total + 1))
    scores = predictor.memory.scores[predictor.memory.labelled][:1]
    plain = predictor.calibration.probabilities(scores)
    weighted = predictor.calibration.probabilities(scores, shares)
    np.testing.assert_allclose(weighted, plain * shares / (plain * shares).sum())
    names = [f"p:{one}" for one in predictor.classes]
    assert (rows[names].idxmax(axis=1).str.removeprefix("p:") == rows["label"]).all()


def test_prevalences_of_the_labels_are_their_shares(run: Path) -> None:
    predictor = Predictor.load(run)
    labels = np.array([predictor.facts["labels"][name] for name in predictor.classes])
    np.testing.assert_allclose(predictor.shares("labels"), labels / labels.sum())


def test_without_an_audit_set_there_is_no_estimate(run: Path, smear: Path, tmp_path: Path) -> None:
    labels, splits = pd.read_csv(run / "labels.csv"), pd.read_csv(run / "splits.csv")
    train = labels["image"].isin(splits.loc[splits["split"] == "train", "image"])
    labels[train].to_csv(tmp_path / "labels.csv", index=False)
    predictor = hundredfold.fit(run, labels=tmp_path / "labels.csv", classifier="lda", out=tmp_path / "other")
    assert predictor.audit is None
    card = (tmp_path / "other" / "model_card.md").read_text(encoding="utf-8")  # there is no run around it
    for words in ("has not been tested", "Nothing was measured yet", "hold the true class in 90\u00a0% of"):
        assert words in card
    for words in ("methods.md", "author.yaml", "nothing to warn of"):
        assert words not in card.partition("## Checklist")[0]
    with pytest.raises(SettingsError, match="knows no labelled audit set"):
        predicted(tmp_path / "other", smear, tmp_path, "audit")


def test_what_there_are_too_few_labels_for_is_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = hundredfold.fit(run, labels=run / "labels.csv", classifier="lda", out=tmp_path / "a", coverage=0.99)
    assert few.sets is None
    assert "No sets: not enough labels. A coverage of 0.99 needs 99" in capsys.readouterr().err
    own = hundredfold.fit(
        run, labels=run / "labels.csv", classifier="lda", out=tmp_path / "b", sets="class-wise"
    )
    said = capsys.readouterr().err
    assert own.sets is not None
    assert not own.sets.promised.all()
    for name, enough in zip(own.classes, own.sets.promised, strict=True):
        assert (name in said.split("promise of their own: ")[1].split(". The bar")[0].split(", ")) != enough
    none = hundredfold.fit(
        run, labels=run / "labels.csv", classifier="lda", out=tmp_path / "c", calibration="none"
    )
    assert none.sets is None


def test_a_name_that_would_be_read_as_two_makes_no_sets(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = pd.read_csv(run / "labels.csv")
    common = labels["label"].value_counts().index[:2]
    labels = labels[labels["label"].isin(common)].replace({"label": {common[0]: "this|that"}})
    labels.to_csv(tmp_path / "odd.csv", index=False)
    made = hundredfold.fit(run, labels=tmp_path / "odd.csv", classifier="lda", out=tmp_path / "odd")
    assert made.sets is None
    assert made.calibration is not None
    assert "the name 'this|that' holds" in capsys.readouterr().err


def test_a_staircase_makes_no_sets_because_it_would_break_the_promise(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = pd.read_csv(run / "labels.csv")
    common = labels["label"].value_counts().index[:2]
    labels[labels["label"].isin(common)].to_csv(tmp_path / "two.csv", index=False)
    made = {
        method: hundredfold.fit(
            run, labels=tmp_path / "two.csv", classifier="lda", out=tmp_path / method, calibration=method
        ) for method in ("isotonic", "platt")
    }
    assert made["isotonic"].calibration is not None
    assert made["isotonic"].sets is None
    assert "a staircase follows the held-out labels so closely" in capsys.readouterr().err
    assert made["platt"].sets is not None
