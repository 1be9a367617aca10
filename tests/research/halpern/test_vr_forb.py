"""VR-FoRB: the worked example, its rate on resolvents, steps that are refused, divergence as a status."""

import dataclasses

import jax
import jax.numpy as jnp
import linear_inclusions
import numpy as np
import pytest

from research.core import loops, prng, stats, status
from research.core.status import Status
from research.halpern import bounds, games, vr_forb
from research.halpern.subproblem import Subproblem


def worked_problem(scale=2.0):
    """Of the specification: a 2 x 2 game, the resolvent of its centre."""
    game = games.matrix_game(jnp.array([[2.0, -1.0], [-1.0, 1.0]]), split="paired", centred=False)
    center = jnp.array([0.9, 0.1]), jnp.array([0.2, 0.8])
    return vr_forb.Problem(Subproblem(game, center, jnp.asarray(scale)), center)


WORKED = vr_forb.Params(num_steps=1, step_size=0.2, probability=0.5, unsafe=True)


def test_worked_example_to_the_digit(x64):
    points, calls = vr_forb.replay(
        worked_problem(), WORKED, np.array([0, 1, 0, 0, 1]), np.array([0, 1, 1, 0, 1]).reshape(5, 1, 1)
    )
    expected = [
        [1, 0, 0.7, 0.3],
        [0.73, 0.27, 0.93, 0.07],
        [0, 1, 0.832, 0.168],
        [0.1326, 0.8674, 0.2086, 0.7914],
        [0.6319, 0.3681, 0.41966, 0.58034],
    ]
    np.testing.assert_allclose(np.concatenate(points, axis=1), expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(calls, [4, 8, 10, 12, 16])


def test_error_on_resolvents_is_below_its_bound(x64):
    """24 operators from skew to symmetric, two safeties, 64 seeds; E|v_M - J|^2 after 16, 32, ..., 96 iterations."""
    count, seeds = 24, 64
    problems, _ = linear_inclusions.instances(prng.root_key(0), count, 6)
    params = vr_forb.Params(num_steps=6, stride=16)

    @jax.jit
    def errors(problems, safety):
        def one(problem, safety, key):
            inclusion, u = problem.inclusion, problem.start
            scale = jnp.sqrt(6.0) / inclusion.lipschitz
            subproblem = vr_forb.Problem(Subproblem(inclusion, u, scale), u)
            chosen = dataclasses.replace(params, safety=safety)
            target = inclusion.resolvent(u, scale)

            def step(state, _):
                state, _ = vr_forb.step(subproblem, chosen, state)
                return state, jnp.sum((state.iterate.point - target) ** 2)

            used = vr_forb.rates(subproblem.inclusion, chosen)
            after = jax.lax.scan(step, vr_forb.init(subproblem, chosen, key), length=params.num_steps)[1]
            steps = params.stride * (1 + jnp.arange(params.num_steps))
            return after, bounds.vr_forb(steps, *used, safety) * jnp.sum((u - target) ** 2)

        over_seeds = jax.vmap(one, in_axes=(None, None, 0))
        return jax.vmap(over_seeds, in_axes=(0, 0, None))(
            problems, safety, prng.replicate_keys(prng.root_key(1), seeds)
        )

    found, bound = errors(problems, jnp.where(jnp.arange(count) % 2 == 0, 0.5, 0.9))
    limit = stats.t_interval(found, axis=1).high
    assert limit.shape == (count, params.num_steps)
    assert np.all(limit <= bound[:, 0])
    assert np.all(limit[:, -1] < limit[:, 0])  # and it does converge


def test_estimates_of_a_batch_are_covered_by_a_longer_step():
    inclusion = worked_problem().inclusion
    one, four = (vr_forb.certified_step(inclusion, 0.5, batch) for batch in (1, 4))
    full = 0.5 / inclusion.lipschitz_full
    assert one < four <= full
    np.testing.assert_allclose(vr_forb.certified_step(inclusion, 0.5, 10**6), full, rtol=1e-5)


def test_constants_of_the_bound():
    """At n = 400 and s = 1/2 with c L = sqrt(n)."""
    n, safety = 400, 0.5
    p = 2 / n
    tau = safety * (p * (1 - p)) ** 0.5 / (n**0.5 + 1)
    np.testing.assert_allclose(tau, 1.679373330913e-3, rtol=1e-10)
    np.testing.assert_allclose(bounds.contraction(tau, p, safety), 9.596419033786e-4, rtol=1e-6)
    ratios = 0.25 / (np.array([0, 1, 10, 100]) + 2)
    np.testing.assert_array_equal(bounds.inner_steps(ratios, tau, p, safety), [5784, 6630, 9520, 13983])
    np.testing.assert_allclose(bounds.contraction(0.01, 0.02, safety), 0.005, rtol=1e-6)
    np.testing.assert_allclose(bounds.contraction_constant(0.02, safety), 4.040816326531, rtol=1e-6)
    assert bounds.inner_steps(0.1, 0.01, 0.02, safety) == 1204


def bilinear(size=4):
    signs = jnp.where(jnp.arange(size) < size // 2, 1.0, -1.0)
    return vr_forb.Problem(linear_inclusions.Linear(jnp.diag(signs)[::-1], jnp.ones(size)), jnp.zeros(size))


play = jax.jit(vr_forb.run)


def test_calls_are_counted_from_the_coins():
    problem, params = vr_forb.example(prng.root_key(0))
    n = problem.inclusion.num_components
    result = play(problem, params, prng.root_key(1))
    calls = loops.total(result.trace.calls)
    renewals = (np.diff(calls, prepend=n) - 2 * params.stride) / n
    assert np.all(renewals == np.round(renewals))
    assert np.all((renewals >= 0) & (renewals <= params.stride))
    assert loops.total(result.state.ledger.monitor_calls) == n * (1 + params.num_steps)


def test_divergence_is_a_status_and_not_a_nan():
    params = vr_forb.Params(num_steps=20, stride=50, step_size=5.0, unsafe=True)
    result = play(bilinear(), params, prng.root_key(0))
    assert result.status == Status.DIVERGED
    assert np.isfinite(result.u).all()
    assert np.isfinite(result.trace.residual).all()
    with pytest.raises(FloatingPointError, match="DIVERGED"):
        status.check(result)


def test_a_strongly_monotone_inclusion_is_solved_to_tolerance():
    params = vr_forb.Params(num_steps=60, stride=20, tolerance=1e-5)
    result = play(worked_problem(0.5), params, prng.root_key(0))
    assert result.status == Status.CONVERGED
    assert result.trace.residual[-1] <= 1e-5


BAD_PARAMS = [
    ({"num_steps": 0}, "num_steps"),
    ({"stride": 0}, "stride"),
    ({"batch": 0}, "batch"),
    ({"step_size": 0.0}, "step_size"),
    ({"step_size": float("nan")}, "step_size"),
    ({"safety": 0.0}, "safety"),
    ({"safety": 1.0}, "safety"),
    ({"probability": 0.0}, "probability"),
    ({"probability": 1.0}, "probability"),
    ({"tolerance": -1.0}, "tolerance"),
]


@pytest.mark.parametrize(("changes", "name"), BAD_PARAMS)
def test_bad_params_are_named(changes, name):
    with pytest.raises(ValueError, match=name):
        vr_forb.Params(**{"num_steps": 1} | changes)


def test_a_step_beyond_the_certified_one_is_refused_with_the_limit():
    problem = bilinear()
    limit = float(vr_forb.certified_step(problem.inclusion, 0.5))
    params = vr_forb.Params(num_steps=1, step_size=1.01 * limit)
    with pytest.raises(ValueError, match=rf"step_size must be < {limit:.6g}"):
        vr_forb.init(problem, params, prng.root_key(0))
    vr_forb.init(problem, dataclasses.replace(params, unsafe=True), prng.root_key(0))
    with pytest.raises(ValueError, match="stride must be <="):
        vr_forb.init(problem, vr_forb.Params(num_steps=1, stride=2**29), prng.root_key(0))


BAD_DRAWS = [
    (np.zeros(4), np.zeros((5, 1, 1), int), "indices"),
    (np.zeros(5), np.zeros((5, 1), int), "indices"),
    (np.zeros(5), np.full((5, 1, 1), 2), "indices"),
    (np.zeros(5), np.full((5, 1, 1), -1), "indices"),
    (np.full(5, 2), np.zeros((5, 1, 1), int), "coins"),
]


@pytest.mark.parametrize(("coins", "indices", "name"), BAD_DRAWS)
def test_bad_draws_are_named(coins, indices, name):
    with pytest.raises(ValueError, match=name):
        vr_forb.replay(worked_problem(), WORKED, coins, indices)


def test_a_problem_without_scale_is_refused():
    flat = linear_inclusions.Linear(jnp.zeros((2, 2)), jnp.zeros(2))
    with pytest.raises(ValueError, match="lipschitz"):
        vr_forb.init(vr_forb.Problem(flat, jnp.zeros(2)), vr_forb.Params(num_steps=1), prng.root_key(0))
    with pytest.raises(ValueError, match=r"Problem\.start"):
        vr_forb.Problem(flat, jnp.array([0.0, jnp.inf]))
