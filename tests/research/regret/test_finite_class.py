"""Finite-class baselines: worked example, their theorems against adversaries, equal systems, edge cases, bad input."""

import dataclasses
import functools
import math
from typing import NamedTuple

import adversary
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.core.status import Status
from research.regret import finite_class, sleeping_experts

METHODS = ("blum_lykouris", "multiplicative_weights")
each_method = pytest.mark.parametrize("method", METHODS)

step = jax.jit(finite_class.step)


def problem_of(losses, awake):
    return finite_class.Problem(jnp.asarray(np.asarray(losses, float)), jnp.asarray(np.asarray(awake, float)))


def random_problem(seed, num_rounds=40, num_groups=3, num_hypotheses=4):
    rng = np.random.default_rng(seed)
    awake = rng.random((num_rounds, num_groups)) < 0.5
    return problem_of(rng.random((num_rounds, num_hypotheses)), awake)


def play(problem, method):
    return finite_class.run(problem, finite_class.Params(len(problem.losses), method))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("method", "losses", "regret"),
    [
        (
            "blum_lykouris",
            [0.45, 0.618943146512, 0.474504416423, 0.385838292951],
            [[0.324504416423, -0.275495583577], [0.629285855887, -0.470714144113]],
        ),
        ("multiplicative_weights", [0.45, 0.520854362427, 0.459110477439, 0.479198148954], None),
    ],
)
def test_trace_of_the_worked_example(method, losses, regret):
    problem = problem_of([(0.1, 0.8), (0.7, 0.2), (0.5, 0.4), (0, 1)], [(1, 1), (0, 1), (1, 1), (0, 1)])
    result = play(problem, method)
    np.testing.assert_allclose(result.trace.loss, losses, rtol=0, atol=1e-9)
    if regret is not None:
        np.testing.assert_allclose(result.regret, regret, rtol=0, atol=1e-9)


# The theorems.

NUM_ROUNDS, NUM_INSTANCES, NUM_CANDIDATES = 300, 24, 24


class Style(NamedTuple):
    binary: bool
    awake_probability: float
    aim: int  # 0: none, it plays what it draws; 1: the largest regret / bound; 2: that of the first pair


STYLES = {
    "oblivious": Style(False, 0.6, 0),
    "coin_flips": Style(True, 1.0, 0),
    "greedy_ratio": Style(True, 0.6, 1),
    "greedy_ratio_all_awake": Style(True, 1.0, 1),
    "greedy_for_one_pair": Style(False, 0.7, 2),
}


def propose(rng, style, num_groups, num_hypotheses):
    """Losses and activity of every candidate in every round of every instance."""
    shape = (NUM_INSTANCES, NUM_ROUNDS, NUM_CANDIDATES)
    losses = rng.random((*shape, num_hypotheses))
    awake = (rng.random((*shape, num_groups)) < style.awake_probability).astype(float)
    return np.round(losses) if style.binary else losses, awake


@functools.cache
def duels(method, num_groups, num_hypotheses, step_size=None):
    """Losses, activity, the learner's losses and bounds of all games `[style, instance, ...]`, as NumPy arrays."""
    step_size = step_size or math.sqrt(2 * math.log(num_groups * num_hypotheses) / NUM_ROUNDS)
    params = finite_class.Params(NUM_ROUNDS, method, step_size)
    shape = (num_groups, num_hypotheses)

    def game(aim, proposals):
        def one_round(state, data):
            row = finite_class.Problem(*(leaf[None] for leaf in data))
            state, info = finite_class.step(row, params, state._replace(step=jnp.int32(0)))
            return state, info.loss

        def score(state, regret):
            if method == "blum_lykouris":
                last = state._replace(cumulative=jnp.maximum(state.cumulative, 1e-30))
                ratio = regret / finite_class.regret_bound(None, params, last)
            else:
                ratio = regret
            return jnp.stack([0 * ratio[0, 0], jnp.max(ratio), ratio[0, 0]])[aim]

        start = finite_class.State(jnp.int32(0), jnp.zeros(shape), jnp.zeros(shape))
        losses, awake = adversary.greedy(
            one_round,
            account=lambda data, loss: data[1][:, None] * (loss - data[0][None, :]),
            score=score,
            state=start,
            shape=shape,
            proposals=proposals,
        )
        problem = finite_class.Problem(losses, awake)
        default = dataclasses.replace(params, step_size=None) if method == "blum_lykouris" else params
        result = finite_class.run(problem, default)
        bounds = [finite_class.regret_bound(problem, params, result.state)]
        if method == "multiplicative_weights":
            bounds.append(finite_class.hoeffding_bound(problem, params, result.state))
        return losses, awake, result.trace.loss, bounds, result.regret

    rng = np.random.default_rng(5)
    games = jax.jit(jax.vmap(game, in_axes=(None, 0)))
    played = [games(style.aim, propose(rng, style, *shape)) for style in STYLES.values()]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *played)


def running_regrets(losses, awake, own):
    """`[..., T, G, K]` from the definition."""
    instant = awake[..., :, None] * (own[..., None, None] - losses[..., None, :])
    return np.cumsum(instant, axis=-3), np.cumsum(np.abs(instant), axis=-3)


@pytest.mark.usefixtures("x64")
@each_method
@pytest.mark.parametrize(("num_groups", "num_hypotheses"), [(1, 2), (4, 3)])
def test_regret_below_bound(method, num_groups, num_hypotheses):
    losses, awake, own, bounds, regret = duels(method, num_groups, num_hypotheses)
    running, cumulative = running_regrets(losses, awake, own)
    np.testing.assert_allclose(running[..., -1, :, :], regret, rtol=0, atol=1e-11)
    for bound in bounds:
        assert np.all(regret <= bound * (1 + 1e-12) + 1e-12)
    if method == "multiplicative_weights":
        closed_form = math.sqrt(2 * NUM_ROUNDS * math.log(num_groups * num_hypotheses))
        np.testing.assert_allclose(bounds[0], closed_form, rtol=1e-12)
        assert running.max() <= closed_form
    else:
        flat = cumulative[..., -1, :, :].reshape(*cumulative.shape[:2], -1)
        expected = sleeping_experts.regret_bound(np.full_like(flat, 1 / flat.shape[-1]), flat)
        np.testing.assert_allclose(bounds[0].reshape(flat.shape), expected, rtol=1e-10)
    assert (regret / np.maximum(bounds[-1], 1e-30)).max() > 0.1, "adversaries this weak test nothing"


@pytest.mark.usefixtures("x64")
def test_multiobjective_bound_at_its_own_step_size():
    num_pairs = 12
    step_size = math.sqrt(math.log(num_pairs) / (4 * NUM_ROUNDS))
    losses, awake, own, (_, hoeffding), _ = duels("multiplicative_weights", 4, 3, step_size)
    bound = finite_class.multiobjective_bound(NUM_ROUNDS, num_pairs)
    np.testing.assert_allclose(bound, 4 * math.sqrt(NUM_ROUNDS * math.log(num_pairs)), rtol=1e-12)
    assert running_regrets(losses, awake, own)[0].max() <= hoeffding.max() <= bound
    with pytest.raises(ValueError, match=r"num_rounds must be >= 2\.48\d*, got 2\."):
        finite_class.multiobjective_bound(2, num_pairs)


@pytest.mark.usefixtures("x64")
def test_hoeffding_bound_at_its_best_step_size():
    problem = random_problem(0)
    step_size = math.sqrt(8 * math.log(12) / 40)
    params = finite_class.Params(40, "multiplicative_weights", step_size)
    state = finite_class.run(problem, params).state
    np.testing.assert_allclose(
        finite_class.hoeffding_bound(problem, params, state), math.sqrt(40 * math.log(12) / 2), rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"Params.method must be one of 'multiplicative_weights', got 'blum_lykouris'"):
        finite_class.hoeffding_bound(problem, finite_class.Params(40), state)


# Equal systems.


@pytest.mark.usefixtures("x64")
def test_blum_lykouris_is_ada_normal_hedge_on_all_pairs():
    problem = random_problem(1)
    num_rounds, num_groups, num_hypotheses = 40, 3, 4
    pairs = sleeping_experts.Problem(
        jnp.tile(problem.losses, (1, num_groups)),
        jnp.repeat(problem.awake, num_hypotheses, axis=1),
        jnp.full(12, 1 / 12),
    )
    expected = sleeping_experts.run(pairs, sleeping_experts.Params(num_rounds))
    result = play(problem, "blum_lykouris")
    assert not np.asarray(problem.awake).any(axis=1).all()
    np.testing.assert_allclose(result.trace.loss, expected.trace.loss, rtol=1e-12)
    np.testing.assert_allclose(result.regret.reshape(-1), expected.regret, rtol=0, atol=1e-12)
    marginals = np.asarray(expected.trace.probabilities).reshape(num_rounds, num_groups, num_hypotheses).sum(axis=1)
    np.testing.assert_allclose(result.trace.probabilities, marginals, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_multiplicative_weights_matches_plain_numpy():
    problem = random_problem(2)
    losses, awake = np.asarray(problem.losses), np.asarray(problem.awake)
    rate, regret, made = math.sqrt(2 * math.log(12) / 40), np.zeros((3, 4)), []
    for now, active in zip(losses, awake, strict=True):
        p = np.exp(rate * regret) * active[:, None] if active.any() else np.ones((3, 4))
        made.append((p / p.sum()).sum(axis=0) @ now)
        regret += active[:, None] * (made[-1] - now)
    result = play(problem, "multiplicative_weights")
    np.testing.assert_allclose(result.trace.loss, made, rtol=1e-13)
    np.testing.assert_allclose(result.regret, regret, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_step_size_can_be_swept_without_recompiling():
    problem = random_problem(3)
    traces = []

    @jax.jit
    @jax.vmap
    def final_regret(step_size):
        traces.append(1)
        return finite_class.run(problem, finite_class.Params(40, "multiplicative_weights", step_size)).regret

    swept = final_regret(jnp.asarray([0.1, 0.5, 2.0]))
    final_regret(jnp.asarray([0.2, 0.3, 0.4]))
    assert len(traces) == 1
    alone = finite_class.run(problem, finite_class.Params(40, "multiplicative_weights", 0.5)).regret
    np.testing.assert_allclose(swept[1], alone, rtol=0, atol=1e-12)


# Edge cases.


@pytest.mark.usefixtures("x64")
@each_method
@pytest.mark.parametrize(("num_rounds", "num_groups", "num_hypotheses"), [(1, 1, 1), (1, 2, 3), (20, 1, 1), (20, 3, 1)])
def test_smallest_sizes(method, num_rounds, num_groups, num_hypotheses):
    problem = random_problem(4, num_rounds, num_groups, num_hypotheses)
    result = play(problem, method)
    assert int(result.status) == Status.OK
    assert np.all(result.regret <= finite_class.regret_bound(problem, finite_class.Params(1, method), result.state))
    if num_hypotheses == 1:
        np.testing.assert_allclose(result.trace.loss, problem.losses[:, 0], rtol=1e-14)
        np.testing.assert_allclose(result.regret, 0, atol=1e-14)


@pytest.mark.usefixtures("x64")
@each_method
def test_round_without_active_group_plays_uniformly_and_changes_nothing(method):
    problem = random_problem(5)
    state = play(problem, method).state._replace(step=jnp.int32(3))
    new, info = step(finite_class.Problem(problem.losses, 0 * problem.awake), finite_class.Params(1, method), state)
    np.testing.assert_allclose(info.loss, np.mean(np.asarray(problem.losses)[3]), rtol=1e-14)
    np.testing.assert_array_equal(new.regret, state.regret)
    np.testing.assert_array_equal(new.cumulative, state.cumulative)


@pytest.mark.usefixtures("x64")
@each_method
def test_duplicate_hypotheses_and_groups_are_one(method):
    """Every hypothesis, or every group, given twice: the same play; the step size is pinned since it depends on G K."""
    problem, params = random_problem(6), finite_class.Params(40, method, 0.3)
    alone = finite_class.run(problem, params)
    hypotheses = finite_class.run(problem_of(np.tile(problem.losses, 2), problem.awake), params)
    groups = finite_class.run(problem_of(problem.losses, np.tile(problem.awake, 2)), params)
    np.testing.assert_allclose(hypotheses.regret, np.tile(alone.regret, 2), rtol=0, atol=1e-12)
    np.testing.assert_allclose(groups.regret, np.tile(alone.regret, (2, 1)), rtol=0, atol=1e-12)


def test_rounds_past_the_end_are_refused_or_marked():
    problem, _ = finite_class.example(prng.root_key(0))
    half = finite_class.run(problem, finite_class.Params(10))
    with pytest.raises(ValueError, match=r"Params.num_steps must be <= 6 .*16 rounds, 10 are done.*, got 7\."):
        finite_class.run(problem, finite_class.Params(7), state=half.state)
    result = finite_class.run(problem, finite_class.Params(7), state=half.state, validate=False)
    assert int(result.status) == Status.NONFINITE
    np.testing.assert_array_equal(np.isfinite(result.trace.loss), [True] * 6 + [False])
    assert np.all(np.isfinite(result.regret))


# Bad input.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": np.full((3, 2), 1.2)}, r"losses must lie in \[0, 1\], got 1\.2"),
        ({"losses": np.full((3, 2), np.nan)}, r"losses must lie in \[0, 1\], got nan"),
        ({"losses": np.zeros(3)}, r"losses must have shape \(any, any\), got \(3,\)"),
        ({"losses": np.zeros((3, 0))}, r"number of hypotheses must be >= 1, got 0"),
        ({"losses": np.zeros((0, 2)), "awake": np.zeros((0, 2))}, r"number of rounds must be >= 1, got 0"),
        ({"awake": np.ones((4, 2))}, r"awake must have shape \(3, any\), got \(4, 2\)"),
        ({"awake": np.zeros((3, 0))}, r"number of groups must be >= 1, got 0"),
        ({"awake": np.full((3, 2), 0.5)}, r"awake must be 0 or 1, got 0\.5"),
    ],
)
def test_bad_input_is_named(changes, message):
    problem = finite_class.Problem(**({"losses": np.full((3, 2), 0.5), "awake": np.ones((3, 2))} | changes))
    with pytest.raises(ValueError, match=message) as error:
        finite_class.run(problem, finite_class.Params(1))
    assert "\n" not in str(error.value)


def test_bad_params_are_named():
    with pytest.raises(ValueError, match=r"Params.num_steps must be >= 1, got 0\."):
        finite_class.Params(0)
    with pytest.raises(ValueError, match=r"Params.method must be one of 'blum_lykouris', .*, got 'hedge'"):
        finite_class.Params(1, "hedge")
    problem, _ = finite_class.example(prng.root_key(0))
    with pytest.raises(ValueError, match=r"Params.step_size must be positive and finite, got -1\.0\."):
        finite_class.run(problem, finite_class.Params(1, "multiplicative_weights", -1.0))
