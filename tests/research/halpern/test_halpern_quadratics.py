"""Linear problems, robust regression, and what is recommended for them."""

import enumerated_draws
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.halpern import finite_sums, games, proxes, quadratics, recommend, robust
from research.halpern.inclusions import natural_residual


def test_worked_example(x64):
    problem, solution = quadratics.ouyang_xu(4, jnp.float64)
    expected = [[0, 0, -1, 1], [0, -1, 1, 0], [-1, 1, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(4 * problem.coupling, expected)
    np.testing.assert_allclose(problem.lipschitz_full, 0.739878441256, rtol=0, atol=1e-10)
    smaller, _ = quadratics.ouyang_xu(3, jnp.float64)
    np.testing.assert_allclose(smaller.lipschitz_full, 0.697020566963, rtol=0, atol=1e-10)
    uniform = jnp.full(4, 0.25, jnp.float64)
    np.testing.assert_allclose(natural_residual(problem, (uniform, uniform)), 0.566823660851, rtol=0, atol=1e-12)
    ascent = problem.full((jnp.arange(1.0, 5), jnp.arange(5.0, 9)))
    np.testing.assert_allclose(ascent[0], [-0.25, -0.25, -0.25, -1.375], rtol=0, atol=1e-15)
    np.testing.assert_allclose(ascent[1], 0, rtol=0, atol=1e-15)
    assert float(natural_residual(problem, solution)) == 0


def test_the_published_size(x64):
    problem, solution = quadratics.ouyang_xu(200, jnp.float64)
    uniform = jnp.full(200, 1 / 200, jnp.float64)
    np.testing.assert_allclose(natural_residual(problem, (uniform, uniform)), 3.5444, rtol=0, atol=5e-5)
    np.testing.assert_allclose(problem.lipschitz_full, 0.80898, rtol=0, atol=5e-6)
    distance = np.linalg.norm(np.concatenate(solution) - 1 / 200)
    np.testing.assert_allclose(distance, 1639.07, rtol=0, atol=5e-3)
    assert 7 < float(problem.lipschitz) < 8


def test_split_of_the_quadratic(x64):
    rng = np.random.default_rng(0)
    root, coupling, linear, level = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), *rng.normal(size=(2, 4))
    problem = quadratics.saddle_quadratic(root @ root.T, coupling, linear, level)
    u, v = ((jnp.asarray(a), jnp.asarray(b)) for a, b in rng.normal(size=(2, 2, 32, 4)))
    bias, second, _, change, along = enumerated_draws.measure(problem, u, v)
    np.testing.assert_allclose(bias, 0, rtol=0, atol=1e-12)
    assert second.max() <= problem.lipschitz**2 * (1 + 1e-12)
    assert change.max() <= problem.lipschitz_full * (1 + 1e-12)
    assert along.min() >= -1e-12
    # L is attained by moving one coordinate of x and y together.
    angles = np.linspace(0, np.pi, 2001)
    x = np.kron(np.eye(4), np.cos(angles)[:, None])
    y = np.kron(np.eye(4), np.sin(angles)[:, None])
    zero = jnp.zeros((len(x), 4))
    _, second, *_ = enumerated_draws.measure(problem, (jnp.asarray(x), jnp.asarray(y)), (zero, zero))
    np.testing.assert_allclose(second.max(), problem.lipschitz**2, rtol=1e-5)


def test_resolvent_of_the_planar_rotation(x64):
    """Halpern's iteration on the exact resolvent, to the printed digits."""
    rotation = games.matrix_game(jnp.ones((1, 1), jnp.float64), centred=False, constraint=proxes.Nothing())
    u = start = jnp.ones(1, jnp.float64), jnp.zeros(1, jnp.float64)
    resolve = quadratics.exact_resolvent(rotation, start, 1.0)
    distances, points = [], []
    for k in range(5):
        v = resolve(u)
        distances.append(float(jnp.hypot(u[0] - v[0], u[1] - v[1])[0]))
        points.append([float(u[0][0]), float(u[1][0])])
        u = tuple((a + (k + 1) * b) / (k + 2) for a, b in zip(start, v, strict=True))
    expected = [0.707106781187, 0.559016994375, 0.424918292799, 0.3125, 0.226384628453]
    np.testing.assert_allclose(distances, expected, rtol=0, atol=1e-12)
    exact = [[1, 0], [3 / 4, 1 / 4], [1 / 2, 1 / 3], [5 / 16, 5 / 16], [1 / 5, 1 / 4]]
    np.testing.assert_allclose(points, exact, rtol=0, atol=1e-15)


def test_resolvent_of_an_affine_problem(x64):
    problem, _ = quadratics.ouyang_xu(4, jnp.float64)
    u = jnp.arange(4.0), jnp.ones(4, jnp.float64)
    v = quadratics.exact_resolvent(problem, u, 3.0)(u)
    back = jax.tree.map(lambda a, f: a + 3 * f, v, problem.full(v))
    for a, b in zip(u, back, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_bilinear_has_its_spectrum(x64):
    spectrum = 1 / jnp.arange(1.0, 9)
    game = quadratics.bilinear(prng.root_key(0), spectrum)
    np.testing.assert_allclose(np.linalg.svd(np.asarray(game.rows))[1], spectrum, rtol=1e-12)
    np.testing.assert_allclose(game.lipschitz, np.linalg.norm(spectrum), rtol=1e-12)
    np.testing.assert_allclose(game.lipschitz_full, 1, rtol=1e-12)
    zero = jnp.zeros(8), jnp.zeros(8)
    assert float(natural_residual(game, zero)) == 0


def robust_problem():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4)) + 0.3
    return robust.robust_logistic(jnp.asarray(features), jnp.sign(jnp.asarray(rng.normal(size=30))), scale=5.0)


def test_robust_split_and_constants(x64):
    problem, rng = robust_problem(), np.random.default_rng(1)
    w, other = rng.normal(size=(2, 64, 4)) * np.geomspace(1e-3, 3, 64)[:, None]
    weights = 5 * rng.dirichlet(np.ones(30), 64)
    uniform = np.full_like(weights, 5 / 30)
    for s in (weights, uniform):
        new, old = (jnp.asarray(w), jnp.asarray(s)), (jnp.asarray(other), jnp.asarray(uniform))
        bias, second, _, change, along = enumerated_draws.measure(problem, new, old)
        np.testing.assert_allclose(bias, 0, rtol=0, atol=1e-12)
        assert second.max() <= problem.lipschitz**2
        assert change.max() <= problem.lipschitz_full
        assert along.min() >= -1e-12  # monotone
    # Both blocks matter: the constants are no more than a few times what is seen.
    near = jnp.asarray(w * 1e-3), jnp.asarray(uniform)
    _, second, _, change, _ = enumerated_draws.measure(problem, near, (jnp.zeros_like(near[0]), near[1]))
    assert np.sqrt(second.max()) > problem.lipschitz / 6


def test_robust_solution_is_a_saddle_point(x64):
    """The residual's zero minimises in w and maximises in q the saddle function that the problem states."""
    problem = robust_problem()

    @jax.jit
    def solve(u):
        step = 0.45 / problem.lipschitz_full

        def advance(carry, _):
            u, before = carry
            now = problem.full(u)
            moved = jax.tree.map(lambda a, b, c: a - step * (2 * b - c), u, now, before)
            return (problem.prox(moved, step), now), None

        return jax.lax.scan(advance, (u, problem.full(u)), length=40_000)[0][0]

    u = solve(robust.uniform_start(problem))
    assert float(natural_residual(problem, u)) < 1e-10
    saddle = float(robust.robust_objective(problem, u))
    rng = np.random.default_rng(3)
    for size in (1e-3, 0.1, 1):
        w = u[0] + size * jnp.asarray(rng.normal(size=4))
        assert float(robust.robust_objective(problem, (w, u[1]))) > saddle
        s = (1 - size / 2) * u[1] + size / 2 * 5 * jnp.asarray(rng.dirichlet(np.ones(30)))
        assert float(robust.robust_objective(problem, (u[0], s))) < saddle


def test_recommendations(x64):
    """The published comparisons: variance reduction wins on low rank, loses on noise and on the banded program."""
    rng = np.random.default_rng(0)
    low_rank = games.matrix_game(jnp.asarray(rng.normal(size=(100, 2)) @ rng.normal(size=(2, 100))))
    noise = games.matrix_game(jnp.asarray(rng.uniform(-1, 1, size=(100, 100))))
    assert recommend.recommend(low_rank).winner == "resolvent"
    assert recommend.recommend(noise).winner == "extragradient"
    assert recommend.recommend(quadratics.ouyang_xu(200, jnp.float64)[0]).winner == "extragradient"
    one = recommend.recommend(low_rank, distance=2.0, residual=1e-2)
    np.testing.assert_allclose(one.break_even, 10 / 3.125)
    np.testing.assert_allclose(one.reduced_calls, 12.5 * 10 * low_rank.lipschitz * 2 / 1e-2)
    np.testing.assert_allclose(one.full_calls, 4 * 100 * low_rank.lipschitz_full * 2 / 1e-2)
    signs = np.sign(rng.normal(size=(5000, 1)))
    equal = finite_sums.least_squares(jnp.asarray(signs), jnp.zeros(5000))  # L = L_F
    assert recommend.recommend(equal).winner == "page"
    few = finite_sums.least_squares(jnp.asarray(signs[:1000]), jnp.zeros(1000))
    assert recommend.recommend(few).winner == "forward_backward"
    assert recommend.recommend(robust_problem()).methods == ("vr_forb", "forward_reflected")
    with pytest.raises(ValueError, match=r"residual must be positive and finite, got 0"):
        recommend.recommend(few, residual=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: quadratics.ouyang_xu(0), r"n must be >= 1, got 0\."),
        (lambda: quadratics.saddle_quadratic(jnp.eye(2), jnp.eye(3), jnp.ones(2), jnp.ones(2)), r"coupling must have"),
        (lambda: quadratics.saddle_quadratic(jnp.eye(2), jnp.eye(2), jnp.ones(3), jnp.ones(2)), r"linear must have"),
        (lambda: quadratics.saddle_quadratic(jnp.eye(1), jnp.eye(1), jnp.full(1, jnp.nan), jnp.ones(1)), "be finite"),
        (lambda: quadratics.bilinear(prng.root_key(0), jnp.array([1.0, 0.0])), r"spectrum must be positive"),
        (lambda: robust.robust_logistic(jnp.ones((2, 1)), jnp.zeros(2)), r"labels must be -1 or 1"),
        (lambda: robust.robust_logistic(jnp.ones((2, 1)), jnp.ones(3)), r"labels must have shape \(2\)"),
        (lambda: robust.robust_logistic(jnp.ones((2, 1)), jnp.ones(2), scale=0.0), r"scale must be positive"),
        (lambda: robust.robust_logistic(jnp.ones((2, 1)), jnp.ones(2), penalty=-1.0), r"penalty must be positive"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
