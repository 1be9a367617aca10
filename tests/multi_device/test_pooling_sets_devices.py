"""Sets whose elements lie on eight devices: the same numbers and gradients, and only statistics travel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from research.pooling import layouts, sets, softmax_monoid

pytestmark = pytest.mark.multi_device

PARAMS = {"softmax": {"beta": 2.0}, "gnp": {"p": -2.0, "q": 0.5}}


@pytest.fixture(scope="module")
def element_mesh():
    assert jax.device_count() == 8, "run as: pytest -m multi_device tests/multi_device"
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


@pytest.fixture(scope="module")
def drawn():
    """Four sets of up to 16 elements, one of them empty: dense, and flat in an order that mixes devices and sets."""
    x = 5 * jax.random.normal(jax.random.key(0), (4, 16, 3))
    mask = jax.random.uniform(jax.random.key(1), (4, 16)) < jnp.array([0.9, 0.0, 0.2, 0.5])[:, None]
    order = jax.random.permutation(jax.random.key(2), 64)
    return x, mask, x.reshape(64, 3)[order], jnp.repeat(jnp.arange(4), 16)[order], mask.reshape(64)[order]


@pytest.mark.parametrize("kind", sets.KINDS)
def test_split_elements_give_the_pools_of_one_device(kind, drawn, element_mesh):
    x, mask, rows, ids, taken = drawn
    given = {"params": PARAMS.get(kind), "empty": -2.0}

    def alone(x):
        return sets.set_pool(x, kind, mask=mask, **given)

    def split(x):
        return sets.pool_sharded(x, kind, mesh=element_mesh, mask=mask, **given)

    def flat(rows):
        options = {"mask": taken, "segment_ids": ids, "num_segments": 4}
        return sets.pool_sharded(rows, kind, mesh=element_mesh, **options, **given)

    weights = jnp.arange(12.0).reshape(4, 3)
    expected, slope = jax.vjp(jax.jit(alone), x)
    for function, given_x in ((split, x), (flat, rows)):
        found, back = jax.vjp(jax.jit(function), given_x)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)
        ours, theirs = (np.sort(np.asarray(f(weights)[0]).reshape(-1, 3), axis=0) for f in (back, slope))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_summaries_merge_over_devices(drawn, element_mesh):
    x, mask = drawn[:2]

    def local(x, mask):
        part = softmax_monoid.summary(layouts.Dense(mask.shape, mask), 3 * x, x)
        whole = softmax_monoid.all_reduce(part, "data")
        return softmax_monoid.mean(whole), softmax_monoid.log_sum(whole)

    split = P(None, "data")
    found = jax.jit(jax.shard_map(local, mesh=element_mesh, in_specs=(split, split), out_specs=P()))(x, mask)
    np.testing.assert_allclose(found[0], sets.set_pool(x, "softmax", mask=mask, params={"beta": 3.0}), rtol=2e-6)
    whole = softmax_monoid.summary(layouts.Dense(mask.shape, mask), 3 * x, x)
    np.testing.assert_allclose(found[1], softmax_monoid.log_sum(whole), rtol=2e-6)


def test_only_statistics_travel(drawn, element_mesh):
    def pooled(x):
        return sets.pool_sharded(x, "softmax", mesh=element_mesh)

    x = jax.device_put(drawn[0], NamedSharding(element_mesh, P(None, "data")))
    text = jax.jit(pooled).lower(x).compile().as_text()
    assert " all-reduce" in text
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))


def test_what_cannot_be_split_is_refused(element_mesh, mesh):
    with pytest.raises(ValueError, match="mesh must have an axis 'data'"):
        sets.pool_sharded(jnp.ones((2, 16, 1)), "sum", mesh=mesh)
    with pytest.raises(ValueError, match="x must have a number of elements divisible by the 8 devices, got 12"):
        sets.pool_sharded(jnp.ones((2, 12, 1)), "sum", mesh=element_mesh)
