"""Strata of rows on one device: the same operator, unbiased batches that vary less, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.halpern import finite_sums, page, sharded


def logistic(n, law="uniform"):
    rows, labels = jax.random.split(prng.root_key(0))
    features = jax.random.normal(rows, (n, 3), jnp.result_type(float))
    return finite_sums.logistic(features, jnp.where(jax.random.bernoulli(labels, 0.4, (n,)), 1.0, -1.0), law=law)


@pytest.mark.parametrize("n", [12, 13])
def test_the_operator_is_the_model_s_and_batches_average_to_it(x64, n):
    """One draw from each of the four strata, in all ways."""
    model = logistic(n)
    strata = sharded.shard(model, num_strata=4)
    assert strata.num_components == n
    new, old = jnp.asarray([1.0, -2.0, 0.5]), jnp.asarray([0.3, 0.0, 1.0])
    np.testing.assert_allclose(strata.full(new), model.full(new), rtol=1e-12)
    rows = -(-n // 4)
    choices = np.stack(np.meshgrid(*(np.arange(rows) + rows * s for s in range(4)), indexing="ij"), -1).reshape(-1, 4)
    moves = jax.vmap(lambda draws: strata.difference(draws, new, old))(jnp.asarray(choices)[..., None])
    np.testing.assert_allclose(moves.mean(axis=0), model.full(new) - model.full(old), rtol=1e-12)


def test_draws_come_by_stratum():
    draws = sharded.shard(logistic(13), num_strata=4).sample(prng.root_key(1), (500, 8))
    assert draws.shape == (500, 8, 1)
    np.testing.assert_array_equal(draws[..., 0] // 4, np.broadcast_to(np.arange(8) // 2, (500, 8)))
    assert set(np.unique(draws)) == set(range(16))


def test_what_is_refused():
    with pytest.raises(ValueError, match='model must be drawn by the law "uniform"'):
        sharded.shard(logistic(8, "importance"))
    with pytest.raises(ValueError, match=r"num_strata must .*, got 9"):
        sharded.shard(logistic(8), num_strata=9)
    strata = sharded.shard(logistic(16), num_strata=3)
    with pytest.raises(ValueError, match="batch must be a multiple of the 3 strata, got 4"):
        page.run(page.Problem(strata, jnp.zeros(3)), page.Params(num_steps=1), prng.root_key(0))
