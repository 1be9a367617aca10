"""Lanes share refreshes, and nothing else: draws, statuses, steps and starts are each lane's own."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import loops, prng
from research.core.status import Status
from research.halpern import finite_sums, forward_backward, lanes, page, svrg_anchored
from research.halpern.inclusions import Problem

ROWS, COLUMNS = 200, 4


@pytest.fixture(scope="module")
def problem():
    rows, noise = jax.random.split(prng.root_key(0))
    features = jax.random.normal(rows, (ROWS, COLUMNS))
    targets = features @ jnp.ones(COLUMNS) + 0.1 * jax.random.normal(noise, (ROWS,))
    return Problem(finite_sums.least_squares(features, targets), jnp.zeros(COLUMNS))


@pytest.fixture(scope="module")
def params():
    return page.Params(num_steps=4, stride=16)


@jax.jit
def many(problem, params, state):
    return lanes.run(page, problem, params, state=state)


def begin(problem, params, num_lanes):
    return lanes.init(page, problem, params, prng.root_key(3), num_lanes)


def test_eight_lanes_draw_what_one_draws(problem, params):
    one, eight = (many(problem, params, begin(problem, params, count)) for count in (1, 8))
    np.testing.assert_allclose(eight.trace.residual[:1], one.trace.residual, rtol=1e-4)
    np.testing.assert_allclose(eight.u[:1], one.u, rtol=1e-4)
    assert len(np.unique(np.asarray(eight.u)[:, 0])) == 8, "indices are each lane's own"
    calls = loops.total(eight.state.ledger.calls)
    np.testing.assert_array_equal(calls, np.full(8, calls[0]))  # one coin for all
    np.testing.assert_array_equal(calls[:1], loops.total(one.state.ledger.calls))


def test_lanes_may_share_their_draws(problem, params):
    """A lane of another start then is the method alone, with the first lane's draws."""
    problems = dataclasses.replace(problem, start=jnp.stack([problem.start, problem.start + 2.0]))
    axes = lanes.axes(problems, "start")
    given = {"problem_axes": axes, "shared_draws": True}
    state = lanes.init(page, problems, params, prng.root_key(3), 2, **given)
    assert state.key.shape == ()
    together = lanes.run(page, problems, params, state=state, **given)
    moved = dataclasses.replace(problem, start=problem.start + 2.0)
    for lane, alone in enumerate((problem, moved)):
        first = lanes.init(page, alone, params, prng.root_key(3), 1)
        assert (jax.random.key_data(first.key[0]) == jax.random.key_data(state.key)).all()
        np.testing.assert_allclose(together.u[lane], many(alone, params, first).u[0], rtol=1e-4)


def test_a_lane_is_the_method_alone_on_its_keys(problem, params):
    state = begin(problem, params, 8)
    together = many(problem, params, state)
    shared = {"step": state.step, "coin_key": state.coin_key}
    alone = jax.tree.map(lambda leaf: leaf[2], state._replace(step=jnp.zeros(3), coin_key=jnp.zeros(3)))
    result = jax.jit(lambda state: page.run(problem, params, state=state))(alone._replace(**shared))
    np.testing.assert_allclose(together.trace.residual[2], result.trace.residual, rtol=1e-4)
    assert loops.total(together.state.ledger.calls)[2] == loops.total(result.state.ledger.calls)


def test_splitting_a_run_of_lanes_changes_nothing(problem, params):
    state = begin(problem, params, 8)
    whole = many(problem, params, state)
    half = dataclasses.replace(params, num_steps=2)
    twice = many(problem, half, many(problem, half, state).state)
    assert int(twice.state.step) == int(whole.state.step) == 4
    np.testing.assert_array_equal(twice.u, whole.u)


def bodies(equation):
    """The programs inside an equation: of a loop, of the branches of a conditional, of a call."""
    values = [v for value in equation.params.values() for v in (value if isinstance(value, tuple) else (value,))]
    inner = (getattr(value, "jaxpr", value) for value in values)
    return [value for value in inner if hasattr(value, "eqns")]


def full_evaluations(jaxpr, inside_branch=False):
    """Products with the whole matrix: (all, those that a branch guards), each counted once per place in the program."""
    every = guarded = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            whole = any(ROWS in var.aval.shape for var in equation.invars)
            every, guarded = every + whole, guarded + (whole and inside_branch)
        for inner in bodies(equation):
            deeper = full_evaluations(inner, inside_branch or equation.primitive.name == "cond")
            every, guarded = every + deeper[0], guarded + deeper[1]
    return every, guarded


def iteration(jaxpr):
    """The body of the innermost scan: one iteration of all lanes."""
    for equation in jaxpr.eqns:
        for inner in bodies(equation):
            found = iteration(inner)
            if found is not None:
                return found
            if equation.primitive.name == "scan":
                return inner
    return None


def test_the_full_operator_stays_behind_a_branch(problem, params):
    """In the traced program, in an iteration of eight lanes; a coin per lane shows what is avoided."""
    state = begin(problem, params, 8)
    shared = iteration(jax.make_jaxpr(lambda state: lanes.run(page, problem, params, state=state))(state).jaxpr)
    every, guarded = full_evaluations(shared)
    assert every == guarded == 2  # X u and its transpose

    keys = prng.replicate_keys(prng.root_key(3), 8)
    apart = iteration(jax.make_jaxpr(jax.vmap(lambda key: page.run(problem, params, key)))(keys).jaxpr)
    every, guarded = full_evaluations(apart)
    assert every == 2
    assert guarded == 0


def test_the_compiled_program_keeps_its_conditional(problem, params):
    text = many.lower(problem, params, begin(problem, params, 8)).compile().as_text()
    assert len(re.findall(r" conditional\(", text)) >= 2  # a stride of any lane that is going, and the coin


def test_statuses_are_per_lane(problem):
    """One converges, one runs out of steps, one diverges; calls are counted apart, and no lane holds a NaN."""
    scaled = jnp.array([0.5, 0.05, 60.0]) / problem.inclusion.lipschitz
    params = page.Params(num_steps=6, stride=16, step_size=scaled, tolerance=jnp.array([0.6, 1e-6, 0.0]), unsafe=True)
    axes = lanes.axes(params, "step_size", "tolerance")
    result = lanes.run(page, problem, params, prng.root_key(3), 3, params_axes=axes)
    np.testing.assert_array_equal(result.status, [Status.CONVERGED, Status.BUDGET, Status.DIVERGED])
    calls = loops.total(result.state.ledger.calls)
    assert calls[0] < calls[1]
    assert calls[2] < calls[1]
    assert np.isfinite(result.u).all()
    assert np.isfinite(result.trace.residual).all()


def test_starts_may_differ(problem, params):
    starts = jnp.stack([jnp.zeros(COLUMNS), jnp.full(COLUMNS, 2.0)])
    problems = dataclasses.replace(problem, start=starts)
    axes = lanes.axes(problems, "start")
    params = dataclasses.replace(params, stride=1, num_steps=1)
    result = lanes.run(page, problems, params, prng.root_key(3), 2, problem_axes=axes)
    size = page.certified_step(problem, params)
    expected = jax.vmap(lambda start: start - size * problem.inclusion.full(start))(starts)  # the first step is full
    np.testing.assert_allclose(result.u, expected, rtol=1e-4)


@pytest.mark.parametrize("method", [forward_backward, svrg_anchored], ids=lambda m: m.__name__.rsplit(".", 1)[-1])
def test_other_methods_run_as_lanes(method, problem):
    params = method.Params(num_steps=2, stride=4)
    result = jax.jit(lambda key: lanes.run(method, problem, params, key, 2))(prng.root_key(0))
    assert result.trace.residual.shape == (2, 2)
    assert result.state.step.shape == ()
    np.testing.assert_array_equal(result.status, [Status.OK, Status.OK])


def test_an_unsafe_lane_is_refused(problem):
    params = page.Params(num_steps=2, step_size=jnp.array([0.5, 3.0]) / problem.inclusion.lipschitz)
    axes = lanes.axes(params, "step_size")
    with pytest.raises(ValueError, match=r"Params\.step_size must be <= .*, the certified limit"):
        lanes.init(page, problem, params, prng.root_key(0), 2, params_axes=axes)
    with pytest.raises(ValueError, match=r"num_lanes must be >= 1, got 0"):
        begin(problem, page.Params(num_steps=2), 0)
    with pytest.raises(ValueError, match=r"names must be fields that are set, got refresh"):
        lanes.axes(params, "refresh")
