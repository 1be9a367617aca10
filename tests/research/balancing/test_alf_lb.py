"""The deterministic iteration on worked examples, digit by digit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import alf_lb, assignment, bounds
from research.balancing.bias_update import Rule

SCORES = [
    [0.903, 0.517, 0.124],
    [0.812, 0.655, 0.208],
    [0.847, 0.301, 0.362],
    [0.698, 0.611, 0.143],
    [0.951, 0.262, 0.447],
    [0.604, 0.389, 0.558],
]


@functools.cache
def worked(top_k, rule, schedule, step_size, num_steps, double=True):
    """History in float64 or float32, as NumPy arrays."""
    with jax.enable_x64(double):
        problem = alf_lb.Problem(jnp.array(SCORES), top_k)
        params = alf_lb.Params(num_steps, Rule(rule, schedule, step_size=step_size), record_switches=True)
        result = jax.jit(alf_lb.run)(problem, params)
        return jax.tree.map(np.asarray, (alf_lb.history(result), result.trace.switched))


def digits(loads):
    return " ".join("".join(str(a) for a in row) for row in loads)


CYCLE = (1, "sign", "const", 0.03, 12)
HARMONIC = (1, "sign", "inv", 0.4, 6)
PROPORTIONAL = (2, "prop", "const", 0.3, 5)
TRAJECTORIES = [
    (
        CYCLE,
        "600 501 411 321 321 321 321 321 321 123 321 123 321",
        [4.815, 4.589, 4.442, 4.345, 4.285, 4.225, 4.165, 4.105, 4.045, 4.076, 4.045, 4.076, 4.045],
        [0.014, 0.033, 0.023, 0, 0, 0, 0, 0, 0.091, 0.029, 0.091, 0.029],
    ),
    (HARMONIC, "600 033 231 123 321 222 222", [4.815, 4.75, 4.139, 4.069333, 4.191667, 4.04, 4.04], None),
    (PROPORTIONAL, "633 633 543 543 543 444", [7.965, 7.665, 7.45, 7.35, 7.25, 7.195], [0, 0.085, 0, 0, 0.045]),
]


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("case", "loads", "duals", "benefits"), TRAJECTORIES, ids=["cycle", "harmonic", "proportional"]
)
def test_worked_trajectories(case, loads, duals, benefits, double):
    history, _ = worked(*case, double)
    printed = 5.1e-7 if double else 1e-5
    assert digits(history.load) == loads
    np.testing.assert_allclose(history.dual, duals, rtol=0, atol=printed)
    if benefits is not None:
        np.testing.assert_allclose(history.benefit, benefits, rtol=0, atol=printed)


def test_the_cycle_of_the_sign_rule_step_by_step():
    history, switched = worked(*CYCLE)
    np.testing.assert_allclose(history.bias[3], [-0.09, 0.09, 0.09], atol=1e-12)
    np.testing.assert_allclose(history.bias[8], [-0.24, 0.09, 0.24], atol=1e-12)
    np.testing.assert_allclose(history.bias[9], [-0.27, 0.09, 0.27], atol=1e-12)
    change = np.diff(history.bias, axis=0)
    with jax.enable_x64(True):
        ahead = jax.jit(bounds.dual_change_ahead)(history.load[1:], change)
    np.testing.assert_allclose(ahead, [-0.18, -0.12, *[-0.06] * 6, *[0.06] * 4], atol=1e-12)
    moves = [(n, j, k, switched[n, j, k]) for n, j, k in np.argwhere(switched)]
    assert moves[:4] == [(0, 0, 2, 1), (1, 0, 1, 1), (2, 0, 1, 1), (8, 0, 2, 2)]


def test_equal_loads_certify_the_optimum_and_stay():
    history, _ = worked(*HARMONIC)
    np.testing.assert_allclose(history.bias[5], [-0.18, 0.2 / 3, 0.94 / 3], atol=1e-12)
    np.testing.assert_array_equal(history.bias[5], history.bias[6])
    assert bool(assignment.is_balanced(history.load[5]))
    assert not bool(assignment.is_balanced(history.load[4]))
    np.testing.assert_allclose([history.value[5], history.dual[5]], [4.04, 4.04], atol=1e-12)
    np.testing.assert_allclose(worked(*PROPORTIONAL)[0].value, [7.965, 7.965, 7.75, 7.75, 7.75, 7.195], atol=1e-12)
    np.testing.assert_allclose(worked(*PROPORTIONAL)[0].bias[5], [-0.35, 0.1, 0.25], atol=1e-12)


def test_settling_constants(x64):
    scores = jnp.array(SCORES)
    spread = bounds.score_range(scores)
    assert float(spread) == pytest.approx(0.779)
    steps = jnp.array([0.0075, 0.03, 0.1])
    count, band = jax.jit(
        jax.vmap(lambda u: (bounds.window_count(scores, 2 * u), bounds.settled_load_deviation(scores, 1, u)))
    )(steps)
    assert count.tolist() == [1, 2, 4]
    assert band.tolist() == [1, 3, 7]
    assert bounds.settling_time(spread, steps, 3).tolist() == [106, 28, 10]


def test_small_steps_settle_at_balance():
    history, _ = worked(1, "sign", "const", 0.0075, 112)
    np.testing.assert_array_equal(history.load[106:], np.full((7, 3), 2))
    np.testing.assert_allclose(history.bias[-1], [-0.2475, 0.0825, 0.2475], atol=1e-9)


def test_ties_go_to_the_lowest_expert(x64):
    problem = alf_lb.Problem(jnp.array([[0.5, 0.5, 0.4], [0.2, 0.2, 0.2]]), 2)
    assign = jax.jit(assignment.assign)
    assert assign(problem, jnp.zeros(3)).index.tolist() == [[0, 1], [0, 1]]
    assert assign(problem, jnp.array([0, 0, 0.2])).index[0].tolist() == [2, 0]


def test_gates_come_from_scores_without_bias(x64):
    scores = jnp.array(SCORES)
    bias = jnp.array([-0.35, 0.1, 0.25])
    found = jax.jit(lambda p: assignment.route(scores, p, 2, renormalise=True, scale=2.5))(bias)
    raw = np.take_along_axis(np.asarray(scores), np.asarray(found.index), axis=1)
    np.testing.assert_allclose(found.gate, 2.5 * raw / raw.sum(axis=1, keepdims=True))
    gradient = jax.jit(jax.grad(lambda p: assignment.route(scores, p, 2).gate.sum()))(bias)
    np.testing.assert_array_equal(gradient, np.zeros(3))


def test_padding_takes_no_expert_and_counts_nowhere(x64):
    scores = jnp.concatenate([jnp.array(SCORES), jnp.full((2, 3), 9.0)])
    masked = alf_lb.Problem(scores, 1, jnp.arange(8) < 6)
    rule = Rule("prop", "inv_sqrt", step_size=0.3)
    run = jax.jit(alf_lb.run)
    plain = run(alf_lb.Problem(jnp.array(SCORES), 1), alf_lb.Params(8, rule))
    padded = run(masked, alf_lb.Params(8, rule))
    for name in ("bias", "load", "value", "dual", "benefit"):
        np.testing.assert_allclose(getattr(padded.trace, name), getattr(plain.trace, name), atol=1e-12)


def test_sums_over_many_tokens_keep_the_digits_of_float32():
    x = np.random.default_rng(0).random(65537).astype(np.float32)
    exact = x.astype(np.float64).sum()
    assert abs(float(jax.jit(assignment.exact_sum)(x)) - exact) <= 1e-7 * exact
