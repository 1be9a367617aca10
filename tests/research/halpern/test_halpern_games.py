"""Matrix games: worked examples, exact constants, estimators without bias, centring, the duality gap."""

import enumerated_draws
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.vr_forb_game import xla
from research.core import prng
from research.halpern import games, proxes

WORTH = np.array([1.0, 2.0, 3.0, 4.0])


def value(matrix):
    """min over x of max over y of y'Ax by linear programming."""
    from scipy.optimize import linprog

    rows, columns = matrix.shape
    cost = np.r_[np.zeros(columns), 1]
    at_most = np.c_[matrix, -np.ones(rows)]
    mass = np.r_[np.ones(columns), 0][None]
    bounds = [(0, None)] * columns + [(None, None)]
    return linprog(cost, at_most, np.zeros(rows), mass, [1.0], bounds=bounds).fun


def points(game, count=32, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = game.rows.shape
    return jnp.asarray(rng.normal(size=(count, columns))), jnp.asarray(rng.normal(size=(count, rows)))


def test_policeman_and_burglar(x64):
    by_row = games.policeman_burglar(WORTH)
    np.testing.assert_allclose(by_row[0, 1:], [0.550671035883, 0.798103482005, 0.909282046711], rtol=0, atol=1e-12)
    by_column = games.policeman_burglar(WORTH, weight="column")
    np.testing.assert_array_equal(by_column, by_row.T)
    np.testing.assert_allclose(value(np.asarray(by_column)), 0.865592041895, rtol=0, atol=1e-10)
    np.testing.assert_allclose(value(np.asarray(by_row)), 1.179726634426, rtol=0, atol=1e-10)
    x = jnp.array([0, 0.172286974433, 0.285885427322, 0.541827598245], jnp.float64)
    y = jnp.array([0, 0.535585929508, 0.196621105738, 0.267792964754], jnp.float64)
    for centred in (True, False):
        game = games.matrix_game(by_row, centred=centred)
        assert 0 <= float(games.duality_gap(game, (x, y))) < 1e-10


def test_centring_of_the_worked_example(x64):
    plain, centred = (games.matrix_game(games.policeman_burglar(WORTH), centred=c) for c in (False, True))
    np.testing.assert_allclose(plain.lipschitz_full, 6.223842610078, rtol=0, atol=1e-10)
    np.testing.assert_allclose(centred.lipschitz_full, 2.855640733340, rtol=0, atol=1e-10)
    np.testing.assert_allclose(plain.lipschitz, 6.797339897883, rtol=0, atol=1e-10)
    np.testing.assert_allclose(centred.lipschitz, 3.360319449729, rtol=0, atol=1e-10)
    cost = [1.783195176156, 1.348774517888, 1.025532424326, 1.039375529592]
    np.testing.assert_allclose(centred.row_cost, cost, rtol=0, atol=1e-10)
    cost = [-0.734705270841, -0.349496635105, 0.125364753338, 0.958837152608]
    np.testing.assert_allclose(centred.column_cost, cost, rtol=0, atol=1e-10)


def test_nemirovski(x64):
    first, second = (games.nemirovski(3, kind=kind, dtype=jnp.float64) for kind in (1, 2))
    np.testing.assert_allclose(first, [[0.2, 0.4, 0.6], [0.4, 0.6, 0.8], [0.6, 0.8, 1]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(second, [[0.2, 0.4, 0.6], [0.4, 0.2, 0.4], [0.6, 0.4, 0.2]], rtol=0, atol=1e-15)
    for kind, alpha, expected in ((1, 1, 0.6), (2, 1, 0.4), (1, 2, 0.36), (2, 2, 0.16)):
        matrix = np.asarray(games.nemirovski(3, kind=kind, alpha=alpha, dtype=jnp.float64))
        np.testing.assert_allclose(value(matrix), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "split", "centred"),
    [((5, 4), "importance", True), ((3, 6), "importance", False), ((5, 5), "paired", True), ((4, 4), "paired", False)],
)
def test_estimates_and_constants(x64, shape, split, centred):
    matrix = np.random.default_rng(1).normal(size=shape)
    matrix[1] *= 5
    game = games.matrix_game(jnp.asarray(matrix), split=split, centred=centred)
    u, v = points(game, seed=2), points(game, seed=3)
    bias, second, _, change, along = enumerated_draws.measure(game, u, v)
    np.testing.assert_allclose(bias, 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(along, 0, rtol=0, atol=1e-12)  # skew
    assert change.max() <= game.lipschitz_full * (1 + 1e-12)
    if split == "importance":
        np.testing.assert_allclose(second, game.lipschitz**2, rtol=1e-12)  # whatever the points
        return
    assert second.max() <= game.lipschitz**2 * (1 + 1e-12)
    # Attained where only the coordinate of the longest row or column moves.
    rows, columns = (np.sum(np.asarray(game.rows) ** 2, axis=axis) for axis in (1, 0))
    x, y = np.zeros((1, shape[1])), np.zeros((1, shape[0]))
    if rows.max() > columns.max():
        y[0, rows.argmax()] = 1
    else:
        x[0, columns.argmax()] = 1
    start = jnp.zeros_like(jnp.asarray(x)), jnp.zeros_like(jnp.asarray(y))
    _, second, *_ = enumerated_draws.measure(game, (jnp.asarray(x), jnp.asarray(y)), start)
    np.testing.assert_allclose(second, game.lipschitz**2, rtol=1e-12)


def test_full_constant_is_attained(x64):
    game = games.matrix_game(jnp.asarray(np.random.default_rng(0).normal(size=(6, 4))))
    _, _, right = np.linalg.svd(np.asarray(game.rows))
    forward = game.full((jnp.asarray(right[0]), jnp.zeros(6)))[1] - game.full((jnp.zeros(4), jnp.zeros(6)))[1]
    np.testing.assert_allclose(jnp.linalg.norm(forward), game.lipschitz_full, rtol=1e-12)


def test_many_draws_are_the_mean_of_one(x64):
    """Both ways to add rows up: few draws one by one, many by a product."""
    game = games.matrix_game(jnp.asarray(np.random.default_rng(0).normal(size=(5, 4))))
    u, v = (jax.tree.map(lambda a: a[0], points(game, 1, seed)) for seed in (1, 2))
    draws = game.sample(prng.root_key(0), (xla.ADDED_ONE_BY_ONE + 1,))
    each = jax.jit(jax.vmap(lambda draw: game.difference(draw[None], u, v)))(draws)
    for count in (3, len(draws)):
        together = jax.jit(lambda draws: game.difference(draws, u, v))(draws[:count])
        for a, b in zip(together, each, strict=True):
            np.testing.assert_allclose(a, jnp.mean(b[:count], axis=0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("split", ["importance", "paired"])
def test_draws_follow_their_law(split):
    """Counts of 40,000 draws within 5 standard deviations; a row of zeros never comes."""
    matrix = np.random.default_rng(4).normal(size=(5, 5))
    matrix[2] = 0
    game = games.matrix_game(jnp.asarray(matrix, jnp.float32), split=split, centred=False)
    draws, count = game.sample(prng.root_key(5), (200, 200)), 40_000
    assert draws.shape == (200, 200, game.num_indices)
    assert game.index_limits == (5,) * game.num_indices
    weights = (game.row_weight, game.column_weight)[: game.num_indices]
    for axis, weight in enumerate(weights):
        law = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), 0)
        observed = np.bincount(np.asarray(draws[..., axis]).ravel(), minlength=5)
        assert (abs(observed - count * law) <= 5 * np.sqrt(count * law * (1 - law))).all()


def test_centring_changes_no_iterate_of_full_methods(x64):
    """300 iterations of extragradient with the same step."""
    matrix = games.policeman_burglar(np.abs(np.random.default_rng(0).normal(size=12)))
    step = 0.5 / games.matrix_game(matrix, centred=False).lipschitz_full

    def iterates(game):
        def advance(u, _):
            half = game.prox(jax.tree.map(lambda a, f: a - step * f, u, game.full(u)), step)
            u = game.prox(jax.tree.map(lambda a, f: a - step * f, u, game.full(half)), step)
            return u, (u, games.duality_gap(game, u))

        return jax.jit(lambda u: jax.lax.scan(advance, u, length=300)[1])(games.uniform_start(game))

    (plain, gap), (centred, centred_gap) = (iterates(games.matrix_game(matrix, centred=c)) for c in (False, True))
    for a, b in zip(plain, centred, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)
    np.testing.assert_allclose(gap, centred_gap, rtol=0, atol=1e-11)
    assert (np.asarray(gap) >= -1e-13).all()
    assert float(gap[-1]) < 0.5 * float(gap[0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: games.matrix_game(jnp.ones((2, 3)), split="paired"), r"matrix must be square for the paired split"),
        (lambda: games.matrix_game(jnp.array([[1.0, jnp.inf]])), r"matrix must be finite, got inf at index \(0, 1\)\."),
        (lambda: games.matrix_game(jnp.ones((0, 3))), r"matrix must have a row and a column"),
        (lambda: games.matrix_game(jnp.ones(3)), r"matrix must have shape \(any, any\)"),
        (lambda: games.matrix_game(jnp.zeros((2, 2))), r"Frobenius norm .* must be positive"),
        (lambda: games.matrix_game(jnp.eye(2), split="both"), r"split must be one of 'importance', 'paired'"),
        (lambda: games.matrix_game(jnp.eye(2), row_cost=jnp.ones(3)), r"row_cost must have shape \(2\)"),
        (lambda: games.matrix_game(jnp.eye(2), column_cost=jnp.full(2, jnp.nan)), r"column_cost must be finite"),
        (lambda: games.matrix_game(jnp.eye(2), constraint=proxes.Nothing()), r"centred must be False"),
        (lambda: games.policeman_burglar(jnp.array([1.0, -1.0])), r"worth must be >= 0"),
        (lambda: games.policeman_burglar(jnp.ones(2), theta=0.0), r"theta must be positive"),
        (lambda: games.policeman_burglar(jnp.ones(2), weight="both"), r"weight must be one of 'row', 'column'"),
        (lambda: games.nemirovski(0, kind=1), r"n must be >= 1, got 0\."),
        (lambda: games.nemirovski(3, kind=3), r"kind must be one of 1, 2"),
        (lambda: games.nemirovski(3, kind=1, alpha=0.0), r"alpha must be positive"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
