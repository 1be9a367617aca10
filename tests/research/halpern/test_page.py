"""Algorithm 1: the worked example, its bound on twenty instances, and what it refuses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from research.core import loops, prng, stats
from research.core.status import Status
from research.halpern import bounds, finite_sums, games, page, proxes, schedules
from research.halpern.inclusions import Problem

#: Compiled once for each kind of problem and params; what is refused is asked of the functions themselves.
play, replay = jax.jit(page.run), jax.jit(page.replay)

COINS = np.array([1, 1, 0, 0, 1, 0])
INDICES = np.array([(0, 1), (2, 3), (0, 3), (1, 2), (0, 2), (3, 1)])[..., None]


def worked_example(regulariser=None, dtype=jnp.float64):
    features = jnp.asarray([[1, 0], [0, 1], [1, 1], [1, -1]], dtype)
    inclusion = finite_sums.least_squares(
        features, jnp.asarray([1, 2, 3, 0], dtype), law="uniform", regulariser=regulariser
    )
    return Problem(inclusion, jnp.asarray([2, -1], dtype)), page.Params(num_steps=1, batch=2, step_size=0.25)


def test_worked_example_to_the_printed_digits(x64):
    problem, params = worked_example()
    played = replay(problem, params, COINS, INDICES)
    points = [
        (1.875, -0.5),
        (1.8234375, -0.29375),
        (1.819401041667, -0.155143229167),
        (1.791288829985, -0.056654575893),
        (1.757599966867, 0.030631801060),
        (1.740721890283, 0.098692542788),
    ]
    estimates = [
        (0.5, -2),
        (0.40625, -1.625),
        (0.2515625, -1.49609375),
        (0.31884765625, -1.359505208333),
        (0.343466622489, -1.292490931920),
        (0.282979002453, -1.188360123407),
    ]
    residuals = [1.675011660407, 1.515563435041, 1.414153413326, 1.337348918517, 1.267613661577, 1.215025066753]
    np.testing.assert_allclose(played.points, points, rtol=0, atol=1e-12)
    np.testing.assert_allclose(played.estimates, estimates, rtol=0, atol=1e-12)
    np.testing.assert_allclose(played.residuals, residuals, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(played.calls, [4, 8, 12, 16, 20, 24])


def test_worked_example_in_a_box_and_with_l1(x64):
    problem, params = worked_example(proxes.Box(jnp.full(2, -0.5), jnp.full(2, 1.25)))
    played = replay(problem, params, COINS, INDICES)
    second = [-0.5, -0.29375, -0.148697916667, -0.047721354167, 0.035656738281, 0.106114027235]
    residuals = [2.929510411314, 1.897845844018, 1.752321556247, 1.562480101252, 1.434872391504, 1.368078166619]
    np.testing.assert_allclose(played.points, np.column_stack([np.full(6, 1.25), second]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(played.residuals, residuals, rtol=0, atol=1e-12)
    problem, params = worked_example(proxes.L1(0.1))
    last = replay(problem, params, COINS, INDICES).points[-1]
    np.testing.assert_allclose(last, [1.679982530503, 0.076486157614], rtol=0, atol=1e-12)


def test_no_iterations_replayed_are_none(x64):
    problem, params = worked_example()
    played = page.replay(problem, params, COINS[:0], INDICES[:0])
    assert played.points.shape == (0, 2)
    assert played.calls.shape == (0,)


def test_full_evaluations_are_the_anchored_iteration(x64):
    """A batch of n draws, and three components, leave nothing to estimate: the path of a NumPy loop."""
    problem, params = worked_example()
    features, targets = np.asarray(problem.inclusion.features), np.asarray(problem.inclusion.targets)
    u = start = np.asarray(problem.start)
    for k in range(8):
        u = 2 / (k + 4) * start + (1 - 2 / (k + 4)) * u - 0.25 * features.T @ (features @ u - targets) / 4
    result = play(problem, dataclasses.replace(params, batch=4, num_steps=2, stride=4), prng.root_key(0))
    np.testing.assert_allclose(result.u, u, rtol=0, atol=1e-14)
    assert loops.total(result.state.ledger.calls) == 8 * 4


def test_a_run_is_the_replay_of_its_draws(x64):
    """The draws of a run, taken apart, and its calls: full evaluations at the coins, two calls a draw elsewhere."""
    problem, _ = page.example(prng.root_key(0))
    problem = jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, problem)
    params, key = page.Params(num_steps=2, stride=64), prng.root_key(5)
    result = play(problem, params, key)

    @jax.jit
    @jax.vmap
    def drawn(block):
        coin_key, index_key = (prng.per_step(prng.stream(key, name), block) for name in ("coins", "indices"))
        return jax.random.uniform(coin_key, (64,), jnp.float32), problem.inclusion.sample(index_key, (64, 6))

    uniform, draws = (np.concatenate(part) for part in drawn(jnp.arange(2)))
    chance = schedules.refresh_probability(np.arange(128), schedules.page_refresh(32))
    played = replay(problem, params, uniform < np.asarray(chance), draws)
    np.testing.assert_allclose(played.points[-1], result.u, rtol=1e-12)
    np.testing.assert_allclose(played.residuals[63::64], result.trace.residual, rtol=1e-11)
    assert played.calls[-1] == loops.total(result.state.ledger.calls)
    assert loops.total(result.state.ledger.monitor_calls) == 3 * 32


def test_the_subgradient_belongs_to_the_cone(x64):
    """g <= 0 at a lower bound, >= 0 at an upper one, 0 between."""
    problem, params = worked_example(proxes.Box(jnp.full(2, -0.5), jnp.array([1.25, 5.0])))
    params = dataclasses.replace(params, stride=16, num_steps=4)
    result = play(problem, params, prng.root_key(0))
    g = page.subgradient(problem, params, result.state)
    assert result.u[0] == 1.25
    assert g[0] > 0.01
    assert abs(g[1]) < 1e-14
    residual = jnp.linalg.norm(problem.inclusion.full(result.u) + g)
    np.testing.assert_allclose(residual, result.state.ledger.residual, rtol=1e-14)


INSTANCES, ROWS, COLUMNS, SEEDS, STRIDE, STRIDES = 24, 25, 5, 64, 16, 24


@functools.cache
def ensemble():
    """Least squares of 24 kinds: spectra, importance law, some in a box, a start at distance 1; solved by 64 seeds.

    Returns residuals `[instance, seed, stride]`, step sizes, constants, distances.
    """
    rng = np.random.default_rng(7)
    decay = np.arange(1, COLUMNS + 1) ** -np.linspace(0, 1, INSTANCES)[:, None]
    features = rng.normal(size=(INSTANCES, ROWS, COLUMNS)) * decay[:, None, :]
    features *= np.exp(rng.normal(size=(INSTANCES, ROWS, 1)) * (np.arange(INSTANCES) % 3)[:, None, None] / 3)
    targets = rng.normal(size=(INSTANCES, ROWS))
    width = np.where(np.arange(INSTANCES) % 2, np.inf, 0.3)
    start = rng.normal(size=(INSTANCES, COLUMNS))

    def build(features, targets, width, start):
        box = proxes.Box(jnp.full(COLUMNS, -1.0) * width, jnp.full(COLUMNS, 1.0) * width)
        return Problem(finite_sums.least_squares(features, targets, regulariser=box), start)

    solutions = np.stack(
        [optimize.lsq_linear(x, t, (-w, w), tol=1e-14).x for x, t, w in zip(features, targets, width, strict=True)]
    )
    params = page.Params(num_steps=STRIDES, stride=STRIDE)

    @jax.jit
    def play(features, targets, width, start):
        problems = jax.vmap(build)(features, targets, width, start)
        keys = prng.replicate_keys(prng.root_key(11), SEEDS)
        run = jax.vmap(
            jax.vmap(lambda problem, key: page.run(problem, params, key).trace.residual, (None, 0)), (0, None)
        )
        steps = jax.vmap(lambda problem: page.certified_step(problem, params))(problems)
        return run(problems, keys), steps, problems.inclusion.lipschitz

    played = jax.tree.map(np.asarray, play(features, targets, width, start))
    return *played, np.linalg.norm(start - solutions, axis=1)


def test_root_mean_square_residual_stays_below_its_bound(x64):
    """The upper 95 % limit of the mean square over 64 seeds, at 24 instances and 24 iteration counts."""
    residuals, steps, lipschitz, distance = ensemble()
    k = np.arange(1, STRIDES + 1) * STRIDE
    bound = np.asarray(bounds.page_residual(k[None], steps[:, None], lipschitz[:, None], distance[:, None]))
    assert residuals.shape == (INSTANCES, SEEDS, STRIDES)
    upper = np.sqrt(stats.t_interval(residuals**2, axis=1).high)
    assert np.isfinite(upper).all()
    assert (upper <= bound).all(), f"largest share of the bound {np.max(upper / bound):.3f}"
    assert np.max(upper / bound) > 0.05, "a bound twenty times too large would show nothing"


def test_the_last_iterate_decays_like_one_over_k(x64):
    """Slope of log residual against log (k + 4) over the second half: the mean over 24 instances is below -0.9."""
    residuals, *_ = ensemble()
    k = np.arange(1, STRIDES + 1) * STRIDE
    late = 2 * np.arange(STRIDES) >= STRIDES
    slopes = [stats.rate_fit(k[late] + 4.0, np.sqrt((r[:, late] ** 2).mean(axis=0))).slope for r in residuals]
    assert stats.t_interval(slopes).high < -0.9


def long_run(relative_step, tolerance=0.0):
    """Twelve strides of the example, all by one program."""
    problem, _ = page.example(prng.root_key(0))
    step = jnp.float32(relative_step) / problem.inclusion.lipschitz
    params = page.Params(12, stride=16, step_size=step, tolerance=jnp.asarray(tolerance, jnp.float32), unsafe=True)
    return play(problem, params, prng.root_key(1))


def test_a_tolerance_stops_the_run():
    endless = long_run(0.5)
    assert endless.status == Status.OK
    result = long_run(0.5, endless.trace.residual[5])
    assert result.status == Status.CONVERGED
    stopped = int(np.argmax(result.trace.status == Status.CONVERGED))
    assert 0 < stopped <= 5
    np.testing.assert_array_equal(result.trace.residual[: stopped + 1], endless.trace.residual[: stopped + 1])
    spent = loops.total(result.trace.calls)
    assert (np.diff(spent[: stopped + 1]) > 0).all()
    assert (spent[stopped:] == spent[stopped]).all()
    assert long_run(0.5, 1e-7).status == Status.BUDGET


def test_divergence_is_a_status():
    result = long_run(50.0)
    assert result.status == Status.DIVERGED
    assert all(np.isfinite(leaf).all() for leaf in (result.u, result.trace.residual))


def test_steps_beyond_the_certified_one_are_refused_with_the_limit(x64):
    problem, params = worked_example()
    with pytest.raises(ValueError, match=r"Params\.step_size must be <= 0\.259293, the certified limit"):
        page.init(problem, dataclasses.replace(params, step_size=0.26), prng.root_key(0))
    page.init(problem, dataclasses.replace(params, step_size=0.26, unsafe=True), prng.root_key(0))
    largest = page.certified_step(problem, params)
    np.testing.assert_allclose(largest * problem.inclusion.lipschitz, schedules.certified_limit(4, 2))
    page.init(problem, dataclasses.replace(params, step_size=largest), prng.root_key(0))


def test_games_are_refused_unless_the_caller_insists():
    matrix = jax.random.normal(prng.root_key(0), (5, 5))
    inclusion = games.matrix_game(matrix)
    problem = Problem(inclusion, jax.tree.map(lambda n: jnp.full(n, 0.2), (5, 5)))
    with pytest.raises(ValueError, match=r"Params\.unsafe must be True for an inclusion that is not cocoercive"):
        page.init(problem, page.Params(num_steps=2), prng.root_key(0))
    with pytest.raises(ValueError, match=r"Params\.step_size must be given for an inclusion that is not cocoercive"):
        page.init(problem, page.Params(num_steps=2, unsafe=True), prng.root_key(0))
    params = page.Params(num_steps=2, stride=4, unsafe=True, step_size=0.01)
    assert play(problem, params, prng.root_key(0)).status == Status.OK


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_steps": 0}, r"Params\.num_steps must be >= 1, got 0"),
        ({"stride": 0}, r"Params\.stride must be >= 1, got 0"),
        ({"stride": 2**30}, r"Params\.stride must be <= "),
        ({"batch": 0}, r"Params\.batch must be >= 1, got 0"),
        ({"step_size": 0.0}, r"Params\.step_size must be positive and finite, got 0\.0"),
        ({"step_size": np.nan}, r"Params\.step_size must be positive and finite, got nan"),
        ({"tolerance": -1e-3}, r"Params\.tolerance must be >= 0, got -0\.001"),
        ({"refresh": schedules.Refresh(0.0, 0.5)}, r"Params\.refresh\.decay must be positive"),
        ({"refresh": schedules.Refresh(4.0, 0.0)}, r"Params\.refresh\.floor must be positive"),
        ({"refresh": schedules.Refresh(4.0, 1.5)}, r"Params\.refresh\.floor must lie in \[0, 1\], got 1\.5"),
    ],
)
def test_bad_params_are_named(fields, message):
    problem, params = worked_example(dtype=jnp.float32)
    with pytest.raises(ValueError, match=message):
        page.init(problem, dataclasses.replace(params, **fields), prng.root_key(0))


@pytest.mark.parametrize(
    ("coins", "indices", "message"),
    [
        (COINS[:5], INDICES, r"coins, indices must have equal lengths"),
        (COINS, INDICES[:, :1], r"indices must have shape \(6, 2, 1\)"),
        (COINS, INDICES + 1, r"indices must lie in \[0, 3\], got 4"),
        (COINS, INDICES - 1, r"indices must lie in \[0, 3\], got -1"),
        (2 * COINS, INDICES, r"coins must be 0 or 1, got 2"),
        (1 - COINS, INDICES, r"coins\[0\] must be 1, there being no estimate yet, got 0"),
    ],
)
def test_bad_draws_are_named(coins, indices, message):
    problem, params = worked_example(dtype=jnp.float32)
    with pytest.raises(ValueError, match=message):
        page.replay(problem, params, coins, indices)


def test_a_start_that_is_not_finite_is_refused():
    problem, _ = worked_example(dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"Problem\.start must be finite, got nan"):
        Problem(problem.inclusion, jnp.array([jnp.nan, 0.0]))


def test_a_traced_refresh_needs_a_step():
    problem, params = worked_example(dtype=jnp.float32)
    params = dataclasses.replace(params, step_size=None, refresh=schedules.Refresh(5.0, 0.5))
    page.init(problem, params, prng.root_key(0))
    with pytest.raises(ValueError, match=r"Params\.step_size must be given where Params\.refresh is traced"):
        jax.jit(page.init)(problem, params, prng.root_key(0))
