"""What the page asks: images for one reader only, answers that are never lost or mixed up, blind rounds."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette

from hundredfold.annotate.background import Background
from hundredfold.annotate.events import Answer, Chain, Proposal
from hundredfold.annotate.exchange import take_in
from hundredfold.annotate.order import reading_order
from hundredfold.annotate.server import serve as serve_page
from hundredfold.annotate.store import FILE, Store
from hundredfold.data.table import ImageTable
from hundredfold.rundir import RunDirectory
from hundredfold.web.listening import bound


def give(site: Any, reader: str, holder: str, count: int = 1, **more: Any) -> list[dict[str, Any]]:
    asked = {"round": "first", "count": count, **more}
    status, body = site.api("next", reader=reader, holder=holder, **asked)
    assert status == 200
    return list(body["items"])


def say(
    site: Any, reader: str, holder: str, item: dict[str, Any], label: str | None, **more: Any
) -> tuple[int, Any]:
    asked = {"round": "first", "says": "label", "label": label, "image": item["image"]}
    return site.api("answer", reader=reader, holder=holder, **asked | {"version": item["version"]} | more)


def test_two_readers_never_have_the_same_image_before_them(site: Any) -> None:
    anna = give(site, "Anna", "holder-a", 8)
    ben = give(site, "Ben", "holder-b", 8)
    assert len({item["image"] for item in [*anna, *ben]}) == 16
    assert give(site, "Anna", "holder-a", 8) == anna  # a page that asks again has them still


def test_two_answers_to_one_image_are_one_200_and_one_409_and_both_are_kept(site: Any) -> None:
    now = [0.0]
    site.studio.desk.leases._clock = lambda: now[0]
    (before,) = give(site, "Anna", "holder-a")
    now[0] += 61
    (same,) = give(site, "Ben", "holder-b")
    assert same["image"] == before["image"]
    _, told = site.api("beat", reader="Anna", holder="holder-a", round="first", have=[before["image"]])
    assert told == {"lost": [before["image"]]}
    assert say(site, "Ben", "holder-b", same, "red")[0] == 200
    status, late = say(site, "Anna", "holder-a", before, "blue")
    assert status == 409
    assert late["now"] == {
        "says": "label", "label": "red", "name": "red", "reader": "Ben", "round": "first",
    }
    trail = [(e.reader, e.kind, e.label) for e in site.studio.store.events() if e.kind != "class"]
    assert trail == [("Ben", "answer", "red"), ("Anna", "conflict", "blue")]
    assert say(site, "Anna", "holder-a", before, "blue", version=late["version"])[0] == 200


def test_an_answer_sent_twice_is_one_answer(site: Any) -> None:
    (item,) = give(site, "Anna", "holder-a")
    once, again = (say(site, "Anna", "holder-a", item, "red") for _ in range(2))
    assert once == again
    assert [event.kind for event in site.studio.store.events()].count("answer") == 1


def test_an_answer_with_a_class_that_is_none_is_refused(site: Any) -> None:
    (item,) = give(site, "Anna", "holder-a")
    assert say(site, "Anna", "holder-a", item, "violet")[0] == 400
    assert say(site, "Anna", "holder-a", item, None)[0] == 400
    assert say(site, "Anna", "holder-a", {**item, "image": "0" * 24}, "red")[0] == 404
    assert not site.studio.store.labels()


def test_the_audit_set_is_spread_among_the_rest_and_never_in_a_grid(site: Any) -> None:
    order, audit = site.studio.desk.order, site.studio.desk.audit
    places = [order.index(image) for image in audit]
    assert len(audit) == 6
    assert all(any(3 * part <= place < 3 * part + 3 for place in places) for part in range(6))
    seen: set[str] = set()
    for number in range(4):
        _, body = site.api("grid", holder="holder-a", count=16)
        images = {site.studio.gallery.image(item["image"]) for item in body["items"]}
        assert body["alike"]
        assert not images & audit
        kinds = Counter(site.kind(image) for image in images)
        assert kinds.most_common(1)[0][1] >= (16 if number == 0 else 1)
        seen |= images
        asked = [{"image": item["image"], "version": item["version"]} for item in body["items"]]
        assert site.api("confirm", holder="holder-a", label="red", images=asked)[0] == 200
    assert len(seen) == 54  # all but the audit set


def test_a_grid_may_name_images_of_the_audit_set_and_they_get_no_label(site: Any) -> None:
    image = min(site.studio.desk.audit)
    asked = [{"image": site.studio.gallery.name(image), "version": 0}]
    site.api("confirm", holder="holder-a", label="red", images=asked)
    assert site.studio.store.labels() == {}


def test_one_in_twenty_of_a_grid_comes_back_singly_and_shows_how_often_grids_err(site: Any) -> None:
    _, body = site.api("grid", holder="holder-a", count=16)
    images = [{"image": item["image"], "version": item["version"]} for item in body["items"]]
    site.api("confirm", holder="holder-a", label="red", images=images[1:], aside=[images[0]["image"]])
    store = site.studio.store
    (check,) = store.checks()
    for _ in range(60):
        (found,) = give(site, "Anna", "holder-a")
        if site.studio.gallery.image(found["image"]) == check:
            break
        say(site, "Anna", "holder-a", found, "blue")
    assert found["version"] > 0
    assert not {"label", "says"} & found.keys()  # it is read without its label in sight
    say(site, "Anna", "holder-a", found, "green")
    (pair,) = [both for both in store.given_in_grids() if both[1] is not None]
    assert (pair[0].label, pair[1].label, pair[0].how, pair[1].how) == ("red", "green", "bulk", "single")
    assert b"1 came back singly, and 1 got another answer" in site.call("GET", "/progress")[1]


def test_what_was_taken_out_of_a_grid_comes_singly_and_in_no_other_grid(site: Any) -> None:
    _, body = site.api("grid", holder="holder-a", count=4)
    seen = [{"image": item["image"], "version": item["version"]} for item in body["items"]]
    aside = [seen[0]["image"], seen[1]["image"]]
    site.api("confirm", holder="holder-a", label="red", images=seen[2:], aside=aside)
    again = {item["image"] for item in site.api("grid", holder="holder-a", count=48)[1]["items"]}
    assert len(again) == 48
    assert not again & set(aside)
    site.api("leave", holder="holder-a")
    singly = {item["image"] for number in range(8) for item in give(site, "Anna", f"holder-{number}", 8)}
    assert set(aside) <= singly


def test_a_grid_that_another_labelled_in_part_is_taken_for_the_rest(site: Any) -> None:
    _, body = site.api("grid", holder="holder-a", count=4)
    seen = [{"image": item["image"], "version": item["version"]} for item in body["items"]]
    first = site.studio.gallery.image(seen[0]["image"])
    site.studio.store.answer("Ben", "first", [Answer(first, "label", "blue")])
    status, told = site.api("confirm", holder="holder-a", label="red", images=seen)
    assert (status, told["taken"], len(told["late"])) == (409, 3, 1)
    assert told["late"][0]["now"]["reader"] == "Ben"
    assert site.studio.store.labels()[first] == "blue"
    assert site.api("undo", holder="holder-a")[1]["undone"] == 3


def test_the_second_reader_is_blind_and_gets_what_others_read(site: Any) -> None:
    studio = site.studio
    order = studio.desk.order
    studio.desk.twice = order[:20]
    studio.store.answer("Anna", "first", [Answer(image, "label", "red") for image in order[:12]])
    studio.store.answer("Ben", "first", [Answer(image, "label", "red") for image in order[12:16]])
    take_in(studio.store, {order[17]: "red"}, "an import")
    items = give(site, "Ben", "holder-b", 8, round="second") + give(
        site, "Ben", "holder-b", 8, round="second", have=[studio.gallery.name(image) for image in order[:8]]
    )
    assert {studio.gallery.image(item["image"]) for item in items} == set(order[:12])
    assert all((item["said"], item["proposal"], item["version"]) == ([], None, 0) for item in items)
    for place, item in enumerate(items[:10]):
        label = "blue" if place < 2 else "red"
        assert say(site, "Ben", "holder-b", item, label, round="second")[0] == 200
    decide = give(site, "Cleo", "holder-c", 8, round="final")
    assert len(decide) == 2
    assert [(said["name"], said["reader"]) for said in decide[0]["said"]] == [("red", None), ("blue", None)]
    assert say(site, "Cleo", "holder-c", decide[0], "blue", round="final")[0] == 200
    assert sorted(studio.store.labels().values()).count("blue") == 1
    page = site.call("GET", "/progress")[1].decode()
    assert "10 images were read blindly by more than one of 2 readers" in page
    assert "8 of 10 second answers" in page


def second(site: Any, reader: str) -> set[str]:
    items = give(site, reader, f"holder-of-{reader}", 8, round="second")
    return {site.studio.gallery.image(item["image"]) for item in items}


def test_who_knows_what_was_said_of_an_image_is_no_second_reader_of_it(site: Any) -> None:
    studio, store = site.studio, site.studio.store
    late, checked, decided, plain = studio.desk.twice = [
        image for image in studio.desk.order if image not in studio.held_out
    ][:4]
    named = {image: {"image": studio.gallery.name(image), "version": 0} for image in studio.desk.twice}
    store.answer("Anna", "first", [Answer(image, "label", "red") for image in (late, checked, plain)])
    store.answer("Anna", "first", [Answer(decided, "unsure")])
    assert second(site, "Ben") == set(studio.desk.twice)
    assert say(site, "Ben", "holder-b", named[late], "blue")[1]["now"]["label"] == "red"  # he was told
    store.answer("Ben", "first", [Answer(checked, "label", "blue", store.version(first(checked)))])
    assert give(site, "Ben", "holder-b", 8, round="final") == []  # he may be its second reader yet
    store.answer("Dora", "second", [Answer(decided, "label", "red")])
    (item,) = give(site, "Ben", "holder-b", 8, round="final")
    assert item["said"][0]["says"] == "unsure"
    assert second(site, "Ben") == {plain}
    assert checked not in second(site, "Anna")  # her own first reading lies beneath his
    assert second(site, "Cleo") == {late, checked, decided, plain}


def first(image: str) -> Chain:
    return Chain(image, "first", "")


def test_no_label_of_the_audit_set_or_of_an_image_read_twice_stands_beside_others(site: Any) -> None:
    studio = site.studio
    order = studio.desk.order
    studio.desk.twice = order[:9]
    studio.store.answer("Anna", "first", [Answer(image, "label", "red") for image in order])
    free = {studio.gallery.name(image) for image in order[9:] if image not in studio.held_out}
    assert set(studio.samples()["red"]) <= free
    (known,) = [known for known in studio.book.all() if known.name == "red"]
    studio.book.change("Anna", known.id, examples=order[8:12])
    assert set(studio.classes()[0]["examples"]) <= free
    assert studio.classes()[0]["examples"]


def test_an_image_of_the_audit_set_cannot_be_told_from_others_before_it_is_answered(
    run: RunDirectory, serve: Callable[..., Any]
) -> None:
    table = ImageTable.read(run / "images.parquet")
    order, audit = reading_order(table, b"key"), table.ids[table.frame["split"] == "audit"]
    assert {order.index(image) % 3 for image in audit} == {0, 1, 2}
    why = {image: f"typical of {image}" for image in order if image not in audit}
    with serve(run, first=why) as site:
        site.studio.book.ensure("Anna", site.kinds)
        told = {}
        for item in give(site, "Anna", "holder-a", 8, proposals=True):
            assert {**item, "image": ""} == {"image": "", "version": 0, "proposal": None, "said": []}
            _, answer = say(site, "Anna", "holder-a", item, "red")
            told[site.studio.gallery.image(item["image"])] = answer["why"]
        assert told == {image: why.get(image) for image in told}
        assert None in told.values()


def test_an_undoing_asked_for_twice_takes_back_one_answer(site: Any) -> None:
    for item in give(site, "Anna", "holder-a", 3):
        say(site, "Anna", "holder-a", item, "red")
    once, again = (site.api("undo", holder="holder-a", ticket="t-1") for _ in range(2))
    assert once == again
    assert len(site.studio.store.labels()) == 2
    site.api("undo", holder="holder-a", ticket="t-2")
    assert len(site.studio.store.labels()) == 1


def test_progress_is_told_when_only_second_readers_stand(site: Any) -> None:
    store, image = site.studio.store, site.studio.desk.order[0]
    for reader, read in (("Ben", "second"), ("Cleo", "second"), ("Anna", "first")):
        store.answer(reader, read, [Answer(image, "label", "red")])
    assert b"2 of 2 second answers" in site.call("GET", "/progress")[1]
    store.undo("Anna")
    status, page, _ = site.call("GET", "/progress")
    assert status == 200
    assert b"1 image was read blindly by more than one of 2 readers.</p>" in page


def test_agreement_is_that_of_labels_before_they_were_looked_at_again(site: Any) -> None:
    store, images = site.studio.store, site.studio.desk.order[:12]
    store.answer("Anna", "first", [Answer(image, "label", "red") for image in images])
    store.answer("Ben", "second", [Answer(image, "label", "blue") for image in images])
    for image in images:
        version, doubt = store.version(first(image)), Proposal("blue", 0.9, "m")
        store.answer("Cleo", "first", [Answer(image, "label", "blue", version, shown=doubt)])
    assert b"0 of 12 second answers" in site.call("GET", "/progress")[1]
    assert set(store.labels().values()) == {"blue"}


def test_a_name_spelt_otherwise_is_the_same_reader(site: Any) -> None:
    (item,) = give(site, "Anna", "holder-a")
    say(site, "Anna", "holder-a", item, "red")
    _, _, headers = site.call("POST", "/hello", b"name=anna", reader=None)
    assert b"Anna".hex() in headers["set-cookie"]


def test_unsure_images_wait_for_a_decision(site: Any) -> None:
    site.studio.desk.twice = []  # one that is to be read blindly is not shown with what was said of it
    (item,) = give(site, "Anna", "holder-a")
    say(site, "Anna", "holder-a", item, None, says="unsure")
    (torn,) = give(site, "Ben", "holder-b", 8, round="final")
    assert torn["image"] == item["image"]


def test_a_proposal_comes_after_the_key_and_never_on_held_out_images_or_a_second_reader(
    run: RunDirectory, serve: Callable[..., Any]
) -> None:
    background = Background()
    try:
        with serve(run, background=background) as site:
            studio = site.studio
            studio.book.ensure("Anna", site.kinds)
            train = [image for image in studio.desk.order if image not in studio.held_out]
            train.sort(key=lambda image: int(image[11:14]))  # as many of each kind among the first
            answers = [Answer(image, "label", site.kinds[site.kind(image)]) for image in train[:24]]
            audit = [Answer(image, "label", "red") for image in sorted(studio.held_out)[:2]]
            studio.store.answer("Anna", "first", answers + audit)
            studio.desk.twice = train[:24]
            studio.labelled()
            until(lambda: studio.propose(train[30]) is not None)
            right = [studio.proposal(image).label == site.kinds[site.kind(image)] for image in train[24:]]
            assert np.mean(right) == 1
            assert studio.proposal(train[0]) is None  # it has an answer
            assert all(studio.proposal(image) is None for image in studio.held_out)
            hidden = give(site, "Anna", "holder-a", 1)
            assert hidden[0]["proposal"] is None
            hidden[0]["image"] = studio.gallery.name(train[25])
            status, told = say(site, "Anna", "holder-a", hidden[0], "red")
            assert (status, told["revealed"]["label"]) == (200, site.kinds[site.kind(train[25])])
            (event,) = [event for event in studio.store.events() if event.revealed]
            assert (event.shown, len(event.model)) == (None, 16)
            ahead = give(site, "Anna", "holder-d", 8, proposals=True)
            assert [item["proposal"] for item in ahead] == [None] * 8  # nothing tells the audit set apart
            rest = [image for image in studio.held_out if image not in studio.store.labels()]
            studio.store.answer("Anna", "first", [Answer(image, "unsure") for image in rest])
            ahead = give(site, "Anna", "holder-d", 8, proposals=True)
            assert None not in [item["proposal"] for item in ahead]
            second = give(site, "Ben", "holder-b", 8, round="second", proposals=True)
            assert [item["proposal"] for item in second] == [None] * 8
            _, told = say(site, "Ben", "holder-b", second[0], "red", round="second")
            assert told["revealed"] is None
    finally:
        background.close()


def test_labels_that_the_others_contradict_are_asked_about_once(
    run: RunDirectory, serve: Callable[..., Any]
) -> None:
    background = Background()
    try:
        with serve(run, background=background) as site:
            studio = site.studio
            studio.book.ensure("Anna", site.kinds)
            train = [image for image in studio.desk.order if image not in studio.held_out]
            slips = ("secretname 010.png", "secretname 023.png")  # the order of the images is one of chance
            wrong = {image: site.kinds[(site.kind(image) + 1) % 3] for image in slips}
            answers = [
                Answer(image, "label", wrong.get(image, site.kinds[site.kind(image)])) for image in train
            ]
            audit = [Answer(image, "label", site.kinds[2 - site.kind(image)]) for image in studio.held_out]
            studio.store.answer("Anna", "first", answers + audit)
            assert site.api("again", count=8)[1] == {"items": []}
            studio.labelled()
            until(lambda: bool(studio.suspects("Anna")))
            studio.desk.twice = [slips[0]]
            assert [one.image for one in studio.suspects("Ben")] == [slips[1]]  # he may yet read it blindly
            studio.desk.twice = train[:2]
            _, body = site.api("again", count=8)
            shown = {like["image"] for item in body["items"] for like in item["likes"]}
            assert not shown & {studio.gallery.name(image) for image in [*train[:2], *studio.held_out]}
            found = {studio.gallery.image(item["image"]): item for item in body["items"]}
            assert found.keys() == wrong.keys()  # and nothing of the audit set
            for image, item in found.items():
                assert item["said"][0]["name"] == wrong[image]
                assert item["proposal"]["label"] == site.kinds[site.kind(image)]
                names = [like["name"] for like in item["likes"]]
                assert len(names) == 8
                assert names.count(site.kinds[site.kind(image)]) >= 6
            kept, mended = found.values()
            for item, label in ((kept, kept["said"][0]["label"]), (mended, mended["proposal"]["label"])):
                assert say(site, "Anna", site.holder, item, label, shown=item["proposal"])[0] == 200
            assert studio.suspects("Anna") == []
            assert site.api("again", count=8)[1] == {"items": []}
    finally:
        background.close()


def test_a_proposal_seen_before_an_undo_was_in_sight_at_the_next_answer(site: Any) -> None:
    (item,) = give(site, "Anna", "holder-a")
    image, store = site.studio.gallery.image(item["image"]), site.studio.store
    store.answer("Anna", "first", [Answer(image, "label", "red", revealed=Proposal("blue", 0.8, "m1"))])
    _, body = site.api("undo", holder="holder-a")
    assert body["items"][0]["image"] == item["image"]
    assert say(site, "Anna", "holder-a", body["items"][0], "blue")[0] == 200
    *_, event = store.events()
    assert (event.shown, event.revealed, event.model) == ('{"label": "blue", "probability": 0.8}', None, "m1")
    store.undo("Anna")
    assert say(site, "Ben", "holder-b", item, "red", version=store.count)[0] == 200
    *_, event = store.events()
    assert (event.reader, event.shown) == ("Ben", None)  # who did not see it


def test_what_was_in_sight_is_in_the_record(site: Any) -> None:
    (item,) = give(site, "Anna", "holder-a")
    shown = {"label": "blue", "probability": 0.75, "model": "m1"}
    say(site, "Anna", "holder-a", item, "red", shown=shown, key="1")
    *_, event = site.studio.store.events()
    assert (event.shown, event.model, event.key) == ('{"label": "blue", "probability": 0.75}', "m1", "1")


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_twenty_annotators_at_once(tmp_path: Path, new_run: Any, serve: Callable[..., Any]) -> None:
    annotate_together(tmp_path, new_run, serve, images=200, seconds=60)


@pytest.mark.slow
def test_twenty_annotators_for_a_minute(tmp_path: Path, new_run: Any, serve: Callable[..., Any]) -> None:
    annotate_together(tmp_path, new_run, serve, images=4000, seconds=60)


def annotate_together(
    tmp_path: Path, new_run: Any, serve: Callable[..., Any], *, images: int, seconds: float
) -> None:
    """Until all is read or the time is up: no image is read twice, and what was acknowledged is kept."""
    run = new_run(tmp_path, images, vectors=False)
    with serve(run) as site:
        site.studio.book.ensure("Anna", site.kinds)
        taken: list[tuple[str, str]] = []
        faults: list[object] = []
        end = time.monotonic() + seconds

        def read(reader: str) -> None:
            while time.monotonic() < end:
                items = give(site, reader, f"holder-of-{reader}", 4)
                if not items:
                    return
                for item in items:
                    label = site.kinds[site.kind(site.studio.gallery.image(item["image"]))]
                    status, body = say(site, reader, f"holder-of-{reader}", item, label)
                    if status == 200:
                        taken.append((site.studio.gallery.image(item["image"]), label))
                    else:
                        faults.append(body)

        threads = [threading.Thread(target=read, args=(f"reader{number:02d}",)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert len(taken) == len(dict(taken)) > 0
        assert site.studio.store.labels() == dict(taken)
        readers = Counter(event.reader for event in site.studio.store.events() if event.kind == "answer")
        assert len(readers) == 20
    assert Store.open(run / FILE).labels() == dict(taken)


class Client:
    """Talks to the verb, as started on the command line."""

    def __init__(self, run: Path, *more: str) -> None:
        command = [sys.executable, "-m", "hundredfold", "annotate", str(run), "--no-browser", *more]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                self.port, self.token = int(found[1]), found[2]
                return
        raise AssertionError("the page was not served")

    def stop(self, number: int) -> int:
        os.kill(self.process.pid, number)
        try:
            self.said = self.process.communicate(timeout=60)[1]
        finally:
            self.process.kill()  # nothing, where it has ended
        return self.process.returncode


def test_kill_9_of_the_server_under_load_loses_no_acknowledged_label(
    run: RunDirectory, serve: Callable[..., Any]
) -> None:
    with serve(run) as site:  # only for its way to speak
        site.studio.book.ensure("Anna", site.kinds)
        speak = type(site)(site.studio, 0)
    client = Client(run.path)
    speak.port = client.port
    cookies = f"hundredfold-{client.port}={client.token}; hundredfold-reader-{client.port}=416e6e61"
    speak.cookies = lambda reader: cookies
    taken: list[str] = []

    def read(holder: str) -> None:
        try:
            while items := give(speak, "Anna", holder, 2):
                for item in items:
                    assert say(speak, "Anna", holder, item, "red")[0] == 200
                    taken.append(item["image"])
        except (OSError, ValueError, http.client.HTTPException):
            return  # the server is gone

    threads = [threading.Thread(target=read, args=(f"holder-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(taken) >= 20)
    client.stop(signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    store = Store.open(run / FILE)
    kept = {speak.studio.gallery.name(image) for image in store.labels()}
    assert len(taken) >= 20
    assert set(taken) <= kept
    assert len(kept) <= len(taken) + len(threads)
    store.close()


def test_whoever_is_told_the_address_may_press_ctrl_c() -> None:
    told: list[object] = []

    def say(line: str) -> None:
        told.append((line, signal.getsignal(signal.SIGINT)))
        signal.raise_signal(signal.SIGINT)

    listening = bound(None)
    serve_page(lambda _: Starlette(), "secret", listening=listening, browser=False, say=say)
    assert len(told) == 2  # the first Ctrl-C is heeded when all is said, not in the middle
    assert all(taken is not signal.default_int_handler for _, taken in told)


def test_the_verb_ends_at_ctrl_c_and_writes_nothing_but_the_record(run: RunDirectory) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    client = Client(run.path, "--reader", "Anna")
    assert client.stop(signal.SIGINT) == 0
    assert "0 images are labelled" in client.said
    after = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {FILE}
    assert {path: after[path] for path in before} == before
