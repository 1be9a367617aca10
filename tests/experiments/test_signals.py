"""A notice that comes twice at once is one notice."""

import os
import signal

import pytest

from experiments.lib import signals
from experiments.lib.errors import Interrupted


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


def test_a_group_s_signal_and_the_launcher_s_are_one_notice(clock):
    with signals.Notice().installed() as notice, notice.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.received == signal.SIGINT


def test_a_second_signal_a_while_later_leaves_at_once(clock):
    with signals.Notice().installed() as notice, notice.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        clock[0] += 10
        with pytest.raises(Interrupted, match="stopped by SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_repeat_does_not_disturb_what_the_first_began(clock):
    with signals.Notice().installed():
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
