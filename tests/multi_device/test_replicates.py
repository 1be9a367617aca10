"""One device and eight do the same: draws bit for bit, results to the rounding of another lane width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from research.core import discover, prng, sharding

pytestmark = pytest.mark.multi_device

ALGORITHMS = [pytest.param(module, id=module.__name__.removeprefix("research.")) for module in discover.algorithms()]


def draws(key):
    return {
        "uniform": prng.blocked(lambda k, n: jax.random.uniform(k, (n, 3)), key, 1000, 100),
        "normal": jax.random.normal(prng.per_step(key, 7), (5,)),
        "integers": jax.random.randint(prng.stream(key, "integers"), (5,), 0, 1000),
        "permutation": jax.random.permutation(prng.stream(key, "permutation"), 20),
    }


def test_eight_devices_draw_what_one_draws(mesh):
    keys = prng.replicate_keys(prng.root_key(0), 16)
    alone = jax.jit(sharding.replicates(draws, None))(keys)
    sharded = jax.jit(sharding.replicates(draws, mesh))(keys)
    jax.tree.map(np.testing.assert_array_equal, sharded, alone)
    assert len(sharded["normal"].sharding.device_set) == 8


def test_a_global_draw_does_not_depend_on_its_sharding(mesh):
    key = prng.root_key(3)
    split = NamedSharding(mesh, P("rep"))
    sharded = jax.jit(lambda k: jax.random.uniform(k, (64, 5)), out_shardings=split)(key)
    np.testing.assert_array_equal(sharded, jax.random.uniform(key, (64, 5)))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_eight_devices_run_as_one(algo, mesh):
    problem, params = algo.example(prng.root_key(0))
    keys = prng.replicate_keys(prng.root_key(1), 8)

    def run(problem, key):
        return algo.run(problem, params, key)

    alone = jax.jit(sharding.replicates(run, None, shared=1))(problem, keys)
    sharded = jax.jit(sharding.replicates(run, mesh, shared=1))(problem, keys)

    def compare(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        if jnp.issubdtype(a.dtype, jnp.inexact):
            # Lanes of another width round differently in the last bits, and some hundred steps add that up.
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
        else:
            np.testing.assert_array_equal(a, b)

    jax.tree.map(compare, sharded, alone)


def test_no_collectives_between_replicates(mesh):
    keys = sharding.split_replicates(prng.replicate_keys(prng.root_key(1), 8), mesh)
    text = jax.jit(sharding.replicates(draws, mesh)).lower(keys).compile().as_text()
    assert not any(name in text for name in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))


def test_a_mesh_that_does_not_divide_is_refused(mesh):
    keys = prng.replicate_keys(prng.root_key(1), 6)
    with pytest.raises(ValueError, match="not evenly divisible"):
        jax.jit(sharding.replicates(draws, mesh))(keys)
