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


#: Neither is a multiple of the stripes.
TRAIN, VALIDATION = 30, 7


def parts():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((TRAIN + VALIDATION, DIM)).astype(np.float32)
    return (x[:TRAIN], x[:TRAIN].sum(axis=1)), (x[TRAIN:], x[TRAIN:].sum(axis=1))


def task():
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


def run(given=None, of=None, load=parts):
    given = config() if given is None else given
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), parts())
    mesh = mesh_lib.build({"rep": 1})
    program = striped.program(given, mesh, of or task(), optimizer=optax.sgd(0.1), load=load, like=like)
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
    at = jax.random.randint(places, (1, 4, 2), 0, jnp.array([8, 8, 7, 7]).reshape(1, 4, 1))[0]
    draws = jax.random.normal(others, (1, 4, 2))[0].reshape(-1)
    (x, y), _ = parts()
    rows = (np.arange(4)[:, None] + 4 * np.asarray(at)).reshape(-1)

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


def test_every_example_is_drawn_and_what_fills_a_stripe_is_not():
    """Weights that count how often each example is seen."""

    def objective(weights, statistics, examples, draws, key):
        row = examples[0][:, 0].astype(jnp.int32)
        return {"loss": weights.sum(), "weight": jnp.float32(1)}, statistics.at[row].add(1)

    def numbered():
        count = np.arange(TRAIN, dtype=np.float32)
        return (np.stack([count] * DIM, axis=1), count), parts()[1]

    counting = task()._replace(start=lambda key: (jnp.zeros(1), jnp.zeros(TRAIN, jnp.int32)), objective=objective)
    counting = counting._replace(predict=lambda *_: jnp.zeros(2), judge=lambda outputs, _: {"n": outputs.size * 1.0})
    state, found = run(config(num_steps=400, chunk=400, replicates=1), counting, load=numbered)
    seen = np.asarray(state[1][0])
    assert seen.sum() == 400 * 8
    assert (seen > 0).all()
    assert seen.max() < 200  # the last one fills two stripes: drawn there too, it would be seen some 300 times
    assert found["validation/n"][0, 0] == VALIDATION


def test_what_is_loaded_must_be_what_was_said():
    with pytest.raises(ValueError, match="load must give what `like` says"):
        run(load=lambda: jax.tree.map(lambda leaf: leaf[:5], parts()))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"batch_size": 6}, r"config\.run\.batch_size must be a positive multiple of 4 stripes, got 6"),
        ({"stripes": 16, "batch_size": 16}, r"examples for validation must be at least 16, one a stripe, got 7"),
    ],
)
def test_sizes_must_fit_the_stripes(changed, says):
    with pytest.raises(ValueError, match=says):
        run(config(**changed))
