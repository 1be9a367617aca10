"""Training over stripes: what is a mean, what depends on the mesh or the batch, what is refused."""

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
import optax
import pytest

from experiments.lib import mesh as mesh_lib
from experiments.lib import striped
from research.core import prng

DIM = 3


def config(**changed):
    given = {"stripes": 4, "batch_size": 8, "num_steps": 6, "chunk": 3, "replicates": 2, "seed": 5} | changed
    run = {name: given[name] for name in ("batch_size", "num_steps", "chunk", "replicates")}
    return mlc.ConfigDict({"seed": given["seed"], "problem": {"stripes": given["stripes"]}, "run": run})


def parts():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, DIM)).astype(np.float32)
    return (x[:32], x[:32].sum(axis=1)), (x[32:], x[32:].sum(axis=1))


def task(seen=None):
    """Least squares with noisy targets and weights that differ by example; statistics count steps."""

    def objective(weights, statistics, examples, draws, key):
        x, y = examples
        errors = (x @ weights - y - 0.1 * draws) ** 2
        weight = 1.0 + (x[:, 0] > 0)
        sums = {"loss": jnp.sum(weight * errors), "weight": jnp.sum(weight), "first": jnp.sum(weight * x[:, 0])}
        return sums | {"coin": jax.random.uniform(key) * jnp.sum(weight)}, statistics + 1

    return striped.Task(
        lambda key: (jax.random.normal(key, (DIM,)), jnp.int32(0)),
        objective,
        lambda weights, statistics, examples: (examples[0] @ weights - examples[1]) ** 2,
        lambda outputs, examples: {"error": outputs.mean(), "known": examples[1].sum()},
        lambda key, shape: jax.random.normal(key, shape),
    )


def run(given=None, of=None, optimizer=None):
    given = config() if given is None else given
    train, validation = parts()
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (train, validation))
    program = striped.program(
        given, mesh_lib.build({"rep": 1}), of or task(), optimizer=optimizer or optax.sgd(0.1), load=parts, like=like
    )
    data, state = program.init()
    found = []
    for _ in range(given.run.num_steps // given.run.chunk):
        state, metrics = program.advance(data, state)
        found.append(metrics)
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def test_a_step_is_the_gradient_of_the_weighted_mean():
    state, found = run(config(num_steps=1, chunk=1, replicates=1))
    # Again by hand, from the same draws.
    key = prng.replicate_keys(prng.root_key(5), 1)[0]
    weights = jax.random.normal(key, (DIM,))
    places, others = jax.random.split(prng.per_step(prng.stream(key, "batches"), 0))
    at = jax.random.randint(places, (1, 4, 2), 0, 8)[0]
    draws = jax.random.normal(others, (1, 4, 2))[0].reshape(-1)
    (x, y), _ = parts()
    rows = (8 * np.arange(4)[:, None] + np.asarray(at)).reshape(-1)

    def loss(weights):
        share = 1.0 + (x[rows, 0] > 0)
        return jnp.sum(share * (x[rows] @ weights - y[rows] - 0.1 * draws) ** 2) / share.sum()

    value, gradient = jax.value_and_grad(loss)(weights)
    np.testing.assert_allclose(found["loss"][0, 0], value, rtol=1e-6)
    np.testing.assert_allclose(state[0][0], weights - 0.1 * gradient, rtol=1e-5)


def test_validation_is_of_all_its_examples_after_the_chunk():
    state, found = run()
    (x, y) = parts()[1]
    np.testing.assert_allclose(found["validation/known"], np.full((2, 2), y.sum()), rtol=1e-6)
    errors = ((x @ np.asarray(state[0]).T - y[:, None]) ** 2).mean(axis=0)
    np.testing.assert_allclose(found["validation/error"][-1], errors, rtol=1e-4)
    assert (np.asarray(state[1]) == 6).all()


def test_replicates_are_seeds_and_chunks_do_not_matter_to_what_a_step_shares():
    _, found = run()
    assert found["loss"][0, 0] != found["loss"][0, 1]
    _, alone = run(config(replicates=1))
    np.testing.assert_array_equal(found["loss"][:, 0], alone["loss"][:, 0])
    _, single = run(config(chunk=1))
    np.testing.assert_allclose(single["coin"][:3].mean(axis=0), found["coin"][0], rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"batch_size": 6}, r"config\.run\.batch_size must be a positive multiple of 4 stripes, got 6"),
        ({"stripes": 16, "batch_size": 16}, r"validation must be a positive multiple of 16 stripes, got 8"),
    ],
)
def test_sizes_must_fit_the_stripes(changed, says):
    with pytest.raises(ValueError, match=says):
        run(config(**changed))
