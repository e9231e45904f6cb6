"""The methods section and the model card: right of every kind of run, and every number found again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import hundredfold
from hundredfold.data.summary import facts
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError
from hundredfold.learn.trial import Trial
from hundredfold.report.material import gather, headline_of
from hundredfold.report.paper.checklists import CLAIM, TRIPOD
from hundredfold.report.paper.works import WORKS
from hundredfold.report.texts import write_texts
from hundredfold.rundir import RunDirectory

SOURCES = "## Where each number comes from"
#: numbers that are no findings: of items, of the method, of names
CONSTANTS = {"95", "10", "256", "8", "1", "0", "100", "200"}


def told_facts(run: RunDirectory, **more: Any) -> None:
    """What the verbs note of a run, by the functions that they note it with."""
    table = ImageTable.read(run / "images.parquet")
    run.record(
        scan={**facts(table), "pixel_size": 32, "sides_given": 0, "stain": None},
        curve={**Trial.of(table).facts(), "outer_splits": None, "choice": None, **more},
    )


@pytest.fixture
def told(whole_run: RunDirectory, tmp_path: Path) -> Callable[..., RunDirectory]:
    """A copy of the whole run with the facts of its stages."""

    def make(**more: Any) -> RunDirectory:
        shutil.copytree(whole_run.path, tmp_path / "run")
        run = RunDirectory.open(tmp_path / "run")
        told_facts(run, **more)
        return run

    return make


def texts(run: RunDirectory) -> tuple[str, str]:
    material = gather(run)
    write_texts(run, material, headline_of(material), frozenset({"operating.csv", "counts.csv"}))
    return (run / "methods.md").read_text("utf-8"), (run / "model_card.md").read_text("utf-8")


def table_rows(text: str, head: str) -> list[list[str]]:
    """The rows of the Markdown table with that head."""
    lines = text.splitlines()
    start = lines.index(head) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        rows.append([re.sub(r"\\([\\`*<_&|\]])", r"\1", cell.strip()) for cell in cells])
    return rows


def find_again(run: Path, file: str, place: str) -> Any:
    """What stands at a place, found without the report's own code."""
    take, at, by, chosen = re.fullmatch(
        r"(value|number|sum|mean|kinds) of (.*?)(?:, divided by (\d+))?(?:, rows (\{.*\}))?", place
    ).groups()  # type: ignore[union-attr]
    if file.endswith((".json", ".yaml")):
        tree = yaml.safe_load((run / file).read_text("utf-8"))  # JSON is YAML
        for part in at.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        if take == "number":
            return len(tree)
        return sum(tree.values()) if take == "sum" else tree
    if file.endswith("jsonl"):
        rows = [json.loads(line) for line in (run / file).read_text().splitlines() if line.endswith("}")]
        table = pd.DataFrame(rows).drop_duplicates("step", keep="last")
    else:
        table = pd.read_parquet(run / file) if file.endswith("parquet") else pd.read_csv(run / file)
    for column, value in json.loads(chosen or "{}").items():
        table = table[table[column].isna() if value is None else table[column] == value]
    values = table[at]
    found = {
        "value": lambda: values.iloc[0], "number": lambda: len(values), "sum": values.sum,
        "mean": values.mean, "kinds": values.nunique,
    }[take]()
    return found / int(by) if by else found


def as_number(written: str) -> tuple[float, float]:
    """A number as it was written, and what one unit of its last digit is."""
    text = written.replace(",", "").replace("−", "-").replace("\u00a0", "")
    scale = 0.01 if text.endswith("%") else 1.0
    text = text.removesuffix("%")
    if power := re.fullmatch(r"([\d.]+)×10⁻([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text):
        exponent = int(power[2].translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")))
        text, scale = power[1], 10.0**-exponent
    digits = len(text.partition(".")[2])
    return float(text) * scale, 10.0**-digits * scale


def check_sources(run: RunDirectory, text: str) -> int:
    """Every number of a text stands where it says, in files with the hashes it says; how many there are."""
    hashes = dict(table_rows(text, "| file | SHA-256 |"))
    for name, digest in hashes.items():
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == digest, name
    rows = table_rows(text, "| number | written | file | place |")
    for meaning, written, file, place in rows:
        assert file in hashes
        found = find_again(run.path, file, place)
        if isinstance(found, str):
            assert written == " ".join(found.split()), meaning
        else:
            value, unit = as_number(written)
            assert abs(value - float(found)) <= unit, (meaning, written, found)
    return len(rows)


def loose_numbers(text: str) -> set[str]:
    """Numbers in a text, before its sources, that are not among those it gives the place of."""
    body = text.partition(SOURCES)[0].partition("## References")[0].partition("## Checklist")[0]
    body = re.sub(r"CLAIM \d+|AI 3b|\[[\d, ]+\]|[0-9a-f]{64}|slide \d+|<[^>]*>|`[^`]*`", " ", body)
    known = " ".join(row[1] for row in table_rows(text, "| number | written | file | place |"))
    pattern = r"(?<![\w.])(?:\d+(?:,\d{3})*(?:\.\d+)*|\.\d+)"
    return set(re.findall(pattern, body)) - set(re.findall(pattern, known)) - CONSTANTS


def test_every_number_of_both_texts_is_found_again(told: Callable[..., RunDirectory]) -> None:
    run = told()
    methods, card = texts(run)
    assert check_sources(run, methods) > 20
    assert check_sources(run, card) > 30
    assert loose_numbers(methods) == set()
    assert loose_numbers(card) == set()


def test_an_edited_file_is_noticed(told: Callable[..., RunDirectory]) -> None:
    run = told()
    _, card = texts(run)
    state = json.loads((run / "facts.json").read_text())
    state["curve"]["train_images"] += 1
    (run / "facts.json").write_text(json.dumps(state))
    with pytest.raises(AssertionError, match=r"facts\.json"):
        check_sources(run, card)


def test_making_the_report_leaves_the_hashes_true(whole_run: RunDirectory) -> None:
    """The report notes its own end in run.json, after the texts were written."""
    assert whole_run.done("report")
    for name in ("methods", "model_card"):
        assert check_sources(whole_run, (whole_run / f"{name}.md").read_text("utf-8")) > 5


def test_the_figures_of_the_card_are_those_of_the_curve(told: Callable[..., RunDirectory]) -> None:
    run = told()
    _, card = texts(run)
    curve = pd.read_parquet(run / "curve.parquet")
    here = (curve["encoder"] == "pretrained") & (curve["classifier"] == "svm") & (curve["n_per_class"] == 100)
    own = curve[here & (curve["metric"] == "balanced_accuracy") & curve["class"].isna()]
    rows = {row[0]: row[1:] for row in table_rows(
        card, "| figure | value | 95 % interval, from | to | test images |"
    )}
    expected = [own["value"].mean(), own["low"].iloc[0], own["high"].iloc[0]]
    assert np.allclose([float(cell) for cell in rows["balanced accuracy"][:3]], expected, atol=0.005)
    assert rows["balanced accuracy"][3] == str(own["n_test"].iloc[0])


def test_a_hostile_class_name_is_no_markup(told: Callable[..., RunDirectory]) -> None:
    _, card = texts(told())
    assert "\\<script>" in card
    assert not re.search(r"(?<!\\)<script", card)


def sentences(run: RunDirectory) -> str:
    return texts(run)[0].partition(SOURCES)[0]


def test_methods_of_a_pre_trained_run(told: Callable[..., RunDirectory]) -> None:
    text = sentences(told())
    assert "was pre-trained by self-distillation without labels" in text
    assert "on 32 images of the training side, without their labels; test images had no part in it" in text
    assert "The test set, about 33.3\u00a0% of the labelled images, was drawn at random" in text
    assert "Each image was represented by 8 numbers, the output of the frozen pre-trained encoder" in text
    assert "50 bootstrap resamples" not in text  # the setting was 1,000


def forget_pretraining(run: RunDirectory) -> dict[str, Any]:
    """As if it had been done elsewhere; tells what was noted of it."""
    state = json.loads((run / "run.json").read_text())
    noted: dict[str, Any] = state.pop("pretrain")
    (run / "run.json").write_text(json.dumps(state))
    (run / "metrics.jsonl").unlink()
    return noted


def note_of_encoder(run: RunDirectory, **facts: object) -> None:
    """Note something else of the pre-trained encoder beside its vectors."""
    path = run / "embeddings" / "pretrained" / "embeddings.json"
    embedded = json.loads(path.read_text())
    embedded["encoder"] |= facts
    path.write_text(json.dumps(embedded))


def test_methods_without_pre_training_say_that_nothing_was_trained(told: Callable[..., RunDirectory]) -> None:
    run = told()
    forget_pretraining(run)
    text = sentences(run)
    assert "No encoder was trained for this; the weights were taken as they were" in text
    assert "whether they had learned from some of these images is not known" in text
    assert "pre-trained by self-distillation" not in text
    assert WORKS["dino"].words not in text


def test_methods_with_an_encoder_of_another_run_tell_its_pre_training(
    told: Callable[..., RunDirectory],
) -> None:
    run = told()
    noted = forget_pretraining(run)
    note_of_encoder(
        run, provenance={"method": "DINO", **noted, "images": 777, "weights": "random", "settings": {}}
    )
    text = sentences(run)
    assert "on 777 images" in text
    assert "This was done in another run" in text


def test_methods_of_a_run_without_the_vectors_claim_nothing_of_the_encoder(
    told: Callable[..., RunDirectory],
) -> None:
    """Of `compare`, or of a curve elsewhere: "its weights were taken as they were" was said of any."""
    run = told()
    forget_pretraining(run)
    shutil.rmtree(run / "embeddings")
    text = sentences(run)
    assert "The encoder is of another run, which tells how it was made." in text
    assert "taken as they were" not in text


def test_methods_of_joined_encoders_do_not_forget_that_one_was_trained(
    told: Callable[..., RunDirectory],
) -> None:
    run = told()
    forget_pretraining(run)
    note_of_encoder(run, parts=[{"name": "a"}, {"name": "b", "provenance": {"method": "DINO"}}])
    text = sentences(run)
    assert "The encoder is of another run" in text
    assert "No encoder was trained" not in text


def test_methods_tell_which_features_hold_the_maps_of_the_last_stages(
    told: Callable[..., RunDirectory],
) -> None:
    run = told()
    note_of_encoder(run, stages=3)
    assert "the same network before pre-training (without these maps)" in sentences(run)


def test_methods_say_that_pre_training_saw_test_images(told: Callable[..., RunDirectory]) -> None:
    run = told()
    run.record(pretrain={**run.state["pretrain"], "transductive": True})
    text = sentences(run)
    assert "on 32 images without their labels, the test images among them" in text
    assert "unlabelled images" not in text  # labelled ones were there, too


def test_methods_of_an_audit_set(told: Callable[..., RunDirectory]) -> None:
    text = sentences(told(test_set="audit"))
    assert "The test images were an audit set, drawn at random" in text
    assert "stratified by class" not in text


def test_methods_of_test_splits_that_take_turns(told: Callable[..., RunDirectory]) -> None:
    run = told(outer_splits=5)
    methods, card = texts(run)
    assert "once, in one of 5 splits that took turns" in methods
    assert "these were among them" in methods
    assert "held out before any training" not in methods
    assert "test splits took turns" in card
    assert loose_numbers(methods) == set()


def test_methods_of_a_choice_in_each_test_split(told: Callable[..., RunDirectory]) -> None:
    chosen = {"n_per_class": 10, "balanced_accuracy": 0.8444, "low": None, "high": None, "methods": []}
    run = told(outer_splits=5, chosen_by_split=chosen)
    methods, _ = texts(run)
    assert "the methods so chosen reach a balanced accuracy of .84." in " ".join(methods.split())
    assert loose_numbers(methods) == set()
    run.record(curve={**run.state["curve"], "chosen_by_split": None})
    assert "nested" not in sentences(run)


def test_methods_name_a_leak(told: Callable[..., RunDirectory]) -> None:
    text = sentences(told(leak="3 groups are on both sides"))
    assert "the figures are therefore too good" in " ".join(text.split())


def test_methods_without_intervals_say_why(told: Callable[..., RunDirectory]) -> None:
    text = sentences(told(intervals="none: the test images are of 4 groups, and fewer than 10 …"))
    assert "No intervals are given, because the test images came from fewer than ten groups" in text


@pytest.mark.parametrize("stages", [(), ("scan",), ("scan", "embed")])
def test_texts_of_an_unfinished_run(
    stages: tuple[str, ...], whole_run: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path / "run")
    if "scan" in stages:
        for name in ("images.parquet", "rejects.csv"):
            shutil.copy(whole_run / name, run / name)
        run.record(scan=facts(ImageTable.read(run / "images.parquet")))
    if "embed" in stages:
        shutil.copytree(whole_run / "embeddings", run / "embeddings")
    methods, card = texts(run)
    assert "has not been tested" in card
    assert "The main figure" not in methods


def test_references_are_numbered_as_they_are_cited(told: Callable[..., RunDirectory]) -> None:
    text = texts(told())[0]
    body, _, rest = text.partition("## References")
    cited = [int(n) for group in re.findall(r"\[([\d, ]+)\]", body) for n in group.split(", ")]
    assert list(dict.fromkeys(cited)) == list(range(1, max(cited) + 1))
    reference = r"^(\d+)\. .*<(https://(?:doi\.org|arxiv\.org|www\.jstor\.org)/\S+)>$"
    listed = re.findall(reference, rest, re.MULTILINE)
    assert [int(number) for number, _ in listed] == sorted(set(cited))


def test_the_author_fills_in_what_a_run_cannot_know(told: Callable[..., RunDirectory]) -> None:
    run = told()
    assert "| Intended use | author must supply | intended_use |" in texts(run)[1].replace("\\", "")
    (run / "author.yaml").write_text("intended_use: to sort smears\nCLAIM 13: \"a microscope, 40x\"\n")
    card = texts(run)[1]
    assert "| Intended use | to sort smears | intended_use |" in card.replace("\\", "")
    assert "| 13 | How the images were acquired | a microscope, 40x |" in card


def test_a_checklist_points_to_nothing_that_is_not_there(told: Callable[..., RunDirectory]) -> None:
    """Of thumbnails no text tells an encoder, and without vectors no page shows what an image resembles."""
    run = told()
    whole = (run / "model_card.md").read_text("utf-8")
    assert "Confusion matrix and wrong images beside their nearest labelled ones: report.html." in whole
    assert "report.html, chapter “Why”." in whole
    forget_pretraining(run)
    shutil.rmtree(run / "embeddings")
    for name in ("curve", "predictions"):
        table = pd.read_parquet(run / f"{name}.parquet")
        table[table["encoder"].astype(str) == "thumbnail"].to_parquet(run / f"{name}.parquet")
    hundredfold.report(run.path)
    card = (run / "model_card.md").read_text("utf-8").replace("\\", "")
    there = {
        "methods.md": re.findall("^## (.*)$", (run / "methods.md").read_text("utf-8"), re.MULTILINE),
        "this card": re.findall("^## (.*)$", card, re.MULTILINE),
        "report.html": re.findall("<h2>(.*?)</h2>", (run / "report.html").read_text("utf-8")),
    }
    pointed = re.findall("(methods.md|this card|report.html), (?:chapter )?“([^”]*)”", card)
    assert len(pointed) > 10
    missing = [(file, title) for file, title in pointed
               if not any(one.startswith(title) for one in there[file])]
    assert not missing
    rows = {row[0]: row[2] for row in table_rows(card, "| item | what it asks for (in our words) | where |")}
    assert rows["25"] == "No network was trained: methods.md, “Features and classifiers”."
    assert rows["31"] == "author must supply"
    assert rows["39"] == "Confusion matrix: report.html."


@pytest.mark.parametrize(
    ("given", "found"),
    [("intended_us: x", "Did you mean intended_use"), ("CLAIM 45: x", "Did you mean CLAIM"),
     ("intended_use: 3", "expected keys with words"), ("a: [", "cannot be read as YAML")],
)
def test_a_wrong_author_file_is_refused(told: Callable[..., RunDirectory], given: str, found: str) -> None:
    run = told()
    (run / "author.yaml").write_text(given)
    with pytest.raises(InputError, match=found):
        texts(run)


def test_the_checklists_have_the_published_numbers() -> None:
    """CLAIM 2024 has 44 items, TRIPOD+AI 27, of which some have parts."""
    assert [item.number for item in CLAIM] == [str(number) for number in range(1, 45)]
    assert list(dict.fromkeys(re.sub(r"\D", "", item.number) for item in TRIPOD)) == [
        str(number) for number in range(1, 28)
    ]
    parts = {
        number: "".join(re.sub(r"\d", "", item.number) for item in TRIPOD
                        if re.sub(r"\D", "", item.number) == number)
        for number in ("3", "5", "6", "8", "9", "12", "18", "20", "23", "27")
    }
    assert parts == {
        "3": "abc", "5": "ab", "6": "abc", "8": "abc", "9": "abc", "12": "abcdefg", "18": "abcdef",
        "20": "abc", "23": "ab", "27": "abc",
    }
    assert len(TRIPOD) == sum(map(len, parts.values())) + 27 - len(parts)


class Folds(HTMLParser):
    """The headings that stand in a fold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.depth, self.inside, self.heading = 0, [], False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.depth += tag == "details"
        self.heading = tag == "h2"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "details"

    def handle_data(self, data: str) -> None:
        if self.depth and self.heading and data.strip():
            self.inside.append(data.strip())
            self.heading = False


def test_the_page_shows_both_texts_folded(whole_run: RunDirectory) -> None:
    inside = Folds((whole_run / "report.html").read_text("utf-8")).inside
    assert inside[0] == "Methods"
    assert inside[1].startswith("Model card: ")
