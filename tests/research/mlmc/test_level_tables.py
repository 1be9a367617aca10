"""Laws of levels as arrays: the draws and weights of each law alone, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.mlmc import levels

RATES = (0.55, 0.6, 0.74, 0.9)


@pytest.fixture(scope="module")
def table():
    return levels.tabulate(RATES)


@pytest.mark.parametrize("row", range(len(RATES)))
def test_a_row_draws_what_its_law_draws(table, row):
    law = levels.Geometric(RATES[row])
    # Words at and beside every threshold, among others: ties are decided alike.
    edges = np.array([t + shift for t in law.thresholds[1:] for shift in (-1, 0)], np.uint32)
    first = jnp.asarray(np.concatenate([edges, np.random.default_rng(0).integers(0, 2**32, 500, np.uint32)]))
    found = levels.draw(jax.tree.map(lambda x: x[row], table), (first, first[::-1]))
    expected = levels.draw(law, (first, first[::-1]))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("row", range(len(RATES)))
def test_weights_are_those_of_the_law(table, row):
    law = levels.Geometric(RATES[row])
    length = 2 * law.last
    one = jax.tree.map(lambda x: x[row], table)
    np.testing.assert_array_equal(one.table(length), law.table(length).astype(np.float32))
    np.testing.assert_array_equal(one.tails(length), law.tails(length).astype(np.float32))


def test_a_rate_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"r must lie in \(0.5, 1 - 2\*\*-20\], got 0.5"):
        levels.tabulate((0.6, 0.5))
