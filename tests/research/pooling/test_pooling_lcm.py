"""The learnable commutative monoid: the worked example W10, commutativity to the bit, the fold against a plain loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import lcm, monoid

Y = np.array([(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2.0)])


def worked_cell(dtype):
    eye = np.eye(2)
    inputs = np.concatenate([0.5 * eye, eye, [[1, 0.2], [0, 1]]], axis=1)
    hidden = np.concatenate([-0.5 * eye, [[0, 1], [1, 0]], 0.8 * eye], axis=1)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), lcm.GRUCell(inputs, hidden, np.zeros(6), np.full(6, 0.1)))


def check_worked_example(dtype, rtol):
    @jax.jit
    def measured(cell, y):
        combine = functools.partial(lcm.combine, cell)
        masks = jnp.array([[True] * 5, [True, False, True, True, False]])
        gap = monoid.associator(combine, y[0], y[1], y[2])
        return combine(y[0], y[1]), lcm.lcm(cell, jnp.stack([y, y]), masks), gap

    pair, sets, gap = measured(worked_cell(dtype), jnp.asarray(Y, dtype))
    np.testing.assert_allclose(pair, [1.441183578, 0.52222242], rtol=rtol)
    np.testing.assert_allclose(sets, [[0.060622604, 1.812859218], [1.479616378, 1.584062609]], rtol=rtol)
    np.testing.assert_allclose(gap, 0.743949276, rtol=rtol)


@pytest.mark.usefixtures("x64")
def test_worked_example():
    check_worked_example(jnp.float64, 1e-6)


def test_worked_example_in_single_precision():
    check_worked_example(jnp.float32, 2e-5)


@pytest.fixture(scope="module")
def drawn():
    cell = lcm.GRUCell.create(prng.root_key(0), 3, 4)
    x = jax.random.normal(prng.root_key(1), (6, 7, 3))
    return cell, x, np.random.default_rng(0).random((6, 7)) < 0.6


@pytest.mark.optimized
def test_it_is_commutative_to_the_bit():
    """The order of two operands decides nothing, whatever the weights are."""
    cell = lcm.GRUCell.create(prng.root_key(0), 8, 8)
    a, b = jax.random.normal(prng.root_key(1), (2, 500, 8))
    combine = jax.jit(lcm.combine)
    np.testing.assert_array_equal(combine(cell, a, b), combine(cell, b, a))


def test_the_fold_is_the_cell_in_a_row(drawn):
    cell, x, mask = drawn
    step = jax.jit(lcm.gru)
    hidden = np.zeros((6, 4), np.float32)
    for n in range(x.shape[1]):
        hidden = np.where(mask[:, n : n + 1], step(cell, x[:, n], hidden), hidden)
    np.testing.assert_allclose(jax.jit(lcm.gru_fold)(cell, x, mask), hidden, rtol=1e-5, atol=1e-6)


def test_the_cell_is_the_one_of_its_source():
    """r, z, n and h' as written in the module's docstring, in NumPy and double precision."""
    cell = jax.tree.map(np.asarray, worked_cell(jnp.float32))
    x, h = Y[0], Y[1]
    w, r = np.split(cell.input_kernel, 3, axis=1), np.split(cell.hidden_kernel, 3, axis=1)
    reset, update = (1 / (1 + np.exp(-(x @ w[i] + h @ r[i] + 0.1))) for i in range(2))
    candidate = np.tanh(x @ w[2] + reset * (h @ r[2] + 0.1))
    expected = (1 - update) * candidate + update * h
    found = jax.jit(lcm.gru)(cell, x.astype(np.float32), h.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda cell, x, mask: lcm.lcm(cell, x[..., :2], mask),
            r"cell.input_kernel must have shape \(2, 6\), got \(3, 12\)",
        ),
        (lambda cell, x, mask: lcm.gru_fold(cell, x[..., :2], mask), r"cell.input_kernel must have shape \(2, any\)"),
        (lambda cell, x, mask: lcm.gru_fold(cell, x, mask[:, 1:]), r"mask must have shape \(6, 7\), got \(6, 6\)"),
        (lambda *_: lcm.LCM.create(prng.root_key(0), 0), "inputs must be >= 1, got 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(drawn, call, message):
    with pytest.raises(ValueError, match=message):
        call(*drawn)
