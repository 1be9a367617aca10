"""LP-OnOpt: worked values, bounds that always hold, repair, padding, batches, gradients, refused input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.core.status import Status
from research.matching import _sweeps, oracles, problems, relaxation
from research.matching.problems import Problem
from research.matching.relaxation import PRECISE, Params

W2 = np.array([[4.0, 3, 2, 5], [3, 5, 1, 4]]), np.array([0.5, 0.6, 0.8, 0.5])
W6_WEIGHTS = np.stack([[[3.0, 2], [1, 4]], [[2.0, 5], [2, 1]]], axis=-1)
W6 = W6_WEIGHTS, np.array([[0.5, 0.3], [0.4, 0.4]])


def worked(name):
    """Problem, LP and ex-ante LP of the worked examples; None where no value is published."""
    double = jnp.float64
    return {
        "W2": lambda: (problems.from_arrays(*W2), 7.05, 7.9),
        "W4, s=.724": lambda: (problems.hard_edge(3, 0.724, 1e-3, double)[0], 1.002638, None),
        "W4, s=1": lambda: (problems.hard_edge(3, 1.0, 1e-3, double)[0], 1.0025, None),
        "W5": lambda: (problems.hard_prophet(0.01, 1.5, double), 1.5, 2.49),
        # No optimum is published: 4.66 is proved here, by a feasible x and multipliers of that value.
        "W6": lambda: (problems.from_arrays(*W6), 4.66, None),
    }[name]()


EXAMPLES = ["W2", "W4, s=.724", "W4, s=1", "W5", "W6"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_examples_by_highs(name, x64):
    problem, value, ex_ante = worked(name)
    solved = oracles.online_lp(problem)
    assert solved.value == pytest.approx(value, abs=1e-9)
    assert relaxation.dual_value(problem, jnp.asarray(solved.multipliers)) == pytest.approx(value, abs=1e-9)
    problems.validate_allocation(problem, solved.x, tolerance=1e-9)
    assert np.sum(problem.weights * solved.x) == pytest.approx(value, abs=1e-9)
    if ex_ante is not None:
        assert oracles.ex_ante_lp(problem).value == pytest.approx(ex_ante, abs=1e-9)
    assert oracles.ex_ante_lp(problem).value >= value - 1e-9


@pytest.mark.parametrize("names", [EXAMPLES[:4], EXAMPLES[4:]], ids=["bernoulli", "typed"])
def test_worked_examples_to_the_certified_gap(names, x64):
    batch = problems.stack([worked(name)[0] for name in names])
    batch, solutions = jax.device_get((batch, relaxation.solve_batch(batch, PRECISE, tolerance=1e-7)))
    for lane, name in enumerate(names):
        padded, solution = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (batch, solutions))
        assert solution.status == Status.CONVERGED
        proof = relaxation.certificate(padded, solution.x, solution.multipliers)
        assert proof.gap <= 1e-7
        assert proof.primal - 1e-9 <= worked(name)[1] <= proof.dual + 1e-9


def test_published_duals_of_the_second_example(x64):
    problem = problems.from_arrays(*W2)
    for multipliers, value in (([0, 0.5, 0, 0], 7.05), ([0, 0, 0, 0], 7.2), ([0.5] * 4, 7.55)):
        assert relaxation.dual_value(problem, jnp.asarray(multipliers, jnp.float64)) == pytest.approx(value, abs=1e-9)


def test_one_node_is_optimal_stopping(x64):
    """With one offline node the LP is the value of the best stopping rule, and V its value to go."""
    problem = problems.er(prng.root_key(0), 0.9, 1, 30, jnp.float64)
    weights, arrivals = np.asarray(problem.weights)[0], np.asarray(problem.arrivals)
    best = [0.0]
    for weight, probability in zip(weights[::-1], arrivals[::-1], strict=True):
        best.append(best[-1] + probability * max(weight - best[-1], 0))
    assert oracles.online_lp(problem).value == pytest.approx(best[-1], abs=1e-9)
    values = relaxation.waiting_values(problem, jnp.zeros(30, jnp.float64))
    np.testing.assert_allclose(values[0], best[::-1], rtol=1e-13)


FAMILIES = {
    "er": lambda key: problems.er(key, 0.5, 5, 9, jnp.float64),
    "ba": lambda key: problems.ba(key, 3, 5, 9, jnp.float64),
    "geom": lambda key: problems.geom(key, 0.5, 5, 9, jnp.float64),
    "vertex": lambda key: problems.vertex_weighted(key, 0.6, 5, 9, jnp.float64),
    "typed": lambda key: problems.typed_random(key, 4, 6, 3, dtype=jnp.float64),
    "stationary": lambda key: problems.typed_random(key, 4, 6, 3, stationary=True, dtype=jnp.float64),
}


@jax.jit
def dual_and_repair(batch, multipliers, x):
    return jax.vmap(relaxation.dual_value)(batch, multipliers), jax.vmap(relaxation.repair)(batch, x)


@pytest.mark.parametrize("family", [*list(FAMILIES)[:5], pytest.param("stationary", marks=pytest.mark.slow)])
def test_the_lp_lies_between_the_bounds(family, x64):
    """25 instances of each family, 125 or 150 in all: at convergence, and at any multipliers and any array whatever."""
    keys = prng.replicate_keys(prng.root_key(1), 25)
    batch = jax.jit(jax.vmap(FAMILIES[family]))(keys)
    solutions = relaxation.solve_batch(batch)
    noise = prng.stream(prng.root_key(2), "noise")
    prices = jax.random.exponential(noise, batch.arrivals.shape, jnp.float64) * 0.3
    guess = jax.random.normal(noise, solutions.x.shape, jnp.float64)
    any_dual, repaired = dual_and_repair(batch, prices, guess)
    batch, solutions, any_dual, repaired = jax.device_get((batch, solutions, any_dual, repaired))
    for lane in range(25):
        problem, solution = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (batch, solutions))
        exact = oracles.online_lp(problem).value
        proof = relaxation.certificate(problem, solution.x, solution.multipliers)
        assert proof.primal <= exact + 1e-9
        assert exact <= proof.dual + 1e-9
        assert proof.gap <= 1e-4
        assert proof.infeasibility <= 1e-12
        assert solution.primal == pytest.approx(proof.primal, rel=1e-9)
        assert solution.dual == pytest.approx(proof.dual, rel=1e-9)
        assert solution.status == Status.CONVERGED
        assert any_dual[lane] >= exact - 1e-9
        problems.validate_allocation(problem, repaired[lane], tolerance=1e-12)
        assert np.sum(problem.weights * repaired[lane]) <= exact + 1e-9


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_repair_is_idempotent_and_feasible(typed, dtype, x64):
    key = prng.root_key(3)
    problem = problems.typed_random(key, 30, 40, 3, dtype=dtype) if typed else problems.er(key, 0.5, 30, 40, dtype)
    guess = jax.random.uniform(prng.stream(key, "x"), problem.allocation_shape, dtype)
    once = relaxation.repair(problem, guess)
    problems.validate_allocation(problem, once, tolerance=8 * jnp.finfo(dtype).eps)
    np.testing.assert_array_equal(relaxation.repair(problem, once), once)


def test_repair_leaves_a_feasible_allocation_alone(x64):
    problem, x = problems.hard_edge(20, 0.724, 1e-3, jnp.float64)
    np.testing.assert_array_equal(relaxation.repair(problem, x), x)


def test_a_sweep_does_not_see_padding():
    problem = problems.er(prng.root_key(4), 0.6, 5, 9)
    padded = problems.pad(problem, 8, 16)
    multipliers = 0.5 * jax.random.uniform(prng.root_key(4), (16, 1, 1))
    plain, wide = (_sweeps.lanes(p.weights[None], p.arrivals[None]) for p in (problem, padded))
    before = _sweeps.audit(plain, multipliers[:9], 0.1 * plain.scale)
    after = _sweeps.audit(wide, multipliers, 0.1 * wide.scale)
    # Only zeros are added; a compiled sum may still group its terms by the length of its axis.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), before, after)
    x = _sweeps.allocate(wide, multipliers, 0.1 * wide.scale)[:, 0, :, 0]
    np.testing.assert_array_equal(x[9:], 0)
    np.testing.assert_array_equal(x[:, 5:], 0)


@pytest.mark.slow
@pytest.mark.parametrize("typed", [False, True])
def test_padding_changes_nothing(typed):
    key = prng.root_key(4)
    problem = problems.typed_random(key, 5, 9, 2) if typed else problems.er(key, 0.6, 5, 9)
    padded = problems.pad(problem, 8, 16)
    params = Params(num_steps=5)
    plain, wide = (relaxation.run(p, params) for p in (problem, padded))
    # As in the test above, over 50 iterations.
    tolerance = {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(wide.x[:5, :9], plain.x, **tolerance)
    np.testing.assert_array_equal(wide.x[5:], 0)
    np.testing.assert_array_equal(wide.x[:, 9:], 0)
    np.testing.assert_allclose(wide.multipliers[:9], plain.multipliers, **tolerance)
    np.testing.assert_array_equal(wide.multipliers[9:], 0)
    np.testing.assert_allclose(wide.trace.dual, plain.trace.dual, **tolerance)
    exact = relaxation.dual_value(problem, plain.multipliers)
    wider = jnp.pad(plain.multipliers, ((0, 7), *((0, 0),) * typed))
    np.testing.assert_allclose(relaxation.dual_value(padded, wider), exact, rtol=1e-6)


def easy_and_hard():
    easy = problems.vertex_weighted(prng.root_key(5), 0.5, 20, 50)
    hard = problems.ba(prng.root_key(6), 6, 20, 50)
    return easy, hard


def test_a_finished_lane_is_not_touched_by_its_neighbours():
    easy, hard = easy_and_hard()
    together = relaxation.solve_batch(problems.stack([easy, hard]))
    twins = relaxation.solve_batch(problems.stack([easy, easy]))
    assert int(together.rounds[0]) < int(together.rounds[1])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), together, twins)


def test_a_batch_and_a_vmap_solve_what_single_calls_solve():
    batch = jax.jit(jax.vmap(lambda key: problems.er(key, 0.5, 6, 12)))(prng.replicate_keys(prng.root_key(7), 3))
    by_batch = relaxation.solve_batch(batch)
    by_vmap = jax.vmap(relaxation.solve)(batch)
    for lane in range(3):
        alone = relaxation.solve(jax.tree.map(lambda leaf, lane=lane: leaf[lane], batch))
        for many in (by_batch, by_vmap):
            assert many.gap[lane] <= 1e-4
            assert many.status[lane] == Status.CONVERGED
            # Both bounds hold for the same optimum, wherever rounding has led the path.
            np.testing.assert_allclose(many.primal[lane], alone.primal, rtol=1.1e-4)
            np.testing.assert_allclose(many.dual[lane], alone.dual, rtol=1.1e-4)
            assert many.x[lane].shape == alone.x.shape


def test_one_type_is_the_bernoulli_problem():
    problem = problems.er(prng.root_key(8), 0.5, 6, 12)
    typed = problems.as_typed(problem)
    lanes = [_sweeps.lanes(p.weights[None], p.arrivals[None]) for p in (problem, typed)]
    jax.tree.map(np.testing.assert_array_equal, *lanes)


def test_weights_that_do_not_depend_on_time_need_no_copies():
    problem = problems.typed_random(prng.root_key(9), 5, 8, 3, stationary=True)
    copies = Problem(jnp.broadcast_to(problem.weights, problem.allocation_shape), problem.arrivals)
    short, long = (_sweeps.lanes(p.weights[None], p.arrivals[None]) for p in (problem, copies))
    assert (short.gains.shape[0], long.gains.shape[0]) == (1, 8)
    multipliers = 0.5 * jax.random.uniform(prng.root_key(9), short.arrivals.shape)
    for sweep in (_sweeps.load, _sweeps.audit, _sweeps.allocate):
        results = (sweep(lanes, multipliers, 0.1 * lanes.scale) for lanes in (short, long))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *results)
    results = (_sweeps.values(lanes, multipliers) for lanes in (short, long))
    np.testing.assert_allclose(*results, rtol=1e-6)


def smoothed_dual(weights, arrivals, multipliers, temperature):
    """D_mu in the plainest form, for autodiff."""
    waiting = jnp.zeros(weights.shape[0], weights.dtype)
    for t in reversed(range(len(arrivals))):
        slope = (weights[:, t] - multipliers[t] - waiting) / temperature[t]
        waiting = waiting + arrivals[t] * temperature[t] * jax.nn.softplus(slope)
    return jnp.sum(arrivals * multipliers) + jnp.sum(waiting)


def test_the_load_is_the_gradient_of_the_smoothed_dual(x64):
    problem = problems.er(prng.root_key(10), 1.0, 4, 7, jnp.float64)
    multipliers = 0.3 * jax.random.uniform(prng.root_key(11), (7,), jnp.float64)
    temperature = jnp.linspace(0.05, 0.2, 7, dtype=jnp.float64)
    gradient = jax.grad(smoothed_dual, 2)(problem.weights, problem.arrivals, multipliers, temperature)
    lanes = _sweeps.lanes(problem.weights[None], problem.arrivals[None])
    load = _sweeps.load(lanes, multipliers[:, None, None], temperature[:, None, None])[:, 0, 0]
    np.testing.assert_allclose(problem.arrivals * (1 - load), gradient, rtol=1e-10, atol=1e-12)


def test_smoothing_adds_at_most_its_bias(x64):
    problem = problems.er(prng.root_key(12), 1.0, 4, 7, jnp.float64)
    for seed in range(20):
        draw, heat = jax.random.split(prng.root_key(seed))
        multipliers = jax.random.uniform(draw, (7,), jnp.float64)
        temperature = 0.3 * jax.random.uniform(heat, (7,), jnp.float64)
        smooth = smoothed_dual(problem.weights, problem.arrivals, multipliers, temperature)
        excess = smooth - relaxation.dual_value(problem, multipliers)
        assert 0 <= excess <= relaxation.smoothing_bias(problem, temperature)


@pytest.mark.parametrize("typed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients_are_those_of_the_lp(typed, x64):
    """Along random directions, against central differences of HiGHS; generic instances have unique optima."""
    key = prng.root_key(13)
    if typed:
        problem = problems.typed_random(key, 3, 5, 2, stationary=True, dtype=jnp.float64)
    else:
        problem = problems.er(key, 1.0, 4, 7, jnp.float64)
    value, gradient = jax.value_and_grad(lambda p: 2 * relaxation.value(p, PRECISE, tolerance=1e-9))(problem)
    assert value == pytest.approx(2 * oracles.online_lp(problem).value, rel=1e-8)
    for seed in range(4):
        towards_weights, towards_arrivals = jax.random.split(prng.root_key(seed))
        for direction in (
            Problem(jax.random.normal(towards_weights, problem.weights.shape), 0 * problem.arrivals),
            Problem(
                0 * problem.weights, problem.arrivals * jax.random.normal(towards_arrivals, problem.arrivals.shape)
            ),
        ):
            ahead, behind = (
                oracles.online_lp(jax.tree.map(lambda a, d, h=h: a + h * d, problem, direction)).value
                for h in (1e-5, -1e-5)
            )
            slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)))
            # Inside one basis the LP is linear in the weights and smooth in p: the rest is HiGHS's tolerance over h.
            assert slope == pytest.approx(2 * (ahead - behind) / 2e-5, rel=1e-4, abs=1e-4)


def test_growing_weights_are_within_reach():
    """Weights that grow by a fifth a step: one temperature for all times would leave a gap of some 3e-2."""
    base = problems.er(prng.root_key(14), 0.5, 20, 50)
    problem = Problem(base.weights * 1.2 ** jnp.arange(50.0)[None], base.arrivals)
    solution = relaxation.solve(problem)
    assert relaxation.certificate(problem, solution.x, solution.multipliers).gap <= 1e-4


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda key: problems.er(key, 0.5, 200, 1000), id="er"),
        pytest.param(lambda key: problems.geom(key, 0.25, 50, 200), id="geom", marks=pytest.mark.slow),
        pytest.param(lambda key: problems.ba(key, 6, 50, 200), id="ba", marks=pytest.mark.slow),
        pytest.param(lambda key: problems.vertex_weighted(key, 0.5, 50, 200), id="vertex", marks=pytest.mark.slow),
        pytest.param(lambda key: problems.typed_random(key, 20, 60, 4), id="typed", marks=pytest.mark.slow),
    ],
)
def test_single_precision_reaches_the_promised_gap(make):
    problem = make(prng.root_key(15))
    solution = relaxation.solve(problem)
    proof = relaxation.certificate(problem, solution.x, solution.multipliers)
    assert proof.gap <= 1e-4
    assert proof.infeasibility <= 1e-5
    assert solution.gap == pytest.approx(proof.gap, abs=4e-6)


@pytest.mark.slow
def test_a_millionth_is_reached_in_double_precision(x64):
    """By the default parameters six of these stay above it."""
    keys = prng.replicate_keys(prng.root_key(0), 64)
    solution = relaxation.solve_batch(
        jax.vmap(lambda key: problems.ba(key, 4, 10, 20, jnp.float64))(keys), PRECISE, tolerance=1e-6
    )
    assert solution.gap.max() <= 1e-6


def test_an_exhausted_budget_is_reported_and_its_bounds_hold(x64):
    problem = problems.er(prng.root_key(13), 1.0, 4, 7, jnp.float64)
    solution = relaxation.solve(problem, PRECISE, tolerance=1e-18)
    assert solution.status == Status.BUDGET
    assert solution.rounds == PRECISE.num_steps
    exact = oracles.online_lp(problem).value
    assert solution.primal - 1e-9 <= exact <= solution.dual + 1e-9


def test_a_bad_lane_under_jit_does_not_spoil_the_others():
    easy, _ = easy_and_hard()
    broken = Problem(easy.weights.at[3, 4].set(jnp.nan), easy.arrivals)
    batch = problems.stack([easy, broken])
    with pytest.raises(ValueError, match="weights must be finite"):
        relaxation.solve_batch(batch)
    solution = relaxation._solve(batch, Params(), 1e-4)  # what a caller's jit would reach, compiled above already
    assert [int(s) for s in solution.status] == [Status.CONVERGED, Status.NONFINITE]
    assert solution.gap[0] <= 1e-4


def test_nothing_to_earn_is_solved_at_once():
    problem = Problem(jnp.zeros((6, 12)), jnp.tile(jnp.array([0.0, 0.5, 1.0, 0.0]), 3))
    solution = relaxation.solve(problem)
    assert solution.status == Status.CONVERGED
    assert (float(solution.primal), float(solution.dual), float(solution.gap)) == (0, 0, 0)
    np.testing.assert_array_equal(solution.x, 0)
    assert oracles.online_lp(problem).value == oracles.ex_ante_lp(problem).value == 0


def test_a_certificate_cannot_be_flattered(x64):
    problem = problems.from_arrays(*W2)
    greedy = np.ones((2, 4))
    proof = relaxation.certificate(problem, greedy, np.zeros(4))
    assert proof.infeasibility == pytest.approx(2.0)  # in the last column: 1 given, room 0.5 (1 - 3) = -1
    assert proof.primal <= 7.05 <= proof.dual
    assert proof.dual == pytest.approx(7.2, abs=1e-12)


GOOD = Problem(jnp.ones((2, 3)), jnp.full(3, 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Params(num_steps=0), r"num_steps must be >= 1, got 0"),
        (lambda: Params(iterations=0), r"iterations must be >= 1, got 0"),
        (lambda: Params(patience=0), r"patience must be >= 1, got 0"),
        (lambda: Params(temperature=0.0), r"temperature must be positive and finite, got 0.0"),
        (lambda: Params(factor=1.0), r"factor must be < 1, got 1.0"),
        (lambda: Params(solved=1.5), r"solved must be < 1, got 1.5"),
        (lambda: Params(factor=-0.5), r"factor must be positive and finite, got -0.5"),
        (lambda: relaxation.solve(GOOD, tolerance=0.0), r"tolerance must be positive and finite, got 0.0"),
        (lambda: relaxation.solve(Problem(GOOD.weights.at[1, 2].set(-1), GOOD.arrivals)), r"weights must be >= 0"),
        (lambda: relaxation.run(Problem(GOOD.weights, GOOD.arrivals.at[1].set(2)), Params(1)), r"2.0 at index 1"),
        (lambda: relaxation.solve_batch(GOOD), r"must have one leading axis of instances"),
        (lambda: relaxation.solve_batch(Problem(jnp.ones((2, 3, 4)), jnp.ones((2, 5)))), r"must have shapes"),
        (
            lambda: relaxation.solve_batch(Problem(jnp.ones((2, 3, 4)).at[1, 2, 3].set(jnp.nan), jnp.ones((2, 4)))),
            r"weights must be finite, got nan at index \(1, 2, 3\)",
        ),
        (lambda: relaxation.certificate(GOOD, np.zeros((2, 4)), np.zeros(3)), r"x must have shape \(2, 3\)"),
        (lambda: relaxation.certificate(GOOD, np.zeros((2, 3)), np.zeros(2)), r"multipliers must have shape \(3\)"),
        (lambda: relaxation.certificate(GOOD, np.zeros((2, 3)), -np.ones(3)), r"multipliers must be >= 0"),
        (lambda: relaxation.certificate(GOOD, np.full((2, 3), np.nan), np.ones(3)), r"x must be finite"),
        (lambda: oracles.online_lp(GOOD, method="simplex"), r"method must be one of 'highs'"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unfinished_oracle_says_so():
    problem = problems.er(prng.root_key(0), 0.5, 30, 60)
    with pytest.raises(RuntimeError, match="HiGHS"):
        oracles.online_lp(problem, options={"maxiter": 1, "presolve": False})
