"""Progress: nothing for short work, plain lines with rate and remaining time, a bar on a terminal."""

import io
import re

import pytest

from experiments.lib import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_short_work_prints_nothing(clock):
    stream = io.StringIO()
    with progress.Progress("medical", 100, stream=stream) as bar:
        for done in range(1, 101):
            clock[0] += 0.05
            bar.update(done)
    assert stream.getvalue() == ""


def test_plain_lines_tell_rate_and_time_left(clock):
    stream = io.StringIO()
    with progress.Progress("medical", 10_000, done=4_000, stream=stream) as bar:
        for done in (4_100, 4_200, 5_000):
            clock[0] += 6
            bar.update(done)
    assert stream.getvalue().splitlines() == ["medical: 4,200/10,000 steps (42 %), 16.7 steps/s, 5 min 48 s left"]


def test_what_failed_is_told_and_not_waited_for(clock):
    stream = io.StringIO()
    with progress.Progress("games", 12, done=2, unit="points", stream=stream) as bar:
        clock[0] += 40
        bar.update(5, failed=1)
    assert stream.getvalue() == "games: 5/12 points (42 %), 1 failed, 0.1 points/s, 1 min 00 s left\n"


def test_quiet_is_quiet(clock):
    stream = io.StringIO()
    with progress.Progress("medical", 10, quiet=True, stream=stream) as bar:
        clock[0] += 100
        bar.update(5)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress.Progress("medical", 10, stream=stream) as bar:
        bar.update(5)
        bar._bar.refresh()
    assert "medical" in stream.getvalue()
    assert re.search(r"5/10 steps", stream.getvalue())
    assert " left" in stream.getvalue()


def test_track_yields_everything(clock):
    assert list(progress.track([3, 1, 2], "oracles", total=3)) == [3, 1, 2]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3600 * 27 + 120, "27 h 02 min")]
)
def test_durations(seconds, text):
    assert progress._duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (999, "999"), (12_345, "12.3k"), (3e6, "3.0M"), (2e9, "2.0G")]
)
def test_rates(value, text):
    assert progress._short(value) == text
