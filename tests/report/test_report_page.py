"""The page: whole, self-contained, safe against names, and the same numbers as its tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image

from hundredfold.errors import RunMissingError
from hundredfold.report.chapters.base import Exhibit
from hundredfold.report.chapters.classes import errors_chapter, map_chapter
from hundredfold.report.chapters.curves import curve_exhibit, curves_chapter
from hundredfold.report.material import gather
from hundredfold.report.style import save_figure
from hundredfold.report.tables import headline
from hundredfold.report.words import share
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.report import report

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """The tags, in a tree that must close, and the words between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", "~").split()).replace("~", "\u00a0")


@pytest.fixture(scope="session")
def page(whole_run: RunDirectory) -> Page:
    return Page((whole_run / "report.html").read_text(encoding="utf-8"))


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_page_loads_nothing(page: Page) -> None:
    loaded = [
        attrs[key] for _, attrs in page.tags for key in ("src", "srcset", "data", "poster") if key in attrs
    ]
    assert len(loaded) >= 10
    assert all(str(address).startswith("data:image/") for address in loaded)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}


def test_links_lead_into_the_page_or_to_the_cited_works(page: Page) -> None:
    anchors = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    targets = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert len(targets) >= 8
    for target in targets:
        assert target[1:] in anchors if target.startswith("#") else target.startswith("https://")
    assert any("bioengineering10080895" in target for target in targets)


def test_names_cannot_become_markup(page: Page) -> None:
    """A class named like a script and files named like tags stand on the page as words."""
    assert '<script>alert("x")</script>' in page.text
    assert "run <i>one" in page.text
    assert "<img src=x onerror=alert(1)>" in page.text
    assert {"script", "i"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any("onerror" in attrs for _, attrs in page.tags)


def test_every_row_of_a_table_has_a_head(page: Page) -> None:
    """Who hears a table hears the name of the row with each number."""
    places = [place for place, (tag, _) in enumerate(page.tags) if tag == "tr"]
    heads = [page.tags[place + 1] for place in places]
    assert len(heads) > 20
    assert {tag for tag, _ in heads} == {"th"}
    assert {attrs["scope"] for _, attrs in heads} == {"row", "col"}


def test_every_figure_has_words_for_who_cannot_see_it(page: Page) -> None:
    alternatives = [str(attrs["alt"]) for tag, attrs in page.tags if tag == "img"]
    assert len(alternatives) >= 10
    assert all(len(words) > 30 for words in alternatives)
    assert len(set(alternatives)) == len(alternatives)


def test_every_figure_is_there_as_png_svg_and_csv(whole_run: RunDirectory) -> None:
    names = {path.stem for path in (whole_run / "figures").glob("*.svg")}
    expected = {
        "curve_svm",
        "curve_knn",
        "curves_pretrained",
        "recall",
        "confusion",
        "errors",
        "map",
        "views",
        "examples",
        "training_loss",
        "training_entropy",
        "training_knn",
        "training_learning_rate",
    }
    assert expected <= names
    for name in names:
        assert (whole_run / "figures" / f"{name}.csv").stat().st_size > 0
        with Image.open(whole_run / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 250


def test_every_source_named_on_the_page_exists(page: Page, whole_run: RunDirectory) -> None:
    named = set(re.findall(r"figures/([\w-]+\.csv)", page.text))
    assert len(named) >= 15
    assert all((whole_run / "figures" / name).is_file() for name in named)


def test_the_finding_is_the_value_in_its_csv(page: Page, whole_run: RunDirectory) -> None:
    table = pd.read_csv(whole_run / "figures" / "curve_svm.csv")
    row = table[(table["encoder"] == "pretrained") & (table["n_per_class"] == 100)].iloc[0]
    ends = f"{share(row['low'])}–{share(row['high'])}"
    expected = (
        "With up to 100 labels per class (30 in all), the SVM on the pre-trained features reaches a "
        f"balanced accuracy of {share(row['value'])} (95\u00a0%\u00a0interval {ends}) "
        f"on {row['n_test']} test images."
    )
    assert expected in page.text


def test_the_csv_is_the_mean_of_the_curve(whole_run: RunDirectory) -> None:
    """Traced back without the report's own code."""
    curve = pd.read_parquet(whole_run / "curve.parquet")
    chosen = curve[
        (curve["metric"] == "balanced_accuracy")
        & (curve["encoder"] == "initial")
        & (curve["classifier"] == "knn")
        & (curve["n_per_class"] == 5)
    ]
    table = pd.read_csv(whole_run / "figures" / "curve_knn.csv")
    row = table[(table["encoder"] == "initial") & (table["n_per_class"] == 5)].iloc[0]
    assert row["value"] == pytest.approx(chosen["value"].mean(), rel=1e-5)
    assert row["low"] == pytest.approx(chosen["low"].iloc[0], rel=1e-5)


def test_no_path_of_the_machine_is_on_the_page(page: Page, whole_run: RunDirectory) -> None:
    assert str(whole_run.path.parent) not in unquote(page.text)


def test_figures_are_the_same_bytes_again(whole_run: RunDirectory, tmp_path: Path) -> None:
    material = gather(whole_run)
    assert material.curve is not None
    at = headline(material.curve)
    errors = errors_chapter(material, at)
    placed = map_chapter(material, at)
    assert errors is not None
    assert placed is not None
    for item in (curve_exhibit(material.curve, at), errors.items[0], placed.items[0]):
        assert isinstance(item, Exhibit)
        save_figure(item.figure, tmp_path, item.name)
        for kind in ("png", "svg"):
            name = f"{item.name}.{kind}"
            assert (tmp_path / name).read_bytes() == (whole_run / "figures" / name).read_bytes(), name


def test_all_learning_curves_of_a_page_have_one_scale(whole_run: RunDirectory) -> None:
    material = gather(whole_run)
    assert material.curve is not None
    at = headline(material.curve)
    items = [curve_exhibit(material.curve, at), *curves_chapter(material.curve, at, {}).items]
    figures = [item.figure for item in items if isinstance(item, Exhibit)]
    assert len(figures) == 3
    assert len({figure.axes[0].get_ylim() for figure in figures}) == 1


def test_no_run_no_report(tmp_path: Path) -> None:
    with pytest.raises(RunMissingError, match=r"no run\.json"):
        report(run=tmp_path)
