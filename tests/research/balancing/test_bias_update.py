"""Rules, schedules and options of bias updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import bias_update
from research.balancing.bias_update import Rule

LOAD = np.array([5, 0, 1, 2])  # T = 4 tokens, K = 2: L = 2, e = (-3, 2, 1, 0)


def increments(rule, loads, top_k=2, dtype=jnp.float32):
    """Biases after each of the loads."""
    state, biases = rule.init(len(loads[0]), dtype), []
    for load in loads:
        state = rule.update(state, jnp.asarray(load, jnp.int32), top_k)
        biases.append(np.asarray(state.bias))
    assert int(state.updates) == len(loads)
    return np.array(biases)


@pytest.mark.parametrize(
    ("rule", "direction"),
    [
        ("sign", [-1, 1, 1, 0]),
        ("prop", [-3 / 4, 2 / 4, 1 / 4, 0]),
        ("prop_raw", [-3, 2, 1, 0]),
        ("rel", [-3 / 2, 2 / 2, 1 / 2, 0]),
        ("prop_l1", [-3 / 6, 2 / 6, 1 / 6, 0]),
    ],
)
def test_bias_falls_for_overloaded_experts_by_the_rule(rule, direction):
    np.testing.assert_allclose(increments(Rule(rule, step_size=0.1), [LOAD])[0], 0.1 * np.array(direction), rtol=1e-6)


def test_rel_is_prop_with_another_unit():
    np.testing.assert_allclose(
        increments(Rule("rel", step_size=0.1), [LOAD]),
        increments(Rule("prop", step_size=0.1 * 4 / 2), [LOAD]),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("schedule", "options", "sizes"),
    [
        ("const", {}, [1, 1, 1, 1, 1]),
        ("inv", {}, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        ("inv_sqrt", {}, [1, 2**-0.5, 3**-0.5, 1 / 2, 5**-0.5]),
        ("inv_offset", {"offset": 3.0}, [1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8]),
        ("cosine", {"horizon": 2.0}, [1, 1 / 2, 0, 0, 0]),
        ("cosine", {"horizon": 2.0, "final": 0.2}, [1, 0.6, 0.2, 0.2, 0.2]),
        ("piecewise", {"horizon": 3.0}, [1, 1, 1, 0, 0]),
        ("piecewise", {"horizon": 3.0, "final": 0.5}, [1, 1, 1, 0.5, 0.5]),
    ],
)
def test_step_sizes_of_the_schedules(schedule, options, sizes):
    rule = Rule("sign", schedule, step_size=0.5, **options)
    np.testing.assert_allclose(rule.step_size_at(jnp.arange(1, 6)), 0.5 * np.array(sizes), atol=1e-6)
    steps = np.diff(np.concatenate([np.zeros((1, 4)), increments(rule, [LOAD] * 5)]), axis=0)[:, 1]
    np.testing.assert_allclose(steps, 0.5 * np.array(sizes), atol=1e-6)


def test_the_sign_is_that_of_the_exact_error_for_loads_beyond_float32():
    # E A_k against sum(A): differences of one token in 2**29, and a sum whose E-fold overflows int32.
    load = np.full(8, 2**26, np.int32) + np.array([1, 0, 0, 0, 0, 0, 0, 0], np.int32)
    np.testing.assert_array_equal(np.sign(bias_update.load_error(load)), [-1, 1, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(bias_update.load_error(np.full(8, 2**26 + 1, np.int32)), np.zeros(8))
    exact = load.sum(dtype=np.int64) - 8 * load.astype(np.int64)
    np.testing.assert_allclose(bias_update.load_error(load), exact / 8, rtol=1e-6)


def test_errors_sum_to_zero_where_loads_cannot_be_equal(x64):
    load = jnp.array([3, 2, 2, 0], jnp.int32)
    np.testing.assert_allclose(bias_update.load_error(load), [-1.25, -0.25, -0.25, 1.75])
    np.testing.assert_allclose(bias_update.load_error(np.asarray(load) / 7), np.array([-1.25, -0.25, -0.25, 1.75]) / 7)


def test_momentum_adds_up_errors_and_averages_forget_them():
    other = np.array([2, 2, 4, 0])  # e = (0, 0, -2, 2)
    first, second = np.array([-3, 2, 1, 0]), np.array([0, 0, -2, 2])
    heavy = increments(Rule("prop_raw", step_size=1.0, momentum=0.5), [LOAD, other])
    np.testing.assert_allclose(heavy, [first, first + second + 0.5 * first], rtol=1e-6)
    smooth = increments(Rule("prop_raw", step_size=1.0, ema_load=0.5), [LOAD, other])
    average = (0.25 * first + 0.5 * second) / 0.75  # the weights of two loads, corrected for the start at zero
    np.testing.assert_allclose(smooth, [first, first + average], rtol=1e-6)


def test_clipping_and_centring():
    assert np.abs(increments(Rule("sign", step_size=0.3, clip=0.5), [LOAD] * 3)).max() == np.float32(0.5)
    plain = increments(Rule("sign", step_size=0.25), [LOAD] * 3)
    centred = increments(Rule("sign", step_size=0.25, center=True), [LOAD] * 3)
    np.testing.assert_allclose(centred, plain - plain.mean(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("rule", bias_update.RULES)
def test_nothing_moves_at_balance_or_without_tokens(rule):
    for load in (np.full(4, 3), np.zeros(4, int)):
        np.testing.assert_array_equal(increments(Rule(rule, step_size=0.3, momentum=0.5), [load])[0], np.zeros(4))


def test_a_grid_of_step_sizes_is_one_program():
    grid = jnp.array([1e-3, 1e-2, 1e-1])
    rules = jax.vmap(lambda u: Rule("sign", "inv", step_size=u))(grid)
    state = Rule().init(4)
    moved = jax.jit(jax.vmap(lambda rule: rule.update(state, jnp.asarray(LOAD), 2).bias))(rules)
    np.testing.assert_allclose(moved[:, 1], grid, rtol=1e-6)
