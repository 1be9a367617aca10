"""Programs: operators and their adjoints, residuals of optimality against HiGHS, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from research.core import prng
from research.halpern import linear_programs, operators


def draw_operators(rng):
    matrix = rng.normal(size=(5, 7)) * (rng.random((5, 7)) < 0.5)
    rows, columns = np.nonzero(matrix)
    left, right = rng.integers(0, 3, 9), rng.integers(0, 4, 9)
    incidence = np.zeros((7, 9))
    incidence[left, np.arange(9)] = 1
    incidence[3 + right, np.arange(9)] = 1
    return [
        (operators.Dense(jnp.asarray(matrix)), matrix),
        (operators.Sparse(jnp.asarray(rows), jnp.asarray(columns), jnp.asarray(matrix[rows, columns]), 5, 7), matrix),
        (operators.Incidence(jnp.asarray(left), jnp.asarray(right), 3, 4), incidence),
    ]


def test_products_are_those_of_the_matrix(x64):
    rng = np.random.default_rng(0)
    for operator, matrix in draw_operators(rng):
        x, y = rng.normal(size=matrix.shape[1]), rng.normal(size=matrix.shape[0])
        np.testing.assert_allclose(operator.forward(jnp.asarray(x)), matrix @ x, atol=1e-14)
        np.testing.assert_allclose(operator.transpose(jnp.asarray(y)), matrix.T @ y, atol=1e-14)


def test_the_norm_is_estimated_from_above(x64):
    """24 Gaussian and 24 non-negative matrices: never below |A|, at most 1 % above, or the classical bound."""
    draws = np.random.default_rng(1).normal(size=(48, 20, 30))
    draws[24:] = np.abs(draws[24:])
    found = jax.vmap(lambda matrix: operators.norm_estimate(operators.Dense(matrix), jnp.zeros(30), jnp.zeros(20)))(
        jnp.asarray(draws)
    )
    exact = np.linalg.norm(draws, 2, axis=(1, 2))
    bound = np.sqrt(np.abs(draws).sum(1).max(1) * np.abs(draws).sum(2).max(1))
    assert (found >= exact).all()
    assert (found <= np.minimum(1.01 * exact, bound) * (1 + 1e-12)).all()


def mixed_program(rng):
    """Rows of both kinds, every kind of bounds; feasible and bounded by construction."""
    matrix, x, y = rng.normal(size=(4, 8)), rng.uniform(-1, 1, 8), rng.normal(size=4)
    equality = np.array([True, False, True, False])
    limits = matrix @ x + np.where(equality, 0, rng.random(4) * (rng.random(4) < 0.5))
    low, high = np.where(np.arange(8) % 4 < 2, -1.5, -np.inf), np.where(np.arange(8) % 2, 1.5, np.inf)
    reduced = np.select([np.isinf(low) & np.isinf(high), np.isinf(high), np.isinf(low)], [0, 1, -1], rng.normal(size=8))
    costs = reduced * rng.random(8) - matrix.T @ np.where(equality, y, np.abs(y))
    return linear_programs.linear_program(
        jnp.asarray(costs), jnp.asarray(matrix), jnp.asarray(limits), equality=jnp.asarray(equality),
        low=jnp.asarray(low), high=jnp.asarray(high),
    )  # fmt: skip


def test_residuals_vanish_at_the_optimum_of_highs_and_nowhere_else(x64):
    rng = np.random.default_rng(2)
    for _ in range(5):
        program = mixed_program(rng)
        matrix, equal = np.asarray(program.operator.matrix), np.asarray(program.equality)
        found = optimize.linprog(
            program.costs, matrix[~equal], program.limits[~equal], matrix[equal], program.limits[equal],
            np.stack([program.low, program.high], axis=1),
        )  # fmt: skip
        multipliers = np.zeros(4)
        multipliers[equal], multipliers[~equal] = -found.eqlin.marginals, -found.ineqlin.marginals
        z = (jnp.asarray(found.x), jnp.asarray(multipliers))
        at = linear_programs.kkt(program, z)
        assert at.residual < 1e-12
        np.testing.assert_allclose(at.objective, linear_programs.highs(program).objective, atol=1e-12)
        shifted = linear_programs.kkt(program, (z[0] + 0.1, z[1] + 0.1))
        assert shifted.primal > 1e-3
        assert shifted.dual > 1e-3


def test_a_matrix_free_program_reaches_highs_as_its_matrix(x64):
    class Reversed(operators.Operator):
        def forward(self, x):
            return x[::-1] * jnp.arange(1, 4.0)

        def transpose(self, y):
            return (y * jnp.arange(1, 4.0))[::-1]

    program = linear_programs.linear_program(-jnp.ones(3), Reversed(), jnp.ones(3))
    np.testing.assert_allclose(linear_programs.highs(program).x, [1 / 3, 1 / 2, 1], atol=1e-12)
    np.testing.assert_allclose(program.lipschitz_full, 3 * 1.01, rtol=1e-6)


def test_b_matchings_are_graphs_of_the_given_degree():
    program = linear_programs.b_matching(prng.root_key(0), 5, 40, 3)
    pairs = set(zip(np.asarray(program.operator.left), np.asarray(program.operator.right), strict=True))
    assert len(pairs) == 120
    assert (np.bincount(program.operator.right) == 3).all()
    optimum = linear_programs.highs(program)
    np.testing.assert_allclose(optimum.x, np.round(optimum.x), atol=1e-9)


ONE = jnp.ones(1)
BAD = {
    "c": ({"costs": jnp.asarray([np.nan])}, "costs must be finite"),
    "b": ({"limits": jnp.asarray([np.inf])}, "limits must be finite"),
    "A": ({"operator": jnp.full((1, 1), np.nan)}, "Dense.matrix must be finite"),
    "box": ({"low": 1.0, "high": 0.0}, "low must be <= high"),
    "box of NaN": ({"low": np.nan}, "low must be <= high"),
    "b's length": ({"limits": jnp.ones(2)}, r"limits must have the shape \(1,\)"),
    "zero A": ({"operator": jnp.zeros((1, 1))}, "norm must be positive"),
    "norm": ({"norm": -1.0}, "norm must be positive"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_programs_are_refused(case):
    given, message = BAD[case]
    good = {"costs": -ONE, "operator": jnp.ones((1, 1)), "limits": ONE}
    with pytest.raises(ValueError, match=message):
        linear_programs.linear_program(**good | given)


def test_bad_operators_are_refused():
    with pytest.raises(ValueError, match=r"Sparse\.rows must lie in \[0, 1\]"):
        operators.Sparse(jnp.asarray([2]), jnp.asarray([0]), ONE, 2, 1)
    with pytest.raises(ValueError, match=r"Incidence\.left must lie in \[0, 1\]"):
        operators.Incidence(jnp.asarray([-1]), jnp.asarray([0]), 2, 1)
    with pytest.raises(ValueError, match="must have equal lengths"):
        operators.Incidence(jnp.asarray([0, 1]), jnp.asarray([0]), 2, 1)
    with pytest.raises(ValueError, match=r"degree must lie in \[1, 2\]"):
        linear_programs.b_matching(prng.root_key(0), 2, 3, 3)
