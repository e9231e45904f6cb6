"""The record: nothing is lost, nothing is changed, and what stands is what the events say."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hundredfold.annotate.events import Answer, Chain, Event, Proposal, Round
from hundredfold.annotate.store import Conflict, Store
from hundredfold.errors import InputError


def says(image: str, label: str, version: int = 0, **more: object) -> Answer:
    return Answer(image, "label", label, version, **more)  # type: ignore[arg-type]


def first(image: str) -> Chain:
    return Chain(image, "first", "")


def test_who_when_key_and_what_was_shown_are_in_the_record() -> None:
    store = Store.memory()
    shown = Proposal("cat", 0.8312, "abc")
    store.answer("Anna", "first", [says("a", "dog", key="2", shown=shown)])
    store.answer("Anna", "first", [says("b", "dog", key="2", revealed=shown)])
    before, after = store.events()
    assert (before.reader, before.key, before.how, before.model) == ("Anna", "2", "single", "abc")
    assert before.shown == '{"label": "cat", "probability": 0.8312}'
    assert (after.shown, after.revealed) == (None, before.shown)
    assert before.at.endswith("+00:00")


def test_an_answer_to_an_older_version_is_refused_and_both_are_in_the_record() -> None:
    store = Store.memory()
    (mine,) = store.answer("Anna", "first", [says("a", "cat")])
    (theirs,) = store.answer("Ben", "first", [says("a", "dog")])
    assert isinstance(mine, Event)
    assert theirs == Conflict("a", mine.number, mine)
    assert store.labels() == {"a": "cat"}
    (again,) = store.answer("Ben", "first", [says("a", "dog", theirs.version)])
    assert isinstance(again, Event)
    assert store.labels() == {"a": "dog"}
    assert [(event.reader, event.kind, event.label) for event in store.events()] == [
        ("Anna", "answer", "cat"), ("Ben", "conflict", "dog"), ("Ben", "answer", "dog"),
    ]


def test_undo_brings_back_what_stood_before_also_of_another() -> None:
    store = Store.memory()
    store.answer("Anna", "first", [says("a", "cat")])
    store.answer("Ben", "first", [says("a", "dog", 1)])
    assert [event.kind for event in store.undo("Ben")] == ["undo"]
    standing = store.standing(first("a"))
    assert standing is not None
    assert (standing.reader, standing.label, store.version(first("a"))) == ("Anna", "cat", 3)
    assert store.undo("Ben") == []


def test_undo_goes_back_in_the_order_of_the_answers() -> None:
    store = Store.memory()
    store.answer("Anna", "first", [says("a", "cat")])
    store.answer("Anna", "first", [says("b", "cat")])
    store.answer("Anna", "first", [says("a", "dog", 1)])
    undone = [event.image for _ in range(4) for event in store.undo("Anna")]
    assert undone == ["a", "b", "a"]
    assert store.labels() == {}


def test_what_was_done_at_one_stroke_is_undone_at_one_stroke() -> None:
    store = Store.memory()
    store.answer("Anna", "first", [says("z", "dog")])
    answers = [says(name, "cat", how="bulk", check_up=name == "a") for name in "abc"]
    store.answer("Anna", "first", answers, batch="grid-1")
    assert store.checks() == ["a"]
    assert {event.image for event in store.undo("Anna")} == {"a", "b", "c"}
    assert (store.labels(), store.checks()) == ({"z": "dog"}, [])


def test_a_label_from_a_grid_is_checked_once() -> None:
    store = Store.memory()
    store.answer("Anna", "first", [says("a", "cat", how="bulk", check_up=True)], batch="grid-1")
    store.answer("Ben", "first", [says("a", "dog", 1)])
    assert store.checks() == []
    ((before, check),) = store.given_in_grids()
    assert check is not None
    assert (before.label, check.label) == ("cat", "dog")


def test_what_is_said_after_a_check_takes_nothing_from_it() -> None:
    store = Store.memory()
    answers = [says(name, "cat", how="bulk", check_up=name == "a") for name in "ab"]
    store.answer("Anna", "first", answers, batch="grid-1")
    store.answer("Ben", "first", [says("a", "dog", 1)])
    doubt = Proposal("cat", 0.9, "m")
    store.answer("Anna", "first", [says("a", "cat", 3, shown=doubt), says("b", "dog", 2, shown=doubt)])
    told = {bulk.image: check and check.label for bulk, check in store.given_in_grids()}
    assert told == {"a": "dog", "b": None}
    seen = [event for event in map(store.first_seen, "ab") if event is not None]
    assert [(event.reader, event.label) for event in seen] == [("Ben", "dog"), ("Anna", "cat")]
    store.undo("Anna")
    store.undo("Anna")
    store.undo("Ben")
    assert dict.fromkeys("ab", None) == {bulk.image: check for bulk, check in store.given_in_grids()}


def test_a_label_that_comes_singly_anyway_is_not_doubted() -> None:
    store = Store.memory()
    answers = [says(name, "cat", how="bulk", check_up=name == "a") for name in "ab"]
    store.answer("Anna", "first", answers, batch="grid-1")
    assert (store.label_given_once("a"), store.label_given_once("b")) == (None, "cat")


def test_the_second_round_has_an_answer_a_reader_and_the_final_one_counts() -> None:
    store = Store.memory()
    store.answer("Anna", "first", [says("a", "cat")])
    for reader, label in (("Ben", "dog"), ("Cleo", "cat")):
        (taken,) = store.answer(reader, "second", [says("a", label)])
        assert isinstance(taken, Event)
    assert store.labels() == {"a": "cat"}
    store.answer("Dora", "final", [says("a", "dog")])
    assert store.labels() == {"a": "dog"}
    store.undo("Dora")
    assert store.labels() == {"a": "cat"}


def test_events_can_be_neither_changed_nor_removed(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "record.sqlite")
    store.answer("Anna", "first", [says("a", "cat")])
    store.close()
    with sqlite3.connect(tmp_path / "record.sqlite") as foreign:
        for command in ("UPDATE events SET label = 'dog'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="events are never"):
                foreign.execute(command)


def test_a_record_is_found_as_it_was_left(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "record.sqlite")
    store.answer("Anna", "first", [says("a", "cat"), says("b", "dog")])
    store.set_aside("Anna", ["c"])
    store.undo("Anna")
    store.close()
    again = Store.open(tmp_path / "record.sqlite")
    assert (again.labels(), again.aside(), again.key) == ({"a": "cat"}, {"c"}, store_key(tmp_path))
    assert [event.kind for event in again.events()] == ["answer", "answer", "aside", "undo"]


def store_key(folder: Path) -> bytes:
    with sqlite3.connect(folder / "record.sqlite") as file:
        return bytes.fromhex(file.execute("SELECT value FROM meta").fetchone()[0])


@pytest.mark.parametrize("content", [b"no database at all", None])
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "record.sqlite"
    if content is None:
        with sqlite3.connect(path) as foreign:
            foreign.execute("CREATE TABLE mine (x)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(InputError, match="cannot be read"):
        Store.open(path)
    assert path.read_bytes() == before


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["answer", "late", "undo", "batch"]), st.sampled_from(["Anna", "Ben"]),
        st.sampled_from(["first", "second", "final"]), st.sampled_from("abc"),
        st.sampled_from(["cat", "dog"]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_memory_views_and_a_plain_replay_agree(moves: list[tuple[str, str, Round, str, str]]) -> None:
    store = Store.memory()
    for number, (move, reader, read, image, label) in enumerate(moves):
        seat = reader if read == "second" else ""
        if move == "undo":
            store.undo(reader)
        elif move == "batch":
            answers = [
                says(name, label, store.version(Chain(name, read, seat)), how="bulk") for name in "abc"
            ]
            store.answer(reader, read, answers, batch=f"{number}")
        else:
            version = store.version(Chain(image, read, seat)) - (move == "late")
            now = store.standing(Chain(image, read, seat))
            (taken,) = store.answer(reader, read, [says(image, label, version)])
            if now and (now.reader, now.label, now.previous or 0) == (reader, label, version):
                assert taken is now  # the same answer once more is no other
            else:
                assert isinstance(taken, Conflict) == (move == "late")
    rows = store._connection.execute("SELECT image, round, seat, number FROM standing").fetchall()
    assert {Chain(*row[:3]): row[3] for row in rows} == {
        chain: event.number for chain, event in store.all_standing().items()
    }
    labels = store._connection.execute("SELECT image, label FROM labels WHERE says = 'label'").fetchall()
    assert dict(labels) == store.labels()
    assert replayed(list(store.events())) == {
        chain: event.number for chain, event in store.all_standing().items()
    }


def replayed(events: list[Event]) -> dict[Chain, int]:
    """What stands, by stacks: an answer goes on top, an undoing takes it off."""
    stacks: dict[Chain, list[int]] = {}
    for event in events:
        if event.kind == "answer":
            stacks.setdefault(event.chain, []).append(event.number)
        elif event.kind == "undo":
            stacks[event.chain].pop()
    return {chain: stack[-1] for chain, stack in stacks.items() if stack}


def test_threads_that_answer_at_once_lose_nothing() -> None:
    store = Store.memory()
    outcomes: list[Event | Conflict] = []

    def read(reader: str) -> None:
        for number in range(40):
            outcomes.extend(store.answer(reader, "first", [says(f"{number}", "cat")]))

    threads = [threading.Thread(target=read, args=(f"reader {number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = Counter(type(outcome).__name__ for outcome in outcomes)
    assert kinds == {"Event": 40, "Conflict": 160}
    assert [event.number for event in store.events()] == [*range(1, 201)]


WRITER = """
import sys
from pathlib import Path
from hundredfold.annotate.events import Answer
from hundredfold.annotate.store import Store
store = Store.open(Path(sys.argv[1]))
for number in range(100_000):
    store.answer("Anna", "first", [Answer(f"{number}", "label", "cat")])
    print(number, flush=True)
"""


def test_a_kill_loses_no_answer_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    heard = [int(writer.stdout.readline()) for _ in range(150)]
    os.kill(writer.pid, signal.SIGKILL)
    heard += [int(line) for line in writer.stdout]
    writer.stdout.close()
    writer.wait()
    kept = {int(name) for name in Store.open(path).labels()}
    assert set(heard) <= kept
    assert len(kept) <= len(heard) + 1
