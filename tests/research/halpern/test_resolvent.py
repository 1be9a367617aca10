"""Algorithm 2: worked examples, the bounds of its schedules, restarts, certified solves, what it refuses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import linear_inclusions
import numpy as np
import pytest
import test_vr_forb

from pallas_kernels._dispatch import forced
from research.core import loops, prng, stats
from research.core.status import Status
from research.halpern import bounds, extragradient, games, lanes, resolvent
from research.halpern.inclusions import Problem

PLAIN = resolvent.Params(num_steps=10, restart=0.0)


def test_worked_example_to_the_digit(x64):
    problem = test_vr_forb.worked_problem()
    params = dataclasses.replace(PLAIN, resolvent_step=2.0, step_size=0.2, probability=0.5, unsafe=True)
    coins, indices = np.tile([0, 1, 0], (2, 1)), np.tile([0, 1, 1], (2, 1))[..., None, None]
    replay = resolvent.replay(Problem(problem.inclusion.inclusion, problem.start), params, coins, indices)
    outputs = [[0, 1, 0.832, 0.168], [0.26956, 0.73044, 0.20588, 0.79412]]
    points = [[0.45, 0.55, 0.516, 0.484], [0.479706666667, 0.520293333333, 0.20392, 0.79608]]
    np.testing.assert_allclose(np.concatenate(replay.outputs, axis=1), outputs, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.concatenate(replay.points, axis=1), points, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(replay.calls, [10, 20])


def iterates(problem, params, key):
    """u_k and v_k of every step, `[num_steps, ...]`, for a point that is one array."""

    def step(state, _):
        after, _ = resolvent.step(problem, params, state)
        return after, (state.u, after.output)

    state, points = jax.lax.scan(step, resolvent.init(problem, params, key), length=params.num_steps)
    return state, points


def test_exact_resolvents_to_the_digit(x64):
    problem = Problem(linear_inclusions.rotation(), jnp.array([1.0, 0.0]))
    params = dataclasses.replace(PLAIN, num_steps=5, schedule="exact", resolvent_step=1.0)
    _, (points, outputs) = iterates(problem, params, prng.root_key(0))
    expected = [[1, 0], [3 / 4, 1 / 4], [1 / 2, 1 / 3], [5 / 16, 5 / 16], [1 / 5, 1 / 4]]
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-12)
    lengths = [0.707106781187, 0.559016994375, 0.424918292799, 0.3125, 0.226384628453]
    np.testing.assert_allclose(np.linalg.norm(points - outputs, axis=1), lengths, rtol=0, atol=1e-10)
    _, (points, _) = iterates(problem, dataclasses.replace(params, num_steps=4, reflected=True), prng.root_key(0))
    np.testing.assert_allclose(points, [[1, 0], [1 / 2, 1 / 2], [0, 1 / 3], [0, 0]], rtol=0, atol=1e-12)


def _row(bound):
    """Against many instances, with room for rounding alone."""
    return np.asarray(bound)[None] * (1 + 1e-9)


@functools.cache
def exact_lengths(reflected):
    """|u_k - J(u_k)| of 24 problems over 40 iterations, in units of R."""
    problems, distances = linear_inclusions.instances(prng.root_key(3), 24, 6)
    params = dataclasses.replace(PLAIN, num_steps=40, schedule="exact", reflected=reflected)
    _, (points, outputs) = jax.jit(jax.vmap(lambda problem: iterates(problem, params, prng.root_key(0))))(problems)
    return np.linalg.norm(points - outputs, axis=-1) / np.asarray(distances)[:, None]


def test_exact_resolvents_stay_below_their_bound(x64):
    assert np.all(exact_lengths(False) <= _row(bounds.halpern_exact(np.arange(40), 1.0)))


def test_reflection_halves_the_bound(x64):
    k = np.arange(40)
    lengths = exact_lengths(True)
    assert np.all(lengths <= _row(bounds.halpern_reflected(k, 1.0)))
    # T = 2 J - I is nonexpansive, and its residual is twice as long.
    assert np.all(2 * lengths <= _row(bounds.halpern_nonexpansive(k, 1.0)))


def test_bound_of_inexact_resolvents_to_the_digit(x64):
    expected = [1, 0.730808000590, 0.570355287812, 0.466342658725, 0.393967167793]
    np.testing.assert_allclose(bounds.halpern_inexact(5, 1.0), expected, rtol=0, atol=1e-10)
    k = np.arange(400)
    for tolerance, constant in ((0.1, 2.19), (0.25, 2.51), (0.5, 3.16), (1.0, 5.12)):
        largest = np.max(bounds.halpern_inexact(400, 3.0, tolerance) * (k + 2) / 3)
        assert largest <= constant
    assert np.all(bounds.halpern_inexact(400, 1.0, 1e-12) <= bounds.halpern_exact(k, 1.0) * (1 + 1e-9))


def errors(params, seeds, count=20):
    """|u_k - J(u_k)|^2 / R^2 and |v_k - J(u_k)|^2 / R^2, `[count, seeds, num_steps]`, and the last states."""
    problems, distances = linear_inclusions.instances(prng.root_key(4), count, 4)

    def one(problem, distance, key):
        scale = resolvent.resolvent_step(problem, params)
        state, (points, outputs) = iterates(problem, params, key)
        targets = jax.vmap(lambda u: problem.inclusion.resolvent(u, scale))(points)
        outer, inner = (jnp.sum((given - targets) ** 2, axis=-1) / distance**2 for given in (points, outputs))
        return outer, inner, state

    over_seeds = jax.vmap(one, in_axes=(None, None, 0))
    keys = prng.replicate_keys(prng.root_key(5), seeds)
    outer, inner, state = jax.jit(jax.vmap(over_seeds, in_axes=(0, 0, None)))(problems, distances, keys)
    return np.asarray(outer), np.asarray(inner), state


def test_theory_meets_its_bound(x64):
    """20 operators, 64 seeds: the residual's root mean square, and the accuracy of every inner solve."""
    params = dataclasses.replace(PLAIN, num_steps=8, schedule="theory")
    outer, inner, _ = errors(params, 64)
    limit = stats.t_interval(outer, axis=1).high
    assert np.all(np.sqrt(limit) <= _row(bounds.halpern_inexact(8, 1.0)))
    allowed = (0.25 / (np.arange(8) + 2))[None, None] ** 2
    assert np.all(stats.t_interval(inner - allowed * outer, axis=1).high <= 0)


@pytest.mark.parametrize("changes", [{"warm_start": True}, {"reflected": True}], ids=["warm start", "reflected"])
def test_certified_solves_are_as_accurate_as_they_say(x64, changes):
    """Not on average: each of 20 operators x 4 seeds x 8 solves."""
    params = dataclasses.replace(PLAIN, num_steps=8, schedule="certified", residual="certified", **changes)
    outer, inner, state = errors(params, 4)
    assert np.all(state.uncertified == 0)
    assert np.all(np.sqrt(inner) <= _row([0.25 / (np.arange(8) + 2)]) * np.sqrt(outer))
    assert np.all(np.sqrt(outer) <= _row([bounds.halpern_inexact(8, 1.0)]))
    assert np.all(state.ledger.status == Status.OK)


def low_rank_game(seed, size, rank):
    left, right = np.random.default_rng(seed).standard_normal((2, size, rank))
    game = games.matrix_game(jnp.asarray(left @ right.T))
    return Problem(game, games.uniform_start(game))


def restarted_and_extragradient(seeds, size, rank, num_steps):
    """Natural residuals after 100 epochs."""
    params = resolvent.Params(num_steps=num_steps, inner_steps=size // 2, residual="natural")
    run = jax.jit(lambda problem, params, key: resolvent.run(problem, params, key))
    baseline = jax.jit(lambda problem, params: extragradient.run(problem, params))
    for seed in range(seeds):
        problem = low_rank_game(seed, size, rank)
        result = run(problem, params, prng.root_key(seed))
        epochs = loops.total(result.trace.calls) / size
        assert epochs[-1] >= 100  # the budget is what ends it
        ours = float(result.trace.residual[np.searchsorted(epochs, 100, side="right") - 1])
        yield ours, float(baseline(problem, extragradient.Params(num_steps=1, stride=50)).trace.residual[-1])


def test_restarts_beat_extragradient_on_a_small_game(x64):
    for ours, theirs in restarted_and_extragradient(3, 100, 2, 60):
        assert ours <= 1e-6
        assert theirs >= 1e-3


@pytest.mark.slow
def test_restarts_beat_extragradient_on_the_rank_five_game(x64):
    for ours, theirs in restarted_and_extragradient(5, 400, 5, 60):
        assert ours <= 1e-6
        assert theirs >= 1e-3


def test_the_certified_residual_stops_a_run_and_is_true(x64):
    problem = low_rank_game(0, 12, 2)
    params = resolvent.Params(num_steps=160, residual="certified", tolerance=1e-6)
    result = jax.jit(lambda key: resolvent.run(problem, params, key))(prng.root_key(0))
    assert result.status == Status.CONVERGED
    assert result.trace.residual[-1] <= 1e-6
    # An element of F + G of length r makes the duality gap at most r times the simplices' diameter 2.
    assert 0 <= games.duality_gap(problem.inclusion, result.u) <= 2e-6


def test_lanes_share_the_coins():
    """A coin's branch stays a branch: no lane evaluates a full operator that its coin did not ask for."""
    problem, _ = resolvent.example(prng.root_key(0))
    for schedule in ("practical", "certified"):
        params = resolvent.Params(num_steps=1, schedule=schedule)
        state = lanes.init(resolvent, problem, params, prng.root_key(1), 3)
        with forced("xla"):  # not the choice of a kernel, which is a branch in a trace as well
            traced = jax.make_jaxpr(lambda state, p=params: lanes.run(resolvent, problem, p, state=state).u)(state)
            alone = jax.make_jaxpr(lambda key, p=params: resolvent.run(problem, p, key).u)(prng.root_key(1))
        assert str(traced).count("cond[") == str(alone).count("cond[") == 2  # one of the status, one of the coin


def test_divergence_is_a_status_and_not_a_nan():
    params = dataclasses.replace(PLAIN, num_steps=20, step_size=5.0, inner_steps=100, unsafe=True)
    result = jax.jit(resolvent.run)(test_vr_forb.bilinear(), params, prng.root_key(0))
    assert result.status == Status.DIVERGED
    assert np.isfinite(result.u).all()


def test_authors_schedule_replays_the_figure_only_when_asked_for():
    problem = low_rank_game(0, 32, 2)
    with pytest.raises(ValueError, match="unsafe must be True"):
        resolvent.Params(num_steps=1, schedule="authors")
    params = resolvent.Params(num_steps=3, schedule="authors", restart=0.0, unsafe=True)
    result = jax.jit(resolvent.run)(problem, params, prng.root_key(0))
    lengths = np.floor(0.05 * 32 * np.log(np.arange(3) + 2)).astype(int)
    spent = np.diff(loops.total(result.trace.calls), prepend=0) - 32 - 2 * lengths
    assert np.all(spent % 32 == 0)
    assert np.all(spent // 32 <= lengths)


BAD_PARAMS = [
    ({"num_steps": 0}, "num_steps"),
    ({"stride": 2}, "stride"),
    ({"schedule": "loose"}, "schedule"),
    ({"residual": "gap"}, "residual"),
    ({"reflected": True}, "reflected"),
    ({"reflected": True, "schedule": "growing"}, "reflected"),
    ({"warm_start": True}, "warm_start"),
    ({"warm_start": True, "schedule": "theory"}, "warm_start"),
    ({"batch": 0}, "batch"),
    ({"resolvent_step": 0.0}, "resolvent_step"),
    ({"inner_steps": 0}, "inner_steps"),
    ({"step_size": -1.0}, "step_size"),
    ({"safety": 1.5}, "safety"),
    ({"probability": 1.0}, "probability"),
    ({"accuracy": 1.0}, "accuracy"),
    ({"restart": -0.1}, "restart"),
    ({"tolerance": -1.0}, "tolerance"),
]


@pytest.mark.parametrize(("changes", "name"), BAD_PARAMS)
def test_bad_params_are_named(changes, name):
    with pytest.raises(ValueError, match=name):
        resolvent.Params(**{"num_steps": 1} | changes)


def test_what_a_problem_does_not_admit_is_refused():
    problem, params = resolvent.example(prng.root_key(0))
    inner = resolvent.resolvent_step(problem, params) * problem.inclusion.lipschitz + 1
    limit = float(np.sqrt(1 / 3 * 2 / 3) / inner)
    for unsafe, schedule in ((False, "practical"), (True, "theory")):
        beyond = resolvent.Params(num_steps=1, schedule=schedule, step_size=1.01 * limit, unsafe=unsafe)
        with pytest.raises(ValueError, match="the certified limit") as refused:
            resolvent.init(problem, beyond, prng.root_key(0))
        np.testing.assert_allclose(float(str(refused.value).split("be < ")[1].split(",")[0]), limit, rtol=1e-5)
    with pytest.raises(ValueError, match="schedule must be another one"):
        resolvent.init(problem, resolvent.Params(num_steps=1, schedule="exact"), prng.root_key(0))
    with pytest.raises(ValueError, match="num_components must be >= 29"):
        resolvent.init(problem, resolvent.Params(num_steps=1, schedule="authors", unsafe=True), prng.root_key(0))
    with pytest.raises(ValueError, match="indices must have shape"):
        resolvent.replay(problem, params, np.zeros((2, 3)), np.zeros((2, 4, 1, 2), int))
