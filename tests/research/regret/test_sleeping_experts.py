"""AdaNormalHedge: worked examples, its theorem against adversaries, weights, sleepers, edge cases, bad input."""

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
from research.regret import sleeping_experts as anh

LOSSES = [(0.2, 0.9, 0.4), (1, 0, 0.5), (0.3, 0.6, 0), (0.8, 0.1, 0.7), (0.5, 0.5, 0.5)]
AWAKE = [(1, 1, 1), (1, 0, 1), (0, 1, 1), (0, 0, 0), (1, 1, 0)]
CONFIDENT = [(1, 0.5, 0.25), (1, 0, 1), (0.5, 0.5, 1), (0, 0, 0), (1, 1, 0)]


def problem_of(losses, awake, prior=None, dtype=jnp.float64):
    num_experts = np.shape(losses)[1]
    prior = np.full(num_experts, 1 / num_experts) if prior is None else prior
    return anh.Problem(*(jnp.asarray(np.asarray(x, float), dtype) for x in (losses, awake, prior)))


def random_problem(seed, num_rounds=60, num_experts=5, dtype=jnp.float64):
    rng = np.random.default_rng(seed)
    awake = rng.random((num_rounds, num_experts)) < 0.6
    awake[rng.random(num_rounds) < 0.1] = False
    return problem_of(rng.random((num_rounds, num_experts)), awake, rng.dirichlet(np.ones(num_experts)), dtype)


probabilities = jax.jit(anh.probabilities)
step = jax.jit(anh.step)


def play(problem):
    return anh.run(problem, anh.Params(len(problem.losses)))


# Worked examples.


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("regret", "cumulative", "weight"),
    [
        (0, 0, 0.19780621254304476),
        (0, 1, 0.090680206432823),
        (0.5, 0.5, 0.3243606353500641),
        (1, 1, 0.47386702052733787),
        (-0.5, 2, 0.014083588718857194),
        (-1, 3, 0),
        (-2.5, 4, 0),
        (2, 3, 0.5150479835457229),
        (5, 9, 0.8077560287068971),
    ],
)
def test_weights_of_the_worked_example(regret, cumulative, weight):
    log_weight = anh.log_weight(jnp.float64(regret), jnp.float64(cumulative))
    np.testing.assert_allclose(np.exp(log_weight), weight, rtol=1e-14, atol=0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("regret", "cumulative", "log_weight"), [(1e4, 1e4, 3332.6674938162646), (-0.999, 1e6, -29.42278158515593)]
)
def test_log_weights_where_the_weight_itself_overflows_or_cancels(regret, cumulative, log_weight):
    got = anh.log_weight(jnp.float64(regret), jnp.float64(cumulative))
    np.testing.assert_allclose(got, log_weight, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_trace_of_the_worked_example():
    result = play(problem_of(LOSSES, AWAKE))
    third = 1 / 3
    np.testing.assert_allclose(
        result.trace.probabilities,
        [
            (third, third, third),
            (0.550478371285, 0, 0.449521628715),
            (0, 0.13336419923, 0.86663580077),
            (third, third, third),
            (0.996146977436, 0.003853022564, 0),
        ],
        rtol=0,
        atol=1e-9,
    )
    losses = [0.5, 0.775239185643, 0.080018519538, 0.533333333333, 0.5]
    np.testing.assert_allclose(result.trace.loss, losses, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.regret, [0.075239185643, -0.919981480462, 0.455257705181], rtol=0, atol=1e-9)
    cumulative = result.state.meta.cumulative
    np.testing.assert_allclose(cumulative, [0.524760814357, 0.919981480462, 0.455257705181], rtol=0, atol=1e-9)
    bound = anh.regret_bound(jnp.full(3, third, jnp.float64), cumulative)
    np.testing.assert_allclose(bound, [1.890170143944, 2.502705469886, 1.760551982932], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_trace_of_the_worked_example_with_a_prior():
    result = play(problem_of(LOSSES, AWAKE, (0.5, 0.25, 0.25)))
    expected = [(0, 0.099033382211, 0.900966617789), (0.5, 0.25, 0.25), (1, 0, 0)]
    np.testing.assert_allclose(result.trace.probabilities[2:], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.regret, [0.081173183858, -1.015579970674, 0.440593213184], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_trace_of_the_worked_example_with_confidences():
    result = play(problem_of(LOSSES, CONFIDENT))
    np.testing.assert_allclose(result.trace.probabilities[0], [4 / 7, 2 / 7, 1 / 7], rtol=0, atol=1e-9)
    last = [0.757643704013, 0.242356295987, 0]
    np.testing.assert_allclose(result.trace.probabilities[4], last, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.regret, [-0.081564200724, -0.475451145082, 0.40727036848], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_trace_of_the_group_learner_example():
    """The experts' predictions of the worked group learner, with NaN for the experts that sleep."""
    nan = np.nan
    predictions = np.array(
        [
            (0, nan, 0),
            (0.3, nan, 0.3),
            (nan, 0, 0.275),
            (0.4125, nan, 0.421428571429),
            (nan, 0.225, 0.374671052632),
            (0.371022727273, nan, 0.385753356539),
        ]
    )
    losses = (predictions - np.array([0.9, 0.2, 0.4, 0.6, 0.3, 0.25])[:, None]) ** 2
    result = play(problem_of(losses, np.isfinite(predictions)))
    expected = [0.81, 0.01, 0.0878125, 0.033454690573, 0.005596259445, 0.016622960054]
    np.testing.assert_allclose(result.trace.loss, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.regret, [0.000274900111, -0.072216240555, 0.071968915058], rtol=0, atol=1e-9)


# The theorem.

NUM_ROUNDS, NUM_INSTANCES, NUM_CANDIDATES = 300, 20, 32


class Style(NamedTuple):
    binary: bool  # losses 0 or 1, or uniform
    confident: bool  # awake by a uniform confidence, or fully
    awake_probability: float
    aim: int  # 0: none, it plays what it draws; 1: largest regret / bound; 2: that of the first expert; 3: potential


STYLES = {
    "oblivious": Style(False, False, 0.7, 0),
    "coin_flips": Style(True, False, 1.0, 0),
    "greedy_ratio": Style(True, False, 0.7, 1),
    "greedy_ratio_all_awake": Style(True, False, 1.0, 1),
    "greedy_ratio_with_confidences": Style(True, True, 0.8, 1),
    "greedy_for_one_expert": Style(False, False, 0.7, 2),
    "greedy_potential": Style(True, False, 0.8, 3),
}


def propose(rng, style, num_experts):
    """Losses and sleep of every candidate in every round of every instance (NumPy: compiling the draws is slow)."""
    shape = (NUM_INSTANCES, NUM_ROUNDS, NUM_CANDIDATES, num_experts)
    losses, awake = rng.random(shape), (rng.random(shape) < style.awake_probability).astype(float)
    return np.round(losses) if style.binary else losses, awake * rng.random(shape) if style.confident else awake


def score(prior, aim, meta, regret):
    cumulative = jnp.maximum(meta.cumulative, 1e-30)
    ratio = regret / anh.regret_bound(prior, cumulative)
    log_potential = jax.nn.logsumexp(jnp.maximum(regret, 0) ** 2 / (3 * cumulative), b=prior)
    return jnp.stack([0 * log_potential, jnp.max(ratio), ratio[0], log_potential])[aim]


@functools.cache
def duels(num_experts):
    """Priors, losses, sleep and the learner's probabilities of all games `[style, instance, ...]`, as NumPy arrays."""

    def game(aim, prior, proposals):
        def one_round(meta, data):
            losses, awake = data
            loss = jnp.sum(anh.probabilities(prior, awake, *meta) * losses)
            return anh.update(meta, awake, loss, losses), loss

        losses, awake = adversary.greedy(
            one_round,
            account=lambda data, loss: data[1] * (loss - data[0]),
            score=functools.partial(score, prior, aim),
            state=anh.init_meta(prior),
            shape=(num_experts,),
            proposals=proposals,
        )
        result = anh.run(anh.Problem(losses, awake, prior), anh.Params(NUM_ROUNDS))
        return prior, losses, awake, result.trace.probabilities

    rng = np.random.default_rng(7)
    priors = adversary.random_priors(rng, NUM_INSTANCES, num_experts)
    games = jax.jit(jax.vmap(game, in_axes=(None, 0, 0)))
    played = [games(style.aim, priors, propose(rng, style, num_experts)) for style in STYLES.values()]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *played)


def regrets(losses, awake, probabilities):
    """Running regret and absolute regret, `[..., T, N]`, from their definitions in NumPy."""
    instant = awake * ((probabilities * losses).sum(axis=-1, keepdims=True) - losses)
    return np.cumsum(instant, axis=-2), np.cumsum(np.abs(instant), axis=-2)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_experts", [2, 7])
def test_regret_below_bound_in_every_round(num_experts):
    prior, *game = duels(num_experts)
    regret, cumulative = regrets(*game)
    bound = np.asarray(anh.regret_bound(prior[..., None, :] + 0 * cumulative, cumulative))
    assert np.all(regret <= bound * (1 + 1e-12) + 1e-12)
    ratio = np.divide(regret, bound, where=cumulative > 0, out=np.zeros_like(bound)).max(axis=(1, 2, 3))
    assert ratio.min() > 0.1, "an adversary this weak tests nothing"


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_experts", [2, 7])
def test_potential_below_its_budget_in_every_round(num_experts):
    prior, *game = duels(num_experts)
    regret, cumulative = regrets(*game)
    prior = prior[..., None, :]
    exponent = np.maximum(regret, 0) ** 2 / np.where(cumulative > 0, 3 * cumulative, 1)
    budget = 1 + 1.5 * np.sum(prior * (1 + np.log1p(cumulative)), axis=-1)
    assert np.all(np.sum(prior * np.exp(exponent), axis=-1) <= budget * (1 + 1e-12))
    np.testing.assert_allclose(anh.log_potential_budget(prior + 0 * cumulative, cumulative), np.log(budget), rtol=1e-12)
    assert np.all(budget <= 2.5 + 1.5 * np.log1p(np.arange(1, NUM_ROUNDS + 1)) + 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_experts", [2, 7])
def test_mixture_regret_below_bound(num_experts):
    prior, *game = (x.reshape(-1, *x.shape[2:]) for x in duels(num_experts))
    regret, cumulative = (x[:, -1] for x in regrets(*game))
    mixtures = np.random.default_rng(0).dirichlet(np.full(num_experts, 0.3), size=(50, len(prior)))
    # The comparator for which the proof's first step is an equality, and every single expert.
    gibbs = prior * np.exp(np.maximum(regret, 0) ** 2 / np.maximum(3 * cumulative, 1e-30))
    gibbs /= gibbs.sum(axis=-1, keepdims=True)
    vertices = np.broadcast_to(np.eye(num_experts)[:, None], (num_experts, *prior.shape))
    mixtures = np.concatenate([mixtures, gibbs[None], vertices])
    shape = mixtures.shape
    bounds = np.asarray(
        anh.mixture_regret_bound(np.broadcast_to(prior, shape), np.broadcast_to(cumulative, shape), mixtures)
    )
    assert np.all(np.sum(mixtures * regret, axis=-1) <= bounds + 1e-12)
    np.testing.assert_allclose(bounds[-num_experts:].T, anh.regret_bound(prior, cumulative), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_weighted_instant_regrets_sum_to_zero():
    """sum q w r = 0 for the expected loss; at most 0 for the loss of the averaged prediction, which is never larger."""
    rng = np.random.default_rng(0)
    prior = jnp.asarray(rng.dirichlet(np.ones(6)))
    awake = (rng.random((300, 6)) < 0.7) * rng.random((300, 6))
    data = jax.tree.map(jnp.asarray, (awake, rng.random((300, 6)), rng.random(300)))

    def one_round(meta, data):
        awake, predictions, label = data
        losses = (predictions - label) ** 2
        p = anh.probabilities(prior, awake, *meta)
        learners = jnp.sum(p * losses), (jnp.sum(p * predictions) - label) ** 2
        weight = prior * jnp.exp(anh.log_weight(*meta))
        sums = [jnp.sum(weight * awake * (loss - losses)) for loss in learners]
        return anh.update(meta, awake, learners[1], losses), sums

    meta, (expected, mean) = jax.jit(lambda: jax.lax.scan(one_round, anh.init_meta(prior), data))()
    assert np.abs(np.asarray(expected)).max() <= 1e-13
    assert np.asarray(mean).max() <= 1e-13
    assert np.asarray(mean).min() < -1e-3
    assert np.all(meta.regret <= anh.regret_bound(prior, meta.cumulative))


# Weights.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_weight_is_zero_exactly_up_to_minus_one(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        beyond = np.nextafter(dtype(-1), dtype(0))
        regret = jnp.asarray([-1e6, -2.5, np.nextafter(dtype(-1), dtype(-2)), -1, beyond, -0.5, 0, 1, 1e6], dtype)
        cumulative = jnp.maximum(jnp.abs(regret), jnp.asarray([1e7, 3, 3, 3, 3, 1e7, 0, 1, 1e6], dtype))
        log_weight = np.asarray(anh.log_weight(regret, cumulative))
        assert log_weight.dtype == dtype
        assert np.all(log_weight[:4] == -np.inf)
        assert np.all(np.isfinite(log_weight[4:]))


@pytest.mark.usefixtures("x64")
def test_weight_matches_its_definition():
    regret, cumulative = np.meshgrid(np.linspace(-3, 20, 93), np.linspace(0, 60, 31))
    allowed = np.abs(regret) <= cumulative
    regret, cumulative = regret[allowed], cumulative[allowed]
    phi = [np.exp(np.maximum(regret + shift, 0) ** 2 / (3 * (cumulative + 1))) for shift in (1, -1)]
    weight = np.exp(anh.log_weight(jnp.asarray(regret), jnp.asarray(cumulative)))
    assert np.all(weight >= 0)
    # The definition loses digits where the two exponentials cancel: absolute rounding of numbers of size phi.
    assert np.all(np.abs(weight - (phi[0] - phi[1]) / 2) <= 4 * np.finfo(float).eps * phi[0] * (1 + np.log(phi[0])))


@pytest.mark.usefixtures("x64")
def test_gradient_of_the_log_weight_is_finite_and_right():
    regret = jnp.asarray([-5.0, -1.0, -0.9, 0.0, 0.3, 1.0, 2.0, 50.0, 1e4], jnp.float64)
    cumulative = jnp.asarray([6.0, 1.0, 2.0, 0.0, 0.5, 3.0, 2.0, 80.0, 1e4], jnp.float64)
    slope = jax.jit(jax.vmap(jax.grad(anh.log_weight)))(regret, cumulative)
    assert np.all(np.isfinite(slope))
    assert np.all(slope[:2] == 0)
    width = 1e-6
    central = (anh.log_weight(regret + width, cumulative) - anh.log_weight(regret - width, cumulative)) / (2 * width)
    np.testing.assert_allclose(slope[2:], central[2:], rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_unbounded_losses_do_not_overflow(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        rng = np.random.default_rng(0)
        losses = rng.normal(size=(300, 4)) * 1e3 + np.array([0, 1e4, 1e4, 2e4])
        result = play(problem_of(losses, np.ones((300, 4)), dtype=dtype))
        assert int(result.status) == Status.OK
        largest, cumulative = float(result.regret[0]), float(result.state.meta.cumulative[0])
        assert largest**2 / (3 * cumulative) > 1000, "the weight itself has to be beyond the largest float"
        probabilities = np.asarray(result.trace.probabilities)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert np.all(probabilities[-1] == [1, 0, 0, 0])


def test_float32_follows_float64():
    """R and C are sums of ten thousand numbers below 1: their rounding in float32 stays below a few hundredths."""
    problem = random_problem(0, num_rounds=10_000, dtype=jnp.float32)
    single = play(problem)
    with jax.enable_x64(True):
        double = play(jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), problem))
    losses = [np.asarray(result.trace.loss, float).sum() for result in (single, double)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_allclose(single.regret, double.regret, rtol=0, atol=0.02)


# Who is awake.


@pytest.mark.usefixtures("x64")
def test_losses_of_sleepers_never_leak():
    problem = random_problem(3)
    awake = np.asarray(problem.awake) > 0
    hidden = ~awake & awake.any(axis=1, keepdims=True)
    poisoned = problem_of(np.where(hidden, np.nan, problem.losses), problem.awake, problem.prior)
    clean, result = play(problem), play(poisoned)
    jax.tree.map(np.testing.assert_array_equal, result, clean)
    assert int(result.status) == Status.OK

    def total(losses):
        return jnp.sum(play(anh.Problem(losses, problem.awake, problem.prior)).trace.loss)

    gradient = np.asarray(jax.grad(total)(poisoned.losses))
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[hidden] == 0)
    np.testing.assert_array_equal(gradient, jax.grad(total)(problem.losses))


@pytest.mark.usefixtures("x64")
def test_round_with_nobody_awake_plays_the_prior_and_changes_nothing():
    problem = random_problem(4)
    before = play(problem)
    state, info = step(
        problem_of(problem.losses, 0 * problem.awake, problem.prior),
        anh.Params(1),
        before.state._replace(step=jnp.int32(7)),
    )
    np.testing.assert_allclose(info.probabilities, problem.prior, rtol=1e-15)
    np.testing.assert_allclose(info.loss, problem.prior @ problem.losses[7], rtol=1e-14)
    jax.tree.map(np.testing.assert_array_equal, state.meta, before.state.meta)
    assert int(state.step) == 8


@pytest.mark.usefixtures("x64")
def test_awake_experts_without_weight_share_by_prior_and_confidence():
    prior, awake = jnp.asarray([0.2, 0.3, 0.1, 0.4], jnp.float64), jnp.asarray([1.0, 0.5, 0.0, 0.25], jnp.float64)
    regret = jnp.asarray([-2.0, -1.0, 3.0, -1.5], jnp.float64)
    p = probabilities(prior, awake, regret, jnp.full(4, 5.0, jnp.float64))
    np.testing.assert_allclose(p, np.array([0.2, 0.15, 0, 0.1]) / 0.45, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_first_awake_round_of_equal_experts_is_uniform():
    p = probabilities(jnp.full(4, 0.25), jnp.asarray([1.0, 0, 1, 1]), jnp.zeros(4), jnp.zeros(4))
    np.testing.assert_allclose(p, [1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-15)


def test_tiny_confidences_do_not_underflow():
    p = probabilities(
        jnp.full(3, 1 / 3), jnp.asarray([1e-37, 2e-37, 0], jnp.float32), jnp.asarray([-3.0, -2, 0]), jnp.full(3, 4.0)
    )
    np.testing.assert_allclose(p, [1 / 3, 2 / 3, 0], rtol=1e-5)


# Edge cases.


@pytest.mark.usefixtures("x64")
def test_expert_that_never_wakes_changes_nothing_but_the_prior():
    """With uniform priors the others play the same; B differs, and so does the prior played when nobody is awake."""
    problem = random_problem(5)
    problem = problem_of(problem.losses, problem.awake)
    num_rounds = len(problem.losses)
    wider = problem_of(
        np.concatenate([problem.losses, np.full((num_rounds, 1), 0.5)], axis=1),
        np.concatenate([problem.awake, np.zeros((num_rounds, 1))], axis=1),
    )
    narrow, wide = play(problem), play(wider)
    counted = np.asarray(problem.awake).any(axis=1)
    assert not counted.all()
    np.testing.assert_allclose(wide.trace.loss[counted], narrow.trace.loss[counted], rtol=1e-13)
    np.testing.assert_allclose(wide.regret[:-1], narrow.regret, rtol=0, atol=1e-12)
    assert float(wide.regret[-1]) == 0
    np.testing.assert_allclose(wide.trace.probabilities[~counted], 1 / 6, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_duplicate_experts_are_one_expert_with_their_joint_prior():
    problem = random_problem(6)
    twice = [0, 1, 2, 3, 4, 2]
    prior = np.asarray(problem.prior)
    split = prior[twice]
    split[[2, 5]] = prior[2] * np.array([0.3, 0.7])
    single = play(problem)
    double = play(problem_of(problem.losses[:, twice], problem.awake[:, twice], split))
    np.testing.assert_allclose(double.trace.loss, single.trace.loss, rtol=1e-12)
    np.testing.assert_allclose(double.regret, np.asarray(single.regret)[twice], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_every_expert_duplicated_under_uniform_priors_changes_nothing():
    problem = random_problem(7)
    problem = problem_of(problem.losses, problem.awake)
    single, double = play(problem), play(problem_of(*(np.tile(x, 2) for x in (problem.losses, problem.awake))))
    np.testing.assert_allclose(double.trace.loss, single.trace.loss, rtol=1e-12)
    np.testing.assert_allclose(double.regret, np.tile(single.regret, 2), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("num_rounds", "num_experts"), [(1, 1), (1, 4), (30, 1)])
def test_one_round_and_one_expert(num_rounds, num_experts):
    problem = random_problem(8, num_rounds, num_experts)
    result = play(problem_of(problem.losses, np.ones_like(problem.awake), problem.prior))
    if num_experts == 1:
        np.testing.assert_array_equal(result.trace.probabilities, 1)
        np.testing.assert_array_equal(result.regret, 0)
    np.testing.assert_allclose(result.trace.probabilities[0], problem.prior, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_stepping_by_hand_is_running():
    problem = random_problem(9)
    params, result = anh.Params(len(problem.losses)), play(problem)
    state = anh.init(problem, params)
    for k in range(params.num_steps):
        state, info = step(problem, params, state)
        np.testing.assert_allclose(info.loss, result.trace.loss[k], rtol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13), state, result.state)


def test_rounds_past_the_end_are_refused_or_marked():
    problem, _ = anh.example(prng.root_key(0))
    half = anh.run(problem, anh.Params(10))
    with pytest.raises(ValueError, match=r"Params.num_steps must be <= 6 .*16 rounds, 10 are done.*, got 7\."):
        anh.run(problem, anh.Params(7), state=half.state)
    result = jax.jit(lambda state: anh.run(problem, anh.Params(7), state=state))(half.state)
    assert int(result.status) == Status.NONFINITE
    np.testing.assert_array_equal(np.isfinite(result.trace.loss), [True] * 6 + [False])
    np.testing.assert_array_equal(result.regret, anh.run(problem, anh.Params(16)).regret)


# Bad input.


def corrupted(**changes):
    good = {"losses": np.full((3, 2), 0.5), "awake": np.ones((3, 2)), "prior": np.array([0.25, 0.75])}
    return good | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": np.array([[0.5, 0.5], [0.5, np.nan], [0.5, 0.5]])}, r"losses must be finite, got nan at index"),
        ({"losses": np.array([[0.5, 0.5], [0.5, 0.5], [np.inf, 0.5]])}, r"losses must be finite, got inf"),
        ({"losses": np.zeros((3, 0))}, r"number of experts must be >= 1, got 0"),
        ({"losses": np.zeros((0, 2)), "awake": np.zeros((0, 2))}, r"number of rounds must be >= 1, got 0"),
        ({"awake": np.ones((2, 2))}, r"awake must have shape \(3, 2\), got \(2, 2\)"),
        ({"awake": np.full((3, 2), 1.5)}, r"awake must lie in \[0, 1\], got 1.5"),
        ({"awake": np.full((3, 2), -0.1)}, r"awake must lie in \[0, 1\], got -0.1"),
        ({"awake": np.full((3, 2), np.nan)}, r"awake must lie in \[0, 1\], got nan"),
        ({"prior": np.array([0.25, 0.25, 0.5])}, r"prior must have shape \(2\), got \(3,\)"),
        ({"prior": np.array([0.0, 1.0])}, r"prior must be positive and finite, got 0.0 at index 0"),
        ({"prior": np.array([0.5, 0.6])}, r"prior must sum to 1 .*, got sum 1.1"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        anh.run(anh.Problem(**corrupted(**changes)), anh.Params(1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_steps", [0, -3])
def test_bad_number_of_steps_is_named(num_steps):
    with pytest.raises(ValueError, match=rf"Params.num_steps must be >= 1, got {num_steps}\."):
        anh.Params(num_steps)


def test_losses_missing_with_nobody_awake_are_named():
    losses, awake = np.full((3, 2), 0.5), np.ones((3, 2))
    losses[1], awake[1] = np.nan, 0
    with pytest.raises(ValueError, match=r"losses must be finite, got nan at index \(1, 0\)"):
        anh.run(anh.Problem(losses, awake, np.array([0.5, 0.5])), anh.Params(3))
    result = anh.run(anh.Problem(losses, awake, np.array([0.5, 0.5])), anh.Params(3), validate=False)
    assert int(result.status) == Status.NONFINITE
    assert np.all(np.isfinite(result.regret))
    assert math.isnan(result.trace.loss[1])


def test_a_bad_replicate_leaves_the_others_alone():
    problem, params = anh.example(prng.root_key(1))
    losses = jnp.stack([problem.losses, problem.losses.at[3, 1].set(jnp.nan), problem.losses])
    awake = problem.awake.at[3, 1].set(1)
    result = jax.vmap(lambda x: anh.run(anh.Problem(x, awake, problem.prior), params))(losses)
    np.testing.assert_array_equal(result.status, [Status.OK, Status.NONFINITE, Status.OK])
    alone = jax.vmap(lambda x: anh.run(anh.Problem(x, awake, problem.prior), params))(losses[jnp.array([0, 0, 2])])
    np.testing.assert_array_equal(result.regret[::2], alone.regret[::2])
