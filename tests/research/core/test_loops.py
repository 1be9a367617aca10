"""Loops: what they compute, and that a lane's result does not depend on its neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import loops


def test_scan_continues_where_it_stopped():
    def step(problem, params, state):
        state = (state[0] + 1, params * state[1] + problem[state[0]])
        return state, state[1]

    problem, start = jnp.arange(10.0), (jnp.int32(0), jnp.float32(0))
    whole, trace = loops.scan_steps(step, problem, 0.5, start, 10)
    half, first = loops.scan_steps(step, problem, 0.5, start, 5)
    again, second = loops.scan_steps(step, problem, 0.5, half, 5)
    assert again[0] == whole[0] == 10
    assert again[1] == whole[1]
    np.testing.assert_array_equal(np.concatenate([first, second]), trace)


def halve(x):
    return x / 2


def test_while_active_stops_by_itself_and_by_budget():
    x, steps = loops.while_active(halve, lambda x: x > 1, jnp.float32(16), 100)
    assert (x, steps) == (1, 4)
    x, steps = loops.while_active(halve, lambda x: x > 1, jnp.float32(16), 3)
    assert (x, steps) == (2, 3)
    x, steps = loops.while_active(halve, lambda x: x > 1, jnp.float32(16), 0)
    assert (x, steps) == (16, 0)
    with pytest.raises(ValueError, match="max_steps must be >= 0, got -1"):
        loops.while_active(halve, lambda x: x > 1, jnp.float32(16), -1)


def test_a_finished_lane_is_frozen():
    starts = jnp.array([1.0, 16.0, 3.0, jnp.nan])
    x, steps = jax.vmap(lambda x: loops.while_active(halve, lambda x: x > 1, x, 100))(starts)
    np.testing.assert_array_equal(x, [1.0, 1.0, 0.75, np.nan])
    np.testing.assert_array_equal(steps, [0, 4, 2, 0])


def test_counter_is_exact_beyond_32_bits():
    counter, big = loops.start_counter((2,)), 1 << 30
    for _ in range(5):
        counter = loops.count(counter, jnp.array([big, 7]))
    np.testing.assert_array_equal(loops.total(counter), [5 * big, 35])
    one = loops.count(loops.start_counter(), 3)
    assert loops.total(one) == 3
    many, _ = jax.lax.scan(lambda c, _: (loops.count(c, big - 1), None), loops.start_counter(), length=10_000)
    assert loops.total(many) == 10_000 * (big - 1)
    assert loops.total(loops.add(many, many)) == 20_000 * (big - 1)
    assert float(loops.approximate(many, jnp.float32)) == np.float32(10_000 * (big - 1))


def test_two_sum_loses_nothing():
    whole, lost = loops.two_sum(jnp.float32(1), jnp.float32(2.0**-30))
    assert (whole, lost) == (1, 2.0**-30)
    values = np.random.default_rng(0).standard_normal((2, 1000)) * 10.0 ** np.arange(-2, 2)[:, None, None]
    a, b = (jnp.asarray(x.ravel(), jnp.float32) for x in np.moveaxis(values, 1, 0))
    whole, lost = loops.two_sum(a, b[::-1])
    exact = np.asarray(a, np.float64) + np.asarray(b[::-1], np.float64)
    np.testing.assert_array_equal(np.asarray(whole, np.float64) + np.asarray(lost, np.float64), exact)
