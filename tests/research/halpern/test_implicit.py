"""Implicit derivatives against central differences and closed forms, and where there is no derivative."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from research.halpern import finite_sums, forward_backward, implicit, linear_programs, pdhg, proxes
from research.halpern.inclusions import Problem

STEP = 1e-6


def central(function, at):
    """Central differences, entry by entry; exact to 1e-9 for the smooth pieces tested here."""
    at = np.asarray(at)
    found = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[index] += STEP
        down[index] -= STEP
        found[index] = (function(jnp.asarray(up)) - function(jnp.asarray(down))) / (2 * STEP)
    return found


REGULARISERS = {
    "none": None,
    "box": proxes.Box(jnp.full(4, -0.3), jnp.full(4, 0.4)),
    "l1": proxes.L1(0.05),
    "simplex": proxes.Simplex(1.0),
}


#: Without a constraint, and for |u|_1, nothing happens that does not happen inside a box or on a simplex.
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("none", "l1")]


@pytest.mark.parametrize("name", ["box", "simplex", *OTHERS])
def test_least_squares(name, x64):
    """12 rows in 4 dimensions, strongly monotone: derivatives by the targets and by the features."""
    rng = np.random.default_rng(5)
    features, targets = rng.normal(size=(12, 4)), rng.normal(size=12)
    mark = jnp.asarray(rng.normal(size=4))
    regulariser = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), REGULARISERS[name])
    params = forward_backward.Params(num_steps=400, stride=10, anchor="none")

    @jax.jit
    def loss(features, targets):
        inclusion = finite_sums.least_squares(features, targets, law="uniform", regulariser=regulariser)
        still = jax.lax.stop_gradient(inclusion)
        u = forward_backward.run(Problem(still, jnp.zeros(4)), params).u
        return jnp.vdot(mark, implicit.forward_backward(inclusion, u))

    by_features, by_targets = jax.grad(loss, argnums=(0, 1))(jnp.asarray(features), jnp.asarray(targets))
    np.testing.assert_allclose(by_targets, central(lambda t: loss(jnp.asarray(features), t), targets), atol=1e-8)
    np.testing.assert_allclose(by_features, central(lambda x: loss(x, jnp.asarray(targets)), features), atol=1e-8)
    assert np.abs(by_targets).max() > 1e-3


def vertices(count):
    """Random packing programs, 4 x 7, with a unique nondegenerate vertex (margins checked by HiGHS's solution)."""
    rng = np.random.default_rng(7)
    kept = []
    while len(kept) < count:
        costs, matrix, limits = -rng.random(7), rng.random((4, 7)), 1 + rng.random(4)
        found = optimize.linprog(costs, matrix, limits, bounds=(0, 1))
        inner = np.minimum(found.x, 1 - found.x) > 1e-3
        tight = found.slack < 1e-9
        dual = np.abs(found.lower.marginals + found.upper.marginals)
        if (
            inner.sum() == tight.sum()
            and (dual[~inner] > 1e-2).all()
            and (found.ineqlin.marginals[tight] < -1e-2).all()
        ):
            kept.append((costs, matrix, limits))
    return [jnp.asarray(np.stack(parts)) for parts in zip(*kept, strict=True)]


def test_programs_at_nondegenerate_vertices(x64):
    """20 programs in one batch: derivatives of a function of x and y by c, A and b."""
    costs, matrices, limits = vertices(20)
    rng = np.random.default_rng(8)
    marks = jnp.asarray(rng.normal(size=7)), jnp.asarray(rng.normal(size=4))

    def outcome(costs, matrix, limits):
        program = linear_programs.linear_program(costs, matrix, limits, high=1.0, norm=jnp.sum(matrix))
        still = jax.lax.stop_gradient(program)
        params = pdhg.Params(num_steps=3000, tolerance=1e-13)
        state = pdhg.run(Problem(still, linear_programs.zero_start(still)), params).state
        x, y = implicit.primal_dual(program, (state.candidate.x, state.candidate.y))
        return jnp.vdot(marks[0], x) + jnp.vdot(marks[1], y) + jnp.vdot(x, x)

    gradients = jax.jit(jax.vmap(jax.grad(outcome, argnums=(0, 1, 2))))(costs, matrices, limits)

    def exact(costs, matrix, limits):
        found = optimize.linprog(costs, matrix, limits, bounds=(0, 1))
        return marks[0] @ found.x - marks[1] @ found.ineqlin.marginals + found.x @ found.x

    # Along one random direction each, which no wrong entry is orthogonal to.
    for k in range(20):
        given = [np.asarray(part[k]) for part in (costs, matrices, limits)]
        for place in range(3):
            along = rng.normal(size=given[place].shape)
            along /= np.linalg.norm(along)

            def moved(t, place=place, given=given, along=along):
                return exact(*given[:place], given[place] + np.asarray(t) * along, *given[place + 1 :])

            slope = np.vdot(gradients[place][k], along)
            np.testing.assert_allclose(slope, central(moved, 0.0), rtol=1e-5, atol=1e-6)


def test_the_value_of_a_program_has_its_multipliers_as_derivatives(x64):
    costs, matrices, limits = (part[0] for part in vertices(1))
    program = linear_programs.linear_program(costs, matrices, limits, high=1.0)
    found = pdhg.solve(Problem(program, linear_programs.zero_start(program)), pdhg.Params(3000, tolerance=1e-12))

    def value(limits):
        moved = eqx.tree_at(lambda p: p.limits, program, limits)
        x, _ = implicit.primal_dual(moved, (found.x, found.y))
        return jnp.vdot(costs, x)

    np.testing.assert_allclose(jax.jit(jax.grad(value))(limits), -found.y, atol=1e-9)


def test_a_solution_that_is_not_isolated_has_no_gradient(x64):
    """min -x1 - x2, x1 + x2 <= 1: every point of a segment is optimal, and the adjoint has no solution."""
    program = linear_programs.linear_program(-jnp.ones(2), jnp.ones((1, 2)), jnp.ones(1))

    def first(costs):
        moved = eqx.tree_at(lambda p: p.costs, program, costs)
        z = (jnp.asarray([0.4, 0.6]), jnp.ones(1))
        return implicit.primal_dual(moved, z, adjoint=implicit.Adjoint(max_steps=2000))[0][0]

    value, gradient = jax.value_and_grad(first)(-jnp.ones(2))
    assert value == 0.4
    assert np.isnan(gradient).any()


def test_the_loop_solves_a_nonexpansive_equation(x64):
    """A rotation by a right angle about (1, 2): plain iteration circles, the anchored one arrives."""
    center = jnp.asarray([1.0, 2.0])
    turn = jnp.asarray([[0.0, -1.0], [1.0, 0.0]])
    found = implicit.fixed_point(lambda u: center + turn @ (u - center), jnp.zeros(2), 1e-10, 10_000)
    np.testing.assert_allclose(found.point, center, atol=1e-10)
    assert found.reached
    assert int(found.steps) < 500
    with pytest.raises(ValueError, match=r"Adjoint\.max_steps must be >= 1"):
        implicit.attach(lambda _, u: u, center, center, implicit.Adjoint(max_steps=0))
