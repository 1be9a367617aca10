"""The deterministic baselines, with and without anchor, and variance-reduced extragradient."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import linear_inclusions
import numpy as np
import pytest

from research.core import loops, prng, status
from research.core.status import Status
from research.halpern import bounds, extragradient, forward_reflected, games, projections, vr_extragradient
from research.halpern.inclusions import Problem


def on_the_rotation(method, params):
    """The first two iterates from (1, 0)."""
    problem = Problem(linear_inclusions.rotation(), jnp.array([1.0, 0.0]))
    state = method.init(problem, params, prng.root_key(0))
    for _ in range(2):
        state, info = method.step(problem, params, state)
        yield state.u
    assert loops.total(info.calls) == 2 * (2 if method is forward_reflected else 4)  # n = 2


WORKED = [
    (extragradient, {"anchor": "none"}, [[0.75, 0.5], [0.3125, 0.75]]),
    (extragradient, {"anchor": "eag"}, [[0.75, 0.5], [0.479166666667, 0.625]]),
    (extragradient, {"anchor": "feg"}, [[1, 0.5], [0.75, 0.6875]]),
    (forward_reflected, {}, [[1, 0.5], [0.5, 1]]),
]


@pytest.mark.parametrize(("method", "fields", "expected"), WORKED, ids=["EG", "EAG", "FEG", "FoRB"])
def test_worked_example_to_the_digit(x64, method, fields, expected):
    params = method.Params(num_steps=2, step_size=0.5, unsafe=True, **fields)
    np.testing.assert_allclose(list(on_the_rotation(method, params)), expected, rtol=0, atol=1e-10)


def residuals(anchor, num_steps):
    """|F(u_k)|, k = 1, ..., num_steps, in units of L_F R, of 24 operators at the default step."""
    problems, distances = linear_inclusions.instances(prng.root_key(6), 24, 6)
    params = extragradient.Params(num_steps=num_steps, anchor=anchor)
    results = jax.jit(jax.vmap(lambda problem: extragradient.run(problem, params)))(problems)
    scale = distances * jax.vmap(lambda problem: problem.inclusion.lipschitz_full)(problems)
    return np.asarray(results.trace.residual) / np.asarray(scale)[:, None]


@pytest.mark.parametrize(("anchor", "bound"), [("eag", bounds.eag), ("feg", bounds.feg)])
def test_anchored_residuals_stay_below_their_bound(x64, anchor, bound):
    k = 1 + np.arange(100)
    assert np.all(residuals(anchor, 100) <= np.asarray(bound(k, 1.0, 1.0))[None] * (1 + 1e-9))


def test_the_bound_of_feg_is_attained_on_the_rotation(x64):
    problem = Problem(linear_inclusions.rotation(), jnp.array([1.0, 0.0]))
    result = extragradient.run(problem, extragradient.Params(num_steps=2, anchor="feg"))
    np.testing.assert_allclose(result.trace.residual[1], bounds.feg(2, 1.0, 1.0), rtol=1e-12)


def test_replay_of_variance_reduced_extragradient_is_its_definition(x64):
    """Against the definition in NumPy, with a snapshot in between."""
    game = games.matrix_game(jnp.array([[2.0, -1.0], [-1.0, 1.5]]), centred=False)
    problem = Problem(game, (jnp.array([0.3, 0.7]), jnp.array([0.6, 0.4])))
    coins, indices = np.array([0, 1, 0, 0]), np.array([[0, 1], [1, 1], [1, 0], [0, 0]])
    params = vr_extragradient.Params(num_steps=1, probability=0.5)
    points, calls = vr_extragradient.replay(problem, params, coins, indices[:, None])
    tau = 0.9 * np.sqrt(0.5) / np.linalg.norm(game.rows)
    z = w = [np.asarray(leaf) for leaf in problem.start]

    def project(v):
        return [np.asarray(projections.simplex_by_sorting(jnp.asarray(leaf))) for leaf in v]

    matrix = np.asarray(game.rows)
    total = np.sum(matrix**2)
    for k, (coin, (row, column)) in enumerate(zip(coins, indices, strict=True)):
        at_w = matrix.T @ w[1], -matrix @ w[0]
        between = [0.5 * a + 0.5 * b - tau * f for a, b, f in zip(z, w, at_w, strict=True)]
        half = project(between)
        in_y = (half[1] - w[1])[row] * total / np.sum(matrix[row] ** 2)
        in_x = (half[0] - w[0])[column] * total / np.sum(matrix[:, column] ** 2)
        z = project([between[0] - tau * in_y * matrix[row], between[1] + tau * in_x * matrix[:, column]])
        w = z if coin else w
        np.testing.assert_allclose([leaf[k] for leaf in points], z, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(calls, [4, 8, 10, 12])


@functools.cache
def game():
    inclusion = games.matrix_game(jax.random.normal(prng.root_key(8), (6, 5)))
    return Problem(inclusion, games.uniform_start(inclusion))


METHODS = [extragradient, forward_reflected, vr_extragradient]
each_method = pytest.mark.parametrize("method", METHODS, ids=["EG", "FoRB", "VR-EG"])


@each_method
def test_solves_a_game_to_tolerance(method):
    result = jax.jit(method.run)(game(), method.Params(num_steps=60, stride=256, tolerance=1e-4), prng.root_key(0))
    assert result.status == Status.CONVERGED
    assert games.duality_gap(game().inclusion, result.u) <= 1e-3
    # It stands still, and costs nothing, from there on.
    last = np.argmax(np.asarray(result.trace.status) == Status.CONVERGED)
    assert len(set(np.asarray(loops.total(result.trace.calls))[last:])) == 1


@each_method
def test_a_budget_too_small_is_a_status(method):
    result = jax.jit(method.run)(game(), method.Params(num_steps=1, tolerance=1e-4), prng.root_key(0))
    assert result.status == Status.BUDGET


@each_method
def test_divergence_is_a_status_and_not_a_nan(method):
    problem = Problem(linear_inclusions.rotation(1.0), jnp.array([1.0, 0.0]))
    params = method.Params(num_steps=20, stride=50, step_size=5.0, unsafe=True)
    result = jax.jit(method.run)(problem, params, prng.root_key(0))
    assert result.status == Status.DIVERGED
    assert np.isfinite(result.u).all()
    with pytest.raises(FloatingPointError, match="DIVERGED"):
        status.check(result)


LIMITS = [
    (extragradient, {}, lambda inclusion: 1 / inclusion.lipschitz_full),
    (extragradient, {"anchor": "eag"}, lambda inclusion: 1 / (8 * inclusion.lipschitz_full)),
    (forward_reflected, {}, lambda inclusion: 1 / (2 * inclusion.lipschitz_full)),
    (vr_extragradient, {"probability": 0.25}, lambda inclusion: 0.5 / inclusion.lipschitz),
]


@pytest.mark.parametrize(("method", "fields", "limit"), LIMITS, ids=["EG", "EAG", "FoRB", "VR-EG"])
def test_a_step_beyond_the_certified_one_is_refused_with_the_limit(method, fields, limit):
    limit = float(limit(game().inclusion))
    params = method.Params(num_steps=1, step_size=1.001 * limit, **fields)
    with pytest.raises(ValueError, match="step_size must be .* the certified limit") as refused:
        method.init(game(), params, prng.root_key(0))
    np.testing.assert_allclose(float(str(refused.value).split("be <")[1].strip("= ").split(",")[0]), limit, rtol=1e-5)
    method.init(game(), dataclasses.replace(params, unsafe=True), prng.root_key(0))


def test_feg_is_refused_where_there_is_a_constraint():
    with pytest.raises(ValueError, match="anchor must be"):
        extragradient.init(game(), extragradient.Params(num_steps=1, anchor="feg"))


BAD_PARAMS = [
    ({"num_steps": 0}, "num_steps"),
    ({"stride": 0}, "stride"),
    ({"step_size": 0.0}, "step_size"),
    ({"step_size": float("inf")}, "step_size"),
    ({"tolerance": -1.0}, "tolerance"),
]


@each_method
@pytest.mark.parametrize(("changes", "name"), BAD_PARAMS)
def test_bad_params_are_named(method, changes, name):
    with pytest.raises(ValueError, match=name):
        method.Params(**{"num_steps": 1} | changes)


def test_bad_params_of_one_method_alone():
    with pytest.raises(ValueError, match="anchor must be one of"):
        extragradient.Params(num_steps=1, anchor="halpern")
    for field in ("probability", "safety"):
        for value in (0.0, 1.0):
            with pytest.raises(ValueError, match=field):
                vr_extragradient.Params(num_steps=1, **{field: value})
    with pytest.raises(ValueError, match="indices must have shape"):
        vr_extragradient.replay(game(), vr_extragradient.Params(num_steps=1), np.zeros(2), np.zeros((2, 1, 3), int))
