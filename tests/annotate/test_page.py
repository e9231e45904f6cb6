"""The page as people use it: in a real browser, by keyboard, by two at once, and by who cannot see well."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from hundredfold.annotate.background import Background
from hundredfold.annotate.events import Answer, Proposal
from hundredfold.annotate.exchange import export_labels
from hundredfold.annotate.proposals import Suspect
from hundredfold.annotate.store import Store
from hundredfold.data.labels import LabelSet
from hundredfold.data.table import ImageTable
from hundredfold.rundir import RunDirectory

#: The image that is to be seen: its name on the page, and the colour in the middle of the canvas.
SEEN = """() => {
  const canvas = document.getElementById("canvas");
  const { width, height } = canvas;
  const middle = canvas.getContext("2d").getImageData(width / 2, height / 3, 1, 1).data;
  return { name: canvas.dataset.image, pixel: [...middle], shown: canvas.dataset.shown };
}"""
#: Whether another view than the last one is painted.
PAINTED = """(after) => {
  const { shown } = document.getElementById("canvas").dataset;
  return shown && shown !== after;
}"""


def seen(page: Page, after: str | None = None) -> dict[str, Any]:
    """What is to be seen now, once it is another view than ``after``."""
    page.wait_for_function(PAINTED, arg=after)
    return dict(page.evaluate(SEEN))


def image_in(site: Any, now: dict[str, Any]) -> str:
    """The image in sight, by its colour; and the page must say so too."""
    image = site.image_of(now["pixel"])
    assert site.studio.gallery.name(image) == now["name"]
    return str(image)


def saved(page: Page, site: Any, count: int) -> None:
    """Wait until so many labels are in the record."""
    end = time.monotonic() + 20
    while len(site.studio.store.labels()) != count:
        assert time.monotonic() < end, f"{len(site.studio.store.labels())} labels, not {count}"
        page.wait_for_timeout(20)


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_images_are_labelled_by_keyboard_alone(
    tmp_path: Path, new_run: Callable[..., RunDirectory], serve: Callable[..., Any], visit: Any, count: int
) -> None:
    run = new_run(tmp_path, count, audit=count // 10, vectors=False)
    with serve(run) as site:
        page = visit(site, viewport={"width": 640, "height": 480})
        for name in site.kinds:
            page.locator("#new-class").focus()
            page.keyboard.type(name)
            page.keyboard.press("Enter")
            expect(page.locator(".class")).to_have_count(site.kinds.index(name) + 1)
        told: dict[str, str] = {}
        shown = None
        for number in range(count):
            now = seen(page, shown)
            image, shown = image_in(site, now), now["shown"]
            told[image] = site.kinds[site.kind(image)]
            page.keyboard.press(str(site.kind(image) + 1))
            if number == count // 2:
                saved(page, site, number + 1)
                page.reload()  # in the middle: nothing is lost, and nothing comes twice
                shown = None
        expect(page.locator("#end")).to_be_visible()
        saved(page, site, count)
        assert len(told) == count
        table = ImageTable.read(run / "images.parquet")
        export_labels(site.studio.store, table, tmp_path / "labels.csv")
        found = LabelSet.read(tmp_path / "labels.csv", table).frame
        assert dict(zip(found["image"], found["label"], strict=True)) == told
        answers = [event for event in site.studio.store.events() if event.kind == "answer"]
        assert {event.key for event in answers} == {"1", "2", "3"}


def test_undo_unsure_and_unusable(site: Any, visit: Any) -> None:
    page = visit(site)
    first = seen(page)
    page.keyboard.press("1")
    second = seen(page, first["shown"])
    assert second["name"] != first["name"]
    page.keyboard.press("u")
    again = seen(page, second["shown"])
    assert again["name"] == first["name"]
    expect(page.locator("#last")).to_have_text("Taken back: answer again.")
    page.keyboard.press("0")
    third = seen(page, again["shown"])
    assert third["name"] == second["name"]
    page.keyboard.press("x")
    seen(page, third["shown"])
    expect(page.locator("#last")).to_have_text("Last: unusable")
    decided = site.studio.store.decided()
    says = {site.studio.gallery.name(image): event.says for image, event in decided.items()}
    assert says == {first["name"]: "unsure", second["name"]: "unusable"}
    page.reload()
    assert seen(page)["name"] not in says
    page.keyboard.press("u")  # also after a reload
    expect(page.locator("#last")).to_have_text("Taken back: answer again.")
    assert len(site.studio.store.decided()) == 1


def test_a_key_held_down_answers_once_and_keys_in_a_field_answer_nothing(site: Any, visit: Any) -> None:
    page = visit(site)
    seen(page)
    for _ in range(3):
        page.keyboard.down("2")  # repeats
    page.keyboard.up("2")
    saved(page, site, 1)
    page.locator("#new-class").focus()
    page.keyboard.type("1x0u")
    page.wait_for_timeout(100)
    assert len(site.studio.store.decided()) == 1


def test_more_than_nine_classes_are_found_by_typing(site: Any, visit: Any) -> None:
    site.studio.book.ensure("Anna", [f"class {number:02d}" for number in range(12)])
    page = visit(site)
    seen(page)
    page.keyboard.press("/")
    page.keyboard.type("11")
    expect(page.locator(".class")).to_have_count(1)
    page.keyboard.press("Enter")
    saved(page, site, 1)
    assert set(site.studio.store.labels().values()) == {"class 11"}
    expect(page.locator(".class")).to_have_count(15)


def test_window_and_zoom_change_what_is_seen_and_nothing_else(site: Any, visit: Any) -> None:
    page = visit(site)
    before = seen(page)
    values = []
    for key in ("]", "]", "'", "+", "r"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        values.append(page.evaluate(SEEN)["pixel"][:3])
    assert min(brighter - plain for brighter, plain in zip(values[1], before["pixel"], strict=False)) >= 12
    assert values[4] == before["pixel"][:3]
    page.mouse.move(300, 300)
    page.mouse.wheel(0, -600)
    page.wait_for_timeout(60)
    assert page.evaluate(SEEN)["pixel"] == before["pixel"]
    assert site.studio.store.decided() == {}


def test_a_grid_with_exceptions(site: Any, visit: Any) -> None:
    page = visit(site, view="grid")
    expect(page.locator(".one")).to_have_count(24)
    expect(page.locator("#state")).to_have_text("24 images will get the class.")
    names = [tile.get_attribute("data-image") for tile in page.locator(".one").all()]
    images = [site.studio.gallery.image(name) for name in names]
    page.locator(".one").nth(3).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.locator("#state")).to_have_text("22 images will get the class; 2 taken out.")
    page.keyboard.press("2")
    expect(page.locator("#last")).to_have_text("22 labelled green; 2 come singly.")
    rest = {image for place, image in enumerate(images) if place not in (3, 4)}
    store = site.studio.store
    assert store.labels() == dict.fromkeys(rest, "green")
    assert store.aside() == {images[3], images[4]}
    assert {event.how for event in store.decided().values()} == {"bulk"}
    assert len(store.checks()) == 2
    expect(page.locator(f'.one[data-image="{names[3]}"]')).to_have_count(0)
    page.keyboard.press("u")
    expect(page.locator("#last")).to_have_text("22 answers taken back.")
    assert store.labels() == {}


def test_a_run_without_vectors_says_that_its_grid_is_not_sorted(
    tmp_path: Path, new_run: Callable[..., RunDirectory], serve: Callable[..., Any], visit: Any
) -> None:
    with serve(new_run(tmp_path, 12, vectors=False)) as site:
        page = visit(site, view="grid")
        expect(page.get_by_text("This run has no vectors")).to_be_visible()
        expect(page.locator(".one")).to_have_count(12)


def test_two_browsers_on_one_image_are_asked_which_answer_counts(site: Any, visit: Any) -> None:
    anna = visit(site, "Anna")
    now = seen(anna)
    image = site.studio.gallery.image(now["name"])
    for choice, expected in (("Keep Ben’s “red”", "red"), ("Use mine: “blue”", "blue")):
        site.studio.store.answer("Ben", "first", [Answer(image, "label", "red")])
        anna.keyboard.press("3")
        expect(anna.locator("#conflict")).to_be_visible()
        expect(anna.locator("#conflict-text")).to_have_text(
            "Ben answered “red” while you had the image open. Your answer is “blue”."
        )
        anna.keyboard.press("1")  # a key means nothing behind the dialogue
        anna.get_by_role("button", name=choice).click()
        expect(anna.locator("#conflict")).not_to_be_visible()
        end = time.monotonic() + 10
        while site.studio.store.labels().get(image) != expected:
            assert time.monotonic() < end
            anna.wait_for_timeout(20)
        assert set(site.studio.store.labels()) >= {image}
        if expected == "red":
            expect(anna.locator("#last")).to_have_text("“blue” was not taken: the other answer stays.")
            now = seen(anna, now["shown"])
            image = site.studio.gallery.image(now["name"])
    told = [event for event in site.studio.store.events() if event.kind != "class"]
    trail = [(event.reader, event.kind, event.label) for event in told]
    both = [("Ben", "answer", "red"), ("Anna", "conflict", "blue")]
    assert trail == [*both, *both, ("Anna", "answer", "blue")]


def test_of_two_answers_that_come_late_each_is_asked_about(
    site: Any, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, store = visit(site), site.studio.store
    now = seen(page)
    images = [image for image, _ in zip(site.studio.desk.order, range(2), strict=False)]
    store.answer("Ben", "first", [Answer(image, "label", "red") for image in images])
    answer = store.answer

    def slow(*given: Any, **more: Any) -> Any:
        time.sleep(0.4)  # so that both keys are pressed before the first question is there
        return answer(*given, **more)

    monkeypatch.setattr(store, "answer", slow)
    for _ in images:
        page.keyboard.press("3")
        now = seen(page, now["shown"])
    for _ in images:
        expect(page.locator("#conflict")).to_be_visible()
        page.get_by_role("button", name="Use mine: “blue”").click()
        page.wait_for_timeout(50)
    end = time.monotonic() + 10
    while [store.labels()[image] for image in images] != ["blue", "blue"]:
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def test_two_browsers_at_once_have_different_images(site: Any, visit: Any) -> None:
    anna, ben = visit(site, "Anna"), visit(site, "Ben")
    before, theirs = seen(anna), seen(ben)
    assert before["name"] != theirs["name"]
    for page, key in ((anna, "1"), (ben, "2")):
        page.keyboard.press(key)
    saved(anna, site, 2)
    assert {event.reader for event in site.studio.store.decided().values()} == {"Anna", "Ben"}


def test_answers_wait_while_they_cannot_be_saved_and_the_page_says_so(
    site: Any, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    page = visit(site)
    now = seen(page)
    monkeypatch.setattr(site.studio.store, "answer", full)
    for key in "123":
        page.keyboard.press(key)
        now = seen(page, now["shown"])
    expect(page.locator("#trouble")).to_contain_text("answers are not saved yet")
    assert site.studio.store.labels() == {}
    monkeypatch.undo()
    saved(page, site, 3)
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_second_reader_sees_no_answer_and_the_decider_sees_all(site: Any, visit: Any) -> None:
    desk, store = site.studio.desk, site.studio.store
    desk.twice = desk.order[:4]
    store.answer("Anna", "first", [Answer(image, "label", "red") for image in desk.twice])
    page = visit(site, "Ben", view="second")
    seen(page)
    assert "red" not in page.locator(".stage").inner_text()
    expect(page.locator("#said")).to_be_hidden()
    expect(page.locator("#proposals")).to_have_count(0)
    page.keyboard.press("2")
    expect(page.locator("#last")).to_have_text("Last: green")
    page.goto(f"{site.address}/decide")
    seen(page)
    expect(page.locator("#said li")).to_have_text(["First reader: red", "Second reader: green"])
    page.keyboard.press("2")
    saved(page, site, 4)
    expect(page.locator("#end")).to_be_visible()
    assert sorted(store.labels().values()) == ["green", "red", "red", "red"]


def test_why_an_image_was_suggested_is_told_once_it_is_answered(
    run: RunDirectory, serve: Callable[..., Any], visit: Any
) -> None:
    table = ImageTable.read(run / "images.parquet")
    audit = set(table.ids[table.frame["split"] == "audit"])
    why = {str(image): "typical of 312 unlabelled images" for image in table.ids if image not in audit}
    with serve(run, first=why) as site:
        site.studio.book.ensure("Anna", site.kinds)
        page = visit(site)
        told = page.locator("#why")
        now, sides = seen(page), set()
        expect(told).to_be_hidden()
        for _ in range(6):
            held = image_in(site, now) in audit
            sides.add(held)
            page.keyboard.press("1")
            now = seen(page, now["shown"])
            if held:
                expect(told).to_be_hidden()
            else:
                expect(told).to_have_text("It was suggested: typical of 312 unlabelled images.")
        assert sides == {True, False}


@pytest.mark.slow
def test_the_proposal_is_hidden_until_a_key_was_pressed_unless_switched_on(
    run: RunDirectory, serve: Callable[..., Any], visit: Any
) -> None:
    background = Background()
    try:
        with serve(run, background=background) as site:
            site.studio.book.ensure("Anna", site.kinds)
            train = [image for image in site.studio.desk.order if image not in site.studio.held_out]
            train.sort(key=lambda image: int(image[11:14]))  # as many of each kind among the first
            answers = [Answer(image, "label", site.kinds[site.kind(image)]) for image in train[:24]]
            site.studio.store.answer("Anna", "first", answers)
            site.studio.labelled()
            end = time.monotonic() + 60
            while site.studio.propose(train[40]) is None:
                assert time.monotonic() < end
                time.sleep(0.05)
            page = visit(site)
            expect(page.locator("#proposals")).to_have_count(0)
            expect(page.get_by_text("Once the audit set is read")).to_be_visible()
            audit = [Answer(image, "unsure") for image in site.studio.held_out]
            site.studio.store.answer("Ben", "first", audit)
            page.reload()
            now = seen(page)
            expect(page.locator("#proposal")).to_be_hidden()
            kind = site.kind(image_in(site, now))
            page.keyboard.press(str((kind + 1) % 3 + 1))
            expect(page.locator("#last")).to_contain_text(f"The classifier says {site.kinds[kind]}")
            seen(page, now["shown"])
            page.locator("#proposals").check()
            for _ in range(4):  # what was fetched before comes without
                now = seen(page)
                page.keyboard.press("1")
                seen(page, now["shown"])
            expect(page.locator("#proposal")).to_contain_text("Proposal: ")
    finally:
        background.close()


class Said:
    """A classifier that has learned: it doubts one label."""

    def __init__(self, suspect: Suspect) -> None:
        self.suspect = suspect

    def __call__(self, _image: str) -> None:
        return None

    def suspects(self) -> list[Suspect]:
        return [self.suspect]

    def refresh(self) -> None:
        return None


def test_a_doubtful_label_is_shown_as_a_question_beside_its_likes(site: Any, visit: Any) -> None:
    order, store = site.studio.desk.order, site.studio.store
    answers = [Answer(image, "label", site.kinds[site.kind(image)]) for image in order[:20]]
    store.answer("Anna", "first", answers)
    image, site.studio.desk.twice = order[3], []
    rather = site.kinds[(site.kind(image) + 1) % 3]
    site.studio.propose = Said(Suspect(image, site.kinds[site.kind(image)], Proposal(rather, 0.93, "m")))
    page = visit(site, view="again")
    assert image_in(site, seen(page)) == image
    expect(page.locator("#said")).to_have_text(f"Labelled: {site.kinds[site.kind(image)]}")
    expect(page.locator("#proposal")).to_have_text(f"They speak for: {rather}, 93 %")
    expect(page.locator("#likes figure")).to_have_count(8)
    expect(page.get_by_role("link", name="Look again 1")).to_be_visible()
    page.keyboard.press(str(site.kinds.index(rather) + 1))
    expect(page.locator("#end")).to_be_visible()
    expect(page.locator("#last")).to_have_text(f"Last: {rather}")
    assert store.labels()[image] == rather
    *_, event = store.events()
    assert (event.shown, event.model) == (f'{{"label": "{rather}", "probability": 0.93}}', "m")


def test_classes_are_edited_on_the_page(site: Any, visit: Any) -> None:
    images, site.studio.desk.twice = site.studio.desk.order[:3], []
    site.studio.store.answer("Anna", "first", [Answer(image, "label", "red") for image in images])
    page = visit(site, view="classes")
    card = page.locator(".card").first
    card.get_by_label("Name").fill("crimson")
    card.get_by_label("Name").press("Enter")
    expect(page.locator("#told")).to_have_text("Now called crimson.")
    card.locator("select").select_option("7")
    expect(page.locator("#told")).to_have_text("crimson has the key 7.")
    card.get_by_label("Description").fill("Like blood")
    card.get_by_label("Description").blur()
    expect(page.locator("#told")).to_have_text("The description is kept.")
    card.get_by_role("button", name="as an example").first.click()
    expect(page.locator("#told")).to_have_text("The examples are kept.")
    card.get_by_role("button", name="Remove").click()
    expect(page.locator("#told")).to_contain_text("3 answers name the class 'crimson'")
    (known,) = [known for known in site.studio.book.all() if known.name == "crimson"]
    assert (known.id, known.key, known.description, len(known.examples)) == ("red", "7", "Like blood", 1)
    page.goto(f"{site.address}/read")
    page.locator("summary").click()
    expect(page.locator(".classes details p")).to_have_text("Like blood")


VIEWS = ("hello", "read", "grid", "second", "decide", "again", "progress", "classes")


@pytest.mark.parametrize("settings", [
    {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    pytest.param(
        {"viewport": {"width": 820, "height": 1180}, "color_scheme": "dark", "has_touch": True},
        marks=pytest.mark.slow,
    ),
])
def test_axe_finds_nothing_serious(site: Any, visit: Any, settings: dict[str, Any]) -> None:
    desk, store, book = site.studio.desk, site.studio.store, site.studio.book
    book.change("Anna", "red", description="Like blood", examples=desk.order[:2])
    desk.twice = desk.order[:14]
    store.answer("Anna", "first", [Answer(image, "label", "red") for image in desk.order[:14]])
    store.answer("Ben", "second", [Answer(image, "label", "blue") for image in desk.order[:12]])
    page = visit(site, "Ben", bypass_csp=True, **settings)
    rules = 0
    for view in VIEWS:
        page.goto(f"{site.address}/{view}")
        if view in ("read", "second", "decide"):
            seen(page)
        if view == "grid":
            page.locator(".one").first.click()
        found = Axe().run(page).response
        grave = [
            (view, fault["id"], fault["nodes"][0]["html"][:120]) for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert grave == []
        rules += len(found["passes"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is too wide"
    assert rules > 100


def test_the_record_of_the_whole_session_can_be_read_again(site: Any, visit: Any, run: RunDirectory) -> None:
    page = visit(site)
    now = seen(page)
    for key in "12u3":
        page.keyboard.press(key)
        now = seen(page, now["shown"])
    saved(page, site, 2)
    from hundredfold.annotate.store import FILE

    again = Store.open(run / FILE)
    assert again.labels() == site.studio.store.labels()
    again.close()
