"""Nested Monte Carlo: its expectation is known, its paths are those of the words, and tiles change nothing."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng, status
from research.mlmc import engine, nested, paths, problems, second_moments, walks


@pytest.fixture(scope="module")
def estimate():
    return jax.jit(lambda problem, params, state: _to_the_end(problem, params, state))


def _to_the_end(problem, params, state):
    wanted = jnp.asarray(params.counts, jnp.int32)[0]
    return jax.lax.while_loop(
        lambda state: state.outer.count < wanted, lambda state: nested.step(problem, params, state)[0], state
    )


def _start(problem, params, words=None):
    state = nested.init(problem, params, prng.root_key(3))
    return state if words is None else state._replace(seed=jnp.asarray(words, jnp.uint32))


@pytest.mark.parametrize("inner", [1, 2, 9])
def test_the_expectation_is_the_exact_value_plus_the_inner_variance_over_the_samples(estimate, inner):
    """D = 1, g(z) = z**2: E = gamma_0 + Var(y_1 | y_0)/N_1. 5.6 standard errors: 2e-8 each, by a normal law."""
    problem = walks.walk("A1")
    params = nested.Params((40_000, inner))
    outer = estimate(problem, params, _start(problem, params)).outer
    expected = problem.exact + float(problem.scales[1]) ** 2 / inner
    assert expected == pytest.approx(float(second_moments.nested_mean(problem, inner)))
    error = math.sqrt(float(outer.second)) / int(outer.count)
    assert int(outer.count) == 40_000
    assert abs(float(outer.mean) - expected) < 5.6 * error
    assert abs(problem.exact - expected) > 5.6 * error  # the bias is seen


@pytest.mark.parametrize(("words", "value"), [((1, 2), 1.594629439)])
def test_the_first_path_is_that_of_the_words(estimate, words, value):
    """With one child a node, path 0 is replicate 0 of random levels, which has level 0, less its weight 1/p_0 = 1/0.6:
    the worked example takes the sine of the same point.
    """
    problem = eqx.tree_at(lambda p: (p.mean, p.scales), walks.walk("A1"), (jnp.float32(1), jnp.float32([0.7, 1])))
    params = nested.Params((1, 1))
    squared = float(estimate(problem, params, _start(problem, params, words)).outer.mean)
    assert abs(math.sin(math.sqrt(squared))) == pytest.approx(0.6 * value, abs=1e-5)


@pytest.fixture(scope="module")
def deep():
    """B3, D = 2, in tiles that fit nothing, and by the definition."""
    problem, params = walks.walk("B3"), nested.Params((21, 5, 3), 3, (8, 2, 2))
    state = _start(problem, params)

    def direct(seed):
        ids = jnp.arange(21, dtype=jnp.uint32), jnp.zeros(21, jnp.uint32)
        keys, y_0 = engine.roots(problem, tuple(seed), ids)
        keys, y_1 = paths.children(problem, 1, keys, y_0, jnp.arange(5))
        z = paths.leaves(problem, keys, y_1, jnp.arange(3)).reshape(-1, 3).mean(axis=1)
        return jnp.sin((z**2).reshape(-1, 5).mean(axis=1))

    values = jax.jit(direct)(state.seed)
    return jax.jit(nested.run)(problem, params, state=state), np.asarray(values, np.float64)


def test_tiles_change_nothing(deep):
    result, values = deep
    assert float(result.value) == pytest.approx(values.mean(), abs=2e-6)
    assert float(result.state.outer.second) == pytest.approx(((values - values.mean()) ** 2).sum(), rel=1e-4)
    assert float(result.trace.standard_error[-1]) == pytest.approx(values.std(ddof=1) / math.sqrt(21), rel=1e-4)
    np.testing.assert_array_equal(result.trace.paths, [8, 16, 21])
    assert nested.num_leaves((21, 5, 3)) == 315
    assert nested.num_leaves((21, 5, 3), 8) == 120


class _Evidence(problems.NestedExpectation):
    """log of the mean of exp(w), for leaves w; its own logarithm would underflow."""

    shift: jax.Array
    kinds, smoothness, exact = problems.normals(1, 1), ("smooth",), None

    @property
    def inner(self):
        return "logmeanexp"

    def init(self, u):
        return u[0]

    def transition(self, d, state, u):
        return state + u[0]

    def leaf(self, state):
        return self.shift - state**2

    def link(self, d, state, z):
        return z


def test_logarithms_of_leaves_are_averaged_as_what_they_are_logarithms_of():
    problem = _Evidence(jnp.float32(-1000.0))
    params = nested.Params((4, 11), 1, (4, 3))
    state = _start(problem, params)

    @jax.jit
    def drawn(seed):
        keys, y_0 = engine.roots(problem, tuple(seed), (jnp.arange(4, dtype=jnp.uint32), jnp.zeros(4, jnp.uint32)))
        return paths.leaves(problem, keys, y_0, jnp.arange(11))

    leaves = np.asarray(drawn(state.seed), np.float64).reshape(4, 11)
    expected = (np.log(np.exp(leaves + 1000).mean(axis=1)) - 1000).mean()
    assert float(jax.jit(nested.run)(problem, params, state=state).value) == pytest.approx(expected, rel=1e-6)


def test_a_value_that_is_not_finite_is_named(estimate, deep):
    problem, params = eqx.tree_at(lambda p: p.mean, walks.walk("A1"), jnp.float32(np.nan)), nested.Params((5, 1))
    state = estimate(problem, params, _start(problem, params))
    assert int(status.of(state)) == status.Status.NONFINITE
    assert int(state.first_bad) == 0
    assert int(deep[0].state.first_bad) == -1
    assert int(deep[0].status) == status.Status.OK


def test_allocations():
    assert nested.equal_counts(10, 2) == (10, 10, 10)
    assert nested.square_counts(4, 2) == (16, 4, 4)
    assert nested.square_counts(4, 0) == (16,)
    for budget in (1e4, 1e6):
        outer, inner = nested.best_counts(budget, 3.0, (0.5,))
        assert inner == round((2 * 0.25 * budget / 3.0) ** (1 / 3))
        assert outer == round(budget / inner)


def test_the_best_allocation_beats_its_neighbours():
    """A/N_0 + (sum of b_d/N_d)**2 over a grid of inner counts, at equal leaves."""
    budget, variance, biases = 1e8, 2.0, (3.0, 0.8)

    def error(inner):
        return variance * math.prod(inner) / budget + sum(b / n for b, n in zip(biases, inner, strict=True)) ** 2

    found = nested.best_counts(budget, variance, biases)
    grid = min(error((n, m)) for n in range(1, 400) for m in range(1, 200))
    assert error(found[1:]) <= grid * (1 + 1e-3)  # rounding to whole numbers
    assert abs(nested.num_leaves(found) / budget - 1) < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nested.Params((0, 4)), r"Params\.counts\[0\] must lie in \[1, "),
        (lambda: nested.Params(()), r"Params\.counts must hold one number for each of D \+ 1 depths, got \(\)\."),
        (lambda: nested.Params((4, 4), 0), r"Params\.num_steps must be >= 1, got 0\."),
        (lambda: nested.Params((4, 4), 1, (4,)), r"tiles, counts must have equal lengths"),
        (lambda: nested.Params((4, 4), 1, (4, 0)), r"Params\.tiles\[1\] must lie in \[1, "),
        (lambda: _start(walks.walk("A1"), nested.Params((4, 4, 4))), r"must hold 2 numbers for a problem of depth 1"),
        (lambda: nested.equal_counts(0, 1), r"m must be >= 1, got 0\."),
        (lambda: nested.best_counts(100, 0.0, (1.0,)), r"variance must be positive and finite, got 0\.0\."),
        (lambda: nested.best_counts(100, 1.0, ()), r"biases must have one entry for each of D >= 1"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
