"""Specialist AA and EWA: worked examples, mixability, their theorem against adversaries, a NumPy oracle, bad input."""

import functools
from typing import NamedTuple

import adversary
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.core.status import Status
from research.regret import aggregating

RULES = sorted(aggregating.LEARNING_RATE)
each_rule = pytest.mark.parametrize("rule", RULES)

step = jax.jit(aggregating.step)
substitution = jax.jit(aggregating.substitution)


def problem_of(predictions, labels, awake, prior=None):
    num_experts = np.shape(predictions)[1]
    prior = np.full(num_experts, 1 / num_experts) if prior is None else prior
    return aggregating.Problem(*(jnp.asarray(np.asarray(x, float)) for x in (predictions, labels, awake, prior)))


def random_problem(seed, num_rounds=60, num_experts=5):
    rng = np.random.default_rng(seed)
    awake = rng.random((num_rounds, num_experts)) < 0.6
    awake[rng.random(num_rounds) < 0.1] = False
    predictions, labels = rng.random((num_rounds, num_experts)), rng.random(num_rounds)
    return problem_of(predictions, labels, awake, rng.dirichlet(np.ones(num_experts)))


def play(problem, rule):
    return aggregating.run(problem, aggregating.Params(len(problem.labels), rule))


def mix_losses(probabilities, predictions, labels, rule):
    """-ln(sum p exp(-eta (f - y)^2)) / eta in NumPy; experts on the last axis."""
    rate = aggregating.LEARNING_RATE[rule]
    losses = (predictions - labels[..., None]) ** 2
    return -np.log(np.sum(probabilities * np.exp(-rate * losses), axis=-1)) / rate


# Worked examples.


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("probabilities", "predictions", "expected"),
    [((0.25, 0.75), (0.2, 0.6), 0.5075536169152485), ((0.5, 0.5), (0.0, 1.0), 0.5)],
)
def test_substitution_of_the_worked_example(probabilities, predictions, expected):
    np.testing.assert_allclose(substitution(jnp.array(probabilities), jnp.array(predictions)), expected, rtol=1e-14)


def test_mix_loss_of_the_worked_example():
    mix = mix_losses(np.array([0.25, 0.75]), np.array([[0.2, 0.6]] * 2), np.array([0.0, 1.0]), "aa")
    np.testing.assert_allclose(mix, [0.2588888009603658, 0.24378156712986881], rtol=1e-14)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("rule", "losses", "sums"),
    [
        (
            "aa",
            [0.81, 0.01, 0.055734221951, 0.033390434639, 0.000222490117, 0.016623220325],
            [0.870013654965, 0.055956712068, 0.925970367031],
        ),
        ("ewa", None, [0.869991696689, 0.068912831431, 0.93890452812]),
    ],
)
def test_trace_of_the_group_learner_example(rule, losses, sums):
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
    awake = np.isfinite(predictions)
    result = play(problem_of(predictions, [0.9, 0.2, 0.4, 0.6, 0.3, 0.25], awake), rule)
    if losses is not None:
        np.testing.assert_allclose(result.trace.loss, losses, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.asarray(result.trace.loss) @ awake, sums, rtol=0, atol=1e-9)


# Mixability: one round.


@pytest.mark.usefixtures("x64")
@each_rule
def test_forecast_loses_at_most_the_mix_loss(rule):
    """For every label in [0, 1], on random mixtures and on all mixtures of two experts at a grid of predictions."""
    rng = np.random.default_rng(1)
    random = rng.dirichlet(np.full(6, 0.4), size=2000), rng.beta(0.4, 0.4, size=(2000, 6))
    first, second, share = (x.ravel() for x in np.meshgrid(*[np.linspace(0, 1, 21)] * 3))
    pairs = np.stack([share, 1 - share], axis=-1), np.stack([first, second], axis=-1)
    forecast = jax.jit(jax.vmap(lambda p, f: aggregating.forecast(p, f, rule)))
    tightest = np.inf
    for p, f in (random, pairs):
        prediction = np.asarray(forecast(p, f))
        assert prediction.min() >= 0
        assert prediction.max() <= 1
        for label in np.linspace(0, 1, 41):
            slack = mix_losses(p, f, np.full(len(p), label), rule) - (prediction - label) ** 2
            assert slack.min() >= -1e-14
            tightest = min(tightest, slack[(np.ptp(f, axis=1) > 0.5) & (p.max(axis=1) < 0.9)].min())
    if rule == "aa":
        assert tightest < 1e-4, "the rate 2 is the largest mixable one: somewhere the inequality has to be tight"


@pytest.mark.usefixtures("x64")
def test_forecast_mirrors_with_the_labels():
    rng = np.random.default_rng(2)
    p, f = jnp.asarray(rng.dirichlet(np.ones(5))), jnp.asarray(rng.random(5))
    np.testing.assert_allclose(substitution(p, 1 - f), 1 - substitution(p, f), rtol=1e-14)
    np.testing.assert_allclose(substitution(p, jnp.full(5, 0.3)), 0.3, rtol=1e-14)


# The theorem.

NUM_ROUNDS, NUM_INSTANCES, NUM_CANDIDATES = 300, 24, 32


class Style(NamedTuple):
    binary_predictions: bool
    binary_labels: bool
    awake_probability: float
    aim: int  # 0: none, it plays what it draws; 1: largest regret / bound; 2: that of the first expert; 3: their sum


STYLES = {
    "oblivious": Style(False, False, 0.7, 0),
    "coin_flips": Style(True, True, 0.8, 0),
    "greedy_ratio": Style(False, True, 0.7, 1),
    "greedy_ratio_binary": Style(True, True, 1.0, 1),
    "greedy_for_one_expert": Style(True, True, 0.9, 2),
    "greedy_for_all": Style(False, False, 0.7, 3),
}


def propose(rng, style, num_experts):
    """Predictions, labels and sleep of every candidate in every round of every instance."""
    shape = (NUM_INSTANCES, NUM_ROUNDS, NUM_CANDIDATES)
    predictions, labels = rng.random((*shape, num_experts)), rng.random(shape)
    awake = (rng.random((*shape, num_experts)) < style.awake_probability).astype(float)
    predictions = np.round(predictions) if style.binary_predictions else predictions
    return predictions, np.round(labels) if style.binary_labels else labels, awake


@functools.cache
def duels(rule, num_experts):
    """Problem, trace and last log weights of all games `[style, instance, ...]`, as NumPy arrays."""

    def game(aim, prior, proposals):
        def one_round(log_weights, data):
            predictions, label, awake = data
            terms = aggregating.round_terms(predictions, label, awake, rule)
            log_weights, prediction, _ = aggregating.play(prior, log_weights, terms, rule)
            return log_weights, prediction

        def account(data, prediction):
            predictions, label, awake = data
            return awake * ((prediction - label) ** 2 - (predictions - label) ** 2)

        def score(log_weights, regret):
            ratio = regret / aggregating.regret_bound(prior, rule)
            return jnp.stack([0 * ratio[0], jnp.max(ratio), ratio[0], jnp.sum(ratio)])[aim]

        predictions, labels, awake = adversary.greedy(
            one_round, account, score, state=jnp.log(prior), shape=(num_experts,), proposals=proposals
        )
        problem = aggregating.Problem(predictions, labels, awake, prior)
        result = aggregating.run(problem, aggregating.Params(NUM_ROUNDS, rule))
        return problem, result.trace, result.state.log_weights

    rng = np.random.default_rng(11)
    priors = adversary.random_priors(rng, NUM_INSTANCES, num_experts)
    games = jax.jit(jax.vmap(game, in_axes=(None, 0, 0)))
    played = [games(style.aim, priors, propose(rng, style, num_experts)) for style in STYLES.values()]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *played)


each_duel = pytest.mark.parametrize(("rule", "num_experts"), [(rule, n) for rule in RULES for n in (2, 7)])


@pytest.mark.usefixtures("x64")
@each_duel
def test_regret_below_bound_in_every_round(rule, num_experts):
    problem, trace, _ = duels(rule, num_experts)
    losses = (problem.predictions - problem.labels[..., None]) ** 2
    own = (trace.prediction - problem.labels) ** 2
    regret = np.cumsum(problem.awake * (own[..., None] - losses), axis=-2)
    ratio = regret / np.asarray(aggregating.regret_bound(problem.prior, rule))[..., None, :]
    assert ratio.max() <= 1 + 1e-12
    assert ratio.max(axis=(1, 2, 3)).min() > 0.01, "an adversary this weak tests nothing"


@pytest.mark.usefixtures("x64")
@each_duel
def test_certificate_is_the_mix_regret_and_lies_between_regret_and_bound(rule, num_experts):
    problem, trace, log_weights = duels(rule, num_experts)
    losses = (problem.predictions - problem.labels[..., None]) ** 2
    own = (trace.prediction - problem.labels) ** 2
    mix = mix_losses(trace.probabilities, problem.predictions, problem.labels, rule)
    certificate = np.asarray(aggregating.certificate(problem.prior, log_weights, rule))
    mix_regret, regret = (np.sum(problem.awake * (x[..., None] - losses), axis=-2) for x in (mix, own))
    np.testing.assert_allclose(certificate, mix_regret, rtol=0, atol=1e-11)
    assert np.all(regret <= certificate + 1e-11)
    assert np.all(certificate <= np.asarray(aggregating.regret_bound(problem.prior, rule)) + 1e-11)
    np.testing.assert_allclose(np.exp(log_weights).sum(axis=-1), 1, rtol=1e-11)


# Oracle and properties of the whole algorithm.


def numpy_learner(problem, rule):
    """The algorithm with plain weights and loops over the awake experts."""
    rate = aggregating.LEARNING_RATE[rule]
    predictions, labels, awake, prior = map(np.asarray, jax.tree.leaves(problem))
    weights, made = prior.copy(), []
    for f, y, awake_now in zip(predictions, labels, awake > 0, strict=True):
        p = np.where(awake_now, weights, 0) if awake_now.any() else prior.copy()
        p /= p.sum()
        if rule == "aa":
            at_zero, at_one = (-np.log(p @ np.exp(-rate * (f - z) ** 2)) / rate for z in (0, 1))
            made.append(min(max(0.5 + (at_zero - at_one) / 2, 0), 1))
        else:
            made.append(p @ f)
        mix = -np.log(p @ np.exp(-rate * (f - y) ** 2)) / rate
        weights[awake_now] *= np.exp(-rate * ((f - y) ** 2 - mix))[awake_now]
    return np.array(made), np.log(weights)


@pytest.mark.usefixtures("x64")
@each_rule
@pytest.mark.parametrize("seed", range(3))
def test_matches_plain_numpy(rule, seed):
    problem = random_problem(seed)
    result = play(problem, rule)
    predictions, log_weights = numpy_learner(problem, rule)
    np.testing.assert_allclose(result.trace.prediction, predictions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.state.log_weights, log_weights, rtol=0, atol=1e-11)
    assert int(result.status) == Status.OK


@pytest.mark.usefixtures("x64")
@each_rule
def test_pieces_and_steps_make_the_run(rule):
    problem = random_problem(3)
    result, params = play(problem, rule), aggregating.Params(len(problem.labels), rule)

    @jax.jit
    def by_pieces(log_weights, row):
        predictions, label, awake = row
        p = aggregating.probabilities(problem.prior, awake, log_weights)
        made = aggregating.forecast(p, predictions, rule)
        return aggregating.update(log_weights, awake, p, predictions, label, rule), (made, p)

    log_weights, state = jnp.log(problem.prior), aggregating.init(problem, params)
    for k, row in enumerate(zip(problem.predictions, problem.labels, problem.awake, strict=True)):
        log_weights, (made, p) = by_pieces(log_weights, row)
        state, info = step(problem, params, state)
        for prediction, probabilities in [(made, p), (info.prediction, info.probabilities)]:
            np.testing.assert_allclose(prediction, result.trace.prediction[k], rtol=0, atol=1e-13)
            np.testing.assert_allclose(probabilities, result.trace.probabilities[k], rtol=0, atol=1e-13)
    np.testing.assert_allclose(log_weights, result.state.log_weights, rtol=0, atol=1e-12)
    np.testing.assert_allclose(state.log_weights, result.state.log_weights, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
@each_rule
def test_predictions_of_sleepers_never_leak(rule):
    problem = random_problem(4)
    awake = np.asarray(problem.awake) > 0
    hidden = ~awake & awake.any(axis=1, keepdims=True)
    poisoned = problem_of(np.where(hidden, np.nan, problem.predictions), problem.labels, awake, problem.prior)
    jax.tree.map(np.testing.assert_array_equal, play(poisoned, rule), play(problem, rule))

    def total(predictions):
        changed = aggregating.Problem(predictions, problem.labels, problem.awake, problem.prior)
        return jnp.sum(play(changed, rule).trace.loss)

    gradient = np.asarray(jax.jit(jax.grad(total))(poisoned.predictions))
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[hidden] == 0)


@pytest.mark.usefixtures("x64")
@each_rule
def test_round_with_nobody_awake_plays_the_prior_and_changes_nothing(rule):
    problem = random_problem(5)
    state = play(problem, rule).state._replace(step=jnp.int32(7))
    asleep = problem_of(problem.predictions, problem.labels, 0 * problem.awake, problem.prior)
    new, info = step(asleep, aggregating.Params(1, rule), state)
    np.testing.assert_array_equal(new.log_weights, state.log_weights)
    np.testing.assert_allclose(info.probabilities, problem.prior, rtol=1e-14)
    expected = aggregating.forecast(problem.prior, problem.predictions[7], rule)
    np.testing.assert_allclose(info.loss, (expected - problem.labels[7]) ** 2, rtol=1e-13)


@pytest.mark.usefixtures("x64")
@each_rule
def test_mass_of_a_sleeper_is_kept_for_its_return(rule):
    """An expert that slept while another failed returns with its prior weight against the other's reduced one."""
    predictions = np.array([[1.0, 0.5, 0.5]] * 20 + [[1.0, 0.0, 0.5]])
    labels, awake = np.zeros(21), np.array([[1, 1, 0]] * 20 + [[1, 0, 1]])
    last = np.asarray(play(problem_of(predictions, labels, awake), rule).trace.probabilities[-1])
    gone = np.exp(-aggregating.LEARNING_RATE[rule] * 20 * 0.75)  # its weight against expert 1, with which it shared 2/3
    weight = 2 / 3 * gone / (1 + gone)
    np.testing.assert_allclose(last, [weight / (weight + 1 / 3), 0, (1 / 3) / (weight + 1 / 3)], rtol=1e-11)


@pytest.mark.usefixtures("x64")
@each_rule
def test_expert_that_never_wakes_and_duplicates_change_nothing(rule):
    problem = random_problem(6)
    awake = np.array(problem.awake)
    awake[~awake.any(axis=1), 0] = 1  # with nobody awake the prior is played, and that does change
    predictions = np.asarray(problem.predictions)
    alone = play(problem_of(predictions, problem.labels, awake), rule)
    padded = problem_of(np.pad(predictions, [(0, 0), (0, 1)]), problem.labels, np.pad(awake, [(0, 0), (0, 1)]))
    twice = problem_of(np.tile(predictions, 2), problem.labels, np.tile(awake, 2))
    for other in (padded, twice):
        np.testing.assert_allclose(play(other, rule).trace.loss, alone.trace.loss, rtol=0, atol=1e-13)


@each_rule
def test_one_expert_is_followed_exactly(rule):
    problem = random_problem(7, 20, 1)
    problem = problem_of(problem.predictions, problem.labels, np.ones((20, 1)))
    result = play(problem, rule)
    np.testing.assert_allclose(result.trace.prediction, problem.predictions[:, 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.regret_bound, 0, atol=1e-5)


def test_rounds_past_the_end_are_refused_or_marked():
    problem, _ = aggregating.example(prng.root_key(0))
    half = aggregating.run(problem, aggregating.Params(10))
    with pytest.raises(ValueError, match=r"Params.num_steps must be <= 6 .*16 rounds, 10 are done.*, got 7\."):
        aggregating.run(problem, aggregating.Params(7), state=half.state)
    result = aggregating.run(problem, aggregating.Params(7), state=half.state, validate=False)
    assert int(result.status) == Status.NONFINITE
    np.testing.assert_array_equal(np.isfinite(result.trace.loss), [True] * 6 + [False])
    assert np.all(np.isfinite(result.state.log_weights))


# Bad input.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": np.full((3, 2), 1.2)}, r"predictions must lie in \[0, 1\], got 1\.2"),
        ({"predictions": np.full((3, 2), np.nan)}, r"predictions must lie in \[0, 1\], got nan"),
        ({"predictions": np.zeros((3, 0))}, r"number of experts must be >= 1, got 0"),
        ({"labels": np.full(3, -0.5)}, r"labels must lie in \[0, 1\], got -0\.5"),
        ({"labels": np.full(3, np.inf)}, r"labels must lie in \[0, 1\], got inf"),
        ({"labels": np.full(4, 0.5)}, r"labels must have shape \(3\), got \(4,\)"),
        ({"awake": np.full((3, 2), 0.5)}, r"awake must be 0 or 1, got 0\.5"),
        ({"awake": np.ones((2, 2))}, r"awake must have shape \(3, 2\), got \(2, 2\)"),
        ({"prior": np.array([1.5, -0.5])}, r"prior must be positive and finite, got -0\.5 at index 1"),
        ({"prior": np.array([0.5, 0.4])}, r"prior must sum to 1 .*, got sum 0\.9"),
    ],
)
def test_bad_input_is_named(changes, message):
    good = {"predictions": np.full((3, 2), 0.5), "labels": np.full(3, 0.5), "awake": np.ones((3, 2))}
    problem = aggregating.Problem(**(good | {"prior": np.array([0.25, 0.75])} | changes))
    with pytest.raises(ValueError, match=message) as error:
        aggregating.run(problem, aggregating.Params(1))
    assert "\n" not in str(error.value)


def test_bad_params_are_named():
    with pytest.raises(ValueError, match=r"Params.rule must be one of 'aa', 'ewa', got 'hedge'\."):
        aggregating.Params(1, "hedge")
    with pytest.raises(ValueError, match=r"Params.num_steps must be >= 1, got 0\."):
        aggregating.Params(0)
    with pytest.raises(ValueError, match=r"rule must be one of 'aa', 'ewa', got 'mean'\."):
        aggregating.forecast(jnp.ones(1), jnp.ones(1), "mean")
