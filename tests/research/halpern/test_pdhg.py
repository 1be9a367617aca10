"""PDHG: the worked program to its digits, iterations on random matchings, lanes that stop alone, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import loops, prng
from research.core.status import Status
from research.halpern import bounds, lanes, linear_programs, operators, pdhg
from research.halpern.inclusions import Problem

NORM = 1.902113032590
#: |A|, ten digits of it are stated.
X = np.array([
    [0.468426420898, 0.312284280599, 0.416379040798, 0.260236900499],
    [0.784767726293, 0.348596869726, 0.613183469196, 0.424785764565],
    [0.889044068110, 0.138969030541, 0.595361239831, 0.445103071135],
])  # fmt: skip
Y = np.array([0.292205131578, 0.183847940568, 0, 0.238026536073, 0])
DISTANCES = np.array([0.598411582306, 0.378236471485, 0.327102093470])


def worked():
    graph = operators.Incidence(jnp.asarray([0, 0, 1, 1]), jnp.asarray([0, 1, 1, 2]), 2, 3)
    program = linear_programs.linear_program(jnp.asarray([-0.9, -0.6, -0.8, -0.5]), graph, jnp.ones(5))
    return Problem(program, linear_programs.zero_start(program))


def draw(count, size, seed=0):
    keys = prng.replicate_keys(prng.root_key(seed), count)
    programs = jax.vmap(lambda key: linear_programs.b_matching(key, *size, jnp.float64))(keys)
    return Problem(programs, jax.vmap(linear_programs.zero_start)(programs))


def test_the_worked_program(x64):
    problem = worked()
    matrix = jax.vmap(problem.inclusion.operator.forward)(jnp.eye(4)).T
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), NORM, atol=1e-12)
    params = pdhg.Params(num_steps=1, stride=1, step_size=0.99 / NORM, restarts=False)
    state, step = jax.jit(pdhg.init)(problem, params), jax.jit(pdhg.step)
    for k in range(3):
        state, _ = step(problem, params, state)
        np.testing.assert_allclose(state.candidate.x, X[k], atol=1e-12)
        np.testing.assert_allclose(state.last, DISTANCES[k], atol=1e-12)
        if k == 0:
            np.testing.assert_allclose(state.candidate.y, Y, atol=1e-12)
    assert loops.total(state.ledger.calls) == 1 + 3  # the images of the start, then one each

    found = pdhg.solve(problem, pdhg.Params(num_steps=50, tolerance=1e-10))
    np.testing.assert_allclose(found.x, [1, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(found.kkt.objective, -1.7, atol=1e-9)
    assert found.status == Status.CONVERGED
    assert int(found.iterations) <= 50


#: Of the three stated sizes the smallest and the largest always, the one between them when there is time.
STATED = [((4, 8, 2), 70), pytest.param((20, 60, 3), 130, marks=pytest.mark.slow), ((50, 200, 4), 320)]


@pytest.mark.parametrize(("size", "stated"), STATED)
def test_random_matchings_take_the_stated_iterations(size, stated, x64):
    """Median over 20 instances of the iterations to a relative KKT residual of 1e-8; the optimum is HiGHS's."""
    problems = draw(20, size)
    params = pdhg.Params(num_steps=10 * stated // 10, tolerance=1e-8)
    found = pdhg.solve(problems, params, problem_axes=lanes.axes(problems))
    assert (found.status == Status.CONVERGED).all()
    assert (found.kkt.residual <= 1e-8).all()
    assert np.median(found.iterations) <= 1.5 * stated
    for k in range(3):
        optimum = linear_programs.highs(jax.tree.map(lambda leaf, k=k: leaf[k], problems.inclusion)).objective
        np.testing.assert_allclose(found.kkt.objective[k], optimum, rtol=1e-7)


def test_distances_stay_below_the_rate_of_the_anchor(x64):
    """20 programs, no restarts: |z_k - T z_k|_P <= 2 R / (k + 1), and 2 R / (k + 1) / 2 = R / (k + 1) reflected."""
    problems = draw(20, (4, 8, 2), seed=1)
    exact = pdhg.solve(problems, pdhg.Params(num_steps=200, tolerance=1e-13), problem_axes=lanes.axes(problems))

    @jax.jit
    @jax.vmap
    def play(problem, x, y):
        program = problem.inclusion
        size = 0.99 / program.lipschitz_full
        solution = pdhg.lift(program, (x, y))

        def distances(reflected):
            params = pdhg.Params(num_steps=100, stride=1, restarts=False, reflected=reflected)

            def body(state, _):
                state, _ = pdhg.step(problem, params, state)
                return state, state.last

            state = pdhg.init(problem, params)
            return pdhg.distance(state.at, solution, size, 1.0), jax.lax.scan(body, state, length=100)[1]

        return distances(False), distances(True)

    (far, plain), (_, reflected) = play(problems, exact.x, exact.y)
    k = np.arange(100)
    assert (plain <= bounds.halpern_nonexpansive(k[None], far[:, None]) * (1 + 1e-6)).all()
    assert (reflected <= bounds.halpern_reflected(k[None], far[:, None]) * (1 + 1e-6)).all()


def test_lanes_stop_alone_and_stand_still(x64):
    problems = draw(6, (4, 8, 2), seed=2)
    axes = lanes.axes(problems)
    params = pdhg.Params(num_steps=100, tolerance=1e-8)
    together = pdhg.solve(problems, params, problem_axes=axes)
    assert len(set(together.iterations.tolist())) > 1
    for k in range(6):
        alone = pdhg.solve(jax.tree.map(lambda leaf, k=k: leaf[k], problems), params)
        assert int(alone.iterations) == int(together.iterations[k])
        np.testing.assert_allclose(alone.x, together.x[k], atol=1e-12)
    # Twice the steps, after all have stopped: not one bit of any lane moves.
    go = jax.jit(jax.vmap(lambda problem, state: pdhg.run(problem, params, state=state)))
    short = go(problems, jax.jit(jax.vmap(lambda problem: pdhg.init(problem, params)))(problems))
    long = go(problems, short.state)
    jax.tree.map(np.testing.assert_array_equal, short.state._replace(step=0), long.state._replace(step=0))
    np.testing.assert_array_equal(short.status, Status.CONVERGED)


def test_programs_that_share_a_matrix_share_one_product(x64):
    rng = np.random.default_rng(0)
    matrix, costs = jnp.asarray(rng.random((6, 9))), jnp.asarray(-rng.random((5, 9)))

    def problem(costs):
        program = linear_programs.linear_program(costs, matrix, jnp.ones(6), high=1.0, norm=matrix.sum())
        return Problem(program, linear_programs.zero_start(program))

    one = problem(costs[0])
    axes = jax.tree.map(lambda _: None, one)
    axes = type(one)(lanes.axes(one.inclusion, "costs"), axes.start)
    batch = type(one)(type(one.inclusion)(**vars(one.inclusion) | {"costs": costs}), one.start)
    params = pdhg.Params(num_steps=2000, tolerance=1e-9)
    found = pdhg.solve(batch, params, problem_axes=axes)
    for k in range(5):
        np.testing.assert_allclose(
            found.kkt.objective[k], linear_programs.highs(problem(costs[k]).inclusion).objective, rtol=1e-8
        )
    text = jax.make_jaxpr(lambda batch: pdhg.solve(batch, params, problem_axes=axes).x)(batch).pretty_print()
    products = [line for line in text.splitlines() if "dot_general" in line and "[5,6]" in line or "[6,5]" in line]
    assert products, "no product of all lanes with the matrix"


def test_bad_input_is_refused():
    problem = worked()
    with pytest.raises(ValueError, match=r"Params\.step_size must be < 0\.52\d*, the certified limit, unless unsafe"):
        pdhg.init(problem, pdhg.Params(num_steps=1, step_size=0.6))
    pdhg.init(problem, pdhg.Params(num_steps=1, step_size=0.6, unsafe=True))
    with pytest.raises(ValueError, match="tolerance must be positive"):
        pdhg.solve(problem, pdhg.Params(num_steps=1))
    for given, message in [
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"weight": -1.0}, "weight must be positive"),
        ({"sufficient": 1.5}, r"sufficient must lie in \[0, 1\]"),
        ({"smoothing": 1.5}, r"smoothing must lie in \[0, 1\]"),
        ({"tolerance": -1.0}, "tolerance must be >= 0"),
        ({"stride": 0}, "stride must be >= 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            pdhg.Params(num_steps=1, **given)


def test_divergence_is_a_status():
    problem = worked()
    result = pdhg.run(problem, pdhg.Params(num_steps=400, step_size=40.0, unsafe=True, restarts=False, stride=20))
    assert result.status == Status.DIVERGED
    assert np.isfinite(result.u[0]).all()
    unbounded = linear_programs.linear_program(-jnp.ones(1), jnp.asarray([[-1.0]]), jnp.ones(1))
    result = pdhg.run(Problem(unbounded, linear_programs.zero_start(unbounded)), pdhg.Params(10, tolerance=1e-6))
    assert result.status == Status.BUDGET
