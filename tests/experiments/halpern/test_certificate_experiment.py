"""The search for schedules, and runs that diverge where they should."""

import numpy as np
import pytest

from experiments.halpern import schedule_search
from research.halpern import schedules


def test_the_published_schedule_costs_what_its_probabilities_say():
    """Far from the start an iteration costs p n + (1 - p) 2 b."""
    refresh = schedules.Refresh(4.0, 1.0)
    needed, step = schedule_search.calls(9, 3, refresh)
    assert step == schedules.certified_limit(9, 3, refresh=refresh)
    assert needed % 9 == 0
    assert needed / 9 == pytest.approx(4 / (step * schedule_search.ACCURACY), rel=0.1)


def test_a_search_never_does_worse_than_the_published_schedule():
    alone, best = (schedule_search.search(100, candidates, 0) for candidates in (0, 60))
    np.testing.assert_allclose(alone[[0, 1, 3, 5]], [100, 4, 1, 1])
    assert best[-1] < 0.9
    n, decay, floor, share, step, saved = best
    needed, certified = schedule_search.calls(100, round(share * 10), schedules.Refresh(decay, floor / 10))
    assert certified == pytest.approx(step)
    published, _ = schedule_search.calls(100, 10, schedules.page_refresh(100))
    assert needed / published == pytest.approx(saved)


def test_certified_steps_converge_and_long_ones_diverge(play):
    changes = {"problem.batches": (1.0,), "problem.scaled_steps": (0.7, 5.66), "problem.epochs": (60.0,)}
    _, curves = play("certificate.py:quick", changes)
    status, residual = curves["status/batch_1"][-1], curves["residual/batch_1"][-1]
    np.testing.assert_array_equal(status[:, 0], 0)
    np.testing.assert_array_equal(status[:, 1], 3)
    assert residual[:, 0].max() < 0.1
