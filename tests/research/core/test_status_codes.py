"""Statuses are recorded per element and raised on the host."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import status
from research.core.status import Status


class State(NamedTuple):
    step: Any
    x: Any


class Result(NamedTuple):
    state: State
    status: Any


def test_of_sees_only_floating_leaves():
    assert status.of(State(jnp.int32(3), jnp.ones(2))) == Status.OK
    assert status.of(State(jnp.int32(3), jnp.array([1.0, jnp.nan]))) == Status.NONFINITE
    assert status.of(State(jnp.int32(3), jnp.array([1.0, -jnp.inf]))) == Status.NONFINITE
    assert status.of(jax.random.key(0)) == Status.OK
    assert status.of(()) == Status.OK


@pytest.mark.parametrize(("converged", "expected"), [(True, Status.CONVERGED), (False, Status.BUDGET)])
def test_of_with_a_stopping_rule(converged, expected):
    assert status.of(jnp.ones(2), jnp.asarray(converged)) == expected


def test_one_bad_lane_is_marked_alone():
    codes = jax.vmap(status.of)(jnp.array([[0.0, 1.0], [jnp.nan, 1.0], [2.0, 3.0]]))
    np.testing.assert_array_equal(codes, [Status.OK, Status.NONFINITE, Status.OK])


def test_combine_takes_the_worst():
    worst = status.combine(jnp.int32(Status.CONVERGED), jnp.array([Status.OK, Status.DIVERGED]))
    np.testing.assert_array_equal(worst, [Status.CONVERGED, Status.DIVERGED])


def test_check_names_status_element_and_step():
    good = Result(State(np.array([4, 5]), None), np.array([Status.OK, Status.BUDGET]))
    status.check(good)
    bad = Result(State(np.array([4, 5]), None), np.array([Status.OK, Status.NONFINITE]))
    with pytest.raises(FloatingPointError, match=r"status NONFINITE: batch element 1 by step 5\."):
        status.check(bad)
    with pytest.raises(FloatingPointError, match=r"status DIVERGED: the run by step 9\."):
        status.check(Result(State(np.array(9), None), np.array(Status.DIVERGED)))
    two = Result(State(None, None), np.array([[Status.OK, Status.DIVERGED], [Status.DIVERGED, Status.OK]]))
    with pytest.raises(FloatingPointError, match=r"batch element \(0, 1\) \(2 of 4 elements are bad\)"):
        status.check(two)
