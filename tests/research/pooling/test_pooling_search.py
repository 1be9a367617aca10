"""Search among pooling configurations: worked balance, convergence (T21), shapes of every placement, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import robust_bounds, search, supernet

PREFERENCE = np.ones((6, 2))
PREFERENCE[:2] = (0.9, 0.1), (0.8, 0.3)


def test_worked_balance(x64):
    found = search.balance(jnp.asarray(PREFERENCE), 10.0)
    assert found.sweeps == 4
    np.testing.assert_allclose(found.probability[:, 0], (0.999056002, 0.981374855, *(0.26200798,) * 4), rtol=1e-7)
    np.testing.assert_allclose(found.probability.mean(axis=0), (0.504743796, 0.495256204), rtol=1e-7)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1, rtol=1e-13)
    low = search.balance(jnp.asarray(PREFERENCE, jnp.float32), 10.0)
    assert low.probability.dtype == jnp.float32
    np.testing.assert_allclose(low.probability, found.probability, rtol=2e-5)


@pytest.fixture(scope="module")
def balance():
    return jax.jit(
        lambda w, tolerance, sweeps: search.balance(w, 8.0, tolerance=tolerance, max_sweeps=sweeps),
        static_argnames="sweeps",
    )


def test_balance_converges_to_the_unique_scaling(balance, x64):
    """T21: the limit is balanced, is the scaling of rows and columns, and is approached at the proven rate."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        w = rng.random((7, 3)) * 0.5
        limit = np.asarray(balance(w, 1e-30, 2000).probability)
        np.testing.assert_allclose(limit.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_allclose(limit.mean(axis=0), 1 / 3, rtol=1e-10)
        start = np.exp(8 * w)
        # limit / start = row factor times column factor: all 2 x 2 minors of the ratio vanish.
        ratio = np.log(limit) - np.log(start)
        minors = ratio - ratio[:1] - ratio[:, :1] + ratio[0, 0]
        assert np.abs(minors).max() < 1e-9
        # Scaling columns beforehand changes nothing: the limit is unique in its class.
        other = balance(w + rng.random((1, 3)) / 8, 1e-30, 2000).probability
        np.testing.assert_allclose(other, limit, rtol=1e-8)
        rate = float(robust_bounds.balance_rate(limit))
        start = start / start.sum(axis=1, keepdims=True)
        before = robust_bounds.hilbert_distance(start, limit)
        for _ in range(4):
            start = start / start.mean(axis=0)
            start = start / start.sum(axis=1, keepdims=True)
            after = robust_bounds.hilbert_distance(start, limit)
            assert after <= rate * before + 1e-9
            before = after


def test_networks_out_of_use_have_no_probability(x64):
    w = jnp.asarray(np.random.default_rng(1).random((5, 4)))
    part = search.balance(w, 3.0, used=jnp.int32(2), tolerance=1e-9)
    np.testing.assert_array_equal(part.probability[:, 2:], 0)
    np.testing.assert_allclose(part.probability[:, :2], search.balance(w[:, :2], 3.0, tolerance=1e-9).probability)


def test_balance_at_the_last_temperature_underflows_nothing():
    w = jnp.asarray(np.random.default_rng(2).random((9, 4)), jnp.float32)
    found = search.balance(w, 1000.0, max_sweeps=5000)
    assert np.isfinite(found.probability).all()
    np.testing.assert_allclose(found.probability.sum(axis=1), 1, rtol=1e-5)


def test_placements_are_all_of_them_and_keep_their_resolution():
    assert len(supernet.placements(10, 2)) == 36  # nine gaps of a ResNet-20
    assert len(supernet.placements(7, 2)) == 15
    assert supernet.placements(4, 2) == ((0, 1), (0, 2), (1, 2))
    network = supernet.Network(4, 3, 5)
    weights = jax.eval_shape(network.init, prng.root_key(0))
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    for pools in range(4):
        placement = jax.ShapeDtypeStruct((pools,), jnp.int32)
        assert jax.eval_shape(network, weights, placement, images).shape == (2, 5)


def test_a_network_is_its_layers_one_by_one(x64):
    """Every placement, by one program, against SciPy's convolution and loops over blocks."""
    from scipy import ndimage

    network = supernet.Network(4, 2, 4)
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network.init(prng.root_key(1)))
    images = np.random.default_rng(3).normal(size=(3, 5, 6, 1))

    def layer(x, kernel):
        taps = kernel.reshape(3, 3, x.shape[-1], -1)
        out = np.zeros((*x.shape[:3], taps.shape[-1]))
        for b, i, o in np.ndindex(x.shape[0], x.shape[-1], taps.shape[-1]):
            out[b, ..., o] += ndimage.correlate(x[b, ..., i], taps[:, :, i, o], mode="constant")
        out -= out.mean(axis=(0, 1, 2))
        return np.maximum(out / np.sqrt(out.var(axis=(0, 1, 2)) + 1e-5), 0)

    compiled = jax.jit(network)
    for placement in supernet.placements(4, 2):
        x = layer(images, weights.stem)
        for at, kernel in enumerate(weights.blocks):
            x = x + layer(x, kernel)
            if at in placement:
                high, wide = x.shape[1] // 2, x.shape[2] // 2
                x = x[:, : 2 * high, : 2 * wide].reshape(3, high, 2, wide, 2, 2).max(axis=(2, 4))
        found = compiled(weights, np.array(placement), images)
        np.testing.assert_allclose(found, x.mean(axis=(1, 2)) @ weights.head, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def searched():
    """Runs that assign configurations and runs that draw them, from one program."""
    problem, params = search.example(prng.root_key(0))

    @jax.jit
    def run(assigned, used):
        given = search.Params(
            num_steps=params.num_steps, networks=params.networks, used=used, assigned=assigned, batch=params.batch,
            epoch=params.epoch, horizon=params.horizon,
        )  # fmt: skip
        return search.run(problem, given, prng.root_key(1))

    return problem, run


def test_only_what_was_trained_has_moved(searched):
    problem, run = searched
    for assigned, used in ((False, 1), (False, 2), (True, 2)):
        result = run(assigned, used)
        assert result.status == 0
        seen = np.stack([result.trace.configuration, result.trace.network])
        if assigned:
            np.testing.assert_array_equal(seen, np.arange(16)[None] % np.array([[len(problem.placements)], [2]]) % 2)
        assert seen[1].max() < used
        touched = np.zeros(result.preference.shape, bool)
        touched[tuple(seen)] = True
        # Accuracies below 1 lower W from its start at 1; where every batch was right it stays.
        assert (np.asarray(result.preference)[~touched] == 1).all()
        assert (np.asarray(result.preference)[touched] <= 1).all()


def test_rankings_and_their_refusal(x64):
    found, share = jnp.array([[0.5, 0.7], [0.6, 0.6]]), jnp.array([[0.9, 0.1], [0.5, 0.5]])
    np.testing.assert_allclose(search.ranking(found, share), (0.52, 0.6))
    np.testing.assert_allclose(search.ranking(found, share, "max"), (0.7, 0.6))
    with pytest.raises(ValueError, match=r"by must be one of 'expected', 'max', got 'sum'\."):
        search.ranking(found, share, "sum")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.balance(jnp.ones((3, 2)), 0.0), r"temperature must be positive and finite, got 0\.0\."),
        (lambda: search.Params(num_steps=1, networks=2, used=3), r"Params\.used must lie in \[1, 2\], got 3\."),
        (lambda: search.Params(num_steps=1, memory=1.5), r"Params\.memory must lie in \[0, 1\], got 1\.5\."),
        (lambda: supernet.placements(3, 3), r"pools must lie in \[0, 2\], got 3\."),
        (lambda: supernet.Network(0, 2, 2), r"Network\.blocks must be >= 1, got 0\."),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_beyond_the_pictures_is_refused():
    problem, _ = search.example(prng.root_key(0))
    with pytest.raises(ValueError, match=r"Params\.batch must be <= 16, the number of pictures, got 17\."):
        search.init(problem, search.Params(num_steps=1, networks=2, batch=17), prng.root_key(0))
