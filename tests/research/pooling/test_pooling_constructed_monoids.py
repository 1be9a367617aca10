"""Monoids by construction: their laws over random weights, what they compute, and proofs of finite tables."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import constructed_monoids as constructed


@pytest.mark.usefixtures("x64")
def test_couplings_are_inverted_and_their_sums_form_a_monoid():
    @jax.jit
    def measured(key):
        pool = constructed.ConjugatedSum.create(key, 6, 16, 5)
        a, b, c = jax.random.normal(key, (3, 50, 6))
        identity = constructed.uncouple(pool.couplings, jnp.zeros((50, 6)))
        ab = pool.combine(a, b)
        return {
            "inverse": constructed.uncouple(pool.couplings, constructed.couple(pool.couplings, a)) - a,
            "associativity": pool.combine(ab, c) - pool.combine(a, pool.combine(b, c)),
            "commutativity": ab - pool.combine(b, a),
            "identity": pool.combine(a, identity) - a,
            "bending": ab - (a + b),
        }

    for seed in range(3):
        found = {name: np.abs(gap).max() for name, gap in measured(prng.root_key(seed)).items()}
        assert found.pop("bending") > 0.1  # this is not the sum
        assert max(found.values()) < 1e-11, found


@pytest.mark.usefixtures("x64")
def test_tropical_polynomials_hold_order_statistics():
    generator = np.random.default_rng(0)
    pool = constructed.TropicalPolynomials.create(prng.root_key(0), 3, 4, 3)
    x, mask = generator.normal(size=(30, 9, 3)), generator.random((30, 9)) < 0.4
    found = np.asarray(jax.jit(lambda x, mask: pool(x, mask))(x, mask)).reshape(30, 4, 3)
    entered = np.where(mask[..., None], x @ np.asarray(pool.kernel), np.inf)
    smallest = np.moveaxis(np.sort(entered, axis=1)[:, :3], 1, 2)
    np.testing.assert_allclose(found, np.where(np.isinf(smallest), 0, smallest), atol=1e-12)
    assert np.isinf(smallest).any()


@pytest.mark.usefixtures("x64")
def test_tropical_product_is_that_of_toeplitz_matrices():
    """And so it is associative, and commutative."""
    degree = 3
    a, b, c = np.random.default_rng(0).integers(-20, 20, (3, 40, degree)).astype(float)

    def matrix(coefficients):
        full = np.full((40, degree + 1, degree + 1), np.inf)
        for k in range(degree + 1):
            value = 0 if k == 0 else coefficients[:, k - 1]
            full[:, np.arange(degree + 1 - k), np.arange(k, degree + 1)] = np.reshape(value, (-1, 1))
        return full

    product = jax.jit(constructed.tropical_product)
    ab = np.asarray(product(a, b))
    matrices = jax.jit(constructed.tropical_matrix_product)
    np.testing.assert_array_equal(matrices(matrix(a), matrix(b)), matrix(ab))
    np.testing.assert_array_equal(ab, product(b, a))
    np.testing.assert_array_equal(product(ab, c), product(a, product(b, c)))


def cyclic(size):
    return (np.arange(size)[:, None] + np.arange(size)) % size


def test_tables_are_proved_or_refuted():
    assert constructed.table_defects(cyclic(5)) == (0, 0, 0)
    assert constructed.table_defects(np.maximum.outer(np.arange(4), np.arange(4))) == (0, 0, 0)
    truncated = np.minimum(np.add.outer(np.arange(4), np.arange(4)), 3)
    assert constructed.table_defects(truncated) == (0, 0, 0)
    # Rock, paper, scissors with an identity: commutative, and not associative.
    beats = np.array([[0, 1, 2, 3], [1, 1, 2, 1], [2, 2, 2, 3], [3, 1, 3, 3]])
    defects = constructed.table_defects(beats)
    by_loop = sum(beats[beats[i, j], k] != beats[i, beats[j, k]] for i in range(4) for j in range(4) for k in range(4))
    assert defects == (by_loop, 0, 0)
    assert by_loop > 0
    assert constructed.table_defects(cyclic(3)[::-1]).identity > 0
    # Two of the three, with the identity, are closed and sound.
    states = constructed.generated_states(beats, [1, 3])
    np.testing.assert_array_equal(states, [0, 1, 3])
    assert constructed.table_defects(beats, states) == (0, 0, 0)
    np.testing.assert_array_equal(constructed.generated_states(cyclic(6), [4]), [0, 2, 4])


@pytest.fixture(scope="module")
def parity():
    """Two tables whose likeliest entries are those of integers modulo 2 and of the maximum; a bit is a state."""
    logits = np.zeros((2, 2, 2, 2), np.float32)
    for table, product in enumerate((cyclic(2), np.array([[0, 1], [1, 1]]))):
        logits[table][np.arange(2)[:, None], np.arange(2), product] = 4.0
    kernel = np.array([[4.0, 0, 4.0, 0], [0, 4.0, 0, 4.0]], np.float32)
    return constructed.CayleyTables(jnp.asarray(kernel), jnp.zeros(4), jnp.asarray(logits))


def test_rounded_tables_are_exact_at_any_size_and_order(parity):
    hard = constructed.hard_table(parity.tables())
    assert [constructed.table_defects(one) for one in hard] == [(0, 0, 0), (0, 0, 0)]
    generator = np.random.default_rng(0)
    bits, mask = generator.integers(0, 2, (8, 10_000)), generator.random((8, 10_000)) < 0.9
    pool = jax.jit(functools.partial(parity.__call__, hard=True))
    found = np.asarray(pool(jax.nn.one_hot(bits, 2), mask)).reshape(8, 2, 2)
    np.testing.assert_array_equal(found[:, 0, 1], np.where(mask, bits, 0).sum(axis=1) % 2)
    np.testing.assert_array_equal(found[:, 1, 1], 1)
    np.testing.assert_array_equal(found.sum(axis=2), 1)


def test_soft_tables_give_distributions_and_commute(parity):
    @jax.jit
    def measured(key):
        tables = constructed.CayleyTables.create(key, 2, 3, 4, 2.0).tables()
        p, q = jax.nn.softmax(jax.random.normal(key, (2, 50, 4, 3)), axis=-1)
        identity = jnp.broadcast_to(jnp.eye(3)[0], p.shape)
        pq, qp, p1 = (constructed.table_product(tables, *pair) for pair in ((p, q), (q, p), (p, identity)))
        ones = jnp.broadcast_to(jnp.array([0.0, 1.0]), (1, 2, 2))
        return p, pq, qp, p1, parity(ones, jnp.ones((1, 2), bool)).reshape(2, 2)

    p, pq, qp, p1, soft = measured(prng.root_key(0))
    np.testing.assert_allclose(pq.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(pq, qp, rtol=1e-5)
    np.testing.assert_allclose(p1, p, rtol=1e-5)
    # Two ones are a zero modulo 2, as surely as the three entries on the way are sure.
    assert 1 / (1 + np.exp(-4.0)) ** 3 <= soft[0, 0] < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: constructed.ConjugatedSum.create(key, 5), "width must be even and >= 2, got 5"),
        (lambda key: constructed.TropicalPolynomials.create(key, 4, 2, 0), "degree must be >= 1, got 0"),
        (lambda key: constructed.CayleyTables.create(key, 4, 1), "states must be >= 2, got 1"),
        (lambda key: constructed.CayleyTables.create(key, 4, 2, scale=-1.0), "scale must be positive"),
        (lambda _: constructed.table_defects(np.zeros((2, 3), int)), r"table must be square, got \(2, 3\)"),
        (lambda _: constructed.table_defects(np.full((2, 2), 2)), r"table must lie in \[0, 1\], got 2"),
        (
            lambda key: constructed.ConjugatedSum.create(key, 4)(jnp.ones((2, 3, 4)), jnp.ones((2, 3))),
            "mask must be boolean, got float32",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(prng.root_key(0))
