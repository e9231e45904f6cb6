from __future__ import annotations

import io

import pytest

from hundredfold.progress import Progress, bar, say, track


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds, which pass when the test says so."""
    now = [0.0]
    monkeypatch.setattr("hundredfold.progress.time.monotonic", lambda: now[0])
    return now


def test_say_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    say("3 images")
    assert capsys.readouterr() == ("", "3 images\n")


def test_nothing_is_shown_before_two_seconds(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress("Reading", 10, stream=stream)
    clock[0] = 1.9
    shown.advance(9)
    shown.finish()
    assert stream.getvalue() == ""


def test_a_file_gets_plain_lines_ten_seconds_apart(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress("Reading", 100, stream=stream)
    for second in range(1, 21):
        clock[0] = float(second)
        shown.advance(5)
    shown.finish()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3, "at 2 s, at 12 s, and the end"
    assert "\r" not in stream.getvalue()
    assert lines[0].startswith("Reading:  10% ")
    assert "10/100 images" in lines[0]
    assert "5.0 images/s" in lines[0]
    assert "0:18 left" in lines[0]
    assert "100/100" in lines[-1]
    assert "left" not in lines[-1]


def test_a_terminal_gets_one_line_drawn_over(clock: list[float]) -> None:
    stream = Terminal()
    shown = Progress("Reading", 100, stream=stream)
    for tenth in range(1, 31):
        clock[0] = tenth / 10
        shown.advance()
    shown.finish()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") >= 10


def test_a_line_takes_the_place_of_a_bar_that_is_not_finished(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    shown = Progress("Reading", None, "steps")
    clock[0] = 3.0
    shown.advance(50)
    width = len(stream.getvalue().removeprefix("\r"))
    say("Stop.")
    shown.finish()
    say("Done.")
    assert f"\r{' ' * width}\rStop.\n\rReading: " in stream.getvalue()
    assert stream.getvalue().endswith(" steps/s\nDone.\n")


def test_a_narrow_terminal_never_wraps(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    shown = Progress("Pre-training", 100, stream=stream)
    clock[0] = 3.0
    shown.advance(10, loss=6.93, entropy=6.9)
    shown.finish()
    assert max(len(line) for line in stream.getvalue().replace("\n", "\r").split("\r")) == 39


def test_facts_are_shown_with_four_digits(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress("Training", None, "steps", stream=stream)
    clock[0] = 2.0
    shown.advance(4, loss=1.234567, device="cpu")
    assert stream.getvalue() == "Training: 4 steps · 2.0 steps/s · loss 1.235 · device cpu\n"


def test_the_last_line_keeps_the_last_facts(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress("Training", 2, "steps", stream=stream)
    clock[0] = 3
    shown.advance(1, loss="5.2")
    shown.advance(1, loss="5.1")
    shown.finish()
    assert stream.getvalue().splitlines()[-1].endswith("loss 5.1")


def test_a_resumed_count_does_not_inflate_the_rate(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress("Training", 1000, start=900, stream=stream)
    clock[0] = 10.0
    shown.advance(10)
    assert "910/1,000 images · 1.0 images/s · 1:30 left" in stream.getvalue()


def test_hours_are_shown_as_hours(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress("Training", 7201, stream=stream)
    clock[0] = 2.0
    shown.advance(1)
    shown.finish()
    assert "4:00:00 left" in stream.getvalue()


def test_bar_leaves_its_last_state_when_the_work_fails(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError), bar("Reading", 3) as shown:
        clock[0] = 5.0
        shown.advance(2)
        raise ZeroDivisionError
    assert "2/3 images" in capsys.readouterr().err.splitlines()[-1]


def test_track_yields_everything_in_order() -> None:
    assert list(track(iter("abc"), "Reading")) == ["a", "b", "c"]
    assert list(track([], "Reading")) == []
