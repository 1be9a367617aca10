"""Stochastic rewards: worked values, the simulator against enumeration, benchmarks in order, measured ratios, input."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from research.core import prng
from research.matching import stochastic_oracles as oracles
from research.matching import stochastic_problems as sp
from research.matching import stochastic_rewards as sr

WORKED = {
    "equal_weights": {
        "success": [[0.5, 0.5, 0.5, 0], [0.4, 0.4, 0, 0.4]],
        "weights": [1, 1],
        "values": {"lp": 1.8, "optimum": 1.395, "greedy": 1.395, "balance": 1.39},
    },
    "unequal_weights": {
        "success": [[0.5, 0.4, 0, 0.25], [0.4, 0.2, 0.5, 0]],
        "weights": [1, 1.2],
        "values": {"lp": 1.744, "optimum": 1.435, "greedy": 1.435, "balance": 1.435},
    },
}


def problem_of(success, weights, dtype=jnp.float64):
    return sr.Problem(jnp.asarray(success, dtype), jnp.asarray(weights, dtype))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", WORKED.values(), ids=WORKED)
def test_worked_values(case):
    success, weights, values = case.values()
    problem = problem_of(success, weights)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-9)
    close(oracles.matching_program(success, weights)[0], values["lp"])
    close(sr.optimum(problem), values["optimum"])
    close(oracles.optimum(success, weights), values["optimum"])
    for policy, scores in (("greedy", lambda gain, load: gain), ("balance", lambda gain, load: gain * np.exp(-load))):
        close(sr.exact_value(problem, sr.Params(4, policy)), values[policy])
        close(oracles.policy_value(success, weights, scores), values[policy])


@functools.cache
def instances(num=40, nodes=3, arrivals=5):
    """Random instances with missing edges, ties, and probabilities 0 and 1."""
    rng = np.random.default_rng(0)
    success = rng.integers(0, 5, (num, nodes, arrivals)) / 4 * (rng.random((num, nodes, arrivals)) < 0.8)
    return success, rng.integers(1, 4, (num, nodes)) / 2


@pytest.mark.usefixtures("x64")
def test_benchmarks_and_policies_are_in_order_and_as_enumerated():
    success, weights = instances()
    problems = problem_of(success, weights)
    optimum = np.asarray(jax.jit(jax.vmap(sr.optimum))(problems))
    truth = np.array([oracles.optimum(*one) for one in zip(success, weights, strict=True)])
    np.testing.assert_allclose(optimum, truth, rtol=0, atol=1e-12)
    for policy, scores in (("greedy", lambda gain, load: gain), ("balance", lambda gain, load: gain * np.exp(-load))):
        value = jax.jit(jax.vmap(lambda one, policy=policy: sr.exact_value(one, sr.Params(5, policy))))(problems)
        truth = [oracles.policy_value(*one, scores) for one in zip(success, weights, strict=True)]
        np.testing.assert_allclose(value, truth, rtol=0, atol=1e-12)
        assert np.all(np.asarray(value) <= optimum + 1e-12)
    matching = np.array([oracles.matching_program(*one)[0] for one in zip(success, weights, strict=True)])
    configuration = np.array([oracles.configuration_program(*one) for one in zip(success, weights, strict=True)])
    assert np.all(optimum <= matching + 1e-9)
    assert np.all(configuration <= matching + 1e-9)


def test_matching_program_returns_a_feasible_optimum():
    for success, weights in zip(*instances(), strict=True):
        value, x = oracles.matching_program(success, weights)
        assert x.min() >= 0
        assert x.sum(0).max() <= 1 + 1e-9
        assert (success * x).sum(1).max() <= 1 + 1e-9
        np.testing.assert_allclose(weights @ (success * x).sum(1), value, rtol=0, atol=1e-9)


def test_configuration_program_is_no_bound_of_the_optimum_at_finite_probabilities():
    success, weights = [[0.6, 0.6], [0.0, 0.4]], [1.0, 1.0]
    np.testing.assert_allclose(oracles.configuration_program(success, weights), 1.0, rtol=0, atol=1e-9)
    # The second arrival goes to node 1 after a success, to node 0 after a failure.
    np.testing.assert_allclose(oracles.optimum(success, weights), 0.6 + 0.6 * 0.4 + 0.4 * 0.6, rtol=0, atol=1e-12)


def test_the_two_programs_meet_as_probabilities_vanish():
    """Splitting every arrival into copies leaves the matching program alone and lets configurations mix."""
    success, weights = 0.3 + 0.7 * np.random.default_rng(0).random((2, 3)), [1, 1.5]
    matching = oracles.matching_program(success, weights)[0]
    gaps = []
    for copies in (1, 2, 4):
        split = np.repeat(success / copies, copies, axis=1)
        np.testing.assert_allclose(oracles.matching_program(split, weights)[0], matching, rtol=0, atol=1e-9)
        gaps.append(1 - oracles.configuration_program(split, weights) / matching)
    assert gaps[0] > 0.01
    assert gaps[0] > gaps[1] > gaps[2] >= -1e-9


# The simulator. Statistical limits below share one false-alarm rate of 1e-6 a test.

RUNS = 20_000


def limit(comparisons):
    return special.ndtri(1 - 1e-6 / (2 * comparisons))


@functools.cache
def simulate(policy, num_steps):
    params = sr.Params(num_steps, policy)

    def lane(problem, key):
        result = sr.run(problem, params, key)
        return result.value, result.trace.offered

    return jax.jit(jax.vmap(jax.vmap(lane, (None, 0)), (0, None)))


@pytest.mark.parametrize(
    ("policy", "scores", "ties"),
    [
        ("greedy", lambda gain, load: gain, "first"),
        ("balance", lambda gain, load: gain * np.exp(-load), "first"),
        ("random", lambda gain, load: 0 * gain, "uniform"),
    ],
)
def test_simulated_values_have_the_enumerated_mean(policy, scores, ties):
    success, weights = (array[:6] for array in instances())
    keys = prng.replicate_keys(prng.root_key(3), RUNS)
    values, _ = simulate(policy, 5)(problem_of(success, weights, jnp.float32), keys)
    values = np.asarray(values, np.float64)
    truth = [oracles.policy_value(*one, scores, ties) for one in zip(success, weights, strict=True)]
    error = values.std(1, ddof=1) / math.sqrt(RUNS)
    assert np.all(np.abs(values.mean(1) - truth) <= limit(6) * error + 1e-5)  # float32 sums of up to five rewards


@pytest.mark.parametrize("policy", ["perturbed_greedy", "ranking"])
def test_perturbed_policies_follow_their_perturbation(policy):
    """Conditional on the perturbations, each is a policy by scores that enumeration can judge."""
    success, weights = instances()[0][0], instances()[1][0]
    problem, params = problem_of(success, weights, jnp.float32), sr.Params(5, policy)
    keys = prng.replicate_keys(prng.root_key(4), 12)
    starts = jax.vmap(lambda key: sr.init(problem, params, key))(keys)
    assert np.all((starts.perturbation >= 0) & (starts.perturbation < 1))

    def outcomes(start):
        again = prng.replicate_keys(start.key, 4_000)
        return jax.vmap(lambda key: sr.run(problem, params, state=start._replace(key=key)).value)(again)

    values = np.asarray(jax.jit(jax.vmap(outcomes))(starts), np.float64)
    boldness = 1 - np.exp(np.asarray(starts.perturbation, np.float64) - 1)
    weigh = (lambda gain, bold: gain * bold) if policy == "perturbed_greedy" else (lambda gain, bold: bold)
    truth = [oracles.policy_value(success, weights, lambda gain, load, b=b: weigh(gain, b)) for b in boldness]
    assert len(set(np.round(truth, 9))) > 1  # the perturbation matters here
    error = values.std(1, ddof=1) / math.sqrt(values.shape[1])
    assert np.all(np.abs(values.mean(1) - truth) <= limit(12) * error + 1e-5)


@pytest.mark.parametrize(("policy", "published"), [("balance", 0.634), ("perturbed_greedy", 0.630), ("random", 0.630)])
def test_ratio_on_the_upper_triangular_graph(policy, published):
    """Both sides are means of 2,000 runs with a standard error of 0.0021 each."""
    problem = sp.upper_triangular(20, 0.05)
    value, offered = simulate(policy, 400)(
        jax.tree.map(lambda leaf: leaf[None], problem), prng.replicate_keys(prng.root_key(0), 2000)
    )
    ratio = np.asarray(value[0], np.float64) / 20
    error = math.sqrt(2) * ratio.std(ddof=1) / math.sqrt(2000)
    assert abs(ratio.mean() - published) <= limit(3) * error + 5e-4  # three digits are given
    phases = np.arange(400) // 20
    assert np.all((np.asarray(offered[0]) >= phases[None]) | (np.asarray(offered[0]) == -1))


def test_matching_program_of_the_upper_triangular_graph():
    problem = sp.upper_triangular(6, 0.25)
    assert problem.success.shape == (6, 24)
    np.testing.assert_allclose(oracles.matching_program(problem.success, problem.weights)[0], 6, rtol=0, atol=1e-6)


def test_equal_probabilities_and_weights_keep_the_loads_level():
    """Balance is then least load among the available, whatever the decreasing f."""
    problem = problem_of(np.full((5, 60), 0.25), np.ones(5), jnp.float32)
    for discount in (sr.exponential, lambda load: 1 / (1 + load)):
        params = sr.Params(1, "balance", discount)
        state = sr.init(problem, params, prng.root_key(5))
        step = jax.jit(lambda state, params=params: sr.step(problem, params, state))
        for _ in range(30):
            level = np.where(state.available, state.load, np.inf)
            state, info = step(state)
            if np.isfinite(level).any():
                assert level[int(info.offered)] == level.min()


def test_an_arrival_without_a_willing_node_is_lost():
    problem = problem_of([[1.0, 1.0, 0.0]], [2.0], jnp.float32)
    result = sr.run(problem, sr.Params(5, "random"), prng.root_key(0))
    np.testing.assert_array_equal(result.trace.offered, [0, -1, -1, -1, -1])  # the last two are past the end
    np.testing.assert_array_equal(result.trace.reward, [2, 0, 0, 0, 0])
    assert result.value == 2


def test_permuting_renames_the_nodes_and_nothing_else():
    problem = sp.ad_clicks(prng.root_key(1), 5, 7)
    other = sp.permuted(prng.root_key(2), problem)
    order = np.argsort(problem.weights)
    renamed = np.argsort(other.weights)
    assert not np.array_equal(order, renamed)
    np.testing.assert_array_equal(problem.success[order], other.success[renamed])


def test_ad_clicks_have_the_density_and_median_asked_for():
    problem = sp.ad_clicks(prng.root_key(3), 300, 400, density=0.25, median=0.02, spread=0.8)
    sr.validate(problem)
    edges = np.asarray(problem.success) > 0
    error = math.sqrt(0.25 * 0.75 / edges.size)
    assert abs(edges.mean() - 0.25) <= limit(1) * error
    # An advertiser's share of the log-probability is common to 400 edges: 300 of them set the error of the mean.
    logs = np.log(np.asarray(problem.success, np.float64), where=edges, out=np.zeros(edges.shape))
    error = 0.8 * math.sqrt((1 / 300 + 1 / 400 + 4 / edges.size) / 3)
    assert abs(logs.sum() / edges.sum() - math.log(0.02)) <= limit(1) * error


def test_guarantees_name_policies_of_this_module():
    for name, row in sr.GUARANTEES.items():
        assert row.policy is None or sr.Params(1, row.policy)
        assert 0.5 < row.ratio < 0.65, name
    lp_rows = [row.ratio for row in sr.GUARANTEES.values() if row.benchmark == "matching LP" and row.policy]
    assert max(lp_rows) < sr.GUARANTEES["hardness_lp"].ratio


GOOD = {"success": [[0.5, 0.25]], "weights": [1.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"success": [[0.5, 1.5]]}, r"success must lie in \[0, 1\], got 1\.5 at index \(0, 1\)"),
        ({"success": [[-0.1, 0.5]]}, r"success must lie in \[0, 1\], got -0\.1.* at index \(0, 0\)"),
        ({"success": [[math.nan, 0.5]]}, r"success must lie in \[0, 1\], got nan at index \(0, 0\)"),
        ({"success": [0.5, 0.5]}, r"success must have shape \(any, any\), got \(2,\)"),
        ({"success": np.zeros((1, 0))}, r"number of arrivals must be >= 1, got 0"),
        ({"success": np.zeros((0, 2)), "weights": []}, r"number of offline nodes must be >= 1, got 0"),
        ({"weights": [0.0]}, r"weights must be positive and finite, got 0\.0 at index 0"),
        ({"weights": [-1.0]}, r"weights must be positive and finite, got -1\.0 at index 0"),
        ({"weights": [math.inf]}, r"weights must be positive and finite, got inf at index 0"),
        ({"weights": [1.0, 1.0]}, r"weights must have shape \(1\), got \(2,\)"),
    ],
)
def test_bad_problems_are_named(change, message):
    problem = problem_of(**(GOOD | change), dtype=jnp.float32)
    for call in (
        lambda: sr.run(problem, sr.Params(2), prng.root_key(0)),
        lambda: sr.exact_value(problem, sr.Params(2)),
        lambda: sr.optimum(problem),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sr.Params(0), r"Params\.num_steps must be >= 1, got 0"),
        (lambda: sr.Params(1, "best"), r"Params\.policy must be one of .*, got 'best'"),
        (lambda: sr.run(problem_of(**GOOD, dtype=jnp.float32), sr.Params(2)), r"key must be given"),
        (lambda: sr.exact_value(sp.upper_triangular(5, 0.25), sr.Params(1)), r"arrivals must lie in \[1, 16\], got 20"),
        (lambda: sr.exact_value(problem_of(**GOOD, dtype=jnp.float32), sr.Params(1, "random")), r"Params\.policy must"),
        (lambda: sr.optimum(sp.upper_triangular(25, 0.5)), r"<= 24 \(the values of all subsets would take 0\.25 GiB\)"),
        (lambda: sp.upper_triangular(0, 0.5), r"num_nodes must be >= 1, got 0"),
        (lambda: sp.upper_triangular(2, 0.0), r"probability must be positive and finite, got 0\.0"),
        (lambda: sp.upper_triangular(2, 1.5), r"probability must lie in \[0, 1\], got 1\.5"),
        (lambda: sp.ad_clicks(prng.root_key(0), 2, 2, density=2.0), r"density must lie in \[0, 1\], got 2\.0"),
        (lambda: sp.ad_clicks(prng.root_key(0), 2, 2, median=0.0), r"median must be positive and finite, got 0\.0"),
        (lambda: sp.ad_clicks(prng.root_key(0), 2, 2, spread=-1.0), r"spread must be >= 0, got -1\.0"),
        (lambda: oracles.configuration_program(np.full((1, 17), 0.1), [1.0]), r"<= 65536, got 131072"),
        (lambda: oracles.policy_value(np.ones((1, 1)), [1.0], max, "last"), r"ties must be one of .*, got 'last'"),
        (lambda: oracles.optimum([[2.0]], [1.0]), r"success must lie in \[0, 1\], got 2\.0"),
    ],
)
def test_bad_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
